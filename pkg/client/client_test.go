package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/assertion"
	"doorcode/pkg/challenge"
	"doorcode/pkg/keyring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secretKey = "dck_lanternbird_c2VjcmV0c2VjcmV0"
	challID   = "AAECAwQFBgcICQoLDA0ODw"
)

// approvedAt is when the tests' challenge was approved.
func approvedAt() time.Time { return time.Date(2026, 6, 3, 8, 3, 0, 0, time.UTC) }

// doorcode is an HTTP server whose answers a test decides: what a client has to
// withstand is what a broken or hostile answer could be. The real service
// answers in the end-to-end tests.
type doorcode struct {
	keys   *assertion.Keys
	answer http.HandlerFunc
	asked  atomic.Int64
	jwks   atomic.Int64
	lost   int64 // so many fetches of the public keys fail first
}

// start returns a client of the server.
func (d *doorcode) start(t *testing.T, now time.Time) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/jwks.json" {
			if d.jwks.Add(1) <= d.lost {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			set, err := d.keys.JWKS()
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(set)
			return
		}
		d.asked.Add(1)
		d.answer(w, r)
	}))
	t.Cleanup(server.Close)
	hc := server.Client()
	t.Cleanup(hc.CloseIdleConnections)
	c, err := New(Config{URL: server.URL, Key: secretKey, HTTP: hc, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newKeys returns fresh assertion keys.
func newKeys(t *testing.T) *assertion.Keys {
	t.Helper()
	k, err := assertion.New()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// handleOf returns a handle of the tests' challenge.
func handleOf(t *testing.T) string {
	t.Helper()
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	h, err := challenge.Handle{Challenge: challID, Stream: 1, Sequence: 7}.Encode(ring)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// good are the claims of the right assertion.
func good() assertion.Claims {
	return assertion.Claims{
		Issuer: "doorcode", FrontEnd: "lanternbird", Login: "jo", Workspace: "acme", Challenge: challID, Channel: "email", At: approvedAt(),
	}
}

// approve answers a check with an assertion of the claims.
func approve(t *testing.T, keys *assertion.Keys, c assertion.Claims) http.HandlerFunc {
	t.Helper()
	signed, err := keys.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"outcome": "approved", "assertion": signed})
	}
}

func TestCheck_ReturnsThePersonOfARightCode(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	d := &doorcode{keys: keys, answer: approve(t, keys, good())}
	c := d.start(t, approvedAt().Add(3*time.Second))
	for range 2 {
		p, err := c.Check(t.Context(), handleOf(t), "482917")
		if err != nil {
			t.Fatal(err)
		}
		if p.Login != "jo" || p.Workspace != "acme" || p.Channel != "email" || len(p.Methods) != 1 || p.Methods[0] != "otp" || !p.At.Equal(approvedAt()) {
			t.Errorf("person %+v", p)
		}
	}
	if n := d.jwks.Load(); n != 1 {
		t.Errorf("public keys fetched %d times", n)
	}
}

// A right code is spent by then: one lost answer about the keys must not cost the person the sign-in.
// It shows SEC-67 of deploy/SECURITY.md.
func TestCheck_FetchesThePublicKeysOnceMore(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	d := &doorcode{keys: keys, answer: approve(t, keys, good()), lost: 1}
	p, err := d.start(t, approvedAt()).Check(t.Context(), handleOf(t), "482917")
	if err != nil || p.Login != "jo" || d.jwks.Load() != 2 || d.asked.Load() != 1 {
		t.Errorf("person %+v, %v after %d fetches and %d checks", p, err, d.jwks.Load(), d.asked.Load())
	}
	d = &doorcode{keys: keys, answer: approve(t, keys, good()), lost: 2}
	p, err = d.start(t, approvedAt()).Check(t.Context(), handleOf(t), "482917")
	if err == nil || p.Login != "" || errors.Is(err, ErrAssertion) {
		t.Errorf("without keys: person %+v, %v", p, err)
	}
}

// SEC-08: an assertion of another challenge, front-end, issuer, key or time lets nobody in.
func TestCheck_RefusesEveryOtherAssertion(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	for name, answer := range map[string]struct {
		answer http.HandlerFunc
		now    time.Time
	}{
		"another challenge": {approve(t, keys, change(func(c *assertion.Claims) { c.Challenge = "BBECAwQFBgcICQoLDA0ODw" })), approvedAt()},
		"another front-end": {approve(t, keys, change(func(c *assertion.Claims) { c.FrontEnd = "other" })), approvedAt()},
		"another issuer":    {approve(t, keys, change(func(c *assertion.Claims) { c.Issuer = "other" })), approvedAt()},
		"another key":       {approve(t, newKeys(t), good()), approvedAt()},
		"a minute too late": {approve(t, keys, good()), approvedAt().Add(71 * time.Second)},
		"from the future":   {approve(t, keys, good()), approvedAt().Add(-time.Minute)},
		"none":              {say(http.StatusOK, `{"outcome":"approved"}`), approvedAt()},
		"unsigned":          {say(http.StatusOK, `{"outcome":"approved","assertion":"eyJhbGciOiJub25lIn0.eyJzdWIiOiJqbyJ9."}`), approvedAt()},
		"garbage":           {say(http.StatusOK, `{"outcome":"approved","assertion":"x"}`), approvedAt()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &doorcode{keys: keys, answer: answer.answer}
			c := d.start(t, answer.now)
			p, err := c.Check(t.Context(), handleOf(t), "482917")
			if !errors.Is(err, ErrAssertion) || p.Login != "" {
				t.Errorf("got %+v: %v", p, err)
			}
		})
	}
}

