package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorcode/pkg/freeport"
)

// patience bounds every wait for a condition.
const patience = 2 * time.Minute

// process is one running binary with its log.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // path of what it printed
	done chan struct{} // closed when it ended
	err  error         // how it ended, after done
}

// launch starts a binary with the given settings and nothing else of ours in
// its environment.
func launch(name, log string, settings map[string]string) (*process, error) {
	return launchFile(context.Background(), binary(name), name, log, settings)
}

// launchFile is launch for a binary anywhere. The process outlives ctx.
func launchFile(ctx context.Context, path, name, log string, settings map[string]string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: exec.CommandContext(context.WithoutCancel(ctx), path), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(foreignEnvironment(), list(settings)...)
	err = p.cmd.Start()
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	go func() {
		p.err = errors.Join(p.cmd.Wait(), out.Close())
		close(p.done)
	}()
	return p, nil
}

// foreignEnvironment is ours without doorcode's settings. The race detector
// otherwise holds every process for a second at its end.
func foreignEnvironment() []string {
	env := []string{"GORACE=atexit_sleep_ms=0"}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DOORCODE_") {
			env = append(env, v)
		}
	}
	return env
}

// list writes settings as an environment.
func list(settings map[string]string) []string {
	var env []string
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	return env
}

// signal sends a signal to this process alone and waits for its end.
func (p *process) signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("%s did not end after %s", p.name, s)
	}
}

// printed returns what the process printed so far.
func (p *process) printed() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// ready waits until /readyz says so, or the process ended.
func (p *process) ready(operations string) error {
	return p.readyIn(context.Background(), operations)
}

// readyIn is ready until ctx ends.
func (p *process) readyIn(ctx context.Context, operations string) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		status, _, err := readyz(ctx, operations)
		if err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %w\n%s", p.name, p.err, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.name, ctx.Err(), p.tail())
		case <-deadline.C:
			return fmt.Errorf("%s is not ready\n%s", p.name, p.tail())
		case <-ticker.C:
		}
	}
}

// readyz returns what /readyz answers.
func readyz(ctx context.Context, operations string) (status int, body string, err error) {
	hc := &http.Client{Timeout: patience}
	defer hc.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+operations+"/readyz", nil)
	if err != nil {
		return 0, "", err
	}
	res, err := hc.Do(req)
	if err != nil {
		return 0, "", err
	}
	data, err := io.ReadAll(res.Body)
	return res.StatusCode, string(data), errors.Join(err, res.Body.Close())
}

// tail is the end of the log, for a failed test.
func (p *process) tail() string {
	text := p.printed()
	return text[max(0, len(text)-4000):]
}

// freePorts returns that many different addresses that are this run's until its end, so that a process finds its own
// again after a restart.
func freePorts(n int) ([]string, error) {
	taken, err := freeport.Take(context.Background(), "127.0.0.1", n)
	if err != nil {
		return nil, err
	}
	return taken.Addresses, nil
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			t.Fatalf("it never came true: %s", what)
		case <-ticker.C:
		}
	}
}

// runBinary runs a binary to its end and returns what it printed.
func runBinary(name string, settings map[string]string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(name), args...)
	cmd.Env = append(foreignEnvironment(), list(settings)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// repository is the folder of the module.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "..", "..")
}
