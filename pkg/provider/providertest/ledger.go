// Package providertest is the conformance suite of the provider contract, for
// every adapter and every double: RunContract, RunClassification and
// RunNoLeak, which a Suite fits to other channels than e-mail. It brings an
// HTTP server that misbehaves on demand, and Fake, an in-process provider for
// tests of the engine, which passes the same suite.
//
// It is for tests only, needs the system's clock, and knows no provider.
package providertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Call is what reached the other end.
type Call struct{ Reference, Recipient string }

// Mode is what the other end does with the messages that reach it.
type Mode int

// The modes that every provider knows in one form or another.
const (
	Taking   Mode = iota // accepts with an id
	Refusing             // says that the recipient is bad
	Busy                 // says that it took nothing and asks for a pause
	Silent               // takes the message and never answers
)

// Backend is the other end of a provider under test.
type Backend interface {
	// Behave sets what happens to messages from now on.
	Behave(m Mode)
	// Received lists the calls that arrived, in order.
	Received() []Call
	// Await returns when at least n calls have arrived, or the context's error.
	Await(ctx context.Context, n int) error
}

// ledger keeps what arrived, in order, and wakes who waits for it.
type ledger[T any] struct {
	mu      sync.Mutex
	entries []T
	grown   chan struct{}
}

// add appends one entry.
func (l *ledger[T]) add(entry T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry)
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

// list returns a copy of the entries.
func (l *ledger[T]) list() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

// await returns when there are at least n entries.
func (l *ledger[T]) await(ctx context.Context, n int) error {
	for {
		l.mu.Lock()
		have := len(l.entries)
		if have < n && l.grown == nil {
			l.grown = make(chan struct{})
		}
		grown := l.grown
		l.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("await %d calls, have %d: %w", n, have, ctx.Err())
		}
	}
}
