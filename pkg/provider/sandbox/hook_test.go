package sandbox

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"
)

// post is one request that a hook got.
type hookPost struct {
	Method, Path, Query string
	Header              http.Header
	Body                []byte
}

// hook is a receiver of webhooks.
type hook struct {
	url    string
	mu     sync.Mutex
	posts  []hookPost
	answer func(n int) int // the status of the n-th answer, counted from 1
}

// receive starts a receiver that answers 204, or as told.
func receive(t *testing.T, answer func(n int) int) *hook {
	t.Helper()
	h := &hook{answer: answer}
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read a webhook: %v", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.posts = append(h.posts, hookPost{r.Method, r.URL.Path, r.URL.RawQuery, r.Header, body})
		status := http.StatusNoContent
		if h.answer != nil {
			status = h.answer(len(h.posts))
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(listener.Close)
	h.url = listener.URL
	return h
}

// got copies what came.
func (h *hook) got() []hookPost {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]hookPost{}, h.posts...)
}

// startWith is start with settings of the test's own.
func startWith(t *testing.T, cfg Config) *server {
	t.Helper()
	if cfg.Clock == nil {
		cfg.Clock = noon
	}
	s := New(cfg)
	listener := httptest.NewServer(s.Handler())
	transport := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}
	t.Cleanup(func() {
		stop(t, s)
		transport.CloseIdleConnections()
		listener.Close()
	})
	return &server{Sandbox: s, url: listener.URL, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// flush posts all that waits, and fails when something was not taken.
func (s *server) flush(t *testing.T) {
	t.Helper()
	err := s.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
}

// events are the events of all posts, in their order.
func (h *hook) events(t *testing.T) []object {
	t.Helper()
	var all []object
	for _, p := range h.got() {
		var list []object
		err := json.Unmarshal(p.Body, &list)
		if err != nil {
			t.Fatalf("body %q: %v", p.Body, err)
		}
		all = append(all, list...)
	}
	return all
}

// kinds are the kinds of all events that came.
func (h *hook) kinds(t *testing.T) []string {
	t.Helper()
	var kinds []string
	for _, e := range h.events(t) {
		kind, _ := e["event"].(string)
		kinds = append(kinds, kind)
	}
	return kinds
}

// verified tells whether the provider's own code takes the signature of a post.
func verified(t *testing.T, key string, p hookPost) bool {
	t.Helper()
	public, err := eventwebhook.ConvertPublicKeyBase64ToECDSA(key)
	if err != nil {
		t.Fatal(err)
	}
	ok, err := eventwebhook.VerifySignature(public, p.Body,
		p.Header.Get(eventwebhook.VerificationHTTPHeader), p.Header.Get(eventwebhook.TimestampHTTPHeader))
	return err == nil && ok
}

// hooked makes an event webhook to the receiver and returns its key.
func (s *server) hooked(t *testing.T, h *hook) string {
	t.Helper()
	_, key, err := s.EventWebhook(h.url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	return key
}
