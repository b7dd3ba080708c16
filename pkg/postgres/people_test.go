package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
)

// by is the front-end of these tests.
func by() postgres.Change { return postgres.Change{By: "front"} }

// kim is an invitation of anna's.
func kim() account.Invitation {
	return account.Invitation{Workspace: "w", Email: "kim@example.com", Name: "Kim", Locale: "nl", By: "anna"}
}

// invite makes an invitation.
func (k keeping) invite(t *testing.T, i account.Invitation) postgres.Invited {
	t.Helper()
	made, err := k.directory.Invite(t.Context(), by(), i)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// count reads one number.
func (k keeping) count(t *testing.T, sql string, args ...any) (n int) {
	t.Helper()
	k.db.Scan(t, sql, args, &n)
	return n
}

// events counts the outbox rows of a type.
func (k keeping) events(t *testing.T, kind string) int {
	t.Helper()
	return k.count(t, `SELECT count(*) FROM outbox WHERE type = $1`, "directory.v1."+kind)
}

// together calls fn at once that often and returns how many returned no error; all others must be want.
func together(t *testing.T, n int, want error, fn func(i int) error) (good int) {
	t.Helper()
	failed := make([]error, n)
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() {
			failed[i] = fn(i)
			for postgres.IsContended(failed[i]) { // On a slow machine a wait for a lock is over too soon; nothing was done.
				failed[i] = fn(i)
			}
		})
	}
	calls.Wait()
	for _, err := range failed {
		switch {
		case err == nil:
			good++
		case !errors.Is(err, want):
			t.Errorf("got %v, want %v", err, want)
		}
	}
	return good
}

