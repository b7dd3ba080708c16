package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
)

// factorBy is who changes factors in these tests.
func factorBy() postgres.Change { return postgres.Change{By: "front"} }

// starting is the change of bert's number to that.
func starting(number string) postgres.FactorStart {
	return postgres.FactorStart{
		Workspace: "w", Login: "bert", Kind: account.FactorNumber, Destination: number,
		Allowed: func(account.Route, []string) error { return nil },
	}
}

// phones is a directory with bert, whose codes go to a phone.
func phones(t *testing.T) keeping {
	t.Helper()
	k := keep(t)
	_, err := k.directory.PutLogin(t.Context(), factorBy(), account.Login{
		Workspace: "w", ID: "bert", Role: account.Member, Email: "bert@example.com", Phone: "+12025550148", Channel: account.SMS,
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// refOf names a change.
func refOf(f postgres.FactorChange) postgres.FactorRef {
	return postgres.FactorRef{Workspace: f.Workspace, Login: f.Login, ID: f.ID}
}

// proved takes a change of bert's number to the code of its proof.
func (k keeping) proved(t *testing.T, number string) postgres.FactorChange {
	t.Helper()
	f, err := k.directory.StartFactor(t.Context(), factorBy(), starting(number))
	if err == nil {
		f, err = k.directory.AskedFactor(t.Context(), factorBy(), refOf(f), postgres.FactorApproval, 0, "first")
	}
	if err == nil {
		f, err = k.directory.ApproveFactor(t.Context(), factorBy(), refOf(f), time.Now())
	}
	if err == nil {
		f, err = k.directory.AskedFactor(t.Context(), factorBy(), refOf(f), postgres.FactorProof, 0, "second")
	}
	if err != nil || f.State != postgres.FactorProof || f.Handle != "second" || f.Approval != "first" {
		t.Fatalf("on its way: %+v, %v", f, err)
	}
	return f
}

// applied is proved, and lets it take effect.
func (k keeping) applied(t *testing.T, number string) postgres.FactorChange {
	t.Helper()
	f, err := k.directory.ApplyFactor(t.Context(), factorBy(), refOf(k.proved(t, number)), "second")
	if err != nil || f.State != postgres.FactorApplied || k.phone(t) != number {
		t.Fatalf("applied: %+v, %v", f, err)
	}
	return f
}

// phone is bert's number.
func (k keeping) phone(t *testing.T) string {
	t.Helper()
	l, _, err := k.directory.Login(t.Context(), "w", "bert")
	if err != nil {
		t.Fatal(err)
	}
	return l.Phone
}

func TestFactor_ItsTimePassesOnTheWay(t *testing.T) {
	t.Parallel()
	k := phones(t)
	f := k.proved(t, "+12025550149")
	err := k.directory.AgeFactor(t.Context(), refOf(f), postgres.FactorLife-time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.directory.StartFactor(t.Context(), factorBy(), starting("+12025550150"))
	if !errors.Is(err, postgres.ErrFactorPending) {
		t.Errorf("beside one on its way: %v", err)
	}
	err = k.directory.AgeFactor(t.Context(), refOf(f), 2*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	all, err := k.directory.Factors(t.Context(), "w", "bert")
	if err != nil || len(all) != 1 || all[0].State != postgres.FactorExpired {
		t.Errorf("it is shown as %+v, %v", all, err)
	}
	f, err = k.directory.ApplyFactor(t.Context(), factorBy(), refOf(f), "second")
	if err != nil || f.State != postgres.FactorExpired || k.phone(t) != "+12025550148" {
		t.Errorf("it is applied: %+v, %v", f, err)
	}
	k.applied(t, "+12025550150") // It is in no other's way.
}

// Only the challenge that a change waits for lets it take effect, and once.
func TestApplyFactor_WantsItsProofAndAppliesOnce(t *testing.T) {
	t.Parallel()
	k := phones(t)
	f := k.proved(t, "+12025550149")
	for _, handle := range []string{"first", "", "another"} {
		got, err := k.directory.ApplyFactor(t.Context(), factorBy(), refOf(f), handle)
		if err != nil || got.State != postgres.FactorProof || k.phone(t) != "+12025550148" {
			t.Errorf("by the challenge %q: %+v, %v", handle, got, err)
		}
	}
	var before, after int64
	const version = `SELECT version FROM login_budgets WHERE login = 'bert'`
	k.db.Scan(t, version, nil, &before)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			got, err := k.directory.ApplyFactor(t.Context(), factorBy(), refOf(f), "second")
			if err != nil || got.State != postgres.FactorApplied {
				t.Errorf("applied: %+v, %v", got, err)
			}
		})
	}
	all.Wait()
	var told int
	k.db.Scan(t, version, nil, &after)
	k.db.Scan(t, `SELECT count(*) FROM outbox WHERE type = 'directory.v1.factor_changed'`, nil, &told)
	if after != before+1 || told != 1 || k.phone(t) != "+12025550149" {
		t.Errorf("the version went from %d to %d, and it was told %d times", before, after, told)
	}
}

// product.md R7.5: for 72 hours, and once.
func TestRevertFactor_UndoesOnceAndInTime(t *testing.T) {
	t.Parallel()
	k := phones(t)
	undo := func(f postgres.FactorChange) error {
		_, err := k.directory.RevertFactor(t.Context(), postgres.Change{By: postgres.Auth}, "w", f.ID)
		return err
	}
	f := k.proved(t, "+12025550149")
	err := undo(f)
	if !errors.Is(err, postgres.ErrFactorOver) {
		t.Errorf("before it took effect: %v", err)
	}
	f, err = k.directory.ApplyFactor(t.Context(), factorBy(), refOf(f), "second")
	if err != nil {
		t.Fatal(err)
	}
	err = k.directory.AgeFactor(t.Context(), refOf(f), postgres.FactorUndo-time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, followed, err := k.directory.UndoableFactor(t.Context(), "w", f.ID)
	if err != nil || followed || k.phone(t) != "+12025550149" { // Looking changes nothing.
		t.Errorf("it can be undone: %v", err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range 8 {
		all.Go(func() {
			err := undo(f)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done++
			case !errors.Is(err, postgres.ErrFactorOver):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if done != 1 || k.phone(t) != "+12025550148" {
		t.Errorf("it was undone %d times, the number is %s", done, k.phone(t))
	}
	late := k.applied(t, "+12025550151")
	err = k.directory.AgeFactor(t.Context(), refOf(late), postgres.FactorUndo+time.Second)
	if err != nil {
		t.Fatal(err)
	}
	err = undo(late)
	if !errors.Is(err, postgres.ErrFactorOver) || k.phone(t) != "+12025550151" {
		t.Errorf("after 72 hours: %v", err)
	}
	err = undo(postgres.FactorChange{ID: "AAECAwQFBgcICQoLDA0ODw"})
	if !errors.Is(err, postgres.ErrNoFactorChange) {
		t.Errorf("of no change: %v", err)
	}
}

// An undo believes no row that auth did not write: otherwise it would bring back what somebody else put there.
func TestSEC09_AnEditedChangeIsNotUndone(t *testing.T) {
	t.Parallel()
	k := phones(t)
	f := k.applied(t, "+12025550149")
	for _, edit := range []string{
		`former = '{"phone":"+12025550100","channel":"sms"}'`, `applied_at = applied_at + interval '1 day'`, `state = 'approval'`, `approval = 'x'`,
		`follows = 'x'`,
	} {
		k.db.Exec(t, `CREATE TABLE kept AS SELECT * FROM factor_changes`)
		k.db.Exec(t, `UPDATE factor_changes SET `+edit)
		_, err := k.directory.RevertFactor(t.Context(), factorBy(), "w", f.ID)
		var broken *postgres.IntegrityError
		if !errors.As(err, &broken) || broken.Table != postgres.TableFactors || k.phone(t) != "+12025550149" {
			t.Errorf("%s: %v", edit, err)
		}
		k.db.Exec(t, `DELETE FROM factor_changes`)
		k.db.Exec(t, `INSERT INTO factor_changes SELECT * FROM kept`)
		k.db.Exec(t, `DROP TABLE kept`)
	}
	_, err := k.directory.RevertFactor(t.Context(), factorBy(), "w", f.ID)
	if err != nil { // for control
		t.Error(err)
	}
}

// Nobody has doorcode write to one number or address after another: begun and canceled, a change counts as well (SEC-43).
func TestSEC43_StartFactor_IsBoundedADay(t *testing.T) {
	t.Parallel()
	k := phones(t)
	var err error
	begun := 0
	for begun < 60 {
		var f postgres.FactorChange
		f, err = k.directory.StartFactor(t.Context(), factorBy(), starting(fmt.Sprintf("+120255502%02d", begun)))
		if err != nil {
			break
		}
		begun++
		_, err = k.directory.CancelFactor(t.Context(), factorBy(), refOf(f))
		if err != nil {
			t.Fatal(err)
		}
	}
	var wait *postgres.WaitError
	if begun != postgres.MaxFactorsPerDay || !errors.As(err, &wait) || wait.After <= 23*time.Hour || wait.After > 24*time.Hour {
		t.Fatalf("%d were begun, then: %v", begun, err)
	}
	k.db.Exec(t, `DELETE FROM factor_changes WHERE id = (SELECT id FROM factor_changes ORDER BY created_at LIMIT 1)`)
	_, err = k.directory.StartFactor(t.Context(), factorBy(), starting("+12025550149"))
	if err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// Whoever takes a main address over makes it a group address, too: the owner of the old one can object nevertheless.
func TestSEC38_AGroupAddressIsNoWayAroundTheUndo(t *testing.T) {
	t.Parallel()
	k := keep(t)
	f, err := k.directory.StartFactor(t.Context(), factorBy(), postgres.FactorStart{
		Workspace: "w", Login: "anna", Kind: account.FactorMainEmail, Destination: "new@example.org",
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
	if err != nil || f.State != postgres.FactorApplied {
		t.Fatalf("applied: %+v, %v", f, err)
	}
	g, err := k.directory.StartGroupTest(t.Context(), factorBy(), "w", "anna")
	if err == nil {
		g, err = k.directory.ConfirmGroupTest(t.Context(), factorBy(), "w", g.ID, [2]bool{true, true})
	}
	if err != nil || g.PassedAt.IsZero() {
		t.Fatalf("the group: %+v, %v", g, err)
	}
	// What the host application knows of is neither put back, nor is the mark taken away.
	for _, stale := range []account.Workspace{
		{ID: "w", Name: "W", MainEmail: "office@example.com", Owner: "anna"}, {ID: "w", Name: "W", MainEmail: "new@example.org", Owner: "anna"},
	} {
		_, err = k.directory.PutWorkspace(t.Context(), factorBy(), stale)
		if !errors.Is(err, postgres.ErrMainEmailKept) {
			t.Errorf("a put of what was before: %v", err)
		}
	}
	_, err = k.directory.PutWorkspace(t.Context(), postgres.Change{By: "front", KeepGroup: true}, account.Workspace{ID: "w", Name: "W", MainEmail: "new@example.org"})
	if err != nil {
		t.Errorf("a put of what is there: %v", err)
	}
	_, err = k.directory.RevertFactor(t.Context(), postgres.Change{By: postgres.Auth}, "w", f.ID)
	if err != nil {
		t.Errorf("undone: %v", err)
	}
	w, _, err := k.directory.Workspace(t.Context(), "w")
	if err != nil || w.MainEmail != "office@example.com" || w.GroupAddress {
		t.Errorf("the main address is %s, a group's: %t, %v", w.MainEmail, w.GroupAddress, err)
	}
}

// A session that was read before its login changed begins nothing after (SEC-39).
func TestSEC39_StartFactor_OfAnEndedSessionIsRefused(t *testing.T) {
	t.Parallel()
	k := phones(t)
	start := starting("+12025550149")
	start.Version = 1
	k.db.Scan(t, `SELECT version FROM login_budgets WHERE login = 'bert'`, nil, &start.Version)
	k.db.Exec(t, `UPDATE login_budgets SET version = version + 1 WHERE login = 'bert'`)
	_, err := k.directory.StartFactor(t.Context(), factorBy(), start)
	if !errors.Is(err, postgres.ErrNoSession) {
		t.Errorf("after another change: %v", err)
	}
	start.Version++
	_, err = k.directory.StartFactor(t.Context(), factorBy(), start)
	if err != nil {
		t.Errorf("of a session that lasts: %v", err)
	}
}
