package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/keyring"
	"doorcode/pkg/rollout"
)

// The kinds of records about the roll-out, which stand in the audit alone.
const (
	WaveMade         = "rollout.v1.wave_made"
	WaveMoved        = "rollout.v1.wave_moved"
	WavePaused       = "rollout.v1.wave_paused"
	WaveResumed      = "rollout.v1.wave_resumed"
	WorkspacesJoined = "rollout.v1.workspaces_joined" // how many joined a wave at once, and the sum of their ids
	WorkspacesLeft   = "rollout.v1.workspaces_left"
	WorkspaceJoined  = "rollout.v1.joined" // one of them
	WorkspaceLeft    = "rollout.v1.left"
	Exempted         = "rollout.v1.exempted"
	ExemptionEnded   = "rollout.v1.exemption_ended"
)

// Refusals of a change of the roll-out; those of pkg/rollout, ErrNoWorkspace and ErrNoLogin are further ones.
var (
	// ErrNoOperator says that an order does not name who gave it.
	ErrNoOperator = errors.New("the operator is not named")
	// ErrNoWave says that there is no wave of that id.
	ErrNoWave = errors.New("unknown wave")
	// ErrOverrule says that a wave which a gate holds does not go on without a word.
	ErrOverrule = errors.New("a gate holds the wave: to have it go on needs a reason")
)

// RolloutOrder says who changes the roll-out, and why, as the audit keeps it for good. It holds no address.
type RolloutOrder struct {
	Operator string // a name, which must not be empty
	Reason   string // may be empty
}

// WaveChange is what became of a wave.
type WaveChange struct {
	Wave, Before rollout.Wave // as it is, and as it was; the zero one when it was made
	At           time.Time    // the database's, after the wave was locked
	Made         bool         // there was none of that id
}

// PutWave makes a wave or moves the one that is there: wish gets the one that is there, or one that has an id alone, and
// returns how it shall be, of which dates and skips count. Of two puts at once the second gets what the first has put. A
// put that changes nothing leaves no record. It fails with what rollout.Wave's Make and Move fail with, with an
// *IntegrityError when the row is not as it was written, and with what wish fails with. It is for the owner's role, as all
// of these are: no service may write a wave.
func (d *Directory) PutWave(ctx context.Context, o RolloutOrder, id string, wish func(rollout.Wave) (rollout.Wave, error)) (WaveChange, error) {
	var c WaveChange
	err := d.changeRollout(ctx, o, func(ctx context.Context, t *rolloutTx) error {
		before, err := t.lockWave(ctx, id)
		if errors.Is(err, ErrNoWave) {
			c, err = t.makeWave(ctx, id, wish)
			if err != nil || c.Made {
				return err
			}
			before, err = t.lockWave(ctx, id) // Another operator has just made it; no wave is ever removed.
		}
		if err != nil {
			return err
		}
		to, err := wish(before)
		if err != nil {
			return err
		}
		to, err = before.Move(inMicros(to), t.at)
		if err != nil {
			return err
		}
		c = WaveChange{Wave: to, Before: before, At: t.at}
		if to == before {
			return nil
		}
		return t.rewriteWave(ctx, WaveMoved, before, to)
	})
	if err != nil {
		return WaveChange{}, fmt.Errorf("put the wave: %w", err)
	}
	return c, nil
}

// PauseWave has a wave stand still for the reason of the order, until it is resumed. It fails with ErrNoWave,
// rollout.ErrPaused, rollout.ErrEnforced or an *IntegrityError.
func (d *Directory) PauseWave(ctx context.Context, o RolloutOrder, id string) (WaveChange, error) {
	c, err := d.turnWave(ctx, o, id, WavePaused, func(w rollout.Wave, now time.Time) (rollout.Wave, error) {
		return w.Pause(now, o.Reason)
	})
	if err != nil {
		return c, fmt.Errorf("pause the wave: %w", err)
	}
	return c, nil
}

// ResumeWave lets a wave go on; what was to come comes later by as long as it stood. A gate that held it is overruled by that
// for a day, which needs a reason. It fails with ErrNoWave, rollout.ErrRunning, ErrOverrule or an *IntegrityError.
func (d *Directory) ResumeWave(ctx context.Context, o RolloutOrder, id string) (WaveChange, error) {
	c, err := d.turnWave(ctx, o, id, WaveResumed, func(w rollout.Wave, now time.Time) (rollout.Wave, error) {
		if !w.HeldAt.IsZero() && o.Reason == "" {
			return rollout.Wave{}, ErrOverrule
		}
		return w.Resume(now)
	})
	if err != nil {
		return c, fmt.Errorf("resume the wave: %w", err)
	}
	return c, nil
}

