package e2e

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/client"
)

// It shows SEC-02 of deploy/SECURITY.md.
func TestSignIn_ACodeTravelsToThePersonAndApproves(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	if ch.Channel != "email" || !strings.HasSuffix(ch.Recipient, "•••@acme.example") || len(ch.SupportReference) != 9 || len(ch.Routes) != 0 {
		t.Errorf("challenge %+v", ch)
	}
	if life := ch.ExpiresAt.Sub(ch.ResendAt); life != 9*time.Minute+30*time.Second {
		t.Errorf("resend %s before the end", life)
	}
	code := s.code(t, email, 1)
	m := s.inbox(t, email)[0]
	if strings.Contains(m.Subject, code) || !strings.HasPrefix(m.Subject, ch.Label) || !strings.Contains(m.Text, ch.SupportReference) || !strings.Contains(m.HTML, code) {
		t.Errorf("message with the subject %q", m.Subject)
	}
	eventually(t, "the message is known as accepted, or delivered already", func() bool {
		state, err := s.front.Read(t.Context(), ch.Handle)
		if err != nil {
			t.Fatal(err)
		}
		return state.State == "pending" && len(state.Deliveries) == 1 && slices.Contains([]string{"accepted", "delivered"}, state.Deliveries[0].Status) && state.Deliveries[0].Text != ""
	})
	_, err := s.front.Check(t.Context(), ch.Handle, wrongFor(code))
	if e := refusal(t, err); e.Code != "wrong_code" || e.ChecksLeft == nil || *e.ChecksLeft != 4 || e.Status != http.StatusUnprocessableEntity {
		t.Errorf("wrong code: %v", e)
	}
	person, err := s.front.Check(t.Context(), ch.Handle, code[:3]+" "+code[3:])
	if err != nil {
		t.Fatal(err)
	}
	if person.Login != "kim" || person.Workspace != workspace || person.Channel != "email" {
		t.Errorf("person %+v", person)
	}
	_, err = s.front.Check(t.Context(), ch.Handle, code)
	if e := refusal(t, err); e.Code != "used" {
		t.Errorf("the code once more: %v", e)
	}
	state, err := s.front.Read(t.Context(), ch.Handle)
	if err != nil || state.State != "approved" {
		t.Errorf("state %s: %v", state.State, err)
	}
}

// It shows SEC-19 of deploy/SECURITY.md.
func TestP2_ARightCodeSucceedsOnceOverHTTP(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	code := s.code(t, email, 1)
	var mu sync.Mutex
	approved, refused := 0, map[string]int{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			_, err := s.front.Check(t.Context(), ch.Handle, code)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				approved++
				return
			}
			refused[refusal(t, err).Code]++
		})
	}
	wg.Wait()
	if approved != 1 || refused["used"] != 15 {
		t.Errorf("%d approved, refused %v", approved, refused)
	}
}

// It shows SEC-10 of deploy/SECURITY.md.
func TestP3_FiveWrongCodesCloseTheChallenge(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	code := s.code(t, email, 1)
	for left := 4; left >= 0; left-- {
		_, err := s.front.Check(t.Context(), ch.Handle, wrongFor(code))
		if e := refusal(t, err); e.Code != "wrong_code" || e.ChecksLeft == nil || *e.ChecksLeft != left {
			t.Fatalf("with %d left: %v", left, e)
		}
	}
	_, err := s.front.Check(t.Context(), ch.Handle, code)
	if e := refusal(t, err); e.Code != "closed" {
		t.Errorf("the right code afterwards: %v", e)
	}
	state, err := s.front.Read(t.Context(), ch.Handle)
	if err != nil || state.State != "exhausted" {
		t.Errorf("state %s: %v", state.State, err)
	}
}

// It shows SEC-18 of deploy/SECURITY.md. product.md edge case 2: the code of the first message is good after the second.
func TestResend_RepeatsTheSameCodeWithTheSameLabel(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	code := s.code(t, email, 1)
	err := s.front.Resend(t.Context(), ch.Handle)
	if e := refusal(t, err); e.Code != "resend_too_early" || e.RetryAfter <= 0 || e.RetryAfter > 30*time.Second {
		t.Fatalf("at once: %v", e)
	}
	s.passWait(t, ch)
	err = s.front.Resend(t.Context(), ch.Handle)
	if err != nil {
		t.Fatal(err)
	}
	if again := s.code(t, email, 2); again != code {
		t.Error("the second message has another code")
	}
	all := s.inbox(t, email)
	if len(all) != 2 || all[0].Subject != all[1].Subject {
		t.Errorf("%d messages", len(all))
	}
	_, err = s.front.Check(t.Context(), ch.Handle, code)
	if err != nil {
		t.Errorf("the code after a resend: %v", err)
	}
}

// passWait lets the server's wait before a resend pass by moving it in the
// database, which is the clock that counts.
func (s *standalone) passWait(t *testing.T, ch client.Challenge) {
	t.Helper()
	db := s.database(t)
	eventually(t, "the challenge is recorded", func() bool {
		return db.Exec(t, `UPDATE challenges SET resend_at = now() WHERE support_reference = $1`, strings.ReplaceAll(ch.SupportReference, "-", "")) == 1
	})
}

