package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sendgrid/rest"
	"github.com/sendgrid/sendgrid-go"
	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"
)

// viaSDK calls an endpoint with the unmodified client of the provider.
func (s *server) viaSDK(t *testing.T, method rest.Method, path string, body []byte) object {
	t.Helper()
	request := sendgrid.GetRequest(DefaultSendGridKey, path, s.url)
	request.Method, request.Body = method, body
	got, err := (&rest.Client{HTTPClient: s.client}).SendWithContext(t.Context(), request)
	if err != nil || got.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("%s %s = %+v, %v", method, path, got, err)
	}
	if got.Body == "" {
		return nil
	}
	var document object
	err = json.Unmarshal([]byte(got.Body), &document)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// TestWebhooks_TakeTheUnmodifiedClient sets a webhook up as an integrator does:
// by the provider's client, whose own code then verifies what comes.
func TestWebhooks_TakeTheUnmodifiedClient(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := start(t)
	hook := s.viaSDK(t, rest.Post, settingsPath, []byte(`{"enabled":true,"url":"`+h.url+`","processed":true,"delivered":true,"bounce":true,"dropped":true,"deferred":true}`))
	id, _ := hook["id"].(string)
	settings := eventwebhook.NewSettings()
	settings.SetEnableSignedWebhook(true)
	body, err := eventwebhook.GetRequestBody(settings)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := s.viaSDK(t, rest.Patch, signedPath+"/"+id, body)["public_key"].(string)
	if again := s.viaSDK(t, rest.Get, signedPath+"/"+id, nil); again["public_key"] != key || key == "" {
		t.Errorf("the key is shown as %v, was %s", again, key)
	}
	s.viaSDK(t, rest.Post, hookTestPath, []byte(`{"id":"`+id+`"}`))
	s.accept(t, "ada@example.net", "c.1.a")
	s.accept(t, "bob+bounce@example.net", "c.2.a")
	s.flush(t)
	for _, p := range h.got() {
		if !verified(t, key, p) {
			t.Errorf("post %.60s is not signed", p.Body)
		}
	}
	if n := len(h.kinds(t)); n != 6+4 {
		t.Errorf("%d events, want 10", n)
	}
	s.viaSDK(t, rest.Delete, settingsPath+"/"+id, nil)
	if list := s.viaSDK(t, rest.Get, settingsPath+"/all", nil); len(list["webhooks"].([]any)) != 0 {
		t.Errorf("list = %v", list)
	}
}

func TestWebhooks_FindTheOldestWithoutAnID(t *testing.T) {
	t.Parallel()
	h := &webhooks{}
	_, found := h.find("")
	_, changed := h.change("", func(*webhook) { t.Error("nothing to change") })
	if found || changed || h.remove("a") {
		t.Error("an empty list has a webhook")
	}
	for _, id := range []string{"a", "b"} {
		h.add(webhook{ID: id})
	}
	oldest, _ := h.find("")
	second, _ := h.find("b")
	edited, _ := h.change("b", func(w *webhook) { w.Enabled = true })
	if oldest.ID != "a" || second.ID != "b" || !edited.Enabled || len(h.enabled()) != 1 || h.enabled()[0].ID != "b" || len(h.all()) != 2 {
		t.Errorf("oldest %+v, second %+v, edited %+v", oldest, second, edited)
	}
	if !h.remove("a") || h.remove("a") || len(h.all()) != 1 {
		t.Error("the wrong one was removed")
	}
}

func TestWebhooks_WantWhatIsSwitchedOn(t *testing.T) {
	t.Parallel()
	for kind, on := range map[string]webhookSettings{
		"processed": {Processed: true}, "dropped": {Dropped: true}, "delivered": {Delivered: true},
		"deferred": {Deferred: true}, "bounce": {Bounce: true}, "spamreport": {SpamReport: true},
	} {
		for _, asked := range []string{"processed", "dropped", "delivered", "deferred", "bounce", "spamreport", "open"} {
			if got := (webhook{webhookSettings: on}).wants(asked); got != (asked == kind) {
				t.Errorf("with %s, %s = %v", kind, asked, got)
			}
		}
	}
}

