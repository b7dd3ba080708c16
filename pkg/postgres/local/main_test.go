package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childDir makes the test binary a stand-in for a service that is killed: it
// starts a cluster in that folder, tells the server's number and waits.
const childDir = "LOCAL_TEST_CHILD_DIR"

func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir != "" {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}

// child runs until it is killed; its standard input never ends before that.
func child(dir string) int {
	bin, err := Find(context.Background(), "")
	if err != nil {
		return 3
	}
	c, err := Start(context.Background(), Config{Dir: dir, BinDir: bin, Settings: quick()})
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 4
	}
	_, _ = fmt.Fprintln(os.Stdout, c.server.cmd.Process.Pid)
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// quick are settings for clusters that need not survive the machine.
func quick() map[string]string {
	return map[string]string{"fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB", "max_connections": "20"}
}

// tempDir returns a folder that the server's user can reach; t.TempDir cannot
// serve because its parent belongs to root alone.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "doorcode-local-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	err = os.Chmod(dir, 0o711)
	if err != nil {
		t.Fatal(err)
	}
	dir, err = realPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// binaries returns the installed Postgres.
func binaries(t *testing.T) string {
	t.Helper()
	bin, err := FindOrInstall(t.Context(), "", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// config returns what most tests start.
func config(t *testing.T, dir string) Config {
	t.Helper()
	return Config{Dir: filepath.Join(dir, "data"), BinDir: binaries(t), Settings: quick()}
}

// start starts a cluster that is stopped when the test ends.
func start(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, c) })
	return c
}

// stop stops a cluster and insists that it went gently.
func stop(t *testing.T, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	err := c.Stop(ctx)
	if err != nil {
		t.Error(err)
	}
}

// eventually waits until a condition holds and fails the test after a minute.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !holds() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal("waited in vain until", what)
		}
	}
}
