package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"doorcode/pkg/client"
	"doorcode/pkg/postgres/pgtest"
)

// standalone is one installation: a folder, its addresses, and the process that
// runs on it.
type standalone struct {
	*process
	dir                      string
	auth, sandbox, demo, ops string
	settings                 map[string]string
	key                      string // the development key
	http                     *http.Client
	front                    *client.Client
}

// newStandalone prepares an installation in a folder.
func newStandalone(dir string) (*standalone, error) {
	ports, err := freePorts(5)
	if err != nil {
		return nil, err
	}
	s := &standalone{dir: filepath.Join(dir, "data"), auth: ports[0], sandbox: ports[1], demo: ports[2], ops: ports[3], http: &http.Client{Timeout: patience}}
	s.settings = map[string]string{
		"DOORCODE_STANDALONE_DIR":               s.dir,
		"DOORCODE_STANDALONE_OPERATIONS_LISTEN": s.ops,
		"DOORCODE_STANDALONE_NATS_LISTEN":       ports[4],
		"DOORCODE_AUTH_LISTEN":                  s.auth,
		"DOORCODE_SANDBOX_LISTEN":               s.sandbox,
		"DOORCODE_DEMO_LISTEN":                  s.demo,
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
	s.key = strings.TrimSpace(string(key))
	s.front, err = client.New(client.Config{URL: "http://" + s.auth, Key: s.key, HTTP: s.http})
	return err
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
		shared.err = os.MkdirAll(dir, 0o755) //nolint:gosec // the private Postgres runs as another user
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

// ownStandalone starts an installation for one test.
func ownStandalone(t *testing.T) *standalone {
	t.Helper()
	s, err := newStandalone(t.TempDir())
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

// message is what the inbox tells of one message.
type message struct {
	ID, Channel, To, From, Subject, Text, HTML string
}

// inbox returns the messages to an address, newest first.
func (s *standalone) inbox(t testing.TB, to string) []message {
	t.Helper()
	res, err := s.http.Get("http://" + s.sandbox + "/api/messages?to=" + url.QueryEscape(to)) //nolint:noctx // bounded by the client's time-out
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var all []message
	err = json.NewDecoder(res.Body).Decode(&all)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// codeIn finds the code in a message: the one run of six digits on a line of
// its own.
func codeIn(t testing.TB, m message) string {
	t.Helper()
	code := regexp.MustCompile(`(?m)^\s*(\d{6})\s*$`).FindStringSubmatch(m.Text)
	if code == nil {
		t.Fatalf("no code in the message %q", m.Subject)
	}
	return code[1]
}

// code waits for the n-th message to an address and returns its code.
func (s *standalone) code(t testing.TB, to string, n int) string {
	t.Helper()
	var all []message
	eventually(t, "a message to "+to, func() bool {
		all = s.inbox(t, to)
		return len(all) >= n
	})
	return codeIn(t, all[len(all)-n])
}

// workspace makes a workspace with one owner, named after the test, and returns
// its id and main e-mail address.
func (s *standalone) workspace(t testing.TB) (id, email string) {
	t.Helper()
	id = strings.NewReplacer("/", ".", "_", "-").Replace(t.Name())
	id = id[:min(len(id), 60)]
	email = strings.ToLower(id) + "@acme.example"
	if len(id) > 50 {
		email = strings.ToLower(id[:50]) + "@acme.example"
	}
	err := s.front.PutWorkspace(t.Context(), id, client.Workspace{Name: "Acme", MainEmail: email, Owner: "kim"})
	if err != nil {
		t.Fatal(err)
	}
	err = s.front.PutLogin(t.Context(), id, "kim", client.Login{Role: "owner"})
	if err != nil {
		t.Fatal(err)
	}
	return id, email
}

// create asks for a challenge of the workspace's owner.
func (s *standalone) create(t testing.TB, workspace string) client.Challenge {
	t.Helper()
	ch, err := s.front.Create(t.Context(), client.Request{Workspace: workspace, Login: "kim"})
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// refusal returns the code of a refused call.
func refusal(t testing.TB, err error) *client.Error {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("not a refusal: %v", err)
	}
	return e
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

// metric returns the text of the metrics page.
func (s *standalone) metrics(t testing.TB) string {
	t.Helper()
	return get(t, s.http, "http://"+s.ops+"/metrics")
}

// get reads a page.
func get(t testing.TB, hc *http.Client, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := hc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var b strings.Builder
	_, err = bufio.NewReader(res.Body).WriteTo(&b)
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
