// Package process is a dispatcher as a process, whatever its channel: it wires
// the engine of pkg/dispatch to the bus and to one provider behind a rate and a
// breaker. What differs between channels is handed to it: who carries a message
// and how one is written.
//
// A process holds the key ring of its own channel and its provider's
// credentials, and nothing else (P10). Its name, its NATS user and its durable
// consumer are one word, `<channel>-dispatcher`.
package process

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/dispatch"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/message"
	"doorcode/pkg/provider"
	"doorcode/pkg/seal"
	"doorcode/pkg/telemetry"
)

// drainTimeout is how long sends in flight may take to end (nats-postgres.md 3).
const drainTimeout = 10 * time.Second

// Provider is an adapter that owns connections. Close is called once, when
// nothing is sent any more.
type Provider interface {
	provider.Provider
	Close()
}

// Renderer writes the messages of one channel.
type Renderer interface {
	Render(f message.Facts) (message.Message, error)
	RenderNotice(n message.Notice) (message.Message, error)
}

// Config is what a dispatcher is made of. Everything is required but NATSCAFile
// and Schedule.
type Config struct {
	Channel delivery.Channel
	// NATSURL is the address of the bus, NATSCAFile who may vouch for it (empty
	// leaves that to the address), NATSKeyFile the seed of the user
	// `<channel>-dispatcher`, ChannelKeyFile the ring that opens envelopes.
	NATSURL, NATSCAFile, NATSKeyFile, ChannelKeyFile string
	Provider                                         Provider
	Renderer                                         Renderer
	// Workers is how many messages are worked on at the same time,
	// RatePerSecond how many are handed to the provider at most.
	Workers       int
	RatePerSecond float64
	Telemetry     telemetry.Telemetry
	// Destination is the engine's.
	Destination func(recipient string) string
	Clock       func() time.Time
	// Schedule is the engine's, one shorter than the consumer's deliveries, so
	// that the engine knows which is the last; nil is the default.
	Schedule []time.Duration
}

// Process is one dispatcher. It sends nothing before Start and nothing after
// Stop.
type Process struct {
	cfg      Config
	name     string
	provider provider.Provider // behind rate and breaker
	queue    *queue

	stack   lifecycle.Stack
	failed  chan error
	publish *bus.Conn
	consume *bus.Conn
}

// New checks the configuration, registers the breaker's metric and opens
// nothing.
func New(cfg Config) (*Process, error) {
	p := &Process{cfg: cfg, name: name(cfg.Channel), failed: make(chan error, 1)}
	switch {
	case cfg.Provider == nil:
		return nil, fmt.Errorf("%s: the provider is missing", p.name)
	case cfg.Renderer == nil:
		return nil, fmt.Errorf("%s: the renderer is missing", p.name)
	case cfg.Clock == nil:
		return nil, fmt.Errorf("%s: the clock is missing", p.name)
	}
	err := errors.Join(CheckWorkers(cfg.Channel, cfg.Workers), CheckRate(cfg.RatePerSecond))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	breaker, err := newBreakerGauge(cfg.Telemetry, cfg.Provider.Name())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	p.queue, err = newQueue(cfg.Telemetry.Registry, cfg.Channel, event.StreamChallenges)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	// The breaker is outside: what it stops takes no turn of the rate.
	burst := max(int(cfg.RatePerSecond/10), 1)
	p.provider = provider.WithBreaker(
		provider.WithRate(cfg.Provider, cfg.RatePerSecond, burst),
		provider.BreakerConfig{Clock: cfg.Clock, OnChange: breaker.set},
	)
	return p, nil
}

