package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/event"
)

// beginRelay starts a transaction whose commit does not wait for the disk.
const beginRelay = `BEGIN; SET LOCAL synchronous_commit = off`

// Relay hands up to limit events of the outbox to publish, the oldest first, and deletes those for which publish
// returned no error at their position; the others stay and go to the end, so that a full stream, or an event that can
// never go, holds up nothing behind it. The rows are locked meanwhile and skipped by other relays. It returns how many
// were deleted and how many publish could not place.
//
// An event whose deletion is lost is published again under the same id; the stream and its consumers drop the copy. So
// the commit does not wait for the disk.
func (db *DB) Relay(ctx context.Context, limit int, publish func(context.Context, []event.Event) []error) (int, int, error) {
	var done, failed int
	err := pgx.BeginTxFunc(ctx, db.pool, pgx.TxOptions{BeginQuery: beginRelay}, func(tx pgx.Tx) error {
		events, err := waiting(ctx, tx, limit)
		if err != nil || len(events) == 0 {
			return err
		}
		var placed, stuck []string
		for i, failure := range publish(ctx, events) {
			if failure != nil {
				stuck = append(stuck, events[i].ID)
				continue
			}
			placed = append(placed, events[i].ID)
		}
		done, failed = len(placed), len(stuck)
		_, err = tx.Exec(ctx, placedSQL, placed, stuck)
		return err
	})
	if err != nil {
		return 0, failed, fmt.Errorf("relay the outbox: %w", scrub(err))
	}
	return done, failed, nil
}

// placedSQL: $1 the events that were published, $2 those that were not. Outcomes of sign-ins among the first become rows
// of sign_ins; codes for a purpose of their own are no sign-ins.
const placedSQL = `
WITH gone AS (
    DELETE FROM outbox WHERE id = ANY($1) RETURNING type, subject, at, data
), noted AS (
    INSERT INTO sign_ins (workspace, login, ended_at, challenge_id, started_at, channel, outcome, reason, network, browser, agent)
    SELECT c.workspace, c.login, gone.at, c.id, c.created_at, coalesce(gone.data ->> 'channel', ''), substr(gone.type, length('challenge.v1.') + 1),
           gone.data ->> 'reason', c.network, c.browser, c.agent
      FROM gone JOIN challenges c ON c.id = gone.subject
     WHERE gone.type IN ('challenge.v1.approved', 'challenge.v1.expired', 'challenge.v1.canceled', 'challenge.v1.exhausted', 'challenge.v1.waived')
       AND c.purpose = 'sign_in'
    ON CONFLICT DO NOTHING
)
UPDATE outbox SET created_at = clock_timestamp() WHERE id = ANY($2)`

// waiting reads and locks the oldest events. They are taken because they exist and never because they are newer than
// the last: rows become visible out of order (nats-postgres.md 4).
func waiting(ctx context.Context, tx pgx.Tx, limit int) ([]event.Event, error) {
	rows, err := tx.Query(ctx, `
		SELECT id, type, source, subject, at, data, traceparent FROM outbox
		 ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED`, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (event.Event, error) {
		var e event.Event
		var kind string
		var data []byte
		err := row.Scan(&e.ID, &kind, &e.Source, &e.Subject, &e.Time, &data, &e.Traceparent)
		e.Type, e.Data, e.Time = event.Type(kind), data, e.Time.UTC()
		return e, err
	})
}

// OutboxPending counts the events that wait for the bus, up to 10 000, and tells how long the oldest of those has waited
// since it happened: one that cannot go is put to the end of the outbox, and is as old as before.
func (db *DB) OutboxPending(ctx context.Context) (waiting int, oldest time.Duration, err error) {
	var seconds float64
	err = db.pool.QueryRow(ctx, `
		SELECT count(*), greatest(coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0), 0)::float8
		  FROM (SELECT at FROM outbox LIMIT 10000) AS waiting`).Scan(&waiting, &seconds)
	if err != nil {
		return 0, 0, fmt.Errorf("count the outbox: %w", scrub(err))
	}
	return waiting, time.Duration(seconds * float64(time.Second)), nil
}
