package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
)

// Refusals around invitations.
var (
	// ErrNoInvitation says that there is no invitation of that id.
	ErrNoInvitation = errors.New("unknown invitation")
	// ErrInvitationClosed says that an invitation cannot be used, sent again or withdrawn any more.
	ErrInvitationClosed = errors.New("the invitation is not open")
	// ErrNotOwner says that somebody else owns the workspace.
	ErrNotOwner = errors.New("not the owner")
	// ErrMainAddress says that an address is the workspace's main one, which everybody on its primary login shares.
	ErrMainAddress = errors.New("the address is the main address")
	// ErrAddressInUse says that a login of the workspace has that address.
	ErrAddressInUse = errors.New("the address is a login's")
	// ErrInvitationUnfit says that a login is not the one that an invitation asked for.
	ErrInvitationUnfit = errors.New("the invitation is not for this login")
)

// WaitError says that something may be done again after a while.
type WaitError struct {
	// After is how long, more than 0; 0 means never.
	After time.Duration
}

// Error names the wait.
func (e *WaitError) Error() string { return "too early by " + e.After.String() }

// invitationColumns are what scanInvitation reads.
const invitationColumns = `workspace, id, email, name, locale, login, invited_by, state, sends, created_at, sent_at, expires_at, ended_at, challenge, joined, mac_key, mac`

// invitationSQL: $1 workspace, $2 id.
const invitationSQL = `SELECT ` + invitationColumns + ` FROM invitations WHERE workspace = $1 AND id = $2`

// scanInvitation reads a row, or fails with ErrNoInvitation or an *IntegrityError.
func (d *Directory) scanInvitation(row pgx.Row) (account.Invitation, error) {
	var i account.Invitation
	var ended *time.Time
	var s rowSeal
	err := row.Scan(&i.Workspace, &i.ID, &i.Email, &i.Name, &i.Locale, &i.Login, &i.By, &i.State, &i.Sends, &i.CreatedAt, &i.SentAt,
		&i.ExpiresAt, &ended, &i.Challenge, &i.Joined, &s.key, &s.mac)
	if errors.Is(err, pgx.ErrNoRows) {
		return i, ErrNoInvitation
	}
	if err != nil {
		return i, scrub(err)
	}
	i.CreatedAt, i.SentAt, i.ExpiresAt, i.EndedAt = i.CreatedAt.UTC(), i.SentAt.UTC(), i.ExpiresAt.UTC(), orZero(ended)
	if !s.fits(d.rows, TableInvitations, invitationPairs(i)) {
		return account.Invitation{}, &IntegrityError{Table: TableInvitations}
	}
	return i, nil
}

// orZero is a time in UTC, or the zero time for none.
func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// orNone is a time, or none for the zero time.
func orNone(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Invited is an invitation with the state that it has in its workspace now.
type Invited struct {
	account.Invitation
	// Workspace is the one that it is for.
	Of account.Workspace
	// Now is the time of the database.
	Now time.Time
	// Created tells that it was made just now.
	Created bool
}

// StateNow returns where the invitation stands.
func (i Invited) StateNow() account.InvitationState { return i.At(i.Now, i.Of.Owner) }

// Invite makes an invitation, or returns the one that waits at that address already. Requests of that address are
// answered by it. Of i it takes workspace, address, name, locale and By.
//
// It fails with ErrNoWorkspace, ErrNotOwner, ErrMainAddress, ErrAddressInUse, a *WaitError when there are too many, or an
// *IntegrityError.
func (d *Directory) Invite(ctx context.Context, c Change, i account.Invitation) (Invited, error) {
	var made Invited
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		w, err := t.ownWorkspace(ctx, i.Workspace, i.By)
		if err != nil {
			return err
		}
		made, err = d.invite(ctx, t, w, i)
		return err
	})
	if err != nil {
		return Invited{}, fmt.Errorf("invite: %w", err)
	}
	return made, nil
}

