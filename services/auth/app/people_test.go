package app_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/chromium/browsertest"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/services/auth/app"
	"doorcode/services/auth/internal/authtest"
	"doorcode/services/auth/internal/ticket"
)

// town is auth with hosted pages over TLS, and everything around it for real: the verifier, the dispatchers, mailboxes.
type town struct {
	*harness
	*authtest.World
	pages *httptest.Server
}

// settled starts a town with workspace w of the owner anna, whose login is shared: its codes go to the main address.
func settled(t testing.TB) *town {
	t.Helper()
	town := &town{}
	var serve sync.Map // the handler comes later than its address
	town.pages = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, _ := serve.Load("handler")
		h.(http.Handler).ServeHTTP(w, r) //nolint:forcetypeassert // stored below
	}))
	t.Cleanup(town.pages.Close)
	town.harness = start(t, func(c *app.Config) {
		authtest.Keys(t, filepath.Dir(c.JWKSFile))
		c.PublicURL, c.Brand, c.SupportURL = town.pages.URL, authtest.Brand, "https://help.lanternbird.example/"
	})
	serve.Store("handler", town.app.Handler())
	town.World = authtest.Start(t, town.bus, town.db, town.dir)
	town.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w", body: fields{"name": "Acme", "main_email": "office@example.com"}})
	town.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/anna", body: fields{"role": "owner", "locale": "en"}})
	return town
}

// invitation is an invitation as the API shows it.
type invitation struct {
	ID            string     `json:"id"`
	Email         string     `json:"email"`
	Name          string     `json:"name"`
	State         string     `json:"state"`
	Sends         int        `json:"sends"`
	Login         string     `json:"login"`
	ExpiresAt     time.Time  `json:"expires_at"`
	ResendAt      *time.Time `json:"resend_at"`
	ProbableGroup bool       `json:"probable_group"`
}

// invite invites an address as the owner.
func (town *town) invite(t testing.TB, email, name string) invitation {
	t.Helper()
	var i invitation
	town.must(t, 201, request{method: "POST", path: "/v1/workspaces/w/invitations", body: fields{"email": email, "name": name, "by": "anna"}}).into(t, &i)
	return i
}

// link is the address in the first mail to somebody.
func (town *town) link(t testing.TB, email string) string {
	t.Helper()
	m := town.Messages(t, email, 1)[0]
	found := regexp.MustCompile(`https://\S+`).FindAllString(m.Text, -1)
	if len(found) != 1 || !strings.HasPrefix(found[0], town.pages.URL+"/invitation?of=") {
		t.Fatalf("the links of the mail are %q:\n%s", found, m.Text)
	}
	return found[0]
}

// browser returns a browser without JavaScript and cookies.
func (town *town) browser(t testing.TB) *person {
	t.Helper()
	return (&scene{harness: town.harness, pages: town.pages}).person(t)
}

// ask presses the button of an invitation's page and opens what it leads to.
func (p *person) askCode(link string) got {
	p.t.Helper()
	base, query, _ := strings.Cut(link, "?of=")
	res := p.ask(http.MethodPost, base, url.Values{"of": {query}}, nil)
	if res.StatusCode == http.StatusSeeOther {
		p.page = strings.TrimSuffix(base, "/invitation") + res.Header.Get("Location")
		p.ask(http.MethodGet, p.page, nil, nil)
	}
	return res
}

