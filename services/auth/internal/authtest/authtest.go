// Package authtest gives a test of auth what stands around it: the verifier as the process that it is, the dispatchers of
// both channels, and the sandbox in place of the providers. Only tests import it.
package authtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorcode/pkg/assertion"
	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/dispatch/process"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/message"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/provider/sandbox"
	"doorcode/pkg/provider/sendgrid"
	"doorcode/pkg/provider/vonage"
	"doorcode/pkg/telemetry"
)

// Patience bounds every wait.
const Patience = 60 * time.Second

// The files of the keys that auth shares with the others, in the folder of World.
const (
	Digest       = "DIGEST"
	Handle       = "HANDLE"
	EmailChannel = "EMAIL_CHANNEL"
	SMSChannel   = "SMS_CHANNEL"
	JWKS         = "jwks"
)

// Brand is what people sign in to.
const Brand = "Lanternbird"

// World is everything around one auth. It ends with its test.
type World struct {
	Box *sandbox.Sandbox
	dir string
	bus *bustest.Bus
	log string // of the verifier
}

// Keys writes the keys of the assertions into the folder, as auth needs them before it starts: JWKS is replaced.
func Keys(t testing.TB, dir string) {
	t.Helper()
	keys, err := assertion.New()
	if err != nil {
		t.Fatal(err)
	}
	private, err := keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	public, err := keys.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "assertion", private)
	write(t, dir, JWKS, public)
}

// Start runs the world on a bus and a database, with the keys of the folder.
func Start(t testing.TB, b *bustest.Bus, db *pgtest.Database, dir string) *World {
	t.Helper()
	w := &World{
		Box: sandbox.New(sandbox.Config{SendGridKey: sendGridKey, VonageKey: vonageKey, VonageSecret: vonageSecret}),
		dir: dir, bus: b, log: filepath.Join(t.TempDir(), "verifier.log"),
	}
	server := httptest.NewServer(w.Box.Handler())
	t.Cleanup(server.Close)
	w.dispatchers(t, server.URL)
	w.verifier(t, db)
	return w
}

// The accounts at the providers.
const (
	sendGridKey  = "SG.aaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	vonageKey    = "k3y0f4cc"
	vonageSecret = "the-secret&of=this+test"
)

// dispatchers runs those of both channels.
func (w *World) dispatchers(t testing.TB, providers string) {
	t.Helper()
	mail, err := sendgrid.New(sendgrid.Config{
		BaseURL: providers, Key: config.NewSecret(sendGridKey), From: "codes@lanternbird.example", FromName: Brand, Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	letters, err := message.NewEmail(Brand, "")
	if err != nil {
		t.Fatal(err)
	}
	w.dispatcher(t, process.Config{Channel: delivery.Email, Provider: mail, Renderer: letters, ChannelKeyFile: filepath.Join(w.dir, EmailChannel)})
	text, err := vonage.New(vonage.Config{
		BaseURL: providers, Key: config.NewSecret(vonageKey), Secret: config.NewSecret(vonageSecret),
		Senders: map[string]string{"US": "12025550100", "NL": Brand}, Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	words, err := message.NewSMS(Brand, "login.lanternbird.com")
	if err != nil {
		t.Fatal(err)
	}
	w.dispatcher(t, process.Config{Channel: delivery.SMS, Provider: text, Renderer: words, ChannelKeyFile: filepath.Join(w.dir, SMSChannel)})
}

// dispatcher runs one of them.
func (w *World) dispatcher(t testing.TB, cfg process.Config) {
	t.Helper()
	name := string(cfg.Channel) + "-dispatcher"
	tel, err := telemetry.New(name, "error", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	cfg.NATSURL, cfg.NATSKeyFile, cfg.Workers, cfg.RatePerSecond = w.bus.URL(), w.bus.KeyFile(name), 4, 100
	cfg.Telemetry, cfg.Clock = tel, time.Now
	p, err := process.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		err := p.Stop(ctx)
		if err != nil {
			t.Errorf("stop the %s: %v", name, err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	err = p.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
}

// variable names the environment variable with the path of the verifier's binary.
const variable = "AUTHTEST_VERIFIER"

// Main is the body of a TestMain of tests that use a World: pgtest.Main with the verifier built before.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "doorcode-authtest-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = build(filepath.Join(dir, "verifier"))
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "authtest: build the verifier:", err)
		return 1
	}
	return pgtest.Main(m)
}

// build makes the binary and exports its path.
func build(path string) error {
	out, err := exec.CommandContext(context.Background(), "go", "build", "-o", path, "doorcode/services/verifier").CombinedOutput()
	if err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return os.Setenv(variable, path)
}

// verifier runs the verifier and waits until it answers.
func (w *World) verifier(t testing.TB, db *pgtest.Database) {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatal("authtest: no verifier; the package needs a TestMain that calls authtest.Main")
	}
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	data, err := ring.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	database := db.VerifierConfig()
	write(t, w.dir, "CHECK_ID", data)
	write(t, w.dir, "password", []byte(database.Password.Reveal()))
	log, err := os.Create(w.log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path)
	cmd.Stdout, cmd.Stderr = log, log
	const own = "DOORCODE_VERIFIER_"
	cmd.Env = []string{
		"DOORCODE_NATS_URL=" + w.bus.URL(), "DOORCODE_DATABASE_URL=" + database.URL,
		own + "OPERATIONS_LISTEN=127.0.0.1:0", own + "NATS_KEY_FILE=" + w.bus.KeyFile("verifier"),
		own + "DATABASE_USER=" + database.User, own + "DATABASE_PASSWORD_FILE=" + filepath.Join(w.dir, "password"),
		own + "DIGEST_KEY_FILE=" + filepath.Join(w.dir, Digest), own + "HANDLE_KEY_FILE=" + filepath.Join(w.dir, Handle),
		own + "CHECK_ID_KEY_FILE=" + filepath.Join(w.dir, "CHECK_ID"),
		own + "ASSERTION_KEY_FILE=" + filepath.Join(w.dir, "assertion"), own + "SEAL_KEY_FILE=" + filepath.Join(w.dir, "assertion"),
	}
	err = cmd.Start()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- errors.Join(cmd.Wait(), log.Close()) }()
	t.Cleanup(func() { w.end(t, cmd, ended) })
	w.answers(t)
}

// end stops the verifier as an operator does.
func (w *World) end(t testing.TB, cmd *exec.Cmd, ended <-chan error) {
	t.Helper()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the verifier ended with %v:\n%s", err, w.printed())
		}
	case <-time.After(Patience):
		_ = cmd.Process.Kill()
		t.Error("the verifier did not end")
	}
}