// turnWave changes a wave that is there.
func (d *Directory) turnWave(ctx context.Context, o RolloutOrder, id, kind string, turn func(rollout.Wave, time.Time) (rollout.Wave, error)) (WaveChange, error) {
	var c WaveChange
	err := d.changeRollout(ctx, o, func(ctx context.Context, t *rolloutTx) error {
		before, err := t.lockWave(ctx, id)
		if err != nil {
			return err
		}
		to, err := turn(before, t.at)
		if err != nil {
			return err
		}
		c = WaveChange{Wave: to, Before: before, At: t.at}
		return t.rewriteWave(ctx, kind, before, to)
	})
	if err != nil {
		return WaveChange{}, err
	}
	return c, nil
}

// rolloutTx is one change of the roll-out on its way. It locks in the order wave, workspaces, logins, places, so that the
// removal of a workspace, which locks the workspace first, cannot wait for it in a circle.
type rolloutTx struct {
	tx    pgx.Tx
	rows  *keyring.Ring
	order RolloutOrder
	at    time.Time // of all its rows and records
}

// changeRollout runs fn in one transaction.
func (d *Directory) changeRollout(ctx context.Context, o RolloutOrder, fn func(context.Context, *rolloutTx) error) error {
	if strings.TrimSpace(o.Operator) == "" {
		return ErrNoOperator
	}
	return d.db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		return fn(ctx, &rolloutTx{tx: tx, rows: d.rows, order: o})
	})
}

// waveColumns are those of a wave itself.
const waveColumns = `id, announce_at, grace_at, enforce_at, skips, paused_at, reason, mac_key, mac`

// readWaveColumns are what scanWave reads: waveColumns, and the hold of the gates.
const readWaveColumns = waveColumns + `,
       (SELECT held_at FROM rollout_holds WHERE wave = id AND cleared_at IS NULL),
       coalesce((SELECT reason FROM rollout_holds WHERE wave = id AND cleared_at IS NULL), '')`

// scanWave reads a row of readWaveColumns; intact tells whether its MAC fits.
func scanWave(ring *keyring.Ring, row pgx.Row) (w rollout.Wave, intact bool, err error) {
	var s rowSeal
	var paused, held *time.Time
	err = row.Scan(&w.ID, &w.AnnounceAt, &w.GraceAt, &w.EnforceAt, &w.Skips, &paused, &w.Reason, &s.key, &s.mac, &held, &w.HeldFor)
	w.PausedAt, w.HeldAt = orZero(paused), orZero(held)
	return w, s.fits(ring, TableWaves, wavePairs(w)), err
}

// lockWave reads a wave and keeps it. The time of the change is the one after the lock. It fails with ErrNoWave or an
// *IntegrityError.
func (t *rolloutTx) lockWave(ctx context.Context, id string) (rollout.Wave, error) {
	_, err := t.tx.Exec(ctx, `SELECT FROM rollout_waves WHERE id = $1 FOR UPDATE`, id)
	if err != nil {
		return rollout.Wave{}, err
	}
	// In a statement of its own, which sees a hold that was committed before the lock.
	w, intact, err := scanWave(t.rows, t.tx.QueryRow(ctx, `SELECT `+readWaveColumns+` FROM rollout_waves WHERE id = $1`, id))
	missing := errors.Is(err, pgx.ErrNoRows)
	if err != nil && !missing {
		return w, err
	}
	err = t.readClock(ctx)
	switch {
	case err != nil:
		return w, err
	case missing:
		return w, ErrNoWave
	case !intact:
		return w, &IntegrityError{Table: TableWaves}
	}
	return w, nil
}

// readClock sets the time of the change: the database's, after the lock, not that of the transaction's begin.
func (t *rolloutTx) readClock(ctx context.Context) error {
	return t.tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&t.at)
}

