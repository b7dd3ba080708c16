package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
)

// RevertFactor undoes a change that took effect at most FactorUndo ago, when what the login has is what it made, or descends
// from that by further changes: the login gets back what it had before. Those further changes are undone with it, and none of
// them can be undone any more, so that whoever made them cannot take the undo back; what is on its way ends. The number that
// it gives back may serve as many logins as it likes by now: an undo is not refused for that. It fails with
// ErrFactorOver for any other change, and as ApproveFactor does.
func (d *Directory) RevertFactor(ctx context.Context, c Change, workspace, id string) (FactorChange, error) {
	ref, err := d.factorRef(ctx, workspace, id)
	if err != nil {
		return FactorChange{}, err
	}
	return d.step(ctx, c, ref, func(ctx context.Context, t *directoryTx, at *factorLock, f *FactorChange) error {
		later, err := t.undoable(ctx, at, *f)
		if err != nil {
			return err
		}
		f.State = FactorReverted
		err = t.give(ctx, at, *f, f.Former, event.FactorReverted)
		if err != nil {
			return err
		}
		err = t.endPending(ctx, f.Workspace, at.whom(*f)...)
		if err != nil {
			return err
		}
		for _, g := range later {
			g.State = FactorReverted
			err = t.settle(ctx, g, event.FactorReverted)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// UndoableFactor returns a change that RevertFactor would undo now, and whether further ones would be undone with it, or
// fails as that does.
func (d *Directory) UndoableFactor(ctx context.Context, workspace, id string) (f FactorChange, followed bool, err error) {
	ref, err := d.factorRef(ctx, workspace, id)
	if err != nil {
		return FactorChange{}, false, err
	}
	f, err = d.step(ctx, Change{By: Auth}, ref, func(ctx context.Context, t *directoryTx, at *factorLock, f *FactorChange) error {
		later, err := t.undoable(ctx, at, *f)
		followed = len(later) > 0
		return err
	})
	return f, followed, err
}

// undoable returns the changes that are undone with this one: all that came after it. It fails with ErrFactorOver when the
// change is not recent, or when what the login has does not descend from it.
func (t *directoryTx) undoable(ctx context.Context, at *factorLock, f FactorChange) ([]FactorChange, error) {
	if f.State != FactorApplied || !t.at.Before(f.AppliedAt.Add(FactorUndo)) {
		return nil, ErrFactorOver
	}
	line, err := t.factorLine(ctx, f)
	if err != nil {
		return nil, err
	}
	descends := descendants(f, line)
	if !slices.ContainsFunc(line, func(g FactorChange) bool { return descends[g.ID] && at.has(g) }) {
		return nil, ErrFactorOver
	}
	return slices.DeleteFunc(line, func(g FactorChange) bool {
		return g.ID == f.ID || !descends[g.ID] && !g.AppliedAt.After(f.AppliedAt)
	}), nil
}

// descendants returns the ids of a change and of those of a line that followed it, one upon the other.
func descendants(f FactorChange, line []FactorChange) map[string]bool {
	found := map[string]bool{f.ID: true}
	for grown := true; grown; {
		grown = false
		for _, g := range line {
			if !found[g.ID] && found[g.Follows] {
				found[g.ID], grown = true, true
			}
		}
	}
	return found
}

// whom returns the logins whose codes a change or its undo moves.
func (at *factorLock) whom(f FactorChange) []string {
	if f.Kind == account.FactorMainEmail && at.workspace.Owner != "" {
		return []string{f.Login, at.workspace.Owner}
	}
	return []string{f.Login}
}

// has reports whether what the login has is what a change made. That several people read a new main address makes it no
// other one.
func (at *factorLock) has(f FactorChange) bool {
	reach := f.Kind.ReachOf(at.workspace, at.login)
	reach.GroupAddress = f.Next.GroupAddress
	return reach == f.Next
}

// madeBy returns the id of the change of a line that made what the login has; empty: none did.
func (at *factorLock) madeBy(line []FactorChange) string {
	i := slices.IndexFunc(line, at.has)
	if i < 0 {
		return ""
	}
	return line[i].ID
}

// factorLine reads the changes in effect of what a change is about, the newest first: those of the main address of its
// workspace, whoever made them, or those of the phone of its login. It fails with an *IntegrityError. The lock of the
// workspace keeps them.
func (t *directoryTx) factorLine(ctx context.Context, f FactorChange) ([]FactorChange, error) {
	if f.Kind == account.FactorMainEmail {
		return t.lockedFactors(ctx, `workspace = $1 AND kind = 'main_email' AND state = 'applied'`, f.Workspace)
	}
	return t.lockedFactors(ctx, `workspace = $1 AND login = $2 AND kind <> 'main_email' AND state = 'applied'`, f.Workspace, f.Login)
}

// lockedFactors reads changes by a condition under the lock of their workspace, the one that took effect last first. It fails
// with an *IntegrityError.
func (t *directoryTx) lockedFactors(ctx context.Context, condition string, args ...any) ([]FactorChange, error) {
	rows, err := t.tx.Query(ctx, `SELECT `+factorColumns+` FROM factor_changes WHERE `+condition+` ORDER BY applied_at DESC, id`, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (FactorChange, error) {
		f, seal, err := scanFactor(row)
		if err == nil && !seal.fits(t.rows, TableFactors, factorPairs(f)) {
			err = &IntegrityError{Table: TableFactors}
		}
		return f, err
	})
}

// endPending cancels what is on its way for logins whose codes just went elsewhere. Nothing of it could take effect any more.
func (t *directoryTx) endPending(ctx context.Context, workspace string, logins ...string) error {
	all, err := t.lockedFactors(ctx, `workspace = $1 AND login = ANY($2) AND state IN ('approval', 'proof')`, workspace, logins)
	if err != nil {
		return err
	}
	for _, f := range all {
		f.State = FactorCanceled
		err = t.settle(ctx, f, event.FactorCanceled)
		if err != nil {
			return err
		}
	}
	return nil
}

// settle stores a change that another one ended, and records it.
func (t *directoryTx) settle(ctx context.Context, f FactorChange, kind event.Type) error {
	version, err := t.version(ctx, account.Login{Workspace: f.Workspace, ID: f.Login})
	if err != nil {
		return err
	}
	err = t.writeFactor(ctx, f)
	if err != nil {
		return err
	}
	return t.recordFactor(ctx, kind, f, version)
}

// factorRef finds whose change it is.
func (d *Directory) factorRef(ctx context.Context, workspace, id string) (FactorRef, error) {
	ref := FactorRef{Workspace: workspace, ID: id}
	err := d.db.pool.QueryRow(ctx, `SELECT login FROM factor_changes WHERE workspace = $1 AND id = $2`, workspace, id).Scan(&ref.Login)
	if errors.Is(err, pgx.ErrNoRows) {
		return ref, ErrNoFactorChange
	}
	if err != nil {
		return ref, fmt.Errorf("find a change of a factor: %w", scrub(err))
	}
	return ref, nil
}
