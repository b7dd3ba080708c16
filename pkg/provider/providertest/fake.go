package providertest

import (
	"context"
	"strconv"
	"sync"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
)

// Fake is a provider inside the process. It accepts every message unless a
// script or a mode says otherwise, and keeps what reached it.
type Fake struct {
	name   string
	clock  func() time.Time
	ledger ledger[provider.Message]

	mu     sync.Mutex
	mode   Mode
	script []*provider.Failure
	gate   chan struct{} // closed when a silence ends
}

var (
	_ provider.Provider = (*Fake)(nil)
	_ Backend           = (*Fake)(nil)
)

// NewFake returns a fake of that name that reads the time from clock.
func NewFake(name string, clock func() time.Time) *Fake { return &Fake{name: name, clock: clock} }

// Name is the name given to NewFake.
func (f *Fake) Name() string { return f.name }

// Script sets the results of the next calls, in order; nil is an acceptance.
// After the script the mode decides again.
func (f *Fake) Script(results ...*provider.Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = append(f.script, results...)
}

// Behave sets the mode. Calls that Silent holds go on under the next mode, so
// Silent and then Taking blocks calls until they are released.
func (f *Fake) Behave(m Mode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode = m
	if f.gate != nil {
		close(f.gate)
		f.gate = nil
	}
	if m == Silent {
		f.gate = make(chan struct{})
	}
}

// Messages lists what reached the fake, in order, as it was given.
func (f *Fake) Messages() []provider.Message { return f.ledger.list() }

// Received lists the calls that arrived, in order.
func (f *Fake) Received() []Call {
	var calls []Call
	for _, m := range f.ledger.list() {
		calls = append(calls, Call{Reference: m.Reference, Recipient: m.Recipient})
	}
	return calls
}

// Await returns when at least n calls have arrived.
func (f *Fake) Await(ctx context.Context, n int) error { return f.ledger.await(ctx, n) }

// Send keeps the message and answers by script or mode. A call that is given
// up while it is held is unknown, as with a real provider.
func (f *Fake) Send(ctx context.Context, m provider.Message) (provider.Acceptance, error) {
	refused := m.Check(f.clock())
	if refused != nil {
		return provider.Acceptance{}, refused
	}
	if ctx.Err() != nil {
		return provider.Acceptance{}, new(provider.Watch).Lost(ctx, ctx.Err())
	}
	f.ledger.add(m)
	err := f.hold(ctx, m.NotAfter.Sub(f.clock()))
	if err != nil {
		return provider.Acceptance{}, err
	}
	failure := f.next()
	if failure != nil {
		return provider.Acceptance{}, failure
	}
	return provider.Acceptance{ProviderID: "fake-" + strconv.Itoa(len(f.ledger.list()))}, nil
}

// hold waits while the fake is silent, at most for patience.
func (f *Fake) hold(ctx context.Context, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		f.mu.Lock()
		gate := f.gate
		f.mu.Unlock()
		if gate == nil {
			return nil
		}
		err := context.DeadlineExceeded
		select {
		case <-gate:
			continue
		case <-timer.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
		lost := new(provider.Watch).Lost(ctx, err)
		lost.Result = delivery.Unknown
		return lost
	}
}

// next takes the result of one call from the script, else from the mode.
func (f *Fake) next() *provider.Failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.script) > 0 {
		failure := f.script[0]
		f.script = f.script[1:]
		return failure
	}
	switch f.mode {
	case Refusing:
		return &provider.Failure{Result: delivery.Permanent, Reason: delivery.ReasonInvalidRecipient, Status: 400}
	case Busy:
		return &provider.Failure{
			Result: delivery.Temporary, Reason: delivery.ReasonRateLimited,
			Status: 429, RetryAfter: 2 * time.Second,
		}
	case Taking, Silent:
	}
	return nil
}
