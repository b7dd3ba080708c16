package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/health"
	"doorcode/pkg/rollout"
)

// SeenRollout is how far the roll-out is, as the rows say. Whoever sees it so has no key to check them with: a workspace of
// whose rows one was not written by us is enforced, and is counted here by what the row pretends. Directory.Rollout checks.
type SeenRollout struct {
	At time.Time
	// Stages counts the workspaces in each stage. The sum is Workspaces.
	Stages     map[rollout.Stage]int
	Workspaces int
	Waves      []SeenWave // in the order of their announcements
	// Gates are what the gates showed at GatesAt, in the order of rollout.Gates; one that was never judged is not there.
	Gates   []rollout.Verdict
	GatesAt time.Time
	// Ending are the exemptions that end within the time that was asked for, the first first, at most maxEnding of them.
	Ending []SeenExemption
}

// SeenWave is a wave with what is in it.
type SeenWave struct {
	Wave       rollout.Wave
	Workspaces int
	// Verified is the share of the sign-ins of its workspaces that ended within 24 hours with a right code, of those that
	// needed one.
	Verified health.Share
}

// SeenExemption is that of a workspace, or of one login of it.
type SeenExemption struct {
	Workspace, Login string // Login is empty for all of the workspace
	Exemption        rollout.Exemption
}

// maxEnding bounds how many exemptions are shown.
const maxEnding = 100

// seenWavesSQL counts sign-ins by the index on their ends.
const seenWavesSQL = `
WITH s AS (
    SELECT p.wave, count(*) FILTER (WHERE s.outcome = 'approved') AS verified, count(*) AS needed
      FROM sign_ins s JOIN rollout_places p ON p.workspace = s.workspace
     WHERE s.ended_at > now() - interval '24 hours' AND s.outcome <> 'waived'
     GROUP BY p.wave
)
SELECT v.id, v.announce_at, v.grace_at, v.enforce_at, v.skips, v.paused_at, v.reason, h.held_at, coalesce(h.reason, ''),
       (SELECT count(*) FROM rollout_places p WHERE p.wave = v.id), coalesce(s.verified, 0), coalesce(s.needed, 0)
  FROM rollout_waves v LEFT JOIN s ON s.wave = v.id LEFT JOIN rollout_holds h ON h.wave = v.id AND h.cleared_at IS NULL
 ORDER BY v.announce_at, v.id`

// seenEndingSQL: $1 how soon, $2 limit.
const seenEndingSQL = `
SELECT workspace, login, reason, requested_by, approved_by, since, until
  FROM rollout_exemptions WHERE until > now() AND until <= now() + $1::interval
 ORDER BY until, workspace, login LIMIT $2`

// SeeRollout returns how far the roll-out is, with the exemptions that end soon. It reads in one snapshot and may take
// seconds with many workspaces: its answer is worth keeping for a minute.
func (db *DB) SeeRollout(ctx context.Context, soon time.Duration) (SeenRollout, error) {
	r := SeenRollout{Stages: map[rollout.Stage]int{}}
	err := db.inTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT clock_timestamp() FROM set_config('statement_timeout', $1, true)`, countTimeout).Scan(&r.At)
		if err != nil {
			return err
		}
		err = r.readWaves(ctx, tx)
		if err != nil {
			return err
		}
		r.Gates, r.GatesAt, err = gateVerdicts(ctx, tx)
		if err != nil {
			return err
		}
		err = r.countStages(ctx, tx)
		if err != nil {
			return err
		}
		return r.readEnding(ctx, tx, soon)
	})
	if err != nil {
		return SeenRollout{}, fmt.Errorf("see the roll-out: %w", err)
	}
	return r, nil
}

func (r *SeenRollout) readWaves(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, seenWavesSQL)
	if err != nil {
		return err
	}
	r.Waves, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (SeenWave, error) {
		var s SeenWave
		var paused, held *time.Time
		w := &s.Wave
		err := row.Scan(&w.ID, &w.AnnounceAt, &w.GraceAt, &w.EnforceAt, &w.Skips, &paused, &w.Reason, &held, &w.HeldFor,
			&s.Workspaces, &s.Verified.Part, &s.Verified.Of)
		w.PausedAt, w.HeldAt = orZero(paused), orZero(held)
		return s, err
	})
	return err
}

// countStages counts workspaces by stage, page by page.
func (r *SeenRollout) countStages(ctx context.Context, tx pgx.Tx) error {
	for last, page := "", chunk; page == chunk; {
		rows, err := tx.Query(ctx, placesSQL, last, chunk)
		if err != nil {
			return err
		}
		var row placeRow
		page = 0
		_, err = pgx.ForEachRow(rows, append([]any{&last}, row.fields()...), func() error {
			page++
			place := row.pretended()
			r.Stages[place.StageAt(r.At)]++
			return nil
		})
		if err != nil {
			return err
		}
		r.Workspaces += page
	}
	return nil
}

// pretended is the place that a row says a workspace has, whoever wrote it. It is good for counting and decides nothing.
func (r *placeRow) pretended() rollout.Place {
	var p rollout.Place
	if r.wave != nil {
		w := r.w
		w.ID, w.PausedAt, w.HeldAt = *r.wave, orZero(r.paused), orZero(r.held)
		p.Wave, p.JoinedAt = &w, r.joined
	}
	if r.reason != nil {
		e := r.exemption
		e.Reason = rollout.Reason(*r.reason)
		p.Exemption = &e
	}
	return p
}

func (r *SeenRollout) readEnding(ctx context.Context, tx pgx.Tx, soon time.Duration) error {
	rows, err := tx.Query(ctx, seenEndingSQL, soon, maxEnding)
	if err != nil {
		return err
	}
	r.Ending, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (SeenExemption, error) {
		var s SeenExemption
		e := &s.Exemption
		err := row.Scan(&s.Workspace, &s.Login, &e.Reason, &e.RequestedBy, &e.ApprovedBy, &e.Since, &e.Until)
		return s, err
	})
	return err
}