// product.md journey 2.3: from the mail to an own login, without JavaScript.
func TestInvitation_GoesFromTheMailToALoginOfTheirOwn(t *testing.T) {
	t.Parallel()
	town := settled(t)
	i := town.invite(t, "kim@example.org", "Kim")
	link := town.link(t, "kim@example.org")
	p := town.browser(t)
	for range 2 { // Whoever looks changes nothing: programs follow links in mails, too.
		res := p.ask(http.MethodGet, link, nil, nil)
		if res.StatusCode != http.StatusOK || !strings.Contains(p.body, "You are invited to Acme") || strings.Contains(p.body, "kim@example.org") ||
			!strings.Contains(p.body, "k•••@example.org") || len(res.Header.Values("Set-Cookie")) != 0 {
			t.Fatalf("the page is %d:\n%s", res.StatusCode, p.body)
		}
	}
	if res := p.askCode(link); res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(res.Header.Get("Set-Cookie"), "__Host-") ||
		!strings.Contains(res.Header.Get("Set-Cookie"), "HttpOnly; Secure; SameSite=Lax") {
		t.Fatalf("the button is answered %d:\n%s", res.StatusCode, p.body)
	}
	code := town.Code(t, "kim@example.org", 1)
	if res := p.askCode(link); res.StatusCode != http.StatusSeeOther || town.Box.Count() != 2 {
		t.Errorf("pressed again: %d, %d messages", res.StatusCode, town.Box.Count())
	}
	if res := p.code(authtest.Wrong(code)); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(p.body, "4 tries left") {
		t.Errorf("a wrong code is answered %d:\n%s", res.StatusCode, p.body)
	}
	if res := p.code("12ab"); res.StatusCode != http.StatusBadRequest || !strings.Contains(p.body, "A code has only digits") {
		t.Errorf("no code is answered %d", res.StatusCode)
	}
	typed := strings.Join(strings.SplitAfterN(code, "", 4), " ")
	form := p.form
	for range 2 { // The answer may have been lost, and what was posted is posted again.
		p.form = form
		if res := p.code(typed); res.StatusCode != http.StatusOK || !strings.Contains(p.body, "You have accepted") {
			t.Fatalf("the code is answered %d:\n%s", res.StatusCode, p.body)
		}
	}
	p.ask(http.MethodGet, p.page, nil, nil)
	if !strings.Contains(p.body, "This invitation is not open") {
		t.Errorf("afterwards the page is\n%s", p.body)
	}
	town.hears(t, "invitation_accepted", i.ID)
	var now invitation
	town.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/invitations/" + i.ID}).into(t, &now)
	if now.State != "accepted" || now.Login != "" || now.ResendAt != nil {
		t.Errorf("invitation %+v", now)
	}
	town.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/kim", body: fields{
		"role": "administrator", "email": "kim@example.org", "invitation": i.ID,
	}})
	town.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/invitations/" + i.ID}).into(t, &now)
	if now.Login != "kim" {
		t.Errorf("invitation %+v", now)
	}
	town.must(t, 201, create("kim"))
	town.Code(t, "kim@example.org", 2)
}

// hears waits until the bus has an event about something.
func (town *town) hears(t testing.TB, kind, about string) {
	t.Helper()
	bustest.Wait(t, "the application hears of it", func() bool {
		return slices.ContainsFunc(town.bus.Messages(t, event.StreamDirectory), func(m bustest.Stored) bool {
			return m.Subject == "doorcode.directory."+kind && strings.Contains(string(m.Data), about)
		})
	})
}

// Withdrawn, expired, used, its inviter gone, or never there: one page, to the letter.
func TestSEC23_AnInvitationThatIsOverIsOnePage(t *testing.T) {
	t.Parallel()
	town := settled(t)
	rows := postgres.NewDirectory(town.db.Auth(t), town.ring(t, "ROW"))
	handles := town.ring(t, "HANDLE")
	address := func(l ticket.Link) string { return town.pages.URL + l.Address(handles) }
	shown := map[string]string{}
	look := func(name, link string) {
		t.Helper()
		p := town.browser(t)
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			base, field, _ := strings.Cut(link, "?of=")
			var form url.Values
			if method == http.MethodPost {
				link, form = base, url.Values{"of": {field}}
			}
			res := p.ask(method, link, form, nil)
			if res.StatusCode != http.StatusGone || len(res.Header.Values("Set-Cookie")) != 0 {
				t.Errorf("%s: %s is answered %d", name, method, res.StatusCode)
			}
			shown[p.body] = name
		}
	}
	withdrawn := town.invite(t, "a@example.org", "")
	town.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w/invitations/" + withdrawn.ID})
	look("withdrawn", address(ticket.Link{Kind: ticket.LinkInvitation, Workspace: "w", ID: withdrawn.ID, Until: withdrawn.ExpiresAt}))
	used := town.invite(t, "b@example.org", "")
	_, err := rows.AcceptInvitation(t.Context(), "w", used.ID, "challenge")
	if err != nil {
		t.Fatal(err)
	}
	look("used", address(ticket.Link{Kind: ticket.LinkInvitation, Workspace: "w", ID: used.ID, Until: used.ExpiresAt}))
	open := town.invite(t, "c@example.org", "")
	mine := ticket.Link{Kind: ticket.LinkInvitation, Workspace: "w", ID: open.ID, Until: open.ExpiresAt}
	expired, never, elsewhere, other := mine, mine, mine, mine
	expired.Until = time.Now().Add(-time.Second)
	never.ID, elsewhere.Workspace, other.Kind = "nothing", "v", ticket.LinkUndo
	look("expired", address(expired))
	look("never there", address(never))
	look("in another workspace", address(elsewhere))
	look("of another kind", strings.Replace(address(other), "/undo?", "/invitation?", 1))
	look("changed", address(mine)[:len(address(mine))-3]+"AAA")
	look("nothing", town.pages.URL+"/invitation?of=")
	town.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/bert", body: fields{"role": "owner", "email": "bert@example.com"}})
	look("its inviter lost ownership", address(mine))
	if len(shown) != 1 {
		t.Errorf("there are %d pages: %v", len(shown), shown)
	}
	if n := len(town.issued(t)); n != 0 {
		t.Errorf("%d codes were sent", n)
	}
}

