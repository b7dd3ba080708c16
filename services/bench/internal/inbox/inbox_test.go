package inbox

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"doorcode/pkg/config"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/sendgrid"
)

const text = "Your code for Acme\n\n012345\n\nIt is for the page that shows BCD and 12345678901.\n"

// send posts a request and returns the answer's status and id.
func send(t *testing.T, b *Inbox, method, path, body string) (status int, id string) {
	t.Helper()
	w := httptest.NewRecorder()
	b.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, bytes.NewBufferString(body)))
	return w.Code, w.Header().Get("X-Message-Id")
}

// body is a request to somebody with a text.
func body(to, text string) string {
	return `{"from":{"email":"sign-in@acme.example"},"personalizations":[{"to":[{"email":"` + to + `"}]}],
		"content":[{"type":"text/plain","value":"` + text + `"},{"type":"text/html","value":"<b>999999</b>"}]}`
}

func TestInbox_HandsTheCodeToWhoWaits(t *testing.T) {
	t.Parallel()
	b := New([]string{"kim@acme.example", "lee@acme.example"})
	status, id := send(t, b, http.MethodPost, "/v3/mail/send", body("kim@acme.example", `Hello\n\n 123456 \n\nBye 654321`))
	if status != http.StatusAccepted || id == "" {
		t.Errorf("answer %d, id %q", status, id)
	}
	a := <-b.Arrivals("kim@acme.example")
	if a.Code != "123456" || a.At.IsZero() {
		t.Errorf("arrived %+v", a)
	}
	select {
	case a = <-b.Arrivals("lee@acme.example"):
		t.Errorf("somebody else got %+v", a)
	default:
	}
	if want := (Count{Arrived: 1}); b.Count() != want {
		t.Errorf("%+v, not %+v", b.Count(), want)
	}
}

func TestInbox_CountsWhatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	b := New([]string{"kim@acme.example"})
	for _, request := range []string{
		body("kim@acme.example", `\n111111\n`), body("kim@acme.example", `\n222222\n`), body("eve@acme.example", `\n333333\n`),
	} {
		status, _ := send(t, b, http.MethodPost, "/v3/mail/send", request)
		if status != http.StatusAccepted {
			t.Errorf("answer %d", status)
		}
	}
	if want := (Count{Arrived: 3, Unwanted: 2}); b.Count() != want {
		t.Errorf("%+v, not %+v", b.Count(), want)
	}
	b.Empty("kim@acme.example")
	b.Empty("kim@acme.example")
	select {
	case a := <-b.Arrivals("kim@acme.example"):
		t.Errorf("still there: %+v", a)
	default:
	}
}

func TestInbox_RefusesWhatIsNoMessage(t *testing.T) {
	t.Parallel()
	b := New(nil)
	for _, bad := range []string{"", "{", `{}`, `{"personalizations":[{"to":[]}]}`, body("", `\n123456\n`), body("kim@acme.example", `no code`)} {
		status, _ := send(t, b, http.MethodPost, "/v3/mail/send", bad)
		if status != http.StatusBadRequest {
			t.Errorf("%s is answered %d", bad, status)
		}
	}
	for _, other := range [][2]string{{http.MethodGet, "/v3/mail/send"}, {http.MethodPost, "/v3/other"}} {
		status, _ := send(t, b, other[0], other[1], "")
		if status != http.StatusNotFound {
			t.Errorf("%v is answered %d", other, status)
		}
	}
	if want := (Count{Malformed: 6}); b.Count() != want {
		t.Errorf("%+v, not %+v", b.Count(), want)
	}
}

func TestRead_ReadsTextsAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, recipient, code string }{
		{body("kim@acme.example", `say \"\n123456\n\" \\\\`), "kim@acme.example", "123456"},
		{body("kim@acme.example", `\n123456`) + "trailing", "kim@acme.example", "123456"},
		{`{"to":[{"name":"Kim","email":"kim@acme.example"}],"type":"text/plain","value":"1234567\\`, "kim@acme.example", ""},
		{`{"to":[{"email":"kim@acme.example`, "", ""},
		{`"type":"text/plain","value":"123456"`, "", ""},
	} {
		recipient, code := read([]byte(c.body))
		if recipient != c.recipient || code != c.code {
			t.Errorf("%s: %q and %q", c.body, recipient, code)
		}
	}
}

func TestFind_TakesALineOfDigitsAlone(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		text: "012345", "1234567890": "1234567890", "12345": "", "12345678901": "", "code 123456": "", "": "", "12345a\n234567\r\n345678": "234567",
	} {
		if got := find(given); got != want {
			t.Errorf("%q has the code %q, not %q", given, got, want)
		}
	}
}

// What the real adapter sends is understood, and it understands the answer.
func TestInbox_ServesTheAdapter(t *testing.T) {
	t.Parallel()
	b := New([]string{"kim@acme.example"})
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	client, err := sendgrid.New(sendgrid.Config{
		BaseURL: server.URL, Key: config.NewSecret("SG.bench"), From: "sign-in@acme.example", FromName: "Acme", MaxConns: 1, Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := client.Send(t.Context(), provider.Message{
		Reference: "c.1.a", Recipient: "kim@acme.example", Subject: "Code", Text: text, HTML: "<b>012345</b>", NotAfter: time.Now().Add(time.Minute),
	})
	if err != nil || accepted.ProviderID == "" {
		t.Fatalf("%+v, %v", accepted, err)
	}
	if a := <-b.Arrivals("kim@acme.example"); a.Code != "012345" {
		t.Errorf("arrived %+v", a)
	}
}
