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

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
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

func TestTakeCreate_TogetherEachIsDecidedByWhatThoseBeforeItLeft(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.login("ben")
	takes := []postgres.CreateTake{
		wanting("ben", "b", "1", 3, 30), wanting("anna", "a", "2", 3, 30), wanting("nobody", "n", "3", 3, 30),
		wanting("anna", "a", "2", 3, 30), wanting("anna", "a", "4", 3, 30), wanting("ben", "c", "5", 3, 30), wanting("ben", "b", "1", 3, 30),
	}
	for i := range takes {
		limit.Sort(takes[i].Wants)
	}
	got := s.db.TakeTogether(t.Context(), takes...)
	for i, want := range []string{"taken", "taken", "broken", "repeat", "taken", "sms_spend", "repeat"} {
		var integrity *postgres.IntegrityError
		has := "taken"
		switch a := got[i]; {
		case errors.As(a.Err, &integrity):
			has = "broken"
		case a.Err != nil:
			t.Error(a.Err)
		case a.Value.Repeat:
			has = "repeat"
		case a.Value.Refused != "":
			has = string(a.Value.Refused)
		}
		if has != want {
			t.Errorf("take %d: %s, not %s (%+v)", i, has, want, got[i])
		}
	}
	s.wantCount(3, `SELECT cardinality(times) FROM limits WHERE dimension = 'sms_spend'`)
	s.wantCount(3, `SELECT cardinality(entries) FROM limits WHERE dimension = 'client'`)
	s.wantCount(2, `SELECT cardinality(live_ids) FROM login_budgets WHERE login = 'anna' AND live_ids = '{of 2,of 4}'`)
	s.wantCount(1, `SELECT cardinality(live_ids) FROM login_budgets WHERE login = 'ben' AND live_ids = '{of 1}' AND cardinality(live_until) = 1`)
	s.wantCount(0, `SELECT cardinality(times) FROM limits WHERE key = $1`, digest("c"))
	s.wantCount(2, `SELECT cardinality(times) FROM limits WHERE key = $1`, digest("a"))
}

