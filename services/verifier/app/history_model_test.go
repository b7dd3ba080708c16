package app

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"doorcode/pkg/challenge"
)

// The model is what one login and its challenges are to whoever asks about them, one act after the other: DESIGN 3
// (Check, Resend, Ending) and the answers of DESIGN 8, without a lock, a statement or a process. A history of
// concurrent acts is right when some order of them, in which nobody's act comes before one that had ended when it
// began, is a run of the model.

// perLogin is how many challenges a login of a history has.
const perLogin = 3

// verb is what a client does.
type verb string

const (
	doCheck  verb = "check"
	doResend verb = "resend"
	doCancel verb = "cancel"
	doRead   verb = "read"
	doUnlock verb = "unlock"
	doWait   verb = "wait"   // the time to the next resend passes
	doChange verb = "change" // the directory raises the login's version
)

// act is one thing that a client did.
type act struct {
	Verb      verb
	Login     string
	Challenge int    // of the login, from 0
	ID        string // of a check or a resend
	Right     bool   // the typed code is the right one
	// Late says that the answer may have been decided so long after the start that waits had passed by themselves.
	Late bool
}

// reply is what the client heard.
type reply struct {
	Lost      bool   // it heard nothing: the act may have happened, at any time, or not
	Code      string // of a refusal
	Left      int    // checks that are left
	Assertion string // of an approval
	Send      int    // that a resend took
	State     string // and the number of sends so far, of a read or a cancel
	Sends     int
}

// rules are the figures that a history runs under.
type rules struct {
	challenge.Policy
	PerAddress int // resends to the login's one address
}

// place is where one challenge stands. It is comparable, as the model's whole state is: lists are texts.
type place struct {
	State     challenge.State
	Wrong     int
	Checks    string // each counted check with its answer: `id/right=approved;id/wrong=4;`
	Assertion string // once an answer has shown it
	Keys      string // of send 2, 3, ...: `key;key;`
	Early     bool   // the wait for the next send has not passed
}

// world is where a login stands.
type world struct {
	Failures   int // within the hour
	InARow     int
	Locked     bool
	Changed    bool // the version was raised: no open code is good any more
	Sent       int  // resends to the address
	Challenges [perLogin]place
}

// model returns the model of histories under these rules, a partition for each login.
func (r rules) model() porcupine.Model {
	seed := maphash.MakeSeed()
	m := porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			logins := map[string][]porcupine.Operation{}
			for _, o := range history {
				name := o.Input.(act).Login
				logins[name] = append(logins[name], o)
			}
			var parts [][]porcupine.Operation
			for _, part := range logins {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() []any {
			var w world
			for i := range w.Challenges {
				w.Challenges[i].State = challenge.Pending
			}
			return []any{w}
		},
		Step: func(state, input, output any) []any {
			var next []any
			for _, o := range r.step(state.(world), input.(act)) {
				world, fits := o.fit(output.(reply), input.(act))
				if fits {
					next = append(next, world)
				}
			}
			return next
		},
		Hash:              func(state any) uint64 { return maphash.Comparable(seed, state.(world)) },
		DescribeOperation: func(input, output any) string { return describe(input.(act), output.(reply)) },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state.(world)) },
	}
	return m.ToModel()
}

// option is one way an act may go: where the login stands then, and what is answered.
type option struct {
	world world
	reply reply
}

// fit says whether a reply is the option's, and where the login stands then. An assertion is whatever the first answer
// said, and the same ever after.
func (o option) fit(got reply, a act) (world, bool) {
	if got.Lost {
		return o.world, true
	}
	if o.reply.Assertion != "" {
		p := &o.world.Challenges[a.Challenge]
		if got.Assertion == "" || p.Assertion != "" && p.Assertion != got.Assertion {
			return o.world, false
		}
		p.Assertion = got.Assertion
		o.reply.Assertion = got.Assertion
	}
	return o.world, got == o.reply
}

// step returns the ways an act may go. There is one, but for time that passes and for the sweep.
func (r rules) step(w world, a act) []option {
	p := w.Challenges[a.Challenge]
	switch a.Verb {
	case doCheck:
		return r.check(w, p, a)
	case doResend:
		return r.resend(w, p, a)
	case doCancel:
		if p.State == challenge.Pending {
			p.State = challenge.Canceled
		}
		return []option{{w.with(a, p), r.told(p)}}
	case doRead:
		options := []option{{w, r.told(p)}}
		if w.Changed && p.State == challenge.Pending { // The sweep may have been there already.
			p.State = challenge.Canceled
			options = append(options, option{w.with(a, p), r.told(p)})
		}
		return options
	case doUnlock:
		if w.Locked {
			w.Locked, w.InARow = false, 0
		}
	case doChange:
		w.Changed = true
	case doWait:
		p.Early = false
		w = w.with(a, p)
	}
	return []option{{world: w}}
}

