package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"doorcode/pkg/config"
	"doorcode/pkg/httpserver"
	"doorcode/pkg/telemetry"
)

// stopTimeout bounds a stop. It lies under the 30 s after which Kubernetes kills.
const stopTimeout = 25 * time.Second

// Exit codes.
const (
	exitStopped = 0
	exitFailed  = 1
)

// Configured is what a process's configuration must offer.
type Configured interface{ Operations() Operations }

// Main is the whole body of a process's main function; it returns the exit code: 0 after an orderly stop, 1 after any
// error, which is logged.
//
// It loads a T from the environment under prefix, builds the app, serves the operations address from before the start
// to after the stop, and stops within 25 s on SIGINT, SIGTERM or a failure of the app. A second signal kills. /readyz
// says 503 until the start is done and again from the moment the stop begins.
func Main[T Configured](name, prefix string, build func(T, telemetry.Telemetry) (App, error)) int {
	relax(os.Environ(), debug.SetGCPercent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	p := process[T]{
		name:    name,
		prefix:  prefix,
		build:   build,
		environ: os.Environ(),
		stdout:  os.Stdout,
		signals: signals,
		forget:  func() { signal.Stop(signals) },
	}
	return p.run(context.Background())
}

// growth is by how many percent the heap grows beyond what lives in it before it is collected, where Go's own figure is
// 100. A process of ours lives on some 10 MB, so it gives 30 MB more for a seventh of its time.
const growth = 400

// relax sets growth, unless the operator has set GOGC. A limit that is set by GOMEMLIMIT stays stronger.
func relax(environ []string, set func(percent int) int) {
	if !slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, "GOGC=") }) {
		set(growth)
	}
}

// process is Main with all that it takes from the operating system.
type process[T Configured] struct {
	name, prefix string
	build        func(T, telemetry.Telemetry) (App, error)
	environ      []string
	stdout       io.Writer
	signals      <-chan os.Signal
	forget       func() // Called at the first signal: the next one has its default effect.
}

// run runs the process until it has stopped.
func (p process[T]) run(ctx context.Context) int {
	first, err := telemetry.New(p.name, slog.LevelInfo.String(), p.stdout)
	if err != nil {
		return exitFailed // Cannot be: the level is known.
	}
	cfg, err := config.Load[T](p.prefix, p.environ)
	if err != nil {
		first.Log.Error("configuration refused", "error", err.Error())
		return exitFailed
	}
	tel, err := telemetry.New(p.name, cfg.Operations().LogLevel, p.stdout)
	if err != nil {
		first.Log.Error("configuration refused", "error", err.Error())
		return exitFailed
	}
	var stack Stack
	tel, end, err := tel.Export(ctx, p.name, cfg.Operations().OTLP)
	if err != nil {
		tel.Log.Error("configuration refused", "error", err.Error())
		return exitFailed
	}
	stack.Push("traces", end) // Ends last, so that it hears of everything.
	app, err := p.build(cfg, tel)
	if err != nil {
		tel.Log.Error("configuration refused", "error", err.Error())
		_ = end(ctx)
		return exitFailed
	}

	gate := &gate{app: app}
	err = p.live(ctx, &stack, gate, cfg.Operations().Listen, tel)
	code := exitStopped
	if err != nil {
		tel.Log.Error("process failed", "error", err.Error())
		code = exitFailed
	}
	gate.state.Store(stopping)
	tel.Log.Info("stopping")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err = stack.Close(ctx)
	if err != nil {
		tel.Log.Error("stop failed", "error", err.Error())
		return exitFailed
	}
	tel.Log.Info("stopped")
	return code
}

// live starts everything and returns when there is a reason to stop: an error, or nil when somebody asked for it.
func (p process[T]) live(ctx context.Context, stack *Stack, g *gate, listen string, tel telemetry.Telemetry) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	operations, err := httpserver.Start(ctx, httpserver.Config{
		Name:    "operations",
		Listen:  listen,
		Handler: httpserver.Operations(tel.Registry, g.ready),
		Log:     tel.Log,
	})
	if err != nil {
		return err
	}
	stack.Push("operations", operations.Stop)

	started := make(chan error, 1)
	go func() { started <- stack.Start(ctx, p.name, g.app) }()
	select {
	case err := <-started:
		if err != nil {
			return err
		}
	case sig := <-p.signals:
		p.heed(sig, tel.Log)
		cancel()
		err := <-started
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	g.state.Store(running)
	tel.Log.Info("started")

	select {
	case <-ctx.Done():
		return nil
	case sig := <-p.signals:
		p.heed(sig, tel.Log)
		return nil
	case err := <-operations.Failed():
		return err
	case err := <-g.app.Failed():
		return fmt.Errorf("run %s: %w", p.name, reasoned(err))
	}
}

// heed notes a signal.
func (p process[T]) heed(sig os.Signal, log *slog.Logger) {
	p.forget()
	log.Info("asked to stop", "signal", sig.String())
}

// The states of a process, as /readyz tells them.
const (
	starting int32 = iota
	running
	stopping
)

// gate asks the app about its readiness while it runs, and nothing of an app that is half open.
type gate struct {
	app   App
	state atomic.Int32
}

// ready is the answer of /readyz.
func (g *gate) ready(ctx context.Context) error {
	switch g.state.Load() {
	case running:
		return g.app.Ready(ctx)
	case stopping:
		return errors.New("the process is stopping")
	default:
		return errors.New("the process is starting")
	}
}
