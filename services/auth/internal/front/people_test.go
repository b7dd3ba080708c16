package front_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/authtest"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/ticket"
)

// people returns the people of workspace w.
func (s *set) people(t *testing.T) *front.People {
	t.Helper()
	p, err := s.People(t.Context(), s.call, "w")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// invite invites an address and returns the link of its mail.
func (s *set) invite(t *testing.T, email string) ticket.Link {
	t.Helper()
	i, created, err := s.people(t).Invite(t.Context(), front.InviteRequest{Email: email, Name: "Kim", By: "anna"})
	if err != nil || !created {
		t.Fatalf("invited %t, %v", created, err)
	}
	return ticket.Link{Kind: ticket.LinkInvitation, Workspace: "w", ID: i.ID, Until: i.ExpiresAt}
}

// asked has a code sent to the invitee and returns its handle and the code.
func (s *set) asked(t *testing.T, l ticket.Link, email string, n int) (handle, code string) {
	t.Helper()
	created, err := s.AskInvitee(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	return created.Handle, s.Code(t, email, n)
}

// state is where an invitation stands.
func (s *set) state(t *testing.T, l ticket.Link) string {
	t.Helper()
	i, err := s.people(t).Invitation(t.Context(), l.ID)
	if err != nil {
		t.Fatal(err)
	}
	return i.State
}

// events counts the records of a change.
func (s *set) events(t *testing.T, kind string) (n int) {
	t.Helper()
	s.db.Scan(t, `SELECT count(*) FROM audit WHERE kind = $1`, []any{"directory.v1." + kind}, &n)
	return n
}

func TestAccept_ByACodeToTheInviteesOwnAddress(t *testing.T) {
	t.Parallel()
	s := start(t)
	l := s.invite(t, "kim@example.org")
	o, err := s.Offer(t.Context(), l)
	if err != nil || o.Workspace != "Acme" || o.Recipient != "k•••@example.org" || o.Name != "Kim" {
		t.Fatalf("offer %+v, %v", o, err)
	}
	handle, code := s.asked(t, l, "kim@example.org", 1)
	_, err = s.Accept(t.Context(), l, handle, authtest.Wrong(code), "first")
	if got := refused(t, err); got != "wrong_code" || s.state(t, l) != "open" {
		t.Errorf("a wrong code is refused with %s, it is %s", got, s.state(t, l))
	}
	for range 2 { // The answer may have been lost.
		_, err = s.Accept(t.Context(), l, handle, code, "second")
		if err != nil {
			t.Fatal(err)
		}
	}
	if s.state(t, l) != "accepted" || s.events(t, "invitation_accepted") != 1 {
		t.Errorf("it is %s after %d events", s.state(t, l), s.events(t, "invitation_accepted"))
	}
	// Nobody can sign in by it: the application makes the login and names the invitation.
	var logins int
	s.db.Scan(t, `SELECT count(*) FROM logins`, nil, &logins)
	if logins != 2 {
		t.Errorf("%d logins", logins)
	}
	login := front.LoginRequest{Role: "administrator", Email: "other@example.org", Invitation: l.ID}
	_, err = s.PutLogin(t.Context(), s.call, "w", "kim", login)
	if got := refused(t, err); got != problem.CodeInvalidRequest {
		t.Errorf("another address is refused with %s", got)
	}
	login.Email = "Kim@example.org"
	_, err = s.PutLogin(t.Context(), s.call, "w", "kim", login)
	if err != nil {
		t.Fatal(err)
	}
	i, err := s.people(t).Invitation(t.Context(), l.ID)
	if err != nil || i.Login != "kim" {
		t.Errorf("invitation %+v, %v", i, err)
	}
}

// product.md R9.2: single use. Two browsers have a right code each, and only one of them accepts.
func TestAccept_IsExactlyOnceUnderConcurrency(t *testing.T) {
	t.Parallel()
	s := start(t)
	l := s.invite(t, "kim@example.org")
	var handles, codes [4]string
	for i := range handles {
		handles[i], codes[i] = s.asked(t, l, "kim@example.org", i+1)
	}
	failed := make([]error, len(handles))
	var tries sync.WaitGroup
	for i := range handles {
		tries.Go(func() { _, failed[i] = s.Accept(t.Context(), l, handles[i], codes[i], "check") })
	}
	tries.Wait()
	good := 0
	for _, err := range failed {
		if err == nil {
			good++
			continue
		}
		// Its code died with the invitation, or came too late for it.
		if got := refused(t, err); !slices.Contains([]string{front.CodeInvitationClosed, "closed"}, got) {
			t.Errorf("refused with %s", got)
		}
	}
	if good != 1 || s.events(t, "invitation_accepted") != 1 {
		t.Errorf("%d accepted it, %d events", good, s.events(t, "invitation_accepted"))
	}
}

// Only a code for this very invitation accepts it.
func TestSEC05_NoOtherCodeAcceptsAnInvitation(t *testing.T) {
	t.Parallel()
	s := start(t)
	mine, other := s.invite(t, "kim@example.org"), s.invite(t, "sam@example.org")
	_, _ = s.asked(t, mine, "kim@example.org", 1)
	foreign, foreignCode := s.asked(t, other, "sam@example.org", 1)
	approve, err := s.Ask(t.Context(), approval("anna"))
	if err != nil {
		t.Fatal(err)
	}
	approved := s.Code(t, "office@example.com", 1)
	signIn, err := s.Create(t.Context(), s.call, front.CreateRequest{Workspace: "w", Login: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	entry := s.Code(t, "office@example.com", 2)
	for _, c := range []struct{ handle, code string }{{foreign, foreignCode}, {approve.Handle, approved}, {signIn.Handle, entry}} {
		_, err = s.Accept(t.Context(), mine, c.handle, c.code, "")
		if got := refused(t, err); got != front.CodeUnknownChallenge {
			t.Errorf("refused with %s", got)
		}
	}
	if s.state(t, mine) != "open" || s.state(t, other) != "open" {
		t.Errorf("they are %s and %s", s.state(t, mine), s.state(t, other))
	}
}

// product.md edge case 26, and what else ends an invitation between the mail and the code: one and the same answer, and
// the codes that are open die within a second.
func TestAccept_AfterTheEndIsOneAnswer(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, s *set, l ticket.Link) error{
		"withdrawn": func(t *testing.T, s *set, l ticket.Link) error {
			t.Helper()
			return s.people(t).WithdrawInvitation(t.Context(), l.ID)
		},
		"the inviter lost ownership": func(t *testing.T, s *set, _ ticket.Link) error {
			t.Helper()
			_, err := s.PutLogin(t.Context(), s.call, "w", "bert", front.LoginRequest{Role: "owner", Email: "bert@example.com"})
			return err
		},
		"the workspace is gone": func(t *testing.T, s *set, _ ticket.Link) error {
			t.Helper()
			return s.RemoveWorkspace(t.Context(), s.call, "w")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			l := s.invite(t, "kim@example.org")
			handle, code := s.asked(t, l, "kim@example.org", 1)
			err := end(t, s, l)
			if err != nil {
				t.Fatal(err)
			}
			_, offered := s.Offer(t.Context(), l)
			_, sent := s.AskInvitee(t.Context(), l, nil)
			_, accepted := s.Accept(t.Context(), l, handle, code, "")
			for what, err := range map[string]error{"look": offered, "ask": sent, "accept": accepted} {
				var p *problem.Problem
				if !errors.As(err, &p) || p.Code != front.CodeInvitationClosed || p.Status != 410 {
					t.Errorf("%s: %v", what, err)
				}
			}
			if s.events(t, "invitation_accepted") != 0 {
				t.Error("it is accepted")
			}
			if name == "the inviter lost ownership" {
				return // Nobody ended the code; it is the invitation that is worth nothing.
			}
			bustest.Wait(t, "the code dies", func() bool {
				view, err := s.Look(t.Context(), handle)
				return err == nil && view.State == "canceled"
			})
		})
	}
}

// product.md edge case 5: who is removed between send and entry is not let in.
func TestRemoveLogin_EndsItsChallengesWithinASecond(t *testing.T) {
	t.Parallel()
	s := start(t)
	created, err := s.Create(t.Context(), s.call, front.CreateRequest{Workspace: "w", Login: "bert"})
	if err != nil {
		t.Fatal(err)
	}
	code := s.Code(t, "+12025550148", 1)
	err = s.RemoveLogin(t.Context(), s.call, "w", "bert")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Check(t.Context(), s.call, created.Handle, front.CheckRequest{Code: code})
	if got := refused(t, err); got != "closed" && got != "too_many" {
		t.Errorf("refused with %s", got)
	}
	bustest.Wait(t, "the challenge ends", func() bool {
		view, err := s.State(t.Context(), s.call, created.Handle)
		return err == nil && view.State == "canceled"
	})
}

func TestAskOwner_TakesWhatIsHarmlessOfASharedLogin(t *testing.T) {
	t.Parallel()
	s := start(t)
	shared, err := s.Create(t.Context(), s.call, front.CreateRequest{Workspace: "w", Login: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	own, err := s.Create(t.Context(), s.call, front.CreateRequest{Workspace: "w", Login: "bert"})
	if err != nil {
		t.Fatal(err)
	}
	for handle, want := range map[string]bool{shared.Handle: true, own.Handle: false} {
		may, err := s.MayAskOwner(t.Context(), s.call, handle)
		if err != nil || may != want {
			t.Errorf("may ask: %t, %v", may, err)
		}
	}
	for name, c := range map[string]struct {
		handle string
		r      front.Joining
		want   string
	}{
		"no name":             {shared.Handle, front.Joining{Name: " 1234567 \u200b", Email: "kim@example.org"}, problem.CodeInvalidRequest},
		"no address":          {shared.Handle, front.Joining{Name: "Kim"}, problem.CodeInvalidRequest},
		"two addresses":       {shared.Handle, front.Joining{Name: "Kim", Email: "kim@example.org,b@c.example"}, problem.CodeInvalidRequest},
		"a header":            {shared.Handle, front.Joining{Name: "Kim", Email: "kim@example.org\r\nBcc: a@b.example"}, problem.CodeInvalidRequest},
		"markup":              {shared.Handle, front.Joining{Name: "Kim", Email: "<b>@example.org"}, problem.CodeInvalidRequest},
		"the shared mailbox":  {shared.Handle, front.Joining{Name: "Kim", Email: "Office@example.com"}, problem.CodeInvalidRequest},
		"a login of its own":  {own.Handle, front.Joining{Name: "Kim", Email: "kim@example.org"}, front.CodeNotShared},
		"somebody's handle":   {"x", front.Joining{Name: "Kim", Email: "kim@example.org"}, front.CodeUnknownChallenge},
		"an own challenge":    {s.approvalOf(t, "anna"), front.Joining{Name: "Kim", Email: "kim@example.org"}, front.CodeUnknownChallenge},
		"a tampered handle":   {shared.Handle[:len(shared.Handle)-2] + "AA", front.Joining{Name: "Kim", Email: "kim@example.org"}, front.CodeUnknownChallenge},
		"an address in place": {shared.Handle, front.Joining{Name: "http://", Email: "evil"}, problem.CodeInvalidRequest},
	} {
		err := s.AskOwner(t.Context(), s.call, c.handle, c.r)
		if got := refused(t, err); got != c.want {
			t.Errorf("%s is refused with %s", name, got)
		}
	}
	typed := "<b onclick=x>Kim</b> http://evil.example/?code=482917\r\nBcc: a@b.example " + strings.Repeat("x", 100)
	err = s.AskOwner(t.Context(), s.call, shared.Handle, front.Joining{Name: typed, Email: "bert@example.com", UserAgent: "evil Firefox/128 Windows <b>"})
	if err != nil {
		t.Fatalf("an address that is another login's is not told of: %v", err)
	}
	all, err := s.people(t).JoinRequests(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("requests %+v, %v", all, err)
	}
	r := all[0]
	if account.InertName(r.Name) != r.Name || len([]rune(r.Name)) > 60 || !strings.HasPrefix(r.Name, "b onclick x Kim b http evil example code Bcc") ||
		r.Browser != "Firefox" || r.System != "Windows" || r.Login != "anna" || r.State != "open" {
		t.Errorf("request %+v", r)
	}
	for _, email := range []string{"two@example.org", "three@example.org"} {
		err = s.AskOwner(t.Context(), s.call, shared.Handle, front.Joining{Name: "Kim", Email: email})
		if err != nil {
			t.Fatal(err)
		}
	}
	err = s.AskOwner(t.Context(), s.call, shared.Handle, front.Joining{Name: "Kim", Email: "four@example.org"})
	var p *problem.Problem
	if !errors.As(err, &p) || p.Code != front.CodeTooManyRequests || p.RetryAfter < 23*time.Hour || p.RetryAfter > 24*time.Hour {
		t.Errorf("a fourth: %v", err)
	}
	err = s.people(t).DeclineJoin(t.Context(), r.ID)
	if err != nil || s.events(t, "join_declined") != 1 {
		t.Errorf("declined: %v", err)
	}
}

// approvalOf returns the handle of an approval.
func (s *set) approvalOf(t *testing.T, login string) string {
	t.Helper()
	c, err := s.Ask(t.Context(), approval(login))
	if err != nil {
		t.Fatal(err)
	}
	return c.Handle
}

// product.md R10.2: both codes, of two messages that a person can tell apart.
func TestConfirmGroup_NeedsTheCodesOfBothMessages(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.people(t)
	_, err := p.TestGroup(t.Context(), front.GroupTestRequest{By: "bert"})
	if got := refused(t, err); got != front.CodeNotOwner {
		t.Errorf("who does not own it is refused with %s", got)
	}
	g, err := p.TestGroup(t.Context(), front.GroupTestRequest{By: "anna"})
	if err != nil || g.State != "open" || len(g.Messages) != 2 || g.Messages[0].Label == g.Messages[1].Label || g.Recipient != "o•••@example.com" {
		t.Fatalf("test %+v, %v", g, err)
	}
	mails := s.Messages(t, "office@example.com", 2)
	codes := make([]string, 2)
	for i, m := range mails { // They may come in any order; the label says which is which.
		for j, told := range g.Messages {
			if strings.HasPrefix(m.Subject, told.Label) {
				codes[j] = s.Code(t, "office@example.com", i+1)
			}
		}
	}
	if codes[0] == "" || codes[1] == "" || mails[0].Subject == mails[1].Subject {
		t.Fatalf("the messages %q and %q do not say which is which", mails[0].Subject, mails[1].Subject)
	}
	for _, wrong := range [][]string{nil, {codes[0]}, {codes[0], codes[1], codes[1]}, {"x", "y"}} {
		_, err = p.ConfirmGroup(t.Context(), g.ID, front.GroupCodes{Codes: wrong})
		if got := refused(t, err); got != problem.CodeInvalidRequest {
			t.Errorf("%d codes are refused with %s", len(wrong), got)
		}
	}
	if codes[0] != codes[1] {
		_, err = p.ConfirmGroup(t.Context(), g.ID, front.GroupCodes{Codes: []string{codes[1], codes[0]}})
		if got := refused(t, err); got != "wrong_code" {
			t.Errorf("the codes of each other are refused with %s", got)
		}
	}
	_, err = p.ConfirmGroup(t.Context(), g.ID, front.GroupCodes{Codes: []string{codes[0], authtest.Wrong(codes[1])}})
	var refusal *problem.Problem
	if !errors.As(err, &refusal) || refusal.Code != "wrong_code" || refusal.Field != "codes.1" {
		t.Errorf("one wrong code: %v", err)
	}
	half, err := p.GroupTest(t.Context(), g.ID)
	if err != nil || half.State != "open" || !half.Messages[0].Confirmed || half.Messages[1].Confirmed || s.events(t, "group_address_proven") != 0 {
		t.Errorf("after one code: %+v, %v", half, err)
	}
	for range 2 {
		done, err := p.ConfirmGroup(t.Context(), g.ID, front.GroupCodes{Codes: []string{"", codes[1]}})
		if err != nil || done.State != "passed" || s.events(t, "group_address_proven") != 1 {
			t.Fatalf("with both codes: %+v, %v", done, err)
		}
	}
	w, err := s.Workspace(t.Context(), s.call, "w")
	if err != nil || !w.Shown.GroupAddress {
		t.Errorf("workspace %+v, %v", w.Shown, err)
	}
	// A message to the group may now be one of sixty an hour.
	var perHour int
	_, err = s.Create(t.Context(), s.call, front.CreateRequest{Workspace: "w", Login: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "the challenge is recorded", func() bool {
		s.db.Scan(t, `SELECT coalesce(max((routes -> 0 ->> 'per_hour')::int), 0) FROM challenges WHERE login = 'anna'`, nil, &perHour)
		return perHour > 0
	})
	if perHour != 60 {
		t.Errorf("%d messages an hour", perHour)
	}
}

// SEC-48: an administrator or the owner can begin all of it, and gets no code by it but at the address that it is about.
func TestSEC48_NoAnswerAboutPeopleHoldsACodeOrALink(t *testing.T) {
	t.Parallel()
	s := start(t)
	l := s.invite(t, "kim@example.org")
	_, code := s.asked(t, l, "kim@example.org", 1)
	i, err := s.people(t).Invitation(t.Context(), l.ID)
	if err != nil {
		t.Fatal(err)
	}
	field := strings.SplitN(l.Address(s.keys.Handle), "=", 2)[1]
	for _, shown := range []string{i.ID, i.Email, i.Name, i.Login, i.State, i.By} {
		if strings.Contains(shown, code) || strings.Contains(shown, field) || account.IsPseudo(shown) {
			t.Errorf("it shows %q", shown)
		}
	}
	if n := len(s.Messages(t, "kim@example.org", 1)); n != 1 || s.Box.Count() != 1 {
		t.Errorf("%d messages to the invitee of %d in all", n, s.Box.Count())
	}
}

// Invitations, requests and tests of another workspace are unknown, and so are ids that nothing can have.
func TestPeople_KnowsNothingOfOtherWorkspaces(t *testing.T) {
	t.Parallel()
	s := start(t)
	l := s.invite(t, "kim@example.org")
	_, err := s.PutWorkspace(t.Context(), s.call, "v", front.WorkspaceRequest{Name: "V", MainEmail: "v@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.People(t.Context(), s.call, "v")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{l.ID, "nothing", "\x00", "a b", ""} {
		for what, got := range map[string]error{
			"read":    second(v.Invitation(t.Context(), id)),
			"repeat":  second(v.RepeatInvitation(t.Context(), id)),
			"take":    v.WithdrawInvitation(t.Context(), id),
			"decline": v.DeclineJoin(t.Context(), id),
			"test":    second(v.GroupTest(t.Context(), id)),
			"confirm": second(v.ConfirmGroup(t.Context(), id, front.GroupCodes{Codes: []string{"482917", "482917"}})),
		} {
			if code := refused(t, got); !strings.HasPrefix(code, "unknown_") {
				t.Errorf("%s of %q is refused with %s", what, id, code)
			}
		}
	}
	if s.state(t, l) != "open" {
		t.Error("it is not open any more")
	}
	_, err = s.Offer(t.Context(), ticket.Link{Kind: ticket.LinkInvitation, Workspace: "v", ID: l.ID})
	if got := refused(t, err); got != front.CodeInvitationClosed {
		t.Errorf("in another workspace it is refused with %s", got)
	}
}

func second[T any](_ T, err error) error { return err }

// SEC-09: nothing goes to an address that was edited in the database.
func TestSEC09_AnInvitationEditedInTheDatabaseIsNotSentTo(t *testing.T) {
	t.Parallel()
	s := start(t)
	l := s.invite(t, "kim@example.org")
	s.db.Exec(t, `UPDATE invitations SET email = 'thief@example.org'`)
	_, err := s.AskInvitee(t.Context(), l, nil)
	if got := refused(t, err); got != front.CodeDirectoryIntegrity || s.Box.Count() != 0 {
		t.Errorf("refused with %s, %d messages", got, s.Box.Count())
	}
	_, err = s.people(t).RepeatInvitation(t.Context(), l.ID)
	if got := refused(t, err); got != front.CodeDirectoryIntegrity {
		t.Errorf("sent again: %s", got)
	}
	var broken *postgres.IntegrityError
	_, err = s.directory.Invite(t.Context(), postgres.Change{By: "web"}, account.Invitation{Workspace: "w", Email: "thief@example.org", By: "anna"})
	if !errors.As(err, &broken) {
		t.Errorf("invited once more: %v", err)
	}
}
