package sandbox

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// spoils adds a fault of webhooks for one post or message.
func (s *server) spoils(t *testing.T, fault WebhookFault) {
	t.Helper()
	err := s.AddWebhookFault(fault, 1)
	if err != nil {
		t.Fatal(err)
	}
}

func TestWebhookFault_SpoilsEvents(t *testing.T) {
	t.Parallel()
	for fault, want := range map[WebhookFault]struct {
		valid []bool
		kinds string
	}{
		Duplicate:      {[]bool{true, true}, "processed delivered processed delivered"},
		DuplicateNewID: {[]bool{true, true}, "processed delivered processed delivered"},
		Reorder:        {[]bool{true}, "delivered processed"},
		BadSignature:   {[]bool{false}, "processed delivered"},
		NoSignature:    {[]bool{false}, "processed delivered"},
		Stale:          {[]bool{true}, "processed delivered"},
		Lose:           {nil, ""},
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			h := receive(t, nil)
			s := start(t)
			key := s.hooked(t, h)
			s.spoils(t, fault)
			s.accept(t, "ada@example.net", "c.1.a")
			s.flush(t)
			var valid []bool
			for _, p := range h.got() {
				valid = append(valid, verified(t, key, p))
			}
			diff := cmp.Diff(want.valid, valid)
			if diff != "" || strings.Join(h.kinds(t), " ") != want.kinds {
				t.Errorf("kinds %v, signatures differ (-want +got):\n%s", h.kinds(t), diff)
			}
			ids := map[any]bool{}
			for _, e := range h.events(t) {
				ids[e["sg_event_id"]] = true
			}
			if renamed := len(ids) == 4; renamed != (fault == DuplicateNewID) {
				t.Errorf("ids = %v", ids)
			}
			if posts := h.got(); fault == Stale && posts[0].Header.Get(timestampHeader) != "1772359200" {
				t.Errorf("the stale post is of %s", posts[0].Header.Get(timestampHeader))
			}
			h.mu.Lock()
			h.posts = nil
			h.mu.Unlock()
			s.accept(t, "ada@example.net", "c.1.b")
			s.flush(t)
			if posts := h.got(); len(posts) != 1 || !verified(t, key, posts[0]) {
				t.Error("the fault is met more than once")
			}
		})
	}
}

func TestWebhookFault_LastsUntilItIsCleared(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := start(t)
	s.hooked(t, h)
	err := s.AddWebhookFault(Lose, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.accept(t, "ada@example.net", "c.1.a")
		s.flush(t)
	}
	lost := s.WebhookCounts()
	s.ClearWebhookFaults()
	s.accept(t, "ada@example.net", "c.1.a")
	s.flush(t)
	if lost != (WebhookCounts{Lost: 3}) || len(h.got()) != 1 {
		t.Errorf("lost %+v, then %d posts", lost, len(h.got()))
	}
}

func TestWebhookFault_IsControlledByHTTP(t *testing.T) {
	t.Parallel()
	h := receive(t, func(n int) int { return map[bool]int{true: 500, false: 200}[n == 1] })
	s := start(t)
	s.hooked(t, h)
	asJSON := map[string]string{"Content-Type": "application/json"}
	control := func(method, path, body string) (int, string) {
		got, text := s.do(t, method, path, strings.NewReader(body), asJSON)
		return got.StatusCode, strings.TrimSpace(text)
	}
	for body, want := range map[string]int{`{"kind":"lose","count":1}`: 201, `{"kind":"none"}`: 400, `{"kind":"lose","count":-1}`: 400, `{"often":1}`: 400} {
		if status, text := control(http.MethodPost, "/_sandbox/webhooks/faults", body); status != want {
			t.Errorf("%s = %d %s", body, status, text)
		}
	}
	status, _ := control(http.MethodDelete, "/_sandbox/webhooks/faults", "")
	if status != http.StatusNoContent {
		t.Errorf("delete = %d", status)
	}
	s.accept(t, "ada@example.net", "c.1.a")
	status, text := control(http.MethodPost, "/_sandbox/webhooks/flush", "")
	if status != http.StatusBadGateway || strings.Contains(text, h.url) {
		t.Errorf("a refused flush = %d %s", status, text)
	}
	status, _ = control(http.MethodPost, "/_sandbox/webhooks/flush", "")
	if status != http.StatusNoContent {
		t.Errorf("flush = %d", status)
	}
	_, text = control(http.MethodGet, "/_sandbox/webhooks", "")
	if text != `{"taken":1,"retried":1,"given_up":0,"lost":0,"waiting":0}` {
		t.Errorf("counts = %s", text)
	}
}
