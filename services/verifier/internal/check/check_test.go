package check_test

import (
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/verifier/internal/check"
	"doorcode/services/verifier/internal/lookup"
	"doorcode/services/verifier/internal/verifiertest"
)

// bench is a checker over a rig, without a recorder.
type bench struct {
	*verifiertest.Rig
	t       *testing.T
	db      *postgres.DB
	cfg     check.Config
	checker *check.Checker
	log     strings.Builder
	logging sync.Mutex
	ended   atomic.Int32
	changed atomic.Int32
}

// Write takes log lines.
func (b *bench) Write(line []byte) (int, error) {
	b.logging.Lock()
	defer b.logging.Unlock()
	return b.log.Write(line)
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{Rig: verifiertest.New(t), t: t}
	b.db = b.DB()
	b.cfg = check.Config{
		Store: b.db, Finder: lookup.New(b.db, b.Bus.Connect(t, "verifier"), b.Handles), Digests: b.Digests,
		CheckIDs: b.CheckIDs, Keys: b.Keys, Issuer: "doorcode", Log: slog.New(slog.NewTextHandler(b, nil)),
		Ended: func(channel string, _ challenge.State) {
			if channel == "email" {
				b.ended.Add(1)
			}
		},
		Changed: func(ids ...string) { b.changed.Add(int32(len(ids))) },
	}
	b.build()
	return b
}

// build makes the checker of cfg.
func (b *bench) build() {
	b.t.Helper()
	checker, err := check.New(b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.checker = checker
}

// approved wants an assertion.
func (b *bench) approved(r event.CheckRequest) string {
	b.t.Helper()
	reply, err := b.checker.Check(b.t.Context(), r)
	if err != nil || reply.Assertion == "" {
		b.t.Fatalf("not approved: %v", err)
	}
	return reply.Assertion
}

// refused wants a refusal of a kind, with that many checks left (-1: none told).
func (b *bench) refused(r event.CheckRequest, status int, code string, left int) {
	b.t.Helper()
	_ = b.refusal(r, status, code, left)
}

// refusal is refused for whoever looks at the rest of it.
func (b *bench) refusal(r event.CheckRequest, status int, code string, left int) *problem.Problem {
	b.t.Helper()
	reply, err := b.checker.Check(b.t.Context(), r)
	var p *problem.Problem
	if !errors.As(err, &p) || reply.Assertion != "" {
		b.t.Fatalf("not refused: %v", err)
	}
	if p.Status != status || p.Code != code {
		b.t.Errorf("%d %s, not %d %s", p.Status, p.Code, status, code)
	}
	if (p.ChecksLeft == nil) != (left < 0) || (p.ChecksLeft != nil && *p.ChecksLeft != left) {
		b.t.Errorf("%s: checks left %v, not %d", p.Code, p.ChecksLeft, left)
	}
	return p
}

func TestP8_CheckOneMillisecondAfterCreateWithoutRecorder(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	b.approved(b.Right(c, "one"))
	b.Want(1, `SELECT count(*) FROM challenges WHERE state = 'approved' AND stream_number = 7 AND stream_sequence = $1`, int64(c.Sequence))
	if b.changed.Load() != 1 || b.ended.Load() != 1 {
		t.Errorf("changed %d, ended %d", b.changed.Load(), b.ended.Load())
	}
}

// It shows SEC-19 of deploy/SECURITY.md.
func TestP8_64VerifiersMaterialiseAndApproveOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 3 {
		c := b.Issue()
		var approved, used atomic.Int32
		verifiertest.Parallel(65, func(i int) {
			if i == 64 {
				err := b.db.Record(t.Context(), postgres.Batch{Challenges: []postgres.Issued{{Event: c.Event, Stream: 7, Sequence: c.Sequence}}})
				if err != nil {
					t.Error(err)
				}
				return
			}
			_, err := b.checker.Check(t.Context(), b.Right(c, strconv.Itoa(i)))
			var p *problem.Problem
			switch {
			case err == nil:
				approved.Add(1)
			case errors.As(err, &p) && p.Code == "used":
				used.Add(1)
			default:
				t.Error(err)
			}
		})
		if approved.Load() != 1 || used.Load() != 63 {
			t.Errorf("%d approved, %d used", approved.Load(), used.Load())
		}
		b.Want(1, `SELECT count(*) FROM audit WHERE id = $1`, c.ID()+".refused.used")
	}
}

