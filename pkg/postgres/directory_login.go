package postgres

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
)

// PutLogin makes or replaces a login and, when it is new, its budget; a budget that outlived a removed login is taken up
// again with all that was spent of it (P3). Phone and channel are those of a login that is made: one that is there keeps its own, which
// people change by changes of factors (StartFactor). The role owner stands in the workspace: putting it makes the former owner
// an administrator, and putting another role for the owner leaves the workspace without one. A change of address
// or role raises the login's version. A put of what is there already changes and records nothing.
//
// It fails with ErrNoWorkspace, ErrChanged or an *IntegrityError, and with ErrNoInvitation or ErrInvitationUnfit when it
// names an invitation that is not accepted, or not for this address as an administrator, and with ErrNumberInUse when it
// would give the login a number that serves as many logins as it may. A login's row that was tampered with is replaced as a
// whole and thereby mended.
func (d *Directory) PutLogin(ctx context.Context, c Change, l account.Login) (Put[account.Login], error) {
	var put Put[account.Login]
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		w, _, intact, err := t.lockWorkspace(ctx, l.Workspace)
		if err != nil {
			return err
		}
		if !intact {
			return &IntegrityError{Table: TableWorkspaces}
		}
		put, err = t.putLogin(ctx, c, w, l)
		if err == nil && c.Invitation != "" {
			err = d.join(ctx, t, c.Invitation, l)
		}
		return err
	})
	if err != nil {
		return Put[account.Login]{}, fmt.Errorf("put login: %w", err)
	}
	return put, nil
}

// putLogin is PutLogin under the lock of the workspace.
func (t *directoryTx) putLogin(ctx context.Context, c Change, w account.Workspace, l account.Login) (Put[account.Login], error) {
	put := Put[account.Login]{Row: l}
	next := ownerAfter(w, l)
	err := t.lockLogins(ctx, w.ID, l.ID, w.Owner, next)
	if err != nil {
		return put, err
	}
	old, seal, intact, err := t.lockLogin(ctx, l.Workspace, l.ID)
	put.Created = errors.Is(err, ErrNoLogin)
	if err != nil && !put.Created {
		return put, err
	}
	if !put.Created {
		put.ETag = loginETag(w, old, seal)
	}
	if !c.matches(put.ETag) {
		return put, ErrChanged
	}
	if !put.Created && intact { // Where its codes go changes by a change of a factor alone, from now on.
		l.Phone, l.Channel = old.Phone, old.Channel
		put.Row = l
		if withRole(w, old) == l {
			return put, nil
		}
	}
	if l.Phone != "" && (put.Created || !intact) {
		err = t.takeNumber(ctx, l, l.Phone)
		if err != nil {
			return put, err
		}
	}
	seal, err = t.writeLogin(ctx, l)
	if err != nil {
		return put, err
	}
	moved := w.Owner != next
	raised := put.Created || !intact || old.Email != l.Email || old.Phone != l.Phone || old.Channel != l.Channel ||
		withRole(w, old).Role != l.Role
	if moved {
		w, err = t.passOwnership(ctx, w, next, l.ID)
		if err != nil {
			return put, err
		}
	}
	put.ETag = loginETag(w, l, seal)
	var version int64
	switch {
	case put.Created:
		version, err = t.openBudget(ctx, l)
	case raised && !moved:
		version, err = t.raise(ctx, l.Workspace, l.ID)
	default:
		version, err = t.version(ctx, l)
	}
	if err != nil {
		return put, err
	}
	return put, t.write(ctx, event.LoginPut, event.Directory{Workspace: l.Workspace, Login: l.ID, Version: version, About: c.Invitation})
}

// ownerAfter returns who owns the workspace once the login is put.
func ownerAfter(w account.Workspace, l account.Login) string {
	switch {
	case l.Role == account.Owner:
		return l.ID
	case w.Owner == l.ID:
		return ""
	}
	return w.Owner
}

// lockLogins locks the logins that a put may write, in the order of their ids.
func (t *directoryTx) lockLogins(ctx context.Context, workspace string, ids ...string) error {
	_, err := t.tx.Exec(ctx, `SELECT FROM logins WHERE workspace = $1 AND id = ANY($2) ORDER BY id FOR UPDATE`, workspace, ids)
	return err
}

// passOwnership writes the new owner into the workspace; own is the login whose put causes it.
func (t *directoryTx) passOwnership(ctx context.Context, w account.Workspace, next, own string) (account.Workspace, error) {
	former := w.Owner
	w.Owner = next
	_, err := t.writeWorkspace(ctx, w)
	if err != nil {
		return w, err
	}
	err = t.moveOwner(ctx, w.ID, former, next, own)
	if err != nil {
		return w, err
	}
	return w, t.record(ctx, event.WorkspacePut, w.ID, "", 0)
}

