package provider

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"doorcode/pkg/delivery"
)

// BreakerState is the state of a breaker; it doubles as the closed set of a
// metric label.
type BreakerState string

// The three states. Half open lets one message through as a probe.
const (
	BreakerClosed   BreakerState = "closed"
	BreakerOpen     BreakerState = "open"
	BreakerHalfOpen BreakerState = "half_open"
)

// BreakerStates lists every state.
func BreakerStates() []BreakerState {
	return []BreakerState{BreakerClosed, BreakerOpen, BreakerHalfOpen}
}

// BreakerConfig are the choices of a breaker.
type BreakerConfig struct {
	// Failures is how many breaking failures in a row open it; 0 means 3.
	Failures uint32
	// Cooldown is how long it stays open; 0 means 30 s.
	Cooldown time.Duration
	// Clock measures what is left of the cooldown. Without it the whole
	// cooldown is named.
	Clock func() time.Time
	// OnChange is told of every change, in order. It must return at once and
	// must not use the provider. It may be nil.
	OnChange func(BreakerState)
}

// breaker is a provider that is not called while it is known to be in vain.
type breaker struct {
	next     Provider
	circuit  *gobreaker.CircuitBreaker[Acceptance]
	cooldown time.Duration
	clock    func() time.Time
	opened   atomic.Pointer[time.Time]
}

// WithBreaker stops calling p while its key, sender, quota or address is at
// fault: failures that say Breaks. While open it answers a temporary failure
// whose RetryAfter is the rest of the cooldown; then one message goes through
// as a probe. A failure of a recipient or a content never opens it: it proves
// that the key works. A failure that proves neither is not counted.
func WithBreaker(p Provider, cfg BreakerConfig) Provider {
	if cfg.Failures == 0 {
		cfg.Failures = 3
	}
	if cfg.Cooldown <= 0 {
		cfg.Cooldown = 30 * time.Second
	}
	if cfg.Clock == nil {
		cfg.Clock = func() time.Time { return time.Time{} }
	}
	b := &breaker{next: p, cooldown: cfg.Cooldown, clock: cfg.Clock}
	b.circuit = gobreaker.NewCircuitBreaker[Acceptance](gobreaker.Settings{
		Name:         p.Name(),
		MaxRequests:  1,
		Timeout:      cfg.Cooldown,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= cfg.Failures },
		IsSuccessful: func(err error) bool { return verdict(err) == proved },
		IsExcluded:   func(err error) bool { return verdict(err) == neither },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			now := b.clock()
			b.opened.Store(&now)
			if cfg.OnChange != nil {
				cfg.OnChange(breakerState(to))
			}
		},
	})
	return b
}

// Name is the name of the provider behind it.
func (b *breaker) Name() string { return b.next.Name() }

// Send calls the provider unless the breaker is open.
func (b *breaker) Send(ctx context.Context, m Message) (Acceptance, error) {
	accepted, err := b.circuit.Execute(func() (Acceptance, error) { return b.next.Send(ctx, m) })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		left := b.opened.Load().Add(b.cooldown).Sub(b.clock())
		if errors.Is(err, gobreaker.ErrTooManyRequests) {
			left = MinRetryAfter // The probe is under way; its answer is near.
		}
		return Acceptance{}, &Failure{
			Result: delivery.Temporary, Reason: delivery.ReasonRejected, RetryAfter: clamp(left),
			NotCalled: true, Detail: "not called: the provider refuses the configuration",
		}
	}
	return accepted, err //nolint:wrapcheck // A decorator hands on the provider's Failure as it is.
}

// proof is what the end of a call says about the configuration.
type proof int

// A call proves the configuration right, proves it wrong, or does neither.
const (
	proved proof = iota
	refuted
	neither
)

// verdict reads the proof out of an error. A message that was refused without
// a call proves nothing, nor does a provider that is slow, busy or broken.
func verdict(err error) proof {
	if err == nil {
		return proved
	}
	f := FailureOf(err)
	switch {
	case f.Breaks:
		return refuted
	case f.Result == delivery.Permanent && f.Status != 0:
		return proved
	}
	return neither
}

// breakerState turns the library's state into ours.
func breakerState(s gobreaker.State) BreakerState {
	switch s {
	case gobreaker.StateClosed:
		return BreakerClosed
	case gobreaker.StateHalfOpen:
		return BreakerHalfOpen
	case gobreaker.StateOpen:
		return BreakerOpen
	}
	return BreakerOpen
}
