package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	pkgproblem "doorcode/pkg/problem"
	"doorcode/services/auth/app"
)

// scene is auth with hosted pages over TLS, a verifier that is played, and a front-end that people come back to.
type scene struct {
	*harness
	pages *httptest.Server // auth as browsers reach it
	back  *httptest.Server // the front-end
	key   string           // its API key

	people atomic.Int64

	mu       sync.Mutex
	state    event.StateReply
	away     bool
	judge    func(event.CheckRequest) (event.CheckReply, *pkgproblem.Problem)
	order    func(event.ResendRequest) (event.ResendReply, *pkgproblem.Problem)
	checks   []event.CheckRequest
	orders   []event.ResendRequest
	cancels  int
	returned []url.Values
	origins  []string            // of what was posted back
	visited  []string            // paths that browsers asked auth for
	before   func(*http.Request) // is called with each of them first
}

// plain is the state of a challenge of which one message was accepted.
func plain() event.StateReply {
	now := time.Now()
	return event.StateReply{
		State: "pending", Label: "KRT", Channel: "email", Recipient: "b•••@example.com", SupportReference: "4F72KQ9R", ChecksLeft: 5,
		ExpiresAt: now.Add(10 * time.Minute), ResendAt: new(now.Add(-time.Second)),
		Deliveries: []event.DeliveryState{{
			Send: 1, Channel: "email", Recipient: "b•••@example.com", Status: "accepted", At: now,
			Text: "The mail provider accepted the message; no report from example.com yet.",
		}},
	}
}

// play starts a scene with the settings that change leaves.
func play(t testing.TB, change func(*app.Config)) *scene {
	t.Helper()
	s := &scene{state: plain()}
	var serve sync.Map // the handler comes later than its address
	s.pages = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.set(func() {
			s.visited = append(s.visited, r.Method+" "+r.URL.Path)
			if s.before != nil {
				s.before(r)
			}
		})
		h, _ := serve.Load("handler")
		h.(http.Handler).ServeHTTP(w, r) //nolint:forcetypeassert // stored below
	}))
	t.Cleanup(s.pages.Close)
	s.back = httptest.NewTLSServer(http.HandlerFunc(s.comeBack))
	t.Cleanup(s.back.Close)
	s.harness = start(t, func(c *app.Config) {
		c.PublicURL, c.Brand, c.SupportURL = s.pages.URL, "Lanternbird", "https://help.lanternbird.example/"
		if change != nil {
			change(c)
		}
	})
	serve.Store("handler", s.app.Handler())
	s.key = s.frontEnd(t, frontend.FrontEnd{
		ID: "login-page", Scopes: []frontend.Scope{frontend.Challenges, frontend.Settings}, AllWorkspaces: true, ReturnOrigins: []string{s.back.URL},
	})
	s.settle(t)
	s.serve(t)
	return s
}

// comeBack is the front-end's return_url.
func (s *scene) comeBack(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "text/html")
	if r.Method == http.MethodPost && r.ParseForm() == nil {
		s.returned, s.origins = append(s.returned, r.PostForm), append(s.origins, r.Header.Get("Origin"))
		_, _ = io.WriteString(w, `<!doctype html><html lang="en"><title>in</title><h1>Welcome back</h1>`)
		return
	}
	_, _ = io.WriteString(w, `<!doctype html><html lang="en"><title>again</title><h1>Sign in again</h1>`)
}

// serve plays the verifier.
func (s *scene) serve(t testing.TB) {
	t.Helper()
	state := func([]byte) ([]byte, error) {
		if s.away {
			return nil, errors.New("away")
		}
		return json.Marshal(s.state)
	}
	s.verifier(t, event.VerbState, s.locked(state))
	s.verifier(t, event.VerbCancel, s.locked(func(data []byte) ([]byte, error) {
		s.cancels++
		s.state.State, s.state.ResendAt = "canceled", nil
		return state(data)
	}))
	s.verifier(t, event.VerbCheck, s.locked(func(data []byte) ([]byte, error) {
		var r event.CheckRequest
		err := json.Unmarshal(data, &r)
		if err != nil || s.away {
			return nil, errors.Join(err, errors.New("away"))
		}
		s.checks = append(s.checks, r)
		return reply(s.judge(r))
	}))
	s.verifier(t, event.VerbResend, s.locked(func(data []byte) ([]byte, error) {
		var r event.ResendRequest
		err := json.Unmarshal(data, &r)
		if err != nil || s.away {
			return nil, errors.Join(err, errors.New("away"))
		}
		s.orders = append(s.orders, r)
		return reply(s.order(r))
	}))
	s.judge = func(event.CheckRequest) (event.CheckReply, *pkgproblem.Problem) {
		return event.CheckReply{Assertion: "eyJhbGciOiJFZERTQSJ9.e30.c2ln"}, nil
	}
	s.order = func(event.ResendRequest) (event.ResendReply, *pkgproblem.Problem) {
		return event.ResendReply{Send: 2, Channel: "email", Recipient: "b•••@example.com", ExpiresAt: s.state.ExpiresAt}, nil
	}
}