// openBudget gives a new login its budget, or the one that outlived it, and returns the version.
func (t *directoryTx) openBudget(ctx context.Context, l account.Login) (int64, error) {
	var version int64
	err := t.tx.QueryRow(ctx, `
		INSERT INTO login_budgets AS b (workspace, login) VALUES ($1, $2)
		ON CONFLICT (workspace, login) DO UPDATE SET removed_at = NULL, version = b.version + 1
		RETURNING version`, l.Workspace, l.ID).Scan(&version)
	return version, err
}

// version returns the login's version as it is.
func (t *directoryTx) version(ctx context.Context, l account.Login) (int64, error) {
	var version int64
	err := t.tx.QueryRow(ctx, `SELECT version FROM login_budgets WHERE workspace = $1 AND login = $2`,
		l.Workspace, l.ID).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, &IntegrityError{Table: TableBudgets}
	}
	return version, err
}

// raise gives a login a new version, from whose commit on none of its open codes is approved. 0 means that there is no
// such login, or no more; the version of a removed one was raised by its removal.
func (t *directoryTx) raise(ctx context.Context, workspace, login string) (int64, error) {
	var version int64
	err := t.tx.QueryRow(ctx, `
		UPDATE login_budgets SET version = version + 1 WHERE workspace = $1 AND login = $2 AND removed_at IS NULL
		RETURNING version`, workspace, login).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return version, err
}

// RemoveLogin removes a login; its budget stays for a day, with a new version, and where it could be told of the removal for
// two. When it was the owner, the workspace has
// none until one is put. It fails with ErrNoWorkspace, ErrNoLogin, ErrChanged or an *IntegrityError.
func (d *Directory) RemoveLogin(ctx context.Context, c Change, workspace, id string) error {
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		w, _, intact, err := t.lockWorkspace(ctx, workspace)
		if err != nil {
			return err
		}
		l, seal, known, err := t.lockLogin(ctx, workspace, id)
		if err != nil {
			return err
		}
		if !c.matches(loginETag(w, l, seal)) {
			return ErrChanged
		}
		owned := w.Owner == id
		if owned {
			if !intact {
				return &IntegrityError{Table: TableWorkspaces}
			}
			w.Owner = ""
			_, err = t.writeWorkspace(ctx, w)
			if err != nil {
				return err
			}
			err = t.record(ctx, event.WorkspacePut, workspace, "", 0)
			if err != nil {
				return err
			}
		}
		removed, err := t.removeLogins(ctx, workspace, id)
		if err != nil || len(removed) == 0 {
			return err
		}
		err = t.forgetFactors(ctx, workspace, id)
		if err == nil {
			err = t.forgetRollout(ctx, workspace, id)
		}
		if err != nil {
			return err
		}
		kept, err := t.keepRemoved(ctx, l, known, owned)
		if err != nil {
			return err
		}
		return t.write(ctx, event.LoginRemoved, event.Directory{Workspace: workspace, Login: id, Version: removed[0].version, About: kept})
	})
	if err != nil {
		return fmt.Errorf("remove login: %w", err)
	}
	return nil
}

// removedLogin is a login that is gone, with the version that it would have had next.
type removedLogin struct {
	id      string
	version int64
}

// removeLogins removes the named logins of a workspace, or all, and marks their budgets. Logins are locked first, then
// budgets, both in order.
func (t *directoryTx) removeLogins(ctx context.Context, workspace string, ids ...string) ([]removedLogin, error) {
	rows, err := t.tx.Query(ctx, `
		WITH l AS MATERIALIZED (
		    SELECT workspace, id FROM logins
		     WHERE workspace = $1 AND ($2::text[] IS NULL OR id = ANY($2)) ORDER BY id FOR UPDATE
		), b AS MATERIALIZED (
		    SELECT g.workspace, g.login FROM login_budgets g JOIN l ON g.workspace = l.workspace AND g.login = l.id
		     ORDER BY g.login FOR UPDATE OF g
		), u AS (
		    UPDATE login_budgets g SET removed_at = $3, version = version + 1
		      FROM b WHERE g.workspace = b.workspace AND g.login = b.login RETURNING g.login, g.version
		), gone AS (
		    DELETE FROM logins USING l WHERE logins.workspace = l.workspace AND logins.id = l.id
		)
		SELECT l.id, coalesce(u.version, 0) FROM l LEFT JOIN u ON u.login = l.id ORDER BY l.id`, workspace, ids, t.at)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (removedLogin, error) {
		var r removedLogin
		err := row.Scan(&r.id, &r.version)
		return r, err
	})
}

// changeID names one change of the directory. Nothing caused it that has an id, so it is drawn once, in the
// transaction that makes the change.
func changeID(workspace string) (string, error) {
	raw := make([]byte, 12)
	_, err := rand.Read(raw)
	if err != nil {
		return "", fmt.Errorf("draw the id of a change: %w", err)
	}
	return "ws." + workspace + "." + base64.RawURLEncoding.EncodeToString(raw), nil
}
