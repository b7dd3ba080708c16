package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/keyring"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
	"doorcode/pkg/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What must never show outside a message.
const (
	code      = "482917"
	recipient = "jo.secret@acme.example"
)

// shortFetch is how long a fetch waits for a message in most tests.
const shortFetch = 100 * time.Millisecond

// patience bounds every wait of a test.
const patience = 30 * time.Second

// world is a bus with the real credentials, a provider, and what auth holds.
type world struct {
	*bustest.Bus
	auth *bus.Conn
	ring *keyring.Ring
	fake *providertest.Fake
	logs *safeBuffer
	// longFetch keeps the engine's own wait for a message, which a drain has
	// to wait for.
	longFetch bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	b := bustest.Start(t)
	w := &world{
		Bus: b, auth: b.Connect(t, "auth"), ring: ring,
		fake: providertest.NewFake("fake", time.Now), logs: &safeBuffer{},
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the engines:\n%s", w.logs.String())
		}
		for _, secret := range []string{code, recipient} {
			if strings.Contains(w.logs.String(), secret) {
				t.Errorf("the log shows %q (P4)", secret)
			}
		}
	})
	return w
}

// context returns the context of one wait.
func (w *world) context(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dispatcher is a running engine.
type dispatcher struct {
	*Engine
	registry *prometheus.Registry
	ended    chan error
}

// start runs an engine with connections of its own, as its user.
func (w *world) start(t *testing.T, change func(*Config)) *dispatcher {
	t.Helper()
	publish, consume := w.Connect(t, "email-dispatcher"), w.Connect(t, "email-dispatcher")
	source, err := consume.Consumer(w.context(t), event.StreamChallenges, bus.EmailDispatcher)
	if err != nil {
		t.Fatal(err)
	}
	d := &dispatcher{registry: prometheus.NewRegistry(), ended: make(chan error, 1)}
	cfg := w.config(source, publish, d.registry)
	if change != nil {
		change(&cfg)
	}
	d.Engine, err = New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if d.fetchWait = shortFetch; w.longFetch {
		d.fetchWait = fetchWait
	}
	go func() { d.ended <- d.Run(context.Background()) }()
	t.Cleanup(func() { d.stop(t) })
	return d
}

// config is that of an engine whose waits are short.
func (w *world) config(source Source, conn *bus.Conn, registry *prometheus.Registry) Config {
	ms := time.Millisecond
	return Config{
		Channel: delivery.Email, Provider: w.fake, Source: source, Publisher: conn, Verifier: conn,
		Ring: w.ring, Render: renderPlain, Clock: time.Now,
		Log: slog.New(slog.NewJSONHandler(w.logs, nil)), Metrics: registry,
		Workers: 8, AckWait: 30 * time.Second, Schedule: []time.Duration{ms, ms, ms, ms, ms},
	}
}

// stop drains the engine; it may be called twice.
func (d *dispatcher) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := d.Drain(ctx)
	if err != nil {
		t.Errorf("drain: %v", err)
	}
	select {
	case err, first := <-d.ended:
		if err != nil {
			t.Errorf("run: %v", err)
		}
		if first {
			close(d.ended)
		}
	case <-ctx.Done():
		t.Error("Run did not return after Drain")
	}
}

// renderPlain is the least renderer.
func renderPlain(notice string, c seal.Content) (provider.Message, error) {
	if notice != "" {
		return provider.Message{Subject: "notice", Text: notice + " " + c.Reference}, nil
	}
	if c.Code == "" {
		return provider.Message{}, fmt.Errorf("no code")
	}
	return provider.Message{Subject: c.Label + " – code", Text: "Your code: " + c.Code}, nil
}

// order is a send that a test asks for.
type order struct {
	expires time.Duration // from now on; 0 means ten minutes
	ring    *keyring.Ring // of another world
	code    string
	change  func(*event.Issued)
}

// issued makes the event that auth would publish.
func (w *world) issued(t *testing.T, o order) (event.Event, string) {
	t.Helper()
	id, err := challenge.NewID()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	if o.expires == 0 {
		o.expires = 10 * time.Minute
	}
	if o.ring == nil {
		o.ring = w.ring
	}
	if o.code == "" {
		o.code = code
	}
	var p event.Issued
	err = eventtest.Accepted(t, event.ChallengeIssued).Decode(&p)
	if err != nil {
		t.Fatal(err)
	}
	p.Challenge, p.CreatedAt, p.ExpiresAt = id, now, now.Add(o.expires)
	p.Routes[0].Envelope = w.seal(t, o.ring, id, p.ExpiresAt, o.code)
	if o.change != nil {
		o.change(&p)
	}
	e, err := event.New(event.ChallengeIssued, id+".issued", "doorcode/auth", now, id, p)
	if err != nil {
		t.Fatal(err)
	}
	e.Traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	return e, id
}

