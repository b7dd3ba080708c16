package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
)

// factorLock is what a change of a factor is judged by, under the locks of workspace and login.
type factorLock struct {
	workspace account.Workspace
	login     account.Login // with the role that is stored
	version   int64
	stopped   []string
}

// lockOf locks a workspace and a login whose rows are as auth wrote them.
func (t *directoryTx) lockOf(ctx context.Context, workspace, login string) (*factorLock, error) {
	w, _, intact, err := t.lockWorkspace(ctx, workspace)
	if err == nil && !intact {
		err = &IntegrityError{Table: TableWorkspaces}
	}
	if err != nil {
		return nil, err
	}
	l, _, intact, err := t.lockLogin(ctx, workspace, login)
	if err == nil && !intact {
		err = &IntegrityError{Table: TableLogins}
	}
	if err != nil {
		return nil, err
	}
	at := &factorLock{workspace: w, login: l}
	at.version, err = t.version(ctx, l)
	if err != nil {
		return nil, err
	}
	return at, t.tx.QueryRow(ctx, `SELECT ARRAY(SELECT region FROM sms_countries)`).Scan(&at.stopped)
}

// step takes a change one step on under the locks of workspace, login and change. A change on its way whose time has
// passed expires, and one whose login was changed otherwise is canceled, before fn sees it.
func (d *Directory) step(
	ctx context.Context, c Change, ref FactorRef, fn func(context.Context, *directoryTx, *factorLock, *FactorChange) error,
) (FactorChange, error) {
	var f FactorChange
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		at, err := t.lockOf(ctx, ref.Workspace, ref.Login)
		if err != nil {
			return err
		}
		f, err = t.lockFactor(ctx, ref)
		if err != nil {
			return err
		}
		before := f
		err = t.endFactor(ctx, at, &f)
		if err == nil {
			err = fn(ctx, t, at, &f)
		}
		if err != nil || f == before {
			return err
		}
		return t.writeFactor(ctx, f)
	})
	if err != nil {
		return FactorChange{}, fmt.Errorf("take a change of a factor on: %w", err)
	}
	return f, nil
}

// endFactor ends a change on its way that cannot take effect any more.
func (t *directoryTx) endFactor(ctx context.Context, at *factorLock, f *FactorChange) error {
	switch {
	case !f.State.Pending():
		return nil
	case !t.at.Before(f.ExpiresAt):
		f.State = FactorExpired
	case f.Version != at.version || f.Kind.ReachOf(at.workspace, at.login) != f.Former:
		f.State = FactorCanceled
	default:
		return nil
	}
	return t.recordFactor(ctx, event.FactorCanceled, *f, at.version)
}

// clearFactors makes room for a change of the login: what is on its way and cannot take effect any more ends, also when
// no code of it could be sent, and what is long over is forgotten. It fails with ErrFactorPending.
func (t *directoryTx) clearFactors(ctx context.Context, at *factorLock) error {
	_, err := t.tx.Exec(ctx, `DELETE FROM factor_changes WHERE workspace = $1 AND login = $2 AND created_at < $3`,
		at.login.Workspace, at.login.ID, t.at.Add(-factorKeep))
	if err != nil {
		return err
	}
	f, seal, err := scanFactor(t.tx.QueryRow(ctx, `SELECT `+factorColumns+` FROM factor_changes
		WHERE workspace = $1 AND login = $2 AND state IN ('approval', 'proof') FOR UPDATE`, at.login.Workspace, at.login.ID))
	if errors.Is(err, ErrNoFactorChange) {
		return nil
	}
	if err != nil {
		return err
	}
	if !seal.fits(t.rows, TableFactors, factorPairs(f)) {
		return &IntegrityError{Table: TableFactors}
	}
	err = t.endFactor(ctx, at, &f)
	if err != nil {
		return err
	}
	if f.State.Pending() && f.Handle != "" {
		return ErrFactorPending
	}
	if f.State.Pending() { // Nobody was ever sent a code of it.
		f.State = FactorCanceled
		err = t.recordFactor(ctx, event.FactorCanceled, f, at.version)
		if err != nil {
			return err
		}
	}
	return t.writeFactor(ctx, f)
}

// mayStart fails with a *WaitError when so many changes of a login were begun within a day, canceled ones among them, that
// numbers and addresses are tried out or written to by them.
func (t *directoryTx) mayStart(ctx context.Context, at *factorLock) error {
	var lately int
	var first *time.Time
	err := t.tx.QueryRow(ctx, `SELECT count(*), min(created_at) FROM factor_changes WHERE workspace = $1 AND login = $2 AND created_at > $3`,
		at.login.Workspace, at.login.ID, t.at.Add(-24*time.Hour)).Scan(&lately, &first)
	if err == nil && lately >= MaxFactorsPerDay {
		return &WaitError{After: orZero(first).Add(24 * time.Hour).Sub(t.at)}
	}
	return err
}

// give writes what a change makes of its login, which gets a new version: from the commit on none of its open codes is
// approved.
func (t *directoryTx) give(ctx context.Context, at *factorLock, f FactorChange, r account.Reach, kind event.Type) error {
	w, l := f.Kind.Give(at.workspace, at.login, r)
	var err error
	if f.Kind == account.FactorMainEmail {
		_, err = t.writeWorkspace(ctx, w)
	} else {
		_, err = t.writeLogin(ctx, l)
	}
	if err != nil {
		return err
	}
	version, err := t.raise(ctx, f.Workspace, f.Login)
	if err != nil {
		return err
	}
	if f.Kind == account.FactorMainEmail && at.workspace.Owner != f.Login && at.workspace.Owner != "" { // Ownership has passed on since.
		_, err = t.raise(ctx, f.Workspace, at.workspace.Owner)
		if err != nil {
			return err
		}
	}
	return t.recordFactor(ctx, kind, f, version)
}

