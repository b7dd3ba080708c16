package waive_test

import (
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/otp"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/problem"
	"doorcode/services/verifier/internal/check"
	"doorcode/services/verifier/internal/lookup"
	"doorcode/services/verifier/internal/verifiertest"
	"doorcode/services/verifier/internal/waive"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// bench is a waiver over a verifiertest.
type bench struct {
	*verifiertest.Rig
	t      *testing.T
	db     *postgres.DB
	finder *lookup.Finder
	waiver *waive.Waiver
	ended  atomic.Int32
	told   atomic.Int32
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{Rig: verifiertest.New(t), t: t}
	b.db = b.DB()
	b.finder = lookup.New(b.db, b.Bus.Connect(t, "verifier"), b.Handles)
	waiver, err := waive.New(waive.Config{
		Store: b.db, Finder: b.finder, Digests: b.Digests, Keys: b.Keys, Issuer: "doorcode", Log: slog.New(slog.DiscardHandler),
		Ended: func(string, challenge.State) { b.ended.Add(1) }, Changed: func(ids ...string) { b.told.Add(int32(len(ids))) },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.waiver = waiver
	return b
}

// leave is what auth gives for a challenge of anna.
func (b *bench) leave(id, why string, skips int) event.Waiver {
	return b.leaveUntil(id, why, skips, time.Now().Add(10*time.Minute))
}

// leaveUntil is leave that ends then.
func (b *bench) leaveUntil(id, why string, skips int, until time.Time) event.Waiver {
	until = until.UTC().Truncate(time.Microsecond)
	w := otp.Waiver{
		Binding: otp.Binding{Challenge: id, Workspace: "acme", Login: "anna", LoginVersion: 1, FrontEnd: verifiertest.FrontEnd, Purpose: "sign_in"},
		Why:     why, Skips: skips, Until: until,
	}
	key, mac := w.Seal(b.Digests)
	return event.Waiver{Why: why, Skips: skips, Until: until, Key: key, MAC: mac}
}

// request asks for the waiver of a new sign-in of anna.
func (b *bench) request() event.WaiveRequest {
	b.t.Helper()
	id, err := challenge.NewID()
	if err != nil {
		b.t.Fatal(err)
	}
	return event.WaiveRequest{
		Challenge: id, Workspace: "acme", Login: "anna", LoginVersion: 1, FrontEnd: verifiertest.FrontEnd, SupportReference: "4F72KQ9R",
		CreatedAt: time.Now().UTC(), Fingerprint: []byte("request"), Waiver: b.leave(id, "not_yet", 0),
	}
}

// skippable issues a challenge that may be skipped until anna has had so many skips.
func (b *bench) skippable(skips int) verifiertest.Challenge {
	b.t.Helper()
	return b.Issue(func(e *event.Issued) {
		leave := b.leave(e.Challenge, "grace", skips)
		e.Skip = &leave
	})
}

// code returns the code of the problem that an error is.
func code(t *testing.T, err error) string {
	t.Helper()
	var p *problem.Problem
	if !errors.As(err, &p) {
		t.Fatalf("no refusal: %v", err)
	}
	return p.Code
}

func TestWaive_IsOnRecordOnceHoweverOftenItIsAsked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.request()
	answers := make([]string, 8)
	verifiertest.Parallel(len(answers), func(i int) {
		reply, err := b.waiver.Waive(t.Context(), r)
		if err != nil {
			t.Error(err)
		}
		answers[i] = reply.Assertion
	})
	for _, a := range answers {
		if a == "" || a != answers[0] {
			t.Errorf("different assertions for one sign-in:\n%s\n%s", a, answers[0])
		}
	}
	b.Want(1, `SELECT count(*) FROM challenges WHERE state = 'waived' AND ended_at IS NOT NULL AND digest IS NULL`)
	b.Want(1, `SELECT count(*) FROM audit WHERE kind = 'challenge.v1.waived' AND challenge_id = $1`, r.Challenge)
	b.Want(1, `SELECT count(*) FROM outbox WHERE type = 'challenge.v1.waived'`)
	b.Want(0, `SELECT skips::int FROM login_budgets`)
	if b.ended.Load() != 1 || b.told.Load() != 1 {
		t.Errorf("%d ended, %d told", b.ended.Load(), b.told.Load())
	}
	// What is on record counts, also when the reason has changed meanwhile.
	other := r
	other.Waiver = b.leave(r.Challenge, "exempt", 0)
	again, err := b.waiver.Waive(t.Context(), other)
	if err != nil || again.Assertion != answers[0] {
		t.Errorf("with another reason: %v", err)
	}
	other.Fingerprint = []byte("another request")
	_, err = b.waiver.Waive(t.Context(), other)
	if got := code(t, err); got != waive.CodeTaken {
		t.Errorf("another request: %s", got)
	}
	b.PG.Exec(t, `UPDATE challenges SET ended_at = ended_at - interval '61 seconds'`)
	_, err = b.waiver.Waive(t.Context(), r)
	if got := code(t, err); got != waive.CodeNotWaived {
		t.Errorf("a minute later: %s", got)
	}
}

// A request that somebody kept does nothing later, also when the challenge is not on record any more.
func TestWaive_LeaveThatWasKeptEnds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.request()
	r.Waiver = b.leaveUntil(r.Challenge, "not_yet", 0, time.Now().Add(2*time.Second))
	_, err := b.waiver.Waive(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "it ends", func() bool {
		b.PG.Exec(t, `DELETE FROM challenges`)
		b.PG.Exec(t, `DELETE FROM outbox`)
		_, err := b.waiver.Waive(t.Context(), r)
		return err != nil && code(t, err) == waive.CodeNotWaived
	})
}

// Without leave of auth for this very sign-in nothing is waived, and neither is anything of a login that is locked, gone or
// has changed.
// It shows SEC-61 of deploy/SECURITY.md.
func TestWaive_NeedsLeaveAndAnOpenLogin(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, change := range map[string]func(*event.WaiveRequest){
		"of another login":      func(r *event.WaiveRequest) { r.Login = "bert" },
		"of another workspace":  func(r *event.WaiveRequest) { r.Workspace = "other" },
		"for another front-end": func(r *event.WaiveRequest) { r.FrontEnd = "admin" },
		"for another reason":    func(r *event.WaiveRequest) { r.Waiver.Why = "exempt" },
		"to skip":               func(r *event.WaiveRequest) { r.Waiver = b.leave(r.Challenge, "grace", 3) },
		"without a MAC":         func(r *event.WaiveRequest) { r.Waiver.MAC = nil },
		"with a later end":      func(r *event.WaiveRequest) { r.Waiver.Until = r.Waiver.Until.Add(time.Hour) },
		"that has ended": func(r *event.WaiveRequest) {
			r.Waiver = b.leaveUntil(r.Challenge, "not_yet", 0, time.Now().Add(-time.Second))
		},
		"of no request":      func(r *event.WaiveRequest) { r.Fingerprint = nil },
		"of a later version": func(r *event.WaiveRequest) { r.LoginVersion = 2 },
	} {
		r := b.request()
		change(&r)
		_, err := b.waiver.Waive(t.Context(), r)
		if got := code(t, err); got != waive.CodeNotWaived {
			t.Errorf("leave %s: %s", name, got)
		}
	}
	for name, change := range map[string]string{
		"locked": `locked_at = now()`, "removed": `removed_at = now()`, "changed": `version = version + 1`,
	} {
		b.PG.Exec(t, `UPDATE login_budgets SET `+change)
		_, err := b.waiver.Waive(t.Context(), b.request())
		if got := code(t, err); got != waive.CodeNotWaived {
			t.Errorf("a login that is %s: %s", name, got)
		}
		b.PG.Exec(t, `UPDATE login_budgets SET locked_at = NULL, removed_at = NULL, version = 1`)
	}
	c := b.skippable(1)
	r := b.request()
	r.Challenge = c.ID()
	r.Waiver = b.leave(c.ID(), "not_yet", 0)
	_, err := b.finder.Find(t.Context(), c.Request())
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.waiver.Waive(t.Context(), r)
	if got := code(t, err); got != waive.CodeTaken {
		t.Errorf("the id of a challenge: %s", got)
	}
	b.Want(0, `SELECT count(*) FROM audit WHERE kind = 'challenge.v1.waived'`)
}

// One challenge is skipped once, however many ask at the same moment, and counted once.
func TestSkip_CountsOnceAndAnswersAllTheSame(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.skippable(5)
	answers := make([]string, 16)
	verifiertest.Parallel(len(answers), func(i int) {
		reply, err := b.waiver.Skip(t.Context(), c.Request())
		if err != nil {
			t.Error(err)
		}
		answers[i] = reply.Assertion
	})
	for _, a := range answers {
		if a == "" || a != answers[0] {
			t.Errorf("different assertions for one skip:\n%s\n%s", a, answers[0])
		}
	}
	b.Want(1, `SELECT skips::int FROM login_budgets`)
	b.Want(1, `SELECT count(*) FROM audit WHERE kind = 'challenge.v1.waived' AND detail ->> 'reason' = 'grace' AND detail ->> 'channel' = 'email'`)
	b.PG.Exec(t, `UPDATE challenges SET ended_at = ended_at - interval '61 seconds'`)
	_, err := b.waiver.Skip(t.Context(), c.Request())
	if got := code(t, err); got != "used" {
		t.Errorf("a minute later: %s", got)
	}
}

// Of many challenges of a login at once exactly as many are skipped as it may.
func TestSkip_NeverMoreThanTheLoginMay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const most, asked = 3, 12
	var challenges []verifiertest.Challenge
	for range asked {
		challenges = append(challenges, b.skippable(most))
	}
	var done, refused atomic.Int32
	verifiertest.Parallel(asked, func(i int) {
		_, err := b.waiver.Skip(t.Context(), challenges[i].Request())
		var p *problem.Problem
		switch {
		case err == nil:
			done.Add(1)
		case errors.As(err, &p) && p.Code == waive.CodeNotSkippable:
			refused.Add(1)
		default:
			t.Error(err)
		}
	})
	if done.Load() != most || refused.Load() != asked-most {
		t.Errorf("%d were skipped, %d refused", done.Load(), refused.Load())
	}
	b.Want(most, `SELECT skips::int FROM login_budgets`)
	b.Want(most, `SELECT count(*) FROM challenges WHERE state = 'waived'`)
}

