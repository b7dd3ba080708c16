package app

import (
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/dispatch/dispatchtest"
	"doorcode/pkg/dispatch/process"
	"doorcode/pkg/event"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/provider/sandbox"
	"doorcode/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	prefix  = "DOORCODE_EMAIL_DISPATCHER_"
	sendKey = "SG.the-key-of-this-test"
)

// set is the process's surroundings: world, mailbox and environment.
type set struct {
	*dispatchtest.World
	box *sandbox.Sandbox
	env map[string]string
}

// newSet makes surroundings in which the process can run.
func newSet(t *testing.T, b *bustest.Bus) *set {
	t.Helper()
	s := &set{World: dispatchtest.New(t, b), box: sandbox.New(sandbox.Config{SendGridKey: sendKey})}
	server := httptest.NewServer(s.box.Handler())
	t.Cleanup(server.Close)
	s.Log.Secret(sendKey)
	s.env = map[string]string{
		"DOORCODE_NATS_URL":          b.URL(),
		prefix + "NATS_KEY_FILE":     b.KeyFile("email-dispatcher"),
		prefix + "CHANNEL_KEY_FILE":  s.RingFile(t, delivery.Email),
		prefix + "SENDGRID_KEY_FILE": dispatchtest.File(t, "sendgrid.key", []byte(sendKey+"\n")),
		prefix + "SENDGRID_URL":      server.URL,
		prefix + "FROM_ADDRESS":      "codes@doorcode.example",
		prefix + "BRAND":             "Lanternbird",
	}
	return s
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
func (s *set) make(t *testing.T) *process.Process {
	t.Helper()
	cfg, err := s.load()
	if err != nil {
		t.Fatal(err)
	}
	tel, err := telemetry.New("email-dispatcher", "info", s.Log)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(cfg, tel)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestApp_SendsACodeFromTheBusToAMailbox(t *testing.T) {
	t.Parallel()
	s := newSet(t, bustest.Start(t))
	a := s.make(t)
	err := a.Start(dispatchtest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	err = a.Ready(dispatchtest.Context(t))
	if err != nil {
		t.Errorf("not ready: %v", err)
	}
	s.Issue(t, s.Connect(t, "auth"), dispatchtest.Order{Channel: delivery.Email, Recipient: "jo@acme.example"})
	mails, err := s.box.Wait(dispatchtest.Context(t), "jo@acme.example", 1)
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
	err = a.Stop(dispatchtest.Context(t))
	if err != nil {
		t.Errorf("stop: %v", err)
	}
	stored := s.Messages(t, event.StreamDeliveries)
	if len(stored) != 1 || stored[0].ID != m.CustomArgs["dlv"] {
		t.Errorf("record is %+v", stored)
	}
	if !strings.Contains(string(stored[0].Data), `"destination":"other"`) { // The domain of a firm is nobody's to know.
		t.Errorf("the mailbox provider is not on record: %s", stored[0].Data)
	}
	if n := s.box.References()[m.CustomArgs["dlv"]]; n != 1 {
		t.Errorf("the attempt reached the provider %d times", n)
	}
	select {
	case err := <-a.Failed():
		t.Errorf("failed: %v", err)
	default:
	}
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
		"SENDGRID_KEY_FILE": dispatchtest.File(t, "spaced.key", []byte("SG.two words")),
	} {
		s := newSet(t, b)
		s.env[prefix+name] = value
		cfg, err := s.load()
		if err != nil {
			t.Fatal(err)
		}
		tel, err := telemetry.New("email-dispatcher", "info", s.Log)
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(cfg, tel)
		if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), sendKey) || strings.Contains(err.Error(), "two words") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
