package site

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"doorcode/pkg/client"
)

// newSite returns a site before a doorcode that answers with status and body.
func newSite(t *testing.T, prompt, created string) (http.Handler, *[]string) {
	t.Helper()
	var asked []string
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.URL.Path+" "+string(body))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, created)
	}))
	t.Cleanup(auth.Close)
	hc := auth.Client()
	t.Cleanup(hc.CloseIdleConnections)
	c, err := client.New(client.Config{URL: auth.URL, Key: "dck_demo_secret", HTTP: hc})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Doorcode: c, PublicURL: "http://127.0.0.1:8090/", PromptOrigin: prompt, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s.Handler(), &asked
}

// post is a form of the same origin, of some other site, or of the origin that is named, with the cookie of an answer.
func post(t *testing.T, h http.Handler, path, form, from string, answer *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:8090"+path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if strings.HasPrefix(from, "http") {
		r.Header.Set("Origin", from)
		from = "cross-site"
	}
	r.Header.Set("Sec-Fetch-Site", from)
	if answer != nil {
		for _, c := range answer.Result().Cookies() {
			r.AddCookie(c)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const password = "email=" + Email + "&password=" + Password

func TestSite_TheRedirectWayAsksForAWayBackAndGoesToThePrompt(t *testing.T) {
	t.Parallel()
	const prompt = "http://127.0.0.1:8080/prompt?ticket=x"
	h, asked := newSite(t, "http://127.0.0.1:8080", `{"decision":"required","handle":"h","prompt_url":"`+prompt+`"}`)
	w := post(t, h, "/sign-in", password+"&way=hosted", "same-origin", nil)
	if w.Header().Get("Location") != prompt || len(*asked) != 1 || !strings.Contains((*asked)[0], `"return_url":"http://127.0.0.1:8090/signed-in"`) {
		t.Errorf("it leads to %s after %v", w.Header().Get("Location"), *asked)
	}
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' http://127.0.0.1:8080;") {
		t.Errorf("browsers stop at the policy %s", csp)
	}
	// The own way asks for none.
	w = post(t, h, "/sign-in", password+"&way=own", "same-origin", nil)
	if len(*asked) != 2 || strings.Contains((*asked)[1], "return_url") || w.Code != http.StatusSeeOther {
		t.Errorf("the own way asks %v", *asked)
	}
}

func TestSite_WithoutHostedPagesItsOwnPageAsksForTheCode(t *testing.T) {
	t.Parallel()
	h, _ := newSite(t, "", `{"decision":"required","handle":"h"}`)
	w := post(t, h, "/sign-in", password+"&way=hosted", "same-origin", nil)
	if w.Header().Get("Location") != "/code" {
		t.Errorf("it leads to %s", w.Header().Get("Location"))
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	login := httptest.NewRecorder()
	h.ServeHTTP(login, r)
	if strings.Contains(login.Body.String(), "hosted") {
		t.Error("a page is offered that there is not")
	}
}

// SEC-08: the way back takes posts of doorcode's origin, and lets in on an assertion alone.
func TestSEC08_TheWayBackLetsNobodyInByItself(t *testing.T) {
	t.Parallel()
	h, _ := newSite(t, "http://127.0.0.1:8080", `{"decision":"required","handle":"h","prompt_url":"http://127.0.0.1:8080/prompt"}`)
	begun := post(t, h, "/sign-in", password+"&way=hosted", "same-origin", nil)
	for why, answer := range map[string]*httptest.ResponseRecorder{"proves nothing for this sign-in": begun, "No sign-in is waiting": nil} {
		w := post(t, h, "/signed-in", "assertion=approved&handle=h", "http://127.0.0.1:8080", answer)
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), why) || len(w.Result().Cookies()) != 0 {
			t.Errorf("%s: %d, to %s\n%s", why, w.Code, w.Header().Get("Location"), w.Body)
		}
	}
	if w := post(t, h, "/signed-in", "assertion=approved&handle=h", "https://evil.example", begun); w.Code != http.StatusForbidden {
		t.Errorf("a post of another origin: %d", w.Code)
	}
	if w := post(t, h, "/sign-in", password, "cross-site", nil); w.Code != http.StatusForbidden {
		t.Errorf("another site signs in: %d", w.Code)
	}
}

