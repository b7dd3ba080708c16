package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/rollout"
)

// Recorded says what a simulation of the recorded past is made of.
type Recorded struct {
	At time.Time // of the last page, by the database's clock
	// Since is the first sign-in on record; zero: there is none. After less than rollout.ProfileWeeks weeks of sign-ins the
	// profiles hold too few.
	Since time.Time
	// Broken counts the workspaces that are enforced because a row about them is not as it was written.
	Broken int
}

// subjectsSQL: $1 the last workspace of the page before, $2 limit.
const subjectsSQL = `
SELECT a.workspace, a.main_email, coalesce(a.owner, ''), ` + placeColumns + `
  FROM (SELECT id AS workspace, main_email, owner FROM workspaces WHERE id > $1 ORDER BY id LIMIT $2) AS a ` + placeJoins + `
 ORDER BY a.workspace`

// subjectLoginsSQL: $1 workspaces. A browser is known that the login came in with twice. The last code by e-mail failed
// when it was not typed and its provider gave up on it, and neither the login nor its workspace was changed since; a
// provider gives up after three days at most. Hours are those of rollout.HoursOfWeek: Unix time began in its hour 96.
const subjectLoginsSQL = `
SELECT l.workspace, l.id, coalesce(l.email, ''), coalesce(l.phone, ''), l.channel, l.created_at,
       coalesce(p.hours, '{}'), coalesce(p.known, '{}'), coalesce(p.new, '{}'),
       m.outcome <> 'approved' AND m.started_at > greatest(l.updated_at, w.updated_at) AND EXISTS (
           SELECT FROM audit a
            WHERE a.challenge_id = m.challenge_id AND a.at BETWEEN m.started_at - interval '1 hour' AND m.started_at + interval '4 days'
              AND a.kind = 'receipt.v1.recorded' AND a.detail ->> 'channel' = 'email' AND a.detail ->> 'status' = 'failed') IS TRUE
  FROM logins l
  JOIN workspaces w ON w.id = l.workspace
  LEFT JOIN LATERAL (
       SELECT array_agg(hour) AS hours, array_agg(known) AS known, array_agg(new) AS new
         FROM (SELECT hour, count(*) FILTER (WHERE known) AS known, count(*) FILTER (WHERE NOT known) AS new
                 FROM (SELECT ((floor(extract(epoch FROM s.started_at) / 3600)::bigint + 96) % 168)::int AS hour,
                              s.browser IS NOT NULL AND
                              count(*) FILTER (WHERE s.outcome IN ('approved', 'waived')) OVER (PARTITION BY s.browser) > 1 AS known
                         FROM sign_ins s
                        WHERE s.workspace = l.workspace AND s.login = l.id
                          AND s.started_at >= date_trunc('hour', now()) - interval '28 days' AND s.started_at < date_trunc('hour', now())) AS seen
                GROUP BY hour) AS hourly) AS p ON true
  LEFT JOIN LATERAL (
       SELECT s.challenge_id, s.started_at, s.outcome
         FROM sign_ins s
        WHERE s.workspace = l.workspace AND s.login = l.id AND s.channel = 'email' AND s.ended_at > now() - interval '28 days'
        ORDER BY s.ended_at DESC LIMIT 1) AS m ON true
 WHERE l.workspace = ANY($1)
 ORDER BY l.workspace, l.id`

