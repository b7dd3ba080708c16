package postgres_test

import (
	"errors"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
)

// undo presses the link of a change.
func (k keeping) undo(t *testing.T, f postgres.FactorChange) error {
	t.Helper()
	_, err := k.directory.RevertFactor(t.Context(), postgres.Change{By: postgres.Auth}, "w", f.ID)
	return err
}

// states are those of the changes of bert, the oldest first.
func (k keeping) states(t *testing.T) []postgres.FactorState {
	t.Helper()
	all, err := k.directory.Factors(t.Context(), "w", "bert")
	if err != nil {
		t.Fatal(err)
	}
	var states []postgres.FactorState
	for i := range all {
		states = append(states, all[len(all)-1-i].State)
	}
	return states
}

// moved gives the workspace another main address by a change of its owner.
func (k keeping) moved(t *testing.T, owner, email string) postgres.FactorChange {
	t.Helper()
	f, err := k.directory.StartFactor(t.Context(), factorBy(), postgres.FactorStart{
		Workspace: "w", Login: owner, Kind: account.FactorMainEmail, Destination: email,
		Allowed: func(account.Route, []string) error { return nil },
	})
	if err == nil {
		_, err = k.directory.ApproveFactor(t.Context(), factorBy(), refOf(f), time.Now())
	}
	if err == nil {
		_, err = k.directory.AskedFactor(t.Context(), factorBy(), refOf(f), postgres.FactorProof, 0, "proof")
	}
	if err == nil {
		f, err = k.directory.ApplyFactor(t.Context(), factorBy(), refOf(f), "proof")
	}
	if err != nil || f.State != postgres.FactorApplied || k.main(t) != email {
		t.Fatalf("applied: %+v, %v", f, err)
	}
	return f
}

// main is the main address of the workspace.
func (k keeping) main(t *testing.T) string {
	t.Helper()
	w, _, err := k.directory.Workspace(t.Context(), "w")
	if err != nil {
		t.Fatal(err)
	}
	return w.MainEmail
}

