package app_test

import (
	"context"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"doorcode/pkg/config"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/local"
	"doorcode/pkg/postgres/pgtest"
)

// emptyDatabase returns the owner's address of a database without a schema, in a
// cluster without our roles.
func emptyDatabase(t *testing.T) string {
	t.Helper()
	bin, err := local.FindOrInstall(t.Context(), "", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := local.Start(t.Context(), local.Config{
		Dir: filepath.Join(t.TempDir(), "data"), BinDir: bin, Settings: map[string]string{"fsync": "off"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := cluster.Remove(context.Background())
		if err != nil {
			t.Error("remove the cluster:", err)
		}
	})
	err = cluster.EnsureDatabase(t.Context(), "doorcode")
	if err != nil {
		t.Fatal(err)
	}
	return cluster.URL("doorcode")
}

// opens reports whether a role can open a database with a password.
func opens(t *testing.T, address string, role postgres.Role, password string) bool {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = nil
	db, err := postgres.Open(t.Context(), postgres.Config{
		URL: u.String(), User: string(role), Password: config.NewSecret(password), MaxConns: 1,
	})
	if err != nil {
		return false
	}
	db.Close()
	return true
}

func TestMigrate_MakesSchemaAndRolesWithTheirPasswords(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	address := emptyDatabase(t)
	o.useDatabase(t, address)
	o.env["DOORCODE_DOORCODECTL_AUTH_PASSWORD_FILE"] = o.keep(t, "auth", "first of auth")
	o.env["DOORCODE_DOORCODECTL_VERIFIER_PASSWORD_FILE"] = o.keep(t, "verifier", "first of verifier")
	if out := o.do(t, "migrate"); out == "migrations applied: 0\n" {
		t.Errorf("it says %q", out)
	}
	if !opens(t, address, postgres.RoleAuth, "first of auth") || !opens(t, address, postgres.RoleVerifier, "first of verifier") {
		t.Error("a role cannot open the database")
	}
	if opens(t, address, postgres.RoleAuditor, "") || opens(t, address, postgres.RoleAuditor, "first of auditor") {
		t.Error("the auditor opens the database without having been given a password")
	}
	if opens(t, address, postgres.RoleAuth, "first of verifier") {
		t.Error("any password opens the database")
	}
	o.keep(t, "auth", "second of auth")
	o.env["DOORCODE_DOORCODECTL_AUDITOR_PASSWORD_FILE"] = o.keep(t, "auditor", "first of auditor")
	delete(o.env, "DOORCODE_DOORCODECTL_VERIFIER_PASSWORD_FILE")
	if out := o.do(t, "migrate"); out != "migrations applied: 0\n" {
		t.Errorf("the second time it says %q", out)
	}
	if opens(t, address, postgres.RoleAuth, "first of auth") || !opens(t, address, postgres.RoleAuth, "second of auth") {
		t.Error("the new password was not set")
	}
	if !opens(t, address, postgres.RoleAuditor, "first of auditor") {
		t.Error("the auditor cannot open the database")
	}
	if !opens(t, address, postgres.RoleVerifier, "first of verifier") {
		t.Error("a role without a file lost its password")
	}
	o.keep(t, "owner", "wrong")
	o.refused(t, 1, "connect to database", "migrate")
}

func TestMigrate_RefusesANewerDatabase(t *testing.T) {
	t.Parallel()
	o, db := newOperator(t), pgtest.Open(t)
	o.useDatabase(t, db.OwnerURL())
	if out := o.do(t, "migrate"); out != "migrations applied: 0\n" {
		t.Errorf("on a current database it says %q", out)
	}
	db.Exec(t, `UPDATE schema_version SET version = version + 1`)
	o.refused(t, 1, "use the newer build", "migrate")
	_, err := os.Stat(filepath.Join(o.dir, "keys"))
	if err == nil {
		t.Error("migrate made keys")
	}
}
