package sandbox

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestControl_AddsListsAndClearsFaults(t *testing.T) {
	t.Parallel()
	s := start(t)
	asJSON := map[string]string{"Content-Type": "application/json"}
	body := `{"kind":"ratelimit","to":"*@example.net","count":3,"delay_ms":250,"reset_seconds":30}`
	got, text := s.do(t, http.MethodPost, "/_sandbox/faults", strings.NewReader(body), asJSON)
	if got.StatusCode != http.StatusCreated {
		t.Fatalf("post = %d %s, want 201", got.StatusCode, text)
	}
	want := []Met{{Fault: Fault{
		Kind: RateLimit, To: "*@example.net", Count: 3, Status: 200, Location: "/",
		Delay: 250 * time.Millisecond, Reset: 30 * time.Second,
	}}}
	diff := cmp.Diff(want, s.Faults())
	if diff != "" {
		t.Errorf("faults differ (-want +got):\n%s", diff)
	}
	_, err := s.send(t.Context(), DefaultSendGridKey, code("ada@example.net", "c.1.a"))
	if err != nil {
		t.Fatal(err)
	}
	_, text = s.do(t, http.MethodGet, "/_sandbox/faults", nil, nil)
	listed := `[{"kind":"ratelimit","to":"*@example.net","count":3,"status":200,"delay_ms":250,"reset_seconds":30,"location":"/","hits":1}]`
	if strings.TrimSpace(text) != listed {
		t.Errorf("list = %s\nwant   %s", text, listed)
	}
	got, _ = s.do(t, http.MethodDelete, "/_sandbox/faults", nil, nil)
	if got.StatusCode != http.StatusNoContent || len(s.Faults()) != 0 {
		t.Errorf("delete = %d with %d left", got.StatusCode, len(s.Faults()))
	}
	_, text = s.do(t, http.MethodGet, "/_sandbox/faults", nil, nil)
	if strings.TrimSpace(text) != "[]" {
		t.Errorf("empty list = %s", text)
	}
}

func TestControl_RefusesBadFaults(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		media, body string
		status      int
	}{
		"a form":           {"application/x-www-form-urlencoded", `{"kind":"hang"}`, 415},
		"unknown field":    {"application/json", `{"kind":"hang","often":1}`, 400},
		"unknown kind":     {"application/json", `{"kind":"slow"}`, 400},
		"no JSON":          {"application/json", `kind=hang`, 400},
		"overflowing time": {"application/json", `{"kind":"latency","delay_ms":9223372036854775807}`, 400},
		"negative time":    {"application/json", `{"kind":"latency","delay_ms":-9223372036854775808}`, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			got, text := s.do(t, http.MethodPost, "/_sandbox/faults", strings.NewReader(row.body), map[string]string{"Content-Type": row.media})
			if got.StatusCode != row.status || got.Header.Get("Content-Type") != "application/problem+json" || len(s.Faults()) != 0 {
				t.Errorf("answer = %d %s, want a problem %d", got.StatusCode, text, row.status)
			}
		})
	}
}

func TestControl_ListsMessagesAsJSON(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, text := s.do(t, http.MethodGet, "/api/messages", nil, nil)
	if strings.TrimSpace(text) != "[]" {
		t.Errorf("empty list = %s", text)
	}
	s.accept(t, "ada+a@example.net", "c.1.a")
	id := s.accept(t, "bob@example.net", "c.2.a")
	got, text := s.do(t, http.MethodGet, "/api/messages?to=bob%40example.net", nil, nil)
	var list []map[string]any
	err := json.Unmarshal([]byte(text), &list)
	if err != nil || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("list = %s (%v), headers %v", text, err, got.Header)
	}
	want := []map[string]any{{
		"id": id + ".0", "channel": "email", "to": "bob@example.net", "from": "login@auth.example.com",
		"subject": "Your Example code <b>", "text": "123456 is your code.\n", "html": "<p>123456 & more</p>",
		"received_at": "2026-03-02T12:00:00Z",
	}}
	diff := cmp.Diff(want, list)
	if diff != "" {
		t.Errorf("list differs (-want +got):\n%s", diff)
	}
	_, text = s.do(t, http.MethodGet, "/api/messages?to=ada%2Ba@example.net", nil, nil)
	if !strings.Contains(text, "ada+a@example.net") {
		t.Errorf("list of an address with a plus = %s", text)
	}
	got, _ = s.do(t, http.MethodDelete, "/api/messages", nil, nil)
	if got.StatusCode != http.StatusNoContent || len(s.Messages("")) != 0 {
		t.Errorf("delete = %d with %d left", got.StatusCode, len(s.Messages("")))
	}
}