// RecordedSubjects gives take every workspace with its place, its logins and their sign-ins of the last
// rollout.ProfileWeeks weeks, in the order of their ids. texts says whether text messages go out at all. A page is read in
// one short transaction, so that sign-ins are not held up, and no more than a page is in memory. Nothing is written, and
// of the rows that decide where a code goes the MACs are not looked at: here they decide nothing. It is for the owner's
// role.
func (d *Directory) RecordedSubjects(ctx context.Context, texts bool, take func(rollout.Subject)) (Recorded, error) {
	var r Recorded
	var since *time.Time
	err := d.db.pool.QueryRow(ctx, `SELECT min(ended_at) FROM sign_ins`).Scan(&since)
	if err != nil {
		return r, fmt.Errorf("read the recorded past: %w", scrub(err))
	}
	r.Since = orZero(since)
	for last, size := "", chunk; size == chunk; {
		var page []subjectRow
		err := d.db.inTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			var err error
			page, err = d.readSubjects(ctx, tx, last, &r)
			if err != nil {
				return err
			}
			return readSubjectLogins(ctx, tx, page, texts)
		})
		if err != nil {
			return r, fmt.Errorf("read the recorded past: %w", err)
		}
		for _, s := range page {
			last = s.subject.ID
			take(s.subject)
		}
		size = len(page)
	}
	return r, nil
}

// subjectRow is a workspace as it is read.
type subjectRow struct {
	workspace account.Workspace
	subject   rollout.Subject
}

// readSubjects reads a page of workspaces, without their logins.
func (d *Directory) readSubjects(ctx context.Context, tx pgx.Tx, last string, r *Recorded) ([]subjectRow, error) {
	// A page takes longer than a sign-in may.
	err := tx.QueryRow(ctx, `SELECT clock_timestamp() FROM set_config('statement_timeout', '60s', true)`).Scan(&r.At)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, subjectsSQL, last, chunk)
	if err != nil {
		return nil, err
	}
	broken := 0
	page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (subjectRow, error) {
		var s subjectRow
		var p placeRow
		err := row.Scan(append([]any{&s.workspace.ID, &s.workspace.MainEmail, &s.workspace.Owner}, p.fields()...)...)
		if err != nil {
			return s, err
		}
		s.subject.ID = s.workspace.ID
		s.subject.Place, err = p.check(d, s.workspace.ID)
		if err != nil {
			broken++
			s.subject.Place = rollout.Place{}
		}
		return s, nil
	})
	r.Broken += broken
	return page, err
}

// readSubjectLogins fills in the logins of a page.
func readSubjectLogins(ctx context.Context, tx pgx.Tx, page []subjectRow, texts bool) error {
	ids, at := make([]string, len(page)), make(map[string]int, len(page))
	for i, s := range page {
		ids[i], at[s.workspace.ID] = s.workspace.ID, i
	}
	rows, err := tx.Query(ctx, subjectLoginsSQL, ids)
	if err != nil {
		return err
	}
	var l account.Login
	var made time.Time
	var hours, known, fresh []int
	var failed bool
	_, err = pgx.ForEachRow(rows, []any{&l.Workspace, &l.ID, &l.Email, &l.Phone, &l.Channel, &made, &hours, &known, &fresh, &failed}, func() error {
		s := &page[at[l.Workspace]]
		one := subjectLogin(s.workspace, l, texts, failed)
		one.MadeAt = made
		for i, hour := range hours {
			one.SignIns = append(one.SignIns, rollout.Hourly{Hour: hour, Known: known[i], New: fresh[i]})
		}
		s.subject.Logins = append(s.subject.Logins, one)
		return nil
	})
	return err
}

// subjectLogin says by the rules of account.Routes which way the codes of a login go, and why none reaches it.
func subjectLogin(w account.Workspace, l account.Login, texts, failed bool) rollout.SubjectLogin {
	one := rollout.SubjectLogin{ID: l.ID}
	routes := account.Routes(w, l, texts)
	switch {
	case len(routes) == 0 && w.Owner == "":
		one.Obstacle = rollout.NoOwner
	case len(routes) == 0:
		one.Obstacle = rollout.NoRoute
	default:
		alone := len(routes) == 1
		one.Text = routes[0].Channel == account.SMS
		one.MainOnly = alone && routes[0].Reason == account.MainEmail
		if alone && failed && !one.Text {
			one.Obstacle = rollout.Bounced
		}
	}
	return one
}
