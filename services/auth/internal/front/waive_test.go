package front_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/assertion"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
	"doorcode/services/auth/internal/decide"
	"doorcode/services/auth/internal/front"
)

// toEnforce is how long the grace of dated lasts: shorter than a code lives.
const toEnforce = 8 * time.Minute

// dated makes or moves a wave that is announced after so long, and enforced when its grace has lasted for toEnforce.
func (s *set) dated(t *testing.T, announce, grace time.Duration, skips int) {
	t.Helper()
	_, err := postgres.NewDirectory(s.db.Owner(t), s.rows).PutWave(t.Context(), postgres.RolloutOrder{Operator: "kim"}, "first", func(w rollout.Wave) (rollout.Wave, error) {
		now := time.Now()
		w.AnnounceAt, w.GraceAt, w.EnforceAt, w.Skips = now.Add(announce), now.Add(grace), now.Add(grace+toEnforce), skips
		return w, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// wave puts workspace w into a wave that is announced in an hour, and in grace an hour later.
func (s *set) wave(t *testing.T, skips int) {
	t.Helper()
	s.dated(t, time.Hour, 2*time.Hour, skips)
	operator := postgres.NewDirectory(s.db.Owner(t), s.rows)
	order := postgres.RolloutOrder{Operator: "kim"}
	_, err := operator.Join(t.Context(), order, "first", postgres.Pick{Workspaces: []string{"w"}})
	if err != nil {
		t.Fatal(err)
	}
}

// reach waits until workspace w stands in a stage.
func (s *set) reach(t *testing.T, stage rollout.Stage) {
	t.Helper()
	operator := postgres.NewDirectory(s.db.Owner(t), s.rows)
	bustest.Wait(t, "the workspace is in "+string(stage), func() bool {
		now, err := operator.StageOf(t.Context(), "w")
		return err == nil && now.Stage == stage
	})
}

// said is what an assertion says.
type said struct {
	Challenge string   `json:"challenge"`
	Subject   string   `json:"sub"`
	Channel   string   `json:"channel"`
	Methods   []string `json:"amr"`
	Reason    string   `json:"reason"`
}

// claims reads what an assertion says; whether it is signed is for others to judge.
func claims(t *testing.T, text string) (c said) {
	t.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("no assertion: %q", text)
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// product.md R2.2: before the announcement nobody needs a code but who came later. Also they are let in on an assertion,
// which proves nothing to doorcode itself.
func TestCreate_WhoNeedsNoCodeYetGetsAnAssertionThatSaysSo(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.wave(t, 3)
	_, err := s.PutLogin(t.Context(), s.call, "w", "later", front.LoginRequest{Role: "member", Email: "later@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	call := s.call
	call.IdempotencyKey = "one"
	request := front.CreateRequest{Workspace: "w", Login: "anna", Client: &front.Client{BrowserID: "b1"}}
	created, err := s.Create(t.Context(), call, request)
	if err != nil || created.Decision != "not_required" || created.Reason != "not_yet" || created.EnforceAt == nil || created.Label != "" || created.Channel != "" {
		t.Fatalf("%+v, %v", created, err)
	}
	got := claims(t, created.Assertion)
	if got.Subject != "anna" || len(got.Methods) != 0 || got.Reason != "not_yet" || got.Channel != "" {
		t.Errorf("the assertion says %+v", got)
	}
	_, err = s.keys.Assertion.Verify(created.Assertion, assertion.Expected{FrontEnd: "web", Challenge: got.Challenge, Now: time.Now()})
	if err == nil {
		t.Error("doorcode takes a waiver for a proof")
	}
	again, err := s.Create(t.Context(), call, request)
	if err != nil || again.Assertion != created.Assertion || again.Handle != created.Handle || again.SupportReference != created.SupportReference {
		t.Errorf("asked again it is %+v, %v", again, err)
	}
	request.Login = "bert"
	_, err = s.Create(t.Context(), call, request)
	if got := refused(t, err); got != front.CodeIdempotencyMismatch {
		t.Errorf("another request with the key is refused with %s", got)
	}
	view, err := s.State(t.Context(), s.call, created.Handle)
	if err != nil || view.State != "waived" || view.Channel != "" || len(view.Deliveries) != 0 || view.SupportReference != created.SupportReference {
		t.Errorf("it stands at %+v, %v", view, err)
	}
	_, err = s.Check(t.Context(), s.call, created.Handle, front.CheckRequest{Code: "123456"})
	if got := refused(t, err); got != "closed" {
		t.Errorf("a code of it is refused with %s", got)
	}
	_, err = s.Resend(t.Context(), s.call, created.Handle, front.ResendRequest{})
	if got := refused(t, err); got != "closed" {
		t.Errorf("a message of it is refused with %s", got)
	}
	later, err := s.Create(t.Context(), s.call, front.CreateRequest{Workspace: "w", Login: "later"})
	if err != nil || later.Decision != "required" || later.Skip != nil || later.Assertion != "" {
		t.Errorf("who came later: %+v, %v", later, err)
	}
	s.Messages(t, "later@example.com", 1)
	if n := s.Box.Count(); n != 1 {
		t.Errorf("%d messages were sent", n)
	}
	waived := s.bus.Messages(t, event.StreamOutcomes)
	if len(waived) != 1 || waived[0].Subject != "doorcode.outcome.waived" {
		t.Fatalf("told: %+v", waived)
	}
	eventtest.ValidateData(t, event.ChallengeWaived, waived[0].Data)
	var rows int
	s.db.Scan(t, `SELECT count(*) FROM audit WHERE kind = 'challenge.v1.waived' AND login = 'anna' AND actor = 'web' AND detail ->> 'reason' = 'not_yet'`, nil, &rows)
	if rows != 1 {
		t.Errorf("%d waivers are on record", rows)
	}
}

// Whatever is not as it was written asks for the code, and raises the alarm; a lock keeps everybody out all the same.
// It shows SEC-61 of deploy/SECURITY.md.
func TestCreate_TheRollOutLetsNobodyInByMistake(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.wave(t, 3)
	decision := func(login string) string {
		t.Helper()
		created, err := s.Create(t.Context(), s.call, front.CreateRequest{Workspace: "w", Login: login})
		if err != nil {
			t.Fatal(err)
		}
		return created.Decision
	}
	if got := decision("bert"); got != "not_required" {
		t.Fatalf("before: %s", got)
	}
	// R2.3: bert has a login in a workspace that is in no wave. In its spelling of the address.
	for _, put := range []func() error{
		func() error {
			_, err := s.PutWorkspace(t.Context(), s.call, "strict", front.WorkspaceRequest{Name: "Strict", MainEmail: "x@example.com"})
			return err
		},
		func() error {
			_, err := s.PutLogin(t.Context(), s.call, "strict", "b", front.LoginRequest{Role: "member", Email: "Bert@Example.com"})
			return err
		},
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
	}
	if got := decision("bert"); got != "required" {
		t.Errorf("with a stricter workspace: %s", got)
	}
	if got := decision("anna"); got != "not_required" {
		t.Errorf("who is not in it: %s", got)
	}
	s.db.Exec(t, `UPDATE login_budgets SET locked_at = now() WHERE login = 'anna'`)
	_, err := s.Create(t.Context(), s.call, front.CreateRequest{Workspace: "w", Login: "anna"})
	if got := refused(t, err); got != decide.CodeLoginLocked {
		t.Errorf("a locked login is refused with %s", got)
	}
	s.db.Exec(t, `UPDATE login_budgets SET locked_at = NULL`)
	for table, change := range map[string]string{
		"rollout_waves":  `UPDATE rollout_waves SET enforce_at = enforce_at + interval '1 year'`,
		"rollout_places": `UPDATE rollout_places SET joined_at = joined_at + interval '1 year'`,
	} {
		s.db.Exec(t, change)
		if got := decision("anna"); got != "required" {
			t.Errorf("with %s edited: %s", table, got)
		}
	}
}

// An exemption is for whom it was given, and until it ends.
// It shows SEC-49 of deploy/SECURITY.md.
func TestCreate_AnExemptedLoginNeedsNoCode(t *testing.T) {
	t.Parallel()
	s := start(t)
	operator := postgres.NewDirectory(s.db.Owner(t), s.rows)
	order := postgres.RolloutOrder{Operator: "kim"}
	_, err := operator.Exempt(t.Context(), order, "w", "bert", rollout.Exemption{Reason: rollout.Unreachable, RequestedBy: "sam", ApprovedBy: "kim"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for login, want := range map[string]string{"bert": "not_required", "anna": "required"} {
		created, err := s.Create(t.Context(), s.call, front.CreateRequest{Workspace: "w", Login: login})
		if err != nil || created.Decision != want || (login == "bert" && created.Reason != "exempted_login") {
			t.Errorf("%s: %+v, %v", login, created, err)
		}
	}
	err = operator.EndExemption(t.Context(), order, "w", "bert")
	if err != nil {
		t.Fatal(err)
	}
	created, err := s.Create(t.Context(), s.call, front.CreateRequest{Workspace: "w", Login: "bert"})
	if err != nil || created.Decision != "required" {
		t.Errorf("ended: %+v, %v", created, err)
	}
}

// product.md R4.8: in grace a code may be skipped as often as the wave says, in a browser that the login has used.
func TestSkip_InGraceInAKnownBrowserAFewTimes(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.wave(t, 2)
	request := func(browser string) front.CreateRequest {
		return front.CreateRequest{Workspace: "w", Login: "anna", Client: &front.Client{BrowserID: browser}}
	}
	create := func(browser, want string) front.Created {
		t.Helper()
		created, err := s.Create(t.Context(), s.call, request(browser))
		if err != nil || created.Decision != want {
			t.Fatalf("in %s: %+v, %v", browser, created, err)
		}
		return created
	}
	create("known", "not_required") // Before it begins: from now on the browser is known.
	s.dated(t, 5*time.Second, 5*time.Second, 2)
	s.reach(t, rollout.Grace)
	bustest.Wait(t, "the sign-in is kept", func() bool {
		var n int
		s.db.Scan(t, `SELECT count(*) FROM sign_ins WHERE outcome = 'waived'`, nil, &n)
		return n == 1
	})
	strange := create("strange", "required")
	_, err := s.Skip(t.Context(), s.call, strange.Handle)
	if got := refused(t, err); got != "not_skippable" {
		t.Errorf("in a browser that nobody knows it is refused with %s", got)
	}
	for left := 2; left > 0; left-- {
		created := create("known", "skippable")
		if created.Skip == nil || created.Skip.Left != left || created.Skip.EnforceAt == nil || created.Channel != "email" {
			t.Errorf("offered: %+v", created.Skip)
		}
		view, err := s.State(t.Context(), s.call, created.Handle)
		if err != nil || view.Skip == nil || view.Skip.Left != left {
			t.Errorf("it stands at %+v, %v", view, err)
		}
		waived, err := s.Skip(t.Context(), s.call, created.Handle)
		if err != nil || waived.Outcome != string(challenge.Waived) {
			t.Fatalf("%+v, %v", waived, err)
		}
		if got := claims(t, waived.Assertion); got.Reason != "grace" || len(got.Methods) != 0 || got.Channel != "" {
			t.Errorf("the assertion says %+v", got)
		}
		again, err := s.Skip(t.Context(), s.call, created.Handle)
		if err != nil || again.Assertion != waived.Assertion {
			t.Errorf("skipped twice: %v", err)
		}
		_, err = s.Check(t.Context(), s.call, created.Handle, front.CheckRequest{Code: s.Code(t, "office@example.com", 4-left)})
		if got := refused(t, err); got != "closed" {
			t.Errorf("the code after a skip is refused with %s", got)
		}
		view, err = s.State(t.Context(), s.call, created.Handle)
		if err != nil || view.Skip != nil || view.State != "waived" {
			t.Errorf("it stands at %+v, %v", view, err)
		}
	}
	create("known", "required")
	for _, m := range s.bus.Messages(t, event.StreamOutcomes) {
		e, err := event.Parse(m.Subject, m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		eventtest.Validate(t, m.Subject, e)
	}
	for _, m := range s.bus.Messages(t, event.StreamChallenges) {
		eventtest.ValidateData(t, event.ChallengeIssued, m.Data)
		var issued event.Issued
		err := json.Unmarshal(m.Data, &issued)
		if err != nil {
			t.Fatal(err)
		}
		// product.md edge case 6: nothing can be skipped from the date on, though the code lives longer.
		if s := issued.Skip; s != nil && (!s.Until.Equal(*s.EnforceAt) || !s.Until.Before(issued.ExpiresAt)) {
			t.Errorf("it may be skipped until %s; required from %s, alive until %s", s.Until, s.EnforceAt, issued.ExpiresAt)
		}
	}
}

// DESIGN 7: the limit of creates per client address holds for whoever needs no code as well.
func TestCreate_WhoNeedsNoCodeIsLimitedByTheClientAddress(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.wave(t, 3)
	request := front.CreateRequest{Workspace: "w", Login: "anna", Client: &front.Client{Address: "192.0.2.7"}}
	taken := 0
	for range 40 {
		_, err := s.Create(t.Context(), s.call, request)
		if err != nil {
			if got := refused(t, err); got != front.CodeTooManyRequests {
				t.Errorf("refused with %s", got)
			}
			continue
		}
		taken++
	}
	if taken < 30 || taken == 40 { // A minute may pass on the way.
		t.Errorf("%d of 40 were let in", taken)
	}
	request.Client.Address = "198.51.100.7"
	_, err := s.Create(t.Context(), s.call, request)
	if err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	var live int
	s.db.Scan(t, `SELECT cardinality(live_ids) FROM login_budgets WHERE login = 'anna'`, nil, &live)
	if live > 1 { // The last one is over, too, and goes with the next.
		t.Errorf("%d places are taken", live)
	}
}
