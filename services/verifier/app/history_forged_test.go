package app

import (
	"strconv"
	"testing"

	"github.com/anishathalye/porcupine"

	"doorcode/pkg/challenge"
)

// told is one act of a forged history. Acts follow one another; one that goes on meets all that follow it.
type told struct {
	act
	reply
	goesOn bool
}

func checked(id string, right bool, r reply) told {
	return told{act: act{Verb: doCheck, ID: id, Right: right}, reply: r}
}

func resent(key string, r reply) told { return told{act: act{Verb: doResend, ID: key}, reply: r} }

func did(v verb) told { return told{act: act{Verb: v}} }

func saw(v verb, r reply) told { return told{act: act{Verb: v}, reply: r} }

// of puts acts on another challenge of the login.
func of(challenge int, all ...told) []told {
	for i := range all {
		all[i].Challenge = challenge
	}
	return all
}

// open is an act whose answer came after those of the acts that follow it.
func open(t told) told {
	t.goesOn = true
	return t
}

// wrongCodes are n wrong codes of one challenge, counted from the first on.
func wrongCodes(n int) []told {
	var all []told
	for i := 1; i <= n; i++ {
		all = append(all, checked("w"+strconv.Itoa(i), false, wrongCode(5-i)))
	}
	return all
}

func approvedBy(assertion string) reply { return reply{Assertion: assertion} }
func wrongCode(left int) reply          { return reply{Code: "wrong_code", Left: left} }
func no(code string) reply              { return reply{Code: code} }
func where(state challenge.State, left, sends int) reply {
	return reply{State: string(state), Left: left, Sends: sends}
}

