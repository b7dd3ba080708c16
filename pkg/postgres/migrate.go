package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/tern/v2/migrate"

	"doorcode/pkg/config"
	"doorcode/schemas"
)

// Role is a database role of a process or of an operator (P10).
type Role string

// The roles that Migrate makes. Others have their own in their own migrations.
const (
	RoleAuth     Role = "doorcode_auth"
	RoleVerifier Role = "doorcode_verifier"
	RoleAuditor  Role = "doorcode_auditor" // of no process: of whoever exports the audit
	RoleConsole  Role = "doorcode_console"
)

// Roles returns all roles that Migrate makes.
func Roles() []Role { return []Role{RoleAuth, RoleVerifier, RoleAuditor, RoleConsole} }

const (
	// versionTable holds the number of the last migration applied.
	versionTable = "public.schema_version"
	// migrateLock is the advisory lock that lets one migration run at a time.
	migrateLock = 7_305_514_301
)

// Migrate brings a database to the schema of this build: it makes the roles that
// are missing, sets the passwords that are given, applies the migrations that are
// missing and makes the partitions of the audit for the days ahead. It returns how
// many migrations it applied.
//
// It is safe to call again and from several processes at once. It never goes
// back: a database newer than this build is an error. adminURL names the owner of
// the database, who may make roles; the errors do not carry it.
func Migrate(ctx context.Context, adminURL string, passwords map[Role]config.Secret) (int, error) {
	files, err := fs.Sub(schemas.SQL, "sql")
	if err != nil {
		return 0, fmt.Errorf("open migrations: %w", err)
	}
	return migrateFrom(ctx, adminURL, passwords, files)
}

// migrateFrom is Migrate with the files at the root of a file system.
func migrateFrom(ctx context.Context, adminURL string, passwords map[Role]config.Secret, files fs.FS) (int, error) {
	conn, err := connectAdmin(ctx, adminURL)
	if err != nil {
		return 0, err
	}
	defer closeConn(ctx, conn)
	err = lockMigrations(ctx, conn)
	if err != nil {
		return 0, err
	}
	for _, role := range Roles() {
		err = ensureRole(ctx, conn, role, passwords[role])
		if err != nil {
			return 0, err
		}
	}
	applied, err := apply(ctx, conn, files)
	if err != nil {
		return applied, err
	}
	return applied, ensurePartitions(ctx, conn)
}

// connectAdmin opens one connection for a migration: it may run long, but it waits
// at most three seconds for a table that is in use, so that it never queues up the
// traffic behind itself.
func connectAdmin(ctx context.Context, adminURL string) (*pgx.Conn, error) {
	cc, err := pgx.ParseConfig(adminURL)
	if err != nil {
		return nil, errURL
	}
	override(cc, Config{Application: "doorcode migrate", Params: map[string]string{
		"statement_timeout": "0", "lock_timeout": "3s", "idle_in_transaction_session_timeout": "0",
	}})
	conn, err := pgx.ConnectConfig(ctx, cc)
	if err != nil {
		return nil, scrub(err)
	}
	return conn, nil
}

// closeConn ends a connection, and with it its advisory lock.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	_ = conn.Close(ctx) // the work is done or has failed already
}

// lockMigrations waits for its turn as long as ctx allows; lock_timeout, which
// also ends the wait for an advisory lock, is for tables.
func lockMigrations(ctx context.Context, conn *pgx.Conn) error {
	for _, statement := range []string{
		"SET lock_timeout = 0",
		fmt.Sprintf("SELECT pg_advisory_lock(%d)", migrateLock),
		"RESET lock_timeout",
	} {
		_, err := conn.Exec(ctx, statement)
		if err != nil {
			return fmt.Errorf("wait for other migrations: %w", err)
		}
	}
	return nil
}

// ensureRole makes a role that may log in, and sets its password when one is
// given. Roles belong to the whole cluster and the lock to one database, so a
// migration of another database may do the same at the same moment.
func ensureRole(ctx context.Context, conn *pgx.Conn, role Role, password config.Secret) error {
	name := pgx.Identifier{string(role)}.Sanitize()
	var there bool
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, string(role)).Scan(&there)
	if err != nil {
		return fmt.Errorf("look for role %s: %w", role, err)
	}
	if !there {
		_, err = conn.Exec(ctx, "CREATE ROLE "+name+" LOGIN")
		if err != nil && !hasState(err, "42710", "23505") { // duplicate object, by its name or by the index
			return fmt.Errorf("make role %s: %w", role, err)
		}
	}
	if password.IsZero() {
		return nil
	}
	verifier, err := scramVerifier(password.Reveal())
	if err != nil {
		return fmt.Errorf("set password of role %s: %w", role, err)
	}
	err = alterRole(ctx, conn, "ALTER ROLE "+name+" PASSWORD '"+verifier+"'")
	if err != nil {
		return fmt.Errorf("set password of role %s: %w", role, err)
	}
	return nil
}

// alterRole repeats a statement that met another one on the same role ("tuple
// concurrently updated", which has no state of its own but XX000).
func alterRole(ctx context.Context, conn *pgx.Conn, statement string) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	const tries = 50
	for try := 1; ; try++ {
		_, err := conn.Exec(ctx, statement)
		if err == nil || !hasState(err, "XX000") || try == tries {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// apply runs the missing migrations and returns their number.
func apply(ctx context.Context, conn *pgx.Conn, files fs.FS) (int, error) {
	m, err := migrate.NewMigrator(ctx, conn, versionTable)
	if err != nil {
		return 0, fmt.Errorf("prepare version table: %w", err)
	}
	err = m.LoadMigrations(files)
	if err != nil {
		return 0, fmt.Errorf("load migrations: %w", err)
	}
	before, err := m.GetCurrentVersion(ctx)
	if err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	if int(before) > len(m.Migrations) {
		return 0, fmt.Errorf("the database has schema version %d and this build knows %d: use the newer build", before, len(m.Migrations))
	}
	failed := m.Migrate(ctx)
	after, err := m.GetCurrentVersion(ctx)
	if failed != nil {
		return max(0, int(after-before)), fmt.Errorf("apply migrations: %w", failed)
	}
	if err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	return int(after - before), nil
}

// ensurePartitions makes the audit's partitions, once the schema has them.
func ensurePartitions(ctx context.Context, conn *pgx.Conn) error {
	var there bool
	err := conn.QueryRow(ctx, `SELECT to_regprocedure('public.ensure_audit_partitions()') IS NOT NULL`).Scan(&there)
	if err != nil {
		return fmt.Errorf("look for audit partitions: %w", err)
	}
	if !there {
		return nil
	}
	_, err = conn.Exec(ctx, `SELECT public.ensure_audit_partitions()`)
	if err != nil {
		return fmt.Errorf("make audit partitions: %w", err)
	}
	return nil
}

// hasState reports whether Postgres answered with one of the SQLSTATEs.
func hasState(err error, states ...string) bool {
	var reported *pgconn.PgError
	if !errors.As(err, &reported) {
		return false
	}
	for _, state := range states {
		if reported.Code == state {
			return true
		}
	}
	return false
}
