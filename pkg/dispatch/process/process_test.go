package process

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/delivery"
	"doorcode/pkg/dispatch/dispatchtest"
	"doorcode/pkg/event"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/message"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
	"doorcode/pkg/seal"
	"doorcode/pkg/telemetry"
)

var _ lifecycle.App = (*Process)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// closing is the fake as a provider that owns connections.
type closing struct {
	*providertest.Fake
	closed int
}

func (c *closing) Close() { c.closed++ }

// sample returns a configuration in which a channel's process can run.
func sample(t *testing.T, w *dispatchtest.World, c delivery.Channel) Config {
	t.Helper()
	tel, err := telemetry.New(name(c), "info", w.Log)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Channel: c, NATSURL: w.URL(), NATSKeyFile: w.KeyFile(name(c)), ChannelKeyFile: w.RingFile(t, c),
		Provider: &closing{Fake: providertest.NewFake("fake", time.Now)}, Workers: 4, RatePerSecond: 1000,
		Telemetry: tel, Clock: time.Now,
	}
	switch c {
	case delivery.Email:
		cfg.Renderer, err = message.NewEmail("Lanternbird", "")
	case delivery.SMS:
		cfg.Renderer, err = message.NewSMS("Lanternbird", "login.lanternbird.example")
	}
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// build returns a process that is not started.
func build(t *testing.T, cfg Config) *Process {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// start runs a process until the end of the test; a fatal error fails it.
func start(t *testing.T, cfg Config) *Process {
	t.Helper()
	p := build(t, cfg)
	t.Cleanup(func() {
		err := p.Stop(dispatchtest.Context(t))
		if err != nil {
			t.Errorf("stop: %v", err)
		}
		select {
		case err := <-p.Failed():
			t.Errorf("failed: %v", err)
		default:
		}
	})
	err := p.Start(dispatchtest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProcess_SendsWhatItsChannelIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, c := range delivery.Channels() {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			w := dispatchtest.Start(t)
			cfg := sample(t, w, c)
			fake, _ := cfg.Provider.(*closing)
			p := start(t, cfg)
			err := p.Ready(dispatchtest.Context(t))
			if err != nil {
				t.Errorf("not ready: %v", err)
			}
			auth := w.Connect(t, "auth")
			for _, o := range delivery.Channels() {
				w.Issue(t, auth, dispatchtest.Order{Channel: o, Recipient: "recipient-of-" + string(o)})
			}
			err = fake.Await(dispatchtest.Context(t), 1)
			if err != nil {
				t.Fatal(err)
			}
			err = p.Stop(dispatchtest.Context(t))
			if err != nil {
				t.Errorf("stop: %v", err)
			}
			sent := fake.Messages()
			if len(sent) != 1 || sent[0].Recipient != "recipient-of-"+string(c) || !strings.Contains(sent[0].Text, dispatchtest.Code) {
				t.Errorf("sent %d: %v", len(sent), sent)
			}
			stored := w.Messages(t, event.StreamDeliveries)
			if len(stored) != 1 || stored[0].Subject != "doorcode.delivery."+string(c)+".attempted" || stored[0].ID != sent[0].Reference {
				t.Errorf("record is %+v", stored)
			}
			if fake.closed != 1 {
				t.Errorf("the provider was closed %d times", fake.closed)
			}
		})
	}
}

func TestProcess_IsNotReadyWithoutItsBus(t *testing.T) {
	t.Parallel()
	w := dispatchtest.Start(t)
	p := start(t, sample(t, w, delivery.SMS))
	w.Stop(t)
	err := p.Ready(dispatchtest.Context(t))
	if err == nil {
		t.Error("ready without a bus")
	}
}

func TestProcess_StopsAfterAStartThatFailed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bus   func(testing.TB) *bustest.Bus
		spoil func(*testing.T, *Config)
		want  string
	}{
		"no stream":   {bustest.StartEmpty, func(*testing.T, *Config) {}, "open consumer"},
		"no key ring": {bustest.Start, func(_ *testing.T, c *Config) { c.ChannelKeyFile = "/does/not/exist" }, "key of the channel"},
		"unknown user": {bustest.Start, func(t *testing.T, c *Config) {
			t.Helper()
			c.NATSKeyFile = dispatchtest.StrangerFile(t)
		}, "refuses the key"},
		"ring is no ring": {bustest.Start, func(t *testing.T, c *Config) {
			t.Helper()
			c.ChannelKeyFile = dispatchtest.File(t, "x", []byte("secret text"))
		}, "key of the channel"},
		"a schedule of another length": {bustest.Start, func(_ *testing.T, c *Config) { c.Schedule = []time.Duration{1} }, "do not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := dispatchtest.New(t, c.bus(t))
			cfg := sample(t, w, delivery.SMS)
			c.spoil(t, &cfg)
			p := build(t, cfg)
			err := p.Start(dispatchtest.Context(t))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret text") {
				t.Errorf("start: %v", err)
			}
			err = p.Stop(dispatchtest.Context(t))
			if err != nil {
				t.Errorf("stop: %v", err)
			}
		})
	}
}