func TestTakeCreate_AHeldOrPoisonedTakeHarmsNoOther(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.login("ben")
	_, release := s.hold(`SELECT FROM login_budgets WHERE login = 'anna' FOR UPDATE`)
	got := s.impatient().TakeTogether(t.Context(), wanting("anna", "a", "1", 9, 30), wanting("ben", "b", "2", 9, 30), wanting("b\x00n", "b", "3", 9, 30))
	release()
	if !postgres.IsContended(got[0].Err) || got[1].Err != nil || got[1].Value.Challenge != "of 2" || !postgres.IsRejected(got[2].Err) {
		t.Errorf("%+v", got)
	}
	s.wantCount(1, `SELECT cardinality(live_ids) FROM login_budgets WHERE login = 'ben'`)
	s.wantCount(1, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%' OR pid = pg_backend_pid()`)
}

// Creates by SMS and resends by SMS take the same rows in the same order, whoever shares a transaction with whom.
func TestTakeCreate_BesideResendsAndChecksThereIsNoDeadlock(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const logins, rounds = 6, 12
	route := event.Route{Channel: "sms", Recipient: "•••48", PerHour: 600, PerDay: 2000, Cap: 5000, Envelope: "sealed"}
	routeOf := func(i int) event.Route {
		r := route
		r.Address = digest(fmt.Sprint("number ", i%3)) // Some share a number.
		return r
	}
	for i := range logins {
		s.login(fmt.Sprint("l", i))
	}
	for round := range rounds {
		ids := make([]string, logins)
		for i := range ids {
			ids[i] = s.challenge(func(e *event.Issued) {
				e.Login, e.Channel, e.Routes = fmt.Sprint("l", i), "sms", []event.Route{routeOf(i)}
				e.CreatedAt = e.CreatedAt.Add(-time.Minute)
				e.ResendAt = e.CreatedAt
			})
		}
		s.pg.Exec(t, `UPDATE login_budgets SET live_ids = '{}', live_until = '{}', live_entries = '{}', failures = '{}'`)
		parallel(4*logins, func(n int) {
			i := n % logins
			var err error
			switch n / logins {
			case 0:
				var taken bool
				_, taken, err = s.db.Resend(t.Context(), postgres.Resend{Challenge: ids[i], Key: digest(fmt.Sprint(round)), Route: routeOf(i)})
				if err == nil && !taken {
					t.Error("no resend")
				}
			case 1: // Two logins in a transaction, in the order that is not the right one.
				other := logins - 1 - i
				for _, a := range s.db.TakeTogether(t.Context(),
					wantingNumber(i, fmt.Sprint(round, "/", i)), wantingNumber(other, fmt.Sprint(round, "//", i))) {
					err = errors.Join(err, a.Err)
				}
			case 2:
				_, err = s.db.TakeCreate(t.Context(), wantingNumber(i, fmt.Sprint(round, "///", i)))
			case 3:
				for _, j := range s.db.CheckTogether(t.Context(), of(ids[i], round, "wrong"), of(ids[logins-1-i], round+100, "wrong")) {
					err = errors.Join(err, j.Err)
				}
			}
			if err != nil {
				t.Errorf("%d: %v", n/logins, err)
			}
		})
	}
	s.wantCount(rounds*4*logins, `SELECT cardinality(times) FROM limits WHERE dimension = 'sms_spend'`)
	// What ends a deadlock would be put again and not be seen; a session tells its figures when it ends.
	s.db.Close()
	s.until("the sessions have ended", func() bool {
		return s.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = $1`, string(postgres.RoleVerifier)) == 0
	})
	s.wantCount(0, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`)
}

// wantingNumber is a take of login i for the number that it shares.
func wantingNumber(i int, entry string) postgres.CreateTake {
	c := wanting(fmt.Sprint("l", i), fmt.Sprint("number ", i%3), entry, 5000, 600)
	c.MaxLive = 50
	for n := range c.Wants {
		if c.Wants[n].Dimension == limit.Recipient {
			c.Wants[n].Windows = limit.PerHourAndDay(600, 2000)
		}
	}
	limit.Sort(c.Wants)
	return c
}

func TestFacts_OfSeveralAreEachItsOwn(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	ids := []string{s.challenge(), "gone", s.challengeOf("ben"), "x\x00"}
	db := s.db
	parallel(64, func(i int) {
		f, err := db.Facts(t.Context(), ids[i%4])
		switch i % 4 {
		case 0, 2:
			if err != nil || f.ID != ids[i%4] || f.Login != []string{"anna", "", "ben"}[i%4] {
				t.Errorf("%d: %+v %v", i, f, err)
			}
		case 1:
			if !errors.Is(err, postgres.ErrNoChallenge) {
				t.Errorf("%d: %v", i, err)
			}
		case 3:
			if !postgres.IsRejected(err) {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}

func TestDirectory_CreatesThatWaitTogetherReadEachTheirOwn(t *testing.T) {
	t.Parallel()
	k := keep(t)
	k.keyed(t, frontend.FrontEnd{ID: "front", AllWorkspaces: true})
	k.keyed(t, frontend.FrontEnd{ID: "broken", AllWorkspaces: true})
	k.db.Exec(t, `UPDATE front_ends SET name = 'x' WHERE id = 'broken'`)
	parallel(64, func(i int) {
		id := []string{"front", "broken", "gone", "front"}[i%4]
		login := []string{"anna", "anna", "anna", "ben"}[i%4]
		f, err := k.directory.CreateFacts(t.Context(), id, "w", login)
		fe, feErr := k.directory.FrontEnd(t.Context(), id)
		var integrity *postgres.IntegrityError
		switch i % 4 {
		case 0:
			if err != nil || feErr != nil || f.Login == nil || f.Login.ID != "anna" || fe.ID != "front" || f.FrontEnd.ID != "front" {
				t.Errorf("%d: %+v %v %v", i, f, err, feErr)
			}
		case 1:
			if !errors.As(err, &integrity) || !errors.As(feErr, &integrity) {
				t.Errorf("%d: %v %v", i, err, feErr)
			}
		case 2:
			if !errors.Is(err, postgres.ErrNoFrontEnd) || !errors.Is(feErr, postgres.ErrNoFrontEnd) {
				t.Errorf("%d: %v %v", i, err, feErr)
			}
		case 3:
			if err != nil || f.Login != nil || f.Workspace == nil {
				t.Errorf("%d: %+v %v", i, f, err)
			}
		}
	})
}

func TestCheck_WhatEndedIsNotSkipped(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	s.check(id, mac(1), "right")
	got := s.db.CheckTogether(t.Context(), of(id, 2, "right"))[0]
	if got.Counted || got.Skipped || got.Err != nil {
		t.Errorf("%+v", got)
	}
	if st := s.standing(id); st.State != challenge.Approved {
		t.Errorf("state %s", st.State)
	}
}
