package front

import (
	"context"
	"errors"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
)

// Texts reports whether text messages go to any country at all.
func (f *Front) Texts() bool { return f.settings.TextsPerDay > 0 && len(f.settings.Countries) > 0 }

// Begin begins a change of the session's own login. A code that was typed in the session within five minutes approves it,
// so that the next one goes to what is new.
func (s Session) Begin(kind account.FactorKind, phone, email string) FactorStart {
	start := FactorStart{
		Workspace: s.Row.Workspace, Login: s.Row.Login, Kind: kind, Phone: phone, Email: email, Locale: s.Row.Locale,
		Client: s.Client(), By: s.Row.FrontEnd, Version: s.Row.Version,
	}
	if s.Fresh() {
		start.Approved = s.Row.ApprovedAt
	}
	return start
}

// Change names a change of the session's own login.
func (s Session) Change(id string) FactorRef {
	return FactorRef{Workspace: s.Row.Workspace, Login: s.Row.Login, Change: id, By: s.Row.FrontEnd, Client: s.Client()}
}

// Waiting returns the change of the session's login that is on its way, or nil.
func (f *Front) Waiting(ctx context.Context, s Session) (*FactorChange, error) {
	all, err := f.Factors(ctx, s.Row.Workspace, s.Row.Login)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if postgres.FactorState(c.State).Pending() && s.Now.Before(c.ExpiresAt) {
			return &c, nil
		}
	}
	return nil, nil //nolint:nilnil // No change is on its way, which is the usual state.
}

// GoOn lets the session go on after a change of its own login that it has carried out. All other sessions of the login
// end with the change (SEC-39).
func (f *Front) GoOn(ctx context.Context, s Session) error {
	_, err := f.directory.FollowSettings(ctx, s.Row)
	if err != nil && !errors.Is(err, postgres.ErrNoSession) { // Not every change is one of the own login.
		return f.translate(ctx, err)
	}
	return nil
}

// FreshUntil is when the last code of the session approves nothing any more.
func (s Session) FreshUntil() time.Time { return s.Row.ApprovedAt.Add(approvalFresh) }
