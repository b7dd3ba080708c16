package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/services/auth/internal/authtest"
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

// owner opens the page "People" of anna, with a fresh code typed.
func (s *scene) owner(t *testing.T, w *authtest.World) *person {
	t.Helper()
	p := s.person(t)
	p.open(s.settings(t, "anna", nil))
	p.at("/people/approval", nil)
	p.at("/people/approval/code", url.Values{"code": {w.Code(t, office, 1)}})
	p.sees("a fresh code", "You can make changes until")
	return p
}

// invited counts the invitations of w that wait.
func (s *scene) invited(t *testing.T) int {
	t.Helper()
	return s.count(t, `SELECT count(*) FROM invitations WHERE workspace = 'w' AND state = 'open'`)
}

// product.md 2.2: several people are invited by one form, and each address is answered by itself.
func TestSettings_TheOwnerInvitesSeveralAtOnce(t *testing.T) {
	t.Parallel()
	s, w := enact(t)
	p := s.owner(t, w)
	res := p.at("/people/invite", url.Values{"email": {" kim@example.org\r\n\r\nlee@example.org, office@example.com;KIM@example.org\nmax kim@example.org\r\n<b>x</b>"}})
	const sent, there, none = "Invited; a mail is on its way.", "Is invited already; no mail was sent.", "That is no e-mail address."
	p.sees("answers", "Not all of them were invited.",
		"<strong>kim@example.org</strong> – "+sent, "<strong>lee@example.org</strong> – "+sent, "<strong>office@example.com</strong> – That is the workspace’s main address",
		"<strong>max kim@example.org</strong> – "+none, "> – "+none, ">office@example.com\nmax kim@example.org\n<b>x</b></textarea>")
	if res.StatusCode != http.StatusConflict || strings.Count(p.body, sent) != 2 || s.invited(t) != 2 {
		t.Errorf("answered %d, %d are invited", res.StatusCode, s.invited(t))
	}
	p.at("/people/invite", url.Values{"email": {strings.Repeat("a@example.org,b@example.org\n", 20)}}) // Each counts once.
	p.sees("two", "<strong>a@example.org</strong> – "+sent, "<strong>b@example.org</strong> – "+sent, "></textarea>")
	if strings.Contains(p.body, `role="alert"`) {
		t.Error("it is an error that all are invited")
	}
	p.at("/people/invite", url.Values{"email": {"lee@example.org\nb@example.org\nkim@example.org"}})
	if strings.Count(p.body, there) != 3 || s.invited(t) != 4 {
		t.Errorf("again: %d wait\n%s", s.invited(t), p.body)
	}
	for _, to := range []string{"kim@example.org", "lee@example.org", "a@example.org", "b@example.org"} {
		if n := len(w.Messages(t, to, 1)); n != 1 {
			t.Errorf("%d mails to one of them", n)
		}
	}
	var most []string
	for i := range 11 {
		most = append(most, fmt.Sprintf("n%d@example.org", i))
	}
	res = p.at("/people/invite", url.Values{"email": {strings.Join(most, "\n")}})
	p.sees("eleven", "Type 10 addresses at most. Nobody was invited.", strings.Join(most, "\n")+"</textarea>")
	if res.StatusCode != http.StatusUnprocessableEntity || s.invited(t) != 4 {
		t.Errorf("eleven: %d, %d wait", res.StatusCode, s.invited(t))
	}
}

// What bounds invitations bounds each of several: no form has more than a workspace may have.
func TestSettings_SeveralInvitationsStayWithinTheBoundsOfAWorkspace(t *testing.T) {
	t.Parallel()
	s, w := enact(t)
	p := s.owner(t, w)
	const many = "There are too many invitations."
	for form := range 3 {
		var all []string
		for i := range 8 {
			all = append(all, fmt.Sprintf("n%d@example.org", form*8+i))
		}
		p.at("/people/invite", url.Values{"email": {strings.Join(all, ",")}})
		if want := min((form+1)*8, account.MaxOpenInvitations); s.invited(t) != want {
			t.Errorf("after %d forms %d wait", form+1, s.invited(t))
		}
	}
	if n := strings.Count(p.body, many); n != 24-account.MaxOpenInvitations {
		t.Errorf("%d are told of it:\n%s", n, p.body)
	}
	p.sees("the rest", ">n20@example.org\nn21@example.org\nn22@example.org\nn23@example.org</textarea>")
}

// When nothing can be done in the middle of a form, who was invited is not asked for again, and the rest is not tried.
func TestSettings_WhereAFormOfInvitationsStopsIsSaid(t *testing.T) {
	t.Parallel()
	s, w := enact(t)
	p := s.owner(t, w)
	s.db.Exec(t, `CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'stop'; END $$`)
	s.db.Exec(t, `CREATE TRIGGER stop BEFORE INSERT ON invitations FOR EACH ROW WHEN (NEW.email = 'lee@example.org') EXECUTE FUNCTION stop()`)
	res := p.at("/people/invite", url.Values{"email": {"kim@example.org\nlee@example.org\nmax@example.org"}})
	const now = "Not possible at the moment. Try again."
	p.sees("answers", "<strong>kim@example.org</strong> – Invited", "<strong>lee@example.org</strong> – "+now, "<strong>max@example.org</strong> – "+now,
		">lee@example.org\nmax@example.org</textarea>")
	if res.StatusCode < 500 || s.invited(t) != 1 {
		t.Errorf("answered %d, %d are invited", res.StatusCode, s.invited(t))
	}
}
