package postgres_test

import (
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
)

func TestCancel_EndsOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	var ended atomic.Int32
	parallel(16, func(int) {
		e, now, err := s.db.Cancel(t.Context(), id)
		if err != nil {
			t.Error(err)
		}
		if now && e.State == challenge.Canceled {
			ended.Add(1)
		}
	})
	if ended.Load() != 1 {
		t.Errorf("ended %d times", ended.Load())
	}
	s.wantCount(1, `SELECT count(*) FROM challenges WHERE state = 'canceled' AND reason = 'request' AND digest IS NULL
		AND routes -> 0 ->> 'envelope' = ''`)
	s.wantCount(0, `SELECT cardinality(live_ids) FROM login_budgets`)
	s.wantCount(1, `SELECT count(*) FROM audit WHERE id = $1 AND actor = 'web' AND detail ->> 'reason' = 'request'`, id+".canceled")
	events := s.outbox(event.ChallengeCanceled)
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	validate(t, events[0])
	if _, ok := s.check(id, mac(1), "right"); ok {
		t.Error("a canceled challenge compared a code")
	}
}

func TestCancel_AnExpiredChallengeIsExpired(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	s.pg.Exec(t, `UPDATE challenges SET expires_at = clock_timestamp()`)
	s.pg.Exec(t, `DELETE FROM login_budgets`) // Nothing needs the budget to end a challenge.
	e, now, err := s.db.Cancel(t.Context(), id)
	if err != nil || !now || e.State != challenge.Expired {
		t.Errorf("%+v %v %v", e, now, err)
	}
	s.wantCount(1, `SELECT count(*) FROM audit WHERE id = $1 AND actor = $2`, id+".expired", postgres.Verifier)
}

func TestCancel_AgainstARightCheckOneWins(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for range 10 {
		id := s.challenge()
		var ends atomic.Int32
		parallel(8, func(i int) {
			if i%2 == 0 {
				_, now, err := s.db.Cancel(t.Context(), id)
				if err != nil {
					t.Error(err)
				}
				if now {
					ends.Add(1)
				}
				return
			}
			if j, _ := s.check(id, mac(i), "right"); j.Approved {
				ends.Add(1)
			}
		})
		if ends.Load() != 1 {
			t.Fatalf("ended %d times", ends.Load())
		}
		s.wantCount(1, `SELECT count(*) FROM audit WHERE challenge_id = $1`, id)
	}
}

func TestEndExpired_EndsEachOnceHoweverManySweep(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.login("ben")
	for range 30 {
		s.challenge()
		s.challenge(func(e *event.Issued) { e.Login = "ben" })
	}
	live := s.challenge()
	orphan := s.challenge(func(e *event.Issued) { e.Login = "nobody" })
	s.pg.Exec(t, `UPDATE challenges SET expires_at = clock_timestamp() WHERE id <> $1`, live)
	var ended atomic.Int32
	for s.count(`SELECT count(*) FROM challenges WHERE state = 'pending'`) > 1 {
		parallel(4, func(int) {
			all, err := s.db.EndExpired(t.Context(), 7)
			if err != nil {
				t.Error(err)
			}
			ended.Add(int32(len(all)))
		})
		if t.Failed() {
			return
		}
	}
	if ended.Load() != 61 {
		t.Errorf("%d ended", ended.Load())
	}
	s.wantCount(61, `SELECT count(*) FROM audit WHERE kind = 'challenge.v1.expired' AND actor = $1`, postgres.Verifier)
	s.wantCount(1, `SELECT count(*) FROM audit WHERE challenge_id = $1`, orphan)
	s.wantCount(1, `SELECT sum(cardinality(live_ids)) FROM login_budgets`)
	for _, e := range s.outbox(event.ChallengeExpired) {
		validate(t, e)
	}
}

func TestEndExpired_LeavesWhatSomebodyHolds(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]string{
		"the challenge": `SELECT FROM challenges FOR UPDATE`,
		"the budget":    `SELECT FROM login_budgets FOR UPDATE`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.challenge()
			s.pg.Exec(t, `UPDATE challenges SET expires_at = clock_timestamp()`)
			_, release := s.hold(hold)
			ended, err := s.db.EndExpired(t.Context(), 10)
			if err != nil || len(ended) != 0 {
				t.Errorf("%v %v", ended, err)
			}
			release()
			ended, err = s.db.EndExpired(t.Context(), 10)
			if err != nil || len(ended) != 1 {
				t.Errorf("%v %v", ended, err)
			}
		})
	}
}

