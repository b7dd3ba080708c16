package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/config"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/seal"
	"doorcode/pkg/telemetry"
	"doorcode/schemas"
	"doorcode/services/auth/app"
	"doorcode/services/auth/internal/authtest"
)

func TestMain(m *testing.M) { os.Exit(authtest.Main(m)) }

// limitOfTest bounds every wait of a test.
const limitOfTest = time.Minute

// harness is a running auth with a database and a bus of its own.
type harness struct {
	db   *pgtest.Database
	bus  *bustest.Bus
	app  *app.App
	tel  telemetry.Telemetry
	logs *lines
	cfg  app.Config
	dir  string
	key  string // may do everything
	spec routers.Router
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

// start runs auth with the settings that change leaves.
func start(t testing.TB, change func(*app.Config)) *harness {
	t.Helper()
	h := &harness{db: pgtest.Open(t), bus: bustest.Start(t), logs: &lines{}, dir: t.TempDir(), spec: document(t)}
	h.cfg = h.config(t)
	if change != nil {
		change(&h.cfg)
	}
	h.run(t)
	h.key = h.frontEnd(t, frontend.FrontEnd{
		ID: "front", Scopes: []frontend.Scope{frontend.Challenges, frontend.Directory, frontend.Settings, frontend.Support}, AllWorkspaces: true,
		ReturnOrigins: []string{"https://app.example"},
	})
	return h
}

// replica runs a second auth beside the first, with its settings and keys.
func (h *harness) replica(t testing.TB) *harness {
	t.Helper()
	second := &harness{db: h.db, bus: h.bus, logs: &lines{}, dir: h.dir, spec: h.spec, cfg: h.cfg, key: h.key}
	second.run(t)
	return second
}

// run starts auth with the settings of the harness.
func (h *harness) run(t testing.TB) {
	t.Helper()
	var err error
	h.tel, err = telemetry.New("auth", "debug", h.logs)
	if err != nil {
		t.Fatal(err)
	}
	h.app, err = app.New(h.cfg, h.tel)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limitOfTest)
		defer cancel()
		err := h.app.Stop(ctx)
		if err != nil && h.bus != nil {
			t.Logf("stop: %v", err)
		}
	})
	err = h.app.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
}

// config returns settings with fresh keys.
func (h *harness) config(t testing.TB) app.Config {
	t.Helper()
	cfg, err := config.Load[app.Config]("DOORCODE_AUTH_", h.environment(t))
	if err != nil {
		t.Fatal(err)
	}
	database := h.db.AuthConfig()
	cfg.DatabaseURL, cfg.DatabaseUser, cfg.DatabasePassword = database.URL, database.User, database.Password
	return cfg
}