// check judges a code: first what this very check was told, then the end of the challenge, then the login, then its
// budget; and only then the code.
func (r rules) check(w world, p place, a act) []option {
	name := a.ID + "/wrong"
	if a.Right {
		name = a.ID + "/right"
	}
	told, known := find(p.Checks, name)
	switch {
	case known && told == "approved":
		options := []option{{w, reply{Assertion: "any"}}}
		if a.Late {
			options = append(options, option{w, refused(challenge.RefusedUsed)})
		}
		return options
	case known:
		var left int
		_, _ = fmt.Sscan(told, &left)
		return []option{{w, reply{Code: string(challenge.RefusedWrong), Left: left}}}
	case p.State != challenge.Pending || w.Locked || w.Changed:
		return []option{{w, refused(over(p))}}
	case w.Failures >= r.WrongPerHour:
		return []option{{w, refused(challenge.RefusedTooMany)}}
	case a.Right:
		p.State = challenge.Approved
		p.Checks += name + "=approved;"
		w.InARow = 0
		return []option{{w.with(a, p), reply{Assertion: "any"}}}
	}
	p.Wrong++
	left := r.WrongPerChallenge - p.Wrong
	p.Checks += fmt.Sprintf("%s=%d;", name, left)
	if left == 0 {
		p.State = challenge.Exhausted
	}
	w.Failures++
	w.InARow++
	w.Locked = w.InARow >= r.LockAfter
	return []option{{w.with(a, p), reply{Code: string(challenge.RefusedWrong), Left: left}}}
}

// resend takes the next send, or says why not.
func (r rules) resend(w world, p place, a act) []option {
	keys := strings.Split(p.Keys, ";") // the last one is empty
	if i := slices.Index(keys, a.ID); i >= 0 {
		return []option{{w, reply{Send: i + 2}}}
	}
	refuse := func(code string) option { return option{w, reply{Code: code}} }
	take := func() option {
		p.Keys += a.ID + ";"
		p.Early = true
		w.Sent++
		return option{w.with(a, p), reply{Send: len(keys) + 1}}
	}
	why := ""
	switch {
	case p.State != challenge.Pending || w.Locked || w.Changed:
		why = string(over(p))
	case len(keys) >= r.Sends:
		why = "no_more_sends"
	case p.Early:
		why = "resend_too_early"
	}
	full := w.Sent >= r.PerAddress
	var options []option
	if why != "" {
		options = append(options, refuse(why))
	}
	if full { // True beside every other reason, and either may be told: the limit is read after the challenge.
		options = append(options, refuse("too_many_messages"))
	}
	if !full && (why == "" || why == "resend_too_early" && a.Late) {
		options = append(options, take())
	}
	return options
}

// told is what a read of a challenge says.
func (r rules) told(p place) reply {
	out := reply{State: string(p.State), Sends: strings.Count(p.Keys, ";") + 1}
	if p.State == challenge.Pending {
		out.Left = r.WrongPerChallenge - p.Wrong
	}
	return out
}

// with returns the world with another place of the act's challenge.
func (w world) with(a act, p place) world {
	w.Challenges[a.Challenge] = p
	return w
}

// over is the refusal of a challenge that cannot be approved any more.
func over(p place) challenge.Refusal {
	if p.State == challenge.Approved {
		return challenge.RefusedUsed
	}
	return challenge.RefusedClosed
}

func refused(r challenge.Refusal) reply { return reply{Code: string(r)} }

// find returns the value of a name in a text of `name=value;`.
func find(list, name string) (string, bool) {
	for entry := range strings.SplitSeq(list, ";") {
		value, found := strings.CutPrefix(entry, name+"=")
		if found {
			return value, true
		}
	}
	return "", false
}

// describe tells an act with its answer in one line.
func describe(a act, got reply) string {
	code := ""
	if a.Verb == doCheck {
		code = map[bool]string{true: " right", false: " wrong"}[a.Right]
	}
	if got.Lost {
		return fmt.Sprintf("%s %s %d %s%s: answer lost", a.Verb, a.Login, a.Challenge, a.ID, code)
	}
	if len(got.Assertion) > 8 {
		got.Assertion = got.Assertion[len(got.Assertion)-8:]
	}
	return fmt.Sprintf("%s %s %d %s%s: %+v", a.Verb, a.Login, a.Challenge, a.ID, code, got)
}

// lateAfter is when waits of a minute may have passed by themselves.
const lateAfter = 50 * time.Second
