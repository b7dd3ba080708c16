package web_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/config"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/keyring"
	"doorcode/pkg/telemetry"
	"doorcode/services/receipts/internal/sendgrid"
	"doorcode/services/receipts/internal/vonage"
	"doorcode/services/receipts/internal/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "sandbox-signature-secret"
	ref    = "AAECAwQFBgcICQoLDA0ODw.1.AAECAwQFBgc"
)

// now is the time of every test.
func now() time.Time { return time.Unix(1_795_472_115, 0) }

// bench is the webhooks over a real bus.
type bench struct {
	t       testing.TB
	bus     *bustest.Bus
	handler *web.Handler
	tel     telemetry.Telemetry
	key     *ecdsa.PrivateKey
	logs    *lines
}

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newBench(t testing.TB, change ...func(*web.Config)) *bench {
	t.Helper()
	b := &bench{t: t, bus: bustest.Start(t), logs: &lines{}}
	var err error
	b.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.must(err)
	b.tel, err = telemetry.New("receipts", "debug", b.logs)
	b.must(err)
	ring, err := keyring.New()
	b.must(err)
	cfg := web.Config{
		SendGrid: []*ecdsa.PublicKey{&b.key.PublicKey}, Addresses: ring, Publisher: b.bus.Connect(t, "receipts"), Clock: now, Telemetry: b.tel,
		Vonage: vonage.Verifier{Method: vonage.SHA256, APIKey: "abcd1234", Secrets: []config.Secret{config.NewSecret(secret)}},
	}
	for _, f := range change {
		f(&cfg)
	}
	b.handler, err = web.New(cfg)
	b.must(err)
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) serve(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	b.handler.ServeHTTP(rec, r)
	return rec
}

// batch posts a signed batch as SendGrid does.
func (b *bench) batch(body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	b.t.Helper()
	timestamp := fmt.Sprint(now().Unix())
	sum := sha256.Sum256([]byte(timestamp + body))
	der, err := ecdsa.SignASN1(rand.Reader, b.key, sum[:])
	b.must(err)
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, "/webhooks/sendgrid", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json;charset=utf-8")
	r.Header.Set(sendgrid.SignatureHeader, base64.StdEncoding.EncodeToString(der))
	r.Header.Set(sendgrid.TimestampHeader, timestamp)
	for _, f := range change {
		f(r)
	}
	return b.serve(r)
}

// entry is one event of SendGrid about our message.
func entry(kind string, at int, more string) string {
	return fmt.Sprintf(`{"email":"ada@example.net","event":%q,"timestamp":%d,"sg_event_id":"e-%s-%d","sg_message_id":"m1","category":["otp"],"dlv":%q%s}`,
		kind, at, kind, at, ref, more)
}

// receipt returns the signed fields of Vonage about our message.
func receipt(pairs ...string) url.Values {
	v := url.Values{}
	for name, value := range map[string]string{
		"api-key": "abcd1234", "client-ref": ref, "err-code": "0", "message-timestamp": "2026-11-23 22:15:09", "messageId": "0C000000A1B2C3D4",
		"msisdn": "34600111222", "status": "delivered", "timestamp": fmt.Sprint(now().Unix()), "nonce": "n", "to": "Example",
	} {
		v.Set(name, value)
	}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	var text strings.Builder
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text.WriteString("&" + name + "=" + v.Get(name))
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text.String()))
	v.Set("sig", strings.ToUpper(hex.EncodeToString(mac.Sum(nil))))
	return v
}

// vonageWays carries a receipt in each of the three ways.
func (b *bench) vonageWays(v url.Values) map[string]*http.Request {
	b.t.Helper()
	flat := map[string]string{}
	for name := range v {
		flat[name] = v.Get(name)
	}
	data, err := json.Marshal(flat)
	b.must(err)
	get := httptest.NewRequestWithContext(b.t.Context(), http.MethodGet, "/webhooks/vonage?"+v.Encode(), nil)
	form := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, "/webhooks/vonage", strings.NewReader(v.Encode()))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	object := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, "/webhooks/vonage?status=failed", bytes.NewReader(data))
	object.Header.Set("Content-Type", "application/json")
	return map[string]*http.Request{"get": get, "form": form, "json": object}
}

// stored returns the receipts that the bus holds, each held against its schema.
func (b *bench) stored() []event.Receipt {
	b.t.Helper()
	var all []event.Receipt
	for _, m := range b.bus.Messages(b.t, event.StreamDeliveries) {
		e, err := event.Parse(m.Subject, m.Header, m.Data)
		b.must(err)
		eventtest.Validate(b.t, m.Subject, e)
		if m.ID != e.ID {
			b.t.Errorf("the message id %s is not the event's %s", m.ID, e.ID)
		}
		var p event.Receipt
		b.must(e.Decode(&p))
		all = append(all, p)
	}
	return all
}

