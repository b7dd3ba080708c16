package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/rollout"
)

// GateFailed is the kind of a record about gates that failed and held waves for it. It stands in the audit alone.
const GateFailed = "rollout.v1.gate_failed"

// What the gates look at, at most: the newest of a day's sign-ins and mails. Shares of so many are as good as those of all.
const (
	maxGateSignIns = 100_000
	maxGateMails   = 2_000
)

// freshGates is how old verdicts are at least that are judged again, so that of several replicas one does so.
const freshGates = 50 * time.Second

// gateSettingsSQL has a reading of the gates take longer than a sign-in may, and be planned as one that reads many rows.
const gateSettingsSQL = `
SELECT set_config('statement_timeout', '30s', true), set_config('plan_cache_mode', 'force_custom_plan', true),
       set_config('enable_hashjoin', 'on', true), set_config('enable_seqscan', 'on', true)`

// measureGatesSQL: $1 most sign-ins, $2 most mails. One statement, so that all figures are of one moment. A sign-in counts that
// needed a code and was not ended by a person or a change of the directory; a code that was typed for it or for another
// sign-in of the same login verifies it. No code lives longer than ten minutes, so what began fifteen minutes ago has ended.
// Mails are counted by the reports about their first send; a mail that is put off has taken as long as it is old.
const measureGatesSQL = `
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), ended AS MATERIALIZED (
    SELECT c.id, c.workspace, c.login, c.purpose, c.state, c.created_at, c.expires_at, c.ended_at, c.skip IS NULL AS required,
           c.routes -> 0 ->> 'channel' AS first, c.routes -> c.send_routes[array_upper(c.send_routes, 1)]::int ->> 'channel' AS last
      FROM challenges c
     WHERE c.state <> 'pending' AND c.expires_at > (SELECT now FROM clock) - interval '24 hours 15 minutes'
     ORDER BY c.expires_at DESC LIMIT $1
), seen AS MATERIALIZED (
    SELECT id, workspace, login, state, created_at, ended_at, required, first, last, state IN ('approved', 'expired', 'exhausted') AS ran
      FROM ended WHERE purpose = 'sign_in' AND state <> 'waived'
     UNION ALL
    SELECT c.id, c.workspace, c.login, 'expired', c.created_at, NULL, c.skip IS NULL, NULL, NULL, true
      FROM challenges c
     WHERE c.state = 'pending' AND c.purpose = 'sign_in' AND c.expires_at BETWEEN (SELECT now FROM clock) - interval '24 hours 15 minutes' AND (SELECT now FROM clock)
), judged AS (
    SELECT workspace, login, state, required AND ran AND created_at > (SELECT now FROM clock) - interval '24 hours 15 minutes'
               AND created_at <= (SELECT now FROM clock) - interval '15 minutes' AS counts,
           (min(ended_at) FILTER (WHERE state = 'approved') OVER (PARTITION BY workspace, login ORDER BY created_at
               RANGE BETWEEN CURRENT ROW AND interval '15 minutes' FOLLOWING) <= created_at + interval '15 minutes') IS TRUE AS verified
      FROM seen
), by_login AS (
    SELECT bool_or(counts) AS asked, bool_or(state = 'approved') AS approved,
           count(*) FILTER (WHERE counts) AS sign_ins, count(*) FILTER (WHERE counts AND verified) AS verified
      FROM judged GROUP BY workspace, login
), mails AS MATERIALIZED (
    SELECT id, created_at FROM seen
     WHERE first = 'email' AND created_at <= (SELECT now FROM clock) - interval '5 minutes'
     ORDER BY created_at DESC LIMIT $2
), reported AS (
    SELECT coalesce(r.bounced, false) AS bounced, r.status IS NOT NULL AS known,
           CASE WHEN r.delivered IS NOT NULL THEN greatest(r.delivered - m.created_at, interval '0')
                WHEN r.deferred AND NOT r.failed THEN (SELECT now FROM clock) - m.created_at END AS took
      FROM mails m
     CROSS JOIN LATERAL (
           SELECT min(a.detail ->> 'status') AS status, min(a.at) FILTER (WHERE a.detail ->> 'status' = 'delivered') AS delivered,
                  bool_or(a.detail ->> 'status' = 'deferred') AS deferred, bool_or(a.detail ->> 'status' = 'failed') AS failed,
                  bool_or(a.detail ->> 'status' = 'failed' AND a.detail ->> 'reason' IN ('invalid_recipient', 'suppressed')) AS bounced
             FROM audit a
            WHERE a.challenge_id = m.id AND a.at > m.created_at - interval '1 hour' AND a.at < m.created_at + interval '26 hours'
              AND a.kind = 'receipt.v1.recorded' AND a.detail ->> 'channel' = 'email' AND a.detail ->> 'send' = '1') AS r
)
SELECT (SELECT now FROM clock),
       CASE WHEN (SELECT count(*) FROM ended) = $1 THEN (SELECT min(created_at) FROM ended) END,
       l.sign_ins, l.verified, l.logins, l.stuck, t.texts, t.by_mail,
       m.mails, m.bounced + (SELECT count(*) FROM audit a
           WHERE a.kind = 'receipt.v1.recorded' AND a.challenge_id IS NULL AND a.at > (SELECT min(created_at) FROM mails)
             AND a.at <= (SELECT now FROM clock) AND a.detail ->> 'status' = 'failed' AND a.detail ->> 'channel' = 'email'
             AND a.detail ->> 'reason' IN ('invalid_recipient', 'suppressed')),
       m.timed, m.median, m.p95
  FROM (SELECT coalesce(sum(sign_ins), 0)::int AS sign_ins, coalesce(sum(verified), 0)::int AS verified,
               count(*) FILTER (WHERE asked) AS logins, count(*) FILTER (WHERE asked AND NOT approved) AS stuck FROM by_login) AS l,
       (SELECT count(*) AS texts, count(*) FILTER (WHERE last = 'email') AS by_mail FROM seen WHERE state = 'approved' AND first = 'sms') AS t,
       (SELECT count(*) FILTER (WHERE known) AS mails, count(*) FILTER (WHERE bounced) AS bounced, count(took) AS timed,
               coalesce(extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY took)), 0)::float8 AS median,
               coalesce(extract(epoch FROM percentile_disc(0.95) WITHIN GROUP (ORDER BY took)), 0)::float8 AS p95 FROM reported) AS m`

