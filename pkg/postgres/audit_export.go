package postgres

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// AuditQuery says which rows of the audit are asked for. What is empty does not narrow it.
type AuditQuery struct {
	From      time.Time `json:"from"` // the first moment
	To        time.Time `json:"to"`   // the first moment that is not asked for any more; zero means now
	Workspace string    `json:"workspace,omitempty"`
	Challenge string    `json:"challenge,omitempty"`
	Kind      string    `json:"kind,omitempty"` // whole, such as challenge.v1.approved
}

// AuditExport is one export of the audit, as it is on record: all of it but the last two when it began, and those when
// it ended.
type AuditExport struct {
	ID       string     `json:"export"` // random
	Operator string     `json:"operator"`
	Format   string     `json:"format"`
	Query    AuditQuery `json:"query"` // as it was understood
	Rows     int64      `json:"rows"`
	SHA256   string     `json:"sha256"` // of what the sink wrote, in hexadecimal
}

// AuditSink takes an export.
type AuditSink interface {
	// Row takes one row. It may keep it.
	Row(Audit) error
	// Sum is called once, after the last row and before the export is on record as ended. It writes what it has held
	// back, and returns the SHA-256 of all it wrote, in hexadecimal.
	Sum() (string, error)
}

// The kinds of the rows that an export leaves. Without the second the export did not end, but may have given any part.
const (
	AuditExportBegan = "audit_export.v1.began"
	AuditExportEnded = "audit_export.v1.ended"
)

// ErrSpan says that a span ends before it begins, or begins in the future.
var ErrSpan = errors.New("the span is empty: it has to begin before it ends, and before now")

// auditPage is how many rows are in memory at once.
const auditPage = 1000

// auditSettingsSQL lets a statement sort and read as long as the audit takes, and plans for all of it. A reader that
// takes nothing for five minutes loses the export: its snapshot keeps dead rows alive in the tables of sign-ins.
const auditSettingsSQL = `
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '5min', true),
       set_config('enable_seqscan', 'on', true), set_config('cursor_tuple_fraction', '1', true)`

// auditCursorSQL: $1 from, $2 to, $3 workspace, $4 challenge, $5 kind, empty ones for all. The order is the same in
// every database, whatever its collation.
const auditCursorSQL = `
DECLARE audit_export NO SCROLL CURSOR FOR
SELECT id, at, kind, coalesce(workspace, ''), coalesce(login, ''), coalesce(challenge_id, ''), actor, detail
  FROM audit
 WHERE at >= $1 AND at < $2
   AND ($3 = '' OR workspace = $3) AND ($4 = '' OR challenge_id = $4) AND ($5 = '' OR kind = $5)
 ORDER BY at, id COLLATE "C"`

// ExportAudit gives a sink every row of the audit that a query asks for, by time and id, as one snapshot has them: what
// is recorded later with an earlier time is in a later export of that time. No more than a page of rows is held.
//
// Nobody exports unseen: that it began is committed, in the operator's name, before the first row is read; that it
// ended, with the number of rows and the sink's sum, before it returns. A To that is in the future becomes now, by the
// database's clock, so that an export never claims a time that has not passed. It fails with ErrSpan. The operator's
// name is one of account.ValidateID. It is for the roles of auditor and owner.
func (db *DB) ExportAudit(ctx context.Context, q AuditQuery, operator, format string, sink AuditSink) (AuditExport, error) {
	e := AuditExport{ID: rand.Text(), Operator: operator, Format: format, Query: q}
	var now time.Time
	err := db.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now)
	if err != nil {
		return e, fmt.Errorf("export the audit: %w", scrub(err))
	}
	e.Query.From, e.Query.To = q.From.UTC().Truncate(time.Microsecond), q.To.UTC().Truncate(time.Microsecond)
	if q.To.IsZero() || q.To.After(now) {
		e.Query.To = now
	}
	if !e.Query.From.Before(e.Query.To) {
		return e, ErrSpan
	}
	err = db.recordAuditExport(ctx, e, "began")
	if err != nil {
		return e, err
	}
	e.Rows, err = db.auditRows(ctx, e.Query, sink.Row)
	if err != nil {
		return e, fmt.Errorf("export the audit: %w", scrub(err))
	}
	e.SHA256, err = sink.Sum()
	if err != nil {
		return e, fmt.Errorf("export the audit: %w", err)
	}
	return e, db.recordAuditExport(ctx, e, "ended")
}

// recordAuditExport puts a step of an export on record.
func (db *DB) recordAuditExport(ctx context.Context, e AuditExport, step string) error {
	about := map[string]any{"format": e.Format, "query": e.Query}
	if step == "ended" {
		about["rows"], about["sha256"] = e.Rows, e.SHA256
	}
	detail, err := json.Marshal(about)
	if err != nil {
		return fmt.Errorf("record an export of the audit: %w", err)
	}
	_, err = db.pool.Exec(ctx, `SELECT record_audit_export($1, $2, $3, $4)`, e.ID, step, e.Operator, detail)
	if err != nil {
		return fmt.Errorf("record an export of the audit: %w", scrub(err))
	}
	return nil
}

// auditRows gives each row of a query to a function and returns how many there were.
func (db *DB) auditRows(ctx context.Context, q AuditQuery, each func(Audit) error) (int64, error) {
	var count int64
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := db.inTx(ctx, snapshot, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, auditSettingsSQL)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, auditCursorSQL, q.From, q.To, q.Workspace, q.Challenge, q.Kind)
		if err != nil {
			return err
		}
		for {
			page, err := auditPageOf(ctx, tx)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, row := range page {
				err = each(row)
				if err != nil {
					return err
				}
			}
			count += int64(len(page))
		}
	})
	return count, err
}

// auditPageOf reads the next rows of the cursor; after the last there are none.
func auditPageOf(ctx context.Context, tx pgx.Tx) ([]Audit, error) {
	rows, err := tx.Query(ctx, fmt.Sprintf("FETCH FORWARD %d FROM audit_export", auditPage))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Audit])
}
