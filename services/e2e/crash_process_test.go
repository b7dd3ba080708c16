package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doorcode/pkg/bus/embedded"
)

// armedKinds are the processes that are built with their fault points.
func armedKinds() []string { return []string{"auth", "verifier", "email-dispatcher", "receipts"} }

// armedBinaries builds the processes with their fault points, at the first crash
// test of a run.
var armedBinaries = sync.OnceValue(func() error { // one build for all tests
	dir := binary("armed")
	err := os.Mkdir(dir, 0o755)
	if err != nil {
		return err
	}
	args := []string{"build", "-race", "-tags", "faultpoints", "-o", dir}
	for _, kind := range armedKinds() {
		args = append(args, "doorcode/services/"+kind)
	}
	out, err := exec.CommandContext(context.Background(), "go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build with fault points: %w\n%s", err, out)
	}
	return nil
})

// launchArmed starts a replica with fault points, one of which may be armed. It
// does not wait until the replica is ready.
func (s *apart) launchArmed(ctx context.Context, r *replica, point string) error {
	settings := maps.Clone(s.settings)
	maps.Copy(settings, r.settings)
	if point != "" {
		settings["FAULTPOINT"] = point
	}
	kind := strings.TrimRight(r.name, "-12")
	p, err := launchFile(ctx, binary(filepath.Join("armed", kind)), r.name, filepath.Join(s.dir, r.name+".log"), settings)
	if err != nil {
		return err
	}
	r.process = p
	return nil
}

// killed reports whether a process that has ended was ended by SIGKILL.
func (p *process) killed() bool {
	var exit *exec.ExitError
	if !errors.As(p.err, &exit) {
		return false
	}
	status, _ := exit.Sys().(syscall.WaitStatus)
	return status.Signaled() && status.Signal() == syscall.SIGKILL
}

// stopped reports whether a process is stopped by SIGSTOP.
func stopped(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && bytes.Contains(stat, []byte(") T "))
}

// tick waits a little.
func tick(ctx context.Context) { rest(ctx, 50*time.Millisecond) }

// randomPause is up to half a second.
func randomPause() (time.Duration, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(500))
	if err != nil {
		return 0, err
	}
	return time.Duration(n.Int64()) * time.Millisecond, nil
}

// rest waits for a while, less when ctx ends.
func rest(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// childBus names the variable that makes the test binary a NATS server of its
// own, one that a test can kill: configuration file, store and address.
const childBus = "E2E_NATS"

// serveBus runs the server until it is told to end.
func serveBus(value string) int {
	parts := strings.Split(value, "|")
	if len(parts) != 3 {
		return complain(errors.New(childBus + " is not of the form file|store|address"))
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	server, err := embedded.Start(ctx, embedded.Config{ConfigFile: parts[0], StoreDir: parts[1], Listen: parts[2]})
	if err != nil {
		return complain(err)
	}
	<-ctx.Done()
	err = server.Stop(context.Background())
	if err != nil {
		return complain(err)
	}
	return 0
}

// launchBus starts the bus of an installation as a process of its own, in place of
// the one inside the test.
func (s *apart) launchBus(ctx context.Context) (*process, error) {
	value := strings.Join([]string{s.bus.ConfigFile(), s.bus.StoreDir(), strings.TrimPrefix(s.bus.URL(), "nats://")}, "|")
	return launchFile(ctx, os.Args[0], "nats", filepath.Join(s.dir, "nats.log"), map[string]string{childBus: value})
}

// It shows SEC-70 of deploy/SECURITY.md.
func TestFaultPoints_AreNotInTheProcessesThatAreReleased(t *testing.T) {
	t.Parallel()
	err := armedBinaries()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range armedKinds() {
		armed, err := os.ReadFile(binary(filepath.Join("armed", kind)))
		if err != nil {
			t.Fatal(err)
		}
		released, err := os.ReadFile(binary(kind))
		if err != nil {
			t.Fatal(err)
		}
		traces := []string{"FAULTPOINT", "faultpoint.Hit"}
		switch kind {
		case "auth":
			traces = append(traces, "notice.ordered", "rollout.ordered")
		case "verifier":
			traces = append(traces, "waive.committed", "skip.committed")
		}
		for _, plan := range crashPlans() {
			for _, point := range plan.points {
				name, _, _ := strings.Cut(point, ":")
				if strings.TrimRight(plan.replica, "-12") == kind {
					traces = append(traces, name)
				}
			}
		}
		for _, trace := range traces {
			if !bytes.Contains(armed, []byte(trace)) {
				t.Errorf("%s with its fault points has no %q: the test proves nothing", kind, trace)
			}
			if bytes.Contains(released, []byte(trace)) {
				t.Errorf("%s as it is released has %q", kind, trace)
			}
		}
	}
}
