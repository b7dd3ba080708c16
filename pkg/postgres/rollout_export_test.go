package postgres

import (
	"context"
	"time"
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
