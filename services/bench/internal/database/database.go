// Package database is the Postgres of a measurement: a private cluster with the durability of an installation, filled
// with people, and asked what one durable commit costs at least.
package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/local"
	"doorcode/services/bench/internal/load"
)

const (
	// Name is that of doorcode's database.
	Name = "doorcode"
	// scratch is the database of what a commit costs.
	scratch = "floor"
	// fillers is how many connections fill the directory.
	fillers = 8
)

// Database is a running cluster.
type Database struct {
	cluster *local.Cluster
	floor   *pgx.Conn // to scratch
	own     *pgx.Conn // to doorcode's database, as its owner
}

// Start starts a cluster in a new folder. What an installation of Postgres does is told to w.
func Start(ctx context.Context, dir string, w io.Writer) (*Database, error) {
	bin, err := local.FindOrInstall(ctx, "", w)
	if err != nil {
		return nil, fmt.Errorf("find postgres: %w", err)
	}
	d := &Database{}
	d.cluster, err = local.Start(ctx, local.Config{Dir: dir, BinDir: bin, Settings: settings()})
	if err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	err = d.open(ctx)
	if err != nil {
		return nil, errors.Join(err, d.Stop(ctx))
	}
	return d, nil
}

// settings are those that make a commit durable, said aloud, and room for the pools. Checkpoints come by time alone,
// because a run is too short to average over them.
func settings() map[string]string {
	return map[string]string{
		"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
		"max_connections": "200", "max_wal_size": "4GB",
	}
}

// open makes the two databases and connects to them.
func (d *Database) open(ctx context.Context) error {
	for _, db := range []struct {
		name string
		conn **pgx.Conn
	}{{scratch, &d.floor}, {Name, &d.own}} {
		err := d.cluster.EnsureDatabase(ctx, db.name)
		if err != nil {
			return err
		}
		*db.conn, err = pgx.Connect(ctx, d.cluster.URL(db.name))
		if err != nil {
			return fmt.Errorf("connect to postgres: %w", err)
		}
	}
	_, err := d.floor.Exec(ctx, `CREATE TABLE rows (at timestamptz NOT NULL DEFAULT now(), data bytea NOT NULL)`)
	if err != nil {
		return fmt.Errorf("make the table of the floor: %w", err)
	}
	return nil
}

// Address returns the address of doorcode's database without a password, and the owner's password.
func (d *Database) Address() (address, password string, err error) {
	u, err := url.Parse(d.cluster.URL(Name))
	if err != nil {
		return "", "", errors.New("the address of the private database is malformed")
	}
	password, _ = u.User.Password()
	u.User = url.User(u.User.Username())
	return u.String(), password, nil
}

// PID returns the id of the server's first process; all others are under it.
func (d *Database) PID() (int, error) {
	data, err := os.ReadFile(filepath.Join(d.cluster.Dir(), "postmaster.pid"))
	if err != nil {
		return 0, fmt.Errorf("find the process of postgres: %w", err)
	}
	first, _, _ := strings.Cut(string(data), "\n")
	return strconv.Atoi(strings.TrimSpace(first))
}

// Version returns the server's version.
func (d *Database) Version(ctx context.Context) (string, error) {
	var version string
	err := d.own.QueryRow(ctx, `SHOW server_version`).Scan(&version)
	if err != nil {
		return "", fmt.Errorf("ask postgres for its version: %w", err)
	}
	return version, nil
}

// Commit stores one row of the size of a challenge's, durably.
func (d *Database) Commit(ctx context.Context) error {
	_, err := d.floor.Exec(ctx, `INSERT INTO rows (data) VALUES ($1)`, make([]byte, 1024))
	if err != nil {
		return fmt.Errorf("commit one row: %w", err)
	}
	return nil
}

// Outbox returns how many events wait for the verifier's relay.
func (d *Database) Outbox(ctx context.Context) (int, error) {
	var n int
	err := d.own.QueryRow(ctx, `SELECT count(*) FROM outbox`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the outbox: %w", err)
	}
	return n, nil
}

// Fill puts people into the directory, whose rows carry MACs of a key ring. The events of that are thrown away: nobody
// is interested in them, and the first run would carry them.
func (d *Database) Fill(ctx context.Context, people int, rowKeys string) error {
	rows, err := keyring.Read(rowKeys)
	if err != nil {
		return err
	}
	db, err := postgres.Open(ctx, postgres.Config{
		URL: d.cluster.URL(Name), Application: "doorcode bench", MaxConns: fillers,
		// It is no part of the measurement, and nobody waits for it who could not wait longer.
		Params: map[string]string{"synchronous_commit": "off", "statement_timeout": "1min", "lock_timeout": "1min"},
	})
	if err != nil {
		return err
	}
	defer db.Close()
	err = fill(ctx, postgres.NewDirectory(db, rows), people)
	if err != nil {
		return err
	}
	for _, statement := range []string{`TRUNCATE outbox`, `VACUUM ANALYZE`, `CHECKPOINT`} {
		_, err = d.own.Exec(ctx, statement)
		if err != nil {
			return fmt.Errorf("settle the directory: %w", err)
		}
	}
	return nil
}

// fill puts every fillers-th person by each connection.
func fill(ctx context.Context, directory *postgres.Directory, people int) error {
	errs := make([]error, fillers)
	var running sync.WaitGroup
	for i := range fillers {
		running.Go(func() {
			for n := i; n < people && errs[i] == nil; n += fillers {
				errs[i] = put(ctx, directory, load.PersonOf(n))
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// put makes the workspace of a person and its one login.
func put(ctx context.Context, directory *postgres.Directory, p load.Person) error {
	by := postgres.Change{By: "bench"}
	_, err := directory.PutWorkspace(ctx, by, account.Workspace{
		ID: p.Workspace, Name: "Acme", MainEmail: p.Recipient, Owner: p.Login,
	})
	if err != nil {
		return err
	}
	_, err = directory.PutLogin(ctx, by, account.Login{Workspace: p.Workspace, ID: p.Login, Role: account.Owner})
	return err
}

// Stop stops the cluster and deletes everything it wrote.
func (d *Database) Stop(ctx context.Context) error {
	for _, conn := range []*pgx.Conn{d.floor, d.own} {
		if conn != nil {
			_ = conn.Close(ctx) // the server ends anyway
		}
	}
	return d.cluster.Remove(ctx)
}
