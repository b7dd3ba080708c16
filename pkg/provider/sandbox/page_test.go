package sandbox

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// page loads a page and returns it with the answer.
func (s *server) page(t *testing.T, path string, status int) (http.Header, string) {
	t.Helper()
	got, text := s.do(t, http.MethodGet, path, nil, nil)
	if got.StatusCode != status || got.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%s = %d %s, want %d and a page", path, got.StatusCode, got.Header.Get("Content-Type"), status)
	}
	return got.Header, text
}

// holds fails for every text that the page lacks.
func holds(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q:\n%s", text, page)
		}
	}
}

// lacks fails for every text that the page holds.
func lacks(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(page, text) {
			t.Errorf("the page holds %q", text)
		}
	}
}

func TestPage_SaysWhatToDoWhenEmpty(t *testing.T) {
	t.Parallel()
	s := start(t)
	header, text := s.page(t, "/", http.StatusOK)
	holds(t, text, "No message yet", "Sign in at your login page", `http-equiv="refresh" content="2"`, "0 messages")
	lacks(t, text, "<script", "<ol>", "<iframe")
	if header.Get("Content-Security-Policy") != pagePolicy || header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers = %v", header)
	}
	_, text = s.page(t, "/?to=ada@example.net", http.StatusOK)
	holds(t, text, "Nothing for ada@example.net yet", `href="/">Show all`)
}

func TestPage_ShowsTheNewestMessage(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.accept(t, "ada@example.net", "c.1.a")
	id := s.accept(t, "bob@example.net", "c.2.a")
	_, text := s.page(t, "/", http.StatusOK)
	holds(t, text, "2 messages", "<b>Example</b>", "bob@example.net", "Monday, 2 January 2006"[:6], "12:00:00",
		"Your Example code &lt;b&gt;</h2>", "<pre>123456 is your code.\n</pre>", `http-equiv="refresh" content="5"`,
		`<iframe src="/messages/`+id+`.0/html" sandbox`, `href="/messages/`+id+`.0" aria-current="true"`)
	if strings.Count(text, "<li>") != 2 {
		t.Error("the list does not have both messages")
	}
}

func TestPage_OpensOneMessageAndStays(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.accept(t, "ada@example.net", "c.1.a")
	s.accept(t, "bob@example.net", "c.2.a")
	_, text := s.page(t, "/messages/"+id+".0?to=ada@example.net", http.StatusOK)
	holds(t, text, `class="address">ada@example.net`, "1 message<", `value="ada@example.net"`, "?to=ada%40example.net")
	lacks(t, text, "http-equiv", "bob@example.net")
}

func TestPage_SaysThatAMessageIsGone(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, text := s.page(t, "/messages/none", http.StatusNotFound)
	holds(t, text, "This message is gone")
	got, body := s.do(t, http.MethodGet, "/messages/none/html", nil, nil)
	if got.StatusCode != http.StatusNotFound || body != "" {
		t.Errorf("frame = %d %q, want an empty 404", got.StatusCode, body)
	}
}

// hostile is a mail that tries to run a script in every place that it fills.
func hostile() object {
	const attack = `"><script>alert(1)</script>`
	m := plain()
	m["subject"] = attack + "</title>"
	m["from"] = object{"email": "login@auth.example.com", "name": attack}
	first(m)["to"] = []any{object{"email": "ada@example.net", "name": attack}}
	m["content"] = []any{
		object{"type": "text/plain", "value": attack + "</pre>"},
		object{"type": "text/html", "value": "<p onclick=alert(2)>Hi</p><script>alert(3)</script>"},
	}
	return m
}

func TestPage_EscapesEveryValue(t *testing.T) {
	t.Parallel()
	s := start(t)
	got, text := s.post(t, encoded(t, hostile()), nil)
	if got.StatusCode != http.StatusAccepted {
		t.Fatalf("answer = %d %s", got.StatusCode, text)
	}
	_, page := s.page(t, "/", http.StatusOK)
	lacks(t, page, "<script", "onclick", "alert(3)")
	holds(t, page, "&lt;script&gt;alert(1)")
	_, page = s.page(t, `/?to="><script>alert(4)</script>`, http.StatusOK)
	lacks(t, page, "<script")
}

func TestPage_ShowsHTMLMailInert(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.post(t, encoded(t, hostile()), nil)
	header, text := s.page(t, "/messages/"+s.Messages("")[0].ID+"/html", http.StatusOK)
	if text != "<p onclick=alert(2)>Hi</p><script>alert(3)</script>" {
		t.Errorf("the mail is not as it came: %s", text)
	}
	policy := header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "sandbox; default-src 'none';") || strings.Contains(policy, "script") || strings.Contains(policy, "allow-") {
		t.Errorf("policy = %s, want a sandbox without any leave", policy)
	}
	if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers = %v", header)
	}
}

func TestPage_ShowsWhatThereIs(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.post(t, encoded(t, plain()), nil)
	_, text := s.page(t, "/", http.StatusOK)
	holds(t, text, `<h3 id="plain">Plain text`, "<dt>From</dt><dd><span", `class="from">login@auth.example.com`)
	lacks(t, text, "<iframe")
	onlyHTML := plain()
	onlyHTML["content"] = []any{part("text/html")}
	s.post(t, encoded(t, onlyHTML), nil)
	_, text = s.page(t, "/", http.StatusOK)
	holds(t, text, "<iframe")
	lacks(t, text, "<pre>")
}

func TestPage_ListsTheNewestOfMany(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i := range maxListed + 1 {
		s.store.add([]Message{{ID: fmt.Sprint(i), Text: strings.Repeat("word ", 50)}})
	}
	_, text := s.page(t, "/", http.StatusOK)
	holds(t, text, "The newest 200 of 201 messages", "word…</span>")
	if strings.Count(text, "<li>") != maxListed {
		t.Errorf("%d rows, want %d", strings.Count(text, "<li>"), maxListed)
	}
}

func TestPage_HasItsStyle(t *testing.T) {
	t.Parallel()
	s := start(t)
	got, text := s.do(t, http.MethodGet, "/inbox.css", nil, nil)
	if got.StatusCode != http.StatusOK || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/css") || !strings.Contains(text, "prefers-color-scheme: dark") {
		t.Errorf("style = %d %v", got.StatusCode, got.Header)
	}
	lacks(t, text, "url(", "@import")
}
