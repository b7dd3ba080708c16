package app_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/config"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/telemetry"
	"doorcode/services/receipts/app"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a bus and the files of a process.
type house struct {
	t   *testing.T
	bus *bustest.Bus
	key *ecdsa.PrivateKey
	env []string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, bus: bustest.Start(t)}
	var err error
	h.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.must(err)
	der, err := x509.MarshalPKIXPublicKey(&h.key.PublicKey)
	h.must(err)
	ring, err := keyring.New()
	h.must(err)
	data, err := ring.Marshal()
	h.must(err)
	h.env = []string{
		"DOORCODE_NATS_URL=" + h.bus.URL(), app.Prefix + "LISTEN=127.0.0.1:0",
		app.Prefix + "NATS_KEY_FILE=" + h.bus.KeyFile("receipts"),
		app.Prefix + "ADDRESS_KEY_FILE=" + h.file("address", string(data)),
		app.Prefix + "SENDGRID_PUBLIC_KEYS_FILE=" + h.file("sendgrid", base64.StdEncoding.EncodeToString(der)+"\n"),
		app.Prefix + "VONAGE_SIGNATURE_SECRETS_FILE=" + h.file("vonage", "one\ntwo\n"),
	}
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) file(name, content string) string {
	h.t.Helper()
	path := filepath.Join(h.t.TempDir(), name)
	h.must(os.WriteFile(path, []byte(content), 0o600))
	return path
}

// build makes an app with more settings.
func (h *house) build(more ...string) (*app.App, error) {
	h.t.Helper()
	cfg, err := config.Load[app.Config](app.Prefix, append(h.env, more...))
	if err != nil {
		return nil, err
	}
	tel, err := telemetry.New("receipts", cfg.Operations().LogLevel, h.t.Output())
	h.must(err)
	return app.New(cfg, tel)
}

// post sends a signed batch to a running app.
func (h *house) post(a *app.App, body string) int {
	h.t.Helper()
	timestamp := fmt.Sprint(time.Now().Unix())
	sum := sha256.Sum256([]byte(timestamp + body))
	der, err := ecdsa.SignASN1(rand.Reader, h.key, sum[:])
	h.must(err)
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, "http://"+a.Addr()+"/webhooks/sendgrid", bytes.NewBufferString(body))
	h.must(err)
	r.Header.Set("X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(der))
	r.Header.Set("X-Twilio-Email-Event-Webhook-Timestamp", timestamp)
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(r)
	h.must(err)
	h.must(res.Body.Close())
	return res.StatusCode
}

func TestApp_TakesWebhooksUntilItIsStopped(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, err := h.build()
	h.must(err)
	h.must(a.Start(t.Context()))
	err = a.Ready(t.Context())
	if err != nil {
		t.Error(err)
	}
	body := fmt.Sprintf(`[{"event":"delivered","timestamp":%d,"email":"ada@example.net","dlv":"AAECAwQFBgcICQoLDA0ODw.1.AAECAwQFBgc"}]`, time.Now().Unix())
	if got := h.post(a, body); got != http.StatusNoContent {
		t.Errorf("answered %d", got)
	}
	messages := h.bus.Messages(t, event.StreamDeliveries)
	if len(messages) != 1 || messages[0].Subject != "doorcode.receipt.email" {
		t.Errorf("stored %+v", messages)
	}
	h.bus.Stop(t)
	bustest.Wait(t, "it is not ready", func() bool { return a.Ready(t.Context()) != nil })
	h.bus.Resume(t)
	bustest.Wait(t, "it is ready again", func() bool { return a.Ready(t.Context()) == nil })
	bustest.Wait(t, "the administrator is connected", func() bool { return h.bus.Admin().Ready(t.Context()) == nil })
	select {
	case err := <-a.Failed():
		t.Errorf("failed: %v", err)
	default:
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	err = a.Stop(ctx)
	if err != nil {
		t.Error(err)
	}
}

func TestApp_CleansUpAfterAHalfDoneStart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first, err := h.build()
	h.must(err)
	h.must(first.Start(t.Context()))
	second, err := h.build(app.Prefix + "LISTEN=" + first.Addr())
	h.must(err)
	err = second.Start(t.Context())
	if err == nil {
		t.Error("two processes listen on one address")
	}
	wrong, err := h.build(app.Prefix + "NATS_KEY_FILE=" + h.file("wrong", "SUANOSEED"))
	h.must(err)
	err = wrong.Start(t.Context())
	if err == nil {
		t.Error("a wrong key was taken")
	}
	err = errors.Join(second.Stop(context.WithoutCancel(t.Context())), wrong.Stop(context.WithoutCancel(t.Context())), first.Stop(context.WithoutCancel(t.Context())))
	if err != nil {
		t.Error(err)
	}
}

func TestConfig_RefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, setting := range map[string]string{
		"VONAGE_SIGNATURE_METHOD":       "sha3",
		"ADDRESS_KEY_FILE":              "/nowhere",
		"SENDGRID_PUBLIC_KEYS_FILE":     h.file("bad", "no key"),
		"VONAGE_SIGNATURE_SECRETS_FILE": h.file("three", "a\nb\nc"),
		"SOMETHING_ELSE":                "x",
	} {
		_, err := h.build(app.Prefix + name + "=" + setting)
		if err == nil || strings.Contains(err.Error(), "no key") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := h.build(app.Prefix+"VONAGE_SIGNATURE_SECRETS_FILE=", app.Prefix+"VONAGE_API_KEY=abcd1234")
	if err == nil {
		t.Error("an account without a secret was taken")
	}
	a, err := h.build(app.Prefix+"VONAGE_SIGNATURE_SECRETS_FILE=", app.Prefix+"SENDGRID_PUBLIC_KEYS_FILE=")
	if err != nil || a == nil {
		t.Errorf("closed webhooks are refused: %v", err)
	}
}
