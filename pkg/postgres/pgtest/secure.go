package pgtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/postgres/local"
)

// Secure starts a server of the test's own with TLS and host-based rules, as one in a container has them, and a
// database `doorcode` whose owner is the superuser doorcode. URL of the result is plain and may be refused by now.
func Secure(t testing.TB, certificate, key []byte, rules string) *local.Cluster {
	t.Helper()
	c := serve(t, settings())
	ctx, cancel := lasting(t)
	defer cancel()
	err := errors.Join(
		c.EnsureDatabase(ctx, "doorcode"),
		give(c.Dir(), "postgres.pem", certificate), give(c.Dir(), "postgres.key", key), give(c.Dir(), "pg_hba.conf", []byte(rules)),
		reload(ctx, c,
			"ALTER SYSTEM SET ssl_cert_file = 'postgres.pem'", "ALTER SYSTEM SET ssl_key_file = 'postgres.key'",
			"ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.3'", "ALTER SYSTEM SET ssl = 'on'"),
	)
	if err != nil {
		t.Fatal("pgtest: secure postgres:", err)
	}
	return c
}

// give writes a file that belongs to the server's user into its data folder.
func give(dir, name string, data []byte) error {
	info, err := os.Stat(filepath.Join(dir, "PG_VERSION"))
	if err != nil {
		return err
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return errors.New("the owner of the data folder is not known")
	}
	path := filepath.Join(dir, name)
	err = os.WriteFile(path, data, 0o600)
	if err != nil {
		return err
	}
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}

// reload changes settings and waits until connections of before are refused, or, with rules that allow them, until TLS
// is on.
func reload(ctx context.Context, c *local.Cluster, statements ...string) error {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, statement := range append(statements, "SELECT pg_reload_conf()") {
		_, err = conn.Exec(ctx, statement)
		if err != nil {
			return err
		}
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		var on bool
		fresh, err := pgx.Connect(ctx, c.URL("postgres"))
		if err != nil {
			return ctx.Err() // refused by the new rules
		}
		err = errors.Join(fresh.QueryRow(ctx, "SELECT current_setting('ssl')::bool").Scan(&on), fresh.Close(ctx))
		if err != nil || on {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
