package sandbox

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doorcode/pkg/delivery"
)

func TestSendGrid_StoresAnAcceptedMailExactly(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.accept(t, "ada@example.net", "c.1.a")
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`).MatchString(id) {
		t.Errorf("X-Message-Id = %q, want 22 base64url characters", id)
	}
	want := []Message{{
		ID: id + ".0", Channel: delivery.Email, To: "ada@example.net",
		From: "login@auth.example.com", FromName: "Example",
		Subject: "Your Example code <b>", Text: "123456 is your code.\n", HTML: "<p>123456 & more</p>",
		ReceivedAt: noon(), ProviderID: id,
		Headers:    map[string]string{"Auto-Submitted": "auto-generated"},
		CustomArgs: map[string]string{"dlv": "c.1.a"}, Categories: []string{"otp"},
	}}
	got := s.Messages("ADA@example.net")
	diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Message{}, "Request"))
	if diff != "" {
		t.Errorf("messages differ (-want +got):\n%s", diff)
	}
	if !bytes.Contains(got[0].Request, []byte(`"click_tracking":{"enable":false`)) {
		t.Error("the request is not kept as it came")
	}
}

func TestSendGrid_AnswersAnAcceptanceLikeTheCapture(t *testing.T) {
	t.Parallel()
	s := start(t)
	got, err := s.send(t.Context(), DefaultSendGridKey, code("ada@example.net", "c.1.a"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Server": "nginx", "Content-Type": "text/plain; charset=utf-8", "Content-Length": "0",
		"X-Frame-Options": "DENY", "Connection": "keep-alive",
	} {
		if value := http.Header(got.Headers).Get(name); value != want {
			t.Errorf("%s = %q, want %q", name, value, want)
		}
	}
	if got.Body != "" || http.Header(got.Headers).Get("Date") == "" {
		t.Errorf("body = %q, Date = %q", got.Body, got.Headers["Date"])
	}
}

func TestSendGrid_RefusesInTheProvidersWords(t *testing.T) {
	t.Parallel()
	key := "Bearer " + DefaultSendGridKey
	valid := `{"from":{"email":"a@example.com"},"subject":"s","personalizations":[{"to":[{"email":"b@example.com"}]}],"content":[{"type":"text/plain","value":"v"}]}`
	unauthorized := `{"errors":[{"message":"The provided authorization grant is invalid, expired, or revoked","field":null,"help":null}]}`
	badRequest := `{"errors":[{"message":"Bad Request","field":null,"help":null}]}`
	for name, row := range map[string]struct {
		method, path, key, media, body string
		status                         int
		want                           string
	}{
		"no key":             {"POST", mailPath, "", "application/json", valid, 401, unauthorized},
		"wrong key":          {"POST", mailPath, "Bearer SG.other", "application/json", valid, 401, unauthorized},
		"other scheme":       {"POST", mailPath, "Basic " + DefaultSendGridKey, "application/json", valid, 401, unauthorized},
		"key comes first":    {"POST", mailPath, "", "text/plain", "{", 401, unauthorized},
		"form":               {"POST", mailPath, key, "application/x-www-form-urlencoded", valid, 415, `{"errors":[{"message":"Content-Type should be application/json.","field":null,"help":null}]}`},
		"no media type":      {"POST", mailPath, key, "", valid, 415, `{"errors":[{"message":"Content-Type should be application/json.","field":null,"help":null}]}`},
		"get":                {"GET", mailPath, key, "", "", 405, `{"errors":[{"field":null,"message":"method not allowed"}]}`},
		"unknown path":       {"POST", "/v3/mail/sent", key, "application/json", valid, 404, `{"errors":[{"field":null,"message":"not found"}]}`},
		"empty body":         {"POST", mailPath, key, "application/json", "", 400, badRequest},
		"no JSON":            {"POST", mailPath, key, "application/json", "{", 400, badRequest},
		"two objects":        {"POST", mailPath, key, "application/json", valid + valid, 400, badRequest},
		"list":               {"POST", mailPath, key, "application/json", "[" + valid + "]", 400, badRequest},
		"unknown key":        {"POST", mailPath, key, "application/json", strings.Replace(valid, "{", `{"urgent":true,`, 1), 400, badRequest},
		"unknown inner key":  {"POST", mailPath, key, "application/json", strings.Replace(valid, `"value"`, `"charset":"utf-8","value"`, 1), 400, badRequest},
		"other letter case":  {"POST", mailPath, key, "application/json", strings.Replace(valid, "subject", "Subject", 1), 400, badRequest},
		"number as string":   {"POST", mailPath, key, "application/json", strings.Replace(valid, "{", `{"send_at":"1",`, 1), 400, badRequest},
		"custom arg number":  {"POST", mailPath, key, "application/json", strings.Replace(valid, "{", `{"custom_args":{"n":1},`, 1), 400, badRequest},
		"string as boolean":  {"POST", mailPath, key, "application/json", strings.Replace(valid, "{", `{"mail_settings":{"sandbox_mode":{"enable":"true"}},`, 1), 400, badRequest},
		"setting's own keys": {"POST", mailPath, key, "application/json", strings.Replace(valid, "{", `{"tracking_settings":{"click_tracking":{"text":"x"}},`, 1), 400, badRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			header := map[string]string{"Authorization": row.key, "Content-Type": row.media}
			got, body := s.do(t, row.method, row.path, strings.NewReader(row.body), header)
			if got.StatusCode != row.status || body != row.want {
				t.Errorf("answer = %d %s\nwant %d %s", got.StatusCode, body, row.status, row.want)
			}
			if got.Header.Get("Content-Type") != "application/json" || !got.Close {
				t.Errorf("headers = %v, want JSON and a close", got.Header)
			}
			if s.Count() != 0 {
				t.Error("a refused mail was stored")
			}
		})
	}
}

func TestSendGrid_SandboxModeStoresNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	m := code("ada@example.net", "c.1.a")
	m.MailSettings.SetSandboxMode(m.MailSettings.BypassUnsubscribeManagement) // any setting that is on
	got, err := s.send(t.Context(), DefaultSendGridKey, m)
	if err != nil || got.StatusCode != http.StatusOK || got.Body != "" {
		t.Fatalf("send = %v, %v; want an empty 200", got, err)
	}
	if s.Count() != 0 || http.Header(got.Headers).Get("X-Message-Id") != "" {
		t.Error("a mail in sandbox mode was queued")
	}
}

func TestSendGrid_TakesAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	s := New(Config{SendGridKey: "SG.other"})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, mailPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer SG.other")
	if !s.authorized(r) {
		t.Error("its own key was refused")
	}
	r.Header.Set("Authorization", "Bearer "+DefaultSendGridKey)
	if s.authorized(r) {
		t.Error("the default key was accepted beside its own")
	}
}

func TestSendGrid_TakesACompressedBody(t *testing.T) {
	t.Parallel()
	s := start(t)
	request := codeBody("ada@example.net", "c.1.a")
	got, body := s.post(t, compressed(t, request), map[string]string{"Content-Encoding": "gzip"})
	if got.StatusCode != http.StatusAccepted {
		t.Fatalf("answer = %d %s, want 202", got.StatusCode, body)
	}
	if stored := s.Messages(""); !bytes.Equal(stored[0].Request, request) {
		t.Error("the stored request is not the decompressed one")
	}
	got, _ = s.post(t, request, map[string]string{"Content-Encoding": "gzip"})
	if got.StatusCode != http.StatusBadRequest {
		t.Errorf("a body that is not compressed = %d, want 400", got.StatusCode)
	}
}

func TestSendGrid_RefusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	s := start(t)
	body := bytes.Repeat([]byte(" "), maxMail+1)
	got, text := s.post(t, compressed(t, body), map[string]string{"Content-Encoding": "gzip"})
	if got.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(text, "too large") {
		t.Errorf("after decompression = %d %s, want 413", got.StatusCode, text)
	}
	got, _ = s.post(t, body, nil)
	if got.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("plain = %d, want 413", got.StatusCode)
	}
}

func compressed(t *testing.T, body []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(body)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func TestSendGrid_IgnoresTheOrderOfKeys(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, body := range []string{
		`{"subject":"s","from":{"name":"N","email":"a@example.com"},"content":[{"type":"text/plain","value":"v"}],"personalizations":[{"to":[{"email":"b@example.com","name":"B"}]}]}`,
		`{"personalizations":[{"to":[{"name":"B","email":"b@example.com"}]}],"content":[{"value":"v","type":"text/plain"}],"from":{"email":"a@example.com","name":"N"},"subject":"s"}`,
	} {
		got, text := s.post(t, []byte(body), map[string]string{"Content-Type": "application/json; charset=utf-8"})
		if got.StatusCode != http.StatusAccepted {
			t.Fatalf("answer = %d %s, want 202", got.StatusCode, text)
		}
	}
	stored := s.Messages("b@example.com")
	diff := cmp.Diff(stored[0], stored[1], cmpopts.IgnoreFields(Message{}, "ID", "ProviderID", "Request"))
	if diff != "" || stored[0].ToName != "B" {
		t.Errorf("the two differ:\n%s", diff)
	}
}

func TestSendGrid_MergesWhatARecipientHasOfItsOwn(t *testing.T) {
	t.Parallel()
	s := start(t)
	body := plain()
	body["custom_args"] = object{"dlv": "shared", "att": "1"}
	body["headers"] = object{"X-One": "1"}
	body["categories"] = []any{"otp"}
	body["personalizations"] = []any{
		object{
			"to": []any{object{"email": "ada@example.net"}}, "cc": []any{object{"email": "bob@example.net"}},
			"bcc": []any{object{"email": "cy@example.net"}}, "subject": "Own", "custom_args": object{"dlv": "own"},
			"headers": object{"X-Two": "2"}, "categories": []any{"more"}, "from": object{"email": "other@example.com"},
		},
		object{"to": []any{object{"email": "dan@example.net"}}},
	}
	got, text := s.post(t, encoded(t, body), nil)
	if got.StatusCode != http.StatusAccepted {
		t.Fatalf("answer = %d %s, want 202", got.StatusCode, text)
	}
	own, shared := s.Messages("cy@example.net"), s.Messages("dan@example.net")
	if len(own) != 1 || len(shared) != 1 || s.Count() != 4 {
		t.Fatalf("stored %d messages, want one for each of 4 recipients", s.Count())
	}
	want := Message{
		Channel: delivery.Email, To: "cy@example.net", From: "other@example.com", Subject: "Own", Text: "Hello, Ada.",
		ReceivedAt: noon(), Headers: map[string]string{"X-One": "1", "X-Two": "2"},
		CustomArgs: map[string]string{"dlv": "own", "att": "1"}, Categories: []string{"otp", "more"},
	}
	diff := cmp.Diff(want, own[0], cmpopts.IgnoreFields(Message{}, "ID", "ProviderID", "Request"))
	if diff != "" {
		t.Errorf("own differs (-want +got):\n%s", diff)
	}
	if shared[0].Subject != "Hello" || shared[0].CustomArgs["dlv"] != "shared" || shared[0].ID != own[0].ProviderID+".3" {
		t.Errorf("shared = %+v", shared[0])
	}
}

func TestSendGrid_KeepsParallelSendsApart(t *testing.T) {
	t.Parallel()
	s := start(t)
	const senders, each = 16, 10
	var group sync.WaitGroup
	for i := range senders {
		group.Go(func() {
			for j := range each {
				reference := fmt.Sprintf("c%d.1.%d", i, j)
				got, err := s.send(t.Context(), DefaultSendGridKey, code(fmt.Sprintf("u%d@example.net", i), reference))
				if err != nil || got.StatusCode != http.StatusAccepted {
					t.Errorf("send = %v, %v", got, err)
				}
			}
		})
	}
	group.Wait()
	seen := s.References()
	if len(seen) != senders*each || s.Count() != senders*each {
		t.Fatalf("references = %d, count = %d, want %d", len(seen), s.Count(), senders*each)
	}
	for reference, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", reference, n)
		}
	}
	ids := map[string]bool{}
	for _, m := range s.Messages("") {
		ids[m.ID] = true
		if !strings.HasPrefix(m.CustomArgs["dlv"], "c"+strings.TrimSuffix(strings.TrimPrefix(m.To, "u"), "@example.net")+".") {
			t.Errorf("%s got the mail of %s", m.To, m.CustomArgs["dlv"])
		}
	}
	if len(ids) != senders*each {
		t.Errorf("%d different ids, want %d", len(ids), senders*each)
	}
}
