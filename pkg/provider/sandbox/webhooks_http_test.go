package sandbox

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// admin calls an endpoint of the event webhooks with the right key.
func (s *server) admin(t *testing.T, method, path, body string) (int, object) {
	t.Helper()
	got, text := s.do(t, method, path, strings.NewReader(body), map[string]string{"Authorization": "Bearer " + DefaultSendGridKey})
	if text == "" {
		return got.StatusCode, nil
	}
	var document object
	err := json.Unmarshal([]byte(text), &document)
	if err != nil {
		t.Fatalf("%s %s = %d %s", method, path, got.StatusCode, text)
	}
	return got.StatusCode, document
}

// made makes a webhook that must be accepted, and returns its id.
func (s *server) made(t *testing.T, body string) string {
	t.Helper()
	status, document := s.admin(t, http.MethodPost, settingsPath, body)
	id, _ := document["id"].(string)
	if status != http.StatusCreated || id == "" {
		t.Fatalf("make = %d %v, want 201", status, document)
	}
	return id
}

func TestWebhooks_AreMadeShownChangedAndDeleted(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.made(t, `{"enabled":true,"url":"http://127.0.0.1:1/a","delivered":true,"bounce":true,"friendly_name":"first"}`)
	want := object{
		"id": id, "enabled": true, "url": "http://127.0.0.1:1/a", "delivered": true, "bounce": true, "friendly_name": "first",
		"account_status_change": false, "group_resubscribe": false, "group_unsubscribe": false, "spam_report": false, "deferred": false,
		"unsubscribe": false, "processed": false, "open": false, "click": false, "dropped": false,
		"created_date": "2026-03-02T12:00:00Z", "updated_date": "2026-03-02T12:00:00Z",
	}
	for _, path := range []string{settingsPath, settingsPath + "/" + id} {
		status, got := s.admin(t, http.MethodGet, path, "")
		diff := cmp.Diff(want, got)
		if status != http.StatusOK || diff != "" {
			t.Errorf("GET %s = %d, differs (-want +got):\n%s", path, status, diff)
		}
	}
	status, got := s.admin(t, http.MethodPatch, settingsPath+"/"+id, `{"delivered":false,"url":"https://example.com/b"}`)
	if status != http.StatusOK || got["delivered"] != false || got["url"] != "https://example.com/b" || got["bounce"] != true {
		t.Errorf("PATCH = %d %v", status, got)
	}
	other := s.made(t, `{"url":"http://127.0.0.1:1/c"}`)
	status, got = s.admin(t, http.MethodGet, settingsPath+"/all", "")
	list, _ := got["webhooks"].([]any)
	if status != http.StatusOK || got["max_allowed"] != 5.0 || len(list) != 2 || other == id {
		t.Errorf("all = %d %v", status, got)
	}
	status, _ = s.admin(t, http.MethodDelete, settingsPath+"/"+id, "")
	if status != http.StatusNoContent {
		t.Errorf("DELETE = %d", status)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete, http.MethodPatch} {
		status, _ = s.admin(t, method, settingsPath+"/"+id, `{}`)
		if status != http.StatusNotFound {
			t.Errorf("%s of a deleted one = %d", method, status)
		}
	}
}

func TestWebhooks_ShowAnEmptyList(t *testing.T) {
	t.Parallel()
	s := start(t)
	status, got := s.admin(t, http.MethodGet, settingsPath+"/all", "")
	diff := cmp.Diff(object{"max_allowed": 5.0, "webhooks": []any{}}, got)
	if status != http.StatusOK || diff != "" {
		t.Errorf("all = %d, differs (-want +got):\n%s", status, diff)
	}
}

func TestWebhooks_AreFiveAtMost(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range maxWebhooks {
		s.made(t, `{"url":"http://127.0.0.1:1/"}`)
	}
	status, _ := s.admin(t, http.MethodPost, settingsPath, `{"url":"http://127.0.0.1:1/"}`)
	_, _, err := s.EventWebhook("http://127.0.0.1:1/")
	if status != http.StatusBadRequest || err == nil {
		t.Errorf("the sixth = %d, %v", status, err)
	}
	_, _, err = s.EventWebhook("nowhere")
	if err == nil {
		t.Error("a webhook without an address")
	}
}