// want fails unless a webhook was answered so.
func (b *bench) want(status int, code string, rec *httptest.ResponseRecorder) {
	b.t.Helper()
	var p struct {
		Code string `json:"code"`
	}
	if rec.Body.Len() > 0 {
		b.must(json.Unmarshal(rec.Body.Bytes(), &p))
	}
	if rec.Code != status || p.Code != code || rec.Header().Get("Cache-Control") != "no-store" {
		b.t.Errorf("answered %d %q and not %d %q", rec.Code, p.Code, status, code)
	}
}

// metric returns a counter's value.
func (b *bench) metric(name string, labels ...string) float64 {
	b.t.Helper()
	families, err := b.tel.Registry.Gather()
	b.must(err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == name && slices.Equal(slices.Sorted(slices.Values(values)), slices.Sorted(slices.Values(labels))) {
				return m.GetCounter().GetValue()
			}
		}
	}
	b.t.Fatalf("there is no metric %s%v", name, labels)
	return 0
}

func TestSendGrid_StoresABatchAndLeavesOutTheRest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	at := int(now().Unix())
	body := "[" + strings.Join([]string{
		entry("processed", at-9, ""), entry("delivered", at-5, `,"response":"250 OK to ada@example.net"`), entry("open", at-1, ""),
		`{"email":"x@example.net","event":"delivered","timestamp":1795472100}`, `7`, entry("deferred", at-9*86400, ""),
		fmt.Sprintf(`{"email":"Bea@Example.net","event":"bounce","type":"bounce","timestamp":%d,"sg_event_id":"async"}`, at-2),
	}, ",\r\n") + "]\r\n"
	b.want(http.StatusNoContent, "", b.batch(body))
	got := b.stored()
	if len(got) != 3 || got[0].Status != "accepted" || got[1].Status != "delivered" || got[2].Status != "failed" {
		t.Fatalf("stored %+v", got)
	}
	if got[1].Challenge != "AAECAwQFBgcICQoLDA0ODw" || got[1].Attempt != "AAECAwQFBgc" || got[2].Challenge != "" || len(got[2].AddressHash) != 32 {
		t.Errorf("stored %+v", got)
	}
	for result, want := range map[string]float64{
		"accepted": 1, "delivered": 1, "failed": 1, "deferred": 0, "unused": 1, "foreign": 1, "unreadable": 1, "implausible": 1,
	} {
		if n := b.metric("doorcode_receipts_total", "sendgrid", result); n != want {
			t.Errorf("%s is counted %v times, not %v", result, n, want)
		}
	}
	for _, m := range b.bus.Messages(t, event.StreamDeliveries) {
		if strings.Contains(strings.ToLower(string(m.Data)+fmt.Sprint(m.Header)+b.logs.String()), "example.net") {
			t.Error("a recipient is in the event or in the log")
		}
	}
}

// P9: copies, in another order and with other ids, are stored once.
func TestP9_CopiesOfABatchAreStoredOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	at := int(now().Unix())
	first, second := entry("processed", at-9, ""), entry("delivered", at-5, "")
	b.want(http.StatusNoContent, "", b.batch("["+first+","+second+"]"))
	b.want(http.StatusNoContent, "", b.batch("["+second+","+first+"]"))
	b.want(http.StatusNoContent, "", b.batch("["+strings.Replace(second, "e-delivered", "copy", 1)+"]"))
	if got := b.stored(); len(got) != 2 {
		t.Errorf("stored %+v", got)
	}
}

func TestSendGrid_StoresABatchOfAThousand(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var all []string
	for i := range 1000 {
		all = append(all, entry("deferred", int(now().Unix())-1-i, fmt.Sprintf(`,"attempt":"%d"`, i)))
	}
	b.want(http.StatusNoContent, "", b.batch("["+strings.Join(all, ",")+"]"))
	if n := len(b.bus.Messages(t, event.StreamDeliveries)); n != 1000 {
		t.Errorf("stored %d", n)
	}
}

func TestSEC57_ForgedAndOldBatchesAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	body := "[" + entry("delivered", int(now().Unix()), "") + "]\r\n"
	for name, change := range map[string]func(*http.Request){
		"no signature": func(r *http.Request) { r.Header.Del(sendgrid.SignatureHeader) },
		"no timestamp": func(r *http.Request) { r.Header.Del(sendgrid.TimestampHeader) },
		"other body":   func(r *http.Request) { r.Body = http.NoBody },
		"old":          func(r *http.Request) { r.Header.Set(sendgrid.TimestampHeader, "1795372115") },
		"foreign key":  func(r *http.Request) { r.Header.Set(sendgrid.SignatureHeader, "MEUCIQ==") },
	} {
		rec := b.batch(body, change)
		if rec.Code != http.StatusForbidden {
			t.Errorf("%s is answered %d", name, rec.Code)
		}
		b.want(http.StatusForbidden, web.CodeSignature, rec)
	}
	if n := len(b.stored()); n != 0 {
		t.Errorf("stored %d", n)
	}
	if n := b.metric("doorcode_receipt_requests_total", "sendgrid", web.CodeSignature); n != 5 {
		t.Errorf("counted %v", n)
	}
}

