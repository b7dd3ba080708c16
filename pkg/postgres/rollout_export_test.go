package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/rollout"
)

// AgeWave moves the dates of a wave back, with what was told and promised of them, and makes the MACs again, as if all of it
// had been put then.
func (d *Directory) AgeWave(ctx context.Context, id string, by time.Duration) error {
	return d.changeRollout(ctx, RolloutOrder{Operator: "test"}, func(ctx context.Context, t *rolloutTx) error {
		w, err := t.lockWave(ctx, id)
		if err != nil {
			return err
		}
		before := w
		w.AnnounceAt, w.GraceAt, w.EnforceAt = w.AnnounceAt.Add(-by), w.GraceAt.Add(-by), w.EnforceAt.Add(-by)
		err = t.rewriteWave(ctx, "test", before, w)
		if err != nil {
			return err
		}
		_, err = t.tx.Exec(ctx, `UPDATE rollout_notices SET date = date - $2::interval, due_at = due_at - $2::interval WHERE wave = $1`, id, by)
		if err != nil {
			return err
		}
		return t.agePostponements(ctx, id, by)
	})
}

func (t *rolloutTx) agePostponements(ctx context.Context, wave string, by time.Duration) error {
	rows, err := t.tx.Query(ctx, `SELECT workspace, grace_at, enforce_at, login, at FROM rollout_postponements WHERE wave = $1`, wave)
	if err != nil {
		return err
	}
	all := map[string]rollout.Postponement{}
	var workspace string
	var q rollout.Postponement
	_, err = pgx.ForEachRow(rows, []any{&workspace, &q.GraceAt, &q.EnforceAt, &q.Login, &q.At}, func() error {
		all[workspace] = rollout.Postponement{Wave: wave, GraceAt: q.GraceAt.Add(-by), EnforceAt: q.EnforceAt.Add(-by), Login: q.Login, At: q.At.Add(-by)}
		return nil
	})
	if err != nil {
		return err
	}
	for workspace, q := range all {
		s := sealRow(t.rows, TablePostponements, postponementPairs(workspace, q))
		_, err = t.tx.Exec(ctx, `
			UPDATE rollout_postponements SET grace_at = $2, enforce_at = $3, at = $4, mac_key = $5, mac = $6 WHERE workspace = $1`,
			workspace, q.GraceAt, q.EnforceAt, q.At, s.key, s.mac)
		if err != nil {
			return err
		}
	}
	return nil
}
