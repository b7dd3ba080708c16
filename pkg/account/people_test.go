package account_test

import (
	"testing"
	"time"

	"doorcode/pkg/account"
)

func TestShared_IsThePrimaryLoginWhoseCodesGoToTheMainAddress(t *testing.T) {
	t.Parallel()
	w := account.Workspace{ID: "w", MainEmail: "office@example.com", Owner: "anna"}
	for name, c := range map[string]struct {
		login account.Login
		want  bool
	}{
		"without an address":           {account.Login{ID: "anna"}, true},
		"with the main address":        {account.Login{ID: "anna", Email: "Office@example.com"}, true},
		"with an address of their own": {account.Login{ID: "anna", Email: "anna@example.com"}, false},
		"who switched to a phone":      {account.Login{ID: "anna", Phone: "+12025550148", Channel: account.SMS}, false},
		"not the owner":                {account.Login{ID: "bert", Email: "office@example.com"}, false},
		"nobody":                       {account.Login{}, false},
	} {
		if got := account.Shared(w, c.login); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestInvitation_EndsByItselfAndWithItsOwner(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 6, 10, 8, 2, 0, 0, time.UTC)
	i := account.Invitation{By: "anna", State: account.InvitationOpen, ExpiresAt: end}
	for want, got := range map[account.InvitationState]account.InvitationState{
		account.InvitationOpen:      i.At(end.Add(-time.Microsecond), "anna"),
		account.InvitationExpired:   i.At(end, "anna"),
		account.InvitationWithdrawn: i.At(end.Add(-time.Hour), "bert"),
	} {
		if got != want {
			t.Errorf("it is %s, not %s", got, want)
		}
	}
	i.State = account.InvitationAccepted
	if got := i.At(end.Add(time.Hour), "bert"); got != account.InvitationAccepted {
		t.Errorf("an accepted one became %s", got)
	}
}
