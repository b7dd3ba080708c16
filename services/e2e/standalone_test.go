package e2e

import (
	"bufio"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"doorcode/pkg/postgres/pgtest"
)

// standalone is one installation: a folder, its addresses, and the process that
// runs on it.
type standalone struct {
	*process
	installation
	dir, demo, ops, console string
	settings                map[string]string
}

// newStandalone prepares an installation in a folder.
func newStandalone(dir string) (*standalone, error) {
	ports, err := freePorts(7)
	if err != nil {
		return nil, err
	}
	s := &standalone{dir: filepath.Join(dir, "data"), demo: ports[2], ops: ports[3], console: ports[6]}
	s.auth, s.sandbox, s.http = ports[0], ports[1], &http.Client{Timeout: patience}
	s.settings = map[string]string{
		"DOORCODE_STANDALONE_DIR":               s.dir,
		"DOORCODE_STANDALONE_OPERATIONS_LISTEN": s.ops,
		"DOORCODE_STANDALONE_NATS_LISTEN":       ports[4],
		"DOORCODE_AUTH_LISTEN":                  s.auth,
		"DOORCODE_SANDBOX_LISTEN":               s.sandbox,
		"DOORCODE_DEMO_LISTEN":                  s.demo,
		"DOORCODE_RECEIPTS_LISTEN":              ports[5],
		"DOORCODE_CONSOLE_LISTEN":               ports[6],
		"DOORCODE_LOG_LEVEL":                    "debug",
	}
	return s, nil
}

// start runs the process on the folder and waits until it is ready.
func (s *standalone) start() error {
	p, err := launch("standalone", s.dir+".log", s.settings)
	if err != nil {
		return err
	}
	s.process = p
	err = p.ready(s.ops)
	if err != nil {
		return errors.Join(err, p.signal(syscall.SIGKILL))
	}
	key, err := os.ReadFile(filepath.Join(s.dir, "front-end.key"))
	if err != nil {
		return err
	}
	return s.use(string(key))
}

// The installation that tests share; each uses a workspace of its own.
var shared struct { //nolint:gochecknoglobals // one process for the whole package
	once sync.Once
	*standalone
	err error
}

// sharedStandalone starts the shared installation at its first use.
func sharedStandalone(t testing.TB) *standalone {
	t.Helper()
	shared.once.Do(func() {
		dir := filepath.Join(binaries, "shared")
		shared.err = os.MkdirAll(dir, 0o755) // the private Postgres runs as another user
		if shared.err != nil {
			return
		}
		shared.standalone, shared.err = newStandalone(dir)
		if shared.err == nil {
			shared.err = shared.start()
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.standalone
}

// stopShared ends the shared installation after the last test.
func stopShared() {
	if shared.standalone != nil && shared.process != nil {
		_ = shared.signal(syscall.SIGTERM)
		shared.http.CloseIdleConnections()
	}
}

// folder returns an empty folder that the private Postgres, another user, can
// reach; otherwise its data would be kept elsewhere and outlive the test.
func folder(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(binaries, rand.Text())
	err := os.Mkdir(dir, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// ownStandalone starts an installation for one test.
func ownStandalone(t *testing.T) *standalone {
	t.Helper()
	s, err := newStandalone(folder(t))
	if err != nil {
		t.Fatal(err)
	}
	err = s.start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		err := s.signal(syscall.SIGTERM)
		if err != nil {
			t.Error(err)
		}
	})
	return s
}

// database opens the installation's private Postgres as its owner.
func (s *standalone) database(t testing.TB) *pgtest.Database {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(s.dir, "passwords", "owner"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(s.dir, "postgres", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	port := ""
	for i := 1; lines.Scan(); i++ {
		if i == 4 {
			port = strings.TrimSpace(lines.Text())
		}
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword("doorcode", string(password)), Host: "127.0.0.1:" + port, Path: "/doorcode"}
	return pgtest.At(t, u.String())
}

// metrics returns the text of the metrics page.
func (s *standalone) metrics(t testing.TB) string {
	t.Helper()
	return get(t, s.http, "http://"+s.ops+"/metrics")
}