func TestInvite_TwiceMakesNoSecondInvitation(t *testing.T) {
	t.Parallel()
	k := keep(t)
	var mu sync.Mutex
	ids := map[string]int{}
	good := together(t, 8, nil, func(i int) error {
		in := kim()
		if i%2 == 1 {
			in.Email, in.Name = "KIM@Example.com", "Other"
		}
		made, err := k.directory.Invite(t.Context(), by(), in)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if made.Created {
			ids["created"]++
		}
		ids[made.ID]++
		return nil
	})
	if good != 8 || len(ids) != 2 || ids["created"] != 1 || k.events(t, "invitation_made") != 1 || k.count(t, `SELECT count(*) FROM invitations`) != 1 {
		t.Errorf("%d invited, %v, %d events", good, ids, k.events(t, "invitation_made"))
	}
	got, err := k.directory.Invitation(t.Context(), "w", k.invite(t, kim()).ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.StateNow() != account.InvitationOpen || !account.IsPseudo(got.Login) || !got.ExpiresAt.Equal(got.CreatedAt.Add(7*24*time.Hour)) ||
		k.count(t, `SELECT count(*) FROM login_budgets WHERE workspace = 'w' AND login = $1 AND removed_at IS NULL`, got.Login) != 1 {
		t.Errorf("invitation %+v", got)
	}
	all, err := k.directory.Invitations(t.Context(), "w")
	if err != nil || len(all) != 1 || all[0].ID != got.ID {
		t.Errorf("list %+v, %v", all, err)
	}
}

func TestInvite_RefusesWhoeverIsThereAlready(t *testing.T) {
	t.Parallel()
	k := keep(t)
	_, err := k.directory.PutLogin(t.Context(), by(), account.Login{Workspace: "w", ID: "bert", Email: "Bert@example.com", Role: account.Member})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*account.Invitation)
		want   error
	}{
		"the main address":    {func(i *account.Invitation) { i.Email = "OFFICE@example.com" }, postgres.ErrMainAddress},
		"a login's address":   {func(i *account.Invitation) { i.Email = "bert@EXAMPLE.com" }, postgres.ErrAddressInUse},
		"not the owner":       {func(i *account.Invitation) { i.By = "bert" }, postgres.ErrNotOwner},
		"nobody":              {func(i *account.Invitation) { i.By = "" }, postgres.ErrNotOwner},
		"an unknown place":    {func(i *account.Invitation) { i.Workspace = "v" }, postgres.ErrNoWorkspace},
		"an unknown way back": {func(*account.Invitation) {}, nil},
	} {
		i := kim()
		c.change(&i)
		_, err := k.directory.Invite(t.Context(), by(), i)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := k.events(t, "invitation_made"); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestInvite_BoundsWhatAWorkspaceSends(t *testing.T) {
	t.Parallel()
	k := keep(t)
	for n := range account.MaxOpenInvitations {
		i := kim()
		i.Email = fmt.Sprintf("kim%d@example.com", n)
		k.invite(t, i)
	}
	var wait *postgres.WaitError
	_, err := k.directory.Invite(t.Context(), by(), kim())
	if !errors.As(err, &wait) || wait.After != 0 {
		t.Errorf("one more that is open: %v", err)
	}
	k.db.Exec(t, `DELETE FROM invitations`)
	k.db.Exec(t, `INSERT INTO invitations (workspace, id, email, login, invited_by, state, created_at, sent_at, expires_at, ended_at, mac_key, mac)
		SELECT 'w', 'old' || n, 'x' || n, '~', 'anna', 'withdrawn', now() - interval '1 hour', now(), now(), now(), 1, '' FROM generate_series(1, $1) n`,
		account.MaxInvitationsPerDay)
	_, err = k.directory.Invite(t.Context(), by(), kim())
	if !errors.As(err, &wait) || wait.After < 22*time.Hour || wait.After > 23*time.Hour+time.Minute {
		t.Errorf("one more within a day: %v", err)
	}
}

func TestRepeatInvitation_KeepsItsLifeAndWaits(t *testing.T) {
	t.Parallel()
	k := keep(t)
	made := k.invite(t, kim())
	var wait *postgres.WaitError
	_, err := k.directory.RepeatInvitation(t.Context(), by(), "w", made.ID)
	if !errors.As(err, &wait) || wait.After <= 0 || wait.After > time.Minute {
		t.Errorf("at once: %v", err)
	}
	for range account.MaxInvitationSends - 1 {
		k.db.Exec(t, `UPDATE invitations SET sent_at = sent_at - interval '61 s'`)
		again, err := k.directory.RepeatInvitation(t.Context(), by(), "w", made.ID)
		if err != nil || !again.ExpiresAt.Equal(made.ExpiresAt) {
			t.Fatalf("until %s, %v", again.ExpiresAt, err)
		}
	}
	k.db.Exec(t, `UPDATE invitations SET sent_at = sent_at - interval '61 s'`)
	_, err = k.directory.RepeatInvitation(t.Context(), by(), "w", made.ID)
	if !errors.As(err, &wait) || wait.After != 0 || k.events(t, "invitation_repeated") != account.MaxInvitationSends-1 {
		t.Errorf("once more: %v, %d events", err, k.events(t, "invitation_repeated"))
	}
}

// product.md R9.2: single use, under concurrent accepts too.
func TestAcceptInvitation_IsExactlyOnce(t *testing.T) {
	t.Parallel()
	k := keep(t)
	made := k.invite(t, kim())
	var winner string
	var mu sync.Mutex
	good := together(t, 16, postgres.ErrInvitationClosed, func(i int) error {
		challenge := fmt.Sprint("challenge", i)
		_, err := k.directory.AcceptInvitation(t.Context(), "w", made.ID, challenge)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			winner = challenge
		}
		return err
	})
	if good != 1 || k.events(t, "invitation_accepted") != 1 {
		t.Fatalf("%d accepted it, %d events", good, k.events(t, "invitation_accepted"))
	}
	again, err := k.directory.AcceptInvitation(t.Context(), "w", made.ID, winner)
	if err != nil || again.Challenge != winner || k.events(t, "invitation_accepted") != 1 {
		t.Errorf("the same once more: %+v, %v", again, err)
	}
	// The codes of the invitee are dead.
	if n := k.count(t, `SELECT count(*) FROM login_budgets WHERE login = $1 AND removed_at IS NOT NULL AND unswept`, made.Login); n != 1 {
		t.Error("the invitee still has a budget")
	}
	if waiting := k.invite(t, kim()); waiting.Created || waiting.ID != made.ID {
		t.Error("an invitation that waits for the application was made again")
	}
}

func TestAcceptInvitation_RefusesWhatIsOver(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, k keeping, id string) error{
		"withdrawn": func(t *testing.T, k keeping, id string) error {
			t.Helper()
			_, err := k.directory.WithdrawInvitation(t.Context(), by(), "w", id)
			return err
		},
		"expired": func(t *testing.T, k keeping, id string) error {
			t.Helper()
			return k.directory.Age(t.Context(), "w", id, account.InvitationLife)
		},
		"after the inviter lost ownership": func(t *testing.T, k keeping, _ string) error {
			t.Helper()
			_, err := k.directory.PutLogin(t.Context(), by(), account.Login{Workspace: "w", ID: "bert", Email: "bert@example.com", Role: account.Owner})
			return err
		},
		"after the inviter was removed": func(t *testing.T, k keeping, _ string) error {
			t.Helper()
			return k.directory.RemoveLogin(t.Context(), by(), "w", "anna")
		},
		"the address became the main one": func(t *testing.T, k keeping, _ string) error {
			t.Helper()
			return k.moveMain(t, "KIM@example.com")
		},
		"the address became a login's": func(t *testing.T, k keeping, _ string) error {
			t.Helper()
			_, err := k.directory.PutLogin(t.Context(), by(), account.Login{Workspace: "w", ID: "kim", Email: "kim@example.com", Role: account.Member})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := keep(t)
			made := k.invite(t, kim())
			err := end(t, k, made.ID)
			if err != nil {
				t.Fatal(err)
			}
			_, err = k.directory.AcceptInvitation(t.Context(), "w", made.ID, "challenge")
			if !errors.Is(err, postgres.ErrInvitationClosed) || k.events(t, "invitation_accepted") != 0 {
				t.Errorf("it is accepted: %v", err)
			}
		})
	}
}

