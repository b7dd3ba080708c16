package app_test

import (
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/chromium/browsertest"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	pkgproblem "doorcode/pkg/problem"
	"doorcode/services/auth/app"
)

// settingsLook is one state of the settings pages and how to come there.
type settingsLook struct {
	name, login string
	more        fields
	act         func(*browsertest.Tab)
}

// peopled puts on record what the pages can show.
func (s *scene) peopled(t testing.TB) *postgres.Directory {
	t.Helper()
	s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/sam", body: fields{"role": "member"}})
	s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/kim", body: fields{"role": "administrator", "email": "kim@example.com", "phone": "+31612345648", "channel": "sms"}})
	s.signedIn(t, "anna", "approved", "Firefox on Windows", "Chrome on Android", "Edge on Windows", "Safari on iPhone", "Safari on macOS")
	s.signedIn(t, "bert", "approved", "Firefox on Windows", "")
	s.signedIn(t, "bert", "expired", "Samsung Internet on Android")
	s.signedIn(t, "bert", "exhausted", "Chrome on Linux")
	directory := postgres.NewDirectory(s.db.Auth(t), s.ring(t, "ROW"))
	change := postgres.Change{By: "login-page"}
	err := directory.AskOwner(t.Context(), change, account.JoinRequest{
		Workspace: "w", Login: "anna", Name: "Wolfeschlegelsteinhausenbergerdorff", Email: "a.rather-long-address.indeed@a-rather-long-domain.example.com",
		Browser: "Firefox", System: "Linux",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, email := range []string{"info@example.org", "noor@example.org"} {
		_, err = directory.Invite(t.Context(), change, account.Invitation{Workspace: "w", Email: email, Name: "Noor", By: "anna"})
		if err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

// approved notes in every open session that a fresh code was typed just now.
func (s *scene) approved(t testing.TB, directory *postgres.Directory) {
	t.Helper()
	var ids []string
	s.db.Scan(t, `SELECT array_agg(id) FROM settings_sessions s JOIN login_budgets b USING (workspace, login, version) WHERE opened`, nil, &ids)
	for _, id := range ids {
		_, err := directory.ApproveSettings(t.Context(), id, time.Now())
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestSettings_EveryStateIsAccessibleAndFits judges each state by axe-core on a small phone and on a desktop, in light
// and dark, without scripts.
func TestSettings_EveryStateIsAccessibleAndFits(t *testing.T) {
	t.Parallel()
	s := play(t, func(c *app.Config) { c.SMSCountries, c.SMSDailyCap = []string{"NL"}, 100 })
	directory := s.peopled(t)
	b := browsertest.Open(t, browsertest.Options{NoScript: true, Insecure: true})
	people := func(b *browsertest.Tab) { b.Press("a[href$='/people']") }
	for _, l := range []settingsLook{
		{name: "settings", login: "bert"},
		{name: "settings-shared", login: "anna"},
		{name: "settings-sms", login: "kim", more: fields{"locale": "nl"}},
		{name: "settings-nowhere", login: "sam"},
		{name: "people", login: "anna", act: people},
		{name: "people-nl", login: "anna", more: fields{"locale": "nl"}, act: people},
	} {
		b.Visit(s.settings(t, l.login, l.more))
		if l.act != nil {
			b.Leave(func() { l.act(b) })
		}
		s.judgePage(t, b, l.name)
	}
	s.judgePeople(t, b, directory)
	s.judgeChanges(t, b)
	b.Visit(s.pages.URL + "/settings?link=x")
	s.judgePage(t, b, "settings-lost")
}

// judgePeople judges what the owner meets after asking for a code.
func (s *scene) judgePeople(t *testing.T, b *browsertest.Tab, directory *postgres.Directory) {
	t.Helper()
	b.Leave(func() { b.Press("form[action$='/approval'] button") })
	s.judgePage(t, b, "people-code")
	s.set(func() {
		other(s)
		s.order = func(event.ResendRequest) (event.ResendReply, *pkgproblem.Problem) {
			p := pkgproblem.New(429, "resend_too_early", "Wait.")
			p.RetryAfter = 12 * time.Second
			return event.ResendReply{}, p
		}
	})
	b.Leave(func() { b.Press(".ways button") })
	shows(t, b, ".ways button[value=sms][aria-describedby=problem]")
	s.judgePage(t, b, "people-code-ways")
	s.approved(t, directory)
	b.Leave(func() { b.Press("a[href*='/settings/']") })
	b.Leave(func() { b.Press("a[href$='/people']") })
	s.judgePage(t, b, "people-open")
	b.Type("#email", "office@example.com")
	b.Leave(func() { b.Press("form[action$='/people/invite'] button") })
	shows(t, b, "#email[aria-invalid]")
	s.judgePage(t, b, "people-refused")
	b.Visit(b.URL())
	b.Type("#email", "lee@example.org, office@example.com, a.rather-long-address.indeed@a-rather-long-domain.example.com")
	b.Leave(func() { b.Press("form[action$='/people/invite'] button") })
	shows(t, b, "#email[aria-invalid]")
	s.judgePage(t, b, "people-several")
	b.Leave(func() { b.Press("a[href$='login=kim']") })
	s.judgePage(t, b, "people-remove")
	b.Leave(func() { b.Press("a[href$='/people']") })
	b.Leave(func() { b.Press("form[action$='/group'] button") })
	s.judgePage(t, b, "people-group")
}

// shows fails the test when the page that is judged is not the one that is meant.
func shows(t *testing.T, b *browsertest.Tab, selector string) {
	t.Helper()
	if !b.Is(selector) {
		t.Errorf("the page has no %s:\n%s", selector, b.Text())
	}
}

// judgeChanges judges a change of a factor on its way.
func (s *scene) judgeChanges(t *testing.T, b *browsertest.Tab) {
	t.Helper()
	b.Visit(s.settings(t, "bert", nil))
	b.Press("summary")
	s.judgePage(t, b, "change-form")
	b.Type("#phone", "12")
	b.Leave(func() { b.Press("details form button") })
	s.judgePage(t, b, "change-refused")
	b.Visit(s.settings(t, "bert", nil))
	b.Press("summary")
	b.Type("#phone", "+31612345678")
	b.Leave(func() { b.Press("details form button") })
	s.judgePage(t, b, "change-waiting")
	s.refuse(422, "wrong_code", 3, 0)
	b.Type("#code", "111111")
	b.Leave(func() { b.Press("form.code button") })
	s.judgePage(t, b, "change-wrong")
	s.set(func() { s.state.State, s.state.ResendAt = "expired", nil })
	b.Visit(s.settings(t, "bert", nil))
	s.judgePage(t, b, "change-expired")
}