// TestProcess_CannotTakeTheOtherChannel starts each dispatcher with the other's
// key, and with its own key as the other (P10).
// It shows SEC-30 of deploy/SECURITY.md.
func TestProcess_CannotTakeTheOtherChannel(t *testing.T) {
	t.Parallel()
	for c, other := range map[delivery.Channel]delivery.Channel{delivery.Email: delivery.SMS, delivery.SMS: delivery.Email} {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			w := dispatchtest.Start(t)
			cfg := sample(t, w, c)
			cfg.NATSKeyFile = w.KeyFile(name(other))
			p := build(t, cfg)
			err := p.Start(dispatchtest.Context(t))
			if err == nil {
				t.Error("the process runs with the other's user")
			}
			err = p.Stop(dispatchtest.Context(t))
			if err != nil {
				t.Errorf("stop: %v", err)
			}
			fake, _ := cfg.Provider.(*closing)
			if len(fake.Messages()) != 0 {
				t.Error("something was sent")
			}
		})
	}
}

// It shows SEC-28 of deploy/SECURITY.md.
func TestProcess_KeepsWhatItsRingDoesNotOpen(t *testing.T) {
	t.Parallel()
	w := dispatchtest.Start(t)
	cfg := sample(t, w, delivery.SMS)
	cfg.ChannelKeyFile = w.RingFile(t, delivery.Email)
	fake, _ := cfg.Provider.(*closing)
	start(t, cfg)
	w.Issue(t, w.Connect(t, "auth"), dispatchtest.Order{Channel: delivery.SMS, Recipient: "+12025550123"})
	bustest.Wait(t, "a dead letter", func() bool { return len(w.Messages(t, "DOORCODE_DLQ")) == 1 })
	if got := w.Messages(t, "DOORCODE_DLQ")[0]; got.Subject != "doorcode.dlq.sms" || len(fake.Messages()) != 0 {
		t.Errorf("a letter on %s, %d messages sent", got.Subject, len(fake.Messages()))
	}
}

// broken is a renderer that refuses everything.
type broken struct{}

func (broken) Render(message.Facts) (message.Message, error) {
	return message.Message{}, message.ErrFacts
}

func (broken) RenderNotice(message.Notice) (message.Message, error) {
	return message.Message{}, message.ErrFacts
}

func TestProcess_WritesANoticeInTheWordsOfTheChannel(t *testing.T) {
	t.Parallel()
	for _, c := range delivery.Channels() {
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			w := dispatchtest.Start(t)
			cfg := sample(t, w, c)
			fake, _ := cfg.Provider.(*closing)
			start(t, cfg)
			id := w.Tell(t, w.Connect(t, "auth"), dispatchtest.Order{Channel: c, Recipient: "jo@acme.example", Locale: "nl-NL"})
			bustest.Wait(t, "a message", func() bool { return len(fake.Messages()) == 1 })
			m := fake.Messages()[0]
			if !strings.HasPrefix(m.Reference, id+".1.") || m.Recipient != "jo@acme.example" || !strings.Contains(m.Text, "geblokkeerd") || !strings.Contains(m.Text, "4F72-KQ9R") {
				t.Errorf("message %s with the text\n%s", m.Reference, m.Text)
			}
			if (m.Subject == "") != (c == delivery.SMS) || (m.HTML == "") != (c == delivery.SMS) {
				t.Errorf("the message of %s has the subject %q", c, m.Subject)
			}
		})
	}
}

// Only a notice may lead anywhere, and it holds no code; whoever sealed both in one is not believed.
func TestSEC35_NoMessageHasBothACodeAndALink(t *testing.T) {
	t.Parallel()
	w := dispatchtest.Start(t)
	at := time.Date(2026, 6, 3, 8, 2, 0, 0, time.UTC)
	for _, c := range delivery.Channels() {
		p := build(t, sample(t, w, c))
		code := seal.Content{Code: "482917", Label: "KTM", Reference: "4F72KQ9R", CreatedAt: at, ExpiresAt: at.Add(time.Minute)}
		lock := seal.Content{Reference: "4F72KQ9R", CreatedAt: at}
		change := seal.Content{
			Reference: "4F72KQ9R", CreatedAt: at, To: "email", Link: "https://sign-in.example.com/undo?of=x", Until: at.Add(time.Hour),
		}
		for notice, c := range map[string]seal.Content{"": code, event.NoticeLoginLocked: lock, event.NoticeFactorChanged: change} {
			_, err := p.render(notice, c)
			if err != nil {
				t.Errorf("%q: %v", notice, err)
			}
		}
		code.Link, lock.Code, change.Code = change.Link, "482917", "482917"
		for notice, c := range map[string]seal.Content{"": code, event.NoticeLoginLocked: lock, event.NoticeFactorChanged: change} {
			m, err := p.render(notice, c)
			if !errors.Is(err, message.ErrFacts) || m.Text != "" {
				t.Errorf("%q with both: %v", notice, err)
			}
		}
	}
}

