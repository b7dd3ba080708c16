package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/problem"
	"doorcode/services/verifier/internal/verifiertest"
)

// Figures of a history.
const (
	clients      = 8 // of a login, all at one challenge, then all at the next
	actsPerVisit = 3
	historyLimit = 2 * time.Minute  // for its clients
	judgeLimit   = 30 * time.Second // for the checker, which rarely needs one
)

// shape is what a history is made of: its rules, and how often each act is drawn.
type shape struct {
	rules  rules
	checks []bool // drawn from: whether the code is the right one
	verbs  []verb // drawn from
}

// often repeats a verb, so that it is drawn more often.
func often(v verb, n int) []verb { return slices.Repeat([]verb{v}, n) }

// usual are the rules of DESIGN 7.
func usual() rules { return rules{Policy: challenge.DefaultPolicy(), PerAddress: 20} }

// wrongly are mostly wrong codes.
func wrongly() []bool { return []bool{false, false, false, false, false, false, false, true} }

// A right code succeeds once, whatever else is asked at the same time, and a repeat is told the same.
func TestP2_HistoriesOfRightCodes(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]shape{
		"right":   {usual(), []bool{true, true, true, false}, slices.Concat(often(doCheck, 6), often(doRead, 2), often(doCancel, 1))},
		"as_well": {usual(), []bool{true, false}, slices.Concat(often(doCheck, 8), often(doRead, 1), often(doResend, 1), often(doWait, 1))},
	} {
		histories(t, name, s)
	}
}

// Wrong codes are counted once, per challenge and over all of a login, also while locks and the directory change.
func TestP3_HistoriesOfWrongCodes(t *testing.T) {
	t.Parallel()
	locking := usual()
	locking.LockAfter = 7
	for name, s := range map[string]shape{
		"budget":    {usual(), wrongly(), slices.Concat(often(doCheck, 14), often(doRead, 2), often(doResend, 1))},
		"lock":      {locking, wrongly(), slices.Concat(often(doCheck, 14), often(doUnlock, 1), often(doRead, 1))},
		"directory": {usual(), wrongly(), slices.Concat(often(doCheck, 10), often(doChange, 1), often(doResend, 2), often(doRead, 3))},
	} {
		histories(t, name, s)
	}
}

// A resend is taken once for each key, in turn, after its wait and within its limits.
func TestP7_HistoriesOfResends(t *testing.T) {
	t.Parallel()
	sparse := usual()
	sparse.PerAddress = 5
	for name, s := range map[string]shape{
		"resends":      {usual(), wrongly(), slices.Concat(often(doResend, 8), often(doWait, 5), often(doCheck, 2), often(doCancel, 1), often(doRead, 2))},
		"full_address": {sparse, wrongly(), slices.Concat(often(doResend, 8), often(doWait, 8), often(doCheck, 1), often(doRead, 1))},
	} {
		histories(t, name, s)
	}
}

// histories runs histories of a shape and judges them: whatever met, at two verifiers and with lost answers, the answers
// are those of one act after the other.
func histories(t *testing.T, name string, s shape) {
	t.Helper()
	for seed := range 2 {
		t.Run(fmt.Sprintf("%s_%d", name, seed), func(t *testing.T) {
			t.Parallel()
			for range 3 { // What cannot be decided is put aside for another.
				h := newHall(t, s.rules)
				h.run(plan(s), 10*seed)
				h.wantOutcomes()
				if judge(t, s.rules, h.history) {
					return
				}
			}
			t.Error("no history could be judged in time")
		})
	}
}

// step is an act of a plan.
type step struct {
	act
	lost bool // nobody waits for its answer
}

// plan draws what the clients of one login do. All of them work on one challenge and go on to the next, but for a look at
// another now and then. Few ids are drawn from, so that many acts are repeats.
func plan(s shape) *rapid.Generator[[][]step] {
	return rapid.Custom(func(t *rapid.T) [][]step {
		plans := make([][]step, clients)
		for i := range plans {
			for visit := range perLogin {
				for range actsPerVisit {
					plans[i] = append(plans[i], draw(t, s, visit))
				}
			}
		}
		return plans
	})
}

