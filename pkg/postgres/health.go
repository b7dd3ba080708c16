package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/delivery"
	"doorcode/pkg/health"
)

// WayCounts are the counts of one way in one window.
type WayCounts struct {
	Way    health.Way
	Counts health.Counts
}

// Queue is what waits for its first call on a channel.
type Queue struct {
	Channel delivery.Channel
	At      time.Time // when it was looked at
	Waiting int       // messages that were asked for and of which no call and no end is on record
	Oldest  time.Time // when the longest waiting one was asked for; zero: none waits
}

// Span is a time from an instant up to another, which is no part of it.
type Span struct {
	From, To time.Time
}

// countTimeout bounds the counting of one minute, which is longer than a sign-in may take.
const countTimeout = "60s"

// CountMinutes counts the messages of up to limit minutes that are due, the newest first, each in a transaction of its
// own, and returns how many it counted. What another verifier counts at the moment is left to it. A minute is counted again
// as it ages, up to three days; after an outage up to a day is caught up.
func (db *DB) CountMinutes(ctx context.Context, limit int) (int, error) {
	_, err := db.pool.Exec(ctx, openRoundsSQL)
	if err != nil {
		return 0, fmt.Errorf("count messages: %w", scrub(err))
	}
	for n := range limit {
		more, err := db.countMinute(ctx)
		if err != nil || !more {
			return n, err
		}
	}
	return limit, nil
}

// countMinute counts the newest minute that is due; false: none is.
func (db *DB) countMinute(ctx context.Context) (bool, error) {
	var minute time.Time
	err := db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, dueRoundSQL, countTimeout).Scan(&minute)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, countMinuteSQL(), minute, boundSeconds())
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, closeRoundSQL, minute)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("count messages: %w", err)
	}
	return true, nil
}

// CountQueues looks at what waits for its first call on each channel.
func (db *DB) CountQueues(ctx context.Context) error {
	channels := make([]string, 0, len(delivery.Channels()))
	for _, c := range delivery.Channels() {
		channels = append(channels, string(c))
	}
	err := db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', $1, true)`, countTimeout)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, countQueuesSQL, channels)
		return err
	})
	if err != nil {
		return fmt.Errorf("look at the queues: %w", err)
	}
	return nil
}

// HealthAt returns the time up to which messages are counted: the end of the last whole minute of which a count exists.
// Zero: none was counted yet.
func (db *DB) HealthAt(ctx context.Context) (time.Time, error) {
	var at *time.Time
	err := db.pool.QueryRow(ctx, `SELECT max(minute) FROM channel_rounds WHERE counted_at IS NOT NULL`).Scan(&at)
	if err != nil {
		return time.Time{}, fmt.Errorf("read channel health: %w", scrub(err))
	}
	return orZero(at), nil
}

// HealthOver returns the counts of all minutes that begin in one of some spans, by way, in the order of their names.
func (db *DB) HealthOver(ctx context.Context, spans ...Span) ([]WayCounts, error) {
	from, to := make([]time.Time, len(spans)), make([]time.Time, len(spans))
	for i, s := range spans {
		from[i], to[i] = s.From, s.To
	}
	rows, err := db.pool.Query(ctx, healthOverSQL(), from, to)
	if err != nil {
		return nil, fmt.Errorf("read channel health: %w", scrub(err))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (WayCounts, error) {
		var w WayCounts
		err := row.Scan(append([]any{&w.Way.Channel, &w.Way.Provider, &w.Way.Destination}, countFields(&w.Counts)...)...)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("read channel health: %w", scrub(err))
	}
	return all, nil
}

// HealthStep is what was sent one way in one step of time.
type HealthStep struct {
	At       time.Time // its begin
	Way      health.Way
	Verified health.Share
}

// HealthSteps returns the verified shares of all steps of a length in a span, in the order of time. Steps begin at the
// span's begin; of one in which no code was accepted there is nothing.
func (db *DB) HealthSteps(ctx context.Context, s Span, step time.Duration) ([]HealthStep, error) {
	rows, err := db.pool.Query(ctx, healthStepsSQL, s.From, s.To, step)
	if err != nil {
		return nil, fmt.Errorf("read channel health: %w", scrub(err))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (HealthStep, error) {
		var h HealthStep
		err := row.Scan(&h.At, &h.Way.Channel, &h.Way.Provider, &h.Way.Destination, &h.Verified.Part, &h.Verified.Of)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("read channel health: %w", scrub(err))
	}
	return all, nil
}

// countFields are where the columns of healthOverSQL go.
func countFields(c *health.Counts) []any {
	fields := []any{&c.Sent, &c.Accepted, &c.Delivered, &c.Failed, &c.Codes, &c.Verified}
	for i := range health.Bins {
		fields = append(fields, &c.AcceptedIn[i])
	}
	for i := range health.Bins {
		fields = append(fields, &c.DeliveredIn[i])
	}
	return fields
}

// Queues returns what waits on each channel, by its name. A channel that was never looked at is not there.
func (db *DB) Queues(ctx context.Context) ([]Queue, error) {
	rows, err := db.pool.Query(ctx, `SELECT channel, at, waiting, oldest FROM channel_queues ORDER BY channel`)
	if err != nil {
		return nil, fmt.Errorf("read queues: %w", scrub(err))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Queue, error) {
		var q Queue
		var oldest *time.Time
		err := row.Scan(&q.Channel, &q.At, &q.Waiting, &oldest)
		q.Oldest = orZero(oldest)
		return q, err
	})
	if err != nil {
		return nil, fmt.Errorf("read queues: %w", scrub(err))
	}
	return all, nil
}
