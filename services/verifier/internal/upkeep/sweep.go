package upkeep

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/postgres"
)

// Figures of the sweep and the janitor.
const (
	sweepBatch  = 200
	sweepEvery  = 250 * time.Millisecond
	cleanBatch  = 500
	cleanEvery  = 10 * time.Minute
	dayLong     = 24 * time.Hour
	streamsKeep = 7 * dayLong // the streams' MaxAge
	signInsKeep = 30 * dayLong
	minutesKeep = 90 * dayLong
)

// ender is what the sweep needs of Postgres.
type ender interface {
	EndExpired(ctx context.Context, limit int) ([]postgres.Ended, error)
	EndOutdated(ctx context.Context, limit int) ([]postgres.Ended, error)
	MarkSwept(ctx context.Context, limit int) error
}

// Sweep ends what is over: challenges past their expiry, and those whose login changed after they were made. Neither
// could be approved any more; the sweep puts their outcome on record within a second (DESIGN 3, Ending).
type Sweep struct {
	// Done, when it is set before the first round, is told of each round in which nothing failed.
	Done func()

	store   ender
	log     *slog.Logger
	ended   func(channel string, state challenge.State)
	changed func(challenges ...string)
}

// NewSweep returns a sweep; ended is told of each end, and changed after each commit of the challenges that it ended.
func NewSweep(s ender, log *slog.Logger, ended func(channel string, state challenge.State), changed func(challenges ...string)) *Sweep {
	return &Sweep{store: s, log: log, ended: ended, changed: changed}
}

// Run sweeps until ctx ends.
func (s *Sweep) Run(ctx context.Context) {
	every(ctx, sweepEvery, func() {
		err := s.Once(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("sweep failed", "error", err)
		}
	})
}

// Once ends everything that is over now and that nobody else holds. What fails keeps nothing else from being done.
func (s *Sweep) Once(ctx context.Context) error {
	err := errors.Join(s.all(ctx, s.store.EndExpired), s.all(ctx, s.store.EndOutdated), s.store.MarkSwept(ctx, sweepBatch))
	told(err, s.Done)
	return err
}

// all ends batch after batch of one kind, until one is not full.
func (s *Sweep) all(ctx context.Context, end func(context.Context, int) ([]postgres.Ended, error)) error {
	for {
		ended, err := end(ctx, sweepBatch)
		if err != nil {
			return err
		}
		ids := make([]string, len(ended))
		for i, e := range ended {
			s.ended(e.Channel, e.State)
			ids[i] = e.Challenge
		}
		if len(ended) > 0 {
			faultpoint.Hit("sweep.committed")
			s.changed(ids...)
		}
		if len(ended) < sweepBatch {
			return nil
		}
	}
}

// cleaner is what the janitor needs of Postgres.
type cleaner interface {
	Clean(ctx context.Context, r postgres.Retention, limit int) (int, error)
	EnsureAuditPartitions(ctx context.Context) (int, error)
	DropAuditDays(ctx context.Context) (int, error)
}

// Janitor makes the coming days' audit partitions, drops those that are older than they are kept, and removes rows that
// served.
type Janitor struct {
	// Done, when it is set before the first round, is told of each round in which nothing failed.
	Done func()

	store cleaner
	log   *slog.Logger
}

// NewJanitor returns a janitor.
func NewJanitor(s cleaner, log *slog.Logger) *Janitor { return &Janitor{store: s, log: log} }

// Run cleans at once and then every ten minutes until ctx ends.
func (j *Janitor) Run(ctx context.Context) {
	clean := func() {
		err := j.Once(ctx)
		if err != nil && ctx.Err() == nil {
			j.log.Warn("janitor failed", "error", err)
		}
	}
	clean()
	every(ctx, cleanEvery, clean)
}

// Once does all that is due. A challenge outlasts the streams by a day, so that no redelivered event brings it back; a
// budget outlasts its login by a day, so that making a login anew resets nothing (P3).
func (j *Janitor) Once(ctx context.Context) error {
	made, err := j.store.EnsureAuditPartitions(ctx)
	if made > 0 {
		j.log.Info("audit partitions made", "partitions", made)
	}
	dropped, failed := j.store.DropAuditDays(ctx)
	if dropped > 0 {
		j.log.Info("days of the audit dropped", "days", dropped)
	}
	err = errors.Join(err, failed, j.clean(ctx))
	told(err, j.Done)
	return err
}

// clean removes batch after batch of rows that served.
func (j *Janitor) clean(ctx context.Context) error {
	keep := postgres.Retention{
		Challenges: streamsKeep + dayLong, Budgets: dayLong, Limits: dayLong, SignIns: signInsKeep, Removed: event.NoticeLife + dayLong,
		Minutes: minutesKeep,
	}
	for {
		gone, err := j.store.Clean(ctx, keep, cleanBatch)
		if err != nil {
			return err
		}
		if gone < cleanBatch {
			return nil
		}
	}
}

// told calls done, if there is one, after a round without an error.
func told(err error, done func()) {
	if err == nil && done != nil {
		done()
	}
}

// every calls f at each tick until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) {
	ticker := time.NewTicker(d)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f()
		}
	}
}
