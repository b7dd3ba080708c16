// Package dispatch is the delivery engine: it takes sends of one channel from
// the broker, has each carried by a provider, and tells what became of it. It
// knows no integration; one engine serves every channel.
//
// It promises that one hand-over makes one call at most, that every call is
// told by an event under an id of its own before the broker hears of it (P5),
// that no call starts after a code's deadline or for a challenge that is known
// to have ended (P6), and that a stop loses and doubles nothing (P1). What it
// cannot understand becomes a dead letter. A notice goes the way of a code.
//
// A hand-over goes through small stages over a Job: decode, gate, open, render
// and send (stages.go); conclude records what became of it (record.go). Each
// stage ends a hand-over by an error named after what has to be done (verbs.go).
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/keyring"
	"doorcode/pkg/provider"
	"doorcode/pkg/seal"
)

const (
	// fetchWait is how long a fetch waits for its first message. Drain waits
	// for it, because a running fetch is not cancelled (nats-postgres.md 3).
	fetchWait = 2 * time.Second
	// topUpWait is how long a fetch goes on once the first message is there: each
	// further one is worked on as it comes, and under load one question to the
	// broker brings many. It is short, because what comes while a result cannot
	// be published is worked on too (P5).
	topUpWait = 100 * time.Millisecond
)

// Engine is one dispatcher. It runs once.
type Engine struct {
	channel   delivery.Channel
	source    string
	provider  provider.Provider
	fetcher   Source
	publisher Publisher
	verifier  Asker
	ring      *keyring.Ring
	write     func(string, seal.Content) (provider.Message, error)
	// destination of a recipient, for the record.
	destination func(string) string
	clock       func() time.Time
	random      func() float64
	log         *slog.Logger
	metrics     *metrics
	tracer      trace.Tracer
	ackWait     time.Duration
	schedule    []time.Duration
	fetchWait   time.Duration

	slots       chan struct{} // one entry for each worker that is busy
	unpublished *latch
	ended       *endedSends
	workers     sync.WaitGroup

	draining  chan struct{} // closed by Drain
	drainOnce sync.Once
	mu        sync.Mutex // guards what follows
	ran       bool
	abort     context.CancelFunc // ends calls and publishing
	done      chan struct{}      // closed when Run has returned
}

// New returns an engine that fetches nothing yet, or says which part of the
// configuration is missing.
func New(cfg Config) (*Engine, error) {
	err := cfg.validate()
	if err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	m, err := newMetrics(cfg.Metrics, cfg.Channel, cfg.Provider.Name())
	if err != nil {
		return nil, err
	}
	return &Engine{
		channel: cfg.Channel, source: fmt.Sprintf("doorcode/%s-dispatcher", cfg.Channel),
		provider: cfg.Provider, fetcher: cfg.Source, publisher: cfg.Publisher, verifier: cfg.Verifier,
		ring: cfg.Ring, write: cfg.Render, destination: cfg.Destination, clock: cfg.Clock, random: cfg.Random, log: cfg.Log, metrics: m, tracer: cfg.Tracer,
		ackWait: cfg.AckWait, schedule: cfg.Schedule, fetchWait: fetchWait,
		slots: make(chan struct{}, cfg.Workers), unpublished: newLatch(), ended: newEndedSends(),
		draining: make(chan struct{}), done: make(chan struct{}),
	}, nil
}

// Run fetches and works until Drain, and returns when every hand-over has
// ended. When ctx ends, it stops at once: calls are cancelled, and what is not
// published after one more try stays untold.
func (e *Engine) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.mu.Lock()
	if e.ran {
		e.mu.Unlock()
		return errors.New("dispatch: the engine has run before")
	}
	e.ran, e.abort = true, cancel
	e.mu.Unlock()
	defer close(e.done)
	defer e.workers.Wait()

	pause := backoff{random: e.random}
	for e.ready(ctx) {
		free := e.take(ctx)
		err := e.fetch(ctx, free)
		if err == nil {
			pause.reset()
			continue
		}
		e.log.WarnContext(ctx, "fetch failed", "error", err)
		e.rest(ctx, pause.next())
	}
	return nil
}

// Drain fetches nothing more, gives back what no worker has begun, and lets
// what is in flight end. It returns when Run has. When ctx ends first, calls
// are cancelled and publishing gives up; Drain then returns after a few
// seconds with the error of ctx.
func (e *Engine) Drain(ctx context.Context) error {
	e.drainOnce.Do(func() { close(e.draining) })
	e.mu.Lock()
	ran, abort := e.ran, e.abort
	e.mu.Unlock()
	if !ran {
		return nil
	}
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		abort()
		<-e.done
		return fmt.Errorf("drain the dispatcher: %w", ctx.Err())
	}
}

// isDraining reports whether Drain was called.
func (e *Engine) isDraining() bool {
	select {
	case <-e.draining:
		return true
	default:
		return false
	}
}

// ready waits until everything is published and reports whether to go on.
func (e *Engine) ready(ctx context.Context) bool {
	select {
	case <-e.unpublished.cleared():
		return ctx.Err() == nil && !e.isDraining()
	case <-e.draining:
	case <-ctx.Done():
	}
	return false
}

// rest waits for a pause, less when there is nothing more to fetch.
func (e *Engine) rest(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.draining:
	case <-ctx.Done():
	}
}

// take waits for a free worker and returns how many are free by then. All of
// them count as busy until put.
func (e *Engine) take(ctx context.Context) int {
	select {
	case e.slots <- struct{}{}:
	case <-e.draining:
		return 0
	case <-ctx.Done():
		return 0
	}
	for free := 1; ; free++ {
		select {
		case e.slots <- struct{}{}:
		default:
			return free
		}
	}
}

// put makes that many workers free.
func (e *Engine) put(n int) {
	for range n {
		<-e.slots
	}
}

// fetch takes as many messages as there are free workers and starts each as it
// comes. An empty bus is asked for one, and for more once that is there.
func (e *Engine) fetch(ctx context.Context, free int) error {
	defer func() { e.put(free) }()
	limit := 1
	for _, wait := range []time.Duration{e.fetchWait, topUpWait} {
		if free == 0 || !e.ready(ctx) {
			return nil
		}
		before := free
		err := e.fetcher.Hand(ctx, limit, wait, func(d *bus.Delivery) {
			free--
			e.start(ctx, d)
		})
		if err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		if free == before {
			return nil
		}
		limit = free
	}
	return nil
}

// start works on one message in a goroutine that frees its worker at the end.
func (e *Engine) start(ctx context.Context, d *bus.Delivery) {
	e.metrics.inFlight.Inc()
	e.workers.Go(func() {
		defer e.put(1)
		defer e.metrics.inFlight.Dec()
		h := &handOver{Job: newJob(d), answer: d}
		faultpoint.Hit("dispatch.fetched")
		defer e.release(h)
		e.conclude(ctx, h, e.advance(ctx, h.Job))
	})
}
