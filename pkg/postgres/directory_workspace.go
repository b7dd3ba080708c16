package postgres

import (
	"context"
	"errors"
	"fmt"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
)

// PutWorkspace makes or replaces a workspace; one that names no owner keeps the one it has. A put of what is there
// already changes and records nothing. What it changes for a login, its membership as an owner or the main e-mail
// address that its codes go to, raises the version of that login, so that its open challenges end.
//
// The main address of a workspace that is there, and its mark as a group's, are what its people may have changed since the
// caller knew them. A put changes them only when Match names the ETag of the state that has them; any other that differs
// changes nothing and fails with ErrMainEmailKept (SEC-36).
//
// It fails with ErrChanged as well or, when the row was tampered with and the put does not replace all of it, with an
// *IntegrityError. A put that names an owner replaces all and so mends the row, main address included.
func (d *Directory) PutWorkspace(ctx context.Context, c Change, w account.Workspace) (Put[account.Workspace], error) {
	var put Put[account.Workspace]
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		made, err := t.claimWorkspace(ctx, w)
		if err != nil {
			return err
		}
		if made {
			put, err = t.newWorkspace(ctx, c, w)
			return err
		}
		put, err = t.replaceWorkspace(ctx, c, w)
		return err
	})
	if err != nil {
		return Put[account.Workspace]{}, fmt.Errorf("put workspace: %w", err)
	}
	return put, nil
}

// claimWorkspace makes a row to lock, unless there is one, so that of two first puts the second replaces what the first
// made. A row without a MAC fits nothing and does not outlast the transaction.
func (t *directoryTx) claimWorkspace(ctx context.Context, w account.Workspace) (bool, error) {
	tag, err := t.tx.Exec(ctx, `
		INSERT INTO workspaces (id, name, main_email, mac_key, mac) VALUES ($1, '', '', 0, '') ON CONFLICT (id) DO NOTHING`, w.ID)
	if err != nil {
		return false, err
	}
	return tag.RowsAffected() == 1, t.readClock(ctx)
}

// newWorkspace writes a workspace that there was not.
func (t *directoryTx) newWorkspace(ctx context.Context, c Change, w account.Workspace) (Put[account.Workspace], error) {
	put := Put[account.Workspace]{Row: w, Created: true}
	if !c.matches("") {
		return put, ErrChanged
	}
	seal, err := t.writeWorkspace(ctx, w)
	if err != nil {
		return put, err
	}
	put.ETag = etag(seal, "")
	return put, t.record(ctx, event.WorkspacePut, w.ID, "", 0)
}

// replaceWorkspace writes a workspace that there was.
func (t *directoryTx) replaceWorkspace(ctx context.Context, c Change, w account.Workspace) (Put[account.Workspace], error) {
	var put Put[account.Workspace]
	old, seal, intact, err := t.lockWorkspace(ctx, w.ID)
	if err != nil {
		return put, err
	}
	if !c.matches(etag(seal, "")) {
		return put, ErrChanged
	}
	if w.Owner == "" {
		if !intact {
			return put, &IntegrityError{Table: TableWorkspaces}
		}
		w.Owner = old.Owner
	}
	if c.KeepGroup {
		w.GroupAddress = intact && old.GroupAddress && w.MainEmail == old.MainEmail
	}
	if intact && (w.MainEmail != old.MainEmail || w.GroupAddress != old.GroupAddress) && !c.saw(etag(seal, "")) {
		return put, ErrMainEmailKept
	}
	put = Put[account.Workspace]{Row: w, ETag: etag(seal, "")}
	if intact && w == old {
		return put, nil
	}
	seal, err = t.writeWorkspace(ctx, w)
	if err != nil {
		return put, err
	}
	put.ETag = etag(seal, "")
	if intact {
		err = t.follow(ctx, old, w)
	} else {
		err = t.raiseAll(ctx, w.ID)
	}
	if err != nil {
		return put, err
	}
	return put, t.record(ctx, event.WorkspacePut, w.ID, "", 0)
}