// forged is a table of histories that somebody made up: what breaks a promise, and beside it what looks like it and
// breaks none.
func forged() map[string]struct {
	legal   bool
	history []told
} {
	type row = struct {
		legal   bool
		history []told
	}
	lost := reply{Lost: true}
	join := func(parts ...[]told) []told {
		var all []told
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	return map[string]row{
		"one approval":                         {true, []told{checked("a", true, approvedBy("J")), checked("b", true, no("used"))}},
		"two approvals with different ids":     {false, []told{checked("a", true, approvedBy("J")), checked("b", true, approvedBy("J"))}},
		"two approvals at once":                {false, []told{open(checked("a", true, approvedBy("J"))), checked("b", true, approvedBy("J"))}},
		"a repeat gets the same assertion":     {true, []told{checked("a", true, approvedBy("J")), checked("a", true, approvedBy("J"))}},
		"a repeat gets another assertion":      {false, []told{checked("a", true, approvedBy("J")), checked("a", true, approvedBy("K"))}},
		"a repeat is told used at once":        {false, []told{checked("a", true, approvedBy("J")), checked("a", true, no("used"))}},
		"a lost approval explains used":        {true, []told{checked("a", true, lost), checked("b", true, no("used")), checked("a", true, approvedBy("J"))}},
		"nothing explains used":                {false, []told{checked("a", false, lost), checked("b", true, no("used"))}},
		"a lost approval, and another":         {false, []told{checked("a", true, lost), checked("b", true, approvedBy("J")), checked("a", true, approvedBy("K"))}},
		"five wrong codes, then closed":        {true, join(wrongCodes(5), []told{checked("a", true, no("closed"))})},
		"a sixth wrong code is compared":       {false, join(wrongCodes(5), []told{checked("w6", false, wrongCode(0))})},
		"approved after five wrong codes":      {false, join(wrongCodes(5), []told{checked("a", true, approvedBy("J"))})},
		"a repeat is counted again":            {false, []told{checked("w", false, wrongCode(4)), checked("w", false, wrongCode(3))}},
		"a repeat is told what it was told":    {true, []told{checked("w", false, wrongCode(4)), checked("v", false, wrongCode(3)), checked("w", false, wrongCode(4))}},
		"a lost check is counted once":         {true, []told{checked("w", false, lost), checked("w", false, wrongCode(4)), checked("v", false, wrongCode(3))}},
		"a lost check is counted twice":        {false, []told{checked("w", false, lost), checked("w", false, wrongCode(4)), checked("v", false, wrongCode(2))}},
		"the budget is the login's":            {true, join(wrongCodes(5), of(1, wrongCodes(5)...), of(2, checked("a", true, no("too_many"))))},
		"an eleventh wrong code":               {false, join(wrongCodes(5), of(1, wrongCodes(5)...), of(2, checked("w1", false, wrongCode(4))))},
		"a right code beyond the budget":       {false, join(wrongCodes(5), of(1, wrongCodes(5)...), of(2, checked("a", true, approvedBy("J"))))},
		"a right code is charged":              {false, join(of(2, checked("a", true, approvedBy("J"))), wrongCodes(5), of(1, wrongCodes(4)...), of(1, checked("w", false, no("too_many"))))},
		"refused although there is room":       {false, []told{checked("a", true, no("too_many"))}},
		"approved after it was canceled":       {false, []told{saw(doCancel, where(challenge.Canceled, 0, 1)), checked("a", true, approvedBy("J"))}},
		"a cancel that came second":            {true, []told{open(saw(doCancel, where(challenge.Approved, 0, 1))), checked("a", true, approvedBy("J"))}},
		"canceled and approved":                {false, []told{open(saw(doCancel, where(challenge.Canceled, 0, 1))), checked("a", true, approvedBy("J"))}},
		"a read of the past":                   {false, []told{checked("w", false, wrongCode(4)), saw(doRead, where(challenge.Pending, 5, 1))}},
		"approved after the directory changed": {false, []told{did(doChange), checked("a", true, approvedBy("J"))}},
		"the sweep comes when it comes":        {true, []told{did(doChange), saw(doRead, where(challenge.Pending, 5, 1)), saw(doRead, where(challenge.Canceled, 0, 1))}},
		"the sweep is taken back":              {false, []told{did(doChange), saw(doRead, where(challenge.Canceled, 0, 1)), saw(doRead, where(challenge.Pending, 5, 1))}},
		"swept without a cause":                {false, []told{saw(doRead, where(challenge.Canceled, 0, 1))}},
		"a locked login is closed":             {true, join(wrongCodes(5), of(1, wrongCodes(2)...), of(2, checked("a", true, no("closed"))), []told{did(doUnlock)}, of(2, checked("b", true, approvedBy("J"))))},
		"approved while locked":                {false, join(wrongCodes(5), of(1, wrongCodes(2)...), of(2, checked("a", true, approvedBy("J"))))},
		"a success ends the run":               {true, join(wrongCodes(5), of(1, checked("a", true, approvedBy("J"))), of(2, wrongCodes(2)...), of(2, checked("b", true, approvedBy("K"))))},
		"one key, one send":                    {true, []told{resent("k", reply{Send: 2}), resent("k", reply{Send: 2}), saw(doRead, where(challenge.Pending, 5, 2))}},
		"one key, two sends":                   {false, []told{resent("k", reply{Send: 2}), did(doWait), resent("k", reply{Send: 3})}},
		"two keys, one send":                   {false, []told{resent("k", reply{Send: 2}), did(doWait), resent("l", reply{Send: 2})}},
		"no wait":                              {false, []told{resent("k", reply{Send: 2}), resent("l", reply{Send: 3})}},
		"a wait that nobody saw":               {true, []told{resent("k", reply{Send: 2}), open(did(doWait)), resent("l", reply{Send: 3})}},
		"sent after its end":                   {false, []told{checked("a", true, approvedBy("J")), resent("k", reply{Send: 2})}},
		"a key is known after the end":         {true, []told{resent("k", reply{Send: 2}), checked("a", true, approvedBy("J")), resent("k", reply{Send: 2}), resent("l", no("used"))}},
		"a sixth send":                         {false, join(sends(5), []told{did(doWait), resent("k6", reply{Send: 6})})},
		"no more than five sends":              {true, join(sends(4), []told{did(doWait), resent("k6", no("no_more_sends"))})},
		"an address has enough":                {true, join(sends(3), of(1, sends(1)...), of(2, resent("k", no("too_many_messages"))))},
		"an address has too much":              {false, join(sends(3), of(1, sends(1)...), of(2, resent("k", reply{Send: 2})))},
	}
}

// sends are n resends, each after its wait.
func sends(n int) []told {
	var all []told
	for i := range n {
		all = append(all, resent("k"+strconv.Itoa(i), reply{Send: i + 2}), did(doWait))
	}
	return all
}

// The checker can fail: it refuses every history that breaks a promise, and no other.
func TestHistories_AForgedOneIsRefused(t *testing.T) {
	t.Parallel()
	r := usual()
	r.PerAddress, r.LockAfter = 4, 7
	unlocked := usual()
	unlocked.PerAddress = 4
	for name, f := range forged() {
		figures := r
		switch name {
		case "the budget is the login's", "an eleventh wrong code", "a right code beyond the budget", "a right code is charged":
			figures = unlocked
		}
		history := make([]porcupine.Operation, len(f.history))
		for i, o := range f.history {
			at := int64(10 * i)
			history[i] = porcupine.Operation{ClientId: i, Input: o.act, Call: at, Output: o.reply, Return: at + 5}
			if o.goesOn || o.Lost {
				history[i].Return = int64(10 * len(f.history))
			}
		}
		if legal := porcupine.CheckOperations(figures.model(), history); legal != f.legal {
			t.Errorf("%s: legal is %v", name, legal)
		}
	}
}