// A session belongs to a host: who opened the site as localhost would come back to 127.0.0.1 without one.
func TestSite_IsReachedUnderTheOneNameThatDoorcodeLeadsBackTo(t *testing.T) {
	t.Parallel()
	h, _ := newSite(t, "http://127.0.0.1:8080", `{}`)
	for host, want := range map[string]string{
		"localhost:8090": "http://127.0.0.1:8090/code?a=b", "[::1]:8090": "http://127.0.0.1:8090/code?a=b", "127.0.0.1:8090": "/",
		"localhost:9999": "/", "demo.example:8090": "/", "localhost": "/", "%zz": "/",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/code?a=b", http.NoBody)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Location"); got != want { // Without a session /code leads to the start.
			t.Errorf("%s leads to %q, not %q", host, got, want)
		}
	}
}

// What cannot be checked is said, and the same post may be sent again.
func TestSite_SaysThatAProofCannotBeCheckedAtTheMoment(t *testing.T) {
	t.Parallel()
	h, _ := newSite(t, "http://127.0.0.1:8080", `{"decision":"required","handle":"h","prompt_url":"http://127.0.0.1:8080/prompt"}`)
	begun := post(t, h, "/sign-in", password+"&way=hosted", "same-origin", nil)
	// The stand-in answers the public keys with 201: they are not to be had.
	unsigned := "eyJhbGciOiJFZERTQSIsImtpZCI6ImsifQ.eyJpc3MiOiJkb29yY29kZSJ9." + strings.Repeat("A", 86)
	for range 2 {
		w := post(t, h, "/signed-in", "assertion="+unsigned+"&handle=h", "http://127.0.0.1:8080", begun)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "Load this page again") || len(w.Result().Cookies()) != 0 {
			t.Errorf("%d\n%s", w.Code, w.Body)
		}
	}
}

func TestSite_LeadsWhoIsSignedInToTheSecuritySettings(t *testing.T) {
	t.Parallel()
	const link = "http://127.0.0.1:8080/settings?link=x"
	var asked []string
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.URL.Path+" "+string(body))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"url":"`+link+`"}`)
	}))
	t.Cleanup(auth.Close)
	hc := auth.Client()
	t.Cleanup(hc.CloseIdleConnections)
	c, err := client.New(client.Config{URL: auth.URL, Key: "dck_demo_secret", HTTP: hc})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Doorcode: c, PublicURL: "http://127.0.0.1:8090", PromptOrigin: "http://127.0.0.1:8080", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h := s.Handler()
	if w := post(t, h, "/settings", "", "same-origin", nil); w.Header().Get("Location") != "/" || len(asked) != 0 {
		t.Errorf("nobody is led to %s after %v", w.Header().Get("Location"), asked)
	}
	begun, in := httptest.NewRecorder(), httptest.NewRecorder()
	s.sessions.begin(begun, visit(t, nil), pending{Handle: "one"})
	if !s.sessions.finish(in, visit(t, begun), "one", client.Person{Workspace: Workspace, Login: Login}) {
		t.Fatal("the sign-in does not end")
	}
	if w := post(t, h, "/settings", "", "cross-site", in); w.Code != http.StatusForbidden || len(asked) != 0 {
		t.Errorf("another site opens settings: %d", w.Code)
	}
	w := post(t, h, "/settings", "", "same-origin", in)
	if w.Header().Get("Location") != link || len(asked) != 1 || !strings.Contains(asked[0], `"login":"jo","return_url":"http://127.0.0.1:8090/home"`) {
		t.Errorf("it leads to %s after %v", w.Header().Get("Location"), asked)
	}
	home := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/home", http.NoBody)
	for _, c := range in.Result().Cookies() {
		home.AddCookie(c)
	}
	page := httptest.NewRecorder()
	h.ServeHTTP(page, home)
	if !strings.Contains(page.Body.String(), `action="/settings"`) {
		t.Error(page.Body)
	}
}