// makeWave makes a wave unless another operator has just done so: then it is not made, and that is no error.
func (t *rolloutTx) makeWave(ctx context.Context, id string, wish func(rollout.Wave) (rollout.Wave, error)) (WaveChange, error) {
	w, err := wish(rollout.Wave{ID: id})
	if err != nil {
		return WaveChange{}, err
	}
	w.ID = id
	w, err = inMicros(w).Make(t.at)
	if err != nil {
		return WaveChange{}, err
	}
	s := sealRow(t.rows, TableWaves, wavePairs(w))
	tag, err := t.tx.Exec(ctx, `INSERT INTO rollout_waves (`+waveColumns+`) VALUES ($1, $2, $3, $4, $5, NULL, '', $6, $7) ON CONFLICT (id) DO NOTHING`,
		w.ID, w.AnnounceAt, w.GraceAt, w.EnforceAt, w.Skips, s.key, s.mac)
	if err != nil || tag.RowsAffected() == 0 {
		return WaveChange{}, err
	}
	return WaveChange{Wave: w, At: t.at, Made: true}, t.record(ctx, WaveMade, "", "", waveDetail(w))
}

// rewriteWave stores a wave that was locked with a fresh MAC, and puts both on record.
func (t *rolloutTx) rewriteWave(ctx context.Context, kind string, before, w rollout.Wave) error {
	s := sealRow(t.rows, TableWaves, wavePairs(w))
	_, err := t.tx.Exec(ctx, `
		UPDATE rollout_waves SET announce_at = $2, grace_at = $3, enforce_at = $4, skips = $5, paused_at = $6, reason = $7, mac_key = $8, mac = $9
		 WHERE id = $1`,
		w.ID, w.AnnounceAt, w.GraceAt, w.EnforceAt, w.Skips, orNone(w.PausedAt), w.Reason, s.key, s.mac)
	if err == nil && !before.HeldAt.IsZero() && w.HeldAt.IsZero() {
		_, err = t.tx.Exec(ctx, `UPDATE rollout_holds SET cleared_at = $2 WHERE wave = $1 AND cleared_at IS NULL`, w.ID, t.at)
	}
	if err != nil {
		return err
	}
	detail := waveDetail(w)
	detail["before"] = waveDetail(before)
	return t.record(ctx, kind, "", "", detail)
}

// waveDetail is what a record tells of a wave.
func waveDetail(w rollout.Wave) map[string]any {
	detail := map[string]any{
		"wave": w.ID, "announce_at": w.AnnounceAt, "grace_at": w.GraceAt, "enforce_at": w.EnforceAt, "skips": w.Skips,
	}
	if !w.PausedAt.IsZero() {
		detail["paused_at"] = w.PausedAt
	}
	if !w.HeldAt.IsZero() {
		detail["held_at"], detail["held_for"] = w.HeldAt, w.HeldFor
	}
	return detail
}

// inMicros is a wave with its dates as Postgres keeps them.
func inMicros(w rollout.Wave) rollout.Wave {
	for _, date := range []*time.Time{&w.AnnounceAt, &w.GraceAt, &w.EnforceAt} {
		if !date.IsZero() {
			*date = micros(*date)
		}
	}
	return w
}

// record writes an audit row of a change, with its operator and reason.
func (t *rolloutTx) record(ctx context.Context, kind, workspace, login string, detail map[string]any) error {
	data, err := t.detail(detail)
	if err != nil {
		return err
	}
	_, err = t.tx.Exec(ctx, `
		INSERT INTO audit (id, at, kind, workspace, login, actor, detail) VALUES ('rollout.' || gen_random_uuid(), $1, $2, $3, $4, $5, $6)`,
		t.at, kind, orNull(workspace), orNull(login), Operator, data)
	return err
}

// recordEach writes an audit row for each of several workspaces.
func (t *rolloutTx) recordEach(ctx context.Context, kind string, workspaces []string, detail map[string]any) error {
	data, err := t.detail(detail)
	if err != nil {
		return err
	}
	_, err = t.tx.Exec(ctx, `
		INSERT INTO audit (id, at, kind, workspace, actor, detail)
		SELECT 'rollout.' || gen_random_uuid(), $1, $2, id, $3, $4 FROM unnest($5::text[]) AS id`, t.at, kind, Operator, data, workspaces)
	return err
}

// detail writes the detail of a record, to which the operator and the reason belong.
func (t *rolloutTx) detail(detail map[string]any) ([]byte, error) {
	detail["operator"] = t.order.Operator
	if t.order.Reason != "" {
		detail["reason"] = t.order.Reason
	}
	return json.Marshal(detail)
}
