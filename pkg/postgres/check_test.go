package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/postgres"
)

// It shows SEC-19 of deploy/SECURITY.md.
func TestP2_64ParallelRightChecksOneSuccess(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for round := range 5 {
		id := s.challenge()
		var approved, counted atomic.Int32
		parallel(64, func(i int) {
			j, ok := s.check(id, mac(i), "right")
			if ok {
				counted.Add(1)
			}
			if j.Approved {
				approved.Add(1)
			}
		})
		if approved.Load() != 1 || counted.Load() != 1 {
			t.Fatalf("round %d: %d approved, %d counted", round, approved.Load(), counted.Load())
		}
		s.wantCount(1, `SELECT count(*) FROM audit WHERE challenge_id = $1 AND kind = 'challenge.v1.approved'`, id)
		s.wantCount(1, `SELECT count(*) FROM outbox WHERE id = $1`, id+".approved")
		s.wantCount(0, `SELECT cardinality(failures) FROM login_budgets WHERE login = 'anna'`)
	}
}

// It shows SEC-10 and SEC-20 of deploy/SECURITY.md.
func TestP3_64ParallelWrongChecksFiveCompared(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	var counted atomic.Int32
	left := make([]int, 64)
	parallel(64, func(i int) {
		j, ok := s.check(id, mac(i), "wrong")
		left[i] = -1
		if ok {
			counted.Add(1)
			left[i] = j.ChecksLeft
		}
	})
	if counted.Load() != 5 {
		t.Errorf("%d compared", counted.Load())
	}
	left = slices.DeleteFunc(left, func(n int) bool { return n < 0 })
	slices.Sort(left)
	if !slices.Equal(left, []int{0, 1, 2, 3, 4}) {
		t.Errorf("checks left: %v", left)
	}
	if st := s.standing(id); st.State != challenge.Exhausted {
		t.Errorf("state %s", st.State)
	}
	// Hammering the dead challenge costs its login nothing (security.md 5.4).
	s.wantCount(5, `SELECT cardinality(failures) FROM login_budgets WHERE login = 'anna'`)
	s.wantCount(5, `SELECT count(*) FROM audit WHERE challenge_id = $1 AND kind = 'check.v1.rejected'`, id)
	if _, ok := s.check(id, mac(99), "right"); ok {
		t.Error("an exhausted challenge compared a right code")
	}
}

// It shows SEC-20 of deploy/SECURITY.md.
func TestP3_64ParallelMixedChecksNeverBoth(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for range 4 {
		s.pg.Exec(t, `UPDATE login_budgets SET failures = '{}'`)
		id := s.challenge()
		var wrong, approved atomic.Int32
		parallel(64, func(i int) {
			word := "wrong"
			if i%8 == 0 {
				word = "right"
			}
			j, ok := s.check(id, mac(i), word)
			switch {
			case j.Approved:
				approved.Add(1)
			case ok:
				wrong.Add(1)
			}
		})
		exhausted := approved.Load() == 0 && wrong.Load() == 5
		succeeded := approved.Load() == 1 && wrong.Load() <= 4
		if !exhausted && !succeeded {
			t.Errorf("%d approved after %d wrong", approved.Load(), wrong.Load())
		}
	}
}

// It shows SEC-11, SEC-12 and SEC-15 of deploy/SECURITY.md.
func TestP3_40ChallengesOfOneLoginExactlyTheBudget(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		failures string // entries that are there before
		compared int
	}{
		"hour":          {failures: "", compared: 10},
		"day":           {failures: "10 entries two hours old", compared: 10},
		"day and hour":  {failures: "15 entries two hours old", compared: 5},
		"day is over":   {failures: "20 entries two days old", compared: 10},
		"nearly a hour": {failures: "9 entries 59 minutes old", compared: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			var n int
			var age string
			if c.failures != "" {
				_, err := fmt.Sscanf(c.failures, "%d entries", &n)
				if err != nil {
					t.Fatal(err)
				}
				age = strings.NewReplacer("two hours old", "2 hours", "two days old", "2 days", "59 minutes old", "59 minutes").
					Replace(c.failures[strings.Index(c.failures, "entries")+len("entries "):])
				s.pg.Exec(t, `UPDATE login_budgets SET failures =
					array(SELECT clock_timestamp() - $1::text::interval FROM generate_series(1, $2))`, age, n)
			}
			ids := make([]string, 40)
			for i := range ids {
				ids[i] = s.challenge()
			}
			var compared atomic.Int32
			parallel(40, func(i int) {
				_, ok := s.check(ids[i], mac(i), "wrong")
				if ok {
					compared.Add(1)
				}
			})
			if int(compared.Load()) != c.compared {
				t.Errorf("%d compared, not %d", compared.Load(), c.compared)
			}
			s.wantCount(c.compared, `SELECT count(*) FROM audit WHERE kind = 'check.v1.rejected'`)
			s.wantCount(c.compared, `SELECT in_a_row FROM login_budgets WHERE login = 'anna'`)
			s.wantCount(min(20, n+c.compared), `SELECT cardinality(failures) FROM login_budgets WHERE login = 'anna'`)
		})
	}
}

