package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// Announce says something to whoever listens at this moment and to nobody else: no stream keeps it, nobody confirms it.
// It is for hints whose loss costs a delay. The error wraps ErrUnavailable when it did not leave.
func (c *Conn) Announce(subject string, data []byte) error {
	err := c.nc.Publish(subject, data)
	if err != nil {
		return fmt.Errorf("announce on %s: %w: %w", subject, ErrUnavailable, err)
	}
	return nil
}

// Subscription is an open ear for announcements.
type Subscription struct {
	sub    *nats.Subscription
	closed chan struct{}
}

// Subscribe hands every later announcement on a subject to handle, one after the other; a slow handle loses some. It
// returns once the server knows of it, and outlasts reconnects: what is announced meanwhile is lost.
func (c *Conn) Subscribe(ctx context.Context, subject string, handle func(data []byte)) (*Subscription, error) {
	sub, err := c.nc.Subscribe(subject, func(m *nats.Msg) { handle(m.Data) })
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w: %w", subject, ErrUnavailable, err)
	}
	s := &Subscription{sub: sub, closed: make(chan struct{})}
	sub.SetClosedHandler(func(string) { close(s.closed) })
	err = c.Ready(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to %s: %w", subject, err), s.Stop(ctx))
	}
	return s, nil
}

// Stop hears no more and returns when handle runs no longer, or when ctx ends.
func (s *Subscription) Stop(ctx context.Context) error {
	err := s.sub.Unsubscribe()
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	select {
	case <-s.closed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("unsubscribe: %w", ctx.Err())
	}
}
