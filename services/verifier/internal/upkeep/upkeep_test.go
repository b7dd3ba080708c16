package upkeep_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/postgres"
	"doorcode/services/verifier/internal/upkeep"
	"doorcode/services/verifier/internal/verifiertest"
)

// bench is the upkeep over a verifiertest.
type bench struct {
	*verifiertest.Rig
	t   *testing.T
	db  *postgres.DB
	bus *bus.Conn
	log *slog.Logger
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{Rig: verifiertest.New(t), t: t, log: slog.New(slog.DiscardHandler)}
	b.db = b.DB()
	b.bus = b.Bus.Connect(t, "verifier")
	return b
}

// run runs a loop until the test ends.
func run(t *testing.T, loop func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		loop(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// record puts a challenge into Postgres.
func (b *bench) record() verifiertest.Challenge {
	b.t.Helper()
	c := b.Issue()
	err := b.db.Record(b.t.Context(), postgres.Batch{Challenges: []postgres.Issued{{Event: c.Event, Stream: 7, Sequence: c.Sequence}}})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func TestSweep_EndsWithinASecondWhatIsOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	expired, outdated, live := b.record(), b.record(), b.record()
	var ended atomic.Int32
	var changed sync.Map
	relay := upkeep.NewRelay(b.db, b.bus, b.log, func(int, time.Duration) {})
	run(t, relay.Run)
	sweep := upkeep.NewSweep(b.db, b.log, func(channel string, _ challenge.State) {
		if channel == string(delivery.Email) {
			ended.Add(1)
		}
	}, func(ids ...string) {
		for _, id := range ids {
			changed.Store(id, true)
		}
		relay.Wake()
	})
	var rounds atomic.Int32
	sweep.Done = func() { rounds.Add(1) }
	run(t, sweep.Run)
	b.PG.Exec(t, `UPDATE challenges SET expires_at = clock_timestamp() WHERE id = $1`, expired.ID())
	b.PG.Exec(t, `UPDATE challenges SET login_version = 2 WHERE id = $1`, live.ID())
	b.PG.Exec(t, `UPDATE login_budgets SET version = 2`)
	bustest.Wait(t, "both are ended and told", func() bool { return len(b.Bus.Messages(t, event.StreamOutcomes)) == 2 })
	b.Want(1, `SELECT count(*) FROM challenges WHERE id = $1 AND state = 'expired'`, expired.ID())
	b.Want(1, `SELECT count(*) FROM challenges WHERE id = $1 AND state = 'canceled'`, outdated.ID())
	b.Want(1, `SELECT count(*) FROM challenges WHERE id = $1 AND state = 'pending'`, live.ID())
	bustest.Wait(t, "the login is swept", func() bool {
		return b.Count(`SELECT count(*) FROM login_budgets WHERE swept_version = version`) == 1
	})
	bustest.Wait(t, "a round is told", func() bool { return rounds.Load() > 0 })
	if ended.Load() != 2 {
		t.Errorf("ended %d", ended.Load())
	}
	for id, want := range map[string]bool{expired.ID(): true, outdated.ID(): true, live.ID(): false} {
		if _, told := changed.Load(id); told != want {
			t.Errorf("%s was told to have changed: %t, not %t", id, told, want)
		}
	}
	for _, m := range b.Bus.Messages(t, event.StreamOutcomes) {
		e, err := event.Parse(m.Subject, m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		eventtest.Validate(t, m.Subject, e)
	}
}

func TestP1_ASweepThatCannotExpireStillCancels(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	expired, outdated := b.record(), b.record()
	b.PG.Exec(t, `UPDATE challenges SET expires_at = clock_timestamp() WHERE id = $1`, expired.ID())
	b.PG.Exec(t, `INSERT INTO outbox (id, type, source, subject, at, data) VALUES ($1, 'x', 'x', 'x', now(), '{}')`, expired.ID()+".expired")
	b.PG.Exec(t, `UPDATE login_budgets SET version = 2`)
	b.PG.Exec(t, `UPDATE challenges SET login_version = 2 WHERE id = $1`, expired.ID())
	sweep := upkeep.NewSweep(b.db, b.log, func(string, challenge.State) {}, func(...string) {})
	sweep.Done = func() { t.Error("a round that failed counts as done") }
	err := sweep.Once(t.Context())
	if err == nil {
		t.Error("a challenge ended whose outcome cannot be written")
	}
	b.Want(1, `SELECT count(*) FROM challenges WHERE id = $1 AND state = 'canceled'`, outdated.ID())
	b.Want(1, `SELECT count(*) FROM login_budgets WHERE version = swept_version`)
}

func TestP1_TheRelayLosesAndDoublesNothingWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var pending, oldest atomic.Int64
	relay := upkeep.NewRelay(b.db, b.bus, b.log, func(n int, d time.Duration) {
		pending.Store(int64(n))
		oldest.Store(int64(d))
	})
	run(t, relay.Run)
	run(t, upkeep.NewRelay(b.db, b.bus, b.log, func(int, time.Duration) {}).Run) // Another replica.
	put := func(first, last int) {
		b.PG.Exec(t, `INSERT INTO outbox (id, type, source, subject, at, data)
			SELECT 'e' || i, 'directory.v1.login_put', 'doorcode/auth', 'acme', clock_timestamp(),
			       jsonb_build_object('workspace', 'acme', 'login', 'l' || i, 'version', 1, 'by', 'web', 'at', clock_timestamp())
			  FROM generate_series($1::int, $2::int) i`, first, last)
		relay.Wake()
	}
	put(1, 300)
	b.Bus.Stop(t)
	put(301, 600)
	bustest.Wait(t, "the relay sees what waits", func() bool { return pending.Load() > 0 && oldest.Load() > 0 })
	b.Bus.Resume(t)
	put(601, 700)
	bustest.Wait(t, "the outbox is empty", func() bool { return b.Count(`SELECT count(*) FROM outbox`) == 0 })
	messages := b.Bus.Messages(t, event.StreamDirectory)
	seen := map[string]bool{}
	for _, m := range messages {
		seen[m.ID] = true
	}
	if len(messages) != 700 || len(seen) != 700 {
		t.Errorf("%d messages, %d ids", len(messages), len(seen))
	}
	e, err := event.Parse(messages[0].Subject, messages[0].Header, messages[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	eventtest.Validate(t, messages[0].Subject, e)
}

func TestRelay_AnEventThatCannotGoStopsNoOther(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.PG.Exec(t, `INSERT INTO outbox (id, type, source, subject, at, data) VALUES
		('bad', 'directory.v1.nothing', 'doorcode/auth', 'acme', now(), '{}'),
		('good', 'directory.v1.login_put', 'doorcode/auth', 'acme', now(), '{}')`)
	upkeep.NewRelay(b.db, b.bus, b.log, func(int, time.Duration) {}).Drain(t.Context())
	b.Want(1, `SELECT count(*) FROM outbox WHERE id = 'bad'`)
	b.Want(0, `SELECT count(*) FROM outbox WHERE id = 'good'`)
}

// It shows SEC-64 of deploy/SECURITY.md.
func TestJanitor_KeepsChallengesLongerThanTheStreams(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	young, old := b.record(), b.record()
	b.PG.Exec(t, `UPDATE challenges SET state = 'expired', digest = NULL, ended_at = now()`)
	b.PG.Exec(t, `UPDATE challenges SET expires_at = now() - interval '7 days 23 hours' WHERE id = $1`, young.ID())
	b.PG.Exec(t, `UPDATE challenges SET expires_at = now() - interval '8 days 1 minute' WHERE id = $1`, old.ID())
	janitor := upkeep.NewJanitor(b.db, b.log)
	var rounds atomic.Int32
	janitor.Done = func() { rounds.Add(1) }
	run(t, janitor.Run)
	bustest.Wait(t, "the old one is gone", func() bool { return b.Count(`SELECT count(*) FROM challenges`) == 1 })
	bustest.Wait(t, "the round is told", func() bool { return rounds.Load() == 1 })
	b.Want(1, `SELECT count(*) FROM challenges WHERE id = $1`, young.ID())
	for _, s := range bus.Streams() {
		if s.Name == event.StreamChallenges && s.MaxAge.Hours() > 7*24 {
			t.Error("challenges would be forgotten while their stream still holds their events")
		}
	}
}

func TestJanitor_RemovesAlsoWhenPartitionsCannotBeMade(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old := b.record()
	b.PG.Exec(t, `UPDATE challenges SET state = 'expired', digest = NULL, ended_at = now(), expires_at = now() - interval '9 days'`)
	b.PG.Exec(t, `REVOKE EXECUTE ON FUNCTION ensure_audit_partitions() FROM doorcode_verifier`)
	janitor := upkeep.NewJanitor(b.db, b.log)
	janitor.Done = func() { t.Error("a round that failed counts as done") }
	err := janitor.Once(t.Context())
	if err == nil {
		t.Error("partitions were not made and nobody is told")
	}
	b.Want(0, `SELECT count(*) FROM challenges WHERE id = $1`, old.ID())
}

func TestCounter_CountsWhatWasSentAndWhatWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.record()
	counter := upkeep.NewCounter(b.db, b.log)
	var rounds atomic.Int32
	counter.Done = func() { rounds.Add(1) }
	run(t, counter.Run)
	bustest.Wait(t, "a round is told", func() bool { return rounds.Load() > 0 })
	b.Want(1, `SELECT waiting FROM channel_queues WHERE channel = 'email' AND oldest > now() - interval '10 minutes'`)
	b.PG.Exec(t, `INSERT INTO audit (id, at, kind, challenge_id, actor, detail) VALUES ('a', now() - interval '1 minute', 'delivery.v1.attempted', $1, 'd',
		'{"send": 1, "channel": "email", "provider": "sendgrid", "result": "accepted"}')`, c.ID())
	b.PG.Exec(t, `UPDATE channel_rounds SET next_at = now()`)
	err := counter.Once(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.Want(1, `SELECT sum(sent) FROM channel_minutes WHERE channel = 'email' AND provider = 'sendgrid' AND destination = ''`)
	b.Want(0, `SELECT waiting FROM channel_queues WHERE channel = 'email'`)
}

func TestCounter_TellsARoundInWhichAPartFailed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	counter := upkeep.NewCounter(b.db, b.log)
	counter.Done = func() { t.Error("a round that failed counts as done") }
	b.PG.Exec(t, `REVOKE ALL ON channel_minutes FROM doorcode_verifier`)
	err := counter.Once(t.Context())
	if err == nil {
		t.Error("nothing failed")
	}
	b.Want(2, `SELECT count(*) FROM channel_queues`)
}