func TestP3_SpentBudgetRefusesARightCodeAndStaysPending(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	s.pg.Exec(t, `UPDATE login_budgets SET failures = array(SELECT clock_timestamp() - interval '2 hours' FROM generate_series(1, 20))`)
	if _, ok := s.check(id, mac(1), "right"); ok {
		t.Error("a spent budget compared a right code")
	}
	st := s.standing(id)
	if st.State != challenge.Pending || len(st.MACs) != 0 {
		t.Errorf("state %s, %d counted", st.State, len(st.MACs))
	}
	// With room again the same code is right.
	s.pg.Exec(t, `UPDATE login_budgets SET failures = '{}'`)
	if j, _ := s.check(id, mac(1), "right"); !j.Approved {
		t.Error("the code is refused although there is room")
	}
}

// It shows SEC-11 of deploy/SECURITY.md.
func TestP3_ALowerLimitFreesNoPlaces(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.pg.Exec(t, `UPDATE login_budgets SET failures = array(SELECT clock_timestamp() - interval '2 hours' FROM generate_series(1, 18))`)
	strict := s.challenge(func(e *event.Issued) { e.Policy.WrongPerDay, e.Policy.WrongPerHour = 20, 10 })
	s.check(strict, mac(1), "wrong")
	// A challenge with a lower limit has no room, and one with the full limit still finds every entry.
	low := s.challenge(func(e *event.Issued) { e.Policy.WrongPerDay = 3 })
	if _, ok := s.check(low, mac(2), "wrong"); ok {
		t.Error("the lower limit is not obeyed")
	}
	s.check(strict, mac(3), "wrong")
	if _, ok := s.check(strict, mac(4), "right"); ok {
		t.Error("the day's budget was exceeded")
	}
}

// It shows SEC-21 of deploy/SECURITY.md.
func TestP3_TwoCopiesOfOneCheckIDCountOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for round := range 10 {
		s.pg.Exec(t, `UPDATE login_budgets SET failures = '{}'`)
		id := s.challenge()
		var counted atomic.Int32
		parallel(8, func(int) {
			_, ok := s.check(id, mac(round), "wrong")
			if ok {
				counted.Add(1)
			}
		})
		st := s.standing(id)
		if counted.Load() != 1 || len(st.MACs) != 1 || !slices.Equal(st.Answers, []string{"wrong:4"}) {
			t.Errorf("counted %d times, answers %v", counted.Load(), st.Answers)
		}
	}
}

func TestP3_ACheckIsKnownUnderAnOlderKey(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	older := digest("older")
	s.check(id, [][]byte{older}, "wrong")
	if _, ok := s.check(id, [][]byte{digest("newer"), older}, "wrong"); ok {
		t.Error("a repeat across a rotation counted twice")
	}
}

// It shows SEC-09 and SEC-39 of deploy/SECURITY.md.
func TestP3_AddressChangedWhileACheckWaitsForALock(t *testing.T) {
	t.Parallel()
	const raise = `UPDATE login_budgets SET version = version + 1 WHERE login = 'anna'`
	for name, hold := range map[string]string{
		"on the budget":    `SELECT FROM login_budgets WHERE login = 'anna' FOR UPDATE`,
		"on the challenge": `SELECT FROM challenges FOR UPDATE`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			id := s.challenge()
			tx, release := s.hold(hold)
			judged := make(chan bool)
			go func() {
				_, ok := s.check(id, mac(1), "right")
				judged <- ok
			}()
			s.waiting(1)
			_, err := tx.Exec(t.Context(), raise)
			if err != nil {
				t.Error(err)
			}
			release()
			if <-judged {
				t.Error("a code was judged after its login changed")
			}
			if st := s.standing(id); st.LoginOpen || st.State != challenge.Pending {
				t.Errorf("login open %v, state %s", st.LoginOpen, st.State)
			}
		})
	}
}

