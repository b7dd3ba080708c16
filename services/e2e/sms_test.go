package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/client"
)

// textCode finds the code in a text message: whatever the words, its last line
// binds the code to the page (providers.md 8).
func textCode(t testing.TB, m message) string {
	t.Helper()
	code := regexp.MustCompile(`\n@[a-z.]+ #(\d{6})$`).FindStringSubmatch(m.Text)
	if code == nil {
		t.Fatal("no code in the last line of a text message")
	}
	return code[1]
}

// texted makes a workspace whose owner switched to SMS and has an address too.
func (s *standalone) texted(t *testing.T, phone string) (workspace, email string) {
	t.Helper()
	workspace, email = s.workspace(t)
	s.anew(t, workspace, client.Login{Role: "owner", Email: "kim." + email, Phone: phone, Channel: "sms"})
	return workspace, "kim." + email
}

// text waits for the n-th text message to a number.
func (s *standalone) text(t *testing.T, phone string, n int) message {
	t.Helper()
	var all []message
	eventually(t, "a text message", func() bool {
		all = s.inbox(t, phone)
		return len(all) >= n
	})
	return all[len(all)-n]
}

func TestSMS_ACodeTravelsToThePhoneAndApproves(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	const phone = "+12025550148"
	workspace, email := s.texted(t, phone)
	ch := s.create(t, workspace)
	if ch.Channel != "sms" || ch.Recipient != "•••48" || len(ch.Routes) != 1 || ch.Routes[0].Channel != "email" {
		t.Errorf("challenge %+v", ch)
	}
	if life := ch.ExpiresAt.Sub(ch.ResendAt); life != 4*time.Minute+30*time.Second {
		t.Errorf("resend %s before the end", life)
	}
	m := s.text(t, phone, 1)
	if m.Channel != "sms" || !strings.Contains(m.Text, ch.Label) {
		t.Errorf("the message by %s has not the label", m.Channel)
	}
	person, err := s.front.Check(t.Context(), ch.Handle, textCode(t, m))
	if err != nil {
		t.Fatal(err)
	}
	if person.Login != "kim" || person.Workspace != workspace || person.Channel != "sms" {
		t.Errorf("person %+v", person)
	}
	if n := len(s.inbox(t, email)); n != 0 {
		t.Errorf("%d e-mails beside the text message", n)
	}
}

func TestSMS_AResendByEMailHasTheSameCode(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	const phone = "+12025550149"
	workspace, email := s.texted(t, phone)
	ch := s.create(t, workspace)
	m := s.text(t, phone, 1)
	err := s.front.ResendBy(t.Context(), ch.Handle, "email")
	if e := refusal(t, err); e.Code != "resend_too_early" {
		t.Errorf("at once: %v", e)
	}
	s.passWait(t, ch)
	err = s.front.ResendBy(t.Context(), ch.Handle, "email")
	if err != nil {
		t.Fatal(err)
	}
	code := s.code(t, email, 1)
	if code != textCode(t, m) || !strings.HasPrefix(s.inbox(t, email)[0].Subject, ch.Label) {
		t.Error("the e-mail has another code or label than the text message")
	}
	if n := len(s.inbox(t, phone)); n != 1 {
		t.Errorf("%d text messages", n)
	}
	_, err = s.front.Check(t.Context(), ch.Handle, code)
	if err != nil {
		t.Error(err)
	}
}

// A country that is not allowed is no route, and the next proven one is first.
// It shows SEC-66 of deploy/SECURITY.md.
func TestSMS_ACountryThatIsNotAllowedGetsNoTextMessage(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	const jamaica = "+18765551234"
	workspace, email := s.texted(t, jamaica)
	ch := s.create(t, workspace)
	if ch.Channel != "email" || len(ch.Routes) != 0 {
		t.Errorf("challenge %+v", ch)
	}
	s.code(t, email, 1)
	if n := len(s.inbox(t, jamaica)); n != 0 {
		t.Errorf("%d text messages", n)
	}
	err := s.front.ResendBy(t.Context(), ch.Handle, "sms")
	if e := refusal(t, err); e.Code != "no_route" {
		t.Errorf("a resend by SMS: %v", e)
	}
}
