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

// ErrNotAsked says that nobody has asked for the step back that is to be approved.
var ErrNotAsked = errors.New("nobody has asked for a step back of the wave")

// stepBackPairs covers what the first person has asked for.
func stepBackPairs(wave string, s rollout.StepBack) pairs {
	return pairs{}.with("wave", wave).with("requested_at", moment(s.RequestedAt)).with("requested_by", s.RequestedBy).
		with("requested_as", s.RequestedAs).with("grace_until", moment(s.Until)).with("skips", fmt.Sprint(s.Skips)).with("reason", s.Reason)
}

// AskStepBack puts on record that the operator of the order wants an enforced wave to go back to grace until a time, with so many
// skips if it has fewer; nothing changes until another person approves it. A later request takes the place of a former one. It
// fails with ErrNoWave, rollout.ErrNoReason, with what rollout.Wave's StepBack fails with, or with an *IntegrityError.
func (d *Directory) AskStepBack(ctx context.Context, o RolloutOrder, wave string, until time.Time, skips int) (rollout.StepBack, error) {
	s := rollout.StepBack{RequestedBy: strings.TrimSpace(o.Operator), Until: micros(until), Skips: skips, Reason: o.Reason}
	err := d.changeRollout(ctx, o, func(ctx context.Context, t *rolloutTx) error {
		w, err := t.lockWave(ctx, wave)
		if err != nil {
			return err
		}
		if strings.TrimSpace(o.Reason) == "" {
			return rollout.ErrNoReason
		}
		_, err = w.StepBack(t.at, s)
		if err != nil {
			return err
		}
		s.RequestedAt = t.at
		s.RequestedAs, err = t.login(ctx)
		if err != nil {
			return err
		}
		seal := sealRow(t.rows, TableStepBacks, stepBackPairs(wave, s))
		_, err = t.tx.Exec(ctx, `
			INSERT INTO rollout_step_backs (wave, requested_at, requested_by, requested_as, grace_until, skips, reason, mac_key, mac)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			wave, s.RequestedAt, s.RequestedBy, s.RequestedAs, s.Until, s.Skips, s.Reason, seal.key, seal.mac)
		if err != nil {
			return err
		}
		return t.record(ctx, StepBackAsked, "", "", map[string]any{"wave": wave, "grace_until": s.Until, "skips": s.Skips, "requested_as": s.RequestedAs})
	})
	if err != nil {
		return rollout.StepBack{}, fmt.Errorf("ask for a step back: %w", err)
	}
	return s, nil
}

// ApproveStepBack has a wave go back to grace as the last request wants it, in the name of a second person: the operator of the
// order. What it proves is that two commands were given in two names, and as which logins to the database. It fails with
// ErrNoWave, ErrNotAsked, with what rollout.StepBack's Approve and rollout.Wave's StepBack fail with, or with an
// *IntegrityError when wave or request are not as they were written.
func (d *Directory) ApproveStepBack(ctx context.Context, o RolloutOrder, wave string) (WaveChange, rollout.StepBack, error) {
	var c WaveChange
	var s rollout.StepBack
	o.Operator = strings.TrimSpace(o.Operator)
	err := d.changeRollout(ctx, o, func(ctx context.Context, t *rolloutTx) error {
		before, err := t.lockWave(ctx, wave)
		if err != nil {
			return err
		}
		s, err = t.lastRequest(ctx, wave)
		if err != nil {
			return err
		}
		as, err := t.login(ctx)
		if err != nil {
			return err
		}
		s, err = s.Approve(t.order.Operator, as, t.at)
		if err != nil {
			return err
		}
		to, err := before.StepBack(t.at, s)
		if err != nil {
			return err
		}
		c = WaveChange{Wave: to, Before: before, At: t.at}
		return t.stepBack(ctx, c, s)
	})
	if err != nil {
		return WaveChange{}, rollout.StepBack{}, fmt.Errorf("approve the step back: %w", err)
	}
	return c, s, nil
}

// stepBack stores a wave that goes back to grace, and who wanted it.
func (t *rolloutTx) stepBack(ctx context.Context, c WaveChange, s rollout.StepBack) error {
	err := t.storeWave(ctx, c.Before, c.Wave)
	if err != nil {
		return err
	}
	_, err = t.tx.Exec(ctx, `UPDATE rollout_step_backs SET approved_at = $3, approved_by = $4, approved_as = $5 WHERE wave = $1 AND requested_at = $2`,
		c.Wave.ID, s.RequestedAt, s.ApprovedAt, s.ApprovedBy, s.ApprovedAs)
	if err != nil {
		return err
	}
	detail := waveDetail(c.Wave)
	detail["before"] = waveDetail(c.Before)
	detail["requested_by"], detail["requested_as"], detail["requested_at"] = s.RequestedBy, s.RequestedAs, s.RequestedAt
	detail["approved_by"], detail["approved_as"] = s.ApprovedBy, s.ApprovedAs
	t.order.Reason = s.Reason
	return t.record(ctx, WaveSteppedBack, "", "", detail)
}

// login is the one to the database that the command has, whatever role it acts in.
func (t *rolloutTx) login(ctx context.Context) (string, error) {
	var name string
	err := t.tx.QueryRow(ctx, `SELECT session_user`).Scan(&name)
	return name, err
}

// stepBackColumns are what scanStepBack reads.
const stepBackColumns = `wave, requested_at, requested_by, requested_as, grace_until, skips, reason, mac_key, mac,
       approved_at, coalesce(approved_by, ''), coalesce(approved_as, '')`

// scanStepBack reads a row of stepBackColumns; intact tells whether its MAC fits.
func scanStepBack(ring *keyring.Ring, row pgx.Row) (wave string, s rollout.StepBack, intact bool, err error) {
	var seal rowSeal
	var approved *time.Time
	err = row.Scan(&wave, &s.RequestedAt, &s.RequestedBy, &s.RequestedAs, &s.Until, &s.Skips, &s.Reason, &seal.key, &seal.mac,
		&approved, &s.ApprovedBy, &s.ApprovedAs)
	s.ApprovedAt = orZero(approved)
	return wave, s, seal.fits(ring, TableStepBacks, stepBackPairs(wave, s)), err
}

// lastRequest returns the last request for a wave, which nobody has approved. It fails with ErrNotAsked or an *IntegrityError.
func (t *rolloutTx) lastRequest(ctx context.Context, wave string) (rollout.StepBack, error) {
	_, s, intact, err := scanStepBack(t.rows, t.tx.QueryRow(ctx, `
		SELECT `+stepBackColumns+` FROM rollout_step_backs WHERE wave = $1 ORDER BY requested_at DESC LIMIT 1`, wave))
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return s, ErrNotAsked
	case err != nil:
		return s, err
	case !intact:
		return s, &IntegrityError{Table: TableStepBacks}
	case !s.ApprovedAt.IsZero():
		return s, ErrNotAsked
	}
	return s, nil
}

// readStepBacks fills in the last step back of each wave, as far as it is to be shown and as it was written.
func (d *Directory) readStepBacks(ctx context.Context, tx pgx.Tx, r *Rollout) error {
	rows, err := tx.Query(ctx, `SELECT DISTINCT ON (wave) `+stepBackColumns+` FROM rollout_step_backs ORDER BY wave, requested_at DESC`)
	if err != nil {
		return err
	}
	last := map[string]rollout.StepBack{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		wave, s, intact, err := scanStepBack(d.rows, row)
		if intact {
			last[wave] = s
		}
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	for i, w := range r.Waves {
		s, found := last[w.Wave.ID]
		if found && !w.Broken && s.Shown(w.Wave, r.At) {
			r.Waves[i].StepBack = &s
		}
	}
	return nil
}