// draw draws one act of a visit.
func draw(t *rapid.T, s shape, visit int) step {
	a := step{act: act{Verb: rapid.SampledFrom(s.verbs).Draw(t, "verb"), Challenge: visit}}
	if rapid.IntRange(1, 8).Draw(t, "elsewhere") == 1 {
		a.Challenge = rapid.IntRange(0, perLogin-1).Draw(t, "challenge")
	}
	switch a.Verb {
	case doCheck:
		a.ID = fmt.Sprintf("id%d", rapid.IntRange(1, 12).Draw(t, "id"))
		a.Right = rapid.SampledFrom(s.checks).Draw(t, "right")
	case doResend:
		a.ID = fmt.Sprintf("key%d", rapid.IntRange(1, 7).Draw(t, "key"))
	case doCancel:
	case doRead, doUnlock, doWait, doChange:
		return a // It changes nothing, or nothing is answered.
	}
	a.lost = rapid.IntRange(1, 30).Draw(t, "lost") == 1
	return a
}

// logins are those of a history; nothing joins them, so that each is a history of its own.
func logins() []string { return []string{"anna", "boris"} }

// hall is a house with two verifiers, the challenges of two logins, and what happened to them.
type hall struct {
	*house
	challenges map[string][]verifiertest.Challenge // by login
	began      time.Time

	mu      sync.Mutex
	history []porcupine.Operation
}

func newHall(t *testing.T, r rules) *hall {
	t.Helper()
	h := &hall{house: newHouse(t), challenges: map[string][]verifiertest.Challenge{}}
	h.PG.Exec(t, `INSERT INTO login_budgets (workspace, login) VALUES ('acme', 'boris')`)
	h.start(nil)
	h.start(nil)
	h.began = time.Now()
	for _, login := range logins() {
		for range perLogin {
			h.challenges[login] = append(h.challenges[login], h.Issue(func(e *event.Issued) {
				e.Login, e.Policy = login, r.Policy
				e.ResendAt = e.CreatedAt
				e.Routes[0].Address = []byte("hash of the address of " + login)
				e.Routes[0].PerHour = r.PerAddress
			}))
		}
	}
	return h
}

// client does what its plan says, one act after the other. Whoever does not hear an answer goes on at once; the act
// goes on beside.
func (h *hall) client(ctx context.Context, n int, steps []step) {
	var lost sync.WaitGroup
	defer lost.Wait()
	for _, s := range steps {
		called := time.Since(h.began)
		if s.lost {
			lost.Go(func() { _, _ = h.try(ctx, s.act) })
			h.note(n, s.act, called, historyLimit, reply{Lost: true})
			continue
		}
		got, heard := h.do(ctx, s.act)
		if !heard {
			h.t.Errorf("%s has no answer within %s", describe(s.act, got), historyLimit)
			return
		}
		h.note(n, s.act, called, time.Since(h.began), got)
	}
}

// note keeps an act with its time.
func (h *hall) note(client int, a act, called, returned time.Duration, got reply) {
	a.Late = returned >= lateAfter && (!got.Lost || time.Since(h.began) >= lateAfter)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history = append(h.history, porcupine.Operation{
		ClientId: client, Input: a, Call: called.Nanoseconds(), Output: got, Return: returned.Nanoseconds(),
	})
}

// do asks until there is an answer: a 503 may be asked again with the same id, and is one act however often (P7).
func (h *hall) do(ctx context.Context, a act) (reply, bool) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		got, heard := h.try(ctx, a)
		if heard {
			return got, true
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return reply{}, false
		}
	}
}

// try asks once. false means that nothing is known.
func (h *hall) try(ctx context.Context, a act) (reply, bool) {
	c := h.challenges[a.Login][a.Challenge]
	switch a.Verb {
	case doCheck:
		question := h.Wrong(c, a.ID)
		if a.Right {
			question = h.Right(c, a.ID)
		}
		var answer event.CheckReply
		got, heard := h.request(ctx, event.VerbCheck, question, &answer)
		got.Assertion = answer.Assertion
		return got, heard
	case doResend:
		var answer event.ResendReply
		got, heard := h.request(ctx, event.VerbResend, event.ResendRequest{HandleRequest: c.Request(), Key: []byte(a.ID)}, &answer)
		got.Send = answer.Send
		return got, heard
	case doCancel, doRead:
		subject := map[verb]string{doCancel: event.VerbCancel, doRead: event.VerbState}[a.Verb]
		var answer event.StateReply
		got, heard := h.request(ctx, subject, c.Request(), &answer)
		got.State, got.Left, got.Sends = answer.State, answer.ChecksLeft, len(answer.Deliveries)
		return got, heard
	case doUnlock:
		return h.request(ctx, event.VerbUnlock, event.UnlockRequest{Workspace: "acme", Login: a.Login, By: "web"}, &struct{}{})
	case doChange:
		h.PG.Exec(h.t, `UPDATE login_budgets SET version = version + 1 WHERE login = $1`, a.Login) //nolint:contextcheck // It lasts as long as the test.
	case doWait:
		h.PG.Exec(h.t, `UPDATE challenges SET resend_at = clock_timestamp() WHERE id = $1`, c.ID()) //nolint:contextcheck // It lasts as long as the test.
	}
	return reply{}, true
}

