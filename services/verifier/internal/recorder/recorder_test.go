package recorder_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/services/verifier/internal/recorder"
	"doorcode/services/verifier/internal/verifiertest"
)

// bench is both recorders over a verifiertest.
type bench struct {
	*verifiertest.Rig
	t          *testing.T
	db         *postgres.DB
	bus        *bus.Conn
	dispatcher *bus.Conn
	recorded   atomic.Int64
	dead       atomic.Int64
	changed    sync.Map
	arrivals   arrivals
}

// arrivals remembers what the recorder had at hand and what it still has.
type arrivals struct{ came, waiting sync.Map }

func (a *arrivals) Came(issued postgres.Issued) {
	a.came.Store(issued.Event.Challenge, issued)
	a.waiting.Store(issued.Event.Challenge, issued)
}

func (a *arrivals) Gone(challenges ...string) {
	for _, id := range challenges {
		a.waiting.Delete(id)
	}
}

// none fails when something is still said to be at hand.
func (a *arrivals) none(t *testing.T) {
	t.Helper()
	a.waiting.Range(func(id, _ any) bool {
		t.Errorf("%s is still said to be at hand", id)
		return true
	})
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{Rig: verifiertest.New(t), t: t}
	b.db = b.DB()
	b.bus = b.Bus.Connect(t, "verifier")
	b.dispatcher = b.Bus.Connect(t, "email-dispatcher")
	return b
}

// run starts the recorders; stop ends them.
func (b *bench) run() (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	var ended []chan struct{}
	for _, stream := range []string{event.StreamChallenges, event.StreamDeliveries} {
		r, err := recorder.New(recorder.Config{
			Source: b.consumer(stream), Store: b.db, Publisher: b.bus, Arrivals: &b.arrivals, Number: bustest.Number, Clock: time.Now,
			Log:      slog.New(slog.DiscardHandler),
			Recorded: func(n int, _ time.Duration) { b.recorded.Add(int64(n)) },
			Changed:  b.change,
			Dead:     func() { b.dead.Add(1) },
		})
		if err != nil {
			b.t.Fatal(err)
		}
		done := make(chan struct{})
		ended = append(ended, done)
		go func() {
			defer close(done)
			r.Run(ctx)
		}()
	}
	stop = func() {
		cancel()
		for _, done := range ended {
			<-done
		}
	}
	b.t.Cleanup(stop)
	return stop
}

// change remembers what the recorder told to have changed.
func (b *bench) change(challenges ...string) {
	for _, id := range challenges {
		b.changed.Store(id, true)
	}
}

func (b *bench) consumer(stream string) *bus.Consumer {
	b.t.Helper()
	c, err := b.bus.Consumer(b.t.Context(), stream, bus.Recorder)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// deliver publishes what became of a send, as the dispatcher does.
func (b *bench) deliver(typ event.Type, id string, d event.Delivery) {
	b.t.Helper()
	e, err := event.New(typ, id, "doorcode/email-dispatcher", d.RequestedAt.Add(time.Duration(d.Number)*time.Second), d.Challenge, d)
	if err != nil {
		b.t.Fatal(err)
	}
	subject, err := event.SubjectOf(typ, d.Channel)
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = b.dispatcher.Publish(b.t.Context(), bus.Message{Subject: subject, ID: id, Header: e.Header(), Data: e.Data})
	if err != nil {
		b.t.Fatal(err)
	}
}

// attempt is an attempted delivery of the first send.
func attempt(c verifiertest.Challenge, number int, result delivery.Result) event.Delivery {
	return event.Delivery{
		Challenge: c.ID(), Send: 1, Channel: "email", Number: number, RequestedAt: c.Event.CreatedAt,
		Attempt: fmt.Sprintf("attempt_%03d", number), Provider: "sendgrid", Result: string(result),
	}
}

// It shows SEC-27, SEC-62 and SEC-64 of deploy/SECURITY.md.
func TestP1_EveryEventIsRecordedOnceInAnyOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	// Deliveries may come before their challenge is recorded.
	stopped := b.run()
	var all []verifiertest.Challenge
	for range 20 {
		c := b.Issue()
		all = append(all, c)
		for n := range 3 {
			b.deliver(event.DeliveryAttempted, fmt.Sprintf("%s.1.%d", c.ID(), n+101), attempt(c, 1, delivery.Temporary))
		}
	}
	bustest.Wait(t, "all is recorded", func() bool { return b.recorded.Load() >= 80 })
	stopped()
	b.Want(20, `SELECT count(*) FROM challenges`)
	b.Want(20, `SELECT count(*) FROM audit WHERE kind = 'challenge.v1.issued' AND actor = 'web' AND workspace = 'acme' AND login = 'anna'`)
	for _, c := range all {
		if _, told := b.changed.Load(c.ID()); !told {
			t.Errorf("%s was recorded and nobody was told", c.ID())
		}
		issued, came := b.arrivals.came.Load(c.ID())
		if !came || issued.(postgres.Issued).Stream != bustest.Number || issued.(postgres.Issued).Sequence != c.Sequence {
			t.Errorf("%s at hand: %t, %+v", c.ID(), came, issued)
		}
	}
	b.arrivals.none(t)
	b.Want(60, `SELECT count(*) FROM audit WHERE kind = 'delivery.v1.attempted' AND actor = 'doorcode/email-dispatcher'`)
	// The audit holds neither digest nor envelope nor recipient.
	b.Want(0, `SELECT count(*) FROM audit WHERE detail ?| ARRAY['digest', 'envelope', 'fingerprint'] OR detail::text LIKE '%example.com%'`)
	b.Want(0, `SELECT count(*) FROM audit WHERE detail::text LIKE '%' || $1 || '%'`, all[0].Event.Routes[0].Envelope)
}

