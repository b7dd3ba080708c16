package app

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
	prefix = "DOORCODE_SMS_DISPATCHER_"
	key    = "k3y0f4cc"
	secret = "the-secret&of=this+test"
	person = "+12025550123"
)

// set is the process's surroundings: world, phones and environment.
type set struct {
	*dispatchtest.World
	box *sandbox.Sandbox
	env map[string]string
}

// newSet makes surroundings in which the process can run.
func newSet(t *testing.T, b *bustest.Bus) *set {
	t.Helper()
	s := &set{World: dispatchtest.New(t, b), box: sandbox.New(sandbox.Config{VonageKey: key, VonageSecret: secret})}
	server := httptest.NewServer(s.box.Handler())
	t.Cleanup(server.Close)
	s.Log.Secret(secret)
	s.Log.Secret(person[1:])
	s.env = map[string]string{
		"DOORCODE_NATS_URL":           b.URL(),
		prefix + "NATS_KEY_FILE":      b.KeyFile("sms-dispatcher"),
		prefix + "CHANNEL_KEY_FILE":   s.RingFile(t, delivery.SMS),
		prefix + "VONAGE_KEY_FILE":    dispatchtest.File(t, "vonage.key", []byte(key+"\n")),
		prefix + "VONAGE_SECRET_FILE": dispatchtest.File(t, "vonage.secret", []byte(secret+"\n")),
		prefix + "VONAGE_URL":         server.URL,
		prefix + "SENDERS":            "US=12025550100, NL = Lanternbird",
		prefix + "BRAND":              "Lanternbird",
		prefix + "HOST":               "login.lanternbird.example",
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

// make returns the app, not started, or why there is none.
func (s *set) make(t *testing.T) (*process.Process, error) {
	t.Helper()
	cfg, err := s.load()
	if err != nil {
		t.Fatal(err)
	}
	tel, err := telemetry.New("sms-dispatcher", "info", s.Log)
	if err != nil {
		t.Fatal(err)
	}
	return New(cfg, tel)
}

// run starts the app until the end of the test.
func (s *set) run(t *testing.T) *process.Process {
	t.Helper()
	a, err := s.make(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := a.Stop(dispatchtest.Context(t))
		if err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	err = a.Start(dispatchtest.Context(t))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestApp_SendsACodeFromTheBusToAPhone(t *testing.T) {
	t.Parallel()
	s := newSet(t, bustest.Start(t))
	a := s.run(t)
	err := a.Ready(dispatchtest.Context(t))
	if err != nil {
		t.Errorf("not ready: %v", err)
	}
	s.Issue(t, s.Connect(t, "auth"), dispatchtest.Order{Channel: delivery.SMS, Recipient: person})
	texts, err := s.box.Wait(dispatchtest.Context(t), person, 1)
	if err != nil {
		t.Fatal(err)
	}
	const want = "Lanternbird code: 482917. Reference on screen: KTM. Valid 10 min.\n@login.lanternbird.example #482917"
	if texts[0].Text != want || texts[0].From != "12025550100" || texts[0].Parts != 1 {
		t.Errorf("%d parts from %s:\n%s", texts[0].Parts, texts[0].From, texts[0].Text)
	}
	if ttl := texts[0].TTL; ttl < 9*time.Minute || ttl > 10*time.Minute {
		t.Errorf("the networks keep the message for %v, its code lives for ten minutes", ttl)
	}
	err = a.Stop(dispatchtest.Context(t))
	if err != nil {
		t.Errorf("stop: %v", err)
	}
	stored := s.Messages(t, event.StreamDeliveries)
	if len(stored) != 1 || stored[0].ID != texts[0].ClientRef || stored[0].Subject != "doorcode.delivery.sms.attempted" {
		t.Errorf("record is %+v", stored)
	}
	if !strings.Contains(string(stored[0].Data), `"destination":"US"`) {
		t.Errorf("the country is not on record: %s", stored[0].Data)
	}
	if n := s.box.References()[texts[0].ClientRef]; n != 1 {
		t.Errorf("the attempt reached the provider %d times", n)
	}
	select {
	case err := <-a.Failed():
		t.Errorf("failed: %v", err)
	default:
	}
}

// It shows SEC-65 of deploy/SECURITY.md.
func TestApp_RefusesACountryWithoutASender(t *testing.T) {
	t.Parallel()
	s := newSet(t, bustest.Start(t))
	s.run(t)
	id := s.Issue(t, s.Connect(t, "auth"), dispatchtest.Order{Channel: delivery.SMS, Recipient: "+491701234567"})
	bustest.Wait(t, "the end of the send", func() bool { return len(s.Messages(t, event.StreamDeliveries)) == 1 })
	m := s.Messages(t, event.StreamDeliveries)[0]
	if m.Subject != "doorcode.delivery.sms.abandoned" || !strings.Contains(string(m.Data), id) || !strings.Contains(string(m.Data), "no sender is configured for DE") {
		t.Errorf("%s: %s", m.Subject, m.Data)
	}
	if s.box.Count() != 0 {
		t.Error("a message left")
	}
}

func TestConfig_RefusesWhatCannotSend(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	for _, c := range []struct{ name, value string }{
		{"VONAGE_URL", "https://rest.nexmo.com"}, // without LIVE
		{"VONAGE_KEY_FILE", "/does/not/exist"},
		{"VONAGE_SECRET_FILE", "/does/not/exist"},
		{"BRAND", "Bird’s"},
		{"BRAND", "Twelve chars"},
		{"HOST", ""},
		{"HOST", "https://login.lanternbird.example"},
		{"HOST", strings.Repeat("w", 56) + ".example"},
		{"SENDERS", ""},
		{"SENDERS", "US"},
		{"SENDERS", "US="},
		{"SENDERS", "=12025550100"},
		{"SENDERS", "us=12025550100"},
		{"SENDERS", "US=12025550100,"},
		{"SENDERS", "US=12025550100,US=12025550101"},
		{"WORKERS", "0"},
		{"WORKERS", "257"},
		{"RATE_PER_SECOND", "NaN"},
		{"LIVE", "perhaps"},
		{"SENDER", "unknown"},
	} {
		s := newSet(t, b)
		s.env[prefix+c.name] = c.value
		_, err := s.load()
		if err == nil || !strings.Contains(err.Error(), prefix+c.name) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s=%q: %v", c.name, c.value, err)
		}
	}
}

func TestConfig_HasTheDefaultsOfALiveProcess(t *testing.T) {
	t.Parallel()
	s := newSet(t, bustest.StartEmpty(t))
	delete(s.env, prefix+"VONAGE_URL")
	delete(s.env, prefix+"BRAND")
	s.env[prefix+"LIVE"] = "true"
	cfg, err := s.load()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Operations() != (lifecycle.Operations{Listen: "127.0.0.1:9096", LogLevel: "info"}) || cfg.Workers != 32 ||
		cfg.RatePerSecond != 25 || cfg.Brand != "Doorcode" || cfg.VonageURL != "https://rest.nexmo.com" {
		t.Error("defaults are others")
	}
	if diff := cmp.Diff(Senders{"US": "12025550100", "NL": "Lanternbird"}, cfg.Senders); diff != "" {
		t.Error(diff)
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

func TestNew_RefusesWhatVonageWouldRefuse(t *testing.T) {
	t.Parallel()
	b := bustest.StartEmpty(t)
	for name, spoil := range map[string]func(*set){
		"a name as the sender of the US": func(s *set) { s.env[prefix+"SENDERS"] = "US=Lanternbird" },
		"a sender with a blank":          func(s *set) { s.env[prefix+"SENDERS"] = "NL=Lantern bird" },
		"a key of another length": func(s *set) {
			s.env[prefix+"VONAGE_KEY_FILE"] = dispatchtest.File(t, "key", []byte(secret))
		},
	} {
		s := newSet(t, b)
		spoil(s)
		_, err := s.make(t)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSenders_ReadsOnlyCountriesWithSenders(f *testing.F) {
	for _, text := range []string{"US=12025550100,NL=Lanternbird", "", ",", "=", "US==", "US=1,US=2", " US = 1 "} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s Senders
		err := s.UnmarshalText([]byte(text))
		if err != nil {
			if s != nil {
				t.Errorf("%q is refused and read: %v", text, s)
			}
			return
		}
		if len(s) == 0 || len(s) > strings.Count(text, ",")+1 {
			t.Errorf("%q is %v", text, s)
		}
		for country, sender := range s {
			if len(country) != 2 || sender == "" || strings.TrimSpace(sender) != sender || strings.Contains(sender, ",") {
				t.Errorf("%q is %v", text, s)
			}
		}
	})
}
