package app_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/otp"
	pkgproblem "doorcode/pkg/problem"
)

func TestPrompt_ARightCodeLeadsBackWithTheAssertionAndTheHandle(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, handle := s.prompt(t)
	p := s.person(t)
	res := p.open(address)
	cookie := res.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-doorcode-", "Path=/;", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age="} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie %q lacks %s", cookie, want)
		}
	}
	if strings.Contains(cookie, "Domain") || strings.Contains(p.page, "ticket") || strings.Contains(p.page, handle) {
		t.Errorf("cookie %q at %s", cookie, p.page)
	}
	for _, want := range []string{"b•••@example.com", ">KRT<", "4F72-KQ9R", "4 Foxtrot 7 2 – Kilo Quebec 9 Romeo", "no report from example.com yet", `inputmode="numeric"`, `autocomplete="one-time-code"`} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page does not show %s", want)
		}
	}
	res = p.code("482917")
	if res.StatusCode != http.StatusOK || !strings.Contains(p.body, `action="`+s.back.URL+`/signed-in"`) {
		t.Fatalf("a right code: %d\n%s", res.StatusCode, p.body)
	}
	if hidden(p.body, "assertion") != "eyJhbGciOiJFZERTQSJ9.e30.c2ln" || hidden(p.body, "handle") != handle || strings.Contains(p.body, "482917") {
		t.Errorf("the way back is\n%s", p.body)
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action "+s.back.URL+";") {
		t.Errorf("the way back may post by the policy %s", csp)
	}
}

func TestCreate_AnswersNoPromptURLWithoutPagesOrWithoutAWayBack(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	h := start(t, nil)
	h.settle(t)
	back := fields{"workspace": "w", "login": "bert", "return_url": "https://app.example/in"}
	for name, a := range map[string]answer{
		"no return_url": s.must(t, 201, create("bert")),
		"no pages":      h.must(t, 201, request{method: "POST", path: "/v1/challenges", body: back}),
	} {
		if strings.Contains(string(a.Body), "prompt_url") {
			t.Errorf("%s: %s", name, a.Body)
		}
	}
	h.must(t, 404, request{method: "GET", path: "/prompt?ticket=x"})
}

func TestCreate_ARepeatAnswersTheSamePromptURL(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	r := request{method: "POST", path: "/v1/challenges", key: s.key, body: fields{
		"workspace": "w", "login": "bert", "return_url": s.back.URL + "/in",
	}}.with("one")
	first, again := s.must(t, 201, r), s.must(t, 201, r)
	if string(first.Body) != string(again.Body) || !strings.Contains(string(first.Body), "prompt_url") {
		t.Errorf("answers\n%s\n%s", first.Body, again.Body)
	}
}

func TestCreate_TakesAReturnURLOfTheFrontEndsOwnOriginsAlone(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	key := h.frontEnd(t, frontend.FrontEnd{ID: "other", Scopes: []frontend.Scope{frontend.Challenges}, AllWorkspaces: true, ReturnOrigins: []string{"https://other.example"}})
	for _, address := range []string{
		"https://evil.example/in", "https://app.example.evil.example/in", "https://app.example:8443/in", "http://app.example/in",
		"https://app.example@evil.example/in", "http://127.0.0.1:9/in", "https://app%2eexample/in",
	} {
		p := h.refused(t, 400, "invalid_request", request{method: "POST", path: "/v1/challenges", body: fields{"workspace": "w", "login": "bert", "return_url": address}})
		if p.Field != "return_url" {
			t.Errorf("%s is refused for %s", address, p.Field)
		}
	}
	h.refused(t, 400, "invalid_request", request{method: "POST", path: "/v1/challenges", key: key, body: fields{"workspace": "w", "login": "bert", "return_url": "https://app.example/in"}})
	if n := len(h.issued(t)); n != 0 {
		t.Errorf("%d challenges were issued", n)
	}
	h.must(t, 201, request{method: "POST", path: "/v1/challenges", body: fields{"workspace": "w", "login": "bert", "return_url": "https://APP.example:443/in?a=b"}})
}

