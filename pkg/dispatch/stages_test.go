package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/keyring"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
	"doorcode/pkg/seal"
)

// noon is when the bench tests happen.
func noon() time.Time { return time.Date(2026, 6, 3, 12, 0, 0, 0, time.UTC) }

// bench is an engine without a bus, for its pure parts.
type bench struct {
	*Engine
	fake   *providertest.Fake
	now    time.Time
	stored *store
	broker *heard
	reply  func() ([]byte, error)
}

// store keeps what is published, and fails while told to.
type store struct {
	mu       sync.Mutex
	messages []bus.Message
	failures int
}

func (s *store) Publish(_ context.Context, m bus.Message) (bus.Ack, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures > 0 {
		s.failures--
		return bus.Ack{}, errors.New("no room")
	}
	s.messages = append(s.messages, m)
	return bus.Ack{}, nil
}

// heard keeps what the broker is answered.
type heard struct {
	said []string
	wait time.Duration
	err  error
}

func (h *heard) DoubleAck(context.Context) error { return h.hear("ack") }
func (h *heard) Term(reason string) error        { return h.hear("term " + reason) }
func (h *heard) InProgress() error               { return h.hear("in progress") }
func (h *heard) Nak(wait time.Duration) error {
	h.wait = wait
	return h.hear("nak")
}

func (h *heard) hear(what string) error {
	h.said = append(h.said, what)
	return h.err
}

// nothing is a source that has nothing.
type nothing struct{}

func (nothing) Hand(context.Context, int, time.Duration, func(*bus.Delivery)) error { return nil }

// asker answers the question of a repeat.
type asker func() ([]byte, error)

func (a asker) Request(context.Context, string, []byte) ([]byte, error) { return a() }

// complete is a configuration in good order.
func complete(t *testing.T) Config {
	t.Helper()
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Channel: delivery.Email, Provider: providertest.NewFake("fake", noon), Source: nothing{},
		Publisher: &store{}, Verifier: asker(func() ([]byte, error) { return nil, errors.New("silent") }),
		Ring: ring, Render: renderPlain, Clock: noon, Random: func() float64 { return 0.5 },
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Workers: 1, AckWait: 30 * time.Second,
	}
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{now: noon(), stored: &store{}, broker: &heard{}}
	b.reply = func() ([]byte, error) { return nil, errors.New("silent") }
	clock := func() time.Time { return b.now }
	b.fake = providertest.NewFake("fake", clock)
	cfg := complete(t)
	cfg.Provider, cfg.Clock, cfg.Publisher = b.fake, clock, b.stored
	cfg.Verifier = asker(func() ([]byte, error) { return b.reply() })
	var err error
	b.Engine, err = New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// job is a hand-over that has passed render, of a code that lives till 12:10.
func (b *bench) job() *Job {
	id := strings.Repeat("A", 22)
	return &Job{
		Number: 1, Received: b.now, Stored: b.now, Stream: event.StreamChallenges, Sequence: 7,
		Message:   bus.Message{Subject: "doorcode.challenge.email", Data: []byte(`{}`)},
		Send:      event.Send{Challenge: id, Number: 1, Channel: "email", At: b.now},
		Reference: delivery.Reference{Challenge: id, Send: 1, Attempt: strings.Repeat("B", 11)},
		NotAfter:  b.now.Add(9 * time.Minute),
		Rendered:  provider.Message{Reference: id + ".1." + strings.Repeat("B", 11), Recipient: recipient, Text: "x"},
	}
}