// SEC-06, SEC-58: the code is typed in the browser that asked for it, on the page's own form.
func TestSEC58_AnInvitationIsAcceptedByTheFormOfItsPageAlone(t *testing.T) {
	t.Parallel()
	town := settled(t)
	i := town.invite(t, "kim@example.org", "Kim")
	link := town.link(t, "kim@example.org")
	mine, other := town.browser(t), town.browser(t)
	base, field, _ := strings.Cut(link, "?of=")
	abroad := func(r *http.Request) {
		r.Header.Set("Origin", "https://evil.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	if res := mine.ask(http.MethodPost, base, url.Values{"of": {field}}, abroad); res.StatusCode != http.StatusForbidden {
		t.Errorf("a code that another site asks for: %d", res.StatusCode)
	}
	page := mine.ask(http.MethodGet, link, nil, nil)
	policy := page.Header.Get("Content-Security-Policy")
	if page.Header.Get("Cache-Control") != "no-store" || page.Header.Get("X-Frame-Options") != "DENY" || !strings.Contains(policy, "default-src 'none'") ||
		!strings.Contains(policy, "form-action 'self'") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, hashOf(t, mine.body, "style")) {
		t.Errorf("the page has the headers %v", page.Header)
	}
	mine.askCode(link)
	code := town.Code(t, "kim@example.org", 1)
	form := url.Values{"form": {mine.form}, "code": {code}}
	other.page = mine.page
	other.askCode(link) // This browser has a code of its own, and may not type mine.
	for name, res := range map[string]got{
		"without the form's value": mine.ask(http.MethodPost, mine.page+"/code", url.Values{"code": {code}}, nil),
		"from another site":        mine.ask(http.MethodPost, mine.page+"/code", form, abroad),
		"the form of another":      mine.ask(http.MethodPost, mine.page+"/code", url.Values{"code": {code}, "form": {other.form}}, nil),
		"in another browser":       town.browser(t).ask(http.MethodPost, mine.page+"/code", form, nil),
		"as another media type": mine.ask(http.MethodPost, mine.page+"/code", form, func(r *http.Request) {
			r.Header.Set("Content-Type", "text/plain")
		}),
	} {
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	stranger := town.browser(t)
	if res := stranger.ask(http.MethodGet, mine.page, nil, nil); res.StatusCode != http.StatusNotFound || strings.Contains(stranger.body, "example.org") {
		t.Errorf("another browser sees the page: %d", res.StatusCode)
	}
	own := town.Code(t, "kim@example.org", 2)
	if own != code {
		if res := other.code(code); res.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("a code of another browser is answered %d", res.StatusCode)
		}
	}
	mine.ask(http.MethodGet, mine.page+"/code?code="+code, nil, nil)
	var now invitation
	town.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/invitations/" + i.ID}).into(t, &now)
	if now.State != "open" {
		t.Errorf("it is %s", now.State)
	}
	mine.ask(http.MethodGet, mine.page, nil, nil)
	if res := mine.code(code); res.StatusCode != http.StatusOK {
		t.Errorf("in the end: %d", res.StatusCode)
	}
	if logged := town.logs.String(); strings.Contains(logged, code) || strings.Contains(logged, field) || strings.Contains(logged, "kim@") {
		t.Error("a code, a link or an address stands in the log")
	}
}

// hostile is what people type in place of names.
func hostile() []string {
	return []string{
		"<script>alert(1)</script> Kim", "Kim\r\nBcc: a@b.example\r\n\r\nhello", "Kim https://evil.example/?code=482917", "Kim\u202eevil", "Kim\x00\x1b[31m",
		"Kim {{.Brand}} " + strings.Repeat("x", 200), `Kim"><img src=x onerror=alert(1)>`, "Kim evil.example 0800 123456",
	}
}

