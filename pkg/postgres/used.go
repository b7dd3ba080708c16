package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
)

// UsedCode is a challenge that a right code has ended, with its workspace as that is now, for the notice to those who
// share the mailbox (product.md R10.8).
type UsedCode struct {
	Of      account.Workspace
	Login   string
	Purpose challenge.Purpose
	Label   string
	// SupportReference is that of the challenge, which stood in the mail with the code as well.
	SupportReference string
	// Address is the keyed hash of the recipient of the challenge's first route, as limit.RecipientKey makes it; empty when
	// it is not on record.
	Address []byte
	Agent   string    // browser and system; empty when the front-end did not say
	At      time.Time // UTC, to the microsecond as its event says it
}

// usedCodeSQL: $1 challenge, $2 workspace. The state is judged by the caller: no index about it is to be taken for a look-up
// by id.
const usedCodeSQL = `
SELECT c.login, c.purpose, c.label, c.support_reference, c.address, coalesce(c.agent, ''), c.state, c.ended_at,
       w.id, w.name, w.main_email, coalesce(w.owner, ''), w.group_address, w.mac_key, w.mac
  FROM challenges c JOIN workspaces w ON w.id = c.workspace
 WHERE c.id = $1 AND c.workspace = $2`

// UsedCode reads a challenge of a workspace in one statement. It fails with ErrNoChallenge when no right code has ended one
// of that id there, or the workspace is gone, and with an *IntegrityError when the workspace's row is not as auth wrote it.
func (d *Directory) UsedCode(ctx context.Context, workspace, id string) (UsedCode, error) {
	var u UsedCode
	var w account.Workspace
	var s rowSeal
	var state string
	var ended *time.Time
	err := d.db.pool.QueryRow(ctx, usedCodeSQL, id, workspace).Scan(
		&u.Login, &u.Purpose, &u.Label, &u.SupportReference, &u.Address, &u.Agent, &state, &ended,
		&w.ID, &w.Name, &w.MainEmail, &w.Owner, &w.GroupAddress, &s.key, &s.mac)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return UsedCode{}, fmt.Errorf("read a used code: %w", ErrNoChallenge)
	case err != nil:
		return UsedCode{}, fmt.Errorf("read a used code: %w", scrub(err))
	case challenge.State(state) != challenge.Approved || ended == nil:
		return UsedCode{}, fmt.Errorf("read a used code: %w", ErrNoChallenge)
	case !s.fits(d.rows, TableWorkspaces, workspacePairs(w)):
		return UsedCode{}, fmt.Errorf("read a used code: %w", &IntegrityError{Table: TableWorkspaces})
	}
	u.Of, u.At = w, ended.UTC()
	return u, nil
}
