// Package app is the verifier as a value: it judges codes, owns the state of every challenge, records events, takes
// resends, relays the outbox and sweeps what is over (DESIGN 2).
//
// It holds digest, handle, check-id and assertion keys; no tag key and no channel key: it can neither read nor guess a
// code. It promises to skip nothing when Postgres or NATS cannot be asked (P7), and stops in order: it takes no more
// requests, finishes the batch at hand, relays once more and closes.
package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"doorcode/pkg/assertion"
	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/postgres"
	"doorcode/pkg/telemetry"
	"doorcode/services/verifier/internal/announce"
	"doorcode/services/verifier/internal/check"
	"doorcode/services/verifier/internal/lookup"
	"doorcode/services/verifier/internal/recorder"
	"doorcode/services/verifier/internal/resend"
	"doorcode/services/verifier/internal/standing"
	"doorcode/services/verifier/internal/upkeep"
	"doorcode/services/verifier/internal/waive"
)

// Pools: checks never wait behind a batch of the recorder (nats-postgres.md 10).
const (
	requestConns    = 16
	backgroundConns = 6
)

// lastRelay bounds the relay of a stop.
const lastRelay = 3 * time.Second

// App is the verifier.
type App struct {
	cfg     Config
	log     *slog.Logger
	tracer  trace.Tracer
	metrics *metrics
	keys    keys
	stack   lifecycle.Stack
	failed  chan error

	bus        *bus.Conn
	requests   *postgres.DB
	background *postgres.DB

	// idleRecorder starts the app without its recorder, for tests of what must work without one.
	idleRecorder bool
}

// keys are what the verifier signs and compares with.
type keys struct {
	digests, handles, checkIDs *keyring.Ring
	assertion                  *assertion.Keys
}

// verbs are the parts that answer requests.
type verbs struct {
	check  *check.Checker
	resend *resend.Orderer
	keeper *standing.Keeper
	waiver *waive.Waiver
}

// New reads the key files and registers the metrics; it opens nothing else.
func New(cfg Config, tel telemetry.Telemetry) (*App, error) {
	a := &App{cfg: cfg, log: tel.Log, tracer: tel.Tracer(), failed: make(chan error, 1)}
	for _, ring := range []struct {
		path string
		to   **keyring.Ring
	}{{cfg.DigestKeyFile, &a.keys.digests}, {cfg.HandleKeyFile, &a.keys.handles}, {cfg.CheckIDKeyFile, &a.keys.checkIDs}} {
		var err error
		*ring.to, err = keyring.Read(ring.path)
		if err != nil {
			return nil, err
		}
	}
	var err error
	a.keys.assertion, err = assertion.Read(cfg.AssertionKeyFile)
	if err != nil {
		return nil, err
	}
	a.metrics, err = newMetrics(tel.Registry)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Start connects to Postgres and NATS, starts the loops and serves the verbs.
func (a *App) Start(ctx context.Context) error {
	err := a.connect(ctx)
	if err != nil {
		return err
	}
	announcer := announce.New(a.bus, a.log)
	a.loop(ctx, "announcer", announcer.Run)
	relay := upkeep.NewRelay(a.background, a.bus, a.log, a.metrics.outbox)
	a.stack.Push("last relay", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, lastRelay)
		defer cancel()
		relay.Drain(ctx)
		return nil
	})
	// Whoever commits an outbox row wakes the relay, and tells which challenges it changed.
	changed := func(challenges ...string) {
		relay.Wake()
		announcer.Changed(challenges...)
	}
	a.loop(ctx, "relay", relay.Run)
	sweep, janitor := upkeep.NewSweep(a.background, a.log, a.metrics.end, changed), upkeep.NewJanitor(a.background, a.log)
	gates := upkeep.NewGates(a.background, a.cfg.limits(), a.log, a.metrics.judged)
	sweep.Done, janitor.Done, gates.Done = a.metrics.rounds(loopSweep), a.metrics.rounds(loopJanitor), a.metrics.rounds(loopGates)
	a.loop(ctx, loopSweep, sweep.Run)
	a.loop(ctx, loopJanitor, janitor.Run)
	counter := upkeep.NewCounter(a.background, a.log)
	counter.Done = a.metrics.rounds(loopCounter)
	a.loop(ctx, loopCounter, counter.Run)
	a.loop(ctx, loopGates, gates.Run)
	finder := lookup.New(a.requests, a.bus, a.keys.handles)
	if !a.idleRecorder {
		err = a.record(ctx, finder, announcer.Changed)
		if err != nil {
			return err
		}
	}
	return a.serve(ctx, finder, changed)
}