// It shows SEC-19 and SEC-21 of deploy/SECURITY.md.
func TestP2_ARepeatOfAnApprovedCheckIsTheSameAssertionAndLaterUsed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	first := b.approved(b.Right(c, "one"))
	verifiertest.Parallel(8, func(int) {
		reply, err := b.checker.Check(t.Context(), b.Right(c, "one"))
		if err != nil || reply.Assertion != first {
			t.Errorf("another answer: %v", err)
		}
	})
	b.refused(b.Right(c, "two"), 422, "used", 0)
	b.refused(b.Wrong(c, "one"), 422, "used", 0) // The same id with another code is another check.
	b.PG.Exec(t, `UPDATE challenges SET ended_at = ended_at - interval '60 seconds'`)
	b.refused(b.Right(c, "one"), 422, "used", 0)
	b.Want(1, `SELECT count(*) FROM audit WHERE kind = 'challenge.v1.approved'`)
	b.Want(0, `SELECT cardinality(failures) FROM login_budgets`)
}

// It shows SEC-10 of deploy/SECURITY.md.
func TestP3_FiveWrongCodesThenClosed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	for n := range 5 {
		b.refused(b.Wrong(c, strconv.Itoa(n)), 422, "wrong_code", 4-n)
	}
	b.refused(b.Right(c, "right"), 422, "closed", 0)
	b.refused(b.Right(c, "again"), 422, "closed", 0)
	// A repeat of a counted check has its answer still, and counts nothing.
	for n := range 5 {
		b.refused(b.Wrong(c, strconv.Itoa(n)), 422, "wrong_code", 4-n)
	}
	b.Want(5, `SELECT cardinality(failures) FROM login_budgets`)
	b.Want(1, `SELECT count(*) FROM audit WHERE id = $1`, c.ID()+".refused.closed")
}

// It shows SEC-21 of deploy/SECURITY.md.
func TestP3_TwoCopiesOfOneCheckAtOnceGetOneAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	verifiertest.Parallel(16, func(int) {
		_, err := b.checker.Check(t.Context(), b.Wrong(c, "same"))
		var p *problem.Problem
		if !errors.As(err, &p) || p.Code != "wrong_code" || *p.ChecksLeft != 4 {
			t.Error(err)
		}
	})
	b.Want(1, `SELECT wrong FROM challenges`)
}

// It shows SEC-12, SEC-13, SEC-16 and SEC-24 of deploy/SECURITY.md.
func TestP3_SpentBudgetSaysWhenThereIsRoom(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	b.PG.Exec(t, `UPDATE login_budgets SET failures = array(SELECT clock_timestamp() - interval '50 minutes' FROM generate_series(1, 10))`)
	p := b.refusal(b.Right(c, "one"), 429, "too_many", -1)
	if p.RetryAfter <= 9*time.Minute || p.RetryAfter > 10*time.Minute {
		t.Errorf("room in %s", p.RetryAfter)
	}
	wrong := b.refusal(b.Wrong(c, "two"), 429, "too_many", -1)
	if wrong.Detail != p.Detail {
		t.Error("the answer tells a right code from a wrong one")
	}
	b.PG.Exec(t, `UPDATE login_budgets SET failures = array(SELECT clock_timestamp() - interval '20 hours' FROM generate_series(1, 20))`)
	p = b.refusal(b.Right(c, "three"), 429, "too_many", -1)
	if p.RetryAfter <= 3*time.Hour || p.RetryAfter > 4*time.Hour {
		t.Errorf("room in %s", p.RetryAfter)
	}
	b.PG.Exec(t, `UPDATE login_budgets SET failures = '{}'`)
	b.approved(b.Right(c, "four"))
}