// printed is what the verifier printed.
func (w *World) printed() string {
	data, err := os.ReadFile(w.log)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// answers waits until the verifier answers.
func (w *World) answers(t testing.TB) {
	t.Helper()
	conn := w.bus.Open(t, bus.Config{Name: "auth", Log: slog.New(slog.DiscardHandler), Fatal: func(error) {}})
	bustest.Wait(t, "the verifier answers", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := conn.Request(ctx, event.VerbState, []byte(`{"handle":"x","front_end":"x"}`))
		var refused *bus.ServiceError
		return err == nil || errors.As(err, &refused)
	})
}

// Messages waits until there are n messages to an address or number and returns them, the oldest first.
func (w *World) Messages(t testing.TB, to string, n int) []sandbox.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	all, err := w.Box.Wait(ctx, to, n)
	if err != nil {
		t.Fatalf("the message %d to a person did not come: %v\n%s", n, err, w.printed())
	}
	var inOrder []sandbox.Message
	for i := range all {
		inOrder = append(inOrder, all[len(all)-1-i])
	}
	return inOrder
}

// Code is the code in the n-th message with a code to an address or number.
func (w *World) Code(t testing.TB, to string, n int) string {
	t.Helper()
	for all := n; ; all++ {
		w.Messages(t, to, all)
		codes := w.codes(to)
		if len(codes) >= n {
			return codes[n-1]
		}
	}
}

// Codes counts the messages with a code that an address or number has.
func (w *World) Codes(to string) int { return len(w.codes(to)) }

// codes lists the codes that went to an address or number, the oldest first.
func (w *World) codes(to string) []string {
	var codes []string
	for _, m := range w.Box.Messages(to) {
		code := regexp.MustCompile(`(?m)(?:^|: )([0-9]{6})\b`).FindStringSubmatch(m.Text)
		if code != nil {
			codes = append([]string{code[1]}, codes...)
		}
	}
	return codes
}

// Wrong is another code.
func Wrong(code string) string {
	last := code[len(code)-1]
	return code[:len(code)-1] + strings.Map(func(r rune) rune { return '0' + (r-'0'+1)%10 }, string(last))
}

// write writes a file of the folder.
func write(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	err := os.WriteFile(filepath.Join(dir, name), data, 0o600)
	if err != nil {
		t.Fatal(err)
	}
}