func TestWebhooks_RefuseWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.made(t, `{"url":"http://127.0.0.1:1/"}`)
	for _, row := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", settingsPath, `{}`, 400},
		{"POST", settingsPath, `{"url":"nowhere"}`, 400},
		{"POST", settingsPath, `{"url":"http://127.0.0.1/","oauth_client_id":"x"}`, 400},
		{"POST", settingsPath, `not JSON`, 400},
		{"POST", settingsPath, `{"friendly_name":"` + strings.Repeat("x", maxSettings) + `"}`, 413},
		{"PATCH", settingsPath + "/" + id, `{"url":""}`, 400},
		{"POST", settingsPath + "/" + id, `{}`, 405},
		{"DELETE", settingsPath, ``, 405},
		{"GET", settingsPath + "/", ``, 404},
		{"GET", settingsPath + "/a/b", ``, 404},
		{"GET", settingsPath + "x", ``, 404},
		{"GET", signedPath + "/nobody", ``, 404},
		{"POST", signedPath, ``, 405},
		{"PATCH", signedPath, `{}`, 400},
		{"PATCH", signedPath + "/nobody", `{"enabled":true}`, 404},
		{"GET", hookTestPath, ``, 405},
		{"POST", hookTestPath, `{"id":"nobody"}`, 404},
		{"POST", hookTestPath, `{"url":"nowhere"}`, 400},
	} {
		status, document := s.admin(t, row.method, row.path, row.body)
		list, _ := document["errors"].([]any)
		if status != row.status || len(list) == 0 {
			t.Errorf("%s %s %.40s = %d %v, want %d and errors", row.method, row.path, row.body, status, document, row.status)
		}
	}
	got, _ := s.do(t, http.MethodGet, settingsPath, nil, map[string]string{"Authorization": "Bearer wrong"})
	if got.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the key = %d", got.StatusCode)
	}
}

func TestWebhooks_SignWithANewKeyEachTimeItIsEnabled(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := start(t)
	id := s.made(t, `{"enabled":true,"url":"`+h.url+`","delivered":true}`)
	sign := func(body string) string {
		status, document := s.admin(t, http.MethodPatch, signedPath+"/"+id, body)
		key, is := document["public_key"].(string)
		if status != http.StatusOK || !is || document["id"] != id {
			t.Fatalf("sign = %d %v", status, document)
		}
		return key
	}
	first := sign(`{"enabled":true}`)
	second := sign(`{"enabled":true}`)
	status, document := s.admin(t, http.MethodGet, signedPath, "")
	if first == second || status != http.StatusOK || document["public_key"] != second {
		t.Errorf("keys %s and %s, shown %v", first, second, document)
	}
	s.accept(t, "ada@example.net", "c.1.a")
	s.flush(t)
	if p := h.got()[0]; verified(t, first, p) || !verified(t, second, p) {
		t.Error("the post is not signed with the newest key")
	}
	if gone := sign(`{"enabled":false}`); gone != "" {
		t.Errorf("disabled, the key is %s", gone)
	}
	s.accept(t, "ada@example.net", "c.1.b")
	s.flush(t)
	if p := h.got()[1]; p.Header.Get(signatureHeader) != "" || p.Header.Get(timestampHeader) != "" {
		t.Error("the post is signed without a key")
	}
}

func TestWebhooks_AreToldWhatTheyWant(t *testing.T) {
	t.Parallel()
	all, some, off := receive(t, nil), receive(t, nil), receive(t, nil)
	s := start(t)
	key := s.hooked(t, all)
	s.made(t, `{"enabled":true,"url":"`+some.url+`","bounce":true}`)
	s.made(t, `{"enabled":false,"url":"`+off.url+`","bounce":true}`)
	s.accept(t, "ada+bounce@example.net", "c.1.a")
	s.flush(t)
	diff := cmp.Diff([][]string{{"processed", "bounce"}, {"bounce"}, nil}, [][]string{all.kinds(t), some.kinds(t), off.kinds(t)})
	if diff != "" || !verified(t, key, all.got()[0]) || some.got()[0].Header.Get(signatureHeader) != "" {
		t.Errorf("kinds differ (-want +got):\n%s", diff)
	}
}

func TestWebhooks_LoseWhatWaitsWhenTheyGo(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := start(t)
	id := s.made(t, `{"enabled":true,"url":"`+h.url+`","delivered":true}`)
	s.accept(t, "ada@example.net", "c.1.a")
	s.admin(t, http.MethodDelete, settingsPath+"/"+id, "")
	err := s.Flush(t.Context())
	if err == nil || len(h.got()) != 0 || s.WebhookCounts() != (WebhookCounts{Lost: 1}) {
		t.Errorf("flush = %v, %d posts, %+v", err, len(h.got()), s.WebhookCounts())
	}
}

func TestWebhooks_PostATest(t *testing.T) {
	t.Parallel()
	h, other := receive(t, nil), receive(t, nil)
	s := start(t)
	key := s.hooked(t, h)
	for _, body := range []string{`{}`, `{"url":"` + other.url + `"}`} {
		status, _ := s.admin(t, http.MethodPost, hookTestPath, body)
		if status != http.StatusNoContent {
			t.Errorf("test = %d", status)
		}
	}
	s.flush(t)
	want := []string{"processed", "deferred", "delivered", "bounce", "dropped", "spamreport"}
	diff := cmp.Diff([][]string{want, want}, [][]string{h.kinds(t), other.kinds(t)})
	if diff != "" || !verified(t, key, h.got()[0]) || !verified(t, key, other.got()[0]) {
		t.Errorf("kinds differ (-want +got):\n%s", diff)
	}
}
