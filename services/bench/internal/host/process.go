// Package host runs the processes that are measured and reads what each of them costs.
package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	// readyLimit bounds the wait for a process to be ready, on a loaded machine too.
	readyLimit = 60 * time.Second
	readyPoll  = 20 * time.Millisecond
	// stopLimit is how long a process may take to end after SIGTERM.
	stopLimit = 40 * time.Second
)

// Program says what to run.
type Program struct {
	Name string // of the process in the report
	Path string
	Args []string
	Env  []string // all of its environment
	Log  string   // file that gets what it prints
}

// Process is a running program.
type Process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended, after done
}

// Launch starts a program. It outlives ctx; Stop ends it.
func Launch(ctx context.Context, p Program) (*Process, error) {
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", p.Name, err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.Path, p.Args...) //nolint:gosec // a binary that was built for this
	cmd.Env, cmd.Stdout, cmd.Stderr = p.Env, out, out
	// A signal from the keyboard reaches this process alone, which stops the others in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", p.Name, err), out.Close())
	}
	process := &Process{name: p.Name, log: p.Log, cmd: cmd, done: make(chan struct{})}
	go func() {
		process.err = errors.Join(cmd.Wait(), out.Close())
		close(process.done)
	}()
	return process, nil
}

// Name is that of the program.
func (p *Process) Name() string { return p.name }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Await returns when ready does not fail any more, and fails when the process ends or takes too long.
func (p *Process) Await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %w\n%s", p.name, p.err, p.Tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, err, p.Tail())
		case <-ticker.C:
		}
	}
}

// Stop asks the process to end, and kills it when it does not. A process that had ended by itself is an error.
func (p *Process) Stop() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended by itself: %w\n%s", p.name, p.err, p.Tail())
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // one that ends just now needs no signal
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not end within %s and was killed\n%s", p.name, stopLimit, p.Tail())
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		return fmt.Errorf("%s ended with %w\n%s", p.name, exit, p.Tail())
	}
	return nil
}

// Tail returns the end of what the process printed.
func (p *Process) Tail() string {
	const enough = 2000
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-enough):])
}
