package app

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/keyring"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/sandbox"
	"doorcode/pkg/seal"
	"doorcode/pkg/telemetry"
)

var _ lifecycle.App = (*App)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	prefix  = "DOORCODE_EMAIL_DISPATCHER_"
	longest = 30 * time.Second
	sendKey = "SG.the-key-of-this-test"
)

// set is a process's surroundings: bus, mailbox, key files and environment.
type set struct {
	*bustest.Bus
	box  *sandbox.Sandbox
	ring *keyring.Ring
	env  map[string]string
	log  *safeBuffer
}

// newSet makes surroundings in which the process can run.
func newSet(t *testing.T, b *bustest.Bus) *set {
	t.Helper()
	s := &set{Bus: b, box: sandbox.New(sandbox.Config{SendGridKey: sendKey}), log: &safeBuffer{}}
	server := httptest.NewServer(s.box.Handler())
	t.Cleanup(server.Close)
	var err error
	s.ring, err = keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := s.ring.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	s.env = map[string]string{
		"DOORCODE_NATS_URL":          b.URL(),
		prefix + "NATS_KEY_FILE":     b.KeyFile("email-dispatcher"),
		prefix + "CHANNEL_KEY_FILE":  file(t, "email.json", ring),
		prefix + "SENDGRID_KEY_FILE": file(t, "sendgrid.key", []byte(sendKey+"\n")),
		prefix + "SENDGRID_URL":      server.URL,
		prefix + "FROM_ADDRESS":      "codes@doorcode.example",
		prefix + "BRAND":             "Lanternbird",
	}
	return s
}

