package upkeep

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Figures of the counter. A round takes so many minutes that a day's outage is caught up in a few minutes.
const (
	countEvery = 20 * time.Second
	countBatch = 60
)

// counted is what the counter needs of Postgres.
type counted interface {
	CountMinutes(ctx context.Context, limit int) (int, error)
	CountQueues(ctx context.Context) error
}

// Counter counts how messages arrive, minute by minute, for the page of channel health. It reads what is on record and holds
// up nothing: neither a sign-in nor the recorder waits for it, and without it the figures only get old.
type Counter struct {
	// Done, when it is set before the first round, is told of each round in which nothing failed.
	Done func()

	store counted
	log   *slog.Logger
}

// NewCounter returns a counter.
func NewCounter(s counted, log *slog.Logger) *Counter { return &Counter{store: s, log: log} }

// Run counts at once and then every 20 seconds until ctx ends.
func (c *Counter) Run(ctx context.Context) {
	count := func() {
		err := c.Once(ctx)
		if err != nil && ctx.Err() == nil {
			c.log.Warn("counter failed", "error", err)
		}
	}
	count()
	every(ctx, countEvery, count)
}

// Once counts the minutes that are due and looks at the queues.
func (c *Counter) Once(ctx context.Context) error {
	_, err := c.store.CountMinutes(ctx, countBatch)
	err = errors.Join(err, c.store.CountQueues(ctx))
	told(err, c.Done)
	return err
}
