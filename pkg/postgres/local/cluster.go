package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/freeport"
)

// Config says where and how a private cluster runs.
type Config struct {
	Dir      string            // data folder; its parent also holds the log, the password and the lock
	BinDir   string            // what Find returned
	Listen   string            // address without port; 127.0.0.1 when empty
	Port     int               // 0 takes a free one at every start
	Settings map[string]string // further settings of postgresql.conf, stronger than ours
	Log      *slog.Logger      // discards when nil
}

// Cluster is a running private Postgres. It is safe for concurrent use.
type Cluster struct {
	dir, binDir string
	listen      string
	port        int
	settings    map[string]string
	log         *slog.Logger
	who         *identity
	secret      string
	claim       *os.File
	server      *server
	freePort    func(ctx context.Context, listen string) (int, error)
}

// Start makes the data folder when it does not exist, starts the server and
// returns once it answers. The server outlives ctx; it ends by Stop or, on Linux,
// with this process.
//
// It fails with ErrInUse when the folder has a running server, and quotes the
// last lines of the server's log when the server gives up.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c, err := newCluster(cfg)
	if err != nil {
		return nil, err
	}
	err = c.start(ctx, cfg.Port)
	if err != nil {
		return nil, errors.Join(err, c.release())
	}
	return c, nil
}

// newCluster decides place and user and takes the folder.
func newCluster(cfg Config) (*Cluster, error) {
	if cfg.Dir == "" || cfg.BinDir == "" {
		return nil, errors.New("a private postgres needs a data folder and a folder of binaries")
	}
	c := &Cluster{binDir: cfg.BinDir, listen: cfg.Listen, settings: cfg.Settings, log: cfg.Log, freePort: freePort}
	if c.listen == "" {
		c.listen = "127.0.0.1"
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	wanted, err := realPath(cfg.Dir)
	if err != nil {
		return nil, err
	}
	c.who, err = serverIdentity(wanted)
	if err != nil {
		return nil, err
	}
	c.dir = place(wanted, movedRoot, c.who)
	if c.dir != wanted {
		c.log.Warn("postgres data placed elsewhere because its user cannot reach the wanted folder", "wanted", wanted, "used", c.dir)
	}
	err = os.MkdirAll(filepath.Dir(c.dir), 0o711) //nolint:gosec // the server's user has to pass, but not to look
	if err != nil {
		return nil, fmt.Errorf("make the folder above the data folder: %w", err)
	}
	if !c.who.reaches(c.dir) || !c.who.reaches(filepath.Join(c.binDir, "postgres")) {
		return nil, errors.New("the unprivileged user of postgres cannot reach the data folder or the binaries")
	}
	c.claim, err = lock(c.dir)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// start brings the claimed folder to a server that answers.
func (c *Cluster) start(ctx context.Context, port int) error {
	_, err := os.Stat(filepath.Join(c.dir, "PG_VERSION"))
	made := err == nil
	c.secret, err = c.password(made)
	if err != nil {
		return err
	}
	if !made {
		c.log.Info("postgres data folder being made", "dir", c.dir)
		err = c.initialize(ctx)
		if err != nil {
			return err
		}
	}
	err = awaitVacant(ctx, c.dir)
	if err != nil {
		return err
	}
	return c.launchOnSomePort(ctx, port)
}

// launchOnSomePort launches until the server is ready or its trouble is none that
// passes: somebody may take the free port before the server does, and processes of
// a killed server may still be ending.
func (c *Cluster) launchOnSomePort(ctx context.Context, port int) error {
	const portTries, stragglerTries = 5, 40
	ticker := time.NewTicker(10 * tick)
	defer ticker.Stop()
	taken, stragglers := 0, 0
	for {
		var err error
		c.port = port
		if port == 0 {
			c.port, err = c.freePort(ctx, c.listen)
			if err != nil {
				return err
			}
		}
		err = c.launch(ctx)
		switch {
		case errors.Is(err, errPortTaken) && port == 0 && taken < portTries:
			taken++
		case errors.Is(err, errStragglers) && stragglers < stragglerTries:
			stragglers++
		default:
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// freePort returns a port that stays this process's, also while the server is being started again.
func freePort(ctx context.Context, listen string) (int, error) {
	taken, err := freeport.Take(ctx, listen, 1)
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(taken.Addresses[0])
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}

// arguments are the server's command line: our settings, then the caller's.
func (c *Cluster) arguments() []string {
	args := []string{"-D", c.dir}
	for _, s := range []string{
		"listen_addresses=" + c.listen,
		"port=" + strconv.Itoa(c.port),
		"unix_socket_directories=",
		"password_encryption=scram-sha-256",
		"logging_collector=off",
		"log_destination=stderr",
		"log_error_verbosity=terse", // the details of an error quote rows
		"timezone=UTC",
		"log_timezone=UTC",
	} {
		args = append(args, "-c", s)
	}
	for name, value := range c.settings {
		args = append(args, "-c", name+"="+value)
	}
	return args
}

// URL returns the owner's address of a database. It carries the password.
func (c *Cluster) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(Owner, c.secret),
		Host:     net.JoinHostPort(c.listen, strconv.Itoa(c.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Dir returns where the data really lives.
func (c *Cluster) Dir() string { return c.dir }

// Failed delivers one error when the server ends without Stop.
func (c *Cluster) Failed() <-chan error { return c.server.failed }

// EnsureDatabase makes a database unless it exists.
func (c *Cluster) EnsureDatabase(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connect to the private postgres: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var there bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&there)
	if err != nil {
		return fmt.Errorf("look for database: %w", err)
	}
	if there {
		return nil
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	if err != nil {
		return fmt.Errorf("make database: %w", err)
	}
	return nil
}

// Stop ends the server: connections are cut, a checkpoint is written. When ctx
// ends first the server is stopped at once and recovers at the next start; that is
// an error. Stopping twice is harmless.
func (c *Cluster) Stop(ctx context.Context) error {
	return errors.Join(c.server.stop(ctx), c.release())
}

// Remove stops the server and deletes the data and every file beside it.
func (c *Cluster) Remove(ctx context.Context) error {
	err := c.Stop(ctx)
	for _, suffix := range []string{"", ".new", ".password", ".log", ".lock"} {
		err = errors.Join(err, os.RemoveAll(c.dir+suffix))
	}
	return err
}

// release gives the folder back.
func (c *Cluster) release() error {
	err := c.claim.Close()
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("give the data folder back: %w", err)
	}
	return nil
}

// portTaken reports whether the server's last words are about its port.
func portTaken(words string) bool {
	return strings.Contains(words, "could not bind") || strings.Contains(words, "could not create any TCP/IP sockets")
}
