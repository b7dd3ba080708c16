package app_test

import (
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/postgres"
	"doorcode/services/auth/app"
)

// settings makes a settings session of a login and returns its link.
func (s *scene) settings(t testing.TB, login string, more fields) string {
	t.Helper()
	body := fields{"workspace": "w", "login": login, "return_url": s.back.URL + "/account"}
	for name, value := range more {
		body[name] = value
	}
	var link struct {
		URL       string    `json:"url"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	s.must(t, 201, request{method: "POST", path: "/v1/settings-sessions", key: s.key, body: body}).into(t, &link)
	if !strings.HasPrefix(link.URL, s.pages.URL+"/settings?link=") || time.Until(link.ExpiresAt) > 6*time.Minute {
		t.Fatalf("the link is %+v", link)
	}
	return link.URL
}

// signedIn puts sign-ins of a login on record: one for each agent, a browser and a network of its own, the last one first.
func (s *scene) signedIn(t testing.TB, login, outcome string, agents ...string) {
	t.Helper()
	for i, agent := range agents {
		s.db.Exec(t, `
			INSERT INTO sign_ins (workspace, login, ended_at, challenge_id, started_at, channel, outcome, network, browser, agent)
			VALUES ('w', $1, now() - $2 * interval '1 hour', $3 || $2::text, now(), 'email', $3, $2::text || '.0.2.0/24', decode(lpad($2::text, 2, '0'), 'hex'), nullif($4, ''))`,
			login, i, outcome, agent)
	}
}

// holdsNothing fails the test when the last answer shows anything of a login.
func (p *person) holdsNothing(what string, res got) {
	p.t.Helper()
	if res.StatusCode != http.StatusNotFound || !strings.Contains(p.body, "This page has ended") || strings.Contains(p.body, "example.com") ||
		strings.Contains(p.body, "Lanternbird</") && strings.Contains(p.body, "Login ") {
		p.t.Errorf("%s: %d: %s", what, res.StatusCode, p.body)
	}
}

func TestSettings_SayWhereCodesGoAndWhy(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.signedIn(t, "bert", "approved", "Firefox on Windows", "")
	s.signedIn(t, "bert", "expired", "Chrome on Android")
	s.signedIn(t, "anna", "exhausted", "Edge on macOS")
	p := s.person(t)
	p.open(s.settings(t, "bert", nil))
	for _, want := range []string{
		"b•••@example.com", "Your codes go to your own e-mail address.", "E-mailed codes stop", "at most assurance level 1", "Firefox on Windows, code by e‑mail",
		"unknown browser", "Chrome on Android", "Not let in: no code was typed in time", "Login bert in Lanternbird",
	} {
		if !strings.Contains(p.body, want) {
			t.Errorf("no %q: %s", want, p.body)
		}
	}
	if strings.Contains(p.body, "Edge") || strings.Contains(p.body, "bert@") || strings.Contains(p.body, "Do several people") {
		t.Errorf("it shows too much: %s", p.body)
	}
	owner := s.person(t)
	owner.open(s.settings(t, "anna", fields{"locale": "nl"}))
	for _, want := range []string{"o•••@example.com", "hoofdadres van de workspace", "te veel foute codes", `<html lang="nl">`} {
		if !strings.Contains(owner.body, want) {
			t.Errorf("no %q: %s", want, owner.body)
		}
	}
	var shown struct {
		Route map[string]string `json:"route"`
	}
	s.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/logins/anna"}).into(t, &shown)
	if shown.Route["channel"] != "email" || shown.Route["recipient"] != "o•••@example.com" || !strings.Contains(shown.Route["why"], "main e-mail address") {
		t.Errorf("support is shown %v", shown.Route)
	}
}

// product.md edge case 16 and R1.9, as far as doorcode can know: whose codes come by e-mail reads that a mailbox which resets
// the password, too, is one step. Of a reset itself it is not told; the README leaves what follows it to the application.
func TestEdge16_SettingsSayThatOneMailboxForBothIsOneStep(t *testing.T) {
	t.Parallel()
	s := play(t, texting(100))
	s.phoned(t, "tess", "+12025550148", "tess@example.com")
	for _, c := range []struct {
		login, locale, sentence string
		want                    bool
	}{
		{"bert", "en", "that mailbox alone is enough to sign in", true}, // an address of one's own
		{"anna", "nl", "is die mailbox alleen genoeg", true},            // the main address
		{"tess", "en", "that mailbox alone is enough to sign in", false},
	} {
		p := s.person(t)
		p.open(s.settings(t, c.login, fields{"locale": c.locale}))
		if !strings.Contains(p.body, "SP 800-63B") || strings.Contains(p.body, c.sentence) != c.want {
			t.Errorf("%s reads %q: %t, in\n%s", c.login, c.sentence, !c.want, p.body)
		}
	}
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, limits, _ := strings.Cut(string(readme), "## What it does not do")
	for _, want := range []string{"both resets the password and receives the code is one factor, not two", "not told of password resets"} {
		if !strings.Contains(strings.Join(strings.Fields(limits), " "), want) {
			t.Errorf("the README does not say %q", want)
		}
	}
}

func TestSettings_NobodyToSendToIsSaidPlainly(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/sam", body: fields{"role": "member"}})
	p := s.person(t)
	p.open(s.settings(t, "sam", nil))
	if !strings.Contains(p.body, "no address or number of yours") || strings.Contains(p.body, "o•••@") {
		t.Error(p.body)
	}
	if a := s.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/logins/sam"}); strings.Contains(string(a.Body), "route") {
		t.Errorf("a way to nobody: %s", a.Body)
	}
}

func TestSEC44_SettingsWarnWhenALoginLooksShared(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.signedIn(t, "anna", "approved", "a", "b", "c", "d", "e")
	s.signedIn(t, "bert", "expired", "a", "b", "c", "d", "e") // Who was not let in used nothing.
	p := s.person(t)
	p.open(s.settings(t, "anna", nil))
	if !strings.Contains(p.body, "<strong>5</strong> browsers on <strong>5</strong> networks, which looks like <strong>3</strong> people") {
		t.Error(p.body)
	}
	p.open(s.settings(t, "bert", nil))
	if strings.Contains(p.body, "Do several people") {
		t.Error(p.body)
	}
}

// A link is good once, whoever comes first, and what it held is worth nothing afterwards.
func TestSettings_ALinkOpensOnceAndGivesASecretOfItsOwn(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	link := s.settings(t, "bert", nil)
	const at = 8
	people, answers := make([]*person, at), make([]got, at)
	var all sync.WaitGroup
	for i := range people {
		people[i] = s.person(t)
		all.Go(func() { answers[i] = people[i].ask(http.MethodGet, link, nil, nil) })
	}
	all.Wait()
	var first got
	opened := 0
	for i, res := range answers {
		if res.StatusCode == http.StatusSeeOther {
			opened, first = opened+1, res
			continue
		}
		people[i].holdsNothing("a used link", res)
		if res.Header.Get("Set-Cookie") != "" {
			t.Error("a used link sets a cookie")
		}
	}
	if opened != 1 {
		t.Fatalf("it was opened %d times", opened)
	}
	cookie := first.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-settings-", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("no %s in %s", want, cookie)
		}
	}
	if first.Header.Get("Referrer-Policy") != "no-referrer" || strings.Contains(first.Header.Get("Location"), "link") {
		t.Errorf("the link is passed on: %v", first.Header)
	}
	// Who chose the link cannot use the session, and who knows its page needs the cookie (CWE-384).
	name, value, _ := strings.Cut(strings.SplitN(cookie, ";", 2)[0], "=")
	secret := strings.TrimPrefix(link, s.pages.URL+"/settings?link=")
	page := s.pages.URL + first.Header.Get("Location")
	for what, forged := range map[string]string{
		"the link's secret": secret, "none": "", "another's": strings.Split(value, ".")[0] + "." + strings.Repeat("A", 26),
	} {
		thief := s.person(t)
		res := thief.ask(http.MethodGet, page, nil, func(r *http.Request) { r.Header.Set("Cookie", name+"="+forged) })
		thief.holdsNothing(what, res)
	}
	if logged := s.logs.String(); strings.Contains(logged, secret) || strings.Contains(logged, value) {
		t.Error("a secret is in the log")
	}
	if s.count(t, `SELECT count(*) FROM settings_sessions WHERE encode(secret_hash, 'escape') LIKE '%' || $1 || '%'`, strings.Split(value, ".")[1]) != 0 {
		t.Error("the secret itself is stored")
	}
	if made := s.count(t, `SELECT count(*) FROM audit WHERE kind IN ('settings_session.v1.made', 'settings_session.v1.opened') AND login = 'bert' AND actor = 'login-page'`); made != 2 {
		t.Errorf("%d records", made)
	}
}

// A change of the login ends its sessions at once, and so does the end of the front-end that asked for them.
func TestSEC39_SettingsEndWithWhatTheyWereOpenedFor(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*scene){
		"another address": func(s *scene) {
			s.must(t, 200, request{method: "PUT", path: "/v1/workspaces/w/logins/bert", key: s.harness.key, body: fields{"role": "member", "email": "other@example.com"}})
		},
		"another role": func(s *scene) {
			s.must(t, 200, request{method: "PUT", path: "/v1/workspaces/w/logins/bert", key: s.harness.key, body: fields{"role": "administrator", "email": "bert@example.com"}})
		},
		"removed": func(s *scene) {
			s.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w/logins/bert", key: s.harness.key})
		},
		"removed and put again": func(s *scene) {
			s.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w/logins/bert", key: s.harness.key})
			s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/bert", key: s.harness.key, body: fields{"role": "member", "email": "bert@example.com"}})
		},
		"workspace removed": func(s *scene) {
			s.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w", key: s.harness.key})
		},
		"no front-end":       func(s *scene) { s.db.Exec(t, `DELETE FROM front_ends WHERE id = 'login-page'`) },
		"scope withdrawn":    func(s *scene) { s.reregister(t, []frontend.Scope{frontend.Challenges}, s.back.URL) },
		"origin withdrawn":   func(s *scene) { s.reregister(t, []frontend.Scope{frontend.Settings}, "https://other.example") },
		"workspace withheld": func(s *scene) { s.reregister(t, []frontend.Scope{frontend.Settings}, s.back.URL, "v") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := play(t, nil)
			p := s.person(t)
			unopened := s.settings(t, "bert", nil)
			p.open(s.settings(t, "bert", nil))
			if !strings.Contains(p.body, "Login bert") {
				t.Fatal(p.body)
			}
			form := p.form
			change(s)
			p.holdsNothing("the page", p.ask(http.MethodGet, p.page, nil, nil))
			p.holdsNothing("a post", p.ask(http.MethodPost, p.page+"/end", url.Values{"form": {form}}, nil))
			p.holdsNothing("a link", p.ask(http.MethodGet, unopened, nil, nil))
		})
	}
}

// reregister gives the front-end of the scene other rights and the key that it has.
func (s *scene) reregister(t testing.TB, scopes []frontend.Scope, origin string, workspaces ...string) {
	t.Helper()
	directory := postgres.NewDirectory(s.db.Owner(t), s.ring(t, "ROW"))
	f, err := directory.FrontEnd(t.Context(), "login-page")
	if err != nil {
		t.Fatal(err)
	}
	f.Scopes, f.ReturnOrigins = scopes, []string{origin}
	f.Workspaces, f.AllWorkspaces = workspaces, len(workspaces) == 0
	err = directory.PutFrontEnd(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
}

func TestSettings_ASessionEditedInTheDatabaseOpensNothingAndRaisesAnAlarm(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	p := s.person(t)
	p.open(s.settings(t, "bert", nil))
	for _, edit := range []string{
		`UPDATE settings_sessions SET login = 'anna', version = (SELECT version FROM login_budgets WHERE login = 'anna')`,
		`UPDATE settings_sessions SET approved_at = now()`,
		`UPDATE settings_sessions SET expires_at = now() + interval '1 year'`,
	} {
		before := s.metric(t, "doorcode_directory_mac_failures_total", "settings_sessions")
		s.db.Exec(t, `CREATE TABLE IF NOT EXISTS kept AS TABLE settings_sessions`)
		s.db.Exec(t, edit)
		res := p.ask(http.MethodGet, p.page, nil, nil)
		if res.StatusCode != http.StatusServiceUnavailable || strings.Contains(p.body, "Login ") {
			t.Errorf("%s: %d: %s", edit, res.StatusCode, p.body)
		}
		if s.metric(t, "doorcode_directory_mac_failures_total", "settings_sessions") != before+1 {
			t.Errorf("%s raises no alarm", edit)
		}
		s.db.Exec(t, `DELETE FROM settings_sessions`)
		s.db.Exec(t, `INSERT INTO settings_sessions TABLE kept`)
	}
	if res := p.ask(http.MethodGet, p.page, nil, nil); res.StatusCode != http.StatusOK {
		t.Errorf("as it was: %d", res.StatusCode)
	}
}

func TestSettings_AreOpenedByFrontEndsWithTheScopeAlone(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	origins := []string{s.back.URL}
	for id, f := range map[string]frontend.FrontEnd{
		"page":   {Scopes: []frontend.Scope{frontend.Challenges, frontend.Directory}, AllWorkspaces: true, ReturnOrigins: origins},
		"abroad": {Scopes: []frontend.Scope{frontend.Settings}, Workspaces: []string{"v"}, ReturnOrigins: origins},
	} {
		f.ID = id
		key := s.frontEnd(t, f)
		r := request{method: "POST", path: "/v1/settings-sessions", key: key, body: fields{"workspace": "w", "login": "bert", "return_url": s.back.URL + "/account"}}
		s.refused(t, 404, "unknown_workspace", r)
	}
	only := s.frontEnd(t, frontend.FrontEnd{ID: "only", Scopes: []frontend.Scope{frontend.Settings}, AllWorkspaces: true, ReturnOrigins: origins})
	s.refused(t, 404, "unknown_workspace", request{method: "GET", path: "/v1/workspaces/w", key: only})
	r := create("bert")
	r.key = only
	s.refused(t, 404, "unknown_workspace", r)
	for login, code := range map[string]string{"nobody": "unknown_login", "bert": ""} {
		r := request{method: "POST", path: "/v1/settings-sessions", key: only, body: fields{"workspace": "w", "login": login, "return_url": s.back.URL + "/account"}}
		if code == "" {
			s.must(t, 201, r)
			continue
		}
		s.refused(t, 404, code, r)
	}
	s.refused(t, 401, "unauthenticated", request{method: "POST", path: "/v1/settings-sessions", key: "-", body: fields{"workspace": "w", "login": "bert", "return_url": s.back.URL}})
}

func TestSettings_WithoutHostedPagesThereIsNoLink(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.refused(t, 409, "no_pages", request{method: "POST", path: "/v1/settings-sessions", body: fields{"workspace": "w", "login": "bert", "return_url": "https://app.example/"}})
}

func TestSettings_TakePostsOfTheirOwnFormsAlone(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	p := s.person(t)
	p.open(s.settings(t, "bert", nil))
	form := url.Values{"form": {p.form}}
	for name, change := range map[string]func(*http.Request){
		"cross-site form": func(r *http.Request) {
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		},
		"null origin":        func(r *http.Request) { r.Header.Set("Origin", "null"); r.Header.Del("Sec-Fetch-Site") },
		"other content type": func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"form in the address": func(r *http.Request) {
			r.URL.RawQuery = form.Encode()
			r.Body, r.ContentLength = http.NoBody, 0
		},
	} {
		if res := p.ask(http.MethodPost, p.page+"/end", form, change); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	other := s.person(t)
	other.open(s.settings(t, "bert", nil))
	for what, value := range map[string]string{"none": "", "another session's": other.form} {
		if res := p.ask(http.MethodPost, p.page+"/end", url.Values{"form": {value}}, nil); res.StatusCode != http.StatusForbidden {
			t.Errorf("the value of %s: %d", what, res.StatusCode)
		}
	}
	page := p.ask(http.MethodGet, p.page, nil, nil)
	policy := page.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'self' " + s.back.URL + ";", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %s in %s", want, policy)
		}
	}
	if page.StatusCode != http.StatusOK || page.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the page: %d", page.StatusCode)
	}
	if got := p.ask(http.MethodGet, p.page+"/end", nil, nil); got.StatusCode != http.StatusSeeOther {
		t.Errorf("GET of a form: %d", got.StatusCode)
	}
	if res := p.ask(http.MethodPost, p.page+"/end", form, nil); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != s.back.URL+"/account" {
		t.Errorf("done: %d to %s", res.StatusCode, res.Header.Get("Location"))
	}
	p.holdsNothing("after the end", p.ask(http.MethodGet, p.page, nil, nil))
	if n := s.count(t, `SELECT count(*) FROM audit WHERE kind = 'settings_session.v1.ended'`); n != 1 {
		t.Errorf("%d records of the end", n)
	}
}

func TestSettings_ShowMaskedRecipientsAlone(t *testing.T) {
	t.Parallel()
	s := play(t, func(c *app.Config) { c.SMSCountries, c.SMSDailyCap = []string{"NL"}, 100 })
	s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/kim", body: fields{"role": "member", "email": "kim@example.com", "phone": "+31612345648", "channel": "sms"}})
	p := s.person(t)
	p.open(s.settings(t, "kim", nil))
	if !strings.Contains(p.body, "because you switched to them") || !strings.Contains(p.body, "k•••@example.com") || !strings.Contains(p.body, "48") {
		t.Error(p.body)
	}
	if regexp.MustCompile(`kim@|3161234|12345648`).MatchString(p.body) {
		t.Error("more than a mask is shown")
	}
}

// Browsers of one login can be told apart on record, and followed to no other login; what the browser is called is one of
// a few words.
func TestCreate_PutsOnRecordWhichBrowserOfALoginItWas(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	ask := func(login, browser string) {
		h.must(t, 201, request{method: "POST", path: "/v1/challenges", body: fields{"workspace": "w", "login": login, "client": fields{
			"address": "192.0.2.77", "browser_id": browser, "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
		}}})
	}
	ask("bert", "cookie-1")
	ask("bert", "cookie-1")
	ask("bert", "cookie-2")
	ask("anna", "cookie-1")
	h.must(t, 201, create("anna"))
	all := h.issued(t)
	id := func(i int) string { return string(all[i].Browser) }
	if id(0) == "" || id(0) != id(1) || id(1) == id(2) || id(0) == id(3) || id(4) != "" {
		t.Errorf("browsers %q %q %q %q %q", id(0), id(1), id(2), id(3), id(4))
	}
	if all[0].Agent != "Firefox on Linux" || all[0].Network != "192.0.2.0/24" || all[4].Agent != "" {
		t.Errorf("%q from %q, %q", all[0].Agent, all[0].Network, all[4].Agent)
	}
	for _, m := range h.bus.Messages(t, event.StreamChallenges) {
		if strings.Contains(string(m.Data), "cookie-") || strings.Contains(string(m.Data), "Gecko") || strings.Contains(string(m.Data), "192.0.2.77") {
			t.Error("the event tells more than that")
		}
	}
}

// Pages of other kinds that are opened in the same browser take nothing away.
func TestSettings_StayOpenBesideOtherPages(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	p := s.person(t)
	p.open(s.settings(t, "bert", nil))
	first := p.page
	address, _ := s.prompt(t)
	p.open(address)
	if !strings.Contains(p.body, "KRT") {
		t.Error(p.body)
	}
	p.open(s.settings(t, "anna", nil))
	for page, want := range map[string]string{first: "Login bert", p.page: "Login anna"} {
		res := p.ask(http.MethodGet, page, nil, nil)
		if res.StatusCode != http.StatusOK || !strings.Contains(p.body, want) {
			t.Errorf("%s: %d", want, res.StatusCode)
		}
	}
}

// A session alone, as of a stolen cookie or a key with the scope settings alone, reads nobody's whole address (SEC-25).
func TestSEC25_PeopleShowsAddressesAfterAFreshCodeAlone(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/kim", body: fields{"role": "administrator", "email": "kim@example.org"}})
	s.must(t, 201, request{method: "POST", path: "/v1/workspaces/w/invitations", body: fields{"email": "lee@example.org", "by": "anna"}})
	p := s.person(t)
	p.open(s.settings(t, "anna", nil))
	shown := func() string {
		p.ask(http.MethodGet, p.page+"/people", nil, nil)
		return p.body
	}
	body := shown()
	if regexp.MustCompile(`(kim|lee)@`).MatchString(body) || !strings.Contains(body, "k•••@example.org") || !strings.Contains(body, "l•••@example.org") {
		t.Error("without a fresh code more than a mask is shown, or less")
	}
	var id string
	s.db.Scan(t, `SELECT id FROM settings_sessions`, nil, &id)
	_, err := postgres.NewDirectory(s.db.Auth(t), s.ring(t, "ROW")).ApproveSettings(t.Context(), id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	body = shown()
	if !strings.Contains(body, "kim@example.org") || !strings.Contains(body, "lee@example.org") {
		t.Error("after a fresh code the owner does not see whom to keep")
	}
}
