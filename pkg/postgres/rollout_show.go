package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/rollout"
)

// Rollout is how far the roll-out is, at one moment.
type Rollout struct {
	At time.Time
	// Waves are all of them, in the order of their announcements.
	Waves []WaveStanding
	// Stages counts the workspaces in each stage. The sum is Workspaces.
	Stages map[rollout.Stage]int
	// Workspaces counts all.
	Workspaces int
	// Broken counts the workspaces that are enforced because a row about them is not as it was written.
	Broken int
	// Gates are what the gates showed at GatesAt, in the order of rollout.Gates; there is none that was never judged.
	Gates   []rollout.Verdict
	GatesAt time.Time
}

// WaveStanding is a wave with what is in it.
type WaveStanding struct {
	Wave       rollout.Wave
	Workspaces int
	Broken     bool // the row of the wave is not as it was written: its workspaces are enforced
}

// placesSQL: $1 the last workspace of the page before, $2 limit.
const placesSQL = `
SELECT a.workspace, ` + placeColumns + `
  FROM (SELECT id AS workspace FROM workspaces WHERE id > $1 ORDER BY id LIMIT $2) AS a ` + placeJoins + `
 ORDER BY a.workspace`

// Rollout returns how far the roll-out is. Every row is checked: a workspace of whose rows one is not as it was written
// counts as enforced, as its sign-ins are.
func (d *Directory) Rollout(ctx context.Context) (Rollout, error) {
	r := Rollout{Stages: map[rollout.Stage]int{}}
	err := d.db.inTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&r.At)
		if err != nil {
			return err
		}
		r.Gates, r.GatesAt, err = gateVerdicts(ctx, tx)
		if err != nil {
			return err
		}
		err = d.readWaves(ctx, tx, &r)
		if err != nil {
			return err
		}
		return d.countStages(ctx, tx, &r)
	})
	if err != nil {
		return Rollout{}, fmt.Errorf("read the roll-out: %w", err)
	}
	return r, nil
}

// readWaves fills in the waves.
func (d *Directory) readWaves(ctx context.Context, tx pgx.Tx, r *Rollout) error {
	rows, err := tx.Query(ctx, `SELECT `+readWaveColumns+` FROM rollout_waves ORDER BY announce_at, id`)
	if err != nil {
		return err
	}
	r.Waves, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (WaveStanding, error) {
		w, intact, err := scanWave(d.rows, row)
		return WaveStanding{Wave: w, Broken: !intact}, err
	})
	return err
}

// countStages counts workspaces by stage and by wave, page by page.
func (d *Directory) countStages(ctx context.Context, tx pgx.Tx, r *Rollout) error {
	inWave := map[string]int{}
	for last, page := "", chunk; page == chunk; {
		rows, err := tx.Query(ctx, placesSQL, last, chunk)
		if err != nil {
			return err
		}
		var row placeRow
		page = 0
		_, err = pgx.ForEachRow(rows, append([]any{&last}, row.fields()...), func() error {
			page++
			place, err := row.check(d, last)
			if err != nil {
				r.Broken++
				place = rollout.Place{}
			}
			r.Stages[place.StageAt(r.At)]++
			if row.wave != nil {
				inWave[*row.wave]++
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.Workspaces += page
	}
	for i, w := range r.Waves {
		r.Waves[i].Workspaces = inWave[w.Wave.ID]
	}
	return nil
}

// WorkspaceStage is where a workspace stands.
type WorkspaceStage struct {
	At    time.Time
	Stage rollout.Stage
	Place rollout.Place
	// Broken names the table of which a row is not as it was written; empty for none. The workspace is enforced then.
	Broken string
	// Logins are those with an exemption of their own, in the order of their ids.
	Logins []LoginExemption
}

// LoginExemption is that of one login.
type LoginExemption struct {
	Login     string
	Exemption rollout.Exemption
	Broken    bool // it is not as it was written, and counts for nothing
}

// StageOf returns where a workspace stands. It fails with ErrNoWorkspace.
func (d *Directory) StageOf(ctx context.Context, workspace string) (WorkspaceStage, error) {
	var s WorkspaceStage
	err := d.db.inTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var row placeRow
		err := tx.QueryRow(ctx, `
			SELECT clock_timestamp(), `+placeColumns+` FROM (SELECT id AS workspace FROM workspaces WHERE id = $1) AS a `+placeJoins,
			workspace).Scan(append([]any{&s.At}, row.fields()...)...)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNoWorkspace
		}
		if err != nil {
			return err
		}
		var broken *IntegrityError
		s.Place, err = row.check(d, workspace)
		if errors.As(err, &broken) {
			s.Broken, s.Place, err = broken.Table, rollout.Place{}, nil
		}
		if err != nil {
			return err
		}
		s.Stage = s.Place.StageAt(s.At)
		return d.readLoginExemptions(ctx, tx, workspace, &s)
	})
	if err != nil {
		return WorkspaceStage{}, fmt.Errorf("read where a workspace stands: %w", err)
	}
	return s, nil
}

// readLoginExemptions fills in those of the logins of a workspace.
func (d *Directory) readLoginExemptions(ctx context.Context, tx pgx.Tx, workspace string, s *WorkspaceStage) error {
	rows, err := tx.Query(ctx, `
		SELECT `+exemptionColumns+` FROM rollout_exemptions WHERE workspace = $1 AND login <> '' ORDER BY login`, workspace)
	if err != nil {
		return err
	}
	s.Logins, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (LoginExemption, error) {
		r, err := scanExemption(d.rows, row)
		return LoginExemption{Login: r.login, Exemption: r.exemption, Broken: !r.intact}, err
	})
	return err
}