// change returns the good claims with one change.
func change(f func(*assertion.Claims)) assertion.Claims {
	c := good()
	f(&c)
	return c
}

// say answers with a status and a body.
func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestCheck_FindsARotatedKeyByItself(t *testing.T) {
	t.Parallel()
	old := newKeys(t)
	d := &doorcode{keys: old, answer: approve(t, old, good())}
	c := d.start(t, approvedAt())
	_, err := c.Check(t.Context(), handleOf(t), "482917")
	if err != nil {
		t.Fatal(err)
	}
	next, err := old.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	d.keys, d.answer = next, approve(t, next, good())
	c.now = func() time.Time { return approvedAt().Add(20 * time.Second) }
	_, err = c.Check(t.Context(), handleOf(t), "482917")
	if err != nil {
		t.Errorf("after a rotation: %v", err)
	}
}

func TestCheck_TellsRefusalsApart(t *testing.T) {
	t.Parallel()
	d := &doorcode{keys: newKeys(t), answer: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "17")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"status":422,"code":"wrong_code","detail":"That code is wrong.","checks_left":4}`)
	}}
	_, err := d.start(t, approvedAt()).Check(t.Context(), handleOf(t), "482917")
	var e *Error
	if !errors.As(err, &e) || e.Code != "wrong_code" || e.ChecksLeft == nil || *e.ChecksLeft != 4 || e.Status != 422 || e.RetryAfter != 17*time.Second {
		t.Errorf("got %#v", err)
	}
	if d.asked.Load() != 1 {
		t.Errorf("a refusal was asked for %d times", d.asked.Load())
	}
}

// P7: a lost answer is asked for once more, with the same check id.
func TestP7_ALostCheckIsRepeatedWithItsCheckID(t *testing.T) {
	t.Parallel()
	var ids []string
	d := &doorcode{keys: newKeys(t)}
	d.answer = func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			CheckID string `json:"check_id"`
		}
		_ = json.NewDecoder(r.Body).Decode(&in)
		ids = append(ids, in.CheckID)
		say(http.StatusServiceUnavailable, `{"code":"unavailable","detail":"Please try again."}`)(w, r)
	}
	_, err := d.start(t, approvedAt()).Check(t.Context(), handleOf(t), "482917")
	var e *Error
	if !errors.As(err, &e) || e.Code != "unavailable" {
		t.Errorf("got %v", err)
	}
	if len(ids) != 2 || ids[0] != ids[1] || ids[0] == "" {
		t.Errorf("check ids %v", ids)
	}
}

// It shows SEC-51 of deploy/SECURITY.md.
func TestCreate_SendsItsKeyAndRefusesUnknownDecisions(t *testing.T) {
	t.Parallel()
	var keysSeen []string
	decision := "required"
	d := &doorcode{keys: newKeys(t)}
	d.answer = func(w http.ResponseWriter, r *http.Request) {
		keysSeen = append(keysSeen, r.Header.Get("Idempotency-Key"))
		if r.Header.Get("Authorization") != "Bearer "+secretKey {
			t.Error("the API key is missing")
		}
		say(http.StatusCreated, `{"decision":"`+decision+`","handle":"h","label":"KTM"}`)(w, r)
	}
	c := d.start(t, approvedAt())
	ch, err := c.Create(t.Context(), Request{Workspace: "acme", Login: "jo", Key: "mine"})
	if err != nil || ch.Label != "KTM" || ch.Handle != "h" {
		t.Errorf("got %+v: %v", ch, err)
	}
	_, err = c.Create(t.Context(), Request{Workspace: "acme", Login: "jo"})
	if err != nil {
		t.Error(err)
	}
	if len(keysSeen) != 2 || keysSeen[0] != "mine" || keysSeen[1] == "" || keysSeen[1] == "mine" {
		t.Errorf("keys %v", keysSeen)
	}
	decision = "perhaps"
	_, err = c.Create(t.Context(), Request{Workspace: "acme", Login: "jo"})
	if err == nil {
		t.Error("an unknown decision was taken")
	}
}

func TestCall_WithstandsAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"html":        say(http.StatusBadGateway, "<html>"),
		"no code":     say(http.StatusBadRequest, "{}"),
		"not JSON":    say(http.StatusOK, "hello"),
		"endless":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) },
		"cut":         func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"wrong types": say(http.StatusOK, `{"state":7}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &doorcode{keys: newKeys(t), answer: answer}
			_, err := d.start(t, approvedAt()).Read(t.Context(), "h")
			if err == nil {
				t.Error("the answer was taken")
			}
		})
	}
}

