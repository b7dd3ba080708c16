package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/rollout"
)

// maxMemberships bounds how many workspaces of one person a decision looks at. Who has more needs a code.
const maxMemberships = 50

// wavePairs covers the whole row.
func wavePairs(w rollout.Wave) pairs {
	return pairs{}.with("id", w.ID).with("announce_at", moment(w.AnnounceAt)).with("grace_at", moment(w.GraceAt)).
		with("enforce_at", moment(w.EnforceAt)).with("skips", fmt.Sprint(w.Skips)).with("paused_at", moment(w.PausedAt)).
		with("reason", w.Reason)
}

// placePairs covers the whole row.
func placePairs(workspace, wave string, joined time.Time) pairs {
	return pairs{}.with("workspace", workspace).with("wave", wave).with("joined_at", moment(joined))
}

// exemptionPairs covers the whole row.
func exemptionPairs(workspace, login string, e rollout.Exemption) pairs {
	return pairs{}.with("workspace", workspace).with("login", login).with("reason", string(e.Reason)).
		with("requested_by", e.RequestedBy).with("approved_by", e.ApprovedBy).
		with("since", moment(e.Since)).with("until", moment(e.Until))
}

// moment writes a time as a MAC covers it: as Postgres keeps it; nothing for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return micros(t).Format(time.RFC3339Nano)
}

// membershipsSQL: $1 workspace, $2 login, $3 limit. The first row is that of the login itself; the others are of logins of
// other workspaces whose codes go to the same address.
const membershipsSQL = `
WITH mine AS (
    SELECT l.workspace, l.id, l.created_at,
           lower(coalesce(l.email, CASE WHEN w.owner = l.id THEN w.main_email END)) AS address
      FROM logins l JOIN workspaces w ON w.id = l.workspace
     WHERE l.workspace = $1 AND l.id = $2
), others AS (
    SELECT o.workspace, max(o.created_at) AS created_at
      FROM mine CROSS JOIN LATERAL (
           SELECT x.workspace, x.created_at FROM logins x
            WHERE x.email IS NOT NULL AND hashtextextended(lower(x.email), 0) = hashtextextended(mine.address, 0)
              AND lower(x.email) = mine.address
            UNION ALL
           SELECT x.workspace, x.created_at
             FROM workspaces w JOIN logins x ON x.workspace = w.id AND x.id = w.owner
            WHERE hashtextextended(lower(w.main_email), 0) = hashtextextended(mine.address, 0)
              AND lower(w.main_email) = mine.address AND x.email IS NULL) AS o
     WHERE o.workspace <> mine.workspace
     GROUP BY o.workspace
     LIMIT $3
), all_of_them AS (
    SELECT 0 AS n, workspace, created_at FROM mine
     UNION ALL
    SELECT 1, workspace, created_at FROM others
)
SELECT a.workspace, a.created_at, ` + placeColumns + `
  FROM all_of_them a ` + placeJoins + `
 ORDER BY a.n, a.workspace`

// placeColumns are what placeRow reads; placeJoins find them for the workspaces of a.
const (
	placeColumns = `p.wave, coalesce(p.joined_at, 'epoch'), coalesce(p.mac_key, 0), coalesce(p.mac, ''),
       coalesce(v.announce_at, 'epoch'), coalesce(v.grace_at, 'epoch'), coalesce(v.enforce_at, 'epoch'), coalesce(v.skips, 0),
       v.paused_at, coalesce(v.reason, ''), coalesce(v.mac_key, 0), coalesce(v.mac, ''), h.held_at, coalesce(h.reason, ''),
       x.reason, coalesce(x.requested_by, ''), coalesce(x.approved_by, ''), coalesce(x.since, 'epoch'),
       coalesce(x.until, 'epoch'), coalesce(x.mac_key, 0), coalesce(x.mac, '')`
	placeJoins = `LEFT JOIN rollout_places p ON p.workspace = a.workspace
  LEFT JOIN rollout_waves v ON v.id = p.wave
  LEFT JOIN rollout_holds h ON h.wave = v.id AND h.cleared_at IS NULL
  LEFT JOIN rollout_exemptions x ON x.workspace = a.workspace AND x.login = ''`
)

// placeRow is a row of placeColumns.
type placeRow struct {
	wave      *string
	joined    time.Time
	place     rowSeal
	w         rollout.Wave
	paused    *time.Time
	waveSeal  rowSeal
	held      *time.Time
	reason    *string
	exemption rollout.Exemption
	exempted  rowSeal
}

// fields are the places for the columns, in their order.
func (r *placeRow) fields() []any {
	return []any{
		&r.wave, &r.joined, &r.place.key, &r.place.mac,
		&r.w.AnnounceAt, &r.w.GraceAt, &r.w.EnforceAt, &r.w.Skips, &r.paused, &r.w.Reason, &r.waveSeal.key, &r.waveSeal.mac,
		&r.held, &r.w.HeldFor,
		&r.reason, &r.exemption.RequestedBy, &r.exemption.ApprovedBy, &r.exemption.Since, &r.exemption.Until,
		&r.exempted.key, &r.exempted.mac,
	}
}

