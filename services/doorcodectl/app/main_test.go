package app_test

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/services/doorcodectl/app"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// operator is somebody at a prompt, with the settings of one installation.
type operator struct {
	dir     string
	env     map[string]string
	secrets []string // what no complaint may hold
}

// newOperator returns an operator with an empty folder.
func newOperator(t *testing.T) *operator {
	t.Helper()
	dir := t.TempDir()
	return &operator{dir: dir, env: map[string]string{
		"DOORCODE_DOORCODECTL_KEYS_DIR": filepath.Join(dir, "keys"),
		"DOORCODE_DOORCODECTL_NATS_DIR": filepath.Join(dir, "nats"),
	}}
}

// keep writes a secret to a file and returns its path.
func (o *operator) keep(t *testing.T, name, secret string) string {
	t.Helper()
	o.secrets = append(o.secrets, secret)
	path := filepath.Join(o.dir, name)
	err := os.WriteFile(path, []byte(secret+"\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// useDatabase takes a database's address apart as an operator has to.
func (o *operator) useDatabase(t *testing.T, address string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	o.env["DOORCODE_DATABASE_URL"] = u.String()
	o.env["DOORCODE_DOORCODECTL_DATABASE_PASSWORD_FILE"] = o.keep(t, "owner", password)
}

// useBus names a bus with its real key.
func (o *operator) useBus(t *testing.T, b *bustest.Bus) {
	t.Helper()
	o.env["DOORCODE_NATS_URL"] = b.URL()
	o.env["DOORCODE_DOORCODECTL_NATS_KEY_FILE"] = b.KeyFile("doorcodectl")
	o.secrets = append(o.secrets, strings.TrimSpace(string(read(t, b.KeyFile("doorcodectl")))))
}

// answer is what a command printed and its exit code.
type answer struct {
	out, complaint string
	code           int
}

// run runs a command with a context of its own.
func (o *operator) run(t *testing.T, args ...string) answer {
	t.Helper()
	return o.runWith(t.Context(), t, args...)
}

// runWith runs a command and fails the test when its complaint holds a secret.
func (o *operator) runWith(ctx context.Context, t *testing.T, args ...string) answer {
	t.Helper()
	var environ []string
	for name, value := range o.env {
		environ = append(environ, name+"="+value)
	}
	var out, complaint bytes.Buffer
	code := app.Run(ctx, args, environ, &out, &complaint)
	a := answer{out: out.String(), complaint: complaint.String(), code: code}
	for _, secret := range o.secrets {
		if strings.Contains(a.complaint, secret) {
			t.Errorf("the complaint of %v holds a secret", args)
		}
	}
	if strings.Contains(a.complaint, "dck_") {
		t.Errorf("the complaint of %v holds an API key", args)
	}
	// Beside a CSV stands its trailer.
	if (code == 0) != (a.complaint == "" || strings.HasPrefix(a.complaint, `{"trailer":{"export":`)) {
		t.Errorf("%v ended with %d and says %q", args, code, a.complaint)
	}
	return a
}

// do runs a command that has to succeed and returns what it printed.
func (o *operator) do(t *testing.T, args ...string) string {
	t.Helper()
	a := o.run(t, args...)
	if a.code != 0 {
		t.Fatalf("%v ended with %d: %s", args, a.code, a.complaint)
	}
	return a.out
}

// refused runs a command that has to fail with a complaint that says why.
func (o *operator) refused(t *testing.T, code int, why string, args ...string) {
	t.Helper()
	a := o.run(t, args...)
	if a.code != code || !strings.Contains(a.complaint, why) {
		t.Errorf("%v ended with %d, not %d, or does not say %q: %s", args, a.code, code, why, a.complaint)
	}
}

// read returns the content of a file.
func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
