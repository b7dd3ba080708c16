// Package e2e runs the real processes and uses doorcode as people and front-ends
// do: over HTTP, with the sandbox in place of the provider.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"doorcode/pkg/postgres/pgtest"
)

// The binaries of the processes, built once for all tests.
var binaries string //nolint:gochecknoglobals // set by TestMain before any test runs

func TestMain(m *testing.M) {
	if os.Getenv(childBus) != "" {
		os.Exit(serveBus(os.Getenv(childBus)))
	}
	os.Exit(run(m))
}

// run builds every process with the race detector and runs the tests.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "doorcode-e2e-")
	if err != nil {
		return complain(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	err = os.Chmod(dir, 0o755) // the private Postgres runs as another user and passes through
	if err != nil {
		return complain(err)
	}
	binaries = dir
	build := exec.CommandContext(context.Background(), "go", "build", "-race", "-o", dir, "doorcode/services/...")
	out, err := build.CombinedOutput()
	if err != nil {
		return complain(fmt.Errorf("%w\n%s", err, out))
	}
	return pgtest.Main(m, stopShared)
}

// complain reports why no test ran.
func complain(err error) int {
	_, _ = fmt.Fprintln(os.Stderr, "end-to-end tests:", err)
	return 1
}

// binary is the path of a process.
func binary(name string) string { return filepath.Join(binaries, name) }