// file writes a key file.
func file(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	err := os.WriteFile(path, data, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// load reads the settings from the environment.
func (s *set) load() (Config, error) {
	environ := make([]string, 0, len(s.env))
	for name, value := range s.env {
		environ = append(environ, name+"="+value)
	}
	return config.Load[Config](prefix, environ)
}

// make returns the app, not started.
func (s *set) make(t *testing.T) *App {
	t.Helper()
	cfg, err := s.load()
	if err != nil {
		t.Fatal(err)
	}
	tel, err := telemetry.New("email-dispatcher", "info", s.log)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(cfg, tel)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wait is the context of one wait.
func wait(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	t.Cleanup(cancel)
	return ctx
}

// issue publishes a challenge as auth does.
func (s *set) issue(t *testing.T, recipient string) {
	t.Helper()
	id, err := challenge.NewID()
	if err != nil {
		t.Fatal(err)
	}
	var p event.Issued
	err = eventtest.Accepted(t, event.ChallengeIssued).Decode(&p)
	if err != nil {
		t.Fatal(err)
	}
	p.Challenge, p.CreatedAt = id, time.Now().UTC()
	p.ExpiresAt = p.CreatedAt.Add(10 * time.Minute)
	p.Routes[0].Envelope, err = seal.Seal(s.ring, seal.Context{
		Challenge: id, Channel: "email", NotAfter: challenge.NotAfter(p.ExpiresAt),
	}, seal.Content{
		Code: "482917", Recipient: recipient, Workspace: "Acme", Label: "KTM", Reference: "4F72KQ9R",
		CreatedAt: p.CreatedAt, ExpiresAt: p.ExpiresAt, UserAgent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.New(event.ChallengeIssued, id, "doorcode/auth", p.CreatedAt, id, p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Connect(t, "auth").Publish(wait(t), bus.Message{
		Subject: "doorcode.challenge.email", ID: e.ID, Header: e.Header(), Data: e.Data,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestApp_SendsACodeFromTheBusToAMailbox(t *testing.T) {
	t.Parallel()
	s := newSet(t, bustest.Start(t))
	a := s.make(t)
	err := a.Start(wait(t))
	if err != nil {
		t.Fatal(err)
	}
	err = a.Ready(wait(t))
	if err != nil {
		t.Errorf("not ready: %v", err)
	}
	s.issue(t, "jo@acme.example")
	mails, err := s.box.Wait(wait(t), "jo@acme.example", 1)
	if err != nil {
		t.Fatal(err)
	}
	m := mails[0]
	if m.Subject != "KTM – your Lanternbird sign-in code" || m.From != "codes@doorcode.example" || m.FromName != "Doorcode" {
		t.Errorf("mail %q from %s <%s>", m.Subject, m.FromName, m.From)
	}
	for _, want := range []string{"482917", "from Firefox on Linux, to sign in to Acme", "4F72-KQ9R"} {
		if !strings.Contains(m.Text, want) || !strings.Contains(m.HTML, want) {
			t.Errorf("the mail lacks %q", want)
		}
	}
	err = a.Stop(wait(t))
	if err != nil {
		t.Errorf("stop: %v", err)
	}
	stored := s.Messages(t, event.StreamDeliveries)
	if len(stored) != 1 || stored[0].ID != m.CustomArgs["dlv"] {
		t.Errorf("record is %+v", stored)
	}
	if n := s.box.References()[m.CustomArgs["dlv"]]; n != 1 {
		t.Errorf("the attempt reached the provider %d times", n)
	}
	for _, secret := range []string{"482917", "jo@acme.example", sendKey} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log shows %q (P4)", secret)
		}
	}
	select {
	case err := <-a.Failed():
		t.Errorf("failed: %v", err)
	default:
	}
}

func TestApp_IsNotReadyWithoutItsBus(t *testing.T) {
	t.Parallel()
	s := newSet(t, bustest.Start(t))
	a := s.make(t)
	err := a.Start(wait(t))
	if err != nil {
		t.Fatal(err)
	}
	s.Bus.Stop(t)
	err = a.Ready(wait(t))
	if err == nil {
		t.Error("ready without a bus")
	}
	err = a.Stop(wait(t))
	if err != nil {
		t.Errorf("stop without a bus: %v", err)
	}
}

func TestApp_StopsAfterAStartThatFailed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bus   func(testing.TB) *bustest.Bus
		spoil func(*testing.T, *set)
		want  string
	}{
		"no stream":    {bus: bustest.StartEmpty, spoil: func(*testing.T, *set) {}, want: "open consumer"},
		"no key ring":  {bus: bustest.Start, spoil: func(_ *testing.T, s *set) { s.env[prefix+"CHANNEL_KEY_FILE"] = "/does/not/exist" }, want: "key of the channel"},
		"wrong user":   {bus: bustest.Start, spoil: func(_ *testing.T, s *set) { s.env[prefix+"NATS_KEY_FILE"] = s.KeyFile("auth") }, want: ""},
		"unknown user": {bus: bustest.Start, spoil: func(t *testing.T, s *set) { t.Helper(); s.env[prefix+"NATS_KEY_FILE"] = stranger(t) }, want: "refuses the key"},
		"ring is no ring": {bus: bustest.Start, spoil: func(t *testing.T, s *set) {
			t.Helper()
			s.env[prefix+"CHANNEL_KEY_FILE"] = file(t, "x", []byte("secret text"))
		}, want: "key of the channel"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSet(t, c.bus(t))
			c.spoil(t, s)
			a := s.make(t)
			err := a.Start(wait(t))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret text") {
				t.Errorf("start: %v", err)
			}
			err = a.Stop(wait(t))
			if err != nil {
				t.Errorf("stop: %v", err)
			}
		})
	}
}

// stranger writes the seed of a user that the server does not know.
func stranger(t *testing.T) string {
	t.Helper()
	seed, _, err := bus.NewUserKey()
	if err != nil {
		t.Fatal(err)
	}
	return file(t, "stranger.nk", []byte(seed))
}

func TestConfig_RefusesWhatCannotSend(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	for name, value := range map[string]string{
		"SENDGRID_URL":      "https://api.sendgrid.com", // without LIVE
		"BRAND":             "a\r\nBcc: x@y",
		"WORKERS":           "0",
		"RATE_PER_SECOND":   "NaN",
		"FROM_ADDRESS":      "",
		"SENDGRID_KEY_FILE": "/does/not/exist",
		"LIVE":              "perhaps",
		"FROM_ADDRESSES":    "unknown@doorcode.example",
	} {
		s := newSet(t, b)
		s.env[prefix+name] = value
		_, err := s.load()
		if err == nil || !strings.Contains(err.Error(), prefix+name) {
			t.Errorf("%s=%q: %v", name, value, err)
		}
	}
	s := newSet(t, b)
	s.env[prefix+"SENDGRID_URL"], s.env[prefix+"LIVE"] = "https://api.sendgrid.com", "true"
	cfg, err := s.load()
	if err != nil || cfg.Operations() != (lifecycle.Operations{Listen: "127.0.0.1:9093", LogLevel: "info"}) || cfg.Workers != 32 || cfg.RatePerSecond != 100 {
		t.Errorf("settings of a live process: %v", err)
	}
}

func TestConfig_DescribesEverySetting(t *testing.T) {
	t.Parallel()
	for _, setting := range config.Describe[Config]() {
		if !strings.HasSuffix(setting.Help, ".") {
			t.Errorf("%s has no sentence of help", setting.Name)
		}
	}
}

func TestNew_NamesTheSettingThatSendGridWouldRefuse(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	for name, value := range map[string]string{
		"FROM_ADDRESS":      "Codes <codes@doorcode.example>",
		"FROM_NAME":         "Türcode",
		"SENDGRID_KEY_FILE": file(t, "spaced.key", []byte("SG.two words")),
	} {
		s := newSet(t, b)
		s.env[prefix+name] = value
		cfg, err := s.load()
		if err != nil {
			t.Fatal(err)
		}
		tel, err := telemetry.New("email-dispatcher", "info", s.log)
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(cfg, tel)
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), sendKey) || strings.Contains(err.Error(), "two words") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

// A breaker without a clock would name all of its cooldown each time, and codes would wait longer than the provider.
func TestApp_ABreakerNamesTheRestOfItsCooldown(t *testing.T) {
	t.Parallel()
	s := newSet(t, bustest.Start(t))
	s.env[prefix+"SENDGRID_KEY_FILE"] = file(t, "other.key", []byte("SG.not-the-key"))
	p := s.make(t).chain()
	var last *provider.Failure
	for range 4 {
		_, err := p.Send(wait(t), provider.Message{
			Reference: "AAAAAAAAAAAAAAAAAAAAAA.1.AAAAAAAAAAA", Recipient: "kim@acme.example", Subject: "s", Text: "t",
			NotAfter: time.Now().Add(longest),
		})
		last = provider.FailureOf(err)
	}
	if !last.NotCalled || last.RetryAfter >= 30*time.Second {
		t.Errorf("the fourth send after three refusals of the key: %+v", last)
	}
}

func TestApp_HandsOverNoMoreThanItsRate(t *testing.T) {
	t.Parallel()
	s := newSet(t, bustest.Start(t))
	s.env[prefix+"RATE_PER_SECOND"] = "1"
	p := s.make(t).chain()
	// The first takes the turn of this second and is refused by the adapter, without a call that could take long.
	m := provider.Message{
		Reference: "AAAAAAAAAAAAAAAAAAAAAA.1.AAAAAAAAAAA", Recipient: "nobody", Subject: "s", Text: "t", NotAfter: time.Now().Add(longest),
	}
	_, err := p.Send(wait(t), m)
	if f := provider.FailureOf(err); f.Reason != delivery.ReasonInvalidRecipient {
		t.Fatalf("the first send: %+v", f)
	}
	m.NotAfter = time.Now().Add(100 * time.Millisecond)
	_, err = p.Send(wait(t), m)
	if f := provider.FailureOf(err); !f.NotCalled || f.Reason != delivery.ReasonRateLimited {
		t.Errorf("the second send of one second: %+v", f)
	}
}

func TestPatience_FitsTheConsumer(t *testing.T) {
	t.Parallel()
	ackWait, schedule, err := patience()
	if err != nil || ackWait != 30*time.Second || len(schedule) != 5 {
		t.Errorf("%v, %v, %v", ackWait, schedule, err)
	}
}

func TestBreakerGauge_ShowsOneStateAtATime(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.New("email-dispatcher", "info", &safeBuffer{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := newBreakerGauge(tel, "fake")
	if err != nil {
		t.Fatal(err)
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
