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

// Refusals around requests to be invited.
var (
	// ErrNoRequest says that there is no request of that id.
	ErrNoRequest = errors.New("unknown request")
	// ErrNotShared says that a login has codes of its own, so that nobody on it needs another.
	ErrNotShared = errors.New("not a shared login")
)

const joinColumns = `workspace, id, login, name, email, browser, system, state, created_at, ended_at, mac_key, mac`

// joinSQL: $1 workspace, $2 id.
const joinSQL = `SELECT ` + joinColumns + ` FROM join_requests WHERE workspace = $1 AND id = $2`

// scanJoin reads a row, or fails with ErrNoRequest or an *IntegrityError.
func (d *Directory) scanJoin(row pgx.Row) (account.JoinRequest, error) {
	var r account.JoinRequest
	var ended *time.Time
	var s rowSeal
	err := row.Scan(&r.Workspace, &r.ID, &r.Login, &r.Name, &r.Email, &r.Browser, &r.System, &r.State, &r.CreatedAt, &ended, &s.key, &s.mac)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, ErrNoRequest
	}
	if err != nil {
		return r, scrub(err)
	}
	r.CreatedAt, r.EndedAt = r.CreatedAt.UTC(), orZero(ended)
	if !s.fits(d.rows, TableJoinRequests, joinPairs(r)) {
		return account.JoinRequest{}, &IntegrityError{Table: TableJoinRequests}
	}
	return r, nil
}

// AskOwner stores a request of whoever is on a shared login, three a day at most however many ask at the same moment; one
// for an address that asked already and was not answered changes nothing. Of r it takes all but id, state and times.
//
// It fails with ErrNoWorkspace, ErrNoLogin, ErrNotShared, ErrMainAddress, a *WaitError or an *IntegrityError. Whether the
// address is that of another login is not told.
func (d *Directory) AskOwner(ctx context.Context, c Change, r account.JoinRequest) error {
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		w, _, intact, err := t.lockWorkspace(ctx, r.Workspace)
		if err != nil {
			return err
		}
		if !intact {
			return &IntegrityError{Table: TableWorkspaces}
		}
		l, _, intact, err := t.lockLogin(ctx, r.Workspace, r.Login)
		switch {
		case err != nil:
			return err
		case !intact:
			return &IntegrityError{Table: TableLogins}
		case !account.Shared(w, l):
			return ErrNotShared
		case account.CompareForm(r.Email) == account.CompareForm(w.MainEmail):
			return ErrMainAddress
		}
		return d.askOwner(ctx, t, r)
	})
	if err != nil {
		return fmt.Errorf("ask the owner: %w", err)
	}
	return nil
}

// askOwner is AskOwner under the lock of the workspace, which makes the count exact.
func (d *Directory) askOwner(ctx context.Context, t *directoryTx, r account.JoinRequest) error {
	var repeated bool
	var lately int
	var first *time.Time
	err := t.tx.QueryRow(ctx, `
		SELECT coalesce(bool_or(state = 'open' AND lower(email) = $4), false),
		       count(*) FILTER (WHERE created_at > $3::timestamptz - interval '1 day'),
		       min(created_at) FILTER (WHERE created_at > $3::timestamptz - interval '1 day')
		  FROM join_requests WHERE workspace = $1 AND login = $2`,
		r.Workspace, r.Login, t.at, account.CompareForm(r.Email)).Scan(&repeated, &lately, &first)
	switch {
	case err != nil:
		return err
	case repeated:
		return nil
	case lately >= account.MaxJoinRequests:
		return &WaitError{After: orZero(first).Add(24 * time.Hour).Sub(t.at)}
	}
	_, err = t.tx.Exec(ctx, `DELETE FROM join_requests WHERE workspace = $1 AND created_at < $2::timestamptz - interval '30 days'`, r.Workspace, t.at)
	if err != nil {
		return err
	}
	r.ID, r.State, r.CreatedAt = rand.Text(), account.JoinOpen, t.at
	err = t.writeJoin(ctx, r)
	if err != nil {
		return err
	}
	return t.recordAbout(ctx, event.JoinRequested, r.Workspace, r.Login, r.ID)
}