// It shows SEC-20 of deploy/SECURITY.md.
func TestP3_WhatHappensWhileACheckWaitsDecides(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"login locked":      `UPDATE login_budgets SET locked_at = now()`,
		"login removed":     `UPDATE login_budgets SET removed_at = now()`,
		"budget deleted":    `DELETE FROM login_budgets`,
		"budget spent":      `UPDATE login_budgets SET failures = array(SELECT clock_timestamp() FROM generate_series(1, 10))`,
		"challenge ended":   `UPDATE challenges SET state = 'canceled', ended_at = now(), digest = NULL`,
		"fifth wrong code":  `UPDATE challenges SET wrong = 5`,
		"same check judged": `UPDATE challenges SET check_macs = ARRAY[sha256('check 1')]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			id := s.challenge()
			_, release := s.hold(change)
			judged := make(chan bool)
			go func() {
				_, ok := s.check(id, mac(1), "right")
				judged <- ok
			}()
			s.waiting(1)
			release()
			if <-judged {
				t.Error("the code was judged")
			}
			s.wantCount(0, `SELECT count(*) FROM audit`)
		})
	}
}

// It shows SEC-03 of deploy/SECURITY.md.
func TestCheck_ExpiryWhileWaitingForALock(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]string{
		"on the budget":    `SELECT FROM login_budgets WHERE login = 'anna' FOR UPDATE`,
		"on the challenge": `SELECT FROM challenges FOR UPDATE`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, life := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 12 * time.Second} {
				s := newStage(t)
				id := s.challenge(func(e *event.Issued) { e.ExpiresAt = e.CreatedAt.Add(life) })
				_, release := s.hold(hold)
				judged := make(chan bool)
				go func() {
					_, ok := s.check(id, mac(1), "right")
					judged <- ok
				}()
				late := func() bool {
					st := s.standing(id)
					return !st.Now.Before(st.ExpiresAt)
				}
				s.until("the check waits, or it is too late to", func() bool {
					return late() || s.count(`SELECT count(*) FROM pg_stat_activity
						WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
				})
				waited := !late()
				s.until("the challenge expires", late)
				release()
				if <-judged {
					t.Error("a code was judged after it expired, because the row did not change meanwhile")
				}
				if waited {
					return
				}
			}
			t.Error("the check never waited before the expiry")
		})
	}
}

// It shows SEC-10 of deploy/SECURITY.md.
func TestCheck_AFifthWrongCodeHasNoneLeftAndClosesTheChallenge(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	for n := range 5 {
		j, ok := s.check(id, mac(n), "wrong")
		if !ok || j.Approved || j.ChecksLeft != 4-n {
			t.Fatalf("check %d: %+v", n, j)
		}
		want := challenge.Pending
		if n == 4 {
			want = challenge.Exhausted
		}
		if j.State != want {
			t.Errorf("check %d: state %s", n, j.State)
		}
	}
	s.wantCount(1, `SELECT count(*) FROM challenges WHERE digest IS NULL AND ended_at IS NOT NULL AND routes::text NOT LIKE '%envelopeenvelope%'`)
	s.wantCount(0, `SELECT cardinality(live_ids) + cardinality(live_until) + cardinality(live_entries) FROM login_budgets`)
	for _, e := range s.outbox(event.CheckRejected) {
		validate(t, e)
	}
	ended := s.outbox(event.ChallengeExhausted)
	if len(ended) != 1 || ended[0].ID != id+".exhausted" {
		t.Fatalf("outcome: %v", ended)
	}
	validate(t, ended[0])
}

// validate checks an event against its schema and the subject it goes to.
func validate(t *testing.T, e event.Event) {
	t.Helper()
	subject, err := event.SubjectOf(e.Type, channelOf(e))
	if err != nil {
		t.Fatal(err)
	}
	eventtest.Validate(t, subject, e)
}

// channelOf is the channel that an event names, or email.
func channelOf(e event.Event) string {
	send, err := event.SendOf(e)
	if err != nil {
		return "email"
	}
	return send.Channel
}

// It shows SEC-11, SEC-20, SEC-27 and SEC-62 of deploy/SECURITY.md.
func TestCheck_ARightCodeIsNeverCharged(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	other := s.challenge()
	id := s.challenge()
	s.pg.Exec(t, `UPDATE login_budgets SET live_ids = live_ids || 'gone'::text, live_until = live_until || now(), live_entries = live_entries || 3::bigint`)
	s.check(id, mac(1), "wrong")
	j, ok := s.check(id, mac(2), "right")
	if !ok || !j.Approved || j.State != challenge.Approved {
		t.Fatalf("%+v", j)
	}
	s.wantCount(1, `SELECT cardinality(failures) FROM login_budgets`)
	s.wantCount(0, `SELECT in_a_row FROM login_budgets`)
	s.wantCount(1, `SELECT count(*) FROM login_budgets WHERE live_ids = ARRAY[$1] AND cardinality(live_until) = 1 AND live_entries = '{1}'`, other)
	s.wantCount(1, `SELECT count(*) FROM challenges WHERE id = $1 AND digest IS NULL AND state = 'approved'
		AND ended_at = $2 AND check_answers = '{wrong:4,approved}' AND routes -> 0 ->> 'envelope' = ''`, id, j.At)
	// One time for the row, the audit and the event.
	s.wantCount(1, `SELECT count(*) FROM audit a JOIN outbox o ON o.id = a.id AND o.at = a.at AND o.data = a.detail
		WHERE a.id = $1 AND a.at = $2 AND (a.detail ->> 'at')::timestamptz = $2 AND a.actor = 'web' AND a.login = 'anna'`, id+".approved", j.At)
	for _, e := range s.outbox(event.ChallengeApproved) {
		validate(t, e)
	}
}

