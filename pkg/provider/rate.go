package provider

import (
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"

	"doorcode/pkg/delivery"
)

// limited is a provider that is not called more often than agreed.
type limited struct {
	next     Provider
	limiter  *rate.Limiter
	interval time.Duration
}

// WithRate lets at most perSecond messages a second through to p, with bursts
// of up to burst (both at least 1 message). A message waits for its turn when
// the turn comes before its deadline and the context's, and otherwise fails at
// once as temporary, rate limited. Who gives up waiting takes no turn.
func WithRate(p Provider, perSecond float64, burst int) Provider {
	if perSecond <= 0 {
		perSecond = 1
	}
	return &limited{
		next:     p,
		limiter:  rate.NewLimiter(rate.Limit(perSecond), max(burst, 1)),
		interval: time.Duration(float64(time.Second) / perSecond),
	}
}

// Name is the name of the provider behind it.
func (l *limited) Name() string { return l.next.Name() }

// Send waits for a turn and calls the provider.
func (l *limited) Send(ctx context.Context, m Message) (Acceptance, error) {
	turn, cancel := context.WithDeadline(ctx, m.NotAfter)
	defer cancel()
	err := l.limiter.Wait(turn)
	if err == nil {
		return l.next.Send(ctx, m) //nolint:wrapcheck // A decorator hands on the provider's Failure as it is.
	}
	f := &Failure{
		Result: delivery.Temporary, Reason: delivery.ReasonRateLimited,
		NotCalled: true, Detail: "not called: no turn in time",
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		f.Reason = delivery.ReasonCanceled
	case ctx.Err() != nil:
		f.Reason = delivery.ReasonTimeout
	case turn.Err() != nil:
		return Acceptance{}, Refusal(delivery.ReasonTooLate, "the deadline has passed")
	default:
		f.RetryAfter = clamp(l.interval)
	}
	return Acceptance{}, f
}
