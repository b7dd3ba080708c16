package pgtest

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorcode/pkg/config"
	"doorcode/pkg/postgres"
)

// maxConns bounds each pool of a test, so that many tests fit into one cluster.
const maxConns = 8

// limit bounds every call of this package.
const limit = 2 * time.Minute

// Database is one test's own database.
type Database struct {
	name    string
	address address
	owner   *pgxpool.Pool // connects at its first use
}

// Open clones a database for this test and drops it when the test ends, together
// with the connections that are left.
func Open(t testing.TB) *Database {
	t.Helper()
	given := os.Getenv(Variable)
	if given == "" {
		t.Fatal("pgtest: no cluster; the package needs a TestMain that calls pgtest.Main")
	}
	a, err := parseAddress(given)
	if err != nil {
		t.Fatal("pgtest:", err)
	}
	template, err := templateName()
	if err != nil {
		t.Fatal("pgtest:", err)
	}
	d := &Database{name: "t_" + strings.ToLower(rand.Text()), address: a}
	t.Cleanup(func() { d.admin(t, "DROP DATABASE IF EXISTS "+d.name+" WITH (FORCE)") })
	d.admin(t, "CREATE DATABASE "+d.name+" TEMPLATE "+template)
	d.owner = pool(t, a.database(d.name))
	return d
}

// At opens the superuser's address of a database that somebody else made, such as
// that of a running installation. It is left as it is when the test ends, and it
// has none of the roles' passwords.
func At(t testing.TB, owner string) *Database {
	t.Helper()
	a, err := parseAddress(owner)
	if err != nil {
		t.Fatal("pgtest:", err)
	}
	return &Database{name: strings.TrimPrefix(a.url.Path, "/"), address: a, owner: pool(t, owner)}
}

// lasting returns a bounded context that also serves in a test's clean-up, when
// the test's own has ended.
func lasting(t testing.TB) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(context.WithoutCancel(t.Context()), limit)
}

// admin runs one statement outside the test's own database.
func (d *Database) admin(t testing.TB, statement string) {
	t.Helper()
	ctx, cancel := lasting(t)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.address.database("postgres"))
	if err != nil {
		t.Fatal("pgtest: connect to the cluster:", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	if err != nil {
		t.Fatalf("pgtest: %s: %v", statement, err)
	}
}

// pool opens a small pool of the superuser, closed before the database is dropped.
func pool(t testing.TB, address string) *pgxpool.Pool {
	t.Helper()
	pc, err := pgxpool.ParseConfig(address)
	if err != nil {
		t.Fatal("pgtest: the cluster's address is not valid")
	}
	pc.MaxConns = maxConns
	p, err := pgxpool.NewWithConfig(t.Context(), pc)
	if err != nil {
		t.Fatal("pgtest: open pool:", err)
	}
	t.Cleanup(p.Close)
	return p
}

// Auth opens the database as auth does; it is closed when the test ends.
func (d *Database) Auth(t testing.TB) *postgres.DB {
	t.Helper()
	return open(t, d.AuthConfig())
}

// Verifier opens the database as the verifier does; it is closed when the test
// ends.
func (d *Database) Verifier(t testing.TB) *postgres.DB {
	t.Helper()
	return open(t, d.VerifierConfig())
}

// Auditor opens the database as whoever exports the audit does; it is closed when the test ends.
func (d *Database) Auditor(t testing.TB) *postgres.DB {
	t.Helper()
	return open(t, d.AuditorConfig())
}

// Console opens the database as the console does; it is closed when the test ends.
func (d *Database) Console(t testing.TB) *postgres.DB {
	t.Helper()
	return open(t, d.ConsoleConfig())
}

// Owner opens the database as its owner, who may do everything; it is closed when
// the test ends.
func (d *Database) Owner(t testing.TB) *postgres.DB {
	t.Helper()
	return open(t, postgres.Config{URL: d.OwnerURL(), Application: "owner", MaxConns: maxConns})
}

// open opens a pool for one test.
func open(t testing.TB, cfg postgres.Config) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal("pgtest: open database:", err)
	}
	t.Cleanup(db.Close)
	return db
}

// AuthConfig returns what auth needs to open this database.
func (d *Database) AuthConfig() postgres.Config { return d.config(postgres.RoleAuth, "auth") }

// VerifierConfig returns what the verifier needs to open this database.
func (d *Database) VerifierConfig() postgres.Config {
	return d.config(postgres.RoleVerifier, "verifier")
}

// AuditorConfig returns what whoever exports the audit needs to open this database.
func (d *Database) AuditorConfig() postgres.Config {
	return d.config(postgres.RoleAuditor, "doorcodectl")
}

// ConsoleConfig returns what the console needs to open this database.
func (d *Database) ConsoleConfig() postgres.Config {
	return d.config(postgres.RoleConsole, "console")
}

// config returns the settings of one process's pool; the address carries neither
// user nor password.
func (d *Database) config(role postgres.Role, application string) postgres.Config {
	return postgres.Config{
		URL:         d.address.without(d.name),
		User:        string(role),
		Password:    config.NewSecret(d.address.password(role)),
		Application: application,
		MaxConns:    maxConns,
	}
}

// OwnerURL returns the superuser's address of this database, password included.
func (d *Database) OwnerURL() string { return d.address.database(d.name) }

// Exec runs a statement as the superuser and fails the test when it fails. It
// returns the number of rows it touched.
func (d *Database) Exec(t testing.TB, sql string, args ...any) int64 {
	t.Helper()
	ctx, cancel := lasting(t)
	defer cancel()
	tag, err := d.owner.Exec(ctx, sql, args...)
	if err != nil {
		t.Fatalf("pgtest: %s: %v", sql, err)
	}
	return tag.RowsAffected()
}

// Scan runs a query of exactly one row as the superuser and fails the test when
// it fails.
func (d *Database) Scan(t testing.TB, sql string, args []any, dest ...any) {
	t.Helper()
	ctx, cancel := lasting(t)
	defer cancel()
	err := d.owner.QueryRow(ctx, sql, args...).Scan(dest...)
	if err != nil {
		t.Fatalf("pgtest: %s: %v", sql, err)
	}
}