// writeJoin stores a request with a fresh MAC.
func (t *directoryTx) writeJoin(ctx context.Context, r account.JoinRequest) error {
	s := sealRow(t.rows, TableJoinRequests, joinPairs(r))
	_, err := t.tx.Exec(ctx, `
		INSERT INTO join_requests (`+joinColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (workspace, id) DO UPDATE SET state = $8, ended_at = $10, mac_key = $11, mac = $12`,
		r.Workspace, r.ID, r.Login, r.Name, r.Email, r.Browser, r.System, string(r.State), r.CreatedAt, orNone(r.EndedAt), s.key, s.mac)
	return err
}

// JoinRequest returns a request with its workspace, or fails with ErrNoWorkspace, ErrNoRequest or an *IntegrityError.
func (d *Directory) JoinRequest(ctx context.Context, workspace, id string) (account.JoinRequest, account.Workspace, error) {
	var r account.JoinRequest
	var of account.Workspace
	err := d.reading(ctx, workspace, func(tx pgx.Tx, w account.Workspace, _ time.Time) error {
		var err error
		of = w
		r, err = d.scanJoin(tx.QueryRow(ctx, joinSQL, workspace, id))
		return err
	})
	if err != nil {
		return account.JoinRequest{}, account.Workspace{}, fmt.Errorf("read a request: %w", err)
	}
	return r, of, nil
}

// JoinRequests lists the requests of a workspace, the newest first, 200 at most. It fails with ErrNoWorkspace or an
// *IntegrityError.
func (d *Directory) JoinRequests(ctx context.Context, workspace string) ([]account.JoinRequest, error) {
	var all []account.JoinRequest
	err := d.reading(ctx, workspace, func(tx pgx.Tx, _ account.Workspace, _ time.Time) error {
		rows, err := tx.Query(ctx, `SELECT `+joinColumns+` FROM join_requests WHERE workspace = $1 ORDER BY created_at DESC, id LIMIT 200`, workspace)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (account.JoinRequest, error) { return d.scanJoin(row) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list requests: %w", err)
	}
	return all, nil
}

// DeclineJoin answers a request with no; one that was answered before stays as it was. It fails with ErrNoWorkspace,
// ErrNoRequest or an *IntegrityError.
func (d *Directory) DeclineJoin(ctx context.Context, c Change, workspace, id string) error {
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		_, _, _, err := t.lockWorkspace(ctx, workspace)
		if err != nil {
			return err
		}
		r, err := d.scanJoin(t.tx.QueryRow(ctx, joinSQL+" FOR UPDATE", workspace, id))
		if err != nil || r.State != account.JoinOpen {
			return err
		}
		r.State, r.EndedAt = account.JoinDeclined, t.at
		err = t.writeJoin(ctx, r)
		if err != nil {
			return err
		}
		return t.recordAbout(ctx, event.JoinDeclined, workspace, r.Login, id)
	})
	if err != nil {
		return fmt.Errorf("decline a request: %w", err)
	}
	return nil
}

// answerJoins marks the open requests of an address that was invited.
func (d *Directory) answerJoins(ctx context.Context, t *directoryTx, workspace, email string) error {
	rows, err := t.tx.Query(ctx, `SELECT `+joinColumns+` FROM join_requests WHERE workspace = $1 AND state = 'open' AND lower(email) = $2 ORDER BY id FOR UPDATE`,
		workspace, account.CompareForm(email))
	if err != nil {
		return err
	}
	open, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (account.JoinRequest, error) { return d.scanJoin(row) })
	for _, r := range open {
		if err != nil {
			break
		}
		r.State, r.EndedAt = account.JoinInvited, t.at
		err = t.writeJoin(ctx, r)
	}
	return err
}
