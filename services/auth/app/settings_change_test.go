package app_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/frontend"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/services/auth/internal/authtest"
)

// enact is play with the real verifier, the dispatchers and the sandbox in place of the played verifier.
func enact(t *testing.T) (*scene, *authtest.World) {
	t.Helper()
	s := &scene{}
	var serve sync.Map // the handler comes later than its address
	s.pages = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, _ := serve.Load("handler")
		h.(http.Handler).ServeHTTP(w, r) //nolint:forcetypeassert // stored below
	}))
	t.Cleanup(s.pages.Close)
	s.back = httptest.NewTLSServer(http.HandlerFunc(s.comeBack))
	t.Cleanup(s.back.Close)
	h := &harness{db: pgtest.Open(t), bus: bustest.Start(t), logs: &lines{}, dir: t.TempDir(), spec: document(t)}
	h.cfg = h.config(t)
	authtest.Keys(t, h.dir)
	texting(200)(&h.cfg)
	h.cfg.PublicURL, h.cfg.Brand = s.pages.URL, "Lanternbird"
	h.run(t)
	s.harness = h
	w := authtest.Start(t, h.bus, h.db, h.dir)
	h.key = h.frontEnd(t, allOf("front"))
	s.key = h.frontEnd(t, frontend.FrontEnd{
		ID: "login-page", Scopes: []frontend.Scope{frontend.Challenges, frontend.Settings}, AllWorkspaces: true, ReturnOrigins: []string{s.back.URL},
	})
	serve.Store("handler", h.app.Handler())
	h.settle(t)
	return s, w
}

// at posts a form of the page and looks at where it leads.
func (p *person) at(below string, more url.Values) got {
	p.t.Helper()
	p.ask(http.MethodGet, p.page, nil, nil)
	res := p.send(below, more)
	for res.StatusCode == http.StatusSeeOther && strings.HasPrefix(res.Header.Get("Location"), "/settings/") {
		base := p.page[:strings.Index(p.page, "/settings/")]
		res = p.ask(http.MethodGet, base+res.Header.Get("Location"), nil, nil)
	}
	p.body = html.UnescapeString(p.body)
	return res
}

// sees fails the test unless the last answer has all of that.
func (p *person) sees(what string, wants ...string) {
	p.t.Helper()
	for _, want := range wants {
		if !strings.Contains(p.body, want) {
			main, _, _ := strings.Cut(p.body, "</main>")
			_, main, _ = strings.Cut(main, "<main>")
			p.t.Errorf("%s: no %q:\n%s", what, want, main)
		}
	}
}

// SEC-36, SEC-37 and SEC-39 on the page: a code to the present address, then one to the new number, and nothing before.
func TestSEC37_SettingsSwitchToAPhoneThatIsProven(t *testing.T) {
	t.Parallel()
	s, w := enact(t)
	p, elsewhere := s.person(t), s.person(t)
	p.open(s.settings(t, "bert", nil))
	elsewhere.open(s.settings(t, "bert", nil))
	p.sees("forms", "Get codes by text message")
	p.at("/change", url.Values{"kind": {"sms"}, "phone": {"12"}})
	p.sees("no number", "no phone number", `value="12"`, "Error: Security settings")
	p.at("/change", url.Values{"kind": {"sms"}, "phone": {"+31 6 12345678x"}})
	p.at("/change", url.Values{"kind": {"sms"}, "phone": {"+49 151 12345678"}})
	p.sees("a country that is not allowed", "no text messages to numbers of this country")
	p.at("/change", url.Values{"kind": {"main_email"}, "email": {"thief@example.org"}})
	p.sees("not the owner", "Only the owner")
	if n := len(w.Box.Messages(bertAt)); n != 0 {
		t.Fatalf("%d messages for nothing", n)
	}
	p.at("/change", url.Values{"kind": {"sms"}, "phone": {"+1 202 555 0148"}})
	p.sees("approval", "Waiting: codes by text message", "•••48", "First confirm with a code", "b•••@example.com", "Cancel this change")
	if strings.Contains(p.body, "Get codes by text message") {
		t.Error("another change can be begun")
	}
	approval := w.Code(t, bertAt, 1)
	p.at("/change/code", url.Values{"code": {authtest.Wrong(approval)}})
	p.sees("a wrong code", "That is not the code for", "First confirm")
	p.at("/change/code", url.Values{"code": {approval}})
	p.sees("proof", "Now type the code", "Nothing has changed yet", "Your codes go to your own e-mail address")
	p.at("/change/code", url.Values{"code": {w.Code(t, phoneA, 1)}})
	p.sees("applied", "because you switched to them", "Change the phone number", "Get codes by e-mail again")
	// All other sessions of the login end with it (SEC-39).
	elsewhere.holdsNothing("another session", elsewhere.ask(http.MethodGet, elsewhere.page, nil, nil))
	// And back, cancelled half-way.
	p.at("/change", url.Values{"kind": {"email"}})
	p.sees("back", "Waiting: codes by e-mail again", "•••48")
	p.at("/change/cancel", nil)
	p.sees("cancelled", "because you switched to them", "Get codes by e-mail again")
	if n := s.count(t, `SELECT count(*) FROM factor_changes WHERE state = 'canceled'`); n != 1 {
		t.Errorf("%d changes are cancelled", n)
	}
}