func TestProcess_SendsNothingThatCannotBeRendered(t *testing.T) {
	t.Parallel()
	w := dispatchtest.Start(t)
	cfg := sample(t, w, delivery.Email)
	cfg.Renderer = broken{}
	fake, _ := cfg.Provider.(*closing)
	start(t, cfg)
	w.Issue(t, w.Connect(t, "auth"), dispatchtest.Order{Channel: delivery.Email, Recipient: "jo@acme.example"})
	bustest.Wait(t, "a dead letter", func() bool { return len(w.Messages(t, "DOORCODE_DLQ")) == 1 })
	if len(fake.Messages()) != 0 {
		t.Error("something was sent")
	}
}

func TestNew_NamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := dispatchtest.Start(t)
	for want, spoil := range map[string]func(*Config){
		"the provider is missing":       func(c *Config) { c.Provider = nil },
		"the renderer is missing":       func(c *Config) { c.Renderer = nil },
		"the clock is missing":          func(c *Config) { c.Clock = nil },
		"0 workers are outside":         func(c *Config) { c.Workers = 0 },
		"0 a second is outside":         func(c *Config) { c.RatePerSecond = 0 },
		`channel "fax" has no consumer`: func(c *Config) { c.Channel = "fax" },
	} {
		cfg := sample(t, w, delivery.Email)
		spoil(&cfg)
		_, err := New(cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestCheckWorkers_KnowsWhatTheConsumerHandsOut(t *testing.T) {
	t.Parallel()
	for c, most := range map[delivery.Channel]int{delivery.Email: 512, delivery.SMS: 256} {
		for workers, good := range map[int]bool{-1: false, 0: false, 1: true, most: true, most + 1: false} {
			err := CheckWorkers(c, workers)
			if (err == nil) != good {
				t.Errorf("%d workers of %s: %v", workers, c, err)
			}
		}
	}
}

func TestCheckRate_TakesARate(t *testing.T) {
	t.Parallel()
	for rate, good := range map[float64]bool{
		0: false, 0.5: false, -1: false, 1: true, 25: true, maxRatePerSecond: true, maxRatePerSecond + 1: false, math.Inf(1): false,
	} {
		err := CheckRate(rate)
		if (err == nil) != good {
			t.Errorf("%g a second: %v", rate, err)
		}
	}
	err := CheckRate(math.NaN())
	if err == nil {
		t.Error("not-a-number is a rate")
	}
}

func TestPatience_FitsTheConsumerOfEachChannel(t *testing.T) {
	t.Parallel()
	for _, c := range delivery.Channels() {
		ackWait, schedule, err := patience(c, nil)
		if err != nil || ackWait != 30*time.Second || len(schedule) != 5 {
			t.Errorf("%s: %v, %v, %v", c, ackWait, schedule, err)
		}
	}
	_, _, err := patience("fax", nil)
	if err == nil {
		t.Error("a channel without a consumer has patience")
	}
}

func TestBreakerGauge_ShowsOneStateAtATime(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.New("email-dispatcher", "info", &dispatchtest.Log{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := newBreakerGauge(tel, "fake")
	if err != nil {
		t.Fatal(err)
	}
	_, err = newBreakerGauge(tel, "another")
	if err != nil {
		t.Errorf("two providers in one registry: %v", err)
	}
	for _, now := range []provider.BreakerState{provider.BreakerClosed, provider.BreakerOpen, provider.BreakerHalfOpen, provider.BreakerClosed} {
		g.set(now)
		for _, s := range provider.BreakerStates() {
			want := 0.0
			if s == now {
				want = 1
			}
			if got := testutil.ToFloat64(g.states.WithLabelValues(string(s))); got != want {
				t.Errorf("in %s the gauge of %s is %v", now, s, got)
			}
		}
	}
}

func TestProcess_PassesOnItsFirstFatalErrorAlone(t *testing.T) {
	t.Parallel()
	first := errors.New("first")
	p := build(t, sample(t, dispatchtest.Start(t), delivery.Email))
	p.fail(first)
	p.fail(errors.New("second"))
	got := <-p.Failed()
	if !errors.Is(got, first) {
		t.Errorf("failed with %v", got)
	}
}
