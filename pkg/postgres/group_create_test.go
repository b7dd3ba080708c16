package postgres_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/limit"
	"doorcode/pkg/postgres"
)

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