// locked runs an answer under the scene's lock.
func (s *scene) locked(f func([]byte) ([]byte, error)) func([]byte) ([]byte, error) {
	return func(data []byte) ([]byte, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return f(data)
	}
}

// reply writes an answer or a refusal as the verifier does.
func reply[T any](answer T, p *pkgproblem.Problem) ([]byte, error) {
	if p == nil {
		return json.Marshal(answer)
	}
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return nil, &bus.ServiceError{Code: p.Status, Body: body}
}

// set changes what is played.
func (s *scene) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// refuse lets every check be answered with a refusal.
func (s *scene) refuse(status int, code string, left int, after time.Duration) {
	s.set(func() {
		s.judge = func(event.CheckRequest) (event.CheckReply, *pkgproblem.Problem) {
			p := pkgproblem.New(status, code, "Refused.")
			p.RetryAfter = after
			if code != "too_many" {
				p.ChecksLeft = &left
			}
			return event.CheckReply{}, p
		}
	})
}

// prompt creates a challenge and returns where its page is opened.
func (s *scene) prompt(t testing.TB) (address, handle string) {
	t.Helper()
	login := fmt.Sprintf("p%d", s.people.Add(1)) // a login of its own: limits are another test's matter
	s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/" + login, key: s.harness.key, body: fields{
		"role": "member", "email": login + "@example.com",
	}})
	var c struct {
		Handle    string `json:"handle"`
		PromptURL string `json:"prompt_url"`
	}
	s.must(t, 201, request{method: "POST", path: "/v1/challenges", key: s.key, body: fields{
		"workspace": "w", "login": login, "return_url": s.back.URL + "/signed-in",
	}}).into(t, &c)
	if !strings.HasPrefix(c.PromptURL, s.pages.URL+"/prompt?ticket=") {
		t.Fatalf("prompt_url is %q", c.PromptURL)
	}
	return c.PromptURL, c.Handle
}

// person is a browser without JavaScript that keeps cookies.
type person struct {
	t    testing.TB
	http *http.Client
	page string // path of the prompt
	body string // of the last page
	form string
	once string
}

// got is the head of what came back; the page is the person's to read.
type got struct {
	StatusCode int
	Header     http.Header
}

// person returns a browser with no cookies, which follows no redirect by itself.
func (s *scene) person(t testing.TB) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := s.pages.Client()
	return &person{t: t, http: &http.Client{
		Jar: jar, Transport: c.Transport, Timeout: limitOfTest,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ask makes a request as the browser does: a post comes with its Origin and Sec-Fetch-Site unless changed otherwise.
func (p *person) ask(method, address string, form url.Values, change func(*http.Request)) got {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", "https://"+req.URL.Host)
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if change != nil {
		change(req)
	}
	res, err := p.http.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	p.body = string(body)
	p.form, p.once = hidden(p.body, "form"), hidden(p.body, "once")
	return got{StatusCode: res.StatusCode, Header: res.Header}
}

// hidden returns the value of a hidden field.
func hidden(page, name string) string {
	found := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(page)
	if found == nil {
		return ""
	}
	return found[1]
}

// open opens a ticket and the page that it leads to.
func (p *person) open(address string) got {
	p.t.Helper()
	res := p.ask(http.MethodGet, address, nil, nil)
	if res.StatusCode != http.StatusSeeOther {
		p.t.Fatalf("the ticket is answered %d: %s", res.StatusCode, p.body)
	}
	base, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	p.page = base.Scheme + "://" + base.Host + res.Header.Get("Location")
	p.ask(http.MethodGet, p.page, nil, nil)
	return res
}

// send posts one of the page's forms.
func (p *person) send(below string, more url.Values) got {
	p.t.Helper()
	form := url.Values{"form": {p.form}, "once": {p.once}}
	for name, values := range more {
		form[name] = values
	}
	return p.ask(http.MethodPost, p.page+below, form, nil)
}

// code types a code.
func (p *person) code(code string) got {
	p.t.Helper()
	return p.send("/code", url.Values{"code": {code}})
}
