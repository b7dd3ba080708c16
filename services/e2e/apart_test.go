package e2e

import (
	"bytes"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// apart is an installation as operators run it: every process for itself, two
// verifiers and two dispatchers, one bus, one database, and keys, streams and
// the API key by doorcodectl.
type apart struct {
	installation
	dir      string
	bus      *bustest.Bus
	db       *pgtest.Database
	settings map[string]string // of all processes, as in one environment file
	replicas []*replica        // in the order of their start
}

// replica is one process of an installation, running or not.
type replica struct {
	*process
	name, ops string
	settings  map[string]string // its own, above those of all
}

// newApart prepares an installation; none of its processes runs yet.
func newApart(t *testing.T) *apart {
	t.Helper()
	return newApartOn(t, bustest.StartEmpty(t), pgtest.Open(t), signingIn()...)
}

// signingIn names the replicas that a sign-in by e-mail needs, with one to spare of each worker.
func signingIn() []string {
	return []string{"sandbox", "verifier-1", "verifier-2", "auth", "email-dispatcher-1", "email-dispatcher-2"}
}

// newApartOn is newApart with a bus and a database of the test's choice, and these replicas.
func newApartOn(t *testing.T, b *bustest.Bus, db *pgtest.Database, names ...string) *apart {
	t.Helper()
	ports, err := freePorts(2 + len(names))
	if err != nil {
		t.Fatal(err)
	}
	s := &apart{dir: t.TempDir(), bus: b, db: db}
	s.auth, s.sandbox, s.http = ports[0], ports[1], &http.Client{Timeout: patience}
	t.Cleanup(s.http.CloseIdleConnections)
	s.configure(t)
	for i, name := range names {
		kind := strings.TrimRight(name, "-12")
		variable := "DOORCODE_" + strings.ToUpper(strings.ReplaceAll(kind, "-", "_")) + "_OPERATIONS_LISTEN"
		r := &replica{name: name, ops: ports[2+i], settings: map[string]string{variable: ports[2+i]}}
		if kind == "verifier" {
			r.settings["DOORCODE_VERIFIER_SEAL_FILE"] = s.heads(name)
		}
		s.replicas = append(s.replicas, r)
	}
	s.operate(t, "keys")
	s.operate(t, "streams", "apply")
	err = s.use(s.operate(t, "api-key", "create", "web", "-scopes", "challenges,directory"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.end(t) })
	return s
}

// heads is the file in which a verifier keeps the heads of the audit.
func (s *apart) heads(replica string) string { return filepath.Join(s.dir, replica+".seals.jsonl") }

// configure writes the environment of all processes and the files that it names.
func (s *apart) configure(t *testing.T) {
	t.Helper()
	owner, err := url.Parse(s.db.OwnerURL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := owner.User.Password()
	secret := func(name, content string) string {
		path := filepath.Join(s.dir, name+".secret")
		err := os.WriteFile(path, []byte(content), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	role := func(name string, cfg postgres.Config) string { return secret(name, cfg.Password.Reveal()) }
	ring := func(name string) string { return filepath.Join(s.dir, "keys", name+".json") }
	owner.User = url.User(owner.User.Username())
	s.settings = map[string]string{
		"DOORCODE_LOG_LEVEL":                          "debug",
		"DOORCODE_NATS_URL":                           s.bus.URL(),
		"DOORCODE_DATABASE_URL":                       owner.String(),
		"DOORCODE_DOORCODECTL_DATABASE_PASSWORD_FILE": secret("owner", password),
		"DOORCODE_DOORCODECTL_KEYS_DIR":               filepath.Join(s.dir, "keys"),
		"DOORCODE_DOORCODECTL_NATS_DIR":               filepath.Join(s.dir, "nats"),
		"DOORCODE_DOORCODECTL_NATS_KEY_FILE":          s.bus.KeyFile("doorcodectl"),
		"DOORCODE_AUTH_LISTEN":                        s.auth,
		"DOORCODE_AUTH_NATS_KEY_FILE":                 s.bus.KeyFile("auth"),
		"DOORCODE_AUTH_DATABASE_PASSWORD_FILE":        role("auth", s.db.AuthConfig()),
		"DOORCODE_AUTH_TAG_KEY_FILE":                  ring("tag"),
		"DOORCODE_AUTH_DIGEST_KEY_FILE":               ring("digest"),
		"DOORCODE_AUTH_HANDLE_KEY_FILE":               ring("handle"),
		"DOORCODE_AUTH_ADDRESS_KEY_FILE":              ring("address"),
		"DOORCODE_AUTH_ROW_KEY_FILE":                  ring("row"),
		"DOORCODE_AUTH_API_KEY_KEY_FILE":              ring("api-key"),
		"DOORCODE_AUTH_IDEMPOTENCY_KEY_FILE":          ring("idempotency"),
		"DOORCODE_AUTH_EMAIL_CHANNEL_KEY_FILE":        ring("channel-email"),
		"DOORCODE_AUTH_JWKS_FILE":                     ring("jwks"),
		"DOORCODE_VERIFIER_NATS_KEY_FILE":             s.bus.KeyFile("verifier"),
		"DOORCODE_VERIFIER_DATABASE_PASSWORD_FILE":    role("verifier", s.db.VerifierConfig()),
		"DOORCODE_VERIFIER_DIGEST_KEY_FILE":           ring("digest"),
		"DOORCODE_VERIFIER_HANDLE_KEY_FILE":           ring("handle"),
		"DOORCODE_VERIFIER_CHECK_ID_KEY_FILE":         ring("check-id"),
		"DOORCODE_VERIFIER_ASSERTION_KEY_FILE":        ring("assertion"),
		"DOORCODE_VERIFIER_SEAL_KEY_FILE":             ring("seal"),
		"DOORCODE_VERIFIER_SEAL_EVERY":                "30s",
		"DOORCODE_EMAIL_DISPATCHER_NATS_KEY_FILE":     s.bus.KeyFile("email-dispatcher"),
		"DOORCODE_EMAIL_DISPATCHER_CHANNEL_KEY_FILE":  ring("channel-email"),
		"DOORCODE_EMAIL_DISPATCHER_SENDGRID_KEY_FILE": secret("sendgrid", "SG.sandbox"),
		"DOORCODE_EMAIL_DISPATCHER_SENDGRID_URL":      "http://" + s.sandbox,
		"DOORCODE_EMAIL_DISPATCHER_FROM_ADDRESS":      "sign-in@acme.example",
		"DOORCODE_SANDBOX_LISTEN":                     s.sandbox,
	}
}

// operate runs a command of doorcodectl and returns what it printed.
func (s *apart) operate(t *testing.T, args ...string) string {
	t.Helper()
	out, err := runBinary("doorcodectl", s.settings, args...)
	if err != nil {
		t.Fatalf("doorcodectl %v: %v\n%s", args, err, out)
	}
	return out
}

// named returns the replicas whose names begin with one of the words; without a
// word all.
func (s *apart) named(words ...string) []*replica {
	if len(words) == 0 {
		return s.replicas
	}
	var found []*replica
	for _, r := range s.replicas {
		for _, word := range words {
			if strings.HasPrefix(r.name, word) {
				found = append(found, r)
			}
		}
	}
	return found
}

// start starts replicas and waits until each is ready.
func (s *apart) start(t *testing.T, words ...string) {
	t.Helper()
	for _, r := range s.named(words...) {
		settings := maps.Clone(s.settings)
		maps.Copy(settings, r.settings)
		p, err := launch(strings.TrimRight(r.name, "-12"), filepath.Join(s.dir, r.name+".log"), settings)
		if err != nil {
			t.Fatal(err)
		}
		r.process = p
		err = p.ready(r.ops)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// stop sends SIGTERM to replicas and fails the test unless each ends with code 0.
func (s *apart) stop(t *testing.T, words ...string) {
	t.Helper()
	for _, r := range s.named(words...) {
		err := r.signal(syscall.SIGTERM)
		if err != nil {
			t.Fatal(err)
		}
		if r.err != nil {
			t.Errorf("%s ended with %v\n%s", r.name, r.err, r.tail())
		}
	}
}

// end ends what runs and looks for what no process may print.
func (s *apart) end(t *testing.T) {
	t.Helper()
	for _, r := range s.replicas {
		if r.process == nil {
			continue
		}
		err := r.signal(syscall.SIGTERM)
		if err != nil {
			t.Error(err)
		}
		for _, bad := range []string{"DATA RACE", "panic", "goroutine "} {
			if strings.Contains(r.printed(), bad) {
				t.Errorf("%s reports %q:\n%s", r.name, bad, r.tail())
			}
		}
	}
}

// backUp waits until every replica is ready again.
func (s *apart) backUp(t *testing.T) {
	t.Helper()
	for _, r := range s.replicas {
		err := r.ready(r.ops)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wantDown waits until replicas say that they are not ready and name what is down.
func (s *apart) wantDown(t *testing.T, what string, words ...string) {
	t.Helper()
	for _, r := range s.named(words...) {
		eventually(t, r.name+" names the "+what, func() bool {
			status, body, err := readyz(t.Context(), r.ops)
			return err == nil && status == http.StatusServiceUnavailable && strings.Contains(body, what)
		})
	}
}

// fault makes the sandbox misbehave towards every send.
func (s *apart) fault(t *testing.T, document string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.sandbox+"/_sandbox/faults", bytes.NewReader([]byte(document)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("the sandbox answers %d", res.StatusCode)
	}
}
