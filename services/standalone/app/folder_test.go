package app

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/telemetry"
)

// content reads a file.
func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// write writes a file for its owner alone.
func write(t *testing.T, path, text string) {
	t.Helper()
	err := os.WriteFile(path, []byte(text), 0o600)
	if err != nil {
		t.Fatal(err)
	}
}

func TestNew_ASecondOnTheFolderIsRefusedUntilTheFirstEnds(t *testing.T) {
	t.Parallel()
	first := installation(t, Config{})
	_, err := New(Config{Dir: first.dir}, telemetry.Telemetry{}, Surroundings{})
	if err == nil || !strings.Contains(err.Error(), "another standalone is running on the folder "+first.dir) {
		t.Fatalf("the second start: %v", err)
	}
	entries, err := os.ReadDir(first.dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("a refused start left %v: %v", entries, err)
	}
	err = first.Stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(Config{Dir: first.dir}, telemetry.Telemetry{}, Surroundings{})
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	err = second.Stop(t.Context())
	if err != nil {
		t.Error(err)
	}
}

func TestNew_AFolderThatCannotBeMadeIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	dir := filepath.Join(file, "data")
	_, err := New(Config{Dir: dir}, telemetry.Telemetry{}, Surroundings{})
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("start: %v", err)
	}
}

func TestPasswords_AreMadeOnceAndDiffer(t *testing.T) {
	t.Parallel()
	a := installation(t, Config{})
	dir := filepath.Join(a.dir, "passwords")
	first := map[string]string{}
	for range 2 {
		err := a.passwords(environment{"DOORCODE_SANDBOX_SENDGRID_KEY": "SG.mine"})
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range []string{"auth", "verifier"} {
			path := filepath.Join(dir, role)
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("file of %s: %v", role, err)
			}
			now := content(t, path)
			if len(now) < 26 || (first[role] != "" && now != first[role]) {
				t.Errorf("the password of %s is short or changed", role)
			}
			first[role] = now
		}
	}
	if first["auth"] == first["verifier"] {
		t.Error("two roles have one password")
	}
	if key := content(t, filepath.Join(dir, "sendgrid")); key != "SG.mine" {
		t.Errorf("the dispatcher's key is %q, the sandbox's SG.mine", key)
	}
}

// atDatabase returns an installation with keys and a database of its own.
func atDatabase(t *testing.T) (*App, environment, *pgtest.Database) {
	t.Helper()
	a, db := installation(t, Config{}), pgtest.Open(t)
	env := a.environment()
	err := a.passwords(env)
	if err != nil {
		t.Fatal(err)
	}
	useDatabase(t, a, env, db)
	err = a.operate(t.Context(), env, io.Discard, "keys")
	if err != nil {
		t.Fatal(err)
	}
	return a, env, db
}

// useDatabase names a database whose roles have passwords of their own.
func useDatabase(t *testing.T, a *App, env environment, db *pgtest.Database) {
	t.Helper()
	err := env.useDatabase(db.OwnerURL(), filepath.Join(a.dir, "passwords", "owner"))
	if err != nil {
		t.Fatal(err)
	}
	password := db.AuthConfig().Password
	write(t, filepath.Join(a.dir, "passwords", "auth"), password.Reveal())
}

// developmentKey makes the key where it has to be made and returns it.
func developmentKey(t *testing.T, a *App, env environment) string {
	t.Helper()
	err := a.developmentKey(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	good, err := goodKey(t.Context(), env, filepath.Join(a.dir, FrontEndKey))
	if err != nil || !good {
		t.Errorf("the database does not know the key: %v", err)
	}
	return content(t, filepath.Join(a.dir, FrontEndKey))
}

func TestDevelopmentKey_IsKeptAsLongAsItIsGood(t *testing.T) {
	t.Parallel()
	a, env, db := atDatabase(t)
	key := developmentKey(t, a, env)
	if developmentKey(t, a, env) != key {
		t.Error("a second start renewed a good key")
	}
	var scopes []string
	db.Scan(t, `SELECT scopes FROM front_ends WHERE id = $1 AND workspaces IS NULL`, []any{frontEnd}, &scopes)
	if strings.Join(scopes, " ") != "challenges directory settings" {
		t.Errorf("scopes %v", scopes)
	}
}

func TestDevelopmentKey_IsRenewedWhenItIsOfNoUse(t *testing.T) {
	t.Parallel()
	a, env, db := atDatabase(t)
	path := filepath.Join(a.dir, FrontEndKey)
	seen := map[string]bool{developmentKey(t, a, env): true}
	for _, spoil := range []struct {
		what string
		do   func()
	}{
		{"the file is gone", func() { _ = os.Remove(path) }},
		{"the file is cut", func() { write(t, path, content(t, path)[:20]) }},
		{"the front-end was removed", func() { db.Exec(t, `DELETE FROM front_ends`) }},
		{"somebody made another key", func() {
			err := a.operate(t.Context(), env, io.Discard, "api-key", "create", frontEnd)
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"the database is another one", func() { useDatabase(t, a, env, pgtest.Open(t)) }},
	} {
		spoil.do()
		key := developmentKey(t, a, env)
		if seen[key] {
			t.Errorf("%s, and the key is an old one", spoil.what)
		}
		seen[key] = true
	}
}

// A database whose rows were made under other keys belongs to another folder.
func TestDevelopmentKey_ADatabaseOfOtherKeysStopsTheStart(t *testing.T) {
	t.Parallel()
	a, env, _ := atDatabase(t)
	developmentKey(t, a, env)
	row := env["DOORCODE_AUTH_ROW_KEY_FILE"]
	err := os.Remove(row)
	if err != nil {
		t.Fatal(err)
	}
	err = a.operate(t.Context(), env, io.Discard, "keys")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // with the key's file and without it
		err = a.developmentKey(t.Context(), env)
		if err == nil || !strings.Contains(err.Error(), "front_ends") {
			t.Errorf("start: %v", err)
		}
		_ = os.Remove(filepath.Join(a.dir, FrontEndKey))
	}
}

func TestOperate_SaysWhatTheCommandSays(t *testing.T) {
	t.Parallel()
	a, env, _ := atDatabase(t)
	err := a.operate(t.Context(), env, io.Discard, "api-key", "remove", "nobody")
	if err == nil || !strings.Contains(err.Error(), "api-key remove nobody") || !strings.Contains(err.Error(), postgres.ErrNoFrontEnd.Error()) {
		t.Errorf("error %v", err)
	}
}
