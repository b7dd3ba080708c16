package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
	"doorcode/pkg/rollout"
)

// postponementPairs covers the whole row.
func postponementPairs(workspace string, q rollout.Postponement) pairs {
	return pairs{}.with("workspace", workspace).with("wave", q.Wave).with("grace_at", moment(q.GraceAt)).
		with("enforce_at", moment(q.EnforceAt)).with("login", q.Login).with("at", moment(q.At))
}

// Postpone moves the date of a workspace by a week, once, for its owner. The notice that tells everybody the new date
// follows from the date itself. It fails with ErrNoWorkspace, ErrNotOwner, rollout.ErrPostponed, rollout.ErrNotPostponing,
// rollout.ErrPaused or an *IntegrityError.
func (d *Directory) Postpone(ctx context.Context, c Change, workspace, login string) (rollout.Place, error) {
	var place rollout.Place
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		_, err := t.ownWorkspace(ctx, workspace, login)
		if err != nil {
			return err
		}
		place, err = d.placeOf(ctx, t.tx, workspace)
		if err != nil {
			return err
		}
		t.at = micros(t.at)
		q, err := place.Postpone(t.at, login)
		if err != nil {
			return err
		}
		s := sealRow(t.rows, TablePostponements, postponementPairs(workspace, q))
		_, err = t.tx.Exec(ctx, `
			INSERT INTO rollout_postponements (workspace, wave, grace_at, enforce_at, login, at, mac_key, mac)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, workspace, q.Wave, q.GraceAt, q.EnforceAt, q.Login, q.At, s.key, s.mac)
		if err != nil {
			return err
		}
		place.Postponement = &q
		return t.write(ctx, event.RolloutPostponed, event.Directory{Workspace: workspace, Login: login})
	})
	if err != nil {
		return rollout.Place{}, fmt.Errorf("postpone: %w", err)
	}
	return place, nil
}

// placeOf reads where a workspace belongs, or fails with an *IntegrityError.
func (d *Directory) placeOf(ctx context.Context, tx pgx.Tx, workspace string) (rollout.Place, error) {
	var r placeRow
	err := tx.QueryRow(ctx, `SELECT `+placeColumns+` FROM (SELECT $1::text AS workspace) AS a `+placeJoins, workspace).Scan(r.fields()...)
	if err != nil {
		return rollout.Place{}, err
	}
	return r.check(d, workspace)
}

// Readiness is how far the people of a workspace are on its way to codes.
type Readiness struct {
	Now   time.Time // the database's
	Of    account.Workspace
	Place rollout.Place
	Stage rollout.Stage
	// People are the first of them, the owner and the administrators first; All counts them.
	People []Ready
	All    int
	Used   int // how many have used a code since the announcement
}

// Ready is one of the people of a workspace.
type Ready struct {
	Login account.Login
	Used  bool // a code, since the announcement
}

// readySQL: $1 workspace, $2 owner, $3 limit.
const readySQL = loginColumns + `, used, count(*) OVER (), count(*) FILTER (WHERE used) OVER ()
  FROM (SELECT l.*, ` + hasUsedSQL + ` AS used
          FROM logins l LEFT JOIN rollout_places p ON p.workspace = l.workspace LEFT JOIN rollout_waves v ON v.id = p.wave
         WHERE l.workspace = $1) AS all_of_them
 ORDER BY id <> $2, role <> 'administrator', id LIMIT $3`

// Readiness reads how far a workspace is, with at most limit of its people. It fails with ErrNoWorkspace or an
// *IntegrityError.
func (d *Directory) Readiness(ctx context.Context, workspace string, limit int) (Readiness, error) {
	var r Readiness
	err := d.reading(ctx, workspace, func(tx pgx.Tx, w account.Workspace, now time.Time) error {
		var err error
		r.Now, r.Of = now, w
		r.Place, err = d.placeOf(ctx, tx, workspace)
		if err != nil {
			return err
		}
		r.Stage = r.Place.StageAt(now)
		rows, err := tx.Query(ctx, readySQL, workspace, w.Owner, limit)
		if err != nil {
			return err
		}
		r.People, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Ready, error) {
			var p Ready
			var s rowSeal
			err := row.Scan(&p.Login.Workspace, &p.Login.ID, &p.Login.Email, &p.Login.Phone, &p.Login.Channel, &p.Login.Role, &p.Login.Locale,
				&s.key, &s.mac, &p.Used, &r.All, &r.Used)
			if err == nil && !s.fits(d.rows, TableLogins, loginPairs(p.Login)) {
				err = &IntegrityError{Table: TableLogins}
			}
			p.Login = withRole(w, p.Login)
			return p, err
		})
		return scrub(err)
	})
	if err != nil {
		return Readiness{}, fmt.Errorf("read how ready a workspace is: %w", err)
	}
	return r, nil
}

// Practised notes that somebody has typed a practice code, and where it had gone: a keyed hash. The same challenge notes it
// once. It fails with ErrNoWorkspace, ErrNoLogin or an *IntegrityError.
func (d *Directory) Practised(ctx context.Context, c Change, workspace, login, challenge string, address []byte) error {
	err := d.change(ctx, c, func(ctx context.Context, t *directoryTx) error {
		_, _, intact, err := t.lockWorkspace(ctx, workspace)
		if err == nil && !intact {
			err = &IntegrityError{Table: TableWorkspaces}
		}
		if err != nil {
			return err
		}
		_, _, intact, err = t.lockLogin(ctx, workspace, login)
		if err == nil && !intact {
			err = &IntegrityError{Table: TableLogins}
		}
		if err != nil {
			return err
		}
		tag, err := t.tx.Exec(ctx, `
			INSERT INTO rollout_practices AS p (workspace, login, challenge, address, at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (workspace, login) DO UPDATE SET challenge = $3, address = $4, at = $5 WHERE p.challenge <> $3`,
			workspace, login, challenge, address, t.at)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return t.write(ctx, event.RolloutPractised, event.Directory{Workspace: workspace, Login: login, About: challenge})
	})
	if err != nil {
		return fmt.Errorf("note a practice code: %w", err)
	}
	return nil
}
