// Package lifecycle runs a process from its environment to its exit code: settings, log, operations server, start,
// signal, stop.
//
// It knows nothing of what the process does. Whatever is started is pushed on one stack and stopped in reverse, also
// after a start that failed half-way.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// App is a process as a value, so that several can run in one program.
type App interface {
	// Start opens everything and returns once the app serves. The context bounds the start alone: what goes on
	// afterwards has a context of its own, which Stop ends.
	Start(ctx context.Context) error
	// Stop lets running work end, as far as ctx allows, and closes everything. It is called once, also after a Start
	// that failed half-way.
	Stop(ctx context.Context) error
	// Ready names what is down, if anything is. It is called between a successful Start and Stop alone, and its error
	// is shown to operators.
	Ready(ctx context.Context) error
	// Failed delivers the error that made an app useless while it ran; closing the channel counts as one. A nil channel
	// is that of an app that cannot fail.
	Failed() <-chan error
}

// Operations are the settings of every process that operators look at.
type Operations struct {
	Listen   string // Address of /healthz, /readyz and /metrics.
	LogLevel string // debug, info, warn or error.
	OTLP     string // Address of the collector of traces; empty traces nothing.
}

// Stack holds the clean-ups of what has been started. The zero Stack is empty and ready. It may be used by several
// goroutines at once.
type Stack struct {
	mu    sync.Mutex
	steps []step
}

// step is one clean-up under the name that its error carries.
type step struct {
	name string
	stop func(context.Context) error
}

// Push adds a clean-up to run before all that are there.
func (s *Stack) Push(name string, stop func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, step{name, stop})
}

// Start starts an app and pushes its Stop first, so that an app which fails half-way is cleaned up as well.
func (s *Stack) Start(ctx context.Context, name string, app App) error {
	s.Push(name, app.Stop)
	err := app.Start(ctx)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}

// Close runs every clean-up, the last pushed first, whether or not others fail or ctx has ended, and joins their
// errors. Each runs once: a second Close does nothing.
func (s *Stack) Close(ctx context.Context) error {
	s.mu.Lock()
	steps := s.steps
	s.steps = nil
	s.mu.Unlock()
	var problems []error
	for _, step := range slices.Backward(steps) {
		err := step.stop(ctx)
		if err != nil {
			problems = append(problems, fmt.Errorf("stop %s: %w", step.name, err))
		}
	}
	return errors.Join(problems...)
}

// reasoned gives a name to the failure of an app that told none.
func reasoned(err error) error {
	if err == nil {
		return errors.New("the app ended without a reason")
	}
	return err
}
