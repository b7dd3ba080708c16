package e2e

import (
	"context"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"doorcode/pkg/postgres/local"
	"doorcode/pkg/postgres/pgtest"
)

// existingDatabase is one that an operator has already: its owner's address and
// password.
func existingDatabase(t *testing.T) (address, password string) {
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
			t.Error(err)
		}
	})
	err = cluster.EnsureDatabase(t.Context(), "signin")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(cluster.URL("signin"))
	if err != nil {
		t.Fatal(err)
	}
	password, _ = u.User.Password()
	u.User = url.User(u.User.Username())
	return u.String(), password
}

// onExisting prepares a standalone on an existing database.
func onExisting(t *testing.T, address, password string) *standalone {
	t.Helper()
	s, err := newStandalone(folder(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "owner")
	err = os.WriteFile(file, []byte(password+"\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s.settings["DOORCODE_DATABASE_URL"] = address
	s.settings["DOORCODE_STANDALONE_DATABASE_PASSWORD_FILE"] = file
	return s
}

func TestStandalone_WorksOnAnExistingDatabase(t *testing.T) {
	t.Parallel()
	address, password := existingDatabase(t)
	s := onExisting(t, address, password)
	t.Cleanup(s.http.CloseIdleConnections)
	err := s.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.signal(syscall.SIGTERM) })
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	code, key := s.code(t, email, 1), s.key
	err = s.signal(syscall.SIGTERM)
	if err != nil || s.err != nil {
		t.Fatalf("stop: %v, exit: %v\n%s", err, s.err, s.tail())
	}
	err = s.start()
	if err != nil {
		t.Fatal(err)
	}
	if s.key != key {
		t.Error("the development key changed")
	}
	person, err := s.front.Check(t.Context(), ch.Handle, code)
	if err != nil || person.Workspace != workspace {
		t.Errorf("a code from before the restart: %v", err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), password)
	var n int
	pgtest.At(t, u.String()).Scan(t, `SELECT count(*) FROM workspaces WHERE id = $1`, []any{workspace}, &n)
	if n != 1 {
		t.Error("the existing database knows nothing of the workspace")
	}
	s.wantNowhere(t, password)
}

// wantNowhere fails when a secret stands in the log or in a file of the folder,
// or when the folder has a database of its own.
func (s *standalone) wantNowhere(t *testing.T, secret string) {
	t.Helper()
	if strings.Contains(s.printed(), secret) {
		t.Error("the owner's password stands in the log")
	}
	_, err := os.Stat(filepath.Join(s.dir, "postgres"))
	if err == nil {
		t.Error("there is a private database as well")
	}
	err = filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Base(filepath.Dir(path)) == "msgs" {
			return nil // files of the bus come and go
		}
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), secret) {
			t.Errorf("the owner's password was copied to %s", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestStandalone_RefusesAPasswordInTheDatabaseAddress(t *testing.T) {
	t.Parallel()
	s := onExisting(t, "postgres://doorcode:swordfish@127.0.0.1:1/signin", "other")
	out, err := runBinary("standalone", s.settings)
	if err == nil || !strings.Contains(out, "DOORCODE_DATABASE_URL holds a password") || strings.Contains(out, "swordfish") {
		t.Errorf("start: %v\n%s", err, out)
	}
}