func TestP3_ALoginRemovedBetweenCreateAndRecordIsRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"removed":      `UPDATE login_budgets SET removed_at = clock_timestamp(), version = version + 1`,
		"never there":  `DELETE FROM login_budgets`,
		"made anew":    `UPDATE login_budgets SET version = version + 2`,
		"locked since": `UPDATE login_budgets SET locked_at = clock_timestamp()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			c := b.Issue()
			b.PG.Exec(t, change)
			b.refused(b.Right(c, "one"), 422, "closed", 0)
			b.refused(b.Wrong(c, "two"), 422, "closed", 0)
			b.Want(0, `SELECT count(*) FROM audit WHERE kind IN ('challenge.v1.approved', 'check.v1.rejected')`)
		})
	}
}

// It shows SEC-03 of deploy/SECURITY.md.
func TestCheck_AnExpiredChallengeIsNeverMadeForACheck(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue(func(e *event.Issued) {
		e.CreatedAt = e.CreatedAt.Add(-10 * time.Minute)
		e.ExpiresAt = e.CreatedAt.Add(5 * time.Minute)
	})
	b.refused(b.Right(c, "one"), 422, "expired", 0)
	b.Want(0, `SELECT count(*) FROM challenges`)
	recorded := b.Issue()
	b.refused(b.Wrong(recorded, "one"), 422, "wrong_code", 4)
	b.PG.Exec(t, `UPDATE challenges SET expires_at = clock_timestamp()`)
	b.refused(b.Right(recorded, "two"), 422, "expired", 0)
	b.Want(1, `SELECT count(*) FROM audit WHERE id = $1`, recorded.ID()+".refused.expired")
}

// It shows SEC-05 of deploy/SECURITY.md.
func TestCheck_BindsEveryFact(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for n, column := range []string{
		`login_version = 2`, `purpose = 'other'`, `login = 'ben'`, `workspace = 'other'`,
	} {
		c := b.Issue()
		err := b.db.Record(t.Context(), postgres.Batch{Challenges: []postgres.Issued{{Event: c.Event, Stream: 7, Sequence: c.Sequence}}})
		if err != nil {
			t.Fatal(err)
		}
		// Whoever can write the row still cannot move a code: the budget follows, the digest does not.
		b.PG.Exec(t, `UPDATE challenges SET `+column+` WHERE id = $1`, c.ID())
		b.PG.Exec(t, `INSERT INTO login_budgets (workspace, login, version) SELECT workspace, login, login_version FROM challenges WHERE id = $1
			ON CONFLICT (workspace, login) DO UPDATE SET version = excluded.version`, c.ID())
		b.refused(b.Right(c, strconv.Itoa(n)), 422, "wrong_code", 4)
		b.PG.Exec(t, `UPDATE login_budgets SET version = 1`)
	}
}

// It shows SEC-05, SEC-24 and SEC-53 of deploy/SECURITY.md.
func TestCheck_AnotherFrontEndKnowsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	for range 2 { // Not recorded, then recorded.
		foreign := b.Right(c, "one")
		foreign.FrontEnd = "other"
		b.refused(foreign, 404, "unknown_challenge", -1)
		mangled := b.Right(c, "one")
		mangled.Handle = mangled.Handle[:len(mangled.Handle)-2] + "AA"
		b.refused(mangled, 404, "unknown_challenge", -1)
		b.refused(b.Wrong(c, "two"), 422, "wrong_code", 4)
	}
}

// It shows SEC-14 and SEC-67 of deploy/SECURITY.md.
func TestP7_MissingKeysSkipNothingAndCountNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	other := b.Right(c, "one")
	other.Tags = map[uint8][]byte{9: other.Tags[1]}
	if p := b.refusal(other, 503, "unavailable", -1); p.RetryAfter <= 0 {
		t.Error("no time to try again")
	}
	digests := b.cfg.Digests
	empty, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	b.PG.Exec(t, `UPDATE challenges SET digest_key = 9`)
	b.cfg.Digests = empty
	b.build()
	b.refused(b.Right(c, "one"), 503, "unavailable", -1)
	b.Want(0, `SELECT sum(wrong) FROM challenges`)
	b.logging.Lock()
	if strings.Count(b.log.String(), "level=ERROR") != 2 {
		t.Errorf("log: %s", b.log.String())
	}
	b.logging.Unlock()
	b.PG.Exec(t, `UPDATE challenges SET digest_key = 1`)
	b.cfg.Digests = digests
	b.build()
	b.approved(b.Right(c, "one"))
}

func TestP7_ARepeatAcrossAKeyRotationCountsOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	b.refused(b.Wrong(c, "one"), 422, "wrong_code", 4)
	rotated, err := b.CheckIDs.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	b.cfg.CheckIDs = rotated
	b.build()
	b.refused(b.Wrong(c, "one"), 422, "wrong_code", 4)
	b.refused(b.Wrong(c, "two"), 422, "wrong_code", 3)
	b.Want(2, `SELECT wrong FROM challenges`)
}

func TestP7_WithoutTheBusRecordedChallengesAreJudged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	recorded, missing := b.Issue(), b.Issue()
	b.refused(b.Wrong(recorded, "one"), 422, "wrong_code", 4)
	b.Bus.Stop(t)
	b.approved(b.Right(recorded, "two"))
	_, err := b.checker.Check(t.Context(), b.Right(missing, "one"))
	var p *problem.Problem
	if err == nil || errors.As(err, &p) {
		t.Errorf("an answer about a challenge that nobody could read: %v", err)
	}
}

// It shows SEC-14 and SEC-67 of deploy/SECURITY.md.
func TestP7_WithoutPostgresNothingIsJudged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	b.db.Close()
	_, err := b.checker.Check(t.Context(), b.Right(c, "one"))
	var p *problem.Problem
	if err == nil || errors.As(err, &p) {
		t.Errorf("an answer without a database: %v", err)
	}
	b.Want(0, `SELECT count(*) FROM challenges`)
}

// It shows SEC-04 of deploy/SECURITY.md.
func TestCheck_WantsAnIDAndATag(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	for _, r := range []event.CheckRequest{
		b.Right(c, ""), b.Right(c, strings.Repeat("x", 201)),
		{HandleRequest: c.Request(), CheckID: "one"},
	} {
		b.refused(r, 400, "invalid_request", -1)
	}
}

func TestNew_NamesAMissingPart(t *testing.T) {
	t.Parallel()
	_, err := check.New(check.Config{})
	if err == nil {
		t.Error("an empty configuration was taken")
	}
}

// It shows SEC-13 of deploy/SECURITY.md.
func TestP3_ALockedLoginIsClosedUntilItIsUnlocked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.PG.Exec(t, `UPDATE login_budgets SET in_a_row = 49`)
	c, other := b.Issue(), b.Issue()
	b.refused(b.Wrong(c, "one"), 422, "wrong_code", 4)
	b.refused(b.Right(c, "two"), 422, "closed", 0)
	b.refused(b.Right(other, "three"), 422, "closed", 0)
	b.refused(b.Wrong(c, "one"), 422, "wrong_code", 4) // A repeat has its answer still.
	unlocked, err := b.db.Unlock(t.Context(), "acme", "anna", "admin")
	if err != nil || !unlocked {
		t.Fatalf("%v %v", unlocked, err)
	}
	b.approved(b.Right(c, "four"))
	b.Want(1, `SELECT count(*) FROM outbox WHERE type = 'directory.v1.login_locked'`)
	b.Want(1, `SELECT cardinality(failures) FROM login_budgets`)
}
