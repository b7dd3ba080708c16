package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
)

// product.md R8.2: three requests a day, exactly.
func TestAskOwner_TakesThreeADayHoweverManyAsk(t *testing.T) {
	t.Parallel()
	k := keep(t)
	ask := func(email string) error {
		return k.directory.AskOwner(t.Context(), by(), account.JoinRequest{Workspace: "w", Login: "anna", Name: "Kim", Email: email})
	}
	failed := make([]error, 16)
	var calls sync.WaitGroup
	for i := range failed {
		calls.Go(func() { failed[i] = ask(fmt.Sprintf("kim%d@example.com", i)) })
	}
	calls.Wait()
	good := 0
	for _, err := range failed {
		var wait *postgres.WaitError
		switch {
		case err == nil:
			good++
		case !errors.As(err, &wait) || wait.After < 23*time.Hour || wait.After > 24*time.Hour:
			t.Errorf("refused with %v", err)
		}
	}
	if good != 3 || k.events(t, "join_requested") != 3 || k.count(t, `SELECT count(*) FROM join_requests`) != 3 {
		t.Fatalf("%d were taken, %d events", good, k.events(t, "join_requested"))
	}
	all, err := k.directory.JoinRequests(t.Context(), "w")
	if err != nil {
		t.Fatal(err)
	}
	err = ask("KIM" + all[0].Email[3:]) // The same address asks again, in other letters.
	if err != nil || k.count(t, `SELECT count(*) FROM join_requests`) != 3 {
		t.Errorf("the same request once more: %v", err)
	}
	// Neither an answer nor a login that is made again gives a further one.
	err = k.directory.DeclineJoin(t.Context(), by(), "w", all[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	err = k.directory.RemoveLogin(t.Context(), by(), "w", "anna")
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.directory.PutLogin(t.Context(), by(), account.Login{Workspace: "w", ID: "anna", Role: account.Owner})
	if err != nil {
		t.Fatal(err)
	}
	var wait *postgres.WaitError
	if err := ask("late@example.com"); !errors.As(err, &wait) {
		t.Errorf("a fourth: %v", err)
	}
	err = k.directory.Age(t.Context(), "w", all[2].ID, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := ask("late@example.com"); err != nil {
		t.Errorf("a day later: %v", err)
	}
}

func TestAskOwner_IsForSharedLoginsAlone(t *testing.T) {
	t.Parallel()
	k := keep(t)
	for id, l := range map[string]account.Login{
		"bert": {Workspace: "w", ID: "bert", Email: "bert@example.com", Role: account.Member},
		"carl": {Workspace: "w", ID: "carl", Role: account.Administrator},
	} {
		_, err := k.directory.PutLogin(t.Context(), by(), l)
		if err != nil {
			t.Fatal(err)
		}
		err = k.directory.AskOwner(t.Context(), by(), account.JoinRequest{Workspace: "w", Login: id, Name: "Kim", Email: "kim@example.com"})
		if !errors.Is(err, postgres.ErrNotShared) {
			t.Errorf("%s: %v", id, err)
		}
	}
	err := k.directory.AskOwner(t.Context(), by(), account.JoinRequest{Workspace: "w", Login: "anna", Name: "Kim", Email: "Office@example.com"})
	if !errors.Is(err, postgres.ErrMainAddress) {
		t.Errorf("for the shared mailbox itself: %v", err)
	}
	if n := k.events(t, "join_requested"); n != 0 {
		t.Errorf("%d events", n)
	}
}

func TestInvite_AnswersTheRequestsOfThatAddress(t *testing.T) {
	t.Parallel()
	k := keep(t)
	for _, email := range []string{"KIM@example.com", "sam@example.com"} {
		err := k.directory.AskOwner(t.Context(), by(), account.JoinRequest{Workspace: "w", Login: "anna", Name: "Kim", Email: email})
		if err != nil {
			t.Fatal(err)
		}
	}
	k.invite(t, kim())
	all, err := k.directory.JoinRequests(t.Context(), "w")
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]account.JoinState{}
	for _, r := range all {
		states[r.Email] = r.State
	}
	if diff := cmp.Diff(map[string]account.JoinState{"KIM@example.com": account.JoinInvited, "sam@example.com": account.JoinOpen}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestGroupTest_NeedsBothCodesAndTheSameAddress(t *testing.T) {
	t.Parallel()
	k := keep(t)
	start := func() account.GroupTest {
		t.Helper()
		g, err := k.directory.StartGroupTest(t.Context(), by(), "w", "anna")
		if err != nil {
			t.Fatal(err)
		}
		g.Handles = [2]string{"one", "two"}
		err = k.directory.SentGroupTest(t.Context(), by(), g)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	grouped := func() int { return k.count(t, `SELECT count(*) FROM workspaces WHERE group_address`) }
	first := start()
	for _, half := range [][2]bool{{true, false}, {true, false}} {
		got, err := k.directory.ConfirmGroupTest(t.Context(), by(), "w", first.ID, half)
		if err != nil || !got.PassedAt.IsZero() || grouped() != 0 {
			t.Fatalf("one code is enough: %+v, %v", got, err)
		}
	}
	second := start() // A new test ends the one before, with what came back of it.
	_, err := k.directory.ConfirmGroupTest(t.Context(), by(), "w", first.ID, [2]bool{false, true})
	if !errors.Is(err, postgres.ErrNoTest) || grouped() != 0 {
		t.Errorf("the former test goes on: %v", err)
	}
	if n := k.count(t, `SELECT count(*) FROM login_budgets WHERE login = $1 AND removed_at IS NOT NULL`, first.Login); n != 1 {
		t.Error("the codes of the former test still live")
	}
	err = k.moveMain(t, "other@example.com")
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.directory.ConfirmGroupTest(t.Context(), by(), "w", second.ID, [2]bool{true, true})
	if !errors.Is(err, postgres.ErrTestClosed) || grouped() != 0 {
		t.Errorf("another address than the tested one: %v", err)
	}
	third := start()
	err = k.directory.Age(t.Context(), "w", third.ID, account.GroupTestLife)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.directory.ConfirmGroupTest(t.Context(), by(), "w", third.ID, [2]bool{true, true})
	if !errors.Is(err, postgres.ErrTestClosed) || grouped() != 0 {
		t.Errorf("after its time: %v", err)
	}
	fourth := start()
	for range 2 {
		got, err := k.directory.ConfirmGroupTest(t.Context(), by(), "w", fourth.ID, [2]bool{true, true})
		if err != nil || got.PassedAt.IsZero() || grouped() != 1 {
			t.Fatalf("both codes: %+v, %v", got, err)
		}
	}
	if n := k.events(t, "group_address_proven"); n != 1 {
		t.Errorf("%d events", n)
	}
	w, _, err := k.directory.Workspace(t.Context(), "w")
	if err != nil || !w.GroupAddress || w.MainEmail != "other@example.com" {
		t.Errorf("workspace %+v, %v", w, err)
	}
}
