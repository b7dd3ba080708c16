package pgtest

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/postgres/local"
)

// Variable names the environment variable with the address of a cluster's
// superuser, password included. Every process below a run may read it.
const Variable = "PGTEST_URL"

const (
	startLimit = 5 * time.Minute // installing the package included
	stopLimit  = 30 * time.Second
)

// Main is the body of a TestMain: it starts a private cluster unless PGTEST_URL
// names one, runs the tests, stops the cluster and fails when a goroutine is left.
// What ends is called after the tests and before the goroutines are counted.
// It returns the exit code.
func Main(m *testing.M, ends ...func()) int {
	fewer()
	code, err := run(m)
	for _, end := range ends {
		end()
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "pgtest:", err)
		return 1
	}
	if code != 0 {
		return code
	}
	err = goleak.Find()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "pgtest: goroutines left behind:", err)
		return 1
	}
	return 0
}

// propertyChecks is how often a property is checked beside a database, where each check costs hundreds of statements.
const propertyChecks = "20"

// fewer lowers rapid's own default for tests beside a database. The flag and RAPID_CHECKS still say otherwise.
func fewer() {
	checks := flag.Lookup("rapid.checks")
	if checks != nil && os.Getenv("RAPID_CHECKS") == "" {
		_ = checks.Value.Set(propertyChecks) // It is a number.
	}
}

// run runs the tests with a cluster.
func run(m *testing.M) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	given := os.Getenv(Variable)
	if given != "" {
		err := prepare(ctx, given)
		if err != nil {
			return 1, err
		}
		return m.Run(), nil
	}
	c, err := Start(ctx, os.Stderr)
	if err != nil {
		return 1, err
	}
	err = os.Setenv(Variable, c.URL())
	if err != nil {
		return 1, fmt.Errorf("export the cluster's address: %w", err)
	}
	code := m.Run()
	return code, c.Stop(ctx)
}

// Cluster is a private Postgres for tests, in a folder that Stop deletes.
type Cluster struct {
	dir    string
	server *local.Cluster
}

// Start starts a cluster in a temporary folder and migrates the template. It is
// made for speed: it writes nothing safely. What an installation of Postgres does
// is told to w.
func Start(ctx context.Context, w io.Writer) (*Cluster, error) {
	bin, err := local.FindOrInstall(ctx, "", w)
	if err != nil {
		return nil, fmt.Errorf("find postgres: %w", err)
	}
	dir, err := os.MkdirTemp("", "doorcode-pgtest-")
	if err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	c := &Cluster{dir: dir}
	err = os.Chmod(dir, 0o711) // the server's user has to pass
	if err == nil {
		c.server, err = local.Start(ctx, local.Config{Dir: filepath.Join(dir, "data"), BinDir: bin, Settings: settings()})
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	err = prepare(ctx, c.URL())
	if err != nil {
		_ = c.Stop(ctx)
		return nil, err
	}
	return c, nil
}

// settings trade durability for speed and leave room for many pools.
func settings() map[string]string {
	return map[string]string{
		"fsync":              "off",
		"full_page_writes":   "off",
		"synchronous_commit": "on", // as in earnest: commits keep their order and their waits
		"max_connections":    "300",
		"autovacuum":         "off", // it would only get in the way of cloning
		"max_wal_senders":    "0",
		"wal_level":          "minimal",
	}
}

// URL returns the superuser's address, password included.
func (c *Cluster) URL() string { return c.server.URL("postgres") }

// Stop stops the cluster and deletes everything it wrote, also when ctx has ended.
func (c *Cluster) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	err := c.server.Remove(ctx)
	if err != nil {
		return fmt.Errorf("stop postgres: %w", err)
	}
	err = os.RemoveAll(c.dir)
	if err != nil {
		return fmt.Errorf("delete the cluster's folder: %w", err)
	}
	return nil
}
