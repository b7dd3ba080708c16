package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"doorcode/pkg/config"
	"doorcode/pkg/provider/sandbox"
	"doorcode/pkg/telemetry"
	"doorcode/services/sandbox/app"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mailBody = `{"from":{"email":"login@auth.example.com"},"subject":"Your code","personalizations":[{"to":[{"email":"ada@example.net"}]}],"content":[{"type":"text/plain","value":"It is 493021."}]}`

// load reads the settings as the process does, on a free port.
func load(t *testing.T, environ ...string) app.Config {
	t.Helper()
	cfg, err := config.Load[app.Config]("DOORCODE_SANDBOX_", append([]string{"DOORCODE_SANDBOX_LISTEN=127.0.0.1:0"}, environ...))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// build makes an app whose log lines are in the buffer.
func build(t *testing.T, cfg app.Config) (*app.App, telemetry.Telemetry, *buffer) {
	t.Helper()
	log := &buffer{}
	tel, err := telemetry.New("sandbox", "debug", log)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(cfg, tel)
	if err != nil {
		t.Fatal(err)
	}
	return a, tel, log
}

// run starts an app and stops it with the test.
func run(t *testing.T, environ ...string) (*app.App, telemetry.Telemetry, *buffer) {
	t.Helper()
	a, tel, log := build(t, load(t, environ...))
	err := a.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := a.Stop(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return a, tel, log
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// send posts a mail over a connection of its own and returns the status.
func send(ctx context.Context, addr, key string) (int, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v3/mail/send", strings.NewReader(mailBody))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	got, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, got.Body)
	return got.StatusCode, errors.Join(err, got.Body.Close())
}

func TestApp_TakesMailAndCountsIt(t *testing.T) {
	t.Parallel()
	a, tel, log := run(t)
	const metric = `
# HELP doorcode_sandbox_messages_total Messages that were accepted and stored since the start or since the inbox was emptied.
# TYPE doorcode_sandbox_messages_total counter
doorcode_sandbox_messages_total{channel="sms"} 0
doorcode_sandbox_messages_total{channel="email"} `
	err := testutil.GatherAndCompare(tel.Registry, strings.NewReader(metric+"0\n"), "doorcode_sandbox_messages_total")
	if err != nil {
		t.Error(err)
	}
	status, err := send(t.Context(), a.Addr(), sandbox.DefaultSendGridKey)
	if err != nil || status != http.StatusAccepted {
		t.Fatalf("send = %d, %v; want 202", status, err)
	}
	if stored := a.Sandbox().Messages("ada@example.net"); len(stored) != 1 || stored[0].Text != "It is 493021." {
		t.Errorf("stored %d messages", len(stored))
	}
	err = testutil.GatherAndCompare(tel.Registry, strings.NewReader(metric+"1\n"), "doorcode_sandbox_messages_total")
	if err != nil {
		t.Error(err)
	}
	for _, secret := range []string{"493021", "ada@", sandbox.DefaultSendGridKey} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

func TestApp_TakesItsKeyFromTheEnvironment(t *testing.T) {
	t.Parallel()
	a, _, _ := run(t, "DOORCODE_SANDBOX_SENDGRID_KEY=SG.mine")
	for key, want := range map[string]int{"SG.mine": http.StatusAccepted, sandbox.DefaultSendGridKey: http.StatusUnauthorized} {
		status, err := send(t.Context(), a.Addr(), key)
		if err != nil || status != want {
			t.Errorf("send = %d, %v; want %d", status, err, want)
		}
	}
}

func TestApp_HasItsDefaults(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load[app.Config]("DOORCODE_SANDBOX_", nil)
	if err != nil {
		t.Fatal(err)
	}
	operations := cfg.Operations()
	if cfg.Listen != "127.0.0.1:8025" || operations.Listen != "127.0.0.1:9094" || operations.LogLevel != "info" || cfg.SendGridKey != sandbox.DefaultSendGridKey {
		t.Errorf("config = %+v", cfg)
	}
	for _, setting := range config.Describe[app.Config]() {
		if setting.Help == "" {
			t.Errorf("%s has no help", setting.Name)
		}
	}
	if cfg.VonageKey != sandbox.DefaultVonageKey || cfg.VonageSecret != sandbox.DefaultVonageSecret ||
		cfg.VonageSignatureSecret != sandbox.DefaultVonageSignatureSecret || cfg.VonageReceiptMethod != "json" ||
		cfg.VonageSignatureMethod != "sha256" || cfg.BatchInterval != sandbox.DefaultBatchInterval ||
		cfg.BatchBytes != sandbox.DefaultBatchBytes || cfg.BatchLayout != string(sandbox.AfterComma) {
		t.Errorf("config = %+v", cfg)
	}
	if (app.Config{}).Validate() == nil {
		t.Error("an empty key is valid")
	}
}

func TestApp_RefusesSettingsItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{
		"DOORCODE_SANDBOX_VONAGE_KEY=short", "DOORCODE_SANDBOX_VONAGE_RECEIPT_METHOD=put", "DOORCODE_SANDBOX_VONAGE_SIGNATURE_METHOD=crc",
		"DOORCODE_SANDBOX_VONAGE_RECEIPT_URL=nowhere", "DOORCODE_SANDBOX_BATCH_LAYOUT=none", "DOORCODE_SANDBOX_BATCH_INTERVAL=2h",
	} {
		_, err := config.Load[app.Config]("DOORCODE_SANDBOX_", []string{setting})
		if err == nil {
			t.Errorf("%s is valid", setting)
		}
	}
}

// text sends an SMS over a connection of its own.
func text(ctx context.Context, addr string) error {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	form := url.Values{
		"api_key": {sandbox.DefaultVonageKey}, "api_secret": {sandbox.DefaultVonageSecret},
		"from": {"ExampleCo"}, "to": {"447911123456"}, "text": {"It is 493021."},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/sms/json", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, got.Body)
	return errors.Join(err, got.Body.Close())
}

func TestApp_PostsWebhooksByItself(t *testing.T) {
	t.Parallel()
	came := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { came <- r.URL.Path }))
	t.Cleanup(receiver.Close)
	a, tel, _ := run(t, "DOORCODE_SANDBOX_VONAGE_RECEIPT_URL="+receiver.URL+"/dlr", "DOORCODE_SANDBOX_BATCH_INTERVAL=10ms", "DOORCODE_SANDBOX_SEED=a")
	_, _, err := a.Sandbox().EventWebhook(receiver.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	err = text(t.Context(), a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	_, err = send(t.Context(), a.Addr(), sandbox.DefaultSendGridKey)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := map[string]bool{}
	for len(seen) < 2 {
		select {
		case path := <-came:
			seen[path] = true
		case <-ctx.Done():
			t.Fatalf("only %v came", seen)
		}
	}
	n, err := testutil.GatherAndCount(tel.Registry, "doorcode_sandbox_webhooks_total", "doorcode_sandbox_messages_total")
	if err != nil || n != 6 {
		t.Errorf("%d metrics, %v; want four results and two channels", n, err)
	}
}

func TestApp_StopLetsGoOfHeldRequests(t *testing.T) {
	t.Parallel()
	a, _, _ := build(t, load(t))
	err := a.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = a.Sandbox().AddFault(sandbox.Fault{Kind: sandbox.Hang})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := send(t.Context(), a.Addr(), sandbox.DefaultSendGridKey)
		done <- err
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for a.Sandbox().Faults()[0].Hits == 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the fault was never met")
		}
	}
	err = a.Stop(ctx)
	if err != nil {
		t.Errorf("stop: %v", err)
	}
	if <-done == nil {
		t.Error("the held send got an answer")
	}
}

func TestApp_IsReadyOnceStarted(t *testing.T) {
	t.Parallel()
	a, _, _ := build(t, load(t))
	if a.Ready(t.Context()) == nil || a.Failed() != nil || a.Addr() != "" {
		t.Error("it is ready before its start")
	}
	err := a.Stop(t.Context())
	if err != nil {
		t.Errorf("stop before start: %v", err)
	}
	b, _, _ := run(t)
	err = b.Ready(t.Context())
	if err != nil || b.Failed() == nil {
		t.Errorf("ready = %v, failed = %v", err, b.Failed())
	}
	_, port, err := net.SplitHostPort(b.Addr())
	if err != nil || port == "0" {
		t.Errorf("address = %q, %v", b.Addr(), err)
	}
}

func TestApp_RefusesATakenAddress(t *testing.T) {
	t.Parallel()
	first, _, _ := run(t)
	second, _, _ := build(t, load(t, "DOORCODE_SANDBOX_LISTEN="+first.Addr()))
	err := second.Start(t.Context())
	if err == nil {
		t.Error("two listen at one address")
	}
	err = second.Stop(t.Context())
	if err != nil {
		t.Errorf("stop after a failed start: %v", err)
	}
}

func TestApp_RefusesAForeignRegistry(t *testing.T) {
	t.Parallel()
	_, tel, _ := build(t, load(t))
	_, err := app.New(load(t), tel)
	if err == nil {
		t.Error("two sandboxes count in one metric")
	}
}

func TestApp_StopWaitsForTheWebhookOnItsWay(t *testing.T) {
	t.Parallel()
	came, let := make(chan struct{}), make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(came)
		<-let
	}))
	t.Cleanup(receiver.Close)
	a, _, _ := build(t, load(t, "DOORCODE_SANDBOX_VONAGE_RECEIPT_URL="+receiver.URL))
	err := a.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = text(t.Context(), a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	<-came
	stopped := make(chan error, 1)
	go func() { stopped <- a.Stop(context.WithoutCancel(t.Context())) }()
	select {
	case err = <-stopped:
		t.Errorf("it stopped while a webhook was on its way: %v", err)
	default:
	}
	close(let)
	err = <-stopped
	if err != nil || a.Sandbox().WebhookCounts() != (sandbox.WebhookCounts{Taken: 1}) {
		t.Errorf("stop = %v, counts %+v", err, a.Sandbox().WebhookCounts())
	}
}