// raiseAll gives all logins of a workspace a new version, because of a row that was tampered with nothing is believed.
func (t *directoryTx) raiseAll(ctx context.Context, workspace string) error {
	_, err := t.tx.Exec(ctx, `
		WITH b AS MATERIALIZED (
		    SELECT workspace, login FROM login_budgets WHERE workspace = $1 ORDER BY login FOR UPDATE
		)
		UPDATE login_budgets g SET version = version + 1 FROM b WHERE g.workspace = b.workspace AND g.login = b.login`, workspace)
	return err
}

// follow carries a change of the workspace to the logins that it is about: the former and the new owner, and the owner
// whose codes go to the main e-mail address.
func (t *directoryTx) follow(ctx context.Context, old, next account.Workspace) error {
	if old.Owner != next.Owner {
		return t.moveOwner(ctx, next.ID, old.Owner, next.Owner, "")
	}
	if old.MainEmail == next.MainEmail || next.Owner == "" {
		return nil
	}
	owner, _, _, err := t.lockLogin(ctx, next.ID, next.Owner)
	if errors.Is(err, ErrNoLogin) || (err == nil && owner.Email != "") {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = t.raise(ctx, next.ID, next.Owner)
	return err
}

// moveOwner makes the former owner an administrator and raises the versions of both, each with its record, except of
// the login named by own, whose put causes this and records itself.
func (t *directoryTx) moveOwner(ctx context.Context, workspace, former, next, own string) error {
	for _, id := range inOrder(former, next) { // Rows are locked in the order of their ids: logins first ...
		l, _, intact, err := t.lockLogin(ctx, workspace, id)
		if err != nil && !errors.Is(err, ErrNoLogin) {
			return err
		}
		if err != nil || id == own || id != former || l.Role == account.Administrator {
			continue
		}
		if !intact {
			return &IntegrityError{Table: TableLogins}
		}
		l.Role = account.Administrator
		_, err = t.writeLogin(ctx, l)
		if err != nil {
			return err
		}
	}
	for _, id := range inOrder(former, next) { // ... then budgets.
		version, err := t.raise(ctx, workspace, id)
		if err != nil {
			return err
		}
		if id == own || version == 0 {
			continue
		}
		err = t.record(ctx, event.LoginPut, workspace, id, version)
		if err != nil {
			return err
		}
	}
	return nil
}

// inOrder returns the ids that are set, ascending.
func inOrder(a, b string) []string {
	switch {
	case a == "" && b == "":
		return nil
	case a == "" || a == b:
		return []string{b}
	case b == "":
		return []string{a}
	case b < a:
		return []string{b, a}
	}
	return []string{a, b}
}

// RemoveWorkspace removes a workspace with all its logins, invitations and requests. Their budgets stay for a day, with a new version. It fails
// with ErrNoWorkspace or ErrChanged; a row that was tampered with can be removed.
func (d *Directory) RemoveWorkspace(ctx context.Context, c Change, id string) error {
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		_, seal, _, err := t.lockWorkspace(ctx, id)
		if err != nil {
			return err
		}
		if !c.matches(etag(seal, "")) {
			return ErrChanged
		}
		logins, err := t.removeLogins(ctx, id)
		if err != nil {
			return err
		}
		for _, l := range logins {
			err = t.record(ctx, event.LoginRemoved, id, l.id, l.version)
			if err != nil {
				return err
			}
		}
		err = t.forgetFactors(ctx, id)
		if err != nil {
			return err
		}
		err = t.removePeople(ctx, id)
		if err != nil {
			return err
		}
		_, err = t.tx.Exec(ctx, `DELETE FROM removed_logins WHERE workspace = $1`, id)
		if err == nil {
			err = t.forgetRollout(ctx, id, "")
		}
		if err != nil {
			return err
		}
		_, err = t.tx.Exec(ctx, `DELETE FROM workspaces WHERE id = $1`, id)
		if err != nil {
			return err
		}
		return t.record(ctx, event.WorkspaceRemoved, id, "", 0)
	})
	if err != nil {
		return fmt.Errorf("remove workspace: %w", err)
	}
	return nil
}