func TestErrors_NeverShowTheKeyOrTheCode(t *testing.T) {
	t.Parallel()
	c, err := New(Config{URL: "http://127.0.0.1:1", Key: secretKey})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Check(ctx, "h", "482917")
	if err == nil || strings.Contains(err.Error(), "482917") || strings.Contains(err.Error(), secretKey) {
		t.Errorf("got %v", err)
	}
	_, err = New(Config{URL: "http://127.0.0.1:1", Key: "c2VjcmV0c2VjcmV0"})
	if err == nil || strings.Contains(err.Error(), "c2Vj") {
		t.Errorf("got %v", err)
	}
	for _, address := range []string{"", "ftp://x", "127.0.0.1:8080"} {
		_, err = New(Config{URL: address, Key: secretKey})
		if err == nil {
			t.Errorf("address %q was taken", address)
		}
	}
}

func TestKeysOnDisk_MatchTheAssertionsOfTheClient(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	data, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "assertion.json")
	err = os.WriteFile(path, data, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	back, err := assertion.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	d := &doorcode{keys: back, answer: approve(t, keys, good())}
	_, err = d.start(t, approvedAt()).Check(t.Context(), handleOf(t), "482917")
	if err != nil {
		t.Errorf("keys changed on disk: %v", err)
	}
}