// request asks a verifier. What a refusal says is in the reply, what an answer says in answer.
func (h *hall) request(ctx context.Context, subject string, question, answer any) (reply, bool) {
	data, err := json.Marshal(question)
	if err != nil {
		h.t.Error(err)
	}
	body, err := h.Auth.Request(ctx, subject, data)
	var refused *bus.ServiceError
	switch {
	case errors.As(err, &refused) && refused.Code == 503, errors.Is(err, bus.ErrUnavailable):
		return reply{}, false
	case errors.As(err, &refused):
		var p problem.Problem
		err = json.Unmarshal(refused.Body, &p)
		if err != nil || p.Code == "" {
			h.t.Errorf("%s: status %d with the body %s", subject, refused.Code, refused.Body)
		}
		got := reply{Code: p.Code}
		if p.ChecksLeft != nil {
			got.Left = *p.ChecksLeft
		}
		return got, true
	case err != nil:
		h.t.Error(err)
		return reply{}, true
	}
	err = json.Unmarshal(body, answer)
	if err != nil {
		h.t.Error(err)
	}
	return reply{}, true
}

// run lets the clients loose on every challenge, and reads each of them once when all have ended.
func (h *hall) run(plans *rapid.Generator[[][]step], seed int) {
	ctx, cancel := context.WithTimeout(h.t.Context(), historyLimit)
	defer cancel()
	var all [][]step
	for _, login := range logins() {
		seed++ // Each login has a plan of its own.
		for _, steps := range plans.Example(seed) {
			for k := range steps {
				steps[k].Login = login
			}
			all = append(all, steps)
		}
	}
	verifiertest.Parallel(len(all), func(n int) { h.client(ctx, n, all[n]) })
	for login, challenges := range h.challenges {
		for i := range challenges {
			h.client(ctx, len(all), []step{{act: act{Verb: doRead, Login: login, Challenge: i}}})
		}
	}
}

// judge reports whether it could be decided if some order of the acts explains the answers: which of them meet decides
// how many orders there are to look through. When none does, it fails the test and leaves a picture of the history.
func judge(t *testing.T, r rules, history []porcupine.Operation) bool {
	t.Helper()
	m := r.model()
	result, info := porcupine.CheckOperationsVerbose(m, history, judgeLimit)
	if result != porcupine.Illegal {
		return result == porcupine.Ok
	}
	path := filepath.Join(t.ArtifactDir(), "history.html")
	err := porcupine.VisualizePath(m, info, path)
	if err != nil {
		t.Error(err)
	}
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var lines strings.Builder
	for _, o := range history {
		fmt.Fprintf(&lines, "%10d to %10d µs: %s\n", o.Call/1000, o.Return/1000, m.DescribeOperation(o.Input, o.Output))
	}
	t.Errorf("no order explains the history; its picture is %s (kept with -artifacts)\n%s", path, lines.String())
	return true
}

// wantOutcomes compares the record with what is true at the end: each challenge that ended has one outcome, each counted
// wrong code one row, and the bus has heard each of them once.
func (h *hall) wantOutcomes() {
	h.t.Helper()
	h.Want(0, `SELECT count(*) FROM challenges c WHERE (state <> 'pending')::int <> (SELECT count(*) FROM audit a
		WHERE a.challenge_id = c.id AND a.kind = 'challenge.v1.' || c.state)`)
	h.Want(0, `SELECT count(*) FROM challenges c WHERE wrong <> (SELECT count(*) FROM audit a
		WHERE a.challenge_id = c.id AND a.kind = 'check.v1.rejected')`)
	h.Want(0, `SELECT count(*) FROM login_budgets g WHERE cardinality(failures) <> (SELECT count(*) FROM audit a
		WHERE a.login = g.login AND a.kind = 'check.v1.rejected')`)
	bustest.Wait(h.t, "the outcomes are told", func() bool { // Also of what nobody waited for, which may end now.
		told := h.Count(`SELECT count(*) FROM audit WHERE kind = 'check.v1.rejected' OR kind IN
			('challenge.v1.approved', 'challenge.v1.canceled', 'challenge.v1.exhausted')`)
		return h.Count(`SELECT count(*) FROM outbox`) == 0 && len(h.Bus.Messages(h.t, event.StreamOutcomes)) == told
	})
}