// invite is Invite under the lock of the workspace.
func (d *Directory) invite(ctx context.Context, t *directoryTx, w account.Workspace, i account.Invitation) (Invited, error) {
	err := t.free(ctx, w, i.Email)
	if err != nil {
		return Invited{}, err
	}
	waiting, err := d.scanInvitation(t.tx.QueryRow(ctx, `
		SELECT `+invitationColumns+` FROM invitations
		 WHERE workspace = $1 AND lower(email) = $2 AND (state = 'open' OR (state = 'accepted' AND joined = '')) FOR UPDATE`,
		w.ID, account.CompareForm(i.Email)))
	switch {
	case err == nil && (waiting.State == account.InvitationAccepted || waiting.At(t.at, w.Owner) == account.InvitationOpen):
		return Invited{Invitation: waiting, Of: w, Now: t.at}, nil
	case err == nil: // It waits for nobody any more: its time is over, or its owner is.
		err = t.endInvitation(ctx, waiting, waiting.At(t.at, w.Owner))
	case errors.Is(err, ErrNoInvitation):
		err = nil
	}
	if err == nil {
		err = t.mayInvite(ctx, w, i.Email)
	}
	if err != nil {
		return Invited{}, err
	}
	i.ID, i.Login, i.State, i.Sends = rand.Text(), account.NewPseudo(), account.InvitationOpen, 1
	i.CreatedAt, i.SentAt, i.ExpiresAt = t.at, t.at, t.at.Add(account.InvitationLife)
	_, err = t.openBudget(ctx, account.Login{Workspace: w.ID, ID: i.Login})
	if err == nil {
		err = t.writeInvitation(ctx, i)
	}
	if err == nil {
		err = d.answerJoins(ctx, t, w.ID, i.Email)
	}
	if err == nil {
		err = t.recordAbout(ctx, event.InvitationMade, w.ID, i.By, i.ID)
	}
	return Invited{Invitation: i, Of: w, Now: t.at, Created: true}, err
}

// ownWorkspace locks a workspace that a login owns.
func (t *directoryTx) ownWorkspace(ctx context.Context, id, owner string) (account.Workspace, error) {
	w, _, intact, err := t.lockWorkspace(ctx, id)
	switch {
	case err != nil:
		return w, err
	case !intact:
		return w, &IntegrityError{Table: TableWorkspaces}
	case owner == "" || w.Owner != owner:
		return w, ErrNotOwner
	}
	return w, nil
}

// free fails when an address is the workspace's main one or a login's.
func (t *directoryTx) free(ctx context.Context, w account.Workspace, email string) error {
	if account.CompareForm(email) == account.CompareForm(w.MainEmail) {
		return ErrMainAddress
	}
	var used bool
	err := t.tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM logins WHERE workspace = $1 AND lower(email) = $2)`,
		w.ID, account.CompareForm(email)).Scan(&used)
	if err == nil && used {
		return ErrAddressInUse
	}
	return err
}

// mayInvite fails with a *WaitError when a workspace has invited enough, or that address often enough, or all workspaces
// together that address, and takes away what ended long ago.
func (t *directoryTx) mayInvite(ctx context.Context, w account.Workspace, email string) error {
	var open, lately, there int
	var first, firstThere *time.Time
	err := t.tx.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE state = 'open' AND expires_at > $2 AND invited_by = $3),
		       count(*) FILTER (WHERE created_at > $2::timestamptz - interval '1 day'),
		       min(created_at) FILTER (WHERE created_at > $2::timestamptz - interval '1 day'),
		       count(*) FILTER (WHERE created_at > $2::timestamptz - interval '1 day' AND lower(email) = $4),
		       min(created_at) FILTER (WHERE created_at > $2::timestamptz - interval '1 day' AND lower(email) = $4)
		  FROM invitations WHERE workspace = $1`, w.ID, t.at, w.Owner, account.CompareForm(email)).Scan(&open, &lately, &first, &there, &firstThere)
	switch {
	case err != nil:
		return err
	case open >= account.MaxOpenInvitations:
		return &WaitError{}
	case lately >= account.MaxInvitationsPerDay:
		return &WaitError{After: orZero(first).Add(24 * time.Hour).Sub(t.at)}
	case there >= account.MaxInvitationsPerAddress:
		return &WaitError{After: orZero(firstThere).Add(24 * time.Hour).Sub(t.at)}
	}
	err = t.mayWriteTo(ctx, email)
	if err != nil {
		return err
	}
	_, err = t.tx.Exec(ctx, `DELETE FROM invitations WHERE workspace = $1 AND ended_at < $2::timestamptz - interval '30 days'`, w.ID, t.at)
	return err
}