// It is good until the last moment, and an expired one makes room.
func TestInvite_AnExpiredOneIsMadeAnew(t *testing.T) {
	t.Parallel()
	k := keep(t)
	made := k.invite(t, kim())
	err := k.directory.Age(t.Context(), "w", made.ID, account.InvitationLife-time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if again := k.invite(t, kim()); again.ID != made.ID {
		t.Error("an open one was made again")
	}
	err = k.directory.Age(t.Context(), "w", made.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	old, err := k.directory.Invitation(t.Context(), "w", made.ID)
	if err != nil || old.StateNow() != account.InvitationExpired {
		t.Errorf("it is %s, %v", old.StateNow(), err)
	}
	again := k.invite(t, kim())
	if again.ID == made.ID || !again.Created {
		t.Error("an expired one is in the way")
	}
	if n := k.count(t, `SELECT count(*) FROM login_budgets WHERE login = $1 AND removed_at IS NULL`, made.Login); n != 0 {
		t.Error("the old invitee still has a budget")
	}
}

func TestWithdrawInvitation_TakesBackWhatNoLoginWasMadeOf(t *testing.T) {
	t.Parallel()
	k := keep(t)
	made := k.invite(t, kim())
	for range 2 {
		got, err := k.directory.WithdrawInvitation(t.Context(), by(), "w", made.ID)
		if err != nil || got.State != account.InvitationWithdrawn {
			t.Fatalf("it is %s, %v", got.State, err)
		}
	}
	if n := k.events(t, "invitation_withdrawn"); n != 1 {
		t.Errorf("%d events", n)
	}
	second := k.invite(t, kim())
	_, err := k.directory.AcceptInvitation(t.Context(), "w", second.ID, "c")
	if err != nil {
		t.Fatal(err)
	}
	put := by()
	put.Invitation = second.ID
	login := account.Login{Workspace: "w", ID: "kim", Email: "Kim@example.com", Role: account.Administrator}
	for name, unfit := range map[string]account.Login{
		"another address": {Workspace: "w", ID: "kim", Email: "other@example.com", Role: account.Administrator},
		"another role":    {Workspace: "w", ID: "kim", Email: "kim@example.com", Role: account.Member},
	} {
		_, err = k.directory.PutLogin(t.Context(), put, unfit)
		if !errors.Is(err, postgres.ErrInvitationUnfit) || k.count(t, `SELECT count(*) FROM logins WHERE id = 'kim'`) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 2 {
		_, err = k.directory.PutLogin(t.Context(), put, login)
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := k.directory.Invitation(t.Context(), "w", second.ID)
	if err != nil || got.Joined != "kim" || k.count(t, `SELECT count(*) FROM outbox WHERE type = 'directory.v1.login_put' AND data ->> 'about' = $1`, second.ID) != 1 {
		t.Errorf("invitation %+v, %v", got, err)
	}
	_, err = k.directory.WithdrawInvitation(t.Context(), by(), "w", second.ID)
	if !errors.Is(err, postgres.ErrInvitationClosed) {
		t.Errorf("an invitation with a login was taken back: %v", err)
	}
	login.ID = "kim2"
	_, err = k.directory.PutLogin(t.Context(), put, login)
	if !errors.Is(err, postgres.ErrInvitationUnfit) {
		t.Errorf("a second login of one invitation: %v", err)
	}
}

// A message goes to an address in these rows, so one that was edited is not believed.
func TestSEC09_RowsOfPeopleAreUnderTheMAC(t *testing.T) {
	t.Parallel()
	k := keep(t)
	made := k.invite(t, kim())
	err := k.directory.AskOwner(t.Context(), by(), account.JoinRequest{Workspace: "w", Login: "anna", Name: "Sam", Email: "sam@example.com", Browser: "Firefox", System: "Windows"})
	if err != nil {
		t.Fatal(err)
	}
	test, err := k.directory.StartGroupTest(t.Context(), by(), "w", "anna")
	if err != nil {
		t.Fatal(err)
	}
	asked, err := k.directory.JoinRequests(t.Context(), "w")
	if err != nil || len(asked) != 1 {
		t.Fatalf("%d requests, %v", len(asked), err)
	}
	read := map[string]func() error{
		"invitations":   func() error { _, err := k.directory.Invitation(t.Context(), "w", made.ID); return err },
		"join_requests": func() error { _, _, err := k.directory.JoinRequest(t.Context(), "w", asked[0].ID); return err },
		"group_tests":   func() error { _, err := k.directory.GroupTest(t.Context(), "w", test.ID); return err },
	}
	edits := map[string][]string{
		"invitations": {
			"email = 'thief@evil.example'", "name = 'X'", "locale = 'en'", "login = '~X'", "invited_by = 'bert'", "state = 'accepted', ended_at = now()",
			"created_at = created_at + interval '1 day'", "expires_at = expires_at + interval '1 day'", "challenge = 'x'", "joined = 'x'",
		},
		"join_requests": {
			"login = 'bert'", "name = 'X'", "email = 'thief@evil.example'", "browser = 'Chrome'", "system = 'Linux'", "state = 'declined', ended_at = now()",
			"created_at = created_at - interval '1 day'",
		},
		"group_tests": {
			"email = 'thief@evil.example'", "login = '~X'", "tested_by = 'bert'", "handles = '{a,b}'", "confirmed = '{t,f}'", "confirmed = '{f,t}'",
			"passed_at = now()", "created_at = created_at + interval '1 day'", "confirmed = '{}'", "handles = '{a,b,c}'",
		},
	}
	for table, sets := range edits {
		k.db.Exec(t, "CREATE TABLE kept_"+table+" AS SELECT * FROM "+table)
		for _, set := range sets {
			k.db.Exec(t, "UPDATE "+table+" SET "+set)
			err := read[table]()
			var broken *postgres.IntegrityError
			if !errors.As(err, &broken) || broken.Table != table {
				t.Errorf("%s with %s: %v", table, set, err)
			}
			k.db.Exec(t, "DELETE FROM "+table)
			k.db.Exec(t, "INSERT INTO "+table+" SELECT * FROM kept_"+table)
			err = read[table]()
			if err != nil {
				t.Errorf("%s as it was: %v", table, err)
			}
		}
	}
}

// product.md edge case 30: a workspace that is removed takes what waits along, and its codes die.
func TestRemoveWorkspace_TakesItsPeopleAlong(t *testing.T) {
	t.Parallel()
	k := keep(t)
	made := k.invite(t, kim())
	test, err := k.directory.StartGroupTest(t.Context(), by(), "w", "anna")
	if err != nil {
		t.Fatal(err)
	}
	err = k.directory.AskOwner(t.Context(), by(), account.JoinRequest{Workspace: "w", Login: "anna", Name: "Kim", Email: "sam@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	err = k.directory.RemoveWorkspace(t.Context(), by(), "w")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"invitations", "join_requests", "group_tests", "logins"} {
		if n := k.count(t, "SELECT count(*) FROM "+table); n != 0 {
			t.Errorf("%d rows of %s", n, table)
		}
	}
	if n := k.count(t, `SELECT count(*) FROM login_budgets WHERE login = ANY($1) AND removed_at IS NOT NULL AND unswept`, []string{made.Login, test.Login}); n != 2 {
		t.Errorf("the codes of %d of two are dead", n)
	}
	_, err = k.directory.AcceptInvitation(t.Context(), "w", made.ID, "challenge")
	if !errors.Is(err, postgres.ErrNoWorkspace) {
		t.Errorf("accepted: %v", err)
	}
}

// Withdrawn and made anew, invitations reach nobody more often (SEC-43).
func TestSEC43_Invite_BoundsWhatOneAddressGets(t *testing.T) {
	t.Parallel()
	k := keep(t)
	made := 0
	var err error
	for made < account.MaxInvitationsPerDay {
		var i postgres.Invited
		who := kim()
		if made%2 == 1 {
			who.Email = strings.ToUpper(who.Email)
		}
		i, err = k.directory.Invite(t.Context(), by(), who)
		if err != nil {
			break
		}
		made++
		_, err = k.directory.WithdrawInvitation(t.Context(), by(), "w", i.ID)
		if err != nil {
			t.Fatal(err)
		}
	}
	var wait *postgres.WaitError
	if made != account.MaxInvitationsPerAddress || !errors.As(err, &wait) || wait.After <= 23*time.Hour || wait.After > 24*time.Hour {
		t.Errorf("%d were made, then: %v", made, err)
	}
	other := kim()
	other.Email = "other@example.org"
	k.invite(t, other)
}
