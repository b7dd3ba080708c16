package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/keyring"
	"doorcode/pkg/rollout"
)

// ErrNotExempt says that there is no exemption to end.
var ErrNotExempt = errors.New("there is no exemption")

// Exempt lets a workspace, or one of its logins when that is not empty, be without codes for a time from now on, by the
// database's clock, and returns the exemption as it stands. One that was there is replaced, whatever its MAC. Names are
// taken without the blanks around them. It fails with rollout.ErrExemption, ErrNoWorkspace or ErrNoLogin.
func (d *Directory) Exempt(ctx context.Context, o RolloutOrder, workspace, login string, e rollout.Exemption, lasts time.Duration) (rollout.Exemption, error) {
	e.RequestedBy, e.ApprovedBy = strings.TrimSpace(e.RequestedBy), strings.TrimSpace(e.ApprovedBy)
	err := d.changeRollout(ctx, o, func(ctx context.Context, t *rolloutTx) error {
		err := t.keepLogin(ctx, workspace, login)
		if err != nil {
			return err
		}
		before, err := t.lockExemption(ctx, workspace, login)
		if err != nil {
			return err
		}
		e.Since, e.Until = t.at, micros(t.at.Add(lasts))
		err = e.Validate(login != "")
		if err != nil {
			return err
		}
		err = t.writeExemption(ctx, workspace, login, e)
		if err != nil {
			return err
		}
		detail := exemptionDetail(e)
		if before != nil {
			detail["before"] = exemptionDetail(*before)
		}
		return t.record(ctx, Exempted, workspace, login, detail)
	})
	if err != nil {
		return rollout.Exemption{}, fmt.Errorf("exempt: %w", err)
	}
	return e, nil
}

// EndExemption takes an exemption of a workspace, or of one of its logins, away, at once. Its MAC does not matter: what
// follows asks for more codes and never for less. It fails with ErrNotExempt.
func (d *Directory) EndExemption(ctx context.Context, o RolloutOrder, workspace, login string) error {
	err := d.changeRollout(ctx, o, func(ctx context.Context, t *rolloutTx) error {
		before, err := t.lockExemption(ctx, workspace, login)
		if err != nil {
			return err
		}
		gone, err := t.tx.Exec(ctx, `DELETE FROM rollout_exemptions WHERE workspace = $1 AND login = $2`, workspace, login)
		if err != nil {
			return err
		}
		if gone.RowsAffected() == 0 {
			return ErrNotExempt
		}
		detail := map[string]any{}
		if before != nil {
			detail["before"] = exemptionDetail(*before)
		}
		return t.record(ctx, ExemptionEnded, workspace, login, detail)
	})
	if err != nil {
		return fmt.Errorf("end the exemption: %w", err)
	}
	return nil
}

// keepLogin keeps a workspace, and one of its logins unless that is empty, from being removed. It fails with
// ErrNoWorkspace or ErrNoLogin.
func (t *rolloutTx) keepLogin(ctx context.Context, workspace, login string) error {
	there, err := t.each(ctx, []string{workspace}, lockWorkspacesSQL)
	switch {
	case err != nil:
		return err
	case len(there) == 0:
		return ErrNoWorkspace
	case login == "":
		return nil
	}
	tag, err := t.tx.Exec(ctx, `SELECT FROM logins WHERE workspace = $1 AND id = $2 FOR KEY SHARE`, workspace, login)
	if err == nil && tag.RowsAffected() == 0 {
		err = ErrNoLogin
	}
	return err
}

// exemptionColumns are what scanExemption reads.
const exemptionColumns = `workspace, login, reason, requested_by, approved_by, since, until, mac_key, mac`

// exemptionRow is an exemption with whom it is of; intact tells whether its MAC fits.
type exemptionRow struct {
	workspace, login string
	exemption        rollout.Exemption
	intact           bool
}

// scanExemption reads a row of exemptionColumns.
func scanExemption(ring *keyring.Ring, row pgx.CollectableRow) (exemptionRow, error) {
	var r exemptionRow
	var s rowSeal
	e := &r.exemption
	err := row.Scan(&r.workspace, &r.login, &e.Reason, &e.RequestedBy, &e.ApprovedBy, &e.Since, &e.Until, &s.key, &s.mac)
	r.intact = s.fits(ring, TableExemptions, exemptionPairs(r.workspace, r.login, *e))
	return r, err
}

// lockExemption returns the exemption that is there, or nil for none and for one that nobody of us wrote. The time of the
// change is the one after the lock.
func (t *rolloutTx) lockExemption(ctx context.Context, workspace, login string) (*rollout.Exemption, error) {
	rows, err := t.tx.Query(ctx, `SELECT `+exemptionColumns+` FROM rollout_exemptions WHERE workspace = $1 AND login = $2 FOR UPDATE`, workspace, login)
	if err != nil {
		return nil, err
	}
	r, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (exemptionRow, error) { return scanExemption(t.rows, row) })
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	err = t.readClock(ctx)
	if err != nil || !r.intact {
		return nil, err
	}
	return &r.exemption, nil
}

// writeExemption stores an exemption with a fresh MAC. Of two at once the later one stays.
func (t *rolloutTx) writeExemption(ctx context.Context, workspace, login string, e rollout.Exemption) error {
	s := sealRow(t.rows, TableExemptions, exemptionPairs(workspace, login, e))
	_, err := t.tx.Exec(ctx, `
		INSERT INTO rollout_exemptions (`+exemptionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (workspace, login) DO UPDATE
		   SET reason = $3, requested_by = $4, approved_by = $5, since = $6, until = $7, mac_key = $8, mac = $9`,
		workspace, login, string(e.Reason), e.RequestedBy, e.ApprovedBy, e.Since, e.Until, s.key, s.mac)
	return err
}

// exemptionDetail is what a record tells of an exemption.
func exemptionDetail(e rollout.Exemption) map[string]any {
	return map[string]any{
		"exempt_for": string(e.Reason), "requested_by": e.RequestedBy, "approved_by": e.ApprovedBy, "since": e.Since, "until": e.Until,
	}
}