func TestSEC06_ACodeIsTypedInTheBrowserThatAskedOrNowhere(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	owner := s.person(t)
	owner.open(address)
	// A second cookie jar that knows the page, its form and the right code.
	thief := s.person(t)
	thief.page, thief.form, thief.once = owner.page, owner.form, owner.once
	if res := thief.code("482917"); res.StatusCode != http.StatusForbidden || strings.Contains(thief.body, "assertion") {
		t.Errorf("without the cookie: %d", res.StatusCode)
	}
	// With a cookie of its own for the same challenge the form of the other browser is none of its own.
	thief.open(address)
	thief.form = owner.form
	if res := thief.code("482917"); res.StatusCode != http.StatusForbidden {
		t.Errorf("with the form of another browser: %d", res.StatusCode)
	}
	if len(s.checks) != 0 {
		t.Errorf("%d codes were judged", len(s.checks))
	}
	// A session that somebody chose is replaced when the ticket is opened.
	forced := s.person(t)
	before := forced.open(address).Header.Get("Set-Cookie")
	after := forced.open(address).Header.Get("Set-Cookie")
	if before == after || before == "" {
		t.Error("opening a ticket keeps the session that was there")
	}
	if res := owner.code("482917"); res.StatusCode != http.StatusOK || len(s.checks) != 1 {
		t.Errorf("the browser that asked: %d", res.StatusCode)
	}
}

// Edge case 3.
func TestEdge03_ACodeTypedInTheOtherBrowserCountsThereAlone(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.refuse(422, "wrong_code", 4, 0)
	first, _ := s.prompt(t)
	second, handle := s.prompt(t)
	one, two := s.person(t), s.person(t)
	one.open(first)
	two.open(second)
	if res := two.code("482917"); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(two.body, "4 tries left. Check that the message says KRT.") {
		t.Errorf("in the other browser: %d\n%s", res.StatusCode, two.body)
	}
	if len(s.checks) != 1 || s.checks[0].Handle != handle {
		t.Errorf("judged: %+v", s.checks)
	}
}

// Edge cases 19, 20 and 21: the tags of all spellings are that of the same code.
func TestEdge19To21_DigitsAreTakenAsPeopleTypeThem(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	challenge := s.issued(t)[0].Challenge
	code, err := otp.Parse("042917")
	if err != nil {
		t.Fatal(err)
	}
	want := otp.Tags(s.ring(t, "TAG"), challenge, code)
	spellings := map[string]string{
		"leading zero": "042917", "pasted": "042 917", "dashes": "042-917", "en dash": "042–917", "no-break space": "\u00a0042\u00a0917 ",
		"full-width": "０４２９１７", "Arabic-Indic": "٠٤٢٩١٧", "Persian": "۰۴۲۹۱۷", "Devanagari": "०४२९१७", "invisible marks": "\u200e042917\u200b",
	}
	for name, typed := range spellings {
		before := len(s.checks)
		if p.form == "" { // The page before led back; this one asks again.
			p.ask(http.MethodGet, p.page, nil, nil)
		}
		res := p.code(typed)
		if res.StatusCode != http.StatusOK || len(s.checks) != before+1 {
			t.Errorf("%s: %d", name, res.StatusCode)
			continue
		}
		for id, tag := range want {
			if string(s.checks[before].Tags[id]) != string(tag) {
				t.Errorf("%s is another code", name)
			}
		}
	}
	for _, typed := range []string{"", "04291", "O42917", "0429170429170", "042917;", "½42917"} {
		before := len(s.checks)
		p.ask(http.MethodGet, p.page, nil, nil)
		if res := p.code(typed); res.StatusCode != http.StatusBadRequest || len(s.checks) != before || !strings.Contains(p.body, "only digits") {
			t.Errorf("%q: %d", typed, res.StatusCode)
		}
	}
}

// Edge case 22.
func TestEdge22_WithoutItsCookieABrowserStartsAgain(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	cleared := s.person(t)
	res := cleared.ask(http.MethodGet, p.page, nil, nil)
	if res.StatusCode != http.StatusNotFound || !strings.Contains(cleared.body, "start again") || strings.Contains(cleared.body, "example.com") {
		t.Errorf("%d\n%s", res.StatusCode, cleared.body)
	}
}

