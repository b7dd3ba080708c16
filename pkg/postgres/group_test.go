package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/limit"
	"doorcode/pkg/postgres"
)

// Forms in which a stage's checks meet Postgres; a test below one of them runs in it, any other as the verifier does.
const (
	formAlone    = "every_check_alone"
	formTogether = "whatever_waits_together"
)

// inForm returns the database in the form that a test's name asks for.
func inForm(name string, db *postgres.DB) *postgres.DB {
	switch {
	case strings.Contains(name, "/"+formAlone+"/"):
		return db.Alone()
	case strings.Contains(name, "/"+formTogether+"/"):
		return db.Together()
	}
	return db
}

// The promises of a check are kept by both statements, whoever shares them: what races runs also with every check in a
// statement of its own, everything with whatever waits in one.
func TestCheck_KeepsItsPromisesAloneAndTogether(t *testing.T) {
	t.Parallel()
	races := map[string]func(*testing.T){
		"64ParallelRightChecks":  TestP2_64ParallelRightChecksOneSuccess,
		"64ParallelWrongChecks":  TestP3_64ParallelWrongChecksFiveCompared,
		"64ParallelMixedChecks":  TestP3_64ParallelMixedChecksNeverBoth,
		"40ChallengesOfOneLogin": TestP3_40ChallengesOfOneLoginExactlyTheBudget,
	}
	all := map[string]func(*testing.T){
		"SpentBudget":             TestP3_SpentBudgetRefusesARightCodeAndStaysPending,
		"ALowerLimit":             TestP3_ALowerLimitFreesNoPlaces,
		"TwoCopiesOfOneCheck":     TestP3_TwoCopiesOfOneCheckIDCountOnce,
		"AnOlderKey":              TestP3_ACheckIsKnownUnderAnOlderKey,
		"AddressChanged":          TestP3_AddressChangedWhileACheckWaitsForALock,
		"WhatHappensWhileItWaits": TestP3_WhatHappensWhileACheckWaitsDecides,
		"ExpiryWhileItWaits":      TestCheck_ExpiryWhileWaitingForALock,
		"AFifthWrongCode":         TestCheck_AFifthWrongCodeHasNoneLeftAndClosesTheChallenge,
		"ARightCode":              TestCheck_ARightCodeIsNeverCharged,
		"TheLoginIsLocked":        TestP3_TheLoginIsLockedAcrossItsChallenges,
		"RefusesWithoutComparing": TestCheck_RefusesWithoutComparing,
	}
	maps.Copy(all, races)
	for form, tests := range map[string]map[string]func(*testing.T){formAlone: races, formTogether: all} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			for name, test := range tests {
				t.Run(name, test)
			}
		})
	}
}

// of makes a check of a challenge; n names it.
func of(id string, n int, word string) postgres.Check {
	return postgres.Check{Challenge: id, MACs: mac(n), Digest: digest(word)}
}

// challengeOf records a challenge of another login, which is made.
func (s *stage) challengeOf(login string) string {
	s.t.Helper()
	s.login(login)
	return s.challenge(func(e *event.Issued) { e.Login = login })
}

func TestP3_OneStatementJudgesOneCheckOfAChallengeAndOfALogin(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id, sister, other := s.challenge(), s.challenge(), s.challengeOf("ben")
	got := s.db.CheckTogether(t.Context(), of(id, 1, "wrong"), of(id, 2, "wrong"), of(sister, 3, "right"), of(other, 4, "right"), of("gone", 5, "right"))
	var counted, skipped int
	for i, j := range got[:3] {
		if j.Err != nil || j.Counted == j.Skipped {
			t.Errorf("check %d: %+v", i, j)
		}
		if j.Counted {
			counted++
		}
		if j.Skipped {
			skipped++
		}
	}
	if counted != 1 || skipped != 2 {
		t.Errorf("%d counted, %d skipped", counted, skipped)
	}
	if !got[3].Approved || got[3].Skipped {
		t.Errorf("the other login: %+v", got[3])
	}
	if got[4].Counted || got[4].Skipped || got[4].Err != nil {
		t.Errorf("an unknown challenge: %+v", got[4])
	}
	s.wantCount(counted, `SELECT count(*) FROM audit WHERE login = 'anna'`)
}

