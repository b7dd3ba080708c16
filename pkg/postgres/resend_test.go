package postgres_test

import (
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/limit"
	"doorcode/pkg/postgres"
)

// resend asks for one more message by the first route.
func (s *stage) resend(id string, key int) (postgres.Ordered, bool) {
	s.t.Helper()
	f, err := s.db.Facts(s.t.Context(), id)
	if err != nil {
		s.t.Error(err)
		return postgres.Ordered{}, false
	}
	for {
		o, ok, err := s.db.Resend(s.t.Context(), postgres.Resend{Challenge: id, Key: mac(key)[0], Route: f.Routes[0]})
		if postgres.IsContended(err) {
			continue
		}
		if err != nil {
			s.t.Error(err)
		}
		return o, ok
	}
}

// waited makes the wait of every challenge be over.
func (s *stage) waited() {
	s.t.Helper()
	s.pg.Exec(s.t, `UPDATE challenges SET resend_at = clock_timestamp()`)
}

// It shows SEC-18 of deploy/SECURITY.md.
func TestResend_50ParallelOrderOneMessage(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	if _, ok := s.resend(id, 0); ok {
		t.Error("the wait was not obeyed")
	}
	s.waited()
	var taken atomic.Int32
	parallel(50, func(i int) {
		_, ok := s.resend(id, i)
		if ok {
			taken.Add(1)
		}
	})
	if taken.Load() != 1 {
		t.Errorf("%d taken", taken.Load())
	}
	s.wantCount(1, `SELECT count(*) FROM outbox WHERE type = 'delivery.v1.requested'`)
	s.wantCount(1, `SELECT cardinality(times) FROM limits WHERE dimension = 'recipient'`)
}

func TestResend_OrdersTheStoredEnvelope(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	// A time finer than the database keeps must not round up: the envelope is bound to its milliseconds.
	id := s.challenge(func(e *event.Issued) {
		e.ExpiresAt = e.ExpiresAt.Truncate(time.Second).Add(123*time.Millisecond + 999_999)
	})
	s.waited()
	o, ok := s.resend(id, 1)
	if !ok || o.Send != 2 || o.ResendAt.Sub(o.At) != time.Minute {
		t.Fatalf("%+v", o)
	}
	events := s.outbox(event.DeliveryRequested)
	if len(events) != 1 || events[0].ID != id+".send.2" || !events[0].Time.Equal(o.At) {
		t.Fatalf("%+v", events)
	}
	validate(t, events[0])
	send, err := event.SendOf(events[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.db.Facts(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if send.Number != 2 || send.Envelope != f.Routes[0].Envelope || send.ExpiresAt.UnixMilli()%1000 != 123 {
		t.Errorf("%+v", send)
	}
	s.wantCount(1, `SELECT count(*) FROM audit WHERE id = $1 AND kind = 'delivery.v1.requested' AND NOT detail ? 'envelope'`, id+".send.2")
	// The entry is the first eight bytes of the hash of the message's id.
	sum := sha256.Sum256([]byte(id + ".send.2"))
	s.wantCount(1, `SELECT count(*) FROM limits WHERE entries = ARRAY[$1::bigint] AND times = ARRAY[$2::timestamptz]`,
		int64(binary.BigEndian.Uint64(sum[:])), o.At)
}

// It shows SEC-18 of deploy/SECURITY.md.
func TestResend_WaitsLongerEachTimeAndEndsAfterFiveSends(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	for n, wait := range []time.Duration{60, 120, 240, 240} {
		s.waited()
		o, ok := s.resend(id, n)
		if !ok || o.Send != n+2 || o.ResendAt.Sub(o.At) != wait*time.Second {
			t.Fatalf("send %d: %+v", n+2, o)
		}
	}
	s.waited()
	if _, ok := s.resend(id, 9); ok {
		t.Error("a sixth send was taken")
	}
	s.wantCount(1, `SELECT count(*) FROM challenges WHERE sends = 5 AND cardinality(send_keys) = 4 AND send_routes = '{0,0,0,0,0}'`)
}

// It shows SEC-21 of deploy/SECURITY.md.
func TestResend_AKeyTakesOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	s.waited()
	var taken atomic.Int32
	parallel(16, func(int) {
		_, ok := s.resend(id, 1)
		if ok {
			taken.Add(1)
		}
	})
	s.waited()
	if _, ok := s.resend(id, 1); ok || taken.Load() != 1 {
		t.Errorf("%d taken, and later %v", taken.Load(), ok)
	}
}

// It shows SEC-18 of deploy/SECURITY.md.
func TestResend_RefusesAndTakesNothing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"too early":        `UPDATE challenges SET resend_at = clock_timestamp() + interval '5 seconds'`,
		"last two minutes": `UPDATE challenges SET expires_at = clock_timestamp() + interval '119 seconds'`,
		"expired":          `UPDATE challenges SET expires_at = clock_timestamp()`,
		"ended":            `UPDATE challenges SET state = 'canceled', digest = NULL, ended_at = now()`,
		"other version":    `UPDATE login_budgets SET version = 2`,
		"locked":           `UPDATE login_budgets SET locked_at = now()`,
		"removed":          `UPDATE login_budgets SET removed_at = now()`,
		"hour is full": `INSERT INTO limits (dimension, key, times, entries) SELECT 'recipient', sha256('anna@example.com'),
			array_agg(clock_timestamp() - interval '59 minutes'), array_agg(n::bigint) FROM generate_series(1, 20) n`,
		"day is full": `INSERT INTO limits (dimension, key, times, entries) SELECT 'recipient', sha256('anna@example.com'),
			array_agg(clock_timestamp() - interval '23 hours'), array_agg(n::bigint) FROM generate_series(1, 60) n`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			id := s.challenge()
			s.waited()
			s.pg.Exec(t, change)
			before := s.count(`SELECT coalesce(sum(cardinality(times)), 0) FROM limits`)
			if _, ok := s.resend(id, 1); ok {
				t.Error("taken")
			}
			s.wantCount(before, `SELECT coalesce(sum(cardinality(times)), 0) FROM limits`)
			s.wantCount(0, `SELECT count(*) FROM outbox`)
			s.wantCount(0, `SELECT count(*) FROM audit`)
			s.wantCount(1, `SELECT count(*) FROM challenges WHERE sends = 1 AND send_keys = '{}'`)
		})
	}
}

