package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/rollout"
)

// AgeWave moves the dates of a wave back and makes its MAC again, as if it had been put then.
func (d *Directory) AgeWave(ctx context.Context, id string, by time.Duration) error {
	return d.changeRollout(ctx, RolloutOrder{Operator: "test"}, func(ctx context.Context, t *rolloutTx) error {
		w, err := t.lockWave(ctx, id)
		if err != nil {
			return err
		}
		before := w
		w.AnnounceAt, w.GraceAt, w.EnforceAt = w.AnnounceAt.Add(-by), w.GraceAt.Add(-by), w.EnforceAt.Add(-by)
		return t.rewriteWave(ctx, "test", before, w)
	})
}

// HoldWave keeps the row of a wave until the end of fn.
func (d *Directory) HoldWave(ctx context.Context, id string, fn func(rollout.Wave)) error {
	return d.db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		w, _, err := scanWave(d.rows, tx.QueryRow(ctx, `SELECT `+waveColumns+` FROM rollout_waves WHERE id = $1 FOR UPDATE`, id))
		if err == nil {
			fn(w)
		}
		return err
	})
}
