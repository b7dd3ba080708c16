package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/limit"
)

// CreateTake is what one create takes of the limits.
type CreateTake struct {
	// Workspace and Login name the budget row whose live places are taken from.
	Workspace string
	Login     string
	limit.Create
}

// beginLoose starts a transaction whose commit does not wait for the disk: a crash of the server may forget the last
// takes, which a limit can bear and a sign-in's time can not (DESIGN 4).
const beginLoose = `BEGIN; SET LOCAL synchronous_commit = off`

// TakeCreate takes a live place of the login and one from each limit, all or nothing and exactly, whatever runs beside
// it: it locks the budget, then the limit rows in their order, reads the clock after the last lock and lets one pure
// function decide. When others hold the rows for too long it took nothing and is put again, a few times. It fails with
// an *IntegrityError when the login has no budget.
func (db *DB) TakeCreate(ctx context.Context, c CreateTake) (limit.Answer, error) {
	limit.Sort(c.Wants)
	for try := 1; ; try++ {
		answer, err := db.takeCreate(ctx, c)
		if IsContended(err) && try < takeTries {
			continue
		}
		return answer, err
	}
}

// takeTries is how often a take that waited too long for a lock is put before it is given up.
const takeTries = 4

// takeCreate is one try.
func (db *DB) takeCreate(ctx context.Context, c CreateTake) (limit.Answer, error) {
	var answer limit.Answer
	err := db.inTx(ctx, pgx.TxOptions{BeginQuery: beginLoose}, func(tx pgx.Tx) error {
		state, now, err := lockLimits(ctx, tx, c)
		if err != nil {
			return err
		}
		var next limit.State
		next, answer = state.Take(now, c.Create)
		if answer.Refused != "" {
			return nil
		}
		return storeLimits(ctx, tx, c, next, answer, now)
	})
	if err != nil {
		return limit.Answer{}, fmt.Errorf("take the limits of a create: %w", err)
	}
	return answer, nil
}

const (
	lockSlotsSQL = `
		SELECT live_ids, live_until, live_entries FROM login_budgets
		 WHERE workspace = $1 AND login = $2 AND removed_at IS NULL FOR UPDATE`

	// A row that is missing is made, so that there is one to lock; the update of used_at is the lock.
	lockLimitSQL = `
		INSERT INTO limits AS l (dimension, key) VALUES ($1, $2)
		ON CONFLICT (dimension, key) DO UPDATE SET used_at = l.used_at
		RETURNING times, entries, clock_timestamp()`
)

// lockLimits locks and reads the rows of a create in one round trip; the server takes the locks in the order of the
// statements.
func lockLimits(ctx context.Context, tx pgx.Tx, c CreateTake) (limit.State, time.Time, error) {
	state := limit.State{Rows: make([]limit.Row, len(c.Wants))}
	var now time.Time
	missing := true
	batch := &pgx.Batch{}
	batch.Queue(lockSlotsSQL, c.Workspace, c.Login).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			missing = false
			err := rows.Scan(&state.Slots.IDs, &state.Slots.Until, &state.Slots.Entries)
			if err != nil {
				return err
			}
		}
		return rows.Err()
	})
	for i, w := range c.Wants {
		batch.Queue(lockLimitSQL, string(w.Dimension), w.Key).QueryRow(func(row pgx.Row) error {
			return row.Scan(&state.Rows[i].Times, &state.Rows[i].Entries, &now)
		})
	}
	err := tx.SendBatch(ctx, batch).Close()
	if err != nil {
		return limit.State{}, time.Time{}, err
	}
	if missing {
		return limit.State{}, time.Time{}, &IntegrityError{Table: TableBudgets}
	}
	return state, now, nil
}

// storeLimits writes what the decision changed: the rows of limits only when something was taken of them.
func storeLimits(ctx context.Context, tx pgx.Tx, c CreateTake, next limit.State, answer limit.Answer, now time.Time) error {
	batch := &pgx.Batch{}
	batch.Queue(`
		UPDATE login_budgets SET live_ids = $3, live_until = $4, live_entries = $5 WHERE workspace = $1 AND login = $2`,
		c.Workspace, c.Login, orEmpty(next.Slots.IDs), orEmpty(next.Slots.Until), orEmpty(next.Slots.Entries))
	if !answer.Repeat {
		for i, w := range c.Wants {
			batch.Queue(`UPDATE limits SET times = $3, entries = $4, used_at = $5 WHERE dimension = $1 AND key = $2`,
				string(w.Dimension), w.Key, next.Rows[i].Times, next.Rows[i].Entries, now)
		}
	}
	return tx.SendBatch(ctx, batch).Close()
}

// orEmpty is a slice that the driver does not write as NULL.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
