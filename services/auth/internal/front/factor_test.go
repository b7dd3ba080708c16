package front_test

import (
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/postgres"
	"doorcode/services/auth/internal/front"
)

// toNumber is the start of a change of bert's number.
func toNumber(number string) front.FactorStart {
	return front.FactorStart{Workspace: "w", Login: "bert", Kind: account.FactorNumber, Phone: number, By: "doorcode/auth"}
}

// number is bert's number.
func (s *set) number(t *testing.T) string {
	t.Helper()
	l, _, err := s.directory.Login(t.Context(), "w", "bert")
	if err != nil {
		t.Fatal(err)
	}
	return l.Phone
}

// SEC-36: a code of the last five minutes approves a change, an older one does not.
func TestSEC36_AFreshCodeOfTheSessionSkipsTheFirstOne(t *testing.T) {
	t.Parallel()
	s := start(t)
	q := toNumber("+12025550149")
	q.Approved = time.Now().Add(-6 * time.Minute)
	_, err := s.StartFactor(t.Context(), q)
	if got := refused(t, err); got != front.CodeNotFresh {
		t.Errorf("an old code is refused with %s", got)
	}
	q.Approved = time.Now().Add(-time.Minute)
	c, err := s.StartFactor(t.Context(), q)
	if err != nil || c.State != "proof" || c.Challenge == nil {
		t.Fatalf("begun: %+v, %v", c, err)
	}
	ref := front.FactorRef{Workspace: "w", Login: "bert", Change: c.ID, By: "doorcode/auth"}
	c, err = s.ConfirmFactor(t.Context(), ref, s.Code(t, "+12025550149", 1))
	if err != nil || c.State != "applied" || s.number(t) != "+12025550149" || s.Box.Count() != 1 {
		t.Errorf("confirmed: %+v, %v after %d messages", c, err, s.Box.Count())
	}
}

// A process may die between the verifier's answer and what follows from it: the same code goes on.
func TestConfirmFactor_GoesOnWhereAProcessDied(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, err := s.StartFactor(t.Context(), toNumber("+12025550149"))
	if err != nil {
		t.Fatal(err)
	}
	ref := front.FactorRef{Workspace: "w", Login: "bert", Change: c.ID, By: "doorcode/auth"}
	for i, half := range []struct {
		purpose challenge.Purpose
		at      string
		then    string
	}{{challenge.Approval, "+12025550148", "proof"}, {challenge.Proof, "+12025550149", "applied"}} {
		code := s.Code(t, half.at, 1)
		_, err = s.Confirm(t.Context(), c.Handle, code, front.FactorCheckID(c.ID, half.purpose)) // and then it died
		if err != nil || s.number(t) != "+12025550148" {
			t.Fatal(err)
		}
		c, err = s.ConfirmFactor(t.Context(), ref, code)
		if err != nil || c.State != half.then {
			t.Fatalf("half %d goes on to %+v, %v", i, c, err)
		}
	}
	if s.number(t) != "+12025550149" {
		t.Errorf("the number is %s", s.number(t))
	}
}

// A process may die between a code's way out and the note of it. Whoever goes on may come from elsewhere, as support or
// with nothing said about the browser: no second code is sent, and none is refused.
func TestConfirmFactor_GoesOnFromElsewhere(t *testing.T) {
	t.Parallel()
	s := start(t)
	row, err := s.directory.StartFactor(t.Context(), postgres.Change{By: "doorcode/auth"}, postgres.FactorStart{
		Workspace: "w", Login: "bert", Kind: account.FactorNumber, Destination: "+12025550149",
		Allowed: func(account.Route, []string) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	q := approval("bert")
	q.Key, q.Client = "factor."+row.ID+".approval.0", &front.Client{Address: "192.0.2.1", UserAgent: "Firefox"}
	asked, err := s.Ask(t.Context(), q) // and then it died
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.RepeatFactor(t.Context(), front.FactorRef{Workspace: "w", Login: "bert", Change: row.ID, By: "doorcode/auth"}, "")
	if err != nil || c.Handle != asked.Handle {
		t.Errorf("goes on: %+v, %v", c, err)
	}
}
