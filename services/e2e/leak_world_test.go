package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/client"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/seal"
)

// loud is an installation whose every word is kept: all processes apart at the most talkative level, codes of ten
// digits, traces exported, a bus and a database of its own.
type loud struct {
	*apart
	search   *leakSearch
	archive  *archive
	traces   *receiver
	natsLog  *guarded
	receipts string // address of the webhooks
	demo     string
	signer   *ecdsa.PrivateKey // of webhooks that the test makes up
	people   int
}

// guarded is a buffer that a server writes to.
type guarded struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (g *guarded) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.Write(p)
}

// newLoud starts all of it.
func newLoud(t *testing.T) *loud {
	t.Helper()
	w := &loud{search: newLeakSearch(), archive: newArchive(t), traces: newReceiver(t), natsLog: &guarded{}}
	b := bustest.StartEmpty(t)
	b.LogTo(slog.New(slog.NewTextHandler(w.natsLog, &slog.HandlerOptions{Level: slog.LevelDebug})))
	b.Restart(t)
	bustest.Wait(t, "the bus is back", func() bool { return b.Admin().Ready(t.Context()) == nil })
	w.apart = newApartOn(t, b, w.archive.Database, "sandbox", "verifier-1", "verifier-2", "auth", "receipts", "email-dispatcher", "sms-dispatcher", "demo")
	ports, err := freePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	w.receipts, w.demo = ports[0], ports[1]
	w.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.further(t)
	w.start(t, "sandbox")
	w.register(t)
	w.start(t, "verifier", "auth", "receipts", "email", "sms", "demo")
	return w
}