// Who can write the database cannot make a code skippable: the verifier believes no row without the MAC of auth.
// It shows SEC-61 of deploy/SECURITY.md.
func TestSkip_BelievesNoRowThatAuthDidNotSeal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	required, other := b.Issue(), b.skippable(1)
	for _, c := range []verifiertest.Challenge{required, other} {
		_, err := b.finder.Find(t.Context(), c.Request())
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.waiver.Skip(t.Context(), required.Request())
	if got := code(t, err); got != waive.CodeNotSkippable {
		t.Errorf("a required one: %s", got)
	}
	b.PG.Exec(t, `UPDATE challenges SET skip = (SELECT skip FROM challenges WHERE id = $2) WHERE id = $1`, required.ID(), other.ID())
	b.PG.Exec(t, `UPDATE challenges SET skip = jsonb_set(jsonb_set(skip, '{skips}', '100'), '{until}', '"2099-01-01T00:00:00Z"') WHERE id = $1`, other.ID())
	for name, c := range map[string]verifiertest.Challenge{"leave of another challenge": required, "more skips": other} {
		_, err := b.waiver.Skip(t.Context(), c.Request())
		if got := code(t, err); got != waive.CodeNotSkippable {
			t.Errorf("%s: %s", name, got)
		}
	}
	foreign := other.Request()
	foreign.FrontEnd = "admin"
	_, err = b.waiver.Skip(t.Context(), foreign)
	if got := code(t, err); got != "unknown_challenge" {
		t.Errorf("another front-end: %s", got)
	}
	b.Want(0, `SELECT count(*) FROM challenges WHERE state = 'waived'`)
}