// measureGates reads the figures of the gates.
func measureGates(ctx context.Context, tx pgx.Tx) (rollout.Figures, error) {
	var f rollout.Figures
	var since *time.Time
	var median, p95 float64
	err := tx.QueryRow(ctx, measureGatesSQL, maxGateSignIns, maxGateMails).Scan(&f.At, &since, &f.SignIns, &f.Verified, &f.Logins, &f.Stuck,
		&f.Texts, &f.ByMail, &f.Mails, &f.Bounced, &f.TimedMails, &median, &p95)
	f.Since = orZero(since)
	f.Median, f.P95 = time.Duration(median*float64(time.Second)), time.Duration(p95*float64(time.Second))
	return f, err
}

// GateRound is what a look at the gates found.
type GateRound struct {
	Verdicts []rollout.Verdict // in the order of rollout.Gates
	Held     []string          // waves that this round held
	Holding  int               // waves that gates hold, those included
}

// JudgeGates measures the gates, keeps the verdicts and has each wave stand still that rollout.HeldByGates names when one
// failed, all in one transaction. What was judged within the last minute is read and not judged again, and so is what another
// replica is just judging, so that any number of them may ask. It is for the verifier's role, which can end no hold.
func (db *DB) JudgeGates(ctx context.Context, l rollout.Limits) (GateRound, error) {
	var r GateRound
	err := db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		r = GateRound{}
		var mine bool
		err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1::int, 0)`, int32(gatesLock)).Scan(&mine)
		if err != nil {
			return err
		}
		if mine {
			err = judgeGates(ctx, tx, l, &r)
		}
		if err != nil {
			return err
		}
		return readGates(ctx, tx, &r)
	})
	if err != nil {
		return GateRound{}, fmt.Errorf("judge the gates: %w", err)
	}
	return r, nil
}

// judgeGates is JudgeGates for the replica whose turn it is.
func judgeGates(ctx context.Context, tx pgx.Tx, l rollout.Limits, r *GateRound) error {
	var fresh bool
	err := tx.QueryRow(ctx, `SELECT coalesce(max(judged_at) > clock_timestamp() - $1::interval, false) FROM rollout_gates`, freshGates).Scan(&fresh)
	if err != nil || fresh {
		return err
	}
	_, err = tx.Exec(ctx, gateSettingsSQL)
	if err != nil {
		return err
	}
	f, err := measureGates(ctx, tx)
	if err != nil {
		return err
	}
	verdicts := rollout.Judge(f, l)
	for _, v := range verdicts {
		_, err = tx.Exec(ctx, `
			INSERT INTO rollout_gates (gate, light, sentence, judged_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (gate) DO UPDATE SET light = $2, sentence = $3, judged_at = $4`, string(v.Gate), string(v.Light), v.Sentence, f.At)
		if err != nil {
			return err
		}
	}
	gates, why := rollout.FailedGates(verdicts)
	if len(gates) == 0 {
		return nil
	}
	r.Held, err = holdWaves(ctx, tx, f, gates, why)
	return err
}

// holdWaves has the waves stand still that the gates hold.
func holdWaves(ctx context.Context, tx pgx.Tx, f rollout.Figures, gates []rollout.Gate, why string) ([]string, error) {
	rows, err := tx.Query(ctx, `
		SELECT w.id, w.announce_at, w.grace_at, w.enforce_at, w.skips, w.paused_at, h.held_at
		  FROM rollout_waves w LEFT JOIN rollout_holds h ON h.wave = w.id AND h.cleared_at IS NULL ORDER BY w.id`)
	if err != nil {
		return nil, err
	}
	waves, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (rollout.Wave, error) {
		var w rollout.Wave
		var paused, held *time.Time
		err := row.Scan(&w.ID, &w.AnnounceAt, &w.GraceAt, &w.EnforceAt, &w.Skips, &paused, &held)
		w.PausedAt, w.HeldAt = orZero(paused), orZero(held)
		return w, err
	})
	if err != nil {
		return nil, err
	}
	ids := rollout.HeldByGates(waves, f.At)
	if len(ids) == 0 {
		return nil, nil
	}
	figures, err := json.Marshal(gateFigures(f))
	if err != nil {
		return nil, err
	}
	var held []string
	err = tx.QueryRow(ctx, `SELECT hold_waves($1, $2, $3, $4)`, ids, gates, why, figures).Scan(&held)
	return held, err
}

// gateFigures are the figures as a record keeps them.
func gateFigures(f rollout.Figures) map[string]any {
	return map[string]any{
		"at": f.At, "sign_ins": f.SignIns, "verified": f.Verified, "logins": f.Logins, "stuck": f.Stuck, "texts": f.Texts, "by_mail": f.ByMail,
		"mails": f.Mails, "bounced": f.Bounced, "timed": f.TimedMails, "median_s": f.Median.Seconds(), "p95_s": f.P95.Seconds(),
	}
}

// readGates fills in the verdicts that are there, and how many waves stand still by them.
func readGates(ctx context.Context, tx pgx.Tx, r *GateRound) error {
	verdicts, _, err := gateVerdicts(ctx, tx)
	if err != nil {
		return err
	}
	r.Verdicts = verdicts
	return tx.QueryRow(ctx, `SELECT count(*) FROM rollout_holds WHERE cleared_at IS NULL`).Scan(&r.Holding)
}

// gateVerdicts reads the verdicts in the order of rollout.Gates, and when they were given; one that was never judged is left out.
func gateVerdicts(ctx context.Context, tx pgx.Tx) ([]rollout.Verdict, time.Time, error) {
	var at time.Time
	rows, err := tx.Query(ctx, `SELECT gate, light, sentence, judged_at FROM rollout_gates`)
	if err != nil {
		return nil, at, err
	}
	of := map[rollout.Gate]rollout.Verdict{}
	var v rollout.Verdict
	_, err = pgx.ForEachRow(rows, []any{&v.Gate, &v.Light, &v.Sentence, &at}, func() error {
		of[v.Gate] = v
		return nil
	})
	if err != nil {
		return nil, at, err
	}
	var all []rollout.Verdict
	for _, g := range rollout.Gates() {
		found, judged := of[g]
		if judged {
			all = append(all, found)
		}
	}
	return all, at, nil
}