// end concludes a job and returns the events' kinds and what the broker heard.
func (b *bench) end(t *testing.T, j *Job, err error) ([]string, []string) {
	t.Helper()
	b.conclude(t.Context(), &handOver{Job: j, answer: b.broker}, err)
	var all []told
	for _, m := range b.stored.messages {
		if strings.HasPrefix(m.Subject, "doorcode.dlq.") {
			all = append(all, told{Event: event.Event{Type: "dead letter"}})
			continue
		}
		e, err := event.Parse(m.Subject, m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		eventtest.Validate(t, m.Subject, e)
		one := told{Event: e}
		err = e.Decode(&one.Delivery)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return kinds(all), b.broker.said
}

func TestNew_NamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for want, spoil := range map[string]func(*Config){
		"channel":          func(c *Config) { c.Channel = "" },
		"provider":         func(c *Config) { c.Provider = nil },
		"source":           func(c *Config) { c.Source = nil },
		"publisher":        func(c *Config) { c.Publisher = nil },
		"verifier":         func(c *Config) { c.Verifier = nil },
		"key ring":         func(c *Config) { c.Ring = nil },
		"render function":  func(c *Config) { c.Render = nil },
		"clock":            func(c *Config) { c.Clock = nil },
		"logger":           func(c *Config) { c.Log = nil },
		"metrics registry": func(c *Config) { c.Metrics = nil },
		"worker":           func(c *Config) { c.Workers = 0 },
		"time for an ack":  func(c *Config) { c.AckWait = 0 },
	} {
		cfg := complete(t)
		spoil(&cfg)
		_, err := New(cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without %s the error is %v", want, err)
		}
	}
	cfg := complete(t)
	cfg.Random, cfg.Schedule = nil, nil
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r := e.random(); r < 0 || r >= 1 || len(e.schedule) != 5 {
		t.Errorf("defaults are %v and %v", r, e.schedule)
	}
	_, err = New(cfg)
	if err == nil {
		t.Error("two engines of one channel share a registry")
	}
}

// It shows SEC-29 of deploy/SECURITY.md.
func TestDecode_TrustsNoSubject(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, v := range eventtest.Vectors(t) {
		j := &Job{Message: bus.Message{Subject: v.Subject, Header: v.Header, Data: v.Data}}
		b.channel = delivery.Email
		if v.Name == string(event.NoticeRequested) { // is one of the other channel
			b.channel = delivery.SMS
		}
		err := b.decode(t.Context(), j)
		wanted := v.Name == string(event.ChallengeIssued) || v.Name == string(event.DeliveryRequested) || v.Name == string(event.NoticeRequested)
		var discarded *discardError
		if wanted != (err == nil) || (!wanted && !errors.As(err, &discarded)) {
			t.Errorf("vector %s: %v", v.Name, err)
		}
		if j.understood() != wanted {
			t.Errorf("vector %s: understood is %v", v.Name, j.understood())
		}
	}
}

func TestDecode_DrawsANameForEachHandOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	e := eventtest.Accepted(t, event.ChallengeIssued)
	seen := map[string]bool{}
	for range 100 {
		j := &Job{Message: bus.Message{Subject: "doorcode.challenge.email", Header: e.Header(), Data: e.Data}}
		err := b.decode(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		seen[j.Reference.String()] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 hand-overs have %d names", len(seen))
	}
}

func TestDecode_RefusesIDsThatMakeNoReference(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	e := eventtest.Accepted(t, event.ChallengeIssued)
	for _, id := range []string{"short", "AAECAwQFBgcICQoLDA0OD.", strings.Repeat("A", 23)} {
		data := strings.ReplaceAll(string(e.Data), "AAECAwQFBgcICQoLDA0ODw", id)
		j := &Job{Message: bus.Message{Subject: "doorcode.challenge.email", Header: e.Header(), Data: []byte(data)}}
		err := b.decode(t.Context(), j)
		if err == nil || j.understood() {
			t.Errorf("the challenge %q is taken", id)
		}
	}
}

func TestDecode_LeavesOtherChannelsAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	e := eventtest.Accepted(t, event.ChallengeIssued)
	data := strings.ReplaceAll(string(e.Data), `"email"`, `"sms"`)
	j := &Job{Message: bus.Message{Subject: "doorcode.challenge.sms", Header: e.Header(), Data: []byte(data)}}
	var discarded *discardError
	err := b.decode(t.Context(), j)
	if !errors.As(err, &discarded) || discarded.cause != "send of another channel" {
		t.Errorf("error is %v", err)
	}
}