func TestCancel_ClosesTheChallengeForTheRightCodeToo(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	code := s.code(t, email, 1)
	for range 2 {
		err := s.front.Cancel(t.Context(), ch.Handle)
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.front.Check(t.Context(), ch.Handle, code)
	if e := refusal(t, err); e.Code != "closed" {
		t.Errorf("after the cancel: %v", e)
	}
}

func TestCreate_OneKeyOneMessageOneAnswer(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	workspace, email := s.workspace(t)
	answers := make(chan client.Challenge, 16)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			ch, err := s.front.Create(t.Context(), client.Request{Workspace: workspace, Login: "kim", Key: "one"})
			if err != nil {
				t.Error(err)
			}
			answers <- ch
		})
	}
	wg.Wait()
	close(answers)
	var first client.Challenge
	for ch := range answers {
		if first.Handle == "" {
			first = ch
		}
		if ch.Handle != first.Handle || ch.Label != first.Label {
			t.Errorf("two answers: %s and %s", ch.Label, first.Label)
		}
	}
	// A further challenge's message arrives after all of the first's: then the
	// count is complete.
	s.create(t, workspace)
	s.code(t, email, 2)
	if n := len(s.inbox(t, email)); n != 2 {
		t.Errorf("%d messages for two challenges", n)
	}
}

// It shows SEC-09 and SEC-39 of deploy/SECURITY.md.
func TestDirectory_AChangeEndsOpenChallengesWithinASecond(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	code := s.code(t, email, 1)
	err := s.front.PutLogin(t.Context(), workspace, "kim", client.Login{Role: "owner", Email: "kim." + email})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.front.Check(t.Context(), ch.Handle, code)
	if e := refusal(t, err); e.Code != "closed" {
		t.Errorf("the code that went to the old address: %v", e)
	}
	eventually(t, "the challenge is canceled", func() bool {
		state, err := s.front.Read(t.Context(), ch.Handle)
		return err == nil && state.State == "canceled"
	})
	next := s.create(t, workspace)
	if next.Recipient != "k•••@acme.example" {
		t.Errorf("the next code goes to %s", next.Recipient)
	}
	s.code(t, "kim."+email, 1)
}

// SEC-09: an address edited in the database, nothing sent and an alarm.
func TestDirectory_AnAddressEditedInTheDatabaseIsNotSentTo(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	workspace, _ := s.workspace(t)
	db := s.database(t)
	if n := db.Exec(t, `UPDATE workspaces SET main_email = 'thief@evil.example' WHERE id = $1`, workspace); n != 1 {
		t.Fatalf("%d rows edited", n)
	}
	_, err := s.front.Create(t.Context(), client.Request{Workspace: workspace, Login: "kim"})
	if e := refusal(t, err); e.Status != http.StatusServiceUnavailable || e.Code != "directory_integrity" {
		t.Errorf("create: %v", e)
	}
	if n := len(s.inbox(t, "thief@evil.example")); n != 0 {
		t.Errorf("%d messages to the edited address", n)
	}
	if !strings.Contains(s.metrics(t), `doorcode_directory_mac_failures_total{table="workspaces"}`) {
		t.Error("no alarm in the metrics")
	}
	if !strings.Contains(s.printed(), "directory row") {
		t.Error("no alarm in the log")
	}
}

// It shows SEC-17 and SEC-62 of deploy/SECURITY.md.
func TestLock_IsEndedByAnAuditedCallOnly(t *testing.T) {
	t.Parallel()
	s := sharedStandalone(t)
	workspace, _ := s.workspace(t)
	db := s.database(t)
	db.Exec(t, `UPDATE login_budgets SET locked_at = now(), in_a_row = 50 WHERE workspace = $1`, workspace)
	_, err := s.front.Create(t.Context(), client.Request{Workspace: workspace, Login: "kim"})
	if e := refusal(t, err); e.Status != http.StatusConflict || e.Code != "login_locked" {
		t.Errorf("create for a locked login: %v", e)
	}
	a := s.raw(t, http.MethodDelete, "/v1/workspaces/"+workspace+"/logins/kim/lock", nil)
	if a.status != http.StatusNoContent {
		t.Fatalf("end of the lock: %d", a.status)
	}
	s.create(t, workspace)
	var n int
	db.Scan(t, `SELECT count(*) FROM audit WHERE workspace = $1 AND kind = 'directory.v1.login_unlocked'`, []any{workspace}, &n)
	if n != 1 {
		t.Errorf("%d audit rows about the unlock", n)
	}
}

// P4 over the whole system: what the process printed at its most talkative
// level has no code and no address of a message that was sent.
// It shows SEC-32 and SEC-33 of deploy/SECURITY.md.
func TestP4_TheLogHasNoCodeAndNoAddress(t *testing.T) {
	t.Parallel()
	s := ownStandalone(t)
	workspace, email := s.workspace(t)
	var codes []string
	for n := 1; n <= 3; n++ {
		ch := s.create(t, workspace)
		code := s.code(t, email, n)
		codes = append(codes, code)
		_, err := s.front.Check(t.Context(), ch.Handle, code)
		if err != nil {
			t.Fatal(err)
		}
	}
	printed, metrics := s.printed(), s.metrics(t)
	for name, text := range map[string]string{"log": printed, "metrics": metrics} {
		for _, code := range codes {
			if strings.Contains(text, `"`+code+`"`) || strings.Contains(text, " "+code+" ") {
				t.Errorf("a code stands in the %s", name)
			}
		}
		if strings.Contains(text, email) {
			t.Errorf("an address stands in the %s", name)
		}
		if strings.Contains(text, s.key) {
			t.Errorf("the API key stands in the %s", name)
		}
	}
	if !strings.Contains(printed, `"delivery attempted"`) {
		t.Error("the log does not tell of deliveries at all")
	}
}