// Start connects to the bus, which is waited for, checks the consumer and
// begins to send.
func (p *Process) Start(ctx context.Context) error {
	ring, err := keyring.Read(p.cfg.ChannelKeyFile)
	if err != nil {
		return fmt.Errorf("key of the channel: %w", err)
	}
	ackWait, schedule, err := patience(p.cfg.Channel, p.cfg.Schedule)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.stack.Push("provider", func(context.Context) error { p.cfg.Provider.Close(); return nil })
	// Two connections, so that messages coming in never delay a result.
	p.publish, err = p.connect(ctx, "publishing")
	if err != nil {
		return err
	}
	p.consume, err = p.connect(ctx, "consuming")
	if err != nil {
		return err
	}
	source, err := p.consumer(ctx)
	if err != nil {
		return err
	}
	p.queue.open(p.consume)
	engine, err := dispatch.New(dispatch.Config{
		Channel: p.cfg.Channel, Provider: p.provider, Source: source, Publisher: p.publish, Verifier: p.publish,
		Ring: ring, Render: p.render, Destination: p.cfg.Destination, Clock: p.cfg.Clock, Log: p.cfg.Telemetry.Log, Metrics: p.cfg.Telemetry.Registry, Tracer: p.cfg.Telemetry.Tracer(),
		Workers: p.cfg.Workers, AckWait: ackWait, Schedule: schedule,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.run(ctx, engine)
	return nil
}

// connect opens one connection and pushes its end.
func (p *Process) connect(ctx context.Context, purpose string) (*bus.Conn, error) {
	conn, err := bus.Connect(ctx, bus.Config{
		URL: p.cfg.NATSURL, CAFile: p.cfg.NATSCAFile, Name: p.name, KeyFile: p.cfg.NATSKeyFile,
		Log: p.cfg.Telemetry.Log.With("connection", purpose), Fatal: p.fail,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	p.stack.Push(purpose+" connection", conn.Drain)
	return conn, nil
}

// consumer opens the durable of this process and checks its settings.
func (p *Process) consumer(ctx context.Context) (*bus.Consumer, error) {
	consumer, err := p.consume.Consumer(ctx, event.StreamChallenges, p.name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	return consumer, nil
}

// render turns the content of an envelope into the provider's message: of a
// notice of that kind, or of a code.
func (p *Process) render(notice string, c seal.Content) (provider.Message, error) {
	m, err := p.write(notice, c)
	if err != nil {
		return provider.Message{}, fmt.Errorf("render: %w", err)
	}
	return provider.Message{Subject: m.Subject, Text: m.Text, HTML: m.HTML}, nil
}

// write has the renderer write the words. A link and a code are never in one
// message: people have to learn to mistrust one that has both.
func (p *Process) write(notice string, c seal.Content) (message.Message, error) {
	if notice == "" && c.Link != "" || notice != "" && c.Code != "" {
		return message.Message{}, fmt.Errorf("%w: a code and a link", message.ErrFacts)
	}
	if notice != "" {
		return p.cfg.Renderer.RenderNotice(message.Notice{
			Kind: notice, At: c.CreatedAt, Reference: c.Reference, Workspace: c.Workspace, Locale: c.Locale,
			Owner: c.Owner, Label: c.Label, Name: c.Name, To: c.To, Ending: c.Ending, Browser: c.Browser, System: c.System,
			Link: c.Link, Until: c.Until, Date: c.Date, Used: c.Used, People: c.People,
		})
	}
	return p.cfg.Renderer.Render(message.Facts{
		Code: c.Code, Label: c.Label, Reference: c.Reference, Workspace: c.Workspace, Locale: c.Locale,
		CreatedAt: c.CreatedAt, ExpiresAt: c.ExpiresAt, WrittenAt: p.cfg.Clock(), UserAgent: c.UserAgent,
		Purpose: challenge.Purpose(c.Purpose), About: challenge.About(c.About),
	})
}

// run starts the engine and pushes its drain, the first thing to happen at a
// stop. The engine outlives the context of the start.
func (p *Process) run(ctx context.Context, engine *dispatch.Engine) {
	var running sync.WaitGroup
	ctx = context.WithoutCancel(ctx)
	running.Go(func() {
		err := engine.Run(ctx)
		if err != nil {
			p.fail(err)
		}
	})
	p.stack.Push("engine", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, drainTimeout)
		defer cancel()
		err := engine.Drain(ctx)
		running.Wait()
		return err
	})
}

// Stop lets sends in flight end, gives back the others, and closes everything.
func (p *Process) Stop(ctx context.Context) error { return p.stack.Close(ctx) }

// Ready asks for the bus and for the consumer on it.
func (p *Process) Ready(ctx context.Context) error {
	_, err := p.consumer(ctx)
	return errors.Join(p.publish.Ready(ctx), err)
}

// Failed delivers what no retry can mend, such as a permission that the bus
// refuses.
func (p *Process) Failed() <-chan error { return p.failed }

// fail passes the first fatal error on; later ones follow from it.
func (p *Process) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}
