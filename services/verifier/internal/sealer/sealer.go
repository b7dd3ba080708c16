// Package sealer seals the audit, minute by minute, and keeps a copy of the heads outside the database. Any number of
// replicas may do so at once: one of them makes each seal, and each keeps its own copy.
package sealer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"doorcode/pkg/auditlog"
	"doorcode/pkg/faultpoint"
)

// What failed in a round.
const (
	causeSeal     = "seal"
	causeFile     = "file"
	causeConflict = "conflict"
)

// Causes lists what can fail in a round.
func Causes() []string { return []string{causeSeal, causeFile, causeConflict} }

// store is what the sealer needs of Postgres.
type store interface {
	SealAudit(ctx context.Context, s auditlog.Signer) (head auditlog.Head, more bool, err error)
	Unsealed(ctx context.Context) (rows int64, sealed time.Time, err error)
}

// Config is what a sealer works with.
type Config struct {
	Store store
	Keys  auditlog.Signer
	Every time.Duration
	Log   *slog.Logger
	// Wake is called after each seal, whose event waits in the outbox.
	Wake func()
	// Unsealed is told in each round how many rows no seal has yet and when the last seal was made.
	Unsealed func(rows int64, sealed time.Time)
	// Failed is told what failed, one of Causes.
	Failed func(cause string)
}

// Sealer seals what was written since the last seal.
type Sealer struct {
	// Anchor, when it is set before the first round, keeps the heads in a file.
	Anchor *Anchor
	// Done, when it is set before the first round, is told of each round in which nothing failed.
	Done func()

	cfg Config
}

// New returns a sealer.
func New(cfg Config) *Sealer { return &Sealer{cfg: cfg} }

// Run seals at once and then as often as it is set, until ctx ends.
func (s *Sealer) Run(ctx context.Context) {
	ticker := time.NewTicker(s.cfg.Every)
	defer ticker.Stop()
	for {
		err := s.Once(ctx)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("sealer failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Once makes all seals that are due and writes all heads that the file has not. What fails keeps nothing else from being
// done.
func (s *Sealer) Once(ctx context.Context) error {
	err := errors.Join(s.seal(ctx), s.anchor(ctx))
	rows, sealed, counted := s.cfg.Store.Unsealed(ctx)
	if counted == nil {
		s.cfg.Unsealed(rows, sealed)
	}
	err = errors.Join(err, counted)
	if err == nil && s.Done != nil {
		s.Done()
	}
	return err
}

// seal makes seal after seal, until nothing is left that can be sealed now.
func (s *Sealer) seal(ctx context.Context) error {
	for more := true; more; {
		var head auditlog.Head
		var err error
		head, more, err = s.cfg.Store.SealAudit(ctx, s.cfg.Keys)
		if err != nil {
			if ctx.Err() == nil {
				s.cfg.Failed(causeSeal)
			}
			return err
		}
		if head.Number > 0 {
			faultpoint.Hit("sealer.committed")
			s.cfg.Wake()
			s.cfg.Log.Debug("audit sealed", "seal", head.Number, "rows", head.Rows)
		}
	}
	return nil
}

// anchor writes the heads to the file.
func (s *Sealer) anchor(ctx context.Context) error {
	if s.Anchor == nil {
		return nil
	}
	err := s.Anchor.CatchUp(ctx)
	if err != nil && ctx.Err() == nil {
		cause := causeFile
		if errors.Is(err, ErrConflict) {
			cause = causeConflict
		}
		s.cfg.Failed(cause)
	}
	return err
}
