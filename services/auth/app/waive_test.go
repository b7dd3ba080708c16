package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/otp"
	"doorcode/pkg/postgres"
	pkgproblem "doorcode/pkg/problem"
	"doorcode/pkg/rollout"
)

// exempt lets a login of w be without codes for an hour.
func (h *harness) exempt(t testing.TB, login string) {
	t.Helper()
	_, err := postgres.NewDirectory(h.db.Owner(t), h.ring(t, "ROW")).Exempt(t.Context(), postgres.RolloutOrder{Operator: "kim"}, "w", login,
		rollout.Exemption{Reason: rollout.Contract, RequestedBy: "sam", ApprovedBy: "kim"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
}

func TestCreate_AnswersAWaiverAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.exempt(t, "bert")
	var asked event.WaiveRequest
	var refused *pkgproblem.Problem
	h.verifier(t, event.VerbWaive, func(data []byte) ([]byte, error) {
		err := json.Unmarshal(data, &asked)
		if err != nil {
			return nil, err
		}
		return reply(event.CheckReply{Assertion: "eyJhbGciOiJFZERTQSJ9.e30.c2ln"}, refused)
	})
	a := h.must(t, 201, create("bert").with("one"))
	for _, want := range []string{`"decision":"not_required"`, `"reason":"exempted_login"`, `"assertion":"eyJ`, `"handle":"`} {
		if !strings.Contains(string(a.Body), want) {
			t.Errorf("it lacks %s: %s", want, a.Body)
		}
	}
	if n := len(h.issued(t)); n != 0 {
		t.Errorf("%d challenges were issued", n)
	}
	leave := otp.Waiver{
		Binding: otp.Binding{
			Challenge: asked.Challenge, Workspace: "w", Login: "bert", LoginVersion: h.version(t, "bert"), FrontEnd: "front", Purpose: "sign_in",
		},
		Why: "exempted_login", Until: asked.Waiver.Until,
	}
	if !leave.Sealed(h.ring(t, "DIGEST"), asked.Waiver.Key, asked.Waiver.MAC) {
		t.Errorf("the verifier is asked %+v, and the leave is not for it", asked)
	}
	if h.metric(t, "doorcode_creates_total", "not_required") != 1 {
		t.Error("it is not counted")
	}
	refused = pkgproblem.New(http.StatusConflict, "not_waived", "Ask again.")
	h.refused(t, 409, "not_waived", create("bert"))
}

func TestSkip_PassesOnWhatTheVerifierSays(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	var c created
	h.must(t, 201, create("bert")).into(t, &c)
	skip := request{method: "POST", path: "/v1/challenges/" + c.Handle + "/skip"}
	answers := []*pkgproblem.Problem{
		nil, pkgproblem.New(http.StatusConflict, "not_skippable", "No."), pkgproblem.New(http.StatusUnprocessableEntity, "expired", "No."),
	}
	h.verifier(t, event.VerbSkip, func([]byte) ([]byte, error) {
		p := answers[0]
		answers = answers[1:]
		return reply(event.CheckReply{Assertion: "eyJhbGciOiJFZERTQSJ9.e30.c2ln"}, p)
	})
	a := h.must(t, 200, skip)
	if !strings.Contains(string(a.Body), `"outcome":"waived"`) || !strings.Contains(string(a.Body), `"assertion":"eyJ`) {
		t.Errorf("the answer is %s", a.Body)
	}
	h.refused(t, 409, "not_skippable", skip)
	h.refused(t, 422, "expired", skip)
	h.refused(t, 404, "unknown_challenge", request{method: "POST", path: "/v1/challenges/AAAA/skip"})
}

// offered lets the code be skipped so often.
func offered(left int, enforceAt *time.Time) func(*scene) {
	return func(s *scene) { s.state.Skip = &event.SkipOffer{Left: left, EnforceAt: enforceAt} }
}

// skipping plays what the verifier says to a skip; nil is the way on.
func (s *scene) skipping(t testing.TB, p *pkgproblem.Problem) {
	t.Helper()
	s.verifier(t, event.VerbSkip, s.locked(func([]byte) ([]byte, error) {
		return reply(event.CheckReply{Assertion: "eyJhbGciOiJFZERTQSJ9.e30.c2tpcA"}, p)
	}))
}

// product.md R4.8: the page offers to go on without the code only where it may be skipped, and leads back with an
// assertion all the same.
func TestPrompt_SkipsWhereItMay(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, handle := s.prompt(t)
	p := s.person(t)
	p.open(address)
	if strings.Contains(p.body, "Skip for now") {
		t.Error("a required code may be skipped")
	}
	s.set(func() { offered(3, new(time.Date(2026, time.October, 6, 7, 0, 0, 0, time.UTC)))(s) })
	p.open(address)
	for _, want := range []string{"Skip for now", "From <time", "2026-10-06", "<strong>3</strong> more times."} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page lacks %s\n%s", want, p.body)
		}
	}
	s.skipping(t, nil)
	res := p.send("/skip", nil)
	if res.StatusCode != http.StatusOK || hidden(p.body, "assertion") != "eyJhbGciOiJFZERTQSJ9.e30.c2tpcA" || hidden(p.body, "handle") != handle ||
		!strings.Contains(p.body, `action="`+s.back.URL+`/signed-in"`) {
		t.Errorf("a skip: %d\n%s", res.StatusCode, p.body)
	}
}

func TestPrompt_SaysWhyItDoesNotSkip(t *testing.T) {
	t.Parallel()
	for code, c := range map[string]struct {
		status int
		state  string
		want   string
	}{
		"not_skippable": {409, "pending", "it cannot be skipped any more"},
		"expired":       {422, "expired", "This code ran out"},
		"used":          {422, "waived", "went on without its code"},
		"closed":        {422, "canceled", "This sign-in was closed"},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			s := play(t, nil)
			address, _ := s.prompt(t)
			p := s.person(t)
			s.set(func() { offered(1, nil)(s) })
			p.open(address)
			if !strings.Contains(p.body, "You can go on without it once more.") {
				t.Errorf("the last skip is offered as\n%s", p.body)
			}
			s.set(func() { s.state.State = c.state; s.state.Skip = nil })
			s.skipping(t, pkgproblem.New(c.status, code, "No."))
			res := p.send("/skip", nil)
			if res.StatusCode != c.status || !strings.Contains(p.body, c.want) || strings.Contains(p.body, "assertion") {
				t.Errorf("%d\n%s", res.StatusCode, p.body)
			}
		})
	}
}

// P7: the answer to a skip was lost. The page gives it again, and nothing is skipped twice.
func TestPrompt_GivesTheAnswerToASkipAgain(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, handle := s.prompt(t)
	p := s.person(t)
	p.open(address)
	s.set(func() { s.state.State = "waived" })
	s.skipping(t, nil)
	p.ask(http.MethodGet, p.page, nil, nil)
	if !strings.Contains(p.body, "went on without its code") || !strings.Contains(p.body, `/skip"`) {
		t.Fatalf("after a skip the page is\n%s", p.body)
	}
	res := p.send("/skip", nil)
	if res.StatusCode != http.StatusOK || hidden(p.body, "handle") != handle || !strings.Contains(p.body, `action="`+s.back.URL+`/signed-in"`) {
		t.Errorf("%d\n%s", res.StatusCode, p.body)
	}
}