func TestSEC57_AWebhookWithoutItsKeyIsClosed(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(c *web.Config) { c.SendGrid, c.Vonage = nil, vonage.Verifier{Method: vonage.SHA256} })
	b.want(http.StatusForbidden, web.CodeClosed, b.batch("[]"))
	for _, r := range b.vonageWays(receipt()) {
		b.want(http.StatusForbidden, web.CodeClosed, b.serve(r))
	}
	if n := len(b.stored()); n != 0 {
		t.Errorf("stored %d", n)
	}
}

func TestSendGrid_TakesASignedBatchThatNobodyUnderstands(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, body := range []string{"{}", "[", "", "[]"} {
		b.want(http.StatusNoContent, "", b.batch(body))
	}
	if n := b.metric("doorcode_receipts_total", "sendgrid", "unreadable"); n != 3 {
		t.Errorf("counted %v", n)
	}
}

func TestWebhooks_BoundTheBody(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(http.StatusRequestEntityTooLarge, "body_too_large", b.batch("["+strings.Repeat(" ", 1<<20)+"]"))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/vonage", strings.NewReader(strings.Repeat("x", 64<<10+1)))
	b.want(http.StatusRequestEntityTooLarge, "body_too_large", b.serve(r))
	b.want(http.StatusMethodNotAllowed, "method_not_allowed", b.serve(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/webhooks/sendgrid", nil)))
	b.want(http.StatusNotFound, "not_found", b.serve(httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhooks/other", nil)))
}

func TestVonage_StoresAReceiptInEachOfThreeWaysOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for name, r := range b.vonageWays(receipt()) {
		rec := b.serve(r)
		if rec.Code != http.StatusNoContent {
			t.Errorf("%s is answered %d: %s", name, rec.Code, rec.Body)
		}
	}
	got := b.stored()
	if len(got) != 1 || got[0].Status != "delivered" || got[0].Channel != "sms" || got[0].Provider != "vonage" || got[0].Send != 1 {
		t.Errorf("stored %+v", got)
	}
}

func TestVonage_TakesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for result, v := range map[string]url.Values{
		"foreign": receipt("client-ref", "order-7"), "unused": receipt("status", "unknown"),
		"implausible": receipt("message-timestamp", "2026-10-23 22:15:09"), "unreadable": receipt("message-timestamp", "x"),
	} {
		b.want(http.StatusNoContent, "", b.serve(b.vonageWays(v)["form"]))
		if n := b.metric("doorcode_receipts_total", "vonage", result); n != 1 {
			t.Errorf("%s is counted %v times", result, n)
		}
	}
	if n := len(b.stored()); n != 0 {
		t.Errorf("stored %d", n)
	}
}

func TestSEC57_ForgedOldAndForeignReceiptsAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	forged := receipt()
	forged.Set("status", "failed")
	unsignedOne := receipt()
	unsignedOne.Del("sig")
	for name, v := range map[string]url.Values{
		"forged": forged, "unsigned": unsignedOne, "old": receipt("timestamp", "1795372115"), "other account": receipt("api-key", "zzzz9999"),
		"nothing": {},
	} {
		for way, r := range b.vonageWays(v) {
			rec := b.serve(r)
			if rec.Code != http.StatusForbidden {
				t.Errorf("%s by %s is answered %d", name, way, rec.Code)
			}
		}
	}
	twice := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/webhooks/vonage?"+receipt().Encode()+"&status=failed", nil)
	b.want(http.StatusForbidden, web.CodeSignature, b.serve(twice))
	if n := len(b.stored()); n != 0 {
		t.Errorf("stored %d", n)
	}
}

// P7: while the bus is away the provider is asked to come again, and nothing is lost or doubled when it does.
func TestP7_WithoutTheBusTheProviderComesAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	body := "[" + entry("delivered", int(now().Unix()), "") + "]\r\n"
	b.bus.Stop(t)
	rec := b.batch(body)
	b.want(http.StatusServiceUnavailable, "unavailable", rec)
	if rec.Header().Get("Retry-After") != "5" {
		t.Errorf("Retry-After is %q", rec.Header().Get("Retry-After"))
	}
	b.want(http.StatusServiceUnavailable, "unavailable", b.serve(b.vonageWays(receipt())["json"]))
	b.bus.Resume(t)
	bustest.Wait(t, "the bus is back", func() bool { return b.bus.Admin().Ready(t.Context()) == nil })
	bustest.Wait(t, "both are stored", func() bool {
		return b.batch(body).Code == http.StatusNoContent && b.serve(b.vonageWays(receipt())["json"]).Code == http.StatusNoContent
	})
	if got := b.stored(); len(got) != 2 {
		t.Errorf("stored %+v", got)
	}
}

func TestNew_RefusesAMissingPart(t *testing.T) {
	t.Parallel()
	_, err := web.New(web.Config{})
	if err == nil {
		t.Error("an empty configuration was taken")
	}
}
