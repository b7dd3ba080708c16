package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
)

// spread is a directory with a login in each of that many workspaces, whose changes wait for no other, and their names.
func spread(t *testing.T, n int) (keeping, [][2]string) {
	t.Helper()
	k := keep(t)
	var names [][2]string
	for i := range n {
		name := [2]string{fmt.Sprint("w", i), fmt.Sprint("l", i)}
		_, err := k.directory.PutWorkspace(t.Context(), factorBy(), account.Workspace{ID: name[0], Name: "W", MainEmail: "w@example.com"})
		if err == nil {
			_, err = k.directory.PutLogin(t.Context(), factorBy(), account.Login{
				Workspace: name[0], ID: name[1], Role: account.Member, Email: name[1] + "@example.com",
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return k, names
}

// crowded is how many logins want one number at once.
const crowded = 12

// to is the change of a login to text messages to a number.
func to(name [2]string, number string) postgres.FactorStart {
	return postgres.FactorStart{
		Workspace: name[0], Login: name[1], Kind: account.FactorSMS, Destination: number,
		Allowed: func(account.Route, []string) error { return nil },
	}
}

// waiting takes a change of a login to a number as far as the code of its proof.
func (k keeping) waiting(t *testing.T, name [2]string, number string) postgres.FactorChange {
	t.Helper()
	f, err := k.directory.StartFactor(t.Context(), factorBy(), to(name, number))
	if err == nil {
		_, err = k.directory.ApproveFactor(t.Context(), factorBy(), refOf(f), time.Now())
	}
	if err == nil {
		f, err = k.directory.AskedFactor(t.Context(), factorBy(), refOf(f), postgres.FactorProof, 0, "proof")
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// atOnce returns how many of n calls at once returned no error; all others must be refused for the number. Whoever waited
// too long for a lock asks again, as a client would.
func atOnce(t *testing.T, n int, fn func(i int) error) (good int) {
	t.Helper()
	var all sync.WaitGroup
	failed := make([]error, n)
	for i := range n {
		all.Go(func() {
			failed[i] = fn(i)
			for postgres.IsContended(failed[i]) && t.Context().Err() == nil {
				failed[i] = fn(i)
			}
		})
	}
	all.Wait()
	for _, err := range failed {
		switch {
		case err == nil:
			good++
		case !errors.Is(err, postgres.ErrNumberInUse):
			t.Errorf("refused: %v", err)
		}
	}
	return good
}

// product.md R7.3: a number serves three logins, whoever of many that prove it at once is first.
func TestApplyFactor_ANumberServesThreeLogins(t *testing.T) {
	t.Parallel()
	const number = "+12025550170"
	k, names := spread(t, crowded)
	var waiting []postgres.FactorChange
	for _, name := range names {
		waiting = append(waiting, k.waiting(t, name, number))
	}
	good := atOnce(t, len(waiting), func(i int) error {
		_, err := k.directory.ApplyFactor(t.Context(), factorBy(), refOf(waiting[i]), "proof")
		return err
	})
	if n := k.count(t, `SELECT count(*) FROM logins WHERE phone = $1`, number); good != 3 || n != 3 {
		t.Errorf("%d were told so, %d got it", good, n)
	}
	if n := k.count(t, `SELECT count(*) FROM factor_changes WHERE state = 'canceled'`); n != crowded-3 || k.events(t, "factor_canceled") != crowded-3 {
		t.Errorf("%d are canceled, and told %d times", n, k.events(t, "factor_canceled"))
	}
	var first, last *postgres.FactorChange
	for i := range waiting {
		f, err := k.directory.Factor(t.Context(), waiting[i].Workspace, waiting[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		if f.State == postgres.FactorApplied {
			first = &f
		} else {
			last = &f
		}
	}
	if first == nil || last == nil {
		t.Fatal("all of them have it, or none")
	}
	again := [2]string{last.Workspace, last.Login}
	_, err := k.directory.StartFactor(t.Context(), factorBy(), to(again, number)) // before a code goes out
	if !errors.Is(err, postgres.ErrNumberInUse) {
		t.Errorf("another start: %v", err)
	}
	_, err = k.directory.RevertFactor(t.Context(), factorBy(), first.Workspace, first.ID)
	if err != nil {
		t.Fatal(err)
	}
	f := k.waiting(t, again, number)
	_, err = k.directory.ApplyFactor(t.Context(), factorBy(), refOf(f), "proof")
	if err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// A put that makes a login counts like a change; one of a login that is there gives it nothing.
func TestPutLogin_ANumberServesThreeLogins(t *testing.T) {
	t.Parallel()
	const number = "+12025550171"
	k, names := spread(t, crowded)
	login := func(i int) account.Login {
		return account.Login{Workspace: names[i][0], ID: "p", Role: account.Member, Email: "p@example.com", Phone: number, Channel: account.SMS}
	}
	put := func(i int) error {
		_, err := k.directory.PutLogin(t.Context(), factorBy(), login(i))
		return err
	}
	good := atOnce(t, crowded, put)
	if n := k.count(t, `SELECT count(*) FROM logins WHERE phone = $1`, number); good != 3 || n != 3 {
		t.Errorf("%d were told so, %d got it", good, n)
	}
	if good := atOnce(t, crowded, put); good != 3 {
		t.Errorf("%d of those that are there may be put again", good)
	}
	for i := range crowded {
		l := login(i)
		l.Phone, l.Channel = "", ""
		_, err := k.directory.PutLogin(t.Context(), factorBy(), l)
		if err != nil {
			t.Errorf("without a number: %v", err)
		}
	}
}

// While somebody else gives the number away, nobody counts who has it.
func TestFactor_ANumberIsGivenByOneAtATime(t *testing.T) {
	t.Parallel()
	const number = "+12025550173"
	k, names := spread(t, 2)
	f := k.waiting(t, names[0], number)
	err := k.auth.InTx(t.Context(), func(tx pgx.Tx) error {
		err := postgres.LockNumber(t.Context(), tx, number)
		if err != nil {
			return err
		}
		_, err = k.directory.ApplyFactor(t.Context(), factorBy(), refOf(f), "proof")
		if !postgres.IsContended(err) {
			t.Errorf("a change does not wait: %v", err)
		}
		_, err = k.directory.PutLogin(t.Context(), factorBy(), account.Login{Workspace: names[1][0], ID: "p", Role: account.Member, Phone: number})
		if !postgres.IsContended(err) {
			t.Errorf("a put does not wait: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The owner of a login gets the number back that somebody took from it, whoever got it meanwhile.
func TestRevertFactor_IsNotRefusedForItsNumber(t *testing.T) {
	t.Parallel()
	k := phones(t)
	f := k.applied(t, "+12025550172")
	for i := range account.MaxLoginsPerNumber {
		_, err := k.directory.PutLogin(t.Context(), factorBy(), account.Login{
			Workspace: "w", ID: fmt.Sprint("p", i), Role: account.Member, Phone: "+12025550148", Channel: account.SMS,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := k.undo(t, f)
	if err != nil || k.phone(t) != "+12025550148" {
		t.Errorf("undone: %v, the number is %s", err, k.phone(t))
	}
}