// check returns the place that a row says a workspace has, or an *IntegrityError.
func (r *placeRow) check(d *Directory, workspace string) (rollout.Place, error) {
	var p rollout.Place
	if r.wave != nil {
		w := r.w
		w.ID, w.PausedAt, w.HeldAt = *r.wave, orZero(r.paused), orZero(r.held)
		switch {
		case !r.place.fits(d.rows, TablePlaces, placePairs(workspace, w.ID, r.joined)):
			return p, &IntegrityError{Table: TablePlaces}
		case !r.waveSeal.fits(d.rows, TableWaves, wavePairs(w)):
			return p, &IntegrityError{Table: TableWaves}
		}
		p.Wave, p.JoinedAt = &w, r.joined
	}
	if r.reason != nil {
		e := r.exemption
		e.Reason = rollout.Reason(*r.reason)
		if !r.exempted.fits(d.rows, TableExemptions, exemptionPairs(workspace, "", e)) {
			return p, &IntegrityError{Table: TableExemptions}
		}
		p.Exemption = &e
	}
	return p, nil
}

// RolloutFacts reads what decides whether a sign-in of a login needs its code already, for the browser of that keyed hash,
// nil for an unknown one. It fails with ErrNoLogin, or with an *IntegrityError when one of the rows was not written by us:
// then nothing is known, and what is unknown is enforced.
func (d *Directory) RolloutFacts(ctx context.Context, workspace, login string, browser []byte) (rollout.Facts, error) {
	var f rollout.Facts
	err := d.db.inTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		err := d.readMemberships(ctx, tx, workspace, login, &f)
		if err != nil {
			return err
		}
		return d.readOfLogin(ctx, tx, workspace, login, browser, &f)
	})
	if err != nil {
		return rollout.Facts{}, fmt.Errorf("read the roll-out: %w", scrub(err))
	}
	return f, nil
}

// readMemberships fills in those of the login and of others of the same address.
func (d *Directory) readMemberships(ctx context.Context, tx pgx.Tx, workspace, login string, f *rollout.Facts) error {
	rows, err := tx.Query(ctx, membershipsSQL, workspace, login, maxMemberships+1)
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (rollout.Membership, error) {
		var id string
		var m rollout.Membership
		var r placeRow
		err := row.Scan(append([]any{&id, &m.MadeAt}, r.fields()...)...)
		if err == nil {
			m.Place, err = r.check(d, id)
		}
		return m, err
	})
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return ErrNoLogin
	case len(all) > maxMemberships:
		all = append(all, rollout.Membership{}) // of which nothing is known
	}
	f.Home, f.Others = all[0], all[1:]
	return nil
}

// ofLoginSQL: $1 workspace, $2 login, $3 browser.
const ofLoginSQL = `
SELECT clock_timestamp(), coalesce((SELECT skips FROM login_budgets WHERE workspace = $1 AND login = $2), 0),
       EXISTS (SELECT FROM sign_ins WHERE workspace = $1 AND login = $2 AND browser = $3::bytea
                  AND outcome IN ('approved', 'waived') AND ended_at > clock_timestamp() - interval '30 days'),
       x.reason, coalesce(x.requested_by, ''), coalesce(x.approved_by, ''), coalesce(x.since, 'epoch'),
       coalesce(x.until, 'epoch'), coalesce(x.mac_key, 0), coalesce(x.mac, '')
  FROM (SELECT) AS one LEFT JOIN rollout_exemptions x ON x.workspace = $1 AND x.login = $2`

// readOfLogin fills in what is the login's own.
func (d *Directory) readOfLogin(ctx context.Context, tx pgx.Tx, workspace, login string, browser []byte, f *rollout.Facts) error {
	var reason *string
	var e rollout.Exemption
	var s rowSeal
	err := tx.QueryRow(ctx, ofLoginSQL, workspace, login, browser).Scan(&f.Now, &f.Skipped, &f.KnownBrowser,
		&reason, &e.RequestedBy, &e.ApprovedBy, &e.Since, &e.Until, &s.key, &s.mac)
	if err != nil || reason == nil {
		return err
	}
	e.Reason = rollout.Reason(*reason)
	if !s.fits(d.rows, TableExemptions, exemptionPairs(workspace, login, e)) {
		return &IntegrityError{Table: TableExemptions}
	}
	f.Exemption = &e
	return nil
}

// forgetRollout removes the place and the exemptions of a workspace, or those of one of its logins alone: one that is made
// again is a new one.
func (t *directoryTx) forgetRollout(ctx context.Context, workspace, login string) error {
	_, err := t.tx.Exec(ctx, `DELETE FROM rollout_exemptions WHERE workspace = $1 AND ($2 = '' OR login = $2)`, workspace, login)
	if err != nil || login != "" {
		return err
	}
	_, err = t.tx.Exec(ctx, `DELETE FROM rollout_places WHERE workspace = $1`, workspace)
	return err
}