func TestPrompt_SaysHowItEndedAndOffersTheOneThingToDo(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	for _, c := range []struct {
		status     int
		code       string
		left       int
		after      time.Duration
		state      string // of the challenge afterwards
		want       string
		retryAfter string
	}{
		{422, "wrong_code", 1, 0, "pending", "One try left", ""},
		{422, "wrong_code", 0, 0, "exhausted", "too many wrong codes", ""},
		{422, "expired", 0, 0, "expired", "This code ran out", ""},
		{422, "used", 0, 0, "approved", "This code was used", ""},
		{422, "closed", 0, 0, "canceled", "This sign-in was closed", ""},
		{422, "closed", 0, 0, "pending", "This sign-in was closed", ""}, // The record lags behind.
		{429, "too_many", 0, 35 * time.Minute, "pending", "until <time datetime=", "2100"},
		{429, "too_many", 0, 3 * time.Minute, "pending", "come back to this page and type it", "180"},
	} {
		s.serveAnew()
		s.refuse(c.status, c.code, c.left, c.after)
		address, _ := s.prompt(t)
		p := s.person(t)
		p.open(address)
		s.set(func() { s.state.State = c.state })
		res := p.code("482917")
		if res.StatusCode != c.status || !strings.Contains(p.body, c.want) || res.Header.Get("Retry-After") != c.retryAfter {
			t.Errorf("%s: %d, Retry-After %q\n%s", c.code, res.StatusCode, res.Header.Get("Retry-After"), p.body)
		}
		if main := strings.Contains(p.body, `class="button" href="`+s.back.URL); main == (c.code == "too_many" || c.left > 0) {
			t.Errorf("%s: to start again is the main thing to do: %v", c.code, main)
		}
		ends := c.left == 0
		if back := strings.Contains(p.body, `href="`+s.back.URL+`/signed-in"`); back != ends {
			t.Errorf("%s with %d left: a way to start again is %v", c.code, c.left, back)
		}
	}
}

func TestP7_ThePromptSaysThatItCannotAskAndWhenToTryAgain(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	s.set(func() { s.away = true })
	for name, res := range map[string]got{"look": p.ask(http.MethodGet, p.page, nil, nil), "help": p.ask(http.MethodGet, p.page+"/help", nil, nil)} {
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || !strings.Contains(p.body, "Try again") {
			t.Errorf("%s: %d\n%s", name, res.StatusCode, p.body)
		}
	}
	s.set(func() { s.away = false })
	p.ask(http.MethodGet, p.page, nil, nil)
	s.set(func() { s.away = true })
	if res := p.code("482917"); res.StatusCode != http.StatusServiceUnavailable || len(s.checks) != 0 {
		t.Errorf("check: %d", res.StatusCode)
	}
}

// The answer to a right code was lost, and the page loaded again says that the code was used: it takes the same code once
// more, as the same check, whose answer the verifier gives again for a minute.
func TestP7_APageWhoseRightCodeWasUsedTakesItOnceMore(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, handle := s.prompt(t)
	p := s.person(t)
	p.open(address)
	p.code("482917") // Nobody reads the answer.
	s.set(func() { s.state.State, s.state.ResendAt = "approved", nil })
	p.ask(http.MethodGet, p.page, nil, nil)
	if !strings.Contains(p.body, "This code was used") || !strings.Contains(p.body, `name="code"`) || !strings.Contains(p.body, "Start again") {
		t.Fatalf("the page is\n%s", p.body)
	}
	res := p.code("482917")
	if res.StatusCode != http.StatusOK || hidden(p.body, "assertion") == "" || hidden(p.body, "handle") != handle {
		t.Errorf("the same code: %d\n%s", res.StatusCode, p.body)
	}
	if len(s.checks) != 2 || s.checks[0].CheckID != s.checks[1].CheckID {
		t.Errorf("checks %+v", s.checks)
	}
	// After the minute, and for any other code, it was used, and there is nothing more to type.
	s.refuse(422, "used", 0, 0)
	p.ask(http.MethodGet, p.page, nil, nil)
	res = p.code("482917")
	if res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(p.body, "This code was used") || strings.Contains(p.body, `name="code"`) {
		t.Errorf("after the minute: %d\n%s", res.StatusCode, p.body)
	}
	// Other ends offer no code.
	for _, state := range []string{"expired", "exhausted", "canceled"} {
		s.set(func() { s.state.State = state })
		p.ask(http.MethodGet, p.page, nil, nil)
		if strings.Contains(p.body, `name="code"`) {
			t.Errorf("%s: a code can be typed", state)
		}
	}
}

