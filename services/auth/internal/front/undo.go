package front

import (
	"context"

	"doorcode/pkg/postgres"
	"doorcode/services/auth/internal/ticket"
)

// Undoable returns the change that a link leads to, as long as it can be undone: for 72 hours, once, and while the login
// has what the change made, or what further changes made of that (Followed); they would be undone with it. It is refused with
// change_over or unknown_change. Looking changes nothing.
func (f *Front) Undoable(ctx context.Context, l ticket.Link) (FactorChange, error) {
	if !f.clock().Before(l.Until) {
		return FactorChange{}, changeOver()
	}
	row, followed, err := f.directory.UndoableFactor(ctx, l.Workspace, l.ID)
	if err != nil {
		return FactorChange{}, f.translateFactor(ctx, err)
	}
	shown := showFactor(row)
	shown.Followed = followed
	return shown, nil
}

// Undo gives the login back what the change of a link replaced, and ends what is open; further changes are undone with it, and
// their links with them. It is refused as Undoable is.
func (f *Front) Undo(ctx context.Context, l ticket.Link) (FactorChange, error) {
	if !f.clock().Before(l.Until) {
		return FactorChange{}, changeOver()
	}
	row, err := f.directory.RevertFactor(ctx, postgres.Change{By: postgres.Auth}, l.Workspace, l.ID)
	if err != nil {
		return FactorChange{}, f.translateFactor(ctx, err)
	}
	f.log.InfoContext(ctx, "change of a factor undone", "change", row.ID, "kind", string(row.Kind), "workspace", row.Workspace, "login", row.Login)
	return showFactor(row), nil
}
