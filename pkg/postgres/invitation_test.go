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

// Nobody is written to by one workspace after another, also when they do it at once (SEC-43).
func TestSEC43_Invite_BoundsWhatAnAddressGetsOfAll(t *testing.T) {
	t.Parallel()
	k := keep(t)
	const all = account.MaxInvitationsEverywhere + 4
	for n := range all {
		id := fmt.Sprint("v", n)
		_, err := k.directory.PutWorkspace(t.Context(), by(), account.Workspace{ID: id, Name: "V", MainEmail: "office@example.com", Owner: "otto"})
		if err == nil {
			_, err = k.directory.PutLogin(t.Context(), by(), account.Login{Workspace: id, ID: "otto", Role: account.Owner})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	waits := make([]*postgres.WaitError, all)
	var together sync.WaitGroup
	for n := range all {
		together.Go(func() {
			i := kim()
			i.Workspace, i.By = fmt.Sprint("v", n), "otto"
			i.Email = []string{"kim@example.com", "KIM@Example.com"}[n%2]
			_, err := k.directory.Invite(t.Context(), by(), i)
			for postgres.IsContended(err) && t.Context().Err() == nil {
				_, err = k.directory.Invite(t.Context(), by(), i)
			}
			if err != nil && !errors.As(err, &waits[n]) {
				t.Error(err)
			}
		})
	}
	together.Wait()
	refused := 0
	for _, wait := range waits {
		if wait != nil {
			refused++
			if wait.After <= 23*time.Hour || wait.After > 24*time.Hour {
				t.Errorf("it is to wait %s", wait.After)
			}
		}
	}
	if n := k.count(t, `SELECT count(*) FROM invitations`); n != account.MaxInvitationsEverywhere || refused != all-n {
		t.Errorf("%d are invited, %d refused", n, refused)
	}
	k.db.Exec(t, `UPDATE invitations SET created_at = created_at - interval '25 hours'`)
	k.invite(t, kim()) // of w, the next day
}