// environment writes the files that auth needs and names them.
func (h *harness) environment(t testing.TB) []string {
	t.Helper()
	env := []string{
		"DOORCODE_DATABASE_URL=postgres://127.0.0.1/x", "DOORCODE_NATS_URL=" + h.bus.URL(), "DOORCODE_AUTH_LISTEN=127.0.0.1:0",
		"DOORCODE_AUTH_NATS_KEY_FILE=" + h.bus.KeyFile("auth"), "DOORCODE_AUTH_JWKS_FILE=" + filepath.Join(h.dir, "jwks"),
	}
	for _, name := range []string{"TAG", "DIGEST", "HANDLE", "ADDRESS", "ROW", "API_KEY", "IDEMPOTENCY", "EMAIL_CHANNEL", "SMS_CHANNEL"} {
		ring, err := keyring.New()
		if err != nil {
			t.Fatal(err)
		}
		data, err := ring.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		h.write(t, name, data)
		env = append(env, "DOORCODE_AUTH_"+name+"_KEY_FILE="+filepath.Join(h.dir, name))
	}
	h.write(t, "jwks", []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	return env
}

func (h *harness) write(t testing.TB, name string, data []byte) {
	t.Helper()
	err := os.WriteFile(filepath.Join(h.dir, name), data, 0o600)
	if err != nil {
		t.Fatal(err)
	}
}

// ring reads a key ring of auth.
func (h *harness) ring(t testing.TB, name string) *keyring.Ring {
	t.Helper()
	ring, err := keyring.Read(filepath.Join(h.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// frontEnd makes a front-end as the operator does and returns its key.
func (h *harness) frontEnd(t testing.TB, f frontend.FrontEnd) string {
	t.Helper()
	f, key, err := f.WithNewKey(h.ring(t, "API_KEY"))
	if err != nil {
		t.Fatal(err)
	}
	err = postgres.NewDirectory(h.db.Owner(t), h.ring(t, "ROW")).PutFrontEnd(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// document reads the API's document.
func document(t testing.TB) routers.Router {
	t.Helper()
	router, err := gorillamux.NewRouter(api(t))
	if err != nil {
		t.Fatal(err)
	}
	return router
}

// api reads and validates the API's document.
func api(t testing.TB) *openapi3.T {
	t.Helper()
	data, err := schemas.OpenAPI.ReadFile("openapi/doorcode.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		t.Fatal(err)
	}
	err = doc.Validate(t.Context(), openapi3.EnableExamplesValidation())
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// request is one request of a test.
type request struct {
	method, path string
	body         any // a string as it is, anything else as JSON, nil for none
	key          string
	header       map[string]string
}

// answer is what came back.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// problem reads the parts of a problem document that tests look at.
type problem struct {
	Code       string `json:"code"`
	Field      string `json:"field"`
	RetryAfter int    `json:"retry_after"`
	ChecksLeft *int   `json:"checks_left"`
}

func (a answer) problem(t testing.TB) problem {
	t.Helper()
	var p problem
	a.into(t, &p)
	return p
}

func (a answer) into(t testing.TB, v any) {
	t.Helper()
	err := json.Unmarshal(a.Body, v)
	if err != nil {
		t.Fatalf("the answer %d is not JSON: %v", a.Status, err)
	}
}

// do sends a request and holds request and answer against the API's document.
func (h *harness) do(t testing.TB, r request) answer {
	t.Helper()
	body := encoded(t, r.body)
	req := httptest.NewRequestWithContext(t.Context(), r.method, r.path, bytes.NewReader(body))
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.key == "" {
		r.key = h.key
	}
	if r.key != "-" {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	described := req.Clone(t.Context())
	rec := httptest.NewRecorder()
	h.app.Handler().ServeHTTP(rec, req)
	a := answer{Status: rec.Code, Header: rec.Header(), Body: rec.Body.Bytes()}
	h.hold(t, described, body, a)
	return a
}

func encoded(t testing.TB, body any) []byte {
	t.Helper()
	switch b := body.(type) {
	case nil:
		return nil
	case string:
		return []byte(b)
	}
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// hold fails the test when an answer, or a request that was taken, is not as the document says.
func (h *harness) hold(t testing.TB, req *http.Request, body []byte, a answer) {
	t.Helper()
	if a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %s: the answer %d may be kept by a cache", req.Method, req.URL.Path, a.Status)
	}
	route, params, err := h.spec.FindRoute(req)
	if err != nil {
		if a.Status != http.StatusNotFound && a.Status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s is answered %d and is not in the document", req.Method, req.URL.Path, a.Status)
		}
		return
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	options := &openapi3filter.Options{
		IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true,
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: options}
	if a.Status < http.StatusBadRequest {
		err = openapi3filter.ValidateRequest(t.Context(), in)
		if err != nil {
			t.Errorf("%s %s was taken and is not as the document says: %v", req.Method, req.URL.Path, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.Status, Header: a.Header, Options: options,
	}
	out.SetBodyBytes(a.Body)
	err = openapi3filter.ValidateResponse(t.Context(), out)
	if err != nil {
		t.Errorf("%s %s: the answer %d is not as the document says: %v", req.Method, req.URL.Path, a.Status, err)
	}
}

// must sends a request that is answered with that status.
func (h *harness) must(t testing.TB, status int, r request) answer {
	t.Helper()
	a := h.do(t, r)
	if a.Status != status {
		t.Fatalf("%s %s is answered %d and not %d: %s", r.method, r.path, a.Status, status, a.Body)
	}
	return a
}

// refused sends a request that is answered with that status and code.
func (h *harness) refused(t testing.TB, status int, code string, r request) problem {
	t.Helper()
	p := h.must(t, status, r).problem(t)
	if p.Code != code {
		t.Fatalf("%s %s is refused with %s and not %s", r.method, r.path, p.Code, code)
	}
	return p
}

type fields map[string]any

// settle puts workspace w with owner anna, who has no address of her own, and the member bert, who has one.
func (h *harness) settle(t testing.TB) {
	t.Helper()
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w", body: fields{"name": "Lanternbird", "main_email": "office@example.com"}})
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/anna", body: fields{"role": "owner"}})
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/bert", body: fields{"role": "member", "email": "bert@example.com"}})
}

// create is the request of a challenge for a login of w.
func create(login string) request {
	return request{method: "POST", path: "/v1/challenges", body: fields{"workspace": "w", "login": login}}
}

// with adds an idempotency key.
func (r request) with(key string) request {
	r.header = map[string]string{"Idempotency-Key": key}
	return r
}

type created struct {
	Handle    string    `json:"handle"`
	Label     string    `json:"label"`
	Recipient string    `json:"recipient"`
	ExpiresAt time.Time `json:"expires_at"`
}

// issued returns the challenges that the bus holds.
func (h *harness) issued(t testing.TB) []event.Issued {
	t.Helper()
	var all []event.Issued
	for _, m := range h.bus.Messages(t, event.StreamChallenges) {
		e, err := event.Parse(m.Subject, m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		var p event.Issued
		err = e.Decode(&p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// open opens the envelope of a challenge's first route as the dispatcher does.
func (h *harness) open(t testing.TB, p event.Issued) seal.Content {
	t.Helper()
	c, err := seal.Open(h.ring(t, "EMAIL_CHANNEL"), seal.Context{
		Challenge: p.Challenge, Route: 0, Channel: p.Channel, NotAfter: p.ExpiresAt.Add(-time.Minute),
	}, p.Routes[0].Envelope)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// version returns the version of a login of w.
func (h *harness) version(t testing.TB, login string) int64 {
	t.Helper()
	var v int64
	h.db.Scan(t, `SELECT version FROM login_budgets WHERE workspace = 'w' AND login = $1`, []any{login}, &v)
	return v
}

// count returns how many rows a query counts.
func (h *harness) count(t testing.TB, query string, args ...any) int {
	t.Helper()
	var n int
	h.db.Scan(t, query, args, &n)
	return n
}

// metric returns the value of a counter with a label.
func (h *harness) metric(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := h.tel.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found, sum := false, 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetValue() == label {
					found, sum = true, sum+m.GetCounter().GetValue()
				}
			}
		}
	}
	if !found {
		t.Fatalf("there is no metric %s{%s}", name, label)
	}
	return sum
}

// verifier answers one of the verifier's verbs over the real bus.
func (h *harness) verifier(t testing.TB, verb string, answer func(data []byte) ([]byte, error)) {
	t.Helper()
	conn := h.bus.Connect(t, "verifier")
	service, err := conn.Serve(t.Context(), bus.ServiceConfig{
		Name: "verifier", Version: "1.0.0", Workers: 4,
		Endpoints: []bus.Endpoint{{
			Name: strings.TrimPrefix(verb, "doorcode.verifier."), Subject: verb,
			Handle: func(_ context.Context, r bus.Request) ([]byte, error) { return answer(r.Data) },
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limitOfTest)
		defer cancel()
		err := service.Stop(ctx)
		if err != nil {
			t.Error(err)
		}
	})
}
