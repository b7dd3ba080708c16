package e2e

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// browser is a person's browser without JavaScript: it keeps cookies, follows
// redirects and posts forms.
type browser struct {
	t    *testing.T
	base string
	http *http.Client
}

// newBrowser returns a browser with no cookies at the demo.
func newBrowser(t *testing.T, s *standalone) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, base: "http://" + s.demo, http: &http.Client{Jar: jar, Timeout: patience}}
	t.Cleanup(b.http.CloseIdleConnections)
	return b
}

// open shows a page.
func (b *browser) open(path string) (page, at string) {
	b.t.Helper()
	return b.ask(http.MethodGet, path, nil)
}

// post sends a form.
func (b *browser) post(path string, form url.Values) (page, at string) {
	b.t.Helper()
	return b.ask(http.MethodPost, path, form)
}

// ask makes a request, follows where it leads, and returns the page and its path.
func (b *browser) ask(method, path string, form url.Values) (page, at string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if res.StatusCode >= http.StatusInternalServerError && res.StatusCode != http.StatusServiceUnavailable {
		b.t.Errorf("%s answered %d", res.Request.URL.Path, res.StatusCode)
	}
	return string(body), res.Request.URL.Path
}

// signIn passes the password step and returns the code page and its label.
func (b *browser) signIn() (label string) {
	b.t.Helper()
	page, at := b.post("/sign-in", url.Values{"email": {"jo@lanternbird.example"}, "password": {"lantern"}})
	found := regexp.MustCompile(`class="label">([A-Z]{3})<`).FindStringSubmatch(page)
	if at != "/code" || found == nil {
		b.t.Fatalf("after the password: %s\n%s", at, page)
	}
	return found[1]
}

// codeFor waits for the message with a label.
func codeFor(t *testing.T, s *standalone, label string) string {
	t.Helper()
	code := ""
	eventually(t, "the message "+label, func() bool {
		for _, m := range s.inbox(t, "jo@lanternbird.example") {
			if strings.HasPrefix(m.Subject, label) {
				code = codeIn(t, m)
				return true
			}
		}
		return false
	})
	return code
}

// It shows SEC-40 and SEC-51 of deploy/SECURITY.md.
func TestDemo_APersonSignsInWithoutJavaScript(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	b := newBrowser(t, s)
	page, _ := b.open("/")
	if !strings.Contains(page, "jo@lanternbird.example") || strings.Contains(page, "<script") {
		t.Error("the login page does not show how to sign in without a script")
	}
	page, at := b.post("/sign-in", url.Values{"email": {"jo@lanternbird.example"}, "password": {"wrong"}})
	if at != "/sign-in" || !strings.Contains(page, "do not go together") {
		t.Errorf("wrong password: %s", at)
	}
	if _, at = b.open("/home"); at != "/" {
		t.Errorf("without a session the dashboard leads to %s", at)
	}
	code := codeFor(t, s, b.signIn())
	if _, at = b.open("/home"); at != "/" {
		t.Errorf("half a session reaches %s", at)
	}
	page, _ = b.post("/code", url.Values{"code": {"abc"}})
	if !strings.Contains(page, "six digits") {
		t.Error("letters are not explained")
	}
	page, at = b.post("/code", url.Values{"code": {code}})
	if at != "/home" || !strings.Contains(page, "You are signed in") {
		t.Fatalf("after the code: %s\n%s", at, page)
	}
	b.post("/sign-out", nil)
	if _, at = b.open("/home"); at != "/" {
		t.Errorf("after the sign-out: %s", at)
	}
}

// SEC-06: a code typed in another browser is simply not the code of that one.
func TestDemo_ACodeWorksOnlyInTheBrowserThatAsked(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	one, two := newBrowser(t, s), newBrowser(t, s)
	code := codeFor(t, s, one.signIn())
	if _, at := two.post("/code", url.Values{"code": {code}}); at != "/" {
		t.Errorf("a browser that asked for nothing is at %s", at)
	}
	two.signIn()
	page, at := two.post("/code", url.Values{"code": {code}})
	if at == "/home" || !strings.Contains(page, "not the code") {
		t.Errorf("another browser is at %s", at)
	}
	if _, at = one.post("/code", url.Values{"code": {code}}); at != "/home" {
		t.Errorf("the browser that asked is at %s", at)
	}
}

// It shows SEC-58 of deploy/SECURITY.md.
func TestDemo_PostsFromOtherOriginsAreRefused(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.demo+"/sign-in", strings.NewReader("email=jo@lanternbird.example&password=lantern"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "https://evil.example")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", res.StatusCode)
	}
}