// It shows SEC-62 of deploy/SECURITY.md.
func TestP1_ACrashBetweenCommitAndAckChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	consumer := b.consumer(event.StreamChallenges)
	for range 3 { // Fetched, recorded, and never acknowledged: the next one gets it again.
		var got []*bus.Delivery
		bustest.Wait(t, "the event comes", func() bool {
			var err error
			got, err = consumer.Fetch(t.Context(), 10, 200*time.Millisecond)
			return err == nil && len(got) > 0
		})
		err := b.db.Record(t.Context(), postgres.Batch{Challenges: []postgres.Issued{{Event: c.Event, Stream: 7, Sequence: c.Sequence}}})
		if err != nil {
			t.Fatal(err)
		}
		err = got[0].Nak(0)
		if err != nil {
			t.Fatal(err)
		}
	}
	b.run()
	bustest.Wait(t, "the event is recorded", func() bool { return b.recorded.Load() == 1 })
	b.Want(1, `SELECT count(*) FROM challenges`)
	b.Want(1, `SELECT count(*) FROM audit`)
}

func TestP5_GapsBecomeUnknownRowsOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	postponed := attempt(c, 2, "")
	postponed.Attempt, postponed.Provider = "", ""
	postponed.Reason = delivery.ReasonRateLimited.String()
	b.deliver(event.DeliveryPostponed, c.ID()+".1.postponed.2", postponed)
	b.deliver(event.DeliveryAttempted, c.ID()+".1.attempt_004", attempt(c, 4, delivery.Accepted))
	stop := b.run()
	bustest.Wait(t, "all is recorded", func() bool { return b.recorded.Load() >= 3 })
	stop()
	b.Want(2, `SELECT count(*) FROM audit WHERE detail ->> 'result' = 'unknown' AND id IN ($1, $2)`,
		delivery.UnknownID(c.ID(), 1, 1), delivery.UnknownID(c.ID(), 1, 3))
	b.Want(5, `SELECT count(*) FROM audit`)
}

// A dispatcher that stops gives a send back, and another takes it at once. Two replicas of the verifier share what both
// tell, and the later may be recorded first: nothing is unknown because of it.
func TestP5_AnEventThatAnotherReplicaHasAtHandLeavesNoGap(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	back := attempt(c, 1, "")
	back.Attempt, back.Provider, back.Reason = "", "", delivery.ReasonRateLimited.String()
	b.deliver(event.DeliveryPostponed, c.ID()+".1.postponed.1", back)
	other := b.consumer(event.StreamDeliveries)
	var held []*bus.Delivery
	bustest.Wait(t, "the other replica has it", func() bool {
		var err error
		held, err = other.Fetch(t.Context(), 1, time.Second)
		return err == nil && len(held) == 1
	})
	b.deliver(event.DeliveryAttempted, c.ID()+".1.attempt_002", attempt(c, 2, delivery.Accepted))
	b.run()
	bustest.Wait(t, "the later is on record", func() bool { return b.Count(`SELECT count(*) FROM audit WHERE id LIKE '%.attempt_002'`) == 1 })
	err := held[0].Nak(0)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "all is recorded", func() bool { return b.recorded.Load() >= 3 })
	b.Want(3, `SELECT count(*) FROM audit`)
	b.Want(0, `SELECT count(*) FROM audit WHERE detail ->> 'result' = 'unknown'`)
}