// It shows SEC-39 of deploy/SECURITY.md.
func TestEndOutdated_CancelsWhatTheDirectoryOvertook(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.login("ben")
	old := s.challenge()
	other := s.challenge(func(e *event.Issued) { e.Login = "ben" })
	s.pg.Exec(t, `UPDATE login_budgets SET version = 2 WHERE login = 'anna'`)
	fresh := s.challenge(func(e *event.Issued) { e.LoginVersion = 2 })
	err := s.db.MarkSwept(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	s.wantCount(1, `SELECT count(*) FROM login_budgets WHERE version <> swept_version`) // Its challenge is open still.
	ended, err := s.db.EndOutdated(t.Context(), 10)
	if err != nil || len(ended) != 1 || ended[0] != (postgres.Ended{Challenge: old, State: challenge.Canceled, Channel: "email"}) {
		t.Fatalf("%v %v", ended, err)
	}
	err = s.db.MarkSwept(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	s.wantCount(0, `SELECT count(*) FROM login_budgets WHERE version <> swept_version`)
	s.wantCount(1, `SELECT count(*) FROM challenges WHERE id = $1 AND state = 'canceled' AND reason = 'directory'`, old)
	s.wantCount(2, `SELECT count(*) FROM challenges WHERE id IN ($1, $2) AND state = 'pending'`, other, fresh)
	events := s.outbox(event.ChallengeCanceled)
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	validate(t, events[0])
}

func TestMarkSwept_SeesAChallengeRecordedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	c := s.issue()
	s.pg.Exec(t, `UPDATE login_budgets SET version = 2`)
	// While the mark waits nowhere: whatever order the two come in, the login stays dirty until the sweep was there.
	for range 20 {
		c = s.issue()
		parallel(2, func(i int) {
			if i == 0 {
				err := s.db.Record(t.Context(), postgres.Batch{Challenges: []postgres.Issued{c}})
				if err != nil {
					t.Error(err)
				}
				return
			}
			err := s.db.MarkSwept(t.Context(), 10)
			if err != nil {
				t.Error(err)
			}
		})
		s.wantCount(1, `SELECT count(*) FROM login_budgets WHERE version <> swept_version`)
		ended, err := s.db.EndOutdated(t.Context(), 10)
		if err != nil || len(ended) != 1 {
			t.Fatalf("%v %v", ended, err)
		}
	}
}

func TestMarkSwept_LeavesALoginThatChangedWhileItRead(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	// So many logins before anna that the mark has read her row long before it comes to write it.
	s.pg.Exec(t, `INSERT INTO login_budgets (workspace, login) SELECT 'aaa', 'l' || i FROM generate_series(1, 20000) i`)
	s.pg.Exec(t, `UPDATE login_budgets SET version = version + 1`)
	marked := make(chan error, 1)
	go func() { marked <- s.db.MarkSwept(t.Context(), 100_000) }()
	s.until("the mark runs", func() bool {
		return len(marked) > 0 || s.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
			AND state = 'active' AND position($1 IN query) > 0`, "clean AS MATERIALIZED") > 0
	})
	s.challenge()
	err := <-marked
	if err != nil {
		t.Fatal(err)
	}
	s.wantCount(1, `SELECT count(*) FROM login_budgets WHERE unswept AND login = 'anna'`)
	ended, err := s.db.EndOutdated(t.Context(), 10)
	if err != nil || len(ended) != 1 {
		t.Fatalf("%v %v", ended, err)
	}
}

func TestClean_RemovesWhatServed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, login := range []string{"removed", "just_removed"} {
		s.login(login)
	}
	s.pg.Exec(t, `UPDATE login_budgets SET removed_at = now() - interval '25 hours' WHERE login = 'removed'`)
	s.pg.Exec(t, `UPDATE login_budgets SET removed_at = now() - interval '23 hours' WHERE login = 'just_removed'`)
	ended, young, open := s.challenge(), s.challenge(), s.challenge()
	s.pg.Exec(t, `UPDATE challenges SET state = 'expired', ended_at = now(), digest = NULL WHERE id IN ($1, $2)`, ended, young)
	s.pg.Exec(t, `UPDATE challenges SET expires_at = now() - interval '193 hours' WHERE id IN ($1, $2)`, ended, open)
	s.pg.Exec(t, `INSERT INTO limits (dimension, key, used_at) VALUES ('recipient', 'a', now() - interval '25 hours'), ('client', 'b', now())`)
	s.pg.Exec(t, `INSERT INTO removed_logins (id, workspace, login, removed_at, mac_key, mac)
		VALUES ('old', 'w', 'a', now() - interval '49 hours', 1, 'x'), ('young', 'w', 'b', now() - interval '47 hours', 1, 'x')`)
	keep := postgres.Retention{Challenges: 8 * 24 * time.Hour, Budgets: 24 * time.Hour, Limits: 24 * time.Hour, Removed: 48 * time.Hour}
	gone, err := s.db.Clean(t.Context(), keep, 100)
	if err != nil || gone != 4 {
		t.Errorf("%d rows removed: %v", gone, err)
	}
	s.wantCount(2, `SELECT count(*) FROM challenges WHERE id IN ($1, $2)`, young, open)
	s.wantCount(2, `SELECT count(*) FROM login_budgets`)
	s.wantCount(1, `SELECT count(*) FROM limits WHERE key = 'b'`)
	s.wantCount(1, `SELECT count(*) FROM removed_logins WHERE id = 'young'`)
	s.wantCount(1, `SELECT count(*) FROM removed_logins`)
}

func TestEnsureAuditPartitions_MakesWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	_, err := s.db.EnsureAuditPartitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.db.EnsureAuditPartitions(t.Context())
	if err != nil || made != 0 {
		t.Errorf("%d made: %v", made, err)
	}
	s.wantCount(0, `SELECT count(*) FROM audit_default`)
}

// It shows SEC-17 of deploy/SECURITY.md.
func TestUnlock_EndsTheLockAndNothingElse(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.pg.Exec(t, `UPDATE login_budgets SET locked_at = clock_timestamp(), in_a_row = 50, failures = ARRAY[clock_timestamp()]`)
	var ended atomic.Int32
	parallel(8, func(int) {
		unlocked, err := s.db.Unlock(t.Context(), "acme", "anna", "admin")
		if err != nil {
			t.Error(err)
		}
		if unlocked {
			ended.Add(1)
		}
	})
	if ended.Load() != 1 {
		t.Errorf("unlocked %d times", ended.Load())
	}
	s.wantCount(1, `SELECT count(*) FROM login_budgets WHERE locked_at IS NULL AND in_a_row = 0 AND cardinality(failures) = 1`)
	s.wantCount(1, `SELECT count(*) FROM audit WHERE kind = 'directory.v1.login_unlocked' AND actor = 'admin' AND login = 'anna'`)
	events := s.outbox(event.LoginUnlocked)
	if len(events) != 1 {
		t.Fatalf("%d events", len(events))
	}
	validate(t, events[0])
	// The next lock and its end are events of their own.
	s.pg.Exec(t, `UPDATE login_budgets SET locked_at = clock_timestamp()`)
	unlocked, err := s.db.Unlock(t.Context(), "acme", "anna", "admin")
	if err != nil || !unlocked || len(s.outbox(event.LoginUnlocked)) != 2 {
		t.Errorf("%v %v", unlocked, err)
	}
}

func TestUnlock_KnowsNoRemovedLogin(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.pg.Exec(t, `UPDATE login_budgets SET removed_at = now(), locked_at = now()`)
	for _, login := range []string{"anna", "nobody"} {
		_, err := s.db.Unlock(t.Context(), "acme", login, "admin")
		if err != postgres.ErrNoLogin { //nolint:errorlint // The error itself is promised.
			t.Errorf("unexpected error: %v", err)
		}
	}
}

func TestEnsureAuditPartitions_MovesWhatCameBeforeItsPartition(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.pg.Exec(t, `DO $$ BEGIN EXECUTE 'DROP TABLE audit_' || to_char(now() AT TIME ZONE 'UTC' + interval '3 days', 'YYYYMMDD'); END $$`)
	early := s.now().Add(3 * 24 * time.Hour)
	s.record(postgres.Batch{Audit: []postgres.Audit{row("early", early, `{}`), row("far", early.AddDate(1, 0, 0), `{}`)}})
	s.wantCount(2, `SELECT count(*) FROM audit_default`)
	made, err := s.db.EnsureAuditPartitions(t.Context())
	if err != nil || made != 1 {
		t.Fatalf("%d made: %v", made, err)
	}
	s.wantCount(1, `SELECT count(*) FROM audit_default WHERE id = 'far'`)
	s.wantCount(1, `SELECT count(*) FROM audit WHERE id = 'early'`)
	// A second arrival meets the row where it is now.
	s.record(postgres.Batch{Audit: []postgres.Audit{row("early", early, `{}`)}})
	s.wantCount(1, `SELECT count(*) FROM audit WHERE id = 'early'`)
}