// Forms are bounded before anybody is asked, whatever they hold, for all browsers of a page together; other pages
// are not.
func TestPrompt_APagePostsNoMoreThanAPersonCan(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.refuse(422, "wrong_code", 4, 0)
	address, _ := s.prompt(t)
	p, twin := s.person(t), s.person(t)
	p.open(address)
	twin.open(address)
	refused := 0
	for n := range 80 {
		who, below := p, []string{"/code", "/messages", "/cancel"}[n%3]
		if n%2 == 0 {
			who = twin
		}
		s.set(func() { s.state.State = "pending" })
		if who.form == "" {
			who.ask(http.MethodGet, who.page, nil, nil)
		}
		res := who.send(below, url.Values{"code": {"482917"}, "channel": {"email"}})
		if res.StatusCode != http.StatusTooManyRequests {
			continue
		}
		refused++
		if res.Header.Get("Retry-After") == "" || !strings.Contains(who.body, "Nothing was checked, sent or counted") || !strings.Contains(who.body, "Try again") {
			t.Fatalf("post %d: %v\n%s", n, res.Header, who.body)
		}
	}
	if asked := len(s.checks) + len(s.orders) + s.cancels; refused == 0 || asked != 80-refused {
		t.Errorf("%d of 80 posts were refused, and the verifier was asked %d times", refused, asked)
	}
	other, _ := s.prompt(t)
	p.open(other)
	if res := p.code("482917"); res.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("another page: %d", res.StatusCode)
	}
}

func TestPrompt_ALostAnswerToACheckIsAskedForAgainUnderTheSameID(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	for range 2 { // The page was loaded anew in between, and the same code typed.
		p.code("482917")
		p.ask(http.MethodGet, p.page, nil, nil)
	}
	if len(s.checks) != 2 || s.checks[0].CheckID != s.checks[1].CheckID || s.checks[0].CheckID == "" {
		t.Errorf("check ids %+v", s.checks)
	}
}

func TestSEC09_APageNamesNoRecipientAndNoRouteButTheChallengesOwn(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, handle := s.prompt(t)
	p := s.person(t)
	p.open(address)
	res := p.send("/messages", url.Values{
		"channel": {"email", "sms"}, "to": {"thief@evil.example"}, "recipient": {"thief@evil.example"}, "handle": {"another"}, "return_url": {"https://evil.example"},
	})
	if res.StatusCode != http.StatusSeeOther || len(s.orders) != 1 {
		t.Fatalf("%d, %d orders\n%s", res.StatusCode, len(s.orders), p.body)
	}
	o := s.orders[0]
	if o.Channel != "email" || o.Handle != handle || o.FrontEnd != "login-page" {
		t.Errorf("ordered was %+v", o)
	}
	p.ask(http.MethodGet, p.page, nil, nil)
	res = p.send("/messages", url.Values{"channel": {"thief@evil.example"}})
	if res.StatusCode != http.StatusBadRequest || len(s.orders) != 1 {
		t.Errorf("a channel that is none: %d", res.StatusCode)
	}
}

// DESIGN 3: a resend repeats the same code and the server enforces the wait; the page says so with the time.
func TestSEC18_AResendThatIsTooEarlySaysWhenAndSendsNothing(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	for code, want := range map[string]string{
		"resend_too_early": "You can ask for another message in 0:23. The ones you have still work.", "too_many_messages": "Too many messages were sent there",
		"no_more_sends": "No further message", "no_route": "We cannot send it there",
	} {
		s.set(func() {
			s.order = func(event.ResendRequest) (event.ResendReply, *pkgproblem.Problem) {
				refused := pkgproblem.New(429, code, "Wait.")
				refused.RetryAfter = 23 * time.Second
				return event.ResendReply{}, refused
			}
		})
		if res := p.send("/messages", url.Values{"channel": {"email"}}); res.StatusCode != http.StatusTooManyRequests || !strings.Contains(p.body, want) {
			t.Errorf("%s: %d\n%s", code, res.StatusCode, p.body)
		}
	}
	// The buttons say to those who do not see the sentence what it says (WCAG 2.2, 3.3.1).
	if !strings.Contains(p.body, `aria-describedby="problem"`) {
		t.Error("the buttons are not described by what went wrong")
	}
	// The same form orders the same message: a double click sends once.
	s.set(func() { s.orders = nil })
	s.serveAnew()
	form := url.Values{"form": {p.form}, "once": {p.once}, "channel": {"email"}}
	for range 2 {
		p.ask(http.MethodPost, p.page+"/messages", form, nil)
	}
	if len(s.orders) != 2 || string(s.orders[0].Key) != string(s.orders[1].Key) {
		t.Errorf("two clicks order %+v", s.orders)
	}
}