// connect opens the two pools and the bus.
func (a *App) connect(ctx context.Context) error {
	for _, pool := range []struct {
		name  string
		conns int32
		to    **postgres.DB
	}{{"requests", requestConns, &a.requests}, {"background", backgroundConns, &a.background}} {
		db, err := postgres.Open(ctx, postgres.Config{
			URL: a.cfg.DatabaseURL, User: a.cfg.DatabaseUser, Password: a.cfg.DatabasePassword,
			Application: "doorcode verifier " + pool.name, MaxConns: pool.conns,
		})
		if err != nil {
			return err
		}
		*pool.to = db
		a.stack.Push("database pool "+pool.name, func(context.Context) error { db.Close(); return nil })
	}
	conn, err := bus.Connect(ctx, bus.Config{
		URL: a.cfg.NATSURL, CAFile: a.cfg.NATSCAFile, Name: "verifier", KeyFile: a.cfg.NATSKeyFile, Log: a.log, Fatal: a.fail,
	})
	if err != nil {
		return err
	}
	a.bus = conn
	a.stack.Push("bus", conn.Drain)
	return nil
}

// loop runs a loop until it is popped from the stack, also after the context of the start has ended.
func (a *App) loop(ctx context.Context, name string, run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	a.stack.Push(name, func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})
}

// record starts the recorder's loops, one for each stream that it copies.
func (a *App) record(ctx context.Context, finder *lookup.Finder, changed func(challenges ...string)) error {
	number, err := a.bus.StreamNumber(ctx, event.StreamChallenges)
	if err != nil {
		return err
	}
	for _, stream := range []string{event.StreamChallenges, event.StreamDeliveries} {
		consumer, err := a.bus.Consumer(ctx, stream, bus.Recorder)
		if err != nil {
			return err
		}
		r, err := recorder.New(recorder.Config{
			Source: consumer, Store: a.background, Publisher: a.bus, Arrivals: finder, Number: number, Clock: time.Now, Log: a.log,
			Recorded: a.metrics.record(stream), Changed: changed, Dead: a.metrics.dead.Inc,
		})
		if err != nil {
			return err
		}
		a.loop(ctx, recorderOf(stream), r.Run)
	}
	return nil
}

// serve answers the verbs.
func (a *App) serve(ctx context.Context, finder *lookup.Finder, changed func(challenges ...string)) error {
	checker, err := check.New(check.Config{
		Store: a.requests, Finder: finder, Digests: a.keys.digests, CheckIDs: a.keys.checkIDs, Keys: a.keys.assertion,
		Issuer: a.cfg.Issuer, Log: a.log, Ended: a.metrics.end, Changed: changed,
	})
	if err != nil {
		return err
	}
	keeper, err := standing.New(standing.Config{
		Store: a.requests, Finder: finder, Log: a.log, Ended: a.metrics.end, Changed: changed,
	})
	if err != nil {
		return err
	}
	waiver, err := waive.New(waive.Config{
		Store: a.requests, Finder: finder, Digests: a.keys.digests, Keys: a.keys.assertion, Issuer: a.cfg.Issuer, Log: a.log,
		Ended: a.metrics.end, Changed: changed,
	})
	if err != nil {
		return err
	}
	orderer := resend.New(a.requests, finder, a.log, changed)
	service, err := a.bus.Serve(ctx, bus.ServiceConfig{
		Name: "doorcode-verifier", Version: "1.0.0", Workers: a.cfg.Workers, Tracer: a.tracer,
		Endpoints: a.endpoints(verbs{check: checker, resend: orderer, keeper: keeper, waiver: waiver}),
	})
	if err != nil {
		return err
	}
	a.stack.Push("service", service.Stop)
	return nil
}

// fail reports what no retry can mend.
func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default: // The first one is enough.
	}
}

// Stop takes no more requests, finishes what runs, relays once more and closes everything.
func (a *App) Stop(ctx context.Context) error { return a.stack.Close(ctx) }

// Ready asks Postgres and NATS.
func (a *App) Ready(ctx context.Context) error {
	err := a.requests.Ping(ctx)
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	err = a.bus.Ready(ctx)
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	return nil
}

// Failed delivers a fatal error of the bus.
func (a *App) Failed() <-chan error { return a.failed }