func TestSettings_ASharedLoginSwitchesOnlyWhoeverUnderstandsIt(t *testing.T) {
	t.Parallel()
	s, w := enact(t)
	s.signedIn(t, "anna", "approved", "a", "b", "c", "d")
	p := s.person(t)
	p.open(s.settings(t, "anna", nil))
	p.sees("the box", `name="understood"`)
	p.at("/change", url.Values{"kind": {"sms"}, "phone": {phoneA}})
	p.sees("without it", "Confirm that you understand")
	if n := len(w.Box.Messages(office)); n != 0 {
		t.Errorf("%d messages", n)
	}
	p.at("/change", url.Values{"kind": {"sms"}, "phone": {phoneA}, "understood": {"yes"}})
	p.sees("with it", "First confirm with a code", "o•••@example.com")
}

func TestSettings_TheOwnerChangesTheMainAddress(t *testing.T) {
	t.Parallel()
	s, w := enact(t)
	p := s.person(t)
	p.open(s.settings(t, "anna", nil))
	p.at("/change", url.Values{"kind": {"main_email"}, "email": {"desk@example.com"}})
	p.sees("approval", "another main e-mail address", "d•••@example.com", "First confirm")
	p.at("/change/code", url.Values{"code": {w.Code(t, office, 1)}})
	p.at("/change/code", url.Values{"code": {w.Code(t, "desk@example.com", 1)}})
	p.sees("applied", "d•••@example.com", "main e-mail address, because this is its primary login", "Login anna")
}

// SEC-36 for what the owner does: without a fresh code nothing is changed, whatever is posted.
func TestSEC36_PeopleAreChangedWithAFreshCodeAlone(t *testing.T) {
	t.Parallel()
	s, w := enact(t)
	p := s.person(t)
	p.open(s.settings(t, "anna", nil))
	people := p.page + "/people"
	p.ask(http.MethodGet, people, nil, nil)
	p.sees("people", "Only the owner sees this page", "b•••@example.com", "Member", "Owner", "Send me a code")
	before := s.count(t, `SELECT count(*) FROM audit WHERE kind LIKE 'directory.%'`)
	forms := map[string]url.Values{
		"/people/invite": {"email": {"kim@example.com"}, "name": {"Kim"}}, "/people/remove": {"login": {"bert"}}, "/people/group": {},
		"/people/requests/decline": {"id": {"x"}}, "/people/requests/invite": {"id": {"x"}}, "/people/invitations/withdraw": {"id": {"x"}},
		"/people/invitations/again": {"id": {"x"}}, "/people/group/x/codes": {"code0": {"123456"}, "code1": {"123456"}},
	}
	for path, form := range forms {
		if res := p.at(path, form); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
		p.sees(path, "Nothing was changed")
	}
	member := s.person(t)
	member.open(s.settings(t, "bert", nil))
	for path, form := range forms {
		member.at(path, form)
		member.sees("a member at "+path, "Login bert")
	}
	member.at("/people/approval", nil)
	member.ask(http.MethodGet, member.page+"/people", nil, nil)
	if strings.Contains(member.body, "anna") {
		t.Error("a member sees who else there is")
	}
	after := s.count(t, `SELECT count(*) FROM audit WHERE kind LIKE 'directory.%'`)
	if after != before || len(w.Box.Messages(bertAt)) != 0 {
		t.Errorf("%d changes", after-before)
	}
	p.at("/people/approval", nil)
	p.sees("the code", "o•••@example.com", "Code from the message")
	code := w.Code(t, office, 1)
	p.at("/people/approval", nil) // once more sends nothing
	p.at("/people/approval/code", url.Values{"code": {authtest.Wrong(code)}})
	p.sees("a wrong code", "That is not the code for")
	p.at("/people/approval/code", url.Values{"code": {code}})
	p.sees("approved", "You can make changes until", `action="`+strings.TrimPrefix(people, s.pages.URL)+`/invite"`)
	if n := len(w.Box.Messages(office)); n != 1 {
		t.Errorf("%d codes were sent", n)
	}
	s.inviteAndRemove(t, p, w)
}