func TestPrompt_ThisWasNotMeEndsTheChallenge(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	res := p.send("/cancel", nil)
	if res.StatusCode != http.StatusSeeOther || s.cancels != 1 {
		t.Fatalf("%d, %d cancels", res.StatusCode, s.cancels)
	}
	p.ask(http.MethodGet, p.page, nil, nil)
	if !strings.Contains(p.body, "someone may know your password") {
		t.Error(p.body)
	}
}

// SEC-23: whoever has no ticket learns nothing, whatever there is at an address.
func TestSEC23_WithoutATicketEveryPageIsTheSame(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, handle := s.prompt(t)
	p := s.person(t)
	p.open(address)
	forged, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(address, s.pages.URL+"/prompt?ticket="))
	forged[len(forged)-1] ^= 1
	stranger := s.person(t)
	var bodies []string
	for _, at := range []string{
		p.page, p.page + "/help", p.page + "/events", s.pages.URL + "/prompt/AAAAAAAAAAAAAAAA", s.pages.URL + "/prompt", s.pages.URL + "/prompt?ticket=" + handle,
		s.pages.URL + "/prompt?ticket=" + base64.RawURLEncoding.EncodeToString(forged),
	} {
		res := stranger.ask(http.MethodGet, at, nil, nil)
		if res.StatusCode != http.StatusNotFound || res.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d", at, res.StatusCode)
		}
		bodies = append(bodies, stranger.body)
	}
	for _, body := range bodies[1:] {
		if body != bodies[0] {
			t.Error("two such pages differ")
		}
	}
}

// SEC-24, as DESIGN 8 has it: refusals of other kinds are told apart, but a code of another challenge, a guess and a
// code of nobody are one and the same wrong code.
func TestSEC24_AWrongCodeIsAWrongCodeWhateverItOpensElsewhere(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.refuse(422, "wrong_code", 3, 0)
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	mask := regexp.MustCompile(`name="once" value="[^"]*"|data-left="[0-9]+"`) // drawn anew, and the seconds that pass
	var bodies []string
	for _, code := range []string{"482917", "000000", "999 999"} {
		p.code(code)
		bodies = append(bodies, mask.ReplaceAllString(p.body, ""))
	}
	if bodies[0] != bodies[1] || bodies[1] != bodies[2] {
		t.Error("wrong codes are answered differently")
	}
}

// SEC-25: no page shows more of a recipient than its mask.
func TestSEC25_PagesShowMaskedRecipientsAlone(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.set(func() { other(s) })
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	all := p.body
	p.ask(http.MethodGet, p.page+"/help", nil, nil)
	all += p.body
	found := regexp.MustCompile(`[^\s<>"]+@example\.com`).FindAllString(all, -1)
	if len(found) == 0 {
		t.Fatal("no recipient is shown at all")
	}
	for _, f := range found {
		if f != "b•••@example.com" {
			t.Errorf("%s is shown", f)
		}
	}
}

// SEC-07: a page cannot ask for a challenge, and a ticket is worth nothing at the API.
func TestSEC07_ATicketOpensNoOtherDoor(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, handle := s.prompt(t)
	ticket := strings.TrimPrefix(address, s.pages.URL+"/prompt?ticket=")
	before := len(s.issued(t))
	p := s.person(t)
	p.open(address)
	for _, auth := range []string{"Bearer " + ticket, "Bearer dck_login-page_" + ticket, ""} {
		for _, at := range []string{"/v1/challenges/" + handle, "/v1/challenges/" + ticket} {
			res := p.ask(http.MethodGet, s.pages.URL+at, nil, func(r *http.Request) { r.Header.Set("Authorization", auth) })
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s with %q: %d", at, auth, res.StatusCode)
			}
		}
		res := p.ask(http.MethodPost, s.pages.URL+"/v1/challenges", nil, func(r *http.Request) { r.Header.Set("Authorization", auth) })
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("create with %q: %d", auth, res.StatusCode)
		}
	}
	if len(s.issued(t)) != before {
		t.Error("a challenge was issued")
	}
}

// A front-end that is taken away can ask for nothing more, not even by its pages.
func TestPrompt_EndsWithItsFrontEnd(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	p := s.person(t)
	p.open(address)
	s.db.Exec(t, `DELETE FROM front_ends WHERE id = 'login-page'`)
	if res := p.code("482917"); res.StatusCode == http.StatusOK || len(s.checks) != 0 || strings.Contains(p.body, "assertion") {
		t.Errorf("%d", res.StatusCode)
	}
}