func TestP3_AStatementCountsForEachLoginItsOwn(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var checks []postgres.Check
	for i := range 12 {
		word := "wrong"
		if i%3 == 0 {
			word = "right"
		}
		checks = append(checks, of(s.challengeOf(fmt.Sprint("l", i)), i, word))
	}
	for i, j := range s.db.CheckTogether(t.Context(), checks...) {
		if j.Err != nil || !j.Counted || j.Approved != (i%3 == 0) {
			t.Errorf("check %d: %+v", i, j)
		}
	}
	s.wantCount(8, `SELECT count(*) FROM login_budgets WHERE cardinality(failures) = 1 AND in_a_row = 1 AND cardinality(live_ids) = 1`)
	s.wantCount(4, `SELECT count(*) FROM login_budgets WHERE login LIKE 'l%' AND cardinality(failures) = 0 AND cardinality(live_ids) = 0`)
	s.wantCount(12, `SELECT count(*) FROM audit a JOIN challenges c ON c.id = a.challenge_id AND c.login = a.login AND c.workspace = a.workspace`)
	s.wantCount(12, `SELECT count(*) FROM challenges WHERE cardinality(check_macs) = 1 AND cardinality(check_answers) = 1`)
	s.wantCount(12, `SELECT count(*) FROM outbox o JOIN audit a ON a.id = o.id AND a.detail = o.data`)
}

func TestCheck_AHeldChallengeHoldsNobodyElse(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	held, free := s.challenge(), s.challengeOf("ben")
	_, release := s.hold(`SELECT FROM challenges WHERE login = 'anna' FOR UPDATE`)
	got := s.db.CheckTogether(t.Context(), of(held, 1, "right"), of(free, 2, "right"))
	if !got[0].Skipped || got[0].Counted || !got[1].Approved {
		t.Errorf("%+v", got)
	}
	// Who is skipped asks again, and in the end waits.
	together := s.db.Together()
	judged := make(chan bool, 1)
	go func() {
		j, _, err := together.Check(t.Context(), of(held, 1, "right"))
		if err != nil {
			t.Error(err)
		}
		judged <- j.Approved
	}()
	s.waiting(1)
	release()
	if !<-judged {
		t.Error("the check that was skipped is not approved")
	}
}

// impatient opens the database with locks that are soon given up.
func (s *stage) impatient() *postgres.DB {
	s.t.Helper()
	cfg := s.pg.VerifierConfig()
	cfg.Params = map[string]string{"lock_timeout": "100ms", "statement_timeout": "30s"}
	db, err := postgres.Open(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(db.Close)
	return db
}

func TestCheck_AHeldBudgetFailsItsOwnCheckAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	held, free := s.challenge(), s.challengeOf("ben")
	_, release := s.hold(`SELECT FROM login_budgets WHERE login = 'anna' FOR UPDATE`)
	got := s.impatient().CheckTogether(t.Context(), of(held, 1, "right"), of(free, 2, "right"))
	release()
	if !postgres.IsContended(got[0].Err) || got[1].Err != nil || !got[1].Approved {
		t.Errorf("%+v", got)
	}
	s.wantCount(0, `SELECT count(*) FROM audit WHERE challenge_id = $1`, held)
}

// Whoever shares a statement with many that wait for rows would else wait for all of them, one after the other.
func TestCheck_AFlightThatOneFailedTriesNothingMore(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	held, other, free := s.challenge(), s.challengeOf("carl"), s.challengeOf("ben")
	_, release := s.hold(`SELECT FROM login_budgets WHERE login IN ('anna', 'carl') FOR UPDATE`)
	errs := s.impatient().CheckFlight(t.Context(), of(held, 1, "right"), of(free, 2, "right"), of(other, 3, "right"))
	release()
	for _, err := range errs {
		if !errors.Is(err, postgres.ErrApart()) {
			t.Errorf("a caller is told %v", err)
		}
	}
	s.wantCount(0, `SELECT count(*) FROM challenges WHERE state <> 'pending'`)
}

// Waits that are each short enough may add up to the time that a statement has.
func TestCheck_AStatementThatTookTooLongFailsNobodyElse(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	held, free := s.challenge(), s.challengeOf("ben")
	cfg := s.pg.VerifierConfig()
	cfg.Params = map[string]string{"lock_timeout": "20s", "statement_timeout": "1s"}
	db, err := postgres.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	_, release := s.hold(`SELECT FROM login_budgets WHERE login = 'anna' FOR UPDATE`)
	got := db.CheckTogether(t.Context(), of(held, 1, "right"), of(free, 2, "right"))
	release()
	if !postgres.IsUnavailable(got[0].Err) || got[1].Err != nil || !got[1].Approved {
		t.Errorf("%+v", got)
	}
}