// A skip and a right code at the same moment: one of them ends the challenge.
func TestSkip_OrARightCodeAndNeverBoth(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	checker, err := check.New(check.Config{
		Store: b.db, Finder: b.finder, Digests: b.Digests, CheckIDs: b.CheckIDs, Keys: b.Keys, Issuer: "doorcode",
		Log: slog.New(slog.DiscardHandler), Ended: func(string, challenge.State) {}, Changed: func(...string) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		c := b.skippable(100)
		right := b.Right(c, "one")
		var ended atomic.Int32
		verifiertest.Parallel(2, func(i int) {
			var err error
			if i == 0 {
				_, err = b.waiver.Skip(t.Context(), c.Request())
			} else {
				_, err = checker.Check(t.Context(), right)
			}
			if err == nil {
				ended.Add(1)
			}
		})
		if ended.Load() != 1 {
			t.Errorf("%d ways on", ended.Load())
		}
		b.Want(1, `SELECT count(*) FROM audit WHERE challenge_id = $1 AND kind IN ('challenge.v1.approved', 'challenge.v1.waived')`, c.ID())
	}
}

// A row without a route is none that may be skipped: it was edited, and nothing is skipped before that is seen.
func TestSkip_OfAChallengeWithoutARouteIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.skippable(3)
	_, err := b.finder.Find(t.Context(), c.Request())
	if err != nil {
		t.Fatal(err)
	}
	b.PG.Exec(t, `UPDATE challenges SET routes = '[]'`)
	_, err = b.waiver.Skip(t.Context(), c.Request())
	if got := code(t, err); got != waive.CodeNotSkippable {
		t.Errorf("it is %s", got)
	}
	b.Want(0, `SELECT skips::int FROM login_budgets`)
}