// Who needs no code is let in on an assertion as well, which says so; one that says both or neither is none.
func TestWaived_ReturnsThePersonWhoNeededNoCode(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	waiver := good()
	waiver.Channel, waiver.Waived = "", "not_yet"
	signed, err := keys.Sign(waiver)
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"decision":"not_required","handle":%q,"support_reference":"4F72-KQ9R","reason":"not_yet","assertion":%q,"enforce_at":"2026-06-10T08:00:00Z"}`, handleOf(t), signed)
	d := &doorcode{keys: keys, answer: say(http.StatusCreated, body)}
	c := d.start(t, approvedAt())
	ch, err := c.Create(t.Context(), Request{Workspace: "acme", Login: "jo"})
	if err != nil || ch.Decision != NotRequired || ch.Reason != "not_yet" || ch.EnforceAt == nil {
		t.Fatalf("%+v, %v", ch, err)
	}
	p, err := c.Waived(t.Context(), ch)
	if err != nil || p.Login != "jo" || p.Reason != "not_yet" || len(p.Methods) != 0 || p.Channel != "" {
		t.Errorf("person %+v, %v", p, err)
	}
	proof, err := keys.Sign(good())
	if err != nil {
		t.Fatal(err)
	}
	for name, assertion := range map[string]string{"none": "", "unsigned": signed[:strings.LastIndex(signed, ".")+1], "of another key": sign(t, newKeys(t), waiver)} {
		ch.Assertion = assertion
		_, err = c.Waived(t.Context(), ch)
		if !errors.Is(err, ErrAssertion) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ch.Handle, ch.Assertion = strings.Replace(ch.Handle, ch.Handle[4:8], "BBBB", 1), proof
	_, err = c.Waived(t.Context(), ch)
	if !errors.Is(err, ErrAssertion) {
		t.Errorf("another sign-in: %v", err)
	}
}

func TestSkip_ReturnsThePersonOrTheRefusal(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	waiver := good()
	waiver.Channel, waiver.Waived = "", "grace"
	var path string
	d := &doorcode{keys: keys, answer: func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		approve(t, keys, waiver)(w, r)
	}}
	handle := handleOf(t)
	p, err := d.start(t, approvedAt()).Skip(t.Context(), handle)
	if err != nil || p.Reason != "grace" || len(p.Methods) != 0 || path != "/v1/challenges/"+handle+"/skip" {
		t.Errorf("person %+v, %v at %s", p, err, path)
	}
	d = &doorcode{keys: keys, answer: say(http.StatusConflict, `{"code":"not_skippable","detail":"no"}`)}
	_, err = d.start(t, approvedAt()).Skip(t.Context(), handleOf(t))
	var e *Error
	if !errors.As(err, &e) || e.Code != "not_skippable" {
		t.Errorf("a required code: %v", err)
	}
}

// sign is an assertion of the claims.
func sign(t *testing.T, keys *assertion.Keys, c assertion.Claims) string {
	t.Helper()
	signed, err := keys.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// What a proof and a waiver are good for does not cross: a right code is no waiver, and who may skip has not proved anything.
func TestVerify_AProofAndAWaiverAreToldApart(t *testing.T) {
	t.Parallel()
	keys := newKeys(t)
	waiver, mixed := good(), good()
	waiver.Channel, waiver.Waived = "", "grace"
	handle, proof, waived := handleOf(t), sign(t, keys, mixed), sign(t, keys, waiver)
	for name, ask := range map[string]func(c *Client, assertion string) (Person, error){
		"check": func(c *Client, _ string) (Person, error) { return c.Check(t.Context(), handle, "482917") },
		"skip":  func(c *Client, _ string) (Person, error) { return c.Skip(t.Context(), handle) },
		"waived": func(c *Client, a string) (Person, error) {
			return c.Waived(t.Context(), Challenge{Handle: handle, Assertion: a})
		},
	} {
		for kind, assertion := range map[string]string{"proof": proof, "waiver": waived} {
			d := &doorcode{keys: keys, answer: say(http.StatusOK, `{"outcome":"x","assertion":"`+assertion+`"}`)}
			p, err := ask(d.start(t, approvedAt()), assertion)
			fits := (name == "check") == (kind == "proof")
			if fits != (err == nil) || !fits && (!errors.Is(err, ErrAssertion) || p.Login != "") {
				t.Errorf("%s with a %s: %+v, %v", name, kind, p, err)
			}
		}
	}
}