// product.md R8.2: typed names and addresses do nothing, wherever they are shown: in mail, on the page and in the API.
func TestSEC35_WhatPeopleTypeIsInertEverywhere(t *testing.T) {
	t.Parallel()
	town := settled(t)
	rows := postgres.NewDirectory(town.db.Auth(t), town.ring(t, "ROW"))
	inert := func(place, s string) {
		t.Helper()
		s = strings.ReplaceAll(s, town.pages.URL, "")
		for _, bad := range []string{"<script>a", "<img", "onerror=", "evil.example", "Bcc:", "https://", "\u202e", "\x00", "\x1b", "482917", "123456", "{{", strings.Repeat("x", 61)} {
			if strings.Contains(s, bad) {
				t.Errorf("%s holds %q:\n%s", place, bad, s)
			}
		}
	}
	for n, name := range hostile() {
		email := "kim" + string(rune('a'+n)) + "@example.org"
		i := town.invite(t, email, name)
		if account.InertName(i.Name) != i.Name || !strings.Contains(i.Name, "Kim") || len([]rune(i.Name)) > 60 {
			t.Errorf("%q is shown as %q", name, i.Name)
		}
		m := town.Messages(t, email, 1)[0]
		inert("the mail", m.Subject+"\n"+m.Text)
		inert("the mail's page", strings.ReplaceAll(strings.ReplaceAll(m.HTML, "<style", ""), "https://www.w3.org", ""))
		if !strings.Contains(m.Text, "“"+i.Name+"”") {
			t.Errorf("the mail does not name %q:\n%s", i.Name, m.Text)
		}
	}
	for n, name := range hostile()[:3] {
		err := rows.AskOwner(t.Context(), postgres.Change{By: "front"}, account.JoinRequest{
			Workspace: "w", Login: "anna", Name: account.InertName(name), Email: "'" + strings.Repeat("k", n+1) + "'&x={}@example.org", Browser: "Firefox", System: "Windows",
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range town.Messages(t, "office@example.com", 3) {
		inert("the request", m.Subject+"\n"+m.Text)
		inert("the request's page", m.HTML)
		if strings.Contains(m.Subject+m.Text+m.HTML, "@example.org") || strings.Contains(m.Text+m.HTML, "://") || strings.Contains(m.Subject, "Kim") ||
			!strings.Contains(m.Text, "with Firefox on Windows") || !strings.Contains(m.Text, "Decline, and change that password.") {
			t.Errorf("the request is\n%s\n%s", m.Subject, m.Text)
		}
	}
	inert("the list", string(town.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/join-requests"}).Body))
	inert("the list of invitations", string(town.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/invitations"}).Body))
	p := town.browser(t)
	p.ask(http.MethodGet, town.link(t, "kima@example.org"), nil, nil)
	inert("the page", regexp.MustCompile(`(?s)<style>.*?</style>|<script>.*?</script>|https://help[^"]*`).ReplaceAllString(p.body, ""))
}

// What does not hold any more is told to nobody, and nobody is told on the word of a row that was edited (SEC-09).
func TestNotice_AnInvitationThatIsOverOrEditedIsNotMailed(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *app.Config) { c.PublicURL = "https://sign-in.example.com" })
	h.settle(t)
	h.must(t, 200, request{method: "PUT", path: "/v1/workspaces/w", body: fields{"name": "Lanternbird", "main_email": "office@example.com", "owner": "anna"}})
	tell := func(kind event.Type, id string) {
		t.Helper()
		at := time.Now().UTC().Truncate(time.Microsecond)
		e, err := event.New(kind, "ws.w."+id+string(kind), "doorcode/auth", at, "w", event.Directory{Workspace: "w", Login: "anna", By: "front", About: id, At: at})
		if err != nil {
			t.Fatal(err)
		}
		h.say(t, e.ID, e)
	}
	made := func(email string) invitation {
		t.Helper()
		var i invitation
		h.must(t, 201, request{method: "POST", path: "/v1/workspaces/w/invitations", body: fields{"email": email, "by": "anna"}}).into(t, &i)
		return i
	}
	good, taken, edited := made("good@example.org"), made("taken@example.org"), made("edited@example.org")
	h.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w/invitations/" + taken.ID})
	h.db.Exec(t, `UPDATE invitations SET email = 'thief@evil.example' WHERE id = $1`, edited.ID)
	for _, id := range []string{good.ID, taken.ID, edited.ID, "nothing"} {
		tell(event.InvitationMade, id)
	}
	tell(event.InvitationRepeated, good.ID)
	tell(event.JoinRequested, "nothing")
	h.say(t, "last", h.locked(t, "bert", "9"))
	h.handled(t)
	all := h.notices(t)
	var to []string
	for _, n := range all {
		if n.Order.Kind == event.NoticeInvited {
			to = append(to, n.Content.Recipient)
			if n.Content.Link == "" || !strings.HasPrefix(n.Content.Link, "https://sign-in.example.com/invitation?of=") || !n.Content.Until.Equal(good.ExpiresAt) || n.Content.Code != "" {
				t.Errorf("content until %s with the link %q", n.Content.Until, n.Content.Link)
			}
		}
	}
	if !slices.Equal(to, []string{"good@example.org", "good@example.org"}) || len(all) != 3 {
		t.Errorf("mails to %q of %d", to, len(all))
	}
	if h.metric(t, "doorcode_directory_mac_failures_total", "invitations") == 0 || h.metric(t, "doorcode_notices_total", "broken") != 1 || h.metric(t, "doorcode_notices_total", "ended") != 1 ||
		h.metric(t, "doorcode_notices_total", "removed") != 2 || strings.Contains(h.logs.String(), "example.org") {
		t.Errorf("it is not counted, or an address is in the log:\n%s", h.logs.String())
	}
}

func TestInvite_OverTheAPISaysWhyNot(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *app.Config) { c.PublicURL = "https://sign-in.example.com" })
	h.settle(t)
	h.must(t, 200, request{method: "PUT", path: "/v1/workspaces/w", body: fields{"name": "Lanternbird", "main_email": "office@example.com", "owner": "anna"}})
	invite := func(email string) request {
		return request{method: "POST", path: "/v1/workspaces/w/invitations", body: fields{"email": email, "name": "Kim", "by": "anna"}}
	}
	var first, again invitation
	h.must(t, 201, invite("info@example.org")).into(t, &first)
	h.must(t, 200, invite("INFO@example.org")).into(t, &again)
	if first.ID != again.ID || !first.ProbableGroup {
		t.Errorf("invitations %+v, %+v", first, again)
	}
	one := "/v1/workspaces/w/invitations/" + first.ID
	for want, r := range map[string]request{
		"409 main_address":      invite("office@example.com"),
		"409 address_in_use":    invite("bert@example.com"),
		"409 not_owner":         {method: "POST", path: "/v1/workspaces/w/invitations", body: fields{"email": "x@example.org", "by": "bert"}},
		"429 resend_too_early":  {method: "POST", path: one + "/deliveries"},
		"404 unknown_request":   {method: "DELETE", path: "/v1/workspaces/w/join-requests/x"},
		"404 unknown_test":      {method: "GET", path: "/v1/workspaces/w/group-tests/x"},
		"404 unknown_workspace": {method: "GET", path: "/v1/workspaces/v/invitations"},
	} {
		status, code, _ := strings.Cut(want, " ")
		number := map[string]int{"404": 404, "409": 409, "429": 429}[status]
		h.refused(t, number, code, r)
	}
	h.must(t, 204, request{method: "DELETE", path: one})
	h.refused(t, 409, "invitation_closed", request{method: "POST", path: one + "/deliveries"})
	var list struct {
		Invitations []invitation `json:"invitations"`
	}
	h.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/invitations"}).into(t, &list)
	if len(list.Invitations) != 1 || list.Invitations[0].State != "withdrawn" {
		t.Errorf("list %+v", list)
	}
	h.refused(t, 400, "invalid_request", request{method: "PUT", path: "/v1/workspaces/w/logins/kim", body: fields{
		"role": "administrator", "email": "info@example.org", "invitation": first.ID,
	}})
	plain := start(t, nil)
	plain.settle(t)
	plain.must(t, 200, request{method: "PUT", path: "/v1/workspaces/w", body: fields{"name": "Lanternbird", "main_email": "office@example.com", "owner": "anna"}})
	plain.refused(t, 409, "no_pages", invite("x@example.org"))
}

// TestInvitation_EveryStateIsAccessibleAndFits judges each state as those of the prompt are.
func TestInvitation_EveryStateIsAccessibleAndFits(t *testing.T) {
	t.Parallel()
	town := settled(t)
	b := browsertest.Open(t, browsertest.Options{NoScript: true, Insecure: true})
	s := &scene{harness: town.harness, pages: town.pages}
	town.invite(t, "kim@example.org", "Kim")
	link := town.link(t, "kim@example.org")
	b.Visit(link)
	s.judgePage(t, b, "invitation")
	b.Leave(func() { b.Press("#send button") })
	s.judgePage(t, b, "invitation-code")
	code := town.Code(t, "kim@example.org", 1)
	b.Leave(func() { typing(authtest.Wrong(code))(b) })
	s.judgePage(t, b, "invitation-wrong")
	b.Leave(func() { b.Press("#ways button") })
	s.judgePage(t, b, "invitation-early")
	b.Leave(func() { typing(code)(b) })
	s.judgePage(t, b, "invitation-accepted")
	b.Visit(link)
	s.judgePage(t, b, "invitation-closed")
}