// It shows SEC-12 of deploy/SECURITY.md.
func TestP3_TheLoginIsLockedAcrossItsChallenges(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.pg.Exec(t, `UPDATE login_budgets SET in_a_row = 48`)
	first, second, third := s.challenge(), s.challenge(), s.challenge()
	if j, _ := s.check(first, mac(1), "wrong"); j.Locked {
		t.Error("locked after 49")
	}
	j, _ := s.check(second, mac(2), "wrong")
	if !j.Locked {
		t.Error("not locked after 50")
	}
	for _, id := range []string{first, second, third} {
		if _, ok := s.check(id, mac(3), "right"); ok {
			t.Error("a locked login was let in")
		}
	}
	s.wantCount(1, `SELECT count(*) FROM login_budgets WHERE locked_at = $1 AND in_a_row = 50`, j.At)
	events := s.outbox(event.LoginLocked)
	if len(events) != 1 || events[0].ID != second+".locked.1" || events[0].Subject != "acme" {
		t.Fatalf("events: %v", events)
	}
	validate(t, events[0])
	s.wantCount(1, `SELECT count(*) FROM audit WHERE kind = 'directory.v1.login_locked' AND challenge_id = $1`, second)
}

// It shows SEC-03, SEC-14, SEC-17 and SEC-24 of deploy/SECURITY.md.
func TestCheck_RefusesWithoutComparing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"expired":         `UPDATE challenges SET expires_at = clock_timestamp()`,
		"other version":   `UPDATE login_budgets SET version = 2`,
		"older version":   `UPDATE challenges SET login_version = 2`,
		"locked":          `UPDATE login_budgets SET locked_at = now()`,
		"removed":         `UPDATE login_budgets SET removed_at = now()`,
		"no budget":       `DELETE FROM login_budgets`,
		"other workspace": `UPDATE challenges SET workspace = 'other'`,
		"canceled":        `UPDATE challenges SET state = 'canceled', digest = NULL, ended_at = now()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			id := s.challenge()
			s.pg.Exec(t, change)
			for _, word := range []string{"right", "wrong"} {
				if _, ok := s.check(id, mac(1), word); ok {
					t.Errorf("a %s code was compared", word)
				}
			}
			s.wantCount(0, `SELECT count(*) FROM audit`)
			s.wantCount(0, `SELECT count(*) FROM outbox`)
			s.wantCount(0, `SELECT coalesce(sum(cardinality(failures)), 0) FROM login_budgets`)
		})
	}
}

// It shows SEC-62 of deploy/SECURITY.md.
func TestNoteRefusal_RecordsTheFirstOfAKind(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	parallel(16, func(int) {
		err := s.db.NoteRefusal(t.Context(), id, challenge.RefusedClosed)
		if err != nil {
			t.Error(err)
		}
	})
	err := s.db.NoteRefusal(t.Context(), id, challenge.RefusedTooMany)
	if err != nil {
		t.Error(err)
	}
	s.wantCount(2, `SELECT count(*) FROM audit WHERE challenge_id = $1 AND kind = 'check.v1.refused'`, id)
	s.wantCount(1, `SELECT count(*) FROM audit WHERE id = $1 AND detail ->> 'reason' = 'closed'`, id+".refused.closed")
	if st := s.standing(id); !slices.Equal(st.Refused, []string{"closed", "too_many"}) {
		t.Errorf("refused: %v", st.Refused)
	}
}

func TestFacts_TellsARecordedChallengeAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	c := s.issue()
	_, err := s.db.Facts(t.Context(), c.Event.Challenge)
	if err != postgres.ErrNoChallenge { //nolint:errorlint // The error itself is promised.
		t.Errorf("unexpected error: %v", err)
	}
	_, err = s.db.Standing(t.Context(), c.Event.Challenge)
	if err != postgres.ErrNoChallenge { //nolint:errorlint // The error itself is promised.
		t.Errorf("unexpected error: %v", err)
	}
	err = s.db.Record(t.Context(), postgres.Batch{Challenges: []postgres.Issued{c}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.db.Facts(t.Context(), c.Event.Challenge)
	if err != nil {
		t.Fatal(err)
	}
	if f.Login != "anna" || f.LoginVersion != 1 || f.DigestKey != 1 || len(f.Routes) != 1 ||
		f.Routes[0].Envelope != c.Event.Routes[0].Envelope || !f.ExpiresAt.Equal(c.Event.ExpiresAt) {
		t.Errorf("facts: %+v", f)
	}
}
