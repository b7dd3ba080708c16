package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/challenge"
)

// Ended is a challenge that a statement ended.
type Ended struct {
	Challenge string
	State     challenge.State
	Channel   string // of its first message
}

// Cancel ends a live challenge because its front-end asked for it; one that is past its expiry ends as expired. false
// means that it had ended before, or is not recorded.
func (db *DB) Cancel(ctx context.Context, id string) (Ended, bool, error) {
	ended, err := db.end(ctx, cancelSQL, Verifier, id)
	if err != nil {
		return Ended{}, false, fmt.Errorf("cancel challenge: %w", scrub(err))
	}
	if len(ended) == 0 {
		return Ended{}, false, nil
	}
	return ended[0], true, nil
}

// EndExpired ends up to limit pending challenges that are past their expiry. Those that somebody else holds are left
// for the next call.
func (db *DB) EndExpired(ctx context.Context, limit int) ([]Ended, error) {
	ended, err := db.end(ctx, endExpiredSQL, Verifier, limit)
	if err != nil {
		return nil, fmt.Errorf("end expired challenges: %w", scrub(err))
	}
	return ended, nil
}

// EndOutdated cancels up to limit pending challenges whose login's version was raised after they were made (DESIGN 3,
// Ending). Their codes have been worthless since that commit; this puts the outcome on record.
func (db *DB) EndOutdated(ctx context.Context, limit int) ([]Ended, error) {
	ended, err := db.end(ctx, endOutdatedSQL, Verifier, limit)
	if err != nil {
		return nil, fmt.Errorf("end outdated challenges: %w", scrub(err))
	}
	return ended, nil
}

// MarkSwept notes for up to limit changed logins that no pending challenge of an older version is left.
func (db *DB) MarkSwept(ctx context.Context, limit int) error {
	_, err := db.pool.Exec(ctx, markSweptSQL, limit)
	if err != nil {
		return fmt.Errorf("mark swept logins: %w", scrub(err))
	}
	return nil
}

func (db *DB) end(ctx context.Context, sql string, args ...any) ([]Ended, error) {
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Ended, error) {
		var e Ended
		var state string
		err := row.Scan(&e.Challenge, &state, &e.Channel)
		e.State = challenge.State(state)
		return e, err
	})
}

// Retention says how long rows are kept after they served.
type Retention struct {
	// Challenges must outlast the streams, or a redelivered event would bring a challenge back.
	Challenges time.Duration // after their expiry
	Budgets    time.Duration // after the removal of their login
	Limits     time.Duration // after their last use
	SignIns    time.Duration // after they ended
	Minutes    time.Duration // of channel health, after they began
	Removed    time.Duration // after the removal of the login; must outlast the notices of it
}

// Clean removes up to limit rows of each kind that nobody needs any more and returns how many went.
func (db *DB) Clean(ctx context.Context, r Retention, limit int) (int, error) {
	var gone int
	for _, c := range []struct {
		sql  string
		keep time.Duration
	}{
		{cleanChallengesSQL, r.Challenges},
		{cleanBudgetsSQL, r.Budgets},
		{cleanLimitsSQL, r.Limits},
		{cleanSignInsSQL, r.SignIns},
		{cleanRemovedSQL, r.Removed},
		{cleanMinutesSQL, r.Minutes},
		{cleanRoundsSQL, r.Minutes},
	} {
		tag, err := db.pool.Exec(ctx, c.sql, c.keep, limit)
		if err != nil {
			return gone, fmt.Errorf("remove old rows: %w", scrub(err))
		}
		gone += int(tag.RowsAffected())
	}
	return gone, nil
}

// EnsureAuditPartitions makes the partitions of the coming days and returns how many were missing.
func (db *DB) EnsureAuditPartitions(ctx context.Context) (int, error) {
	var made int
	err := db.pool.QueryRow(ctx, `SELECT ensure_audit_partitions()`).Scan(&made)
	if err != nil {
		return 0, fmt.Errorf("make audit partitions: %w", scrub(err))
	}
	return made, nil
}
