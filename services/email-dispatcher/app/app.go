package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/dispatch"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/message"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/sendgrid"
	"doorcode/pkg/seal"
	"doorcode/pkg/telemetry"
)

// drainTimeout is how long sends in flight may take to end (nats-postgres.md 3).
const drainTimeout = 10 * time.Second

// App is the process. It sends nothing before Start and nothing after Stop.
type App struct {
	cfg      Config
	tel      telemetry.Telemetry
	renderer *message.Renderer
	sendgrid *sendgrid.Client
	breaker  *breakerGauge

	stack   lifecycle.Stack
	failed  chan error
	publish *bus.Conn
	consume *bus.Conn
}

// New checks the settings and opens nothing.
func New(cfg Config, tel telemetry.Telemetry) (*App, error) {
	err := cfg.Validate()
	if err != nil {
		return nil, err
	}
	renderer, err := message.New(cfg.Brand)
	if err != nil {
		return nil, fmt.Errorf("email-dispatcher: %w", err)
	}
	client, err := sendgrid.New(sendgrid.Config{
		BaseURL: cfg.SendGridURL, Key: cfg.SendGridKey, From: cfg.FromAddress, FromName: cfg.FromName,
		Live: cfg.Live, MaxConns: cfg.Workers, Clock: time.Now,
	})
	if err != nil { // The text says which of them; Validate has looked at the others.
		return nil, fmt.Errorf("DOORCODE_EMAIL_DISPATCHER_FROM_ADDRESS, _FROM_NAME or _SENDGRID_KEY_FILE: %w", err)
	}
	breaker, err := newBreakerGauge(tel, client.Name())
	if err != nil {
		return nil, fmt.Errorf("email-dispatcher: %w", err)
	}
	return &App{
		cfg: cfg, tel: tel, renderer: renderer, sendgrid: client, breaker: breaker, failed: make(chan error, 1),
	}, nil
}

// Start connects to the bus, which is waited for, checks the consumer and
// begins to send.
func (a *App) Start(ctx context.Context) error {
	ring, err := keyring.Read(a.cfg.ChannelKeyFile)
	if err != nil {
		return fmt.Errorf("key of the channel: %w", err)
	}
	a.stack.Push("provider", func(context.Context) error { a.sendgrid.Close(); return nil })
	// Two connections, so that messages coming in never delay a result.
	a.publish, err = a.connect(ctx, "publishing")
	if err != nil {
		return err
	}
	a.consume, err = a.connect(ctx, "consuming")
	if err != nil {
		return err
	}
	source, err := a.consumer(ctx)
	if err != nil {
		return err
	}
	ackWait, schedule, err := patience()
	if err != nil {
		return err
	}
	engine, err := dispatch.New(dispatch.Config{
		Channel: delivery.Email, Provider: a.chain(), Source: source, Publisher: a.publish, Verifier: a.publish,
		Ring: ring, Render: a.render, Clock: time.Now, Log: a.tel.Log, Metrics: a.tel.Registry,
		Workers: a.cfg.Workers, AckWait: ackWait, Schedule: schedule,
	})
	if err != nil {
		return fmt.Errorf("email-dispatcher: %w", err)
	}
	a.run(ctx, engine)
	return nil
}

// connect opens one connection and pushes its end.
func (a *App) connect(ctx context.Context, purpose string) (*bus.Conn, error) {
	conn, err := bus.Connect(ctx, bus.Config{
		URL: a.cfg.NATSURL, Name: bus.EmailDispatcher, KeyFile: a.cfg.NATSKeyFile,
		Log: a.tel.Log.With("connection", purpose), Fatal: a.fail,
	})
	if err != nil {
		return nil, fmt.Errorf("email-dispatcher: %w", err)
	}
	a.stack.Push(purpose+" connection", conn.Drain)
	return conn, nil
}

// consumer opens the durable of this process and checks its settings.
func (a *App) consumer(ctx context.Context) (*bus.Consumer, error) {
	consumer, err := a.consume.Consumer(ctx, event.StreamChallenges, bus.EmailDispatcher)
	if err != nil {
		return nil, fmt.Errorf("email-dispatcher: %w", err)
	}
	return consumer, nil
}

// chain is the provider as the engine sees it. The breaker is outside: what it
// stops takes no turn of the rate.
func (a *App) chain() provider.Provider {
	burst := max(int(a.cfg.RatePerSecond/10), 1)
	return provider.WithBreaker(
		provider.WithRate(a.sendgrid, a.cfg.RatePerSecond, burst),
		provider.BreakerConfig{Clock: time.Now, OnChange: a.breaker.set},
	)
}

// render turns the content of an envelope into an e-mail.
func (a *App) render(c seal.Content) (provider.Message, error) {
	m, err := a.renderer.Render(message.Facts{
		Code: c.Code, Label: c.Label, Reference: c.Reference, Workspace: c.Workspace, Locale: c.Locale,
		CreatedAt: c.CreatedAt, ExpiresAt: c.ExpiresAt, UserAgent: c.UserAgent,
	})
	if err != nil {
		return provider.Message{}, fmt.Errorf("render: %w", err)
	}
	return provider.Message{Subject: m.Subject, Text: m.Text, HTML: m.HTML}, nil
}

// run starts the engine and pushes its drain, the first thing to happen at a
// stop. The engine outlives the context of the start.
func (a *App) run(ctx context.Context, engine *dispatch.Engine) {
	var running sync.WaitGroup
	ctx = context.WithoutCancel(ctx)
	running.Go(func() {
		err := engine.Run(ctx)
		if err != nil {
			a.fail(err)
		}
	})
	a.stack.Push("engine", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, drainTimeout)
		defer cancel()
		err := engine.Drain(ctx)
		running.Wait()
		return err
	})
}

// Stop lets sends in flight end, gives back the others, and closes everything.
func (a *App) Stop(ctx context.Context) error { return a.stack.Close(ctx) }

// Ready asks for the bus and for the consumer on it.
func (a *App) Ready(ctx context.Context) error {
	_, err := a.consumer(ctx)
	return errors.Join(a.publish.Ready(ctx), err)
}

// Failed delivers what no retry can mend, such as a permission that the bus
// refuses.
func (a *App) Failed() <-chan error { return a.failed }

// fail passes the first fatal error on; later ones follow from it.
func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
}

// patience returns the consumer's time for an ack and a schedule that is one
// shorter than its deliveries, so that the engine knows which is the last.
func patience() (time.Duration, []time.Duration, error) {
	schedule := dispatch.DefaultSchedule()
	for _, s := range bus.Streams() {
		for _, c := range s.Consumers {
			if c.Durable == bus.EmailDispatcher && c.MaxDeliver == len(schedule)+1 {
				return c.AckWait, schedule, nil
			}
		}
	}
	return 0, nil, errors.New("email-dispatcher: the consumer and the schedule of repeats do not fit each other")
}