// mayWriteTo fails with a *WaitError when all workspaces together have invited an address often enough (SEC-43). Until the
// transaction ends no other invites it.
func (t *directoryTx) mayWriteTo(ctx context.Context, email string) error {
	err := t.lockName(ctx, addressLock, account.CompareForm(email))
	if err != nil {
		return err
	}
	var lately int
	var first *time.Time
	err = t.tx.QueryRow(ctx, `SELECT count(*), min(created_at) FROM invitations WHERE lower(email) = $1 AND created_at > $2::timestamptz - interval '1 day'`,
		account.CompareForm(email), t.at).Scan(&lately, &first)
	if err == nil && lately >= account.MaxInvitationsEverywhere {
		return &WaitError{After: max(orZero(first).Add(24*time.Hour).Sub(t.at), time.Second)}
	}
	return err
}

// writeInvitation stores an invitation with a fresh MAC.
func (t *directoryTx) writeInvitation(ctx context.Context, i account.Invitation) error {
	s := sealRow(t.rows, TableInvitations, invitationPairs(i))
	_, err := t.tx.Exec(ctx, `
		INSERT INTO invitations (`+invitationColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
		ON CONFLICT (workspace, id) DO UPDATE SET state = $8, sends = $9, sent_at = $11, ended_at = $13, challenge = $14,
		       joined = $15, mac_key = $16, mac = $17`,
		i.Workspace, i.ID, i.Email, i.Name, i.Locale, i.Login, i.By, string(i.State), i.Sends, i.CreatedAt, i.SentAt, i.ExpiresAt,
		orNone(i.EndedAt), i.Challenge, i.Joined, s.key, s.mac)
	return err
}

// endInvitation writes the end of an invitation. From the commit on no code of its invitee is approved.
func (t *directoryTx) endInvitation(ctx context.Context, i account.Invitation, state account.InvitationState) error {
	i.State, i.EndedAt = state, t.at
	err := t.writeInvitation(ctx, i)
	if err == nil {
		err = t.retire(ctx, i.Workspace, i.Login)
	}
	return err
}

// retire ends the budgets of those who are no logins, in order; they stay for a day as those of removed logins do.
func (t *directoryTx) retire(ctx context.Context, workspace string, logins ...string) error {
	_, err := t.tx.Exec(ctx, `
		WITH b AS MATERIALIZED (
		    SELECT workspace, login FROM login_budgets
		     WHERE workspace = $1 AND login = ANY($2) AND removed_at IS NULL ORDER BY login FOR UPDATE
		)
		UPDATE login_budgets g SET removed_at = $3, version = version + 1
		  FROM b WHERE g.workspace = b.workspace AND g.login = b.login`, workspace, logins, t.at)
	return err
}

// Invitation returns an invitation, or fails with ErrNoWorkspace, ErrNoInvitation or an *IntegrityError.
func (d *Directory) Invitation(ctx context.Context, workspace, id string) (Invited, error) {
	var i Invited
	err := d.reading(ctx, workspace, func(tx pgx.Tx, w account.Workspace, now time.Time) error {
		var err error
		i.Of, i.Now = w, now
		i.Invitation, err = d.scanInvitation(tx.QueryRow(ctx, invitationSQL, workspace, id))
		return err
	})
	if err != nil {
		return Invited{}, fmt.Errorf("read an invitation: %w", err)
	}
	return i, nil
}

// Invitations lists those of a workspace, the newest first, 200 at most. It fails with ErrNoWorkspace or an
// *IntegrityError.
func (d *Directory) Invitations(ctx context.Context, workspace string) ([]Invited, error) {
	var all []Invited
	err := d.reading(ctx, workspace, func(tx pgx.Tx, w account.Workspace, now time.Time) error {
		rows, err := tx.Query(ctx, `SELECT `+invitationColumns+` FROM invitations WHERE workspace = $1 ORDER BY created_at DESC, id LIMIT 200`, workspace)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Invited, error) {
			i, err := d.scanInvitation(row)
			return Invited{Invitation: i, Of: w, Now: now}, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list invitations: %w", err)
	}
	return all, nil
}

// RepeatInvitation has an open invitation mailed once more. It fails with ErrNoWorkspace, ErrNoInvitation,
// ErrInvitationClosed, a *WaitError or an *IntegrityError.
func (d *Directory) RepeatInvitation(ctx context.Context, c Change, workspace, id string) (Invited, error) {
	return d.changeInvitation(ctx, c, workspace, id, func(t *directoryTx, i *Invited) error {
		wait := i.SentAt.Add(account.InvitationResendWait).Sub(t.at)
		switch {
		case i.StateNow() != account.InvitationOpen:
			return ErrInvitationClosed
		case i.Sends >= account.MaxInvitationSends:
			return &WaitError{}
		case wait > 0:
			return &WaitError{After: wait}
		}
		i.Sends, i.SentAt = i.Sends+1, t.at
		err := t.writeInvitation(ctx, i.Invitation)
		if err != nil {
			return err
		}
		return t.recordAbout(ctx, event.InvitationRepeated, workspace, i.By, id)
	})
}

// WithdrawInvitation ends an invitation of which no login was made yet; one that was withdrawn stays so. It fails with
// ErrNoWorkspace, ErrNoInvitation, ErrInvitationClosed or an *IntegrityError.
func (d *Directory) WithdrawInvitation(ctx context.Context, c Change, workspace, id string) (Invited, error) {
	return d.changeInvitation(ctx, c, workspace, id, func(t *directoryTx, i *Invited) error {
		switch {
		case i.State == account.InvitationWithdrawn:
			return nil
		case i.State == account.InvitationExpired, i.Joined != "":
			return ErrInvitationClosed
		}
		err := t.endInvitation(ctx, i.Invitation, account.InvitationWithdrawn)
		if err != nil {
			return err
		}
		i.State, i.EndedAt = account.InvitationWithdrawn, t.at
		return t.recordAbout(ctx, event.InvitationWithdrawn, workspace, i.By, id)
	})
}

// AcceptInvitation accepts an open invitation by the code of a challenge; the same challenge accepts it again with nothing
// changed. It fails with ErrInvitationClosed when it is not open any more, its inviter is not the owner any more, or its
// address has become the main one or a login's; otherwise as Invitation does.
func (d *Directory) AcceptInvitation(ctx context.Context, workspace, id, challenge string) (Invited, error) {
	return d.changeInvitation(ctx, Change{By: Auth}, workspace, id, func(t *directoryTx, i *Invited) error {
		if i.State == account.InvitationAccepted && i.Challenge == challenge && i.Joined == "" {
			return nil
		}
		if i.StateNow() != account.InvitationOpen || challenge == "" {
			return ErrInvitationClosed
		}
		err := t.free(ctx, i.Of, i.Email)
		if errors.Is(err, ErrMainAddress) || errors.Is(err, ErrAddressInUse) {
			return ErrInvitationClosed
		}
		if err != nil {
			return err
		}
		i.Challenge = challenge
		err = t.endInvitation(ctx, i.Invitation, account.InvitationAccepted)
		if err != nil {
			return err
		}
		i.State, i.EndedAt = account.InvitationAccepted, t.at
		return t.recordAbout(ctx, event.InvitationAccepted, workspace, i.By, id)
	})
}

// changeInvitation changes an invitation under the locks of its workspace and itself.
func (d *Directory) changeInvitation(ctx context.Context, c Change, workspace, id string, fn func(*directoryTx, *Invited) error) (Invited, error) {
	var i Invited
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		w, _, intact, err := t.lockWorkspace(ctx, workspace)
		if err != nil {
			return err
		}
		if !intact {
			return &IntegrityError{Table: TableWorkspaces}
		}
		i = Invited{Of: w, Now: t.at}
		i.Invitation, err = d.scanInvitation(t.tx.QueryRow(ctx, invitationSQL+" FOR UPDATE", workspace, id))
		if err != nil {
			return err
		}
		return fn(t, &i)
	})
	if err != nil {
		return Invited{}, fmt.Errorf("change an invitation: %w", err)
	}
	return i, nil
}

// join notes the login that was made of an accepted invitation. It fails with ErrNoInvitation, ErrInvitationUnfit or an
// *IntegrityError.
func (d *Directory) join(ctx context.Context, t *directoryTx, id string, l account.Login) error {
	i, err := d.scanInvitation(t.tx.QueryRow(ctx, invitationSQL+" FOR UPDATE", l.Workspace, id))
	switch {
	case err != nil:
		return err
	case i.State != account.InvitationAccepted, i.Joined != "" && i.Joined != l.ID,
		account.CompareForm(i.Email) != account.CompareForm(l.Email), l.Role != account.Administrator:
		return ErrInvitationUnfit
	case i.Joined != "":
		return nil
	}
	i.Joined = l.ID
	return t.writeInvitation(ctx, i)
}