// Whoever moved the codes once moves them once more before the person reads the notice: it is good for its 72 hours all the
// same, and takes all of it back.
func TestSEC38_AnUndoReachesBehindLaterChanges(t *testing.T) {
	t.Parallel()
	k := phones(t)
	first := k.applied(t, "+12025550149")
	second := k.applied(t, "+12025550150")
	k.applied(t, "+12025550151")
	k.proved(t, "+12025550152") // and one on its way
	err := k.directory.AgeFactor(t.Context(), refOf(first), postgres.FactorUndo-time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, followed, err := k.directory.UndoableFactor(t.Context(), "w", first.ID)
	if err != nil || !followed || k.phone(t) != "+12025550151" {
		t.Errorf("it can be undone, with others: %t, %v", followed, err)
	}
	var before, after int64
	const version = `SELECT version FROM login_budgets WHERE login = 'bert'`
	k.db.Scan(t, version, nil, &before)
	err = k.undo(t, first)
	k.db.Scan(t, version, nil, &after)
	if err != nil || k.phone(t) != "+12025550148" || after != before+1 {
		t.Errorf("the first is undone: %v, the number is %s, the version went from %d to %d", err, k.phone(t), before, after)
	}
	for _, state := range k.states(t) {
		if state != postgres.FactorReverted && state != postgres.FactorCanceled {
			t.Errorf("they stand at %v", k.states(t))
		}
	}
	if k.events(t, "factor_reverted") != 3 || k.events(t, "factor_canceled") != 1 {
		t.Errorf("told are %d and %d", k.events(t, "factor_reverted"), k.events(t, "factor_canceled"))
	}
	err = k.undo(t, second)
	if !errors.Is(err, postgres.ErrFactorOver) || k.phone(t) != "+12025550148" {
		t.Errorf("the second one's link: %v", err)
	}
	f := k.applied(t, "+12025550153") // A new line begins.
	if f.Follows != "" || k.undo(t, f) != nil || k.phone(t) != "+12025550148" {
		t.Errorf("a new change: %+v, the number is %s", f, k.phone(t))
	}
}

// Undone from the end on, each link gives back what its change replaced.
func TestRevertFactor_OneAfterTheOther(t *testing.T) {
	t.Parallel()
	k := phones(t)
	first := k.applied(t, "+12025550149")
	second := k.applied(t, "+12025550150")
	if second.Follows != first.ID {
		t.Errorf("the second follows %q", second.Follows)
	}
	err := k.undo(t, second)
	if err != nil || k.phone(t) != "+12025550149" {
		t.Errorf("the second: %v, the number is %s", err, k.phone(t))
	}
	third := k.applied(t, "+12025550151")
	if third.Follows != first.ID {
		t.Errorf("the third follows %q", third.Follows)
	}
	err = k.undo(t, first)
	if err != nil || k.phone(t) != "+12025550148" {
		t.Errorf("the first: %v, the number is %s", err, k.phone(t))
	}
	err = k.undo(t, third)
	if !errors.Is(err, postgres.ErrFactorOver) {
		t.Errorf("the third: %v", err)
	}
}

// Whoever took a number away cannot undo the undo: also not by a change that had put the first number back for a while, of
// which they have the link.
func TestSEC38_AnUndoIsNotUndone(t *testing.T) {
	t.Parallel()
	k := phones(t)
	taken := k.applied(t, "+12025550149")
	back := k.applied(t, "+12025550148") // told to the taken number, with a link
	again := k.applied(t, "+12025550149")
	err := k.undo(t, taken)
	if err != nil || k.phone(t) != "+12025550148" {
		t.Fatalf("the victim's undo: %v, the number is %s", err, k.phone(t))
	}
	for _, f := range []postgres.FactorChange{back, again, taken} {
		err = k.undo(t, f)
		if !errors.Is(err, postgres.ErrFactorOver) || k.phone(t) != "+12025550148" {
			t.Errorf("a link of the thief: %v, the number is %s", err, k.phone(t))
		}
	}
}

// The main address has one line, whoever owned the workspace meanwhile; what the host application puts itself begins another.
func TestRevertFactor_OfTheMainAddress(t *testing.T) {
	t.Parallel()
	k := phones(t)
	first := k.moved(t, "anna", "one@example.org")
	_, err := k.directory.PutLogin(t.Context(), factorBy(), account.Login{Workspace: "w", ID: "bert", Role: account.Owner, Email: "bert@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	second := k.moved(t, "bert", "two@example.org")
	if second.Follows != first.ID {
		t.Errorf("the second follows %q", second.Follows)
	}
	phone := k.applied(t, "+12025550149") // is of another line
	pending := k.proved(t, "+12025550150")
	err = k.undo(t, first)
	if err != nil || k.main(t) != "office@example.com" || k.phone(t) != "+12025550149" {
		t.Errorf("the first: %v, the main address is %s, the number %s", err, k.main(t), k.phone(t))
	}
	f, err := k.directory.Factor(t.Context(), "w", pending.ID)
	if err != nil || f.State != postgres.FactorCanceled {
		t.Errorf("what was on its way is %s, %v", f.State, err)
	}
	if k.undo(t, phone) != nil || k.phone(t) != "+12025550148" {
		t.Error("the change of the number cannot be undone any more")
	}
	err = k.undo(t, second)
	if !errors.Is(err, postgres.ErrFactorOver) || k.main(t) != "office@example.com" {
		t.Errorf("the second: %v", err)
	}
	third := k.moved(t, "bert", "three@example.org")
	err = k.moveMain(t, "put@example.org")
	if err != nil {
		t.Fatal(err)
	}
	fourth := k.moved(t, "bert", "four@example.org")
	if fourth.Follows != "" {
		t.Errorf("after a put it follows %q", fourth.Follows)
	}
	err = k.undo(t, third)
	if !errors.Is(err, postgres.ErrFactorOver) || k.main(t) != "four@example.org" {
		t.Errorf("what is before a put: %v", err)
	}
	if k.undo(t, fourth) != nil || k.main(t) != "put@example.org" {
		t.Errorf("the main address is %s", k.main(t))
	}
}