// inviteAndRemove does what the owner may once a fresh code was typed.
func (s *scene) inviteAndRemove(t *testing.T, p *person, w *authtest.World) {
	t.Helper()
	p.at("/people/invite", url.Values{"email": {"office@example.com"}})
	p.sees("the main address", "main address, not a person")
	p.at("/people/invite", url.Values{"email": {"nobody"}})
	p.sees("no address", "That is no e-mail address", `>nobody</textarea>`)
	p.at("/people/invite", url.Values{"email": {"kim@example.com"}, "name": {"<b>Kim</b> http://evil.example"}})
	p.sees("invited", "kim@example.com", "Invited", "Withdraw")
	if strings.Contains(p.body, "<b>Kim") || strings.Contains(p.body, "evil.example") {
		t.Error("a typed name is more than a name")
	}
	w.Messages(t, "kim@example.com", 1)
	id := regexp.MustCompile(`invitations/withdraw"><input[^>]*><input type="hidden" name="id" value="([^"]+)"`).FindStringSubmatch(p.body)
	if id == nil {
		t.Fatal("there is no form to withdraw it")
	}
	p.at("/people/invitations/withdraw", url.Values{"id": {id[1]}})
	p.sees("withdrawn", "Withdrawn")
	other := s.person(t)
	other.open(s.settings(t, "bert", nil))
	p.ask(http.MethodGet, p.page+"/people/remove?login=bert", nil, nil)
	p.sees("asked", "Remove bert?", "This ends at once")
	p.at("/people/remove", url.Values{"login": {"bert"}})
	if strings.Contains(p.body, "bert@example.com") || !strings.Contains(p.body, "You can make changes until") {
		t.Errorf("removed: %s", p.body)
	}
	other.holdsNothing("who was removed", other.ask(http.MethodGet, other.page, nil, nil))
	p.at("/people/remove", url.Values{"login": {"anna"}})
	if s.count(t, `SELECT count(*) FROM logins WHERE id = 'anna'`) != 1 {
		t.Error("the owner was removed")
	}
}

func TestSettings_TheMainAddressIsTestedAsAGroupAddress(t *testing.T) {
	t.Parallel()
	s, w := enact(t)
	p := s.person(t)
	p.open(s.settings(t, "anna", nil))
	p.at("/people/approval", nil)
	p.at("/people/approval/code", url.Values{"code": {w.Code(t, office, 1)}})
	p.at("/people/group", nil)
	p.sees("begun", "We sent two messages to", "o•••@example.com")
	w.Messages(t, office, 3)
	at := regexp.MustCompile(`action="(/settings/[^"]+/people/group/[^"]+)/codes"`).FindStringSubmatch(p.body)
	labels := regexp.MustCompile(`Code from the message with <strong>([A-Z]{3})</strong>`).FindAllStringSubmatch(p.body, -1)
	if at == nil || len(labels) != 2 {
		t.Fatal(p.body)
	}
	codes := map[string]string{}
	for i, m := range w.Messages(t, office, 3) {
		for _, l := range labels {
			if strings.Contains(m.Text, l[1]) && i > 0 {
				codes[l[1]] = w.Code(t, office, i+1)
			}
		}
	}
	below := at[1][strings.Index(at[1], "/people"):] + "/codes"
	p.at(below, url.Values{"code0": {codes[labels[1][1]]}, "code1": {codes[labels[0][1]]}}) // the wrong way round
	p.sees("mixed up", "That is not the code of this message")
	p.at(below, url.Values{"code0": {codes[labels[0][1]]}, "code1": {codes[labels[1][1]]}})
	p.sees("passed", "is a group address: it passed the test")
	if s.count(t, `SELECT count(*) FROM workspaces WHERE group_address`) != 1 {
		t.Error("the directory knows nothing of it")
	}
}

// A request of a stranger is shown as plain text, and an invitation follows from it or not.
func TestSettings_TheOwnerAnswersRequests(t *testing.T) {
	t.Parallel()
	s, w := enact(t)
	directory := postgres.NewDirectory(s.db.Auth(t), s.ring(t, "ROW"))
	for name, email := range map[string]string{"Kim": "kim@example.com", "Sam": "sam@example.com"} {
		err := directory.AskOwner(t.Context(), postgres.Change{By: "login-page"}, account.JoinRequest{
			Workspace: "w", Login: "anna", Name: name, Email: email, Browser: "Firefox", System: "Linux",
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p := s.person(t)
	p.open(s.settings(t, "anna", nil))
	p.at("/people/approval", nil)
	p.at("/people/approval/code", url.Values{"code": {w.Code(t, office, s.codeAt(t, w))}})
	p.sees("requests", "Requests to be added", "kim@example.com", "sam@example.com", "What they typed is not proven")
	request := func(email string) string {
		var id string
		s.db.Scan(t, `SELECT id FROM join_requests WHERE email = $1`, []any{email}, &id)
		return id
	}
	p.at("/people/requests/invite", url.Values{"id": {request("kim@example.com")}})
	p.at("/people/requests/decline", url.Values{"id": {request("sam@example.com")}})
	if strings.Contains(p.body, "Requests to be added") {
		t.Errorf("requests stay open: %s", p.body)
	}
	w.Messages(t, "kim@example.com", 1)
	if len(w.Box.Messages("sam@example.com")) != 0 {
		t.Error("who was declined gets a mail")
	}
}

// codeAt waits for the message with the owner's code among the notices and returns its number.
func (s *scene) codeAt(t *testing.T, w *authtest.World) int {
	t.Helper()
	deadline := time.Now().Add(authtest.Patience)
	for n := 1; time.Now().Before(deadline); n++ {
		m := w.Messages(t, office, n)[n-1]
		if regexp.MustCompile(`(?m)(?:^|: )([0-9]{6})\b`).MatchString(m.Text) {
			return n
		}
	}
	t.Fatal("no code came")
	return 0
}
