package postgres_test

import (
	"crypto/rand"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/config"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/schemas"
)

// emptyDatabase makes a database without a schema and returns the owner's address.
func emptyDatabase(t *testing.T, beside *pgtest.Database) string {
	t.Helper()
	name := "m_" + strings.ToLower(rand.Text())
	beside.Exec(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { beside.Exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(beside.OwnerURL())
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// execute returns a transaction of one statement.
func execute(t *testing.T, statement string) func(pgx.Tx) error {
	t.Helper()
	return func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), statement)
		return err
	}
}

// migrations counts the files that are embedded.
func migrations(t *testing.T) int {
	t.Helper()
	entries, err := schemas.SQL.ReadDir("sql")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestMigrate_AppliesEverythingOnceAlsoWhenCalledAtOnce(t *testing.T) {
	t.Parallel()
	address := emptyDatabase(t, pgtest.Open(t))
	const callers = 4
	applied, failed := make([]int, callers), make([]error, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() { applied[i], failed[i] = postgres.Migrate(t.Context(), address, nil) })
	}
	group.Wait()
	total := 0
	for i := range callers {
		if failed[i] != nil {
			t.Error(failed[i])
		}
		total += applied[i]
	}
	if total != migrations(t) {
		t.Errorf("%d migrations applied by %d callers, want %d", total, callers, migrations(t))
	}
}

func TestMigrate_OfManyDatabasesAtOnceSharesTheRoles(t *testing.T) {
	t.Parallel()
	beside := pgtest.Open(t)
	cfg := beside.AuthConfig()
	passwords := map[postgres.Role]config.Secret{
		postgres.RoleAuth: cfg.Password, postgres.RoleVerifier: beside.VerifierConfig().Password,
	}
	const databases = 4
	failed := make([]error, databases)
	var group sync.WaitGroup
	for i := range databases {
		address := emptyDatabase(t, beside)
		group.Go(func() { _, failed[i] = postgres.Migrate(t.Context(), address, passwords) })
	}
	group.Wait()
	for _, err := range failed {
		if err != nil {
			t.Error(err)
		}
	}
	beside.Auth(t) // the password was set again and works
}

// It shows SEC-70 of deploy/SECURITY.md.
func TestMigrate_KeepsPasswordsOutOfTheStatement(t *testing.T) {
	t.Parallel()
	first, err := postgres.ScramVerifier(silent)
	if err != nil {
		t.Fatal(err)
	}
	second, err := postgres.ScramVerifier(silent)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first, "SCRAM-SHA-256$4096:") || strings.Contains(first, silent) || first == second {
		t.Errorf("verifiers %q and %q, want the form of RFC 5803 with fresh salt", first, second)
	}
	_, err = postgres.ScramVerifier("pässword")
	if err == nil || strings.Contains(err.Error(), "pässword") {
		t.Errorf("a password outside ASCII: %v", err)
	}
}

func TestMigrate_RefusesANewerDatabaseAndTellsProgress(t *testing.T) {
	t.Parallel()
	address := emptyDatabase(t, pgtest.Open(t))
	files := fstest.MapFS{
		"001_one.sql": {Data: []byte("CREATE TABLE one (id int);")},
		"002_two.sql": {Data: []byte("CREATE TABLE two (id int);")},
	}
	step := func(want int) {
		t.Helper()
		got, err := postgres.MigrateFrom(t.Context(), address, nil, files)
		if err != nil || got != want {
			t.Errorf("%d migrations applied, %v, want %d", got, err, want)
		}
	}
	step(2)
	step(0)
	files["003_three.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE three (id int);")}
	step(1)
	delete(files, "003_three.sql")
	_, err := postgres.MigrateFrom(t.Context(), address, nil, files)
	if err == nil || !strings.Contains(err.Error(), "schema version 3 and this build knows 2") {
		t.Errorf("a newer database: %v", err)
	}
}

func TestMigrate_StopsAtAFailureAndCanGoOn(t *testing.T) {
	t.Parallel()
	address := emptyDatabase(t, pgtest.Open(t))
	files := fstest.MapFS{
		"001_one.sql": {Data: []byte("CREATE TABLE one (id int);")},
		"002_two.sql": {Data: []byte("CREATE TABLE half (id int); SELECT nonsense;")},
	}
	got, err := postgres.MigrateFrom(t.Context(), address, nil, files)
	if err == nil || got != 1 || !strings.Contains(err.Error(), "002_two.sql") {
		t.Errorf("%d migrations applied, %v, want 1 and the file's name", got, err)
	}
	files["002_two.sql"].Data = []byte("CREATE TABLE half (id int);")
	got, err = postgres.MigrateFrom(t.Context(), address, nil, files)
	if err != nil || got != 1 {
		t.Errorf("after the repair: %d migrations applied, %v", got, err)
	}
	_, err = postgres.MigrateFrom(t.Context(), address, nil, fstest.MapFS{})
	if err == nil {
		t.Error("no files at all were taken for a schema")
	}
}

func TestP10_TheRuntimeRolesCannotChangeTheSchema(t *testing.T) {
	t.Parallel()
	own := pgtest.Open(t)
	for name, cfg := range map[string]postgres.Config{"auth": own.AuthConfig(), "verifier": own.VerifierConfig()} {
		db, err := postgres.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		for _, statement := range []string{
			"CREATE TABLE mine (id int)",
			"DROP TABLE audit",
			"ALTER TABLE challenges ADD COLUMN code text",
			"UPDATE audit SET actor = 'nobody'",
			"DELETE FROM audit",
			"TRUNCATE audit",
			"SELECT version FROM schema_version",
			"CREATE ROLE mine",
		} {
			err = db.InTx(t.Context(), execute(t, statement))
			if err == nil || !strings.Contains(err.Error(), "42501") {
				t.Errorf("%s, %s: %v, want 42501", name, statement, err)
			}
		}
	}
}
