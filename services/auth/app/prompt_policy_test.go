package app_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"doorcode/pkg/frontend"
	"doorcode/services/auth/app"
)

// SEC-58: headers, cross-site posts, a null origin, and a code anywhere but in a posted form.
func TestSEC58_CodePagesAreKeptToThemselves(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	p := s.person(t)
	opened := p.open(address)
	if opened.Header.Get("Referrer-Policy") != "no-referrer" || opened.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the ticket is answered with %v", opened.Header)
	}
	form := url.Values{"form": {p.form}, "once": {p.once}, "code": {"482917"}}
	page := p.ask(http.MethodGet, p.page, nil, nil)
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "strict-origin",
		"Access-Control-Allow-Origin": "", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if got := page.Header.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	holdPolicy(t, page.Header.Get("Content-Security-Policy"), p.body)
	for name, change := range map[string]func(*http.Request){
		"cross-site form": func(r *http.Request) {
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		},
		"same-site form": func(r *http.Request) {
			r.Header.Set("Origin", "https://other.127.0.0.1")
			r.Header.Set("Sec-Fetch-Site", "same-site")
		},
		"null origin":        func(r *http.Request) { r.Header.Set("Origin", "null"); r.Header.Del("Sec-Fetch-Site") },
		"old browser abroad": func(r *http.Request) { r.Header.Set("Origin", "https://evil.example"); r.Header.Del("Sec-Fetch-Site") },
		"other content type": func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"code in the address": func(r *http.Request) {
			r.URL.RawQuery = form.Encode()
			r.Body, r.ContentLength = http.NoBody, 0
		},
	} {
		res := p.ask(http.MethodPost, p.page+"/code", form, change)
		if res.StatusCode != http.StatusForbidden || len(s.checks) != 0 || strings.Contains(p.body, "assertion") {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	for _, spoiled := range []url.Values{{"code": {"482917"}}, {"code": {"482917"}, "form": {""}}, {"code": {"482917"}, "form": {"x"}}} {
		if res := p.ask(http.MethodPost, p.page+"/code", spoiled, nil); res.StatusCode != http.StatusForbidden || len(s.checks) != 0 {
			t.Errorf("without the form's value: %d", res.StatusCode)
		}
	}
	// The address of a post stays in the browser: a GET of it leads back to the page and judges nothing.
	for _, form := range []string{"/code?code=482917", "/messages", "/cancel"} {
		res := p.ask(http.MethodGet, p.page+form, nil, nil)
		if res.StatusCode != http.StatusSeeOther || !strings.HasSuffix(p.page, res.Header.Get("Location")) {
			t.Errorf("GET %s: %d to %q", form, res.StatusCode, res.Header.Get("Location"))
		}
	}
	p.ask(http.MethodGet, p.page+"?code=482917", nil, nil)
	if strings.Contains(p.body, "482917") || len(s.checks) != 0 {
		t.Error("a code in the address has an effect")
	}
	// A browser without Sec-Fetch-Site is known by its Origin.
	res := p.ask(http.MethodPost, p.page+"/code", form, func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") })
	if res.StatusCode != http.StatusOK {
		t.Errorf("an old browser at home: %d", res.StatusCode)
	}
	if logged := s.logs.String(); strings.Contains(logged, "482917") || strings.Contains(logged, strings.TrimPrefix(address, s.pages.URL+"/prompt?ticket=")) {
		t.Error("a code or a ticket stands in the log")
	}
}

// holdPolicy fails the test unless the policy names exactly the style and the script of the page, and nothing of others.
func holdPolicy(t *testing.T, policy, page string) {
	t.Helper()
	sources := map[string]string{}
	for part := range strings.SplitSeq(policy, "; ") {
		name, source, _ := strings.Cut(part, " ")
		sources[name] = source
	}
	for name, want := range map[string]string{
		"default-src": "'none'", "style-src": hashOf(t, page, "style"), "script-src": hashOf(t, page, "script"), "connect-src": "'self'",
		"img-src": "data:", "form-action": "'self'", "frame-ancestors": "'none'", "base-uri": "'none'",
	} {
		if sources[name] != want {
			t.Errorf("the policy's %s is %q, not %q", name, sources[name], want)
		}
	}
	if len(sources) != 8 || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %s", policy)
	}
	for _, found := range regexp.MustCompile(`(?i)(?:src|href|action)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(found[1], "/prompt/") && found[1] != "data:," && !strings.HasPrefix(found[1], "#") {
			t.Errorf("the page refers to %s", found[1])
		}
	}
	if strings.Contains(page, " style=") || strings.Contains(page, " onclick") {
		t.Error("the page has style or script in an attribute")
	}
}

// hashOf is the source of what stands in an element.
func hashOf(t *testing.T, page, element string) string {
	t.Helper()
	found := regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllStringSubmatch(page, -1)
	if len(found) != 1 {
		t.Fatalf("the page has %d elements %s", len(found), element)
	}
	sum := sha256.Sum256([]byte(found[0][1]))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// The page is one document with its style and script in it, so its size is the size of the prompt.
func TestPrompt_HasAtMost40KilobytesInAll(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.set(func() {
		other(s)
		for len(s.state.Deliveries) < 5 {
			d := s.state.Deliveries[0]
			d.Send = len(s.state.Deliveries) + 1
			s.state.Deliveries = append(s.state.Deliveries, d)
		}
	})
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	sizes := map[string]int{"code": len(p.body)}
	p.ask(http.MethodGet, p.page+"/help", nil, nil)
	sizes["help"] = len(p.body)
	for name, size := range sizes {
		t.Logf("%s: %d bytes", name, size)
		if size > 40<<10 || size == 0 {
			t.Errorf("%s has %d bytes", name, size)
		}
	}
}

func TestConfig_RefusesAddressesThatNoPageMayHave(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	good := h.config(t)
	for name, spoil := range map[string]func(*app.Config){
		"DOORCODE_AUTH_PUBLIC_URL":     func(c *app.Config) { c.PublicURL = "http://sign-in.example.com" },
		"DOORCODE_AUTH_PUBLIC_URL:":    func(c *app.Config) { c.PublicURL = "https://sign-in.example.com/door" },
		"DOORCODE_AUTH_SUPPORT_URL":    func(c *app.Config) { c.SupportURL = "javascript:alert(1)" },
		"DOORCODE_AUTH_SUPPORT_URL:":   func(c *app.Config) { c.SupportURL = "https:///help" },
		"DOORCODE_AUTH_SUPPORT_URL::":  func(c *app.Config) { c.SupportURL = "https://:443/help" },
		"DOORCODE_AUTH_SUPPORT_URL:::": func(c *app.Config) { c.SupportURL = "mailto:" },
	} {
		c := good
		spoil(&c)
		err := c.Validate()
		if err == nil || !strings.Contains(err.Error(), strings.TrimRight(name, ":")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, address := range []string{"", "https://sign-in.example.com", "https://sign-in.example.com:8443/", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:80"} {
		c := good
		c.PublicURL, c.SupportURL = address, "mailto:help@example.com?subject=Sign-in"
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// SEC-08: an origin may be withdrawn because somebody took it over: from then on no page leads there, also none that is open.
func TestSEC08_AWithdrawnOriginGetsNoAssertionFromAnOpenPage(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	s.frontEnd(t, frontend.FrontEnd{
		ID: "login-page", Scopes: []frontend.Scope{frontend.Challenges}, AllWorkspaces: true, ReturnOrigins: []string{"https://new.example"},
	})
	res := p.code("482917")
	if res.StatusCode != http.StatusUnauthorized || len(s.checks) != 0 || strings.Contains(p.body, s.back.URL) {
		t.Errorf("%d, %d checks\n%s", res.StatusCode, len(s.checks), p.body)
	}
	if res := p.ask(http.MethodGet, p.page, nil, nil); res.StatusCode != http.StatusUnauthorized || strings.Contains(p.body, s.back.URL) {
		t.Errorf("the page: %d\n%s", res.StatusCode, p.body)
	}
}