// What is acknowledged to the bus is on the disk, also a row whose own commit did not wait for it.
func TestP1_AnEventIsAcknowledgedWhenItsRowIsOnTheDisk(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for range 20 {
		c := s.issue()
		_, err := s.db.Materialise(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		var written, safe int64
		s.pg.Scan(t, `SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn`, nil, &written)
		s.record(postgres.Batch{Challenges: []postgres.Issued{c}, Audit: []postgres.Audit{{
			ID: c.Event.Challenge, At: c.Event.CreatedAt, Kind: event.ChallengeIssued, Actor: "web", Detail: []byte(`{}`),
		}}})
		s.pg.Scan(t, `SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn`, nil, &safe)
		if safe < written {
			t.Errorf("%d bytes of what was acknowledged are not on the disk", written-safe)
		}
	}
}

func TestP7_AClosedDatabaseIsUnavailable(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	db, err := postgres.Open(t.Context(), s.pg.VerifierConfig())
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	_, err = db.Facts(t.Context(), "c")
	if !postgres.IsUnavailable(err) {
		t.Errorf("it says %v", err)
	}
}

func TestCheck_APoisonedCheckHarmsNoOther(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	good := s.challenge()
	for name, bad := range map[string]string{"zero byte": "a\x00b", "no text": "a\xffb"} {
		got := s.db.CheckTogether(t.Context(), of(bad, 1, "right"), of(good, 2, "wrong"))
		if got[0].Err == nil || got[1].Err != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	s.wantCount(1, `SELECT wrong FROM challenges`) // The same check twice counts once.
}

func TestP2_AConnectionLostInTheMiddleLeavesNothingOfAnyCheck(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first, last := s.challengeOf("aaron"), s.challengeOf("zoe")
	_, release := s.hold(`SELECT FROM login_budgets WHERE login = 'zoe' FOR UPDATE`)
	checks := []postgres.Check{of(first, 1, "wrong"), of(last, 2, "right")}
	lost := make(chan []postgres.Judged, 1)
	go func() { lost <- s.db.CheckTogether(t.Context(), checks...) }()
	s.waiting(1) // It holds aaron's rows already.
	s.pg.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
	for i, j := range <-lost {
		if !postgres.IsUnavailable(j.Err) {
			t.Errorf("check %d: %+v", i, j)
		}
	}
	release()
	s.wantCount(0, `SELECT count(*) FROM audit`)
	s.wantCount(0, `SELECT count(*) FROM outbox`)
	s.wantCount(0, `SELECT sum(cardinality(failures) + in_a_row) FROM login_budgets`)
	// Put again, each counts once.
	for range 2 {
		s.db.CheckTogether(t.Context(), checks...)
	}
	s.wantCount(2, `SELECT count(*) FROM audit`)
	s.wantCount(1, `SELECT sum(cardinality(failures)) FROM login_budgets`)
}

func TestP7_ACheckThatIsGivenUpCountsAtMostOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	given, kept := s.challenge(), s.challengeOf("ben")
	db := s.db.Together()
	ahead := make([]string, 4)
	for i := range ahead {
		ahead[i] = s.challengeOf(fmt.Sprint("ahead", i))
	}
	_, release := s.hold(`SELECT FROM login_budgets FOR UPDATE`)
	ctx, giveUp := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	// Four leave alone; the two that matter wait in line and leave together.
	for i, id := range ahead {
		asking.Go(func() {
			_, counted, err := db.Check(t.Context(), of(id, i, "wrong"))
			if err != nil || !counted {
				t.Errorf("a check ahead: %v %v", counted, err)
			}
		})
	}
	s.waiting(len(ahead))
	asking.Go(func() {
		_, counted, err := db.Check(ctx, of(given, 8, "wrong"))
		if !errors.Is(err, context.Canceled) || counted {
			t.Errorf("the check that was given up: %v %v", counted, err)
		}
	})
	asking.Go(func() {
		j, _, err := db.Check(t.Context(), of(kept, 9, "right"))
		if err != nil || !j.Approved {
			t.Errorf("the check beside it: %+v %v", j, err)
		}
	})
	giveUp()
	release()
	asking.Wait()
	s.check(given, mac(8), "wrong")
	s.wantCount(1, `SELECT wrong FROM challenges WHERE id = $1`, given)
}

// wanting is a take with its own login and recipient, under a cap and a client that all share.
func wanting(login, recipient, entry string, cap, perClient int) postgres.CreateTake {
	return postgres.CreateTake{Workspace: "acme", Login: login, Create: limit.Create{
		Challenge: "of " + entry, ExpiresAt: time.Now().Add(10 * time.Minute), Entry: limit.Entry(entry), MaxLive: 5,
		Wants: []limit.Want{
			{Dimension: limit.Recipient, Key: digest(recipient), Windows: limit.PerHourAndDay(20, 60)},
			{Dimension: limit.Client, Key: []byte("client"), Windows: limit.PerMinute(perClient)},
			{Dimension: limit.Spend, Key: limit.SpendKey(), Windows: limit.PerDay(cap)},
		},
	}}
}