// further adds the settings that other tests have no use for.
func (w *loud) further(t *testing.T) {
	t.Helper()
	file := func(name, content string) string {
		path := filepath.Join(w.dir, name)
		err := os.WriteFile(path, []byte(content), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	provider := newParrot(t, w.sandbox)
	ring := func(name string) string { return filepath.Join(w.dir, "keys", name+".json") }
	maps.Copy(w.settings, map[string]string{
		"DOORCODE_OTLP_ENDPOINT":                          w.traces.URL,
		"DOORCODE_AUTH_CODE_DIGITS":                       strconv.Itoa(codeDigits),
		"DOORCODE_AUTH_SMS_CHANNEL_KEY_FILE":              ring("channel-sms"),
		"DOORCODE_AUTH_SMS_COUNTRIES":                     "US",
		"DOORCODE_AUTH_SMS_DAILY_CAP":                     "200",
		"DOORCODE_EMAIL_DISPATCHER_SENDGRID_URL":          provider,
		"DOORCODE_SMS_DISPATCHER_NATS_KEY_FILE":           w.bus.KeyFile("sms-dispatcher"),
		"DOORCODE_SMS_DISPATCHER_CHANNEL_KEY_FILE":        ring("channel-sms"),
		"DOORCODE_SMS_DISPATCHER_VONAGE_KEY_FILE":         file("vonage-key", "abcd1234"),
		"DOORCODE_SMS_DISPATCHER_VONAGE_SECRET_FILE":      file("vonage-secret", "sandbox-secret"),
		"DOORCODE_SMS_DISPATCHER_VONAGE_URL":              provider,
		"DOORCODE_SMS_DISPATCHER_SENDERS":                 "US=12025550100",
		"DOORCODE_SMS_DISPATCHER_HOST":                    "login.acme.example",
		"DOORCODE_RECEIPTS_LISTEN":                        w.receipts,
		"DOORCODE_RECEIPTS_NATS_KEY_FILE":                 w.bus.KeyFile("receipts"),
		"DOORCODE_RECEIPTS_ADDRESS_KEY_FILE":              ring("address"),
		"DOORCODE_RECEIPTS_SENDGRID_PUBLIC_KEYS_FILE":     filepath.Join(w.dir, "sendgrid-keys"),
		"DOORCODE_RECEIPTS_VONAGE_SIGNATURE_SECRETS_FILE": file("vonage-signature", "sandbox-signature-secret"),
		"DOORCODE_RECEIPTS_VONAGE_API_KEY":                "abcd1234",
		"DOORCODE_SANDBOX_VONAGE_RECEIPT_URL":             "http://" + w.receipts + "/webhooks/vonage",
		"DOORCODE_SANDBOX_BATCH_INTERVAL":                 "100ms",
		"DOORCODE_DEMO_LISTEN":                            w.demo,
		"DOORCODE_DEMO_AUTH_URL":                          "http://" + w.auth,
		"DOORCODE_DEMO_INBOX_URL":                         "http://" + w.sandbox,
		"DOORCODE_DEMO_API_KEY_FILE":                      file("front-end-key", w.key),
	})
}

// register makes the sandbox's event webhook and lets receipts believe it and the test.
func (w *loud) register(t *testing.T) {
	t.Helper()
	const settings = "/v3/user/webhooks/event/settings"
	hook := w.asOperator(t, http.MethodPost, settings, fmt.Sprintf(`{"enabled": true, "url": "http://%s/webhooks/sendgrid", "delivered": true,
		"spam_report": true, "bounce": true, "deferred": true, "processed": true, "dropped": true}`, w.receipts))
	signed := w.asOperator(t, http.MethodPatch, settings+"/signed/"+hook["id"].(string), `{"enabled": true}`) //nolint:forcetypeassert // a test may fail so
	mine, err := x509.MarshalPKIXPublicKey(&w.signer.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text := signed["public_key"].(string) + "\n" + base64.StdEncoding.EncodeToString(mine) + "\n" //nolint:forcetypeassert // a test may fail so
	err = os.WriteFile(w.settings["DOORCODE_RECEIPTS_SENDGRID_PUBLIC_KEYS_FILE"], []byte(text), 0o600)
	if err != nil {
		t.Fatal(err)
	}
}

// asOperator asks the sandbox's account.
func (w *loud) asOperator(t *testing.T, method, path, body string) map[string]any {
	t.Helper()
	status, answer := w.say(t, method, "http://"+w.sandbox+path, body, map[string]string{"Authorization": "Bearer SG.sandbox", "Content-Type": "application/json"})
	var document map[string]any
	err := json.Unmarshal([]byte(answer), &document)
	if err != nil || status >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return document
}

// say makes a request and returns what is answered.
func (w *loud) say(t *testing.T, method, address, body string, header map[string]string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := w.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

// newParrot is a provider that is the sandbox, but quotes what it was sent to some recipients: it is the worst that a
// provider's answer can be.
func newParrot(t *testing.T, sandbox string) string {
	t.Helper()
	through := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: sandbox})
	through.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug) // the sandbox cuts wires
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		quoted, _ := json.Marshal(string(body))
		form, _ := url.ParseQuery(string(body))
		said := string(quoted)
		inner := regexp.MustCompile(`\d{10}`).FindString(form.Get("text"))
		switch {
		case strings.Contains(said, "+quote400@"):
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"errors": [{"message": %s, "field": "personalizations"}]}`, quoted)
		case strings.Contains(said, "+quote500@"):
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write(body)
		case strings.Contains(said, "+quote302@"):
			w.Header().Set("Location", "/?code="+regexp.MustCompile(`\d{10}`).FindString(said)+"&body="+url.QueryEscape(said))
			w.WriteHeader(http.StatusFound)
		case strings.Contains(said, "+quoteid@"):
			w.Header().Set("X-Message-Id", regexp.MustCompile(`[a-z0-9]+\+quoteid@[a-z.]+`).FindString(said))
			w.WriteHeader(http.StatusAccepted)
		case strings.HasSuffix(form.Get("to"), "42"):
			_, _ = fmt.Fprintf(w, `{"message-count": "1", "messages": [{"status": "3", "to": %q, "error-text": %s}]}`, form.Get("to"), quoted)
		case strings.HasSuffix(form.Get("to"), "43"):
			_, _ = fmt.Fprintf(w, `{"message-count": "1", "messages": [{"status": "0", "to": %q, "message-id": %q}]}`, form.Get("to"), inner)
		case strings.HasSuffix(form.Get("to"), "44"):
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write(body)
		default:
			r.Body = io.NopCloser(bytes.NewReader(body))
			through.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// somebody is one person with a workspace.
type somebody struct {
	workspace, stem, address, phone string
}

// stem draws what an address begins with. Nothing else has the same letters.
func (w *loud) stem() string {
	stem := "q" + strings.ToLower(rand.Text()[:13])
	w.search.hide(mailAddress, stem)
	return stem
}

// person makes a workspace whose owner gets codes by e-mail; what follows the stem makes the provider misbehave.
func (w *loud) person(t *testing.T, suffix string) somebody {
	t.Helper()
	w.people++
	p := somebody{workspace: "w" + strconv.Itoa(w.people), stem: w.stem()}
	p.address = p.stem + suffix + "@acme.example"
	w.put(t, p.workspace, p.address)
	return p
}

// caller makes a workspace whose owner gets codes by SMS, to a number of fiction (NANPA sets 555-01xx aside) that ends
// in two digits.
func (w *loud) caller(t *testing.T, end string) somebody {
	t.Helper()
	p := w.person(t, "")
	area := []string{"201", "202", "203", "205", "206", "207", "208", "209", "210", "212", "213", "214", "215", "216", "217", "218", "219", "224"}[w.people%18]
	national := area + "55501" + end
	p.phone = "+1" + national
	w.search.hide(phoneNumber, national)
	w.anew(t, p.workspace, client.Login{Role: "owner", Phone: p.phone, Channel: "sms"})
	return p
}

// asks creates a challenge for a person and waits for its n-th message.
func (w *loud) asks(t *testing.T, p somebody, n int) (client.Challenge, string) {
	t.Helper()
	ch := w.create(t, p.workspace)
	to := p.address
	if p.phone != "" {
		to = p.phone
	}
	return ch, w.read(t, to, n)
}

// read waits for the n-th message and returns its code.
func (w *loud) read(t *testing.T, to string, n int) string {
	t.Helper()
	var all []message
	eventually(t, "a message", func() bool {
		all = w.inbox(t, to)
		return len(all) >= n
	})
	return regexp.MustCompile(`\d{10}`).FindString(all[len(all)-n].Text)
}

// mistype draws a code that is not the right one.
func (w *loud) mistype(t *testing.T) string {
	t.Helper()
	wrong := drawCode(t)
	w.search.hide(typedCode, wrong)
	return wrong
}

// drawn is a random code.
func drawCode(t *testing.T) string {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(codeSpace))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%010d", n)
}

// pass moves a time of a challenge to now.
func (w *loud) pass(t *testing.T, ch client.Challenge, column string) {
	t.Helper()
	eventually(t, "the challenge is recorded", func() bool {
		return w.db.Exec(t, `UPDATE challenges SET `+column+` = now() WHERE support_reference = $1`, strings.ReplaceAll(ch.SupportReference, "-", "")) == 1
	})
}

// webhook posts a batch of made-up events with a good signature.
func (w *loud) webhook(t *testing.T, events ...map[string]any) {
	t.Helper()
	body, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	sum := sha256.Sum256([]byte(at + string(body)))
	signature, err := ecdsa.SignASN1(rand.Reader, w.signer, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	status, answer := w.say(t, http.MethodPost, "http://"+w.receipts+"/webhooks/sendgrid", string(body), map[string]string{
		"X-Twilio-Email-Event-Webhook-Signature": base64.StdEncoding.EncodeToString(signature),
		"X-Twilio-Email-Event-Webhook-Timestamp": at,
	})
	if status != http.StatusNoContent {
		t.Fatalf("the webhook is answered %d %s", status, answer)
	}
}

// wire sends bytes that are no HTTP to an address and reads what comes back.
func sayBytes(t *testing.T, address, text string) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	err = conn.SetDeadline(time.Now().Add(patience))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Write([]byte(text))
	_, _ = io.Copy(io.Discard, conn)
}

// issued opens every envelope on the bus with the dispatchers' keys and hides what is in them. It returns how many
// challenges there are.
func (w *loud) issued(t *testing.T) int {
	t.Helper()
	count := 0
	for _, m := range w.bus.Messages(t, bus.Challenges) {
		e, err := event.Parse(m.Subject, m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if e.Type != event.ChallengeIssued {
			continue
		}
		count++
		var p event.Issued
		err = e.Decode(&p)
		if err != nil {
			t.Fatal(err)
		}
		r := p.Routes[0]
		ring, err := keyring.Read(filepath.Join(w.dir, "keys", "channel-"+r.Channel+".json"))
		if err != nil {
			t.Fatal(err)
		}
		content, err := seal.Open(ring, seal.Context{Challenge: p.Challenge, Channel: r.Channel, NotAfter: challenge.NotAfter(p.ExpiresAt)}, r.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		if len(content.Code) != codeDigits {
			t.Fatalf("a code of %d digits", len(content.Code))
		}
		w.search.hide(issuedCode, content.Code)
	}
	return count
}

// halt ends all processes, so that everything they have to say is said, and returns their logs and metrics, the traces
// and the streams.
func (w *loud) halt(t *testing.T) []evidence {
	t.Helper()
	var all []evidence
	for _, r := range w.replicas {
		all = append(all, evidence{source: "metrics", name: r.name, data: []byte(get(t, w.http, "http://"+r.ops+"/metrics"))})
	}
	for _, r := range w.replicas {
		err := r.signal(syscall.SIGTERM)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, evidence{source: "logs", name: r.name, data: []byte(r.printed())})
	}
	w.bus.Stop(t)
	w.traces.Close()
	if w.traces.err != nil || len(w.traces.spans) == 0 {
		t.Fatalf("%d spans: %v", len(w.traces.spans), w.traces.err)
	}
	all = append(all,
		evidence{source: "traces", name: "OTLP", data: w.traces.raw.Bytes()},
		evidence{source: "logs", name: "nats", data: w.natsLog.buf.Bytes()})
	return append(all, evidenceBelow(t, w.bus.StoreDir(), func(path string) (evidence, bool) {
		return evidence{source: "streams", name: path}, true
	})...)
}

// operated is what an operator's commands print.
func (w *loud) operated(t *testing.T) evidence {
	t.Helper()
	printed := ""
	for _, command := range []string{"streams apply", "advisories list", "dead-letters list", "channel show email", "country list"} {
		printed += w.operate(t, strings.Fields(command)...)
	}
	return evidence{source: "logs", name: "doorcodectl", data: []byte(printed)}
}

// overNATS is the front-end on the bus.
func (w *loud) overNATS(t *testing.T) (*client.Client, *bus.Conn) {
	t.Helper()
	conn := w.bus.Connect(t, "front-end")
	c, err := client.NewNATS(client.Config{URL: "http://" + w.auth, Key: w.key, HTTP: w.http}, conn)
	if err != nil {
		t.Fatal(err)
	}
	return c, conn
}

// ask asks over the bus; a refusal is as good as an answer, as long as it is none of ours to blame.
func askBus(t *testing.T, conn *bus.Conn, verb, body string, header map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := conn.Ask(ctx, "doorcode.api.challenges."+verb, header, []byte(body))
	if err != nil && strings.Contains(err.Error(), "service error 5") {
		t.Errorf("%s: %v", verb, err)
	}
}