// recordFactor writes audit and outbox of what became of a change.
func (t *directoryTx) recordFactor(ctx context.Context, kind event.Type, f FactorChange, version int64) error {
	return t.write(ctx, kind, event.Directory{
		Workspace: f.Workspace, Login: f.Login, Version: version, About: f.ID, Kind: string(f.Kind),
	})
}

// forgetFactors removes all changes of the named logins of a workspace, or of all: whoever is put again starts from zero.
func (t *directoryTx) forgetFactors(ctx context.Context, workspace string, ids ...string) error {
	_, err := t.tx.Exec(ctx, `DELETE FROM factor_changes WHERE workspace = $1 AND ($2::text[] IS NULL OR login = ANY($2))`, workspace, ids)
	return err
}

const factorColumns = `id, workspace, login, kind, state, channel, destination, former, next, version, handle, approval, round, locale,
       actor, approved_at, created_at, expires_at, applied_at, follows, mac_key, mac`

// lockFactor reads a change of a login and keeps it. It fails with ErrNoFactorChange or an *IntegrityError.
func (t *directoryTx) lockFactor(ctx context.Context, ref FactorRef) (FactorChange, error) {
	f, seal, err := scanFactor(t.tx.QueryRow(ctx, `SELECT `+factorColumns+` FROM factor_changes
		WHERE workspace = $1 AND login = $2 AND id = $3 FOR UPDATE`, ref.Workspace, ref.Login, ref.ID))
	if err == nil && !seal.fits(t.rows, TableFactors, factorPairs(f)) {
		err = &IntegrityError{Table: TableFactors}
	}
	return f, err
}

// scanFactor reads a row of factorColumns and what follows them, or fails with ErrNoFactorChange.
func scanFactor(row pgx.Row, more ...any) (FactorChange, rowSeal, error) {
	var f FactorChange
	var s rowSeal
	var former, next []byte
	var approved, applied *time.Time
	err := row.Scan(append([]any{
		&f.ID, &f.Workspace, &f.Login, &f.Kind, &f.State, &f.Channel, &f.Destination, &former, &next, &f.Version, &f.Handle, &f.Approval, &f.Round,
		&f.Locale, &f.Actor, &approved, &f.CreatedAt, &f.ExpiresAt, &applied, &f.Follows, &s.key, &s.mac,
	}, more...)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, s, ErrNoFactorChange
	}
	if err != nil {
		return f, s, scrub(err)
	}
	if json.Unmarshal(former, &f.Former) != nil || json.Unmarshal(next, &f.Next) != nil {
		return f, s, &IntegrityError{Table: TableFactors}
	}
	if approved != nil {
		f.ApprovedAt = *approved
	}
	if applied != nil {
		f.AppliedAt = *applied
	}
	return f, s, nil
}

// writeFactor stores a change with a fresh MAC.
func (t *directoryTx) writeFactor(ctx context.Context, f FactorChange) error {
	s := sealRow(t.rows, TableFactors, factorPairs(f))
	_, err := t.tx.Exec(ctx, `
		INSERT INTO factor_changes (`+factorColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
		ON CONFLICT (id) DO UPDATE SET state = $5, handle = $11, approval = $12, round = $13, approved_at = $16, applied_at = $19,
		       follows = $20, mac_key = $21, mac = $22`,
		f.ID, f.Workspace, f.Login, string(f.Kind), string(f.State), f.Channel, f.Destination, f.Former, f.Next, f.Version,
		f.Handle, f.Approval, f.Round, f.Locale, f.Actor, orNever(f.ApprovedAt), f.CreatedAt, f.ExpiresAt, orNever(f.AppliedAt), f.Follows, s.key, s.mac)
	return err
}

// orNever is NULL for no time.
func orNever(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

// factorPairs covers the whole row: each column of it decides where a code goes, or whether one has to be asked for.
func factorPairs(f FactorChange) pairs {
	p := pairs{}.with("id", f.ID).with("workspace", f.Workspace).with("login", f.Login).with("kind", string(f.Kind)).
		with("state", string(f.State)).with("channel", f.Channel).with("destination", f.Destination).
		with("version", strconv.FormatInt(f.Version, 10)).with("handle", f.Handle).with("approval", f.Approval).with("round", strconv.Itoa(f.Round)).
		with("locale", f.Locale).with("actor", f.Actor)
	for _, r := range []struct {
		name  string
		reach account.Reach
	}{{"former", f.Former}, {"next", f.Next}} {
		p = p.with(r.name+"_phone", r.reach.Phone).with(r.name+"_channel", r.reach.Channel).with(r.name+"_main_email", r.reach.MainEmail)
		if r.reach.GroupAddress {
			p = p.with(r.name+"_group_address", "true")
		}
	}
	for _, at := range []struct {
		name string
		at   time.Time
	}{{"approved_at", f.ApprovedAt}, {"created_at", f.CreatedAt}, {"expires_at", f.ExpiresAt}, {"applied_at", f.AppliedAt}} {
		if !at.at.IsZero() {
			p = p.with(at.name, strconv.FormatInt(at.at.UnixMicro(), 10))
		}
	}
	return p.with("follows", f.Follows)
}
