// Package upkeep is what the verifier does by itself: it carries the outbox to the bus, ends challenges that are over,
// and removes rows that nobody needs any more. Any number of replicas may do so at once.
package upkeep

import (
	"context"
	"log/slog"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
)

// Figures of the relay (nats-postgres.md 4).
const (
	relayBatch = 200
	relayEvery = 500 * time.Millisecond
	relayRest  = 20 * time.Millisecond
)

// outbox is what the relay needs of Postgres.
type outbox interface {
	Relay(ctx context.Context, limit int, publish func(context.Context, []event.Event) []error) (int, int, error)
	OutboxPending(ctx context.Context) (waiting int, oldest time.Duration, err error)
}

// publisher stores events in their streams.
type publisher interface {
	PublishBatch(ctx context.Context, batch []bus.Message) []error
}

// Relay carries the outbox to the bus: after a local commit at once, or after a short rest when it has just done so, so
// that many commits share a round; and every half second for what others wrote.
type Relay struct {
	store   outbox
	bus     publisher
	log     *slog.Logger
	pending func(waiting int, oldest time.Duration)
	wake    chan struct{}
}

// NewRelay returns a relay; pending is told how many events wait, and how long the oldest has.
func NewRelay(s outbox, b publisher, log *slog.Logger, pending func(waiting int, oldest time.Duration)) *Relay {
	return &Relay{store: s, bus: b, log: log, pending: pending, wake: make(chan struct{}, 1)}
}

// Wake tells the relay that an event waits. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run relays until ctx ends.
func (r *Relay) Run(ctx context.Context) {
	ticker := time.NewTicker(relayEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-ticker.C:
			r.count(ctx)
		}
		r.Drain(ctx)
		rest(ctx, relayRest)
	}
}

// rest waits for d, or less when ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Drain relays until nothing is left that can go now.
func (r *Relay) Drain(ctx context.Context) {
	for ctx.Err() == nil {
		done, failed, err := r.store.Relay(ctx, relayBatch, r.publish)
		if err != nil && ctx.Err() == nil {
			r.log.Warn("relay failed", "error", err)
		}
		if err != nil || failed > 0 || done < relayBatch {
			return
		}
	}
}

// publish stores events in their streams. The id of an event is that of its message, so that a repeat is dropped.
func (r *Relay) publish(ctx context.Context, events []event.Event) []error {
	faultpoint.Hit("relay.read")
	errs := make([]error, len(events))
	var batch []bus.Message
	var at []int
	for i, e := range events {
		m, err := message(e)
		if err != nil {
			errs[i] = err
			continue
		}
		batch, at = append(batch, m), append(at, i)
	}
	for i, err := range r.bus.PublishBatch(ctx, batch) {
		errs[at[i]] = err
	}
	faultpoint.Hit("relay.published")
	for i, err := range errs {
		if err != nil && ctx.Err() == nil {
			r.log.Warn("event not published", "event", events[i].ID, "type", string(events[i].Type), "error", err)
			break // One line for a batch: what it says is true of most of it.
		}
	}
	return errs
}

// message is the wire form of an event.
func message(e event.Event) (bus.Message, error) {
	var to struct {
		Channel string `json:"channel"`
	}
	err := e.Decode(&to)
	if err != nil {
		return bus.Message{}, err
	}
	subject, err := event.SubjectOf(e.Type, to.Channel)
	if err != nil {
		return bus.Message{}, err
	}
	return bus.Message{Subject: subject, ID: e.ID, Header: e.Header(), Data: e.Data}, nil
}

func (r *Relay) count(ctx context.Context) {
	n, oldest, err := r.store.OutboxPending(ctx)
	if err == nil {
		r.pending(n, oldest)
	}
}