// It shows SEC-22 of deploy/SECURITY.md.
func TestGate_Decides(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*bench, *Job)
		want    string
	}{
		"first":                   {func(*bench, *Job) {}, ""},
		"at the deadline":         {func(b *bench, j *Job) { j.NotAfter = b.now }, "abandon: too_late"},
		"remembered":              {func(b *bench, j *Job) { b.ended.add(j.Send, b.now, j.NotAfter) }, "ended before"},
		"draining":                {func(b *bench, _ *Job) { close(b.draining) }, "postpone: canceled"},
		"draining, last time":     {func(b *bench, j *Job) { close(b.draining); j.Number = 6 }, ""},
		"draining, too late":      {func(b *bench, j *Job) { close(b.draining); j.NotAfter = b.now }, "abandon: too_late"},
		"repeat, no answer":       {func(_ *bench, j *Job) { j.Number = 2 }, ""},
		"repeat, accepted":        {answering(`{"accepted":true}`), "ended before"},
		"repeat, ended":           {answering(`{"ended":true}`), "abandon: canceled"},
		"repeat, neither":         {answering(`{}`), ""},
		"repeat, mangled answer":  {answering(`{"accepted":`), ""},
		"first is not asked for":  {func(b *bench, _ *Job) { b.reply = func() ([]byte, error) { return []byte(`{"ended":true}`), nil } }, ""},
		"restarted count is zero": {func(_ *bench, j *Job) { j.Number = 0 }, ""},
	} {
		b := newBench(t)
		j := b.job()
		c.prepare(b, j)
		err := b.gate(t.Context(), j)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// answering makes a job a repeat about which the verifier says something.
func answering(reply string) func(*bench, *Job) {
	return func(b *bench, j *Job) {
		j.Number = 2
		b.reply = func() ([]byte, error) { return []byte(reply), nil }
	}
}

// It shows SEC-29 of deploy/SECURITY.md.
func TestOpen_BindsAnEnvelopeToItsSend(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	good := b.job()
	at := seal.Context{Challenge: good.Send.Challenge, Channel: "email", NotAfter: good.NotAfter}
	envelope, err := seal.Seal(b.ring, at, seal.Content{Code: code, Recipient: recipient, Label: "KTM"})
	if err != nil {
		t.Fatal(err)
	}
	good.Send.Envelope = envelope
	err = errors.Join(b.open(t.Context(), good), b.render(t.Context(), good))
	if err != nil || good.Rendered.Recipient != recipient || good.Rendered.Reference != good.Reference.String() {
		t.Errorf("a good envelope: %v", err)
	}
	for name, move := range map[string]func(*Job){
		"challenge": func(j *Job) { j.Send.Challenge = strings.Repeat("C", 22) },
		"route":     func(j *Job) { j.Send.Route = 1 },
		"channel":   func(j *Job) { j.Send.Channel = "sms" },
		"deadline":  func(j *Job) { j.NotAfter = j.NotAfter.Add(time.Hour) },
	} {
		j := b.job()
		j.Send.Envelope = envelope
		move(j)
		var discarded *discardError
		if !errors.As(b.open(t.Context(), j), &discarded) {
			t.Errorf("an envelope opens for another %s", name)
		}
	}
}

func TestSend_StartsNoCallInVain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(*bench, *Job)
		want    string
	}{
		"at the deadline (P6)":      {func(b *bench, j *Job) { j.NotAfter = b.now }, "abandon: too_late"},
		"half the patience is over": {func(b *bench, j *Job) { j.Received = b.now.Add(-15 * time.Second) }, "postpone: timeout"},
		"both":                      {func(b *bench, j *Job) { j.NotAfter = b.now; j.Received = b.now.Add(-time.Minute) }, "abandon: too_late"},
		"refused without a call":    {func(_ *bench, j *Job) { j.Rendered.Text = "" }, "abandon: rejected"},
		"no turn in time":           {notCalled(delivery.Permanent, delivery.ReasonTooLate), "postpone: timeout"},
		"breaker open":              {notCalled(delivery.Temporary, delivery.ReasonRejected), "postpone: rejected"},
	} {
		b := newBench(t)
		j := b.job()
		c.prepare(b, j)
		err := b.send(t.Context(), j)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if j.Attempt != (Attempt{}) {
			t.Errorf("%s: an attempt is left behind", name)
		}
	}
}

// notCalled makes the provider fail without a call.
func notCalled(result delivery.Result, reason delivery.Reason) func(*bench, *Job) {
	return func(b *bench, _ *Job) {
		b.fake.Script(&provider.Failure{Result: result, Reason: reason, NotCalled: true})
	}
}

func TestSend_StartsNoCallOnceTheEngineIsStopped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := ctxEnded(t)
	defer cancel()
	err := b.send(ctx, b.job())
	if err == nil || err.Error() != "postpone: canceled" || len(b.fake.Received()) != 0 {
		t.Errorf("%v after %d calls", err, len(b.fake.Received()))
	}
}

func TestSend_KeepsWhatIsKnown(t *testing.T) {
	t.Parallel()
	f := &provider.Failure{
		Result: delivery.Temporary, Reason: delivery.ReasonRateLimited, RetryAfter: time.Minute, Status: 429, Detail: "slow down",
	}
	b := newBench(t)
	b.fake.Script(f)
	j := b.job()
	err := b.send(t.Context(), j)
	want := Attempt{Result: f.Result, Reason: f.Reason, RetryAfter: time.Minute, Detail: "slow down", At: noon()}
	if diff := cmp.Diff(want, j.Attempt); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if got := b.fake.Messages()[0].NotAfter; !got.Equal(noon().Add(15 * time.Second)) {
		t.Errorf("the provider may start until %v", got)
	}
}

// A process that stood still finds first hand-overs in its connection that others have been given since.
func TestP6_AFirstHandOverThatLayAboutAsksTheVerifier(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]bool{0: false, 15*time.Second - 1: false, 15 * time.Second: true, time.Minute: true} {
		b := newBench(t)
		asked := false
		b.reply = func() ([]byte, error) {
			asked = true
			return []byte(`{"accepted":true}`), nil
		}
		j := b.job()
		j.Stored = b.now.Add(-age)
		err := b.gate(t.Context(), j)
		if asked != want || errors.Is(err, errDone) != want {
			t.Errorf("stored %s ago: asked %v, %v", age, asked, err)
		}
	}
}
