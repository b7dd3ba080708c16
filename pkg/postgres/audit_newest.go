package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// newestAuditSQL: $1 from, $2 to, $3 workspace, $4 challenge, $5 kind, empty ones for all, $6 limit.
const newestAuditSQL = `
SELECT id, at, kind, coalesce(workspace, ''), coalesce(login, ''), coalesce(challenge_id, ''), actor, detail
  FROM audit
 WHERE at >= $1 AND at < $2
   AND ($3 = '' OR workspace = $3) AND ($4 = '' OR challenge_id = $4) AND ($5 = '' OR kind = $5)
 ORDER BY at DESC, id COLLATE "C" DESC LIMIT $6`

// newestSpans are how far back rows are looked for, one after the other, until there are enough: what is asked for most lies
// at the end, and a day of a large installation is long to read.
func newestSpans() []time.Duration {
	return []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour}
}

// NewestAudit returns the newest rows of the audit that a query asks for, at most limit of them. That the operator looked is
// on record before anything is read. A To that is in the future, or none, becomes now by the database's clock; it fails with
// ErrSpan when nothing is left of the span then. It is for the console's role and the owner's.
func (db *DB) NewestAudit(ctx context.Context, q AuditQuery, operator string, limit int) ([]Audit, error) {
	var now time.Time
	err := db.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now)
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", scrub(err))
	}
	if q.To.IsZero() || q.To.After(now) {
		q.To = now
	}
	if !q.From.Before(q.To) {
		return nil, ErrSpan
	}
	about, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", err)
	}
	_, err = db.pool.Exec(ctx, `SELECT record_audit_shown($1, $2)`, operator, about)
	if err != nil {
		return nil, fmt.Errorf("read the audit: %w", scrub(err))
	}
	for _, span := range append(newestSpans(), q.To.Sub(q.From)) {
		from := q.To.Add(-span)
		if from.Before(q.From) {
			from = q.From
		}
		rows, err := db.newestAudit(ctx, q, from, limit)
		if err != nil {
			return nil, fmt.Errorf("read the audit: %w", err)
		}
		if len(rows) == limit || from.Equal(q.From) {
			return rows, nil
		}
	}
	return nil, nil // The last span is the whole.
}

// newestAudit reads one span.
func (db *DB) newestAudit(ctx context.Context, q AuditQuery, from time.Time, limit int) ([]Audit, error) {
	var all []Audit
	err := db.inTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', '10s', true), set_config('enable_seqscan', 'on', true)`)
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, newestAuditSQL, from, q.To, q.Workspace, q.Challenge, q.Kind, limit)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (Audit, error) {
			var a Audit
			err := row.Scan(&a.ID, &a.At, &a.Kind, &a.Workspace, &a.Login, &a.Challenge, &a.Actor, &a.Detail)
			return a, err
		})
		return err
	})
	return all, err
}