// What has ended another way, or belongs to a login that has changed, is not skipped.
func TestSkip_IsRefusedByWhatHasEnded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for want, change := range map[string]string{
		"expired": `UPDATE challenges SET expires_at = clock_timestamp()`,
		"closed":  `UPDATE login_budgets SET version = version + 1`,
	} {
		c := b.skippable(3)
		_, err := b.finder.Find(t.Context(), c.Request())
		if err != nil {
			t.Fatal(err)
		}
		b.PG.Exec(t, change)
		_, err = b.waiver.Skip(t.Context(), c.Request())
		if got := code(t, err); got != want {
			t.Errorf("%s: %s", want, got)
		}
		b.PG.Exec(t, `UPDATE login_budgets SET version = 1`)
		b.PG.Exec(t, `DELETE FROM challenges`)
	}
	// product.md edge case 6: codes have become required while the page was open.
	enforced := b.Issue(func(e *event.Issued) {
		leave := b.leaveUntil(e.Challenge, "grace", 3, time.Now().Add(-time.Second))
		e.Skip = &leave
	})
	_, err := b.waiver.Skip(t.Context(), enforced.Request())
	if got := code(t, err); got != waive.CodeNotSkippable {
		t.Errorf("after the date: %s", got)
	}
	late := b.Issue(func(e *event.Issued) {
		leave := b.leave(e.Challenge, "grace", 3)
		e.Skip, e.CreatedAt, e.ExpiresAt = &leave, e.CreatedAt.Add(-time.Hour), e.CreatedAt.Add(-50*time.Minute)
	})
	_, err = b.waiver.Skip(t.Context(), late.Request())
	if got := code(t, err); got != "expired" {
		t.Errorf("one that expired before it was recorded: %s", got)
	}
}
