package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is far longer than anything that a test waits for.
const patience = 30 * time.Second

// noon is the fixed time of arrival.
func noon() time.Time { return time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) }

// server is a sandbox that listens, and a client for it.
type server struct {
	*Sandbox
	url    string
	client *http.Client
}

func start(t *testing.T) *server {
	t.Helper()
	return startWith(t, Config{})
}

// stop stops a sandbox with its test.
func stop(t *testing.T, s *Sandbox) {
	t.Helper()
	err := s.Stop(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Errorf("stop: %v", err)
	}
}

// reply is an answer apart from its body.
type reply struct {
	StatusCode int
	Header     http.Header
	Close      bool
}

// do sends a raw request and returns the answer and its body.
func (s *server) do(t *testing.T, method, path string, body io.Reader, header map[string]string) (reply, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	got, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{got.StatusCode, got.Header, got.Close}, string(text)
}

// post sends a raw body to the provider's path with the right key.
func (s *server) post(t *testing.T, body []byte, header map[string]string) (reply, string) {
	t.Helper()
	all := map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + DefaultSendGridKey}
	for name, value := range header {
		all[name] = value
	}
	return s.do(t, http.MethodPost, mailPath, bytes.NewReader(body), all)
}

// waitFor polls a condition that nothing signals.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never saw: %s", what)
		}
	}
}

// object is JSON in the making.
type object = map[string]any

// plain is the smallest request that is accepted.
func plain() object {
	return object{
		"from":             object{"email": "login@auth.example.com"},
		"subject":          "Hello",
		"personalizations": []any{object{"to": []any{object{"email": "ada@example.net"}}}},
		"content":          []any{object{"type": "text/plain", "value": "Hello, Ada."}},
	}
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
