// Command cluster runs another command with a private Postgres for tests:
//
//	go run ./pkg/postgres/pgtest/cluster -- go test ./...
//
// All test binaries of the command share the one cluster, whose address is in
// PGTEST_URL. The exit code is the command's. The cluster is stopped and deleted
// in every case; what is left after a kill is a temporary folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"doorcode/pkg/postgres/pgtest"
)

func main() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(context.Background(), os.Args[1:], signals, os.Stdout, os.Stderr))
}

// failure is the exit code for what goes wrong here and not in the command.
const failure = 2

// run starts the cluster, runs the command and returns the exit code.
func run(ctx context.Context, args []string, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		_, _ = fmt.Fprintln(stderr, "usage: cluster -- command [argument…]")
		return failure
	}
	c, err := pgtest.Start(ctx, stderr)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "cluster:", err)
		return failure
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), pgtest.Variable+"="+c.URL())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
	code, err := supervise(cmd, signals)
	err = errors.Join(err, c.Stop(ctx))
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "cluster:", err)
		code = max(code, failure)
	}
	return code
}

// supervise runs the command, passes signals on and returns its exit code. A
// command ended by a signal counts 128 and the signal's number, as in a shell.
func supervise(cmd *exec.Cmd, signals <-chan os.Signal) (int, error) {
	select {
	case <-signals:
		return failure, errors.New("interrupted before the command was started")
	default:
	}
	err := cmd.Start()
	if err != nil {
		return failure, fmt.Errorf("start command: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			_ = cmd.Process.Signal(sig) // one that has ended needs no signal
		case err = <-ended:
			return exitCode(err)
		}
	}
}

// exitCode turns the end of a process into a number.
func exitCode(err error) (int, error) {
	if err == nil {
		return 0, nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return failure, fmt.Errorf("run command: %w", err)
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
