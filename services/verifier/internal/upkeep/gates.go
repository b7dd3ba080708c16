package upkeep

import (
	"context"
	"log/slog"
	"time"

	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// gatesEvery is how often the gates are judged.
const gatesEvery = time.Minute

// judge is what the gates need of Postgres.
type judge interface {
	JudgeGates(ctx context.Context, l rollout.Limits) (postgres.GateRound, error)
}

// Gates judges the gates of the roll-out by what is on record, and has waves stand still while one fails. Nothing of it lets a
// wave go on: that is a person's. Of several replicas one judges and the others read what it found.
type Gates struct {
	// Done, when it is set before the first round, is told of each round in which nothing failed.
	Done func()

	store  judge
	limits rollout.Limits
	log    *slog.Logger
	judged func(verdicts []rollout.Verdict, holding int)
}

// NewGates returns the gates; judged is told after each round what they show, and how many waves they hold.
func NewGates(s judge, l rollout.Limits, log *slog.Logger, judged func(verdicts []rollout.Verdict, holding int)) *Gates {
	return &Gates{store: s, limits: l, log: log, judged: judged}
}

// Run judges at once, so that a replica which was away catches up, and then every minute until ctx ends.
func (g *Gates) Run(ctx context.Context) {
	once := func() {
		err := g.Once(ctx)
		if err != nil && ctx.Err() == nil {
			g.log.Warn("gates failed", "error", err)
		}
	}
	once()
	every(ctx, gatesEvery, once)
}

// Once judges the gates unless somebody has within the minute.
func (g *Gates) Once(ctx context.Context) error {
	r, err := g.store.JudgeGates(ctx, g.limits)
	if err == nil {
		g.judged(r.Verdicts, r.Holding)
	}
	if len(r.Held) > 0 {
		_, why := rollout.FailedGates(r.Verdicts)
		g.log.Warn("waves held", "waves", r.Held, "reason", why)
	}
	told(err, g.Done)
	return err
}
