package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// The bounds of how many days of the audit are kept.
const (
	MinAuditDays = 30
	MaxAuditDays = 36500
)

// ErrAuditDays says that the audit cannot be kept for that many days.
var ErrAuditDays = errors.New("the audit is kept for 30 to 36500 days")

// keepSQL: $1 days, $2 operator.
const keepSQL = `
WITH before AS MATERIALIZED (
    SELECT days FROM audit_keep FOR UPDATE
), changed AS (
    UPDATE audit_keep SET days = $1
), recorded AS (
    INSERT INTO audit (id, at, kind, actor, detail)
    SELECT 'audit-retention.' || gen_random_uuid(), clock_timestamp(), 'audit_retention.v1.changed', $2,
           jsonb_build_object('days', $1::int, 'before', days)
      FROM before
)
SELECT days FROM before`

// KeepAudit changes for how many days the audit is kept, on record in the operator's name, and returns for how many it was.
// It fails with ErrAuditDays. It is for the owner's role.
func (db *DB) KeepAudit(ctx context.Context, days int, operator string) (before int, err error) {
	if days < MinAuditDays || days > MaxAuditDays {
		return 0, ErrAuditDays
	}
	err = db.pool.QueryRow(ctx, keepSQL, days, operator).Scan(&before)
	if err != nil {
		return 0, fmt.Errorf("change the retention of the audit: %w", scrub(err))
	}
	return before, nil
}

// DropAuditDays drops the days of the audit that are older than those that are kept and have no row without a seal, each in
// a transaction of its own, and returns how many. Of a day that is in use it waits a second at most, and fails with an
// error that IsUnavailable knows.
func (db *DB) DropAuditDays(ctx context.Context) (int, error) {
	for dropped := 0; ; {
		var n int
		err := db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', '5min', true)`)
			if err != nil {
				return err
			}
			return tx.QueryRow(ctx, `SELECT drop_audit_days()`).Scan(&n)
		})
		if err != nil {
			return dropped, fmt.Errorf("drop old days of the audit: %w", err)
		}
		if n == 0 {
			return dropped, nil
		}
		dropped += n
	}
}