// TestWebhooks_PostAThousandEventsAtOnce proves that a flood comes whole, in
// batches that keep to the size.
func TestWebhooks_PostAThousandEventsAtOnce(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 10_000, DefaultBatchBytes} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			h := receive(t, nil)
			s := startWith(t, Config{BatchBytes: limit, BatchLayout: BeforeComma})
			key := s.hooked(t, h)
			m := plain()
			var people []any
			for i := range 500 {
				people = append(people, object{"email": fmt.Sprintf("p%d@example.net", i)})
			}
			first(m)["to"] = people
			got, text := s.post(t, encoded(t, m), nil)
			if got.StatusCode != http.StatusAccepted {
				t.Fatalf("answer = %d %s", got.StatusCode, text)
			}
			s.flush(t)
			posts := h.got()
			for _, p := range posts {
				if (limit > 1 && len(p.Body) > limit) || !verified(t, key, p) {
					t.Errorf("a batch of %d bytes", len(p.Body))
				}
			}
			seen := map[string]int{}
			for _, e := range h.events(t) {
				seen[fmt.Sprint(e["email"], e["event"])]++
			}
			if len(seen) != 1_000 || len(h.events(t)) != 1_000 {
				t.Errorf("%d events of %d kinds", len(h.events(t)), len(seen))
			}
			fewest := map[int]int{1: 1_000, 10_000: 20, DefaultBatchBytes: 1}[limit]
			if len(posts) < fewest || (limit != 10_000 && len(posts) != fewest) {
				t.Errorf("%d posts, want %d", len(posts), fewest)
			}
		})
	}
}

func TestWebhooks_AreSafeForManyHands(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := start(t)
	s.Start(t.Context())
	s.hooked(t, h)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { s.accept(t, "ada@example.net", "c.1.a") })
		group.Go(func() { _ = s.Flush(t.Context()) })
		group.Go(func() { _ = s.AddWebhookFault(Duplicate, 1) })
		group.Go(func() { s.admin(t, http.MethodGet, settingsPath+"/all", "") })
		group.Go(func() { s.page(t, "/_sandbox", http.StatusOK) })
	}
	group.Wait()
	s.flush(t)
	waitFor(t, "all events", func() bool {
		ids := map[any]bool{}
		for _, e := range h.events(t) {
			ids[e["sg_event_id"]] = true
		}
		return len(ids) == 8
	})
}

func TestWebhooks_PostToTheAddressOfNow(t *testing.T) {
	t.Parallel()
	old, moved := receive(t, nil), receive(t, nil)
	s := start(t)
	id := s.made(t, `{"enabled":true,"url":"`+old.url+`","delivered":true}`)
	s.accept(t, "ada@example.net", "c.1.a")
	s.admin(t, http.MethodPatch, settingsPath+"/"+id, `{"url":"`+moved.url+`"}`)
	s.flush(t)
	if len(old.got()) != 0 || len(moved.got()) != 1 {
		t.Errorf("old got %d, new got %d", len(old.got()), len(moved.got()))
	}
}

// FuzzSettings proves that no body breaks the endpoints, and that what is
// accepted is shown as it was meant.
func FuzzSettings(f *testing.F) {
	for _, seed := range []string{
		`{"url":"http://127.0.0.1/"}`, `{"enabled":true,"url":"https://a","bounce":true}`, `{}`, `[]`, `null`, `{"url":1}`, `{"url":"a","url":"b"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s := New(Config{Clock: noon, Seed: "a"})
		made := s.routeSettings(http.MethodPost, "", []byte(body))
		if made.status != http.StatusCreated {
			if made.status != http.StatusBadRequest || !strings.Contains(string(made.body), "errors") || len(s.hooks.all()) != 0 {
				t.Errorf("refused with %d %s", made.status, made.body)
			}
			return
		}
		shown := s.routeSettings(http.MethodGet, s.hooks.all()[0].ID, nil)
		diff := cmp.Diff(string(made.body), string(shown.body))
		if diff != "" || !webAddress(s.hooks.all()[0].URL) {
			t.Errorf("shown otherwise (-made +shown):\n%s", diff)
		}
	})
}