// seal makes the envelope of a challenge's first route.
func (w *world) seal(t *testing.T, ring *keyring.Ring, id string, expires time.Time, digits string) string {
	t.Helper()
	if digits == "none" {
		digits = ""
	}
	envelope, err := seal.Seal(ring, seal.Context{
		Challenge: id, Route: 0, Channel: "email", NotAfter: challenge.NotAfter(expires),
	}, seal.Content{
		Code: digits, Recipient: recipient, Workspace: "Acme", Label: "KTM", Reference: "4F72KQ9R", Locale: "en",
		CreatedAt: expires.Add(-10 * time.Minute), ExpiresAt: expires,
	})
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

// issue publishes the event of a new challenge as auth and returns its id.
func (w *world) issue(t *testing.T, o order) string {
	t.Helper()
	e, id := w.issued(t, o)
	w.publish(t, bus.Message{Subject: "doorcode.challenge.email", ID: e.ID, Header: e.Header(), Data: e.Data})
	return id
}

// issueMany publishes the events of n challenges at once and returns their ids.
func (w *world) issueMany(t *testing.T, n int) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for batch := range slices.Chunk(make([]bus.Message, n), 50) {
		for i := range batch {
			e, id := w.issued(t, order{})
			ids[id] = true
			batch[i] = bus.Message{Subject: "doorcode.challenge.email", ID: e.ID, Header: e.Header(), Data: e.Data}
		}
		err := errors.Join(w.auth.PublishBatch(w.context(t), batch)...)
		if err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// publish stores a message as auth.
func (w *world) publish(t *testing.T, m bus.Message) {
	t.Helper()
	_, err := w.auth.Publish(w.context(t), m)
	if err != nil {
		t.Fatal(err)
	}
}

// answer serves the dispatcher's question as the verifier.
func (w *world) answer(t *testing.T, reply event.DeliveryReply) *asked {
	t.Helper()
	a := &asked{}
	conn := w.Connect(t, "verifier")
	service, err := conn.Serve(w.context(t), bus.ServiceConfig{
		Name: "verifier", Version: "1.0.0", Workers: 8,
		Endpoints: []bus.Endpoint{{Name: "delivery", Subject: event.VerbDelivery, Handle: func(_ context.Context, r bus.Request) ([]byte, error) {
			var q event.DeliveryRequest
			err := json.Unmarshal(r.Data, &q)
			if err != nil {
				return nil, err
			}
			a.add(q)
			return json.Marshal(reply)
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := service.Stop(ctx)
		if err != nil {
			t.Errorf("stop the verifier: %v", err)
		}
	})
	return a
}

// asked keeps the questions to the verifier.
type asked struct {
	mu        sync.Mutex
	questions []event.DeliveryRequest
}

func (a *asked) add(q event.DeliveryRequest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.questions = append(a.questions, q)
}

func (a *asked) list() []event.DeliveryRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]event.DeliveryRequest(nil), a.questions...)
}

// told is one delivery event as the stream holds it.
type told struct {
	event.Event
	event.Delivery
}

// events reads all delivery events and checks each against its schema.
func (w *world) events(t *testing.T) []told {
	t.Helper()
	var all []told
	for _, m := range w.Messages(t, event.StreamDeliveries) {
		e, err := event.Parse(m.Subject, m.Header, m.Data)
		if err != nil {
			t.Fatalf("event on %s: %v", m.Subject, err)
		}
		eventtest.Validate(t, m.Subject, e)
		one := told{Event: e}
		err = e.Decode(&one.Delivery)
		if err != nil {
			t.Fatal(err)
		}
		if m.ID != e.ID || e.Source != "doorcode/email-dispatcher" || e.Subject != one.Challenge {
			t.Errorf("event %s is not named by its cause: %+v", e.ID, e)
		}
		all = append(all, one)
	}
	return all
}

// await returns the delivery events as soon as there are n of them.
func (w *world) await(t *testing.T, n int) []told {
	t.Helper()
	bustest.Wait(t, fmt.Sprintf("%d delivery events", n), func() bool {
		state, err := w.Admin().StreamState(w.context(t), event.StreamDeliveries)
		return err == nil && state.Messages >= uint64(n)
	})
	return w.events(t)
}

// letters returns the dead letters as soon as there are n of them.
func (w *world) letters(t *testing.T, n int) []bustest.Stored {
	t.Helper()
	bustest.Wait(t, fmt.Sprintf("%d dead letters", n), func() bool {
		state, err := w.Admin().StreamState(w.context(t), bus.DeadLetter)
		return err == nil && state.Messages >= uint64(n)
	})
	return w.Messages(t, bus.DeadLetter)
}

// terminated waits for n advisories that the broker ended a send for a reason.
func (w *world) terminated(t *testing.T, n int) {
	t.Helper()
	bustest.Wait(t, fmt.Sprintf("%d terminated sends", n), func() bool {
		state, err := w.Admin().StreamState(w.context(t), bus.Advisories)
		return err == nil && state.Messages >= uint64(n)
	})
}

// calls waits for n calls to the provider.
func (w *world) calls(t *testing.T, n int) {
	t.Helper()
	err := w.fake.Await(w.context(t), n)
	if err != nil {
		t.Fatal(err)
	}
}

// kinds lists type, result and reason of events in short.
func kinds(all []told) []string {
	var out []string
	for _, e := range all {
		kind := strings.TrimPrefix(string(e.Type), "delivery.v1.")
		out = append(out, strings.Join(strings.Fields(kind+" "+e.Result+" "+e.Reason), " "))
	}
	return out
}

// checkRecord fails unless every call to the provider is on record once.
func checkRecord(t *testing.T, calls []providertest.Call, all []told) {
	t.Helper()
	onRecord := map[string]int{}
	for _, e := range all {
		if e.Type == event.DeliveryAttempted {
			onRecord[e.ID]++
		}
	}
	for _, c := range calls {
		if onRecord[c.Reference] != 1 {
			t.Errorf("the call %s is on record %d times", c.Reference, onRecord[c.Reference])
		}
		delete(onRecord, c.Reference)
	}
	for id := range onRecord {
		t.Errorf("the attempt %s is on record, but there was no call", id)
	}
}

// counted reads the value of a counter with these labels.
func (d *dispatcher) counted(t *testing.T, vec *prometheus.CounterVec, labels ...string) float64 {
	t.Helper()
	return testutil.ToFloat64(vec.WithLabelValues(labels...))
}

// safeBuffer is a buffer for many goroutines.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
