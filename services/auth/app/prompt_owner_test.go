package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"doorcode/pkg/chromium/browsertest"
)

// shared creates a challenge of the primary login, whose codes go to the main address, and returns where its page is.
func (s *scene) shared(t testing.TB) string {
	t.Helper()
	var c struct {
		PromptURL string `json:"prompt_url"`
	}
	s.must(t, 201, request{method: "POST", path: "/v1/challenges", key: s.key, body: fields{
		"workspace": "w", "login": "anna", "return_url": s.back.URL + "/signed-in",
	}}).into(t, &c)
	return c.PromptURL
}

// asks posts the form for the owner.
func (p *person) asks(name, email string) got {
	p.t.Helper()
	p.ask(http.MethodGet, p.page+"/help", nil, nil)
	return p.send("/owner", url.Values{"name": {name}, "email": {email}})
}

// R8.2: whoever is on a shared login asks the owner, three times a day. What they type is inert wherever it is shown, and
// grants nothing.
func TestPrompt_OnASharedLoginTheOwnerCanBeAsked(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	p := s.person(t)
	p.open(s.shared(t))
	const evil = `<b>Kim</b> https://evil.example "><script>alert(1)</script>`
	res := p.asks(evil, "no address")
	if res.StatusCode != http.StatusBadRequest || !strings.Contains(p.body, "Type an e-mail address of your own") || strings.Contains(p.body, "<b>Kim") ||
		!strings.Contains(p.body, "&lt;b&gt;Kim") || strings.Contains(p.body, "<script>alert") {
		t.Errorf("no address: %d\n%s", res.StatusCode, p.body)
	}
	for name, c := range map[string]struct{ name, email, want string }{
		"no name": {"12345", "kim@example.com", "Type your name"}, "the main address": {"Kim", "Office@Example.com", "not the one that the codes go to now"},
	} {
		if res := p.asks(c.name, c.email); res.StatusCode < 400 || !strings.Contains(p.body, c.want) || !strings.Contains(p.body, `aria-invalid="true"`) {
			t.Errorf("%s: %d\n%s", name, res.StatusCode, p.body)
		}
	}
	if n := s.count(t, `SELECT count(*) FROM join_requests`); n != 0 {
		t.Errorf("%d requests were stored", n)
	}
	for _, email := range []string{"kim@example.com", "lee@example.com", "lee@example.com", "max@example.com"} {
		if res := p.asks(evil, email); res.StatusCode != http.StatusOK || !strings.Contains(p.body, "Sent to the owner") || strings.Contains(p.body, s.back.URL+"/signed-in") {
			t.Errorf("%s: %d\n%s", email, res.StatusCode, p.body)
		}
	}
	if res := p.asks("Kim", "four@example.com"); res.StatusCode != http.StatusTooManyRequests || !strings.Contains(p.body, "asked three times already") {
		t.Errorf("a fourth: %d\n%s", res.StatusCode, p.body)
	}
	if n := s.count(t, `SELECT count(*) FROM join_requests WHERE login = 'anna' AND name NOT LIKE '%<%' AND name NOT LIKE '%evil.example%'`); n != 3 {
		t.Errorf("%d harmless requests are stored", n)
	}
	if len(s.checks) != 0 || s.count(t, `SELECT count(*) FROM logins WHERE workspace = 'w'`) != 2 {
		t.Error("asking did more than ask")
	}
	// The address of the post leads back to the help page, and the form is the page's own.
	if res := p.ask(http.MethodGet, p.page+"/owner", nil, nil); !strings.HasSuffix(res.Header.Get("Location"), "/help") {
		t.Errorf("GET leads to %s", res.Header.Get("Location"))
	}
	stranger := s.person(t)
	stranger.page, stranger.form = p.page, p.form
	if res := stranger.send("/owner", url.Values{"name": {"Kim"}, "email": {"kim@example.com"}}); res.StatusCode != http.StatusForbidden {
		t.Errorf("without the session: %d", res.StatusCode)
	}
}

func TestPrompt_OnALoginOfOnesOwnThereIsNobodyToAsk(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	p.ask(http.MethodGet, p.page+"/help", nil, nil)
	if strings.Contains(p.body, `name="email"`) || !strings.Contains(p.body, "this mailbox") {
		t.Error(p.body)
	}
	p.ask(http.MethodGet, p.page, nil, nil)
	res := p.send("/owner", url.Values{"name": {"Kim"}, "email": {"kim@example.com"}})
	if res.StatusCode != http.StatusConflict || s.count(t, `SELECT count(*) FROM join_requests`) != 0 {
		t.Errorf("asked all the same: %d", res.StatusCode)
	}
}

// Journey 2.4, steps 1 to 3, in a browser without JavaScript.
func TestPrompt_AskingTheOwnerIsAccessibleAndFits(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	b := browsertest.Open(t, browsertest.Options{NoScript: true, Insecure: true})
	b.Visit(s.shared(t))
	b.Leave(func() { help(b) })
	b.See("Ask the owner to add me")
	s.judgePage(t, b, "help-ask")
	b.Type("#name", "12 34")
	b.Type("#email", "kim@example.com")
	b.Leave(func() { b.Press(".ask button") })
	b.See("Type your name")
	s.judgePage(t, b, "help-ask-wrong")
	b.Type("#name", "Kim")
	b.Leave(func() { b.Press(".ask button") })
	b.See("Sent to the owner")
	s.judgePage(t, b, "help-asked")
	b.Leave(func() { b.Press("main a.button") })
	b.See("Check your e-mail")
}