func TestResend_ChangedWhileItWaitsForALock(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	s.waited()
	_, release := s.hold(`UPDATE login_budgets SET version = 2`)
	taken := make(chan bool)
	go func() {
		_, ok := s.resend(id, 1)
		taken <- ok
	}()
	s.waiting(1)
	release()
	if <-taken {
		t.Error("a message was ordered after the login changed")
	}
	s.wantCount(0, `SELECT count(*) FROM limits`)
}

// It shows SEC-18 of deploy/SECURITY.md.
func TestResend_TooLateWhileItWaitsForALock(t *testing.T) {
	t.Parallel()
	for _, life := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 12 * time.Second} {
		s := newStage(t)
		id := s.challenge(func(e *event.Issued) { e.ExpiresAt = e.CreatedAt.Add(2*time.Minute + life) })
		s.waited()
		_, release := s.hold(`SELECT FROM login_budgets FOR UPDATE`)
		taken := make(chan bool)
		go func() {
			_, ok := s.resend(id, 1)
			taken <- ok
		}()
		late := func() bool {
			st := s.standing(id)
			return !st.Now.Before(challenge.LastResend(st.ExpiresAt))
		}
		s.until("the resend waits, or it is too late to", func() bool {
			return late() || s.count(`SELECT count(*) FROM pg_stat_activity
				WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
		})
		waited := !late()
		s.until("the last two minutes begin", late)
		release()
		if <-taken {
			t.Error("a message was ordered in the last two minutes, because the row did not change meanwhile")
		}
		s.wantCount(0, `SELECT count(*) FROM limits`)
		if waited {
			return
		}
	}
	t.Error("the resend never waited before the last two minutes")
}

// It shows SEC-43 of deploy/SECURITY.md.
func TestResend_TheLimitOfARecipientIsSharedAndForgetsAfterADay(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.pg.Exec(t, `INSERT INTO limits (dimension, key, times, entries) SELECT 'recipient', sha256('anna@example.com'),
		array_agg(clock_timestamp() - interval '25 hours'), array_agg(n::bigint) FROM generate_series(1, 60) n`)
	ids := make([]string, 30)
	for i := range ids {
		ids[i] = s.challenge()
	}
	s.waited()
	var taken atomic.Int32
	parallel(len(ids), func(i int) {
		_, ok := s.resend(ids[i], i)
		if ok {
			taken.Add(1)
		}
	})
	if taken.Load() != 20 {
		t.Errorf("%d taken in one hour", taken.Load())
	}
	s.wantCount(20, `SELECT cardinality(times) FROM limits WHERE cardinality(times) = cardinality(entries)`)
	times, now, err := s.db.Taken(t.Context(), limit.Recipient, digest("anna@example.com"))
	if err != nil || len(times) != 20 || now.Before(times[19]) {
		t.Errorf("%d times: %v", len(times), err)
	}
}
