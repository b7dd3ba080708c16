package app_test

import (
	"net/url"
	"strings"
	"testing"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
)

// Without a fresh code nothing on the page looks as if it could be pressed, and the page says why.
func TestSettings_PeopleSaysWhyThereIsNothingToPress(t *testing.T) {
	t.Parallel()
	s, w := enact(t)
	directory := postgres.NewDirectory(s.db.Auth(t), s.ring(t, "ROW"))
	err := directory.AskOwner(t.Context(), postgres.Change{By: "login-page"}, account.JoinRequest{
		Workspace: "w", Login: "anna", Name: "Kim", Email: "kim@example.com", Browser: "Firefox", System: "Linux",
	})
	if err != nil {
		t.Fatal(err)
	}
	s.must(t, 201, request{method: "POST", path: "/v1/workspaces/w/invitations", body: fields{"email": "lee@example.org", "by": "anna"}})
	const first = `<a href="#approve">Confirm with a code first to change anything.</a>`
	acts := []string{"/people/remove?login=bert", "/people/requests/invite", "/people/requests/decline", "/people/invitations/withdraw", "/people/group", "/people/invite"}
	p := s.person(t)
	p.open(s.settings(t, "anna", nil))
	p.at("/people/approval", nil)
	p.sees("people", "Kim", "l•••@example.org", `id="approve"`)
	for _, act := range acts {
		if strings.Contains(p.body, act) {
			t.Errorf("without a fresh code there is %s", act)
		}
	}
	for _, part := range []string{"requests", "members", "invite", "group"} { // Each says so where the buttons would be.
		_, section, _ := strings.Cut(p.body, `<section aria-labelledby="`+part+`">`)
		section, _, _ = strings.Cut(section, "</section>")
		if strings.Count(section, first) != 1 {
			t.Errorf("the part %s does not say why nothing can be pressed:\n%s", part, section)
		}
	}
	p.at("/people/approval/code", url.Values{"code": {w.Code(t, office, 1)}})
	p.sees("after a fresh code", acts...)
	if strings.Contains(p.body, first) {
		t.Error("after a fresh code one more is asked for")
	}
}

// A fresh code reaches who has lost one of the ways: it is sent again by each of them, and is the same one.
func TestSettings_AFreshCodeIsSentAgainByEachWay(t *testing.T) {
	t.Parallel()
	s, w := enact(t)
	s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/v", body: fields{"name": "Other", "main_email": "other@example.com"}})
	s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/v/logins/zoe", body: fields{
		"role": "owner", "email": "zoe@example.com", "phone": phoneA, "channel": "sms",
	}})
	again := func() {
		s.db.Exec(t, `UPDATE challenges SET resend_at = now() - interval '1 second'`)
	}
	p := s.person(t)
	p.open(s.settings(t, "zoe", fields{"workspace": "v"}))
	number := url.Values{"kind": {"number"}, "phone": {phoneB}}
	for n, part := range []string{"/change", "/people/approval"} {
		p.at(part, number)
		code := w.Code(t, phoneA, 2*n+1)
		p.at(part+"/messages", url.Values{"channel": {"email"}})
		p.sees(part+" too early", "That was too soon or too often.", "Send it again to •••48", "Send it by e-mail to z•••@example.com")
		p.at(part+"/messages", url.Values{"channel": {"pigeon"}})
		p.sees(part+" by nothing we know", "Choose one of the ways below.")
		again()
		p.at(part+"/messages", url.Values{"channel": {"email"}})
		if got := w.Code(t, "zoe@example.com", n+1); got != code {
			t.Errorf("%s: the mail has another code", part)
		}
		again()
		p.at(part+"/messages", url.Values{"channel": {"sms"}})
		if got := w.Code(t, phoneA, 2*n+2); got != code {
			t.Errorf("%s: the second text message has another code", part)
		}
		p.at(part+"/cancel", nil)
	}
	p.at("/people/approval", nil)
	p.at("/people/approval/code", url.Values{"code": {w.Code(t, phoneA, 5)}})
	p.at("/change", number)
	p.sees("the number is to be proved", "Now type the code", "Send it again to •••49")
	if strings.Contains(p.body, "Send it by e-mail") {
		t.Error("the proof of a number can go to a mailbox")
	}
}
