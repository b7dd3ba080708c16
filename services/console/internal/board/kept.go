package board

import (
	"context"
	"fmt"
	"time"
)

// kept is a value that is read anew when it is older than Keep. Those who ask meanwhile wait for the one who reads, as long
// as they may; a failure is not kept.
type kept[T any] struct {
	turn  chan struct{} // holds an entry while somebody looks at what follows
	at    time.Time
	value T
}

// newKept returns one that holds nothing yet.
func newKept[T any]() *kept[T] { return &kept[T]{turn: make(chan struct{}, 1)} }

// get returns the value as it was read within Keep before now, or what read gives.
func (k *kept[T]) get(ctx context.Context, now time.Time, read func(context.Context) (T, error)) (T, error) {
	var none T
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return none, fmt.Errorf("wait for figures: %w", ctx.Err())
	}
	age := now.Sub(k.at)
	if !k.at.IsZero() && age >= 0 && age < Keep {
		return k.value, nil
	}
	value, err := read(ctx)
	if err != nil {
		return none, err
	}
	k.value, k.at = value, now
	return value, nil
}