func TestRecorder_PoisonGoesToTheDeadLettersAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good := b.Issue()
	publish := func(c *bus.Conn, m bus.Message) {
		_, err := c.Publish(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(b.Auth, bus.Message{Subject: "doorcode.challenge.email", ID: "headless", Data: []byte("no event")})
	foreign := b.Envelope(good)
	foreign.ID, foreign.Subject = "other subject", "doorcode.challenge.sms"
	publish(b.Auth, foreign)
	// Whole by its form, refused by the database: the batch is replayed one by one.
	nul := attempt(good, 1, delivery.Temporary)
	nul.Detail = "a\u0000b"
	b.deliver(event.DeliveryAttempted, "nul", nul)
	b.deliver(event.DeliveryAttempted, "good", attempt(good, 1, delivery.Accepted))
	b.run()
	bustest.Wait(t, "all is handled", func() bool { return b.recorded.Load() >= 2 && b.dead.Load() >= 3 })
	letters := b.Bus.Messages(t, "DOORCODE_DLQ")
	seen := map[string]bus.Message{}
	for _, l := range letters {
		seen[l.Header["doorcode-subject"]+" "+l.Header["ce-id"]] = l.Message
		if l.Header["doorcode-reason"] == "" || l.Subject != recorder.DeadLetters {
			t.Errorf("%+v", l)
		}
	}
	if len(letters) != 3 || string(seen["doorcode.challenge.email "].Data) != "no event" {
		t.Errorf("%d dead letters: %v", len(letters), seen)
	}
	for _, want := range []string{"doorcode.challenge.sms " + foreign.Header["ce-id"], "doorcode.delivery.email.attempted nul"} {
		if _, ok := seen[want]; !ok {
			t.Errorf("%s is missing", want)
		}
	}
	b.Want(1, `SELECT count(*) FROM challenges`)
	b.Want(1, `SELECT count(*) FROM audit WHERE id = 'good'`)
}

func TestRecorder_AResendIsAcknowledgedAndNotRecorded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	e, err := event.New(event.DeliveryRequested, c.ID()+".send.2", "doorcode/verifier", c.Event.CreatedAt, c.ID(), event.Requested{
		Challenge: c.ID(), Send: 2, Channel: "email", Envelope: c.Event.Routes[0].Envelope, ExpiresAt: c.Event.ExpiresAt,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.bus.Publish(t.Context(), bus.Message{Subject: "doorcode.challenge.email", ID: e.ID, Header: e.Header(), Data: e.Data})
	if err != nil {
		t.Fatal(err)
	}
	b.run()
	bustest.Wait(t, "both are handled", func() bool { return b.recorded.Load() == 2 })
	b.Want(1, `SELECT count(*) FROM audit`)
}

// refusing is a store that cannot be asked until it is told to.
type refusing struct {
	*postgres.DB
	down  atomic.Bool
	tried atomic.Int32
}

func (r *refusing) Record(ctx context.Context, b postgres.Batch) error {
	if r.down.Load() {
		r.tried.Add(1)
		return context.DeadlineExceeded
	}
	return r.DB.Record(ctx, b)
}

func TestP1_WhilePostgresIsAwayNothingIsAcknowledged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Issue()
	store := &refusing{DB: b.db}
	store.down.Store(true)
	r, err := recorder.New(recorder.Config{
		Source: b.consumer(event.StreamChallenges), Store: store, Publisher: b.bus, Arrivals: &b.arrivals, Number: 7, Clock: time.Now,
		Log: slog.New(slog.DiscardHandler), Recorded: func(n int, _ time.Duration) { b.recorded.Add(int64(n)) }, Changed: b.change, Dead: func() { b.dead.Add(1) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	bustest.Wait(t, "it was tried", func() bool { return store.tried.Load() > 0 })
	store.down.Store(false)
	bustest.Wait(t, "the event is recorded", func() bool { return b.recorded.Load() == 1 })
	cancel()
	<-done
	b.Want(1, `SELECT count(*) FROM challenges`)
	if b.dead.Load() != 0 {
		t.Error("an event was buried because the database was away")
	}
	b.arrivals.none(t)
}

func TestNew_RefusesAMissingPart(t *testing.T) {
	t.Parallel()
	_, err := recorder.New(recorder.Config{})
	if err == nil {
		t.Error("an empty configuration was taken")
	}
}
