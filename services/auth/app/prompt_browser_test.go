package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"doorcode/services/auth/app"
)

func TestPrompt_SpeaksTheLanguageOfTheChallengeElseOfTheBrowser(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	for accept, want := range map[string]string{
		"": "Check your e-mail", "nl-BE,en;q=0.5": "Kijk in je e-mail", "fr;q=0.9, en;q=0.2, nl;q=0.4": "Kijk in je e-mail", "xx, ;;q=a": "Check your e-mail",
	} {
		p := s.person(t)
		p.open(address)
		p.ask(http.MethodGet, p.page, nil, func(r *http.Request) { r.Header.Set("Accept-Language", accept) })
		if !strings.Contains(p.body, want) {
			t.Errorf("%q: no %s", accept, want)
		}
	}
	var c struct {
		PromptURL string `json:"prompt_url"`
	}
	s.must(t, 201, request{method: "POST", path: "/v1/challenges", key: s.key, body: fields{
		"workspace": "w", "login": "bert", "locale": "nl-NL", "return_url": s.back.URL + "/in",
	}}).into(t, &c)
	p := s.person(t)
	p.open(c.PromptURL)
	p.ask(http.MethodGet, p.page, nil, func(r *http.Request) { r.Header.Set("Accept-Language", "en") })
	if !strings.Contains(p.body, `<html lang="nl">`) || !strings.Contains(p.body, "De mailprovider heeft het bericht aangenomen") {
		t.Error(p.body)
	}
}

// R10.3 and journey 2.4: whoever shares a mailbox is told that others wait there, and which message is theirs.
func TestPrompt_SaysHowManySignInsWaitAtTheRecipient(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	p := s.person(t)
	for waiting, want := range map[int]string{
		0: "Several people may sign in", 1: "Several people may sign in",
		2: "<strong>2</strong> sign-ins are waiting at this address; yours is <strong>KRT</strong>.", 12: "<strong>12</strong> sign-ins",
	} {
		s.set(func() { s.state.Waiting = waiting })
		p.open(address)
		if !strings.Contains(p.body, want) || waiting < 2 && strings.Contains(p.body, "are waiting") {
			t.Errorf("%d: no %s in\n%s", waiting, want, p.body)
		}
	}
	s.set(func() {
		textsFirst(s)
		s.state.Waiting = 2
	})
	p.ask(http.MethodGet, p.page, nil, func(r *http.Request) { r.Header.Set("Accept-Language", "nl") })
	if !strings.Contains(p.body, "aanmeldingen op deze telefoon; die van jou is <strong>KRT</strong>") {
		t.Error(p.body)
	}
}

func TestPrompt_TwoTabsWithTwoChallengesDoNotMeet(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	first, one := s.prompt(t)
	second, two := s.prompt(t)
	p := s.person(t)
	cookie := p.open(first).Header.Get("Set-Cookie")
	page, form, once := p.page, p.form, p.once
	p.open(second)
	p.code("111111")
	// The session of one page is none of another's, also under its name.
	value := strings.SplitN(strings.SplitN(cookie, ";", 2)[0], "=", 2)[1]
	stranger := s.person(t)
	res := stranger.ask(http.MethodGet, p.page, nil, func(r *http.Request) {
		r.Header.Set("Cookie", "__Host-doorcode-"+p.page[strings.LastIndexByte(p.page, '/')+1:]+"="+value)
	})
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("the session of another page: %d", res.StatusCode)
	}
	p.page, p.form, p.once = page, form, once
	p.code("222222")
	if len(s.checks) != 2 || s.checks[0].Handle != two || s.checks[1].Handle != one {
		t.Errorf("judged %+v", s.checks)
	}
}

func TestPrompt_ItsCookiesNeverFillARequest(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	p := s.person(t)
	long := s.back.URL + "/signed-in?" + strings.Repeat("a", 1900)
	for n := range 12 {
		login := fmt.Sprintf("c%d", n)
		s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/" + login, key: s.harness.key, body: fields{"role": "member", "email": login + "@example.com"}})
		var c struct {
			PromptURL string `json:"prompt_url"`
		}
		s.must(t, 201, request{method: "POST", path: "/v1/challenges", key: s.key, body: fields{"workspace": "w", "login": login, "return_url": long}}).into(t, &c)
		p.open(c.PromptURL)
		if !strings.Contains(p.body, "KRT") {
			t.Fatalf("page %d is not shown: %s", n, p.body)
		}
	}
	at, err := url.Parse(s.pages.URL)
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, c := range p.http.Jar.Cookies(at) {
		size += len(c.Value)
	}
	if size == 0 || size > 6<<10 {
		t.Errorf("the cookies have %d bytes", size)
	}
}

func TestPrompt_IsReachedOverPlainHTTPOnALoopbackHostAlone(t *testing.T) {
	t.Parallel()
	s := play(t, func(c *app.Config) { c.PublicURL = "http://127.0.0.1:0" })
	var c struct {
		PromptURL string `json:"prompt_url"`
	}
	s.must(t, 201, request{method: "POST", path: "/v1/challenges", key: s.key, body: fields{
		"workspace": "w", "login": "bert", "return_url": s.back.URL + "/in",
	}}).into(t, &c)
	if !strings.HasPrefix(c.PromptURL, "http://"+s.app.Addr()+"/prompt?ticket=") {
		t.Fatalf("prompt_url is %s", c.PromptURL)
	}
	p := s.person(t)
	cookie := p.open(c.PromptURL).Header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "doorcode-") || strings.Contains(cookie, "Secure") || !strings.Contains(p.body, "KRT") {
		t.Errorf("cookie %s", cookie)
	}
	if res := p.code("482917"); res.StatusCode != http.StatusOK {
		t.Errorf("a right code: %d", res.StatusCode)
	}
}
