// Package stage sets doorcode up for a run: every process for itself, from its binary, as an operator would.
package stage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"doorcode/pkg/freeport"
	"doorcode/pkg/lifecycle"
	"doorcode/services/bench/internal/database"
	"doorcode/services/bench/internal/host"
)

// Config says what is set up.
type Config struct {
	Bin      string // folder of the binaries
	Dir      string // folder for keys, stores and logs, made for this
	Environ  []string
	Sandbox  string // address of the provider
	Database *database.Database
	// Replicas beside the one auth.
	Verifiers, Dispatchers int
	Settings               map[string]string // stronger than ours
}

// Stage is what all runs have in common: keys, the database's schema and the front-end.
type Stage struct {
	cfg      Config
	settings map[string]string
	key      string // the front-end's
}

// New makes keys, passwords, the schema and a front-end.
func New(ctx context.Context, cfg Config) (*Stage, error) {
	s := &Stage{cfg: cfg}
	err := s.configure()
	if err != nil {
		return nil, err
	}
	for _, command := range [][]string{{"keys"}, {"migrate"}} {
		_, err = s.operate(ctx, s.settings, command...)
		if err != nil {
			return nil, err
		}
	}
	s.key, err = s.operate(ctx, s.settings, "api-key", "create", "bench", "-scopes", "challenges")
	if err != nil {
		return nil, err
	}
	s.key = strings.TrimSpace(s.key)
	return s, nil
}

// Key is the API key of the front-end.
func (s *Stage) Key() string { return s.key }

// RowKeys is the file of the keys under which rows of the directory are sealed.
func (s *Stage) RowKeys() string { return s.ring("row") }

// OperatorKey is the file of doorcodectl's key to the bus.
func (s *Stage) OperatorKey() string { return s.user("doorcodectl") }

// Settings returns what differs from the defaults of the processes, for the report: what is measured, not where it is.
func (s *Stage) Settings() map[string]string {
	lifted := lifts()
	maps.Copy(lifted, s.cfg.Settings)
	return lifted
}

// lifts are the settings that differ from the defaults, so that no limit of a replica's intake decides the figures.
// The limits of people and addresses stay as they are.
func lifts() map[string]string {
	return map[string]string{
		"DOORCODE_LOG_LEVEL":                        "warn",
		"DOORCODE_AUTH_CREATES_PER_SECOND":          "100000",
		"DOORCODE_VERIFIER_WORKERS":                 "1024",
		"DOORCODE_EMAIL_DISPATCHER_WORKERS":         "64",
		"DOORCODE_EMAIL_DISPATCHER_RATE_PER_SECOND": "10000",
	}
}

func (s *Stage) ring(name string) string { return filepath.Join(s.cfg.Dir, "keys", name+".json") }
func (s *Stage) user(name string) string { return filepath.Join(s.cfg.Dir, "nats", name+".nk") }

// configure writes the environment of all processes and the passwords that it names.
func (s *Stage) configure() error {
	address, owner, err := s.cfg.Database.Address()
	if err != nil {
		return err
	}
	passwords := map[string]string{"owner": owner, "auth": rand.Text(), "verifier": rand.Text(), "sendgrid": "SG.bench"}
	file := func(name string) string { return filepath.Join(s.cfg.Dir, name+".password") }
	for name, password := range passwords {
		err = os.WriteFile(file(name), []byte(password), 0o600)
		if err != nil {
			return fmt.Errorf("write a password: %w", err)
		}
	}
	s.settings = map[string]string{
		"DOORCODE_DATABASE_URL":                       address,
		"DOORCODE_DOORCODECTL_DATABASE_PASSWORD_FILE": file("owner"),
		"DOORCODE_DOORCODECTL_AUTH_PASSWORD_FILE":     file("auth"),
		"DOORCODE_DOORCODECTL_VERIFIER_PASSWORD_FILE": file("verifier"),
		"DOORCODE_DOORCODECTL_KEYS_DIR":               filepath.Join(s.cfg.Dir, "keys"),
		"DOORCODE_DOORCODECTL_NATS_DIR":               filepath.Join(s.cfg.Dir, "nats"),
		"DOORCODE_DOORCODECTL_NATS_KEY_FILE":          s.user("doorcodectl"),
		"DOORCODE_AUTH_NATS_KEY_FILE":                 s.user("auth"),
		"DOORCODE_AUTH_DATABASE_PASSWORD_FILE":        file("auth"),
		"DOORCODE_AUTH_TAG_KEY_FILE":                  s.ring("tag"),
		"DOORCODE_AUTH_DIGEST_KEY_FILE":               s.ring("digest"),
		"DOORCODE_AUTH_HANDLE_KEY_FILE":               s.ring("handle"),
		"DOORCODE_AUTH_ADDRESS_KEY_FILE":              s.ring("address"),
		"DOORCODE_AUTH_ROW_KEY_FILE":                  s.ring("row"),
		"DOORCODE_AUTH_API_KEY_KEY_FILE":              s.ring("api-key"),
		"DOORCODE_AUTH_IDEMPOTENCY_KEY_FILE":          s.ring("idempotency"),
		"DOORCODE_AUTH_EMAIL_CHANNEL_KEY_FILE":        s.ring("channel-email"),
		"DOORCODE_AUTH_JWKS_FILE":                     s.ring("jwks"),
		"DOORCODE_VERIFIER_NATS_KEY_FILE":             s.user("verifier"),
		"DOORCODE_VERIFIER_DATABASE_PASSWORD_FILE":    file("verifier"),
		"DOORCODE_VERIFIER_DIGEST_KEY_FILE":           s.ring("digest"),
		"DOORCODE_VERIFIER_HANDLE_KEY_FILE":           s.ring("handle"),
		"DOORCODE_VERIFIER_CHECK_ID_KEY_FILE":         s.ring("check-id"),
		"DOORCODE_VERIFIER_ASSERTION_KEY_FILE":        s.ring("assertion"),
		"DOORCODE_VERIFIER_SEAL_KEY_FILE":             s.ring("seal"),
		"DOORCODE_EMAIL_DISPATCHER_NATS_KEY_FILE":     s.user("email-dispatcher"),
		"DOORCODE_EMAIL_DISPATCHER_CHANNEL_KEY_FILE":  s.ring("channel-email"),
		"DOORCODE_EMAIL_DISPATCHER_SENDGRID_KEY_FILE": file("sendgrid"),
		"DOORCODE_EMAIL_DISPATCHER_SENDGRID_URL":      "http://" + s.cfg.Sandbox,
		"DOORCODE_EMAIL_DISPATCHER_FROM_ADDRESS":      "sign-in@acme.example",
	}
	maps.Copy(s.settings, s.Settings())
	return nil
}

// operate runs a command of doorcodectl and returns what it printed.
func (s *Stage) operate(ctx context.Context, settings map[string]string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.cfg.Bin, "doorcodectl"), args...) //nolint:gosec // a binary that was built for this
	cmd.Env = s.environment(settings)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("doorcodectl %s: %w\n%s", args[0], err, out)
	}
	return string(out), nil
}

// environment is that of a process: what is not doorcode's, and its settings.
func (s *Stage) environment(settings map[string]string) []string {
	env := slices.DeleteFunc(slices.Clone(s.cfg.Environ), func(v string) bool { return strings.HasPrefix(v, "DOORCODE_") })
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	return env
}

// Running is doorcode on a bus of its own.
type Running struct {
	NATSURL string
	Auth    string // address of the API
	Members []Member
	stack   lifecycle.Stack
}

// Member is a process that is measured.
type Member struct {
	Name string
	PID  int
}

// Open starts the bus, whose store is new and syncs as said, and then every process, each once the one before is ready.
func (s *Stage) Open(ctx context.Context, sync string) (*Running, error) {
	r := &Running{}
	err := s.open(ctx, r, sync)
	if err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	return r, nil
}

// open is Open; what it started is in the stack.
func (s *Stage) open(ctx context.Context, r *Running, sync string) error {
	dir, err := os.MkdirTemp(s.cfg.Dir, "run-")
	if err != nil {
		return fmt.Errorf("make the folder of a run: %w", err)
	}
	r.stack.Push("folder", func(context.Context) error { return os.RemoveAll(dir) })
	taken, err := freeport.Take(ctx, "127.0.0.1", 3+s.cfg.Verifiers+s.cfg.Dispatchers)
	if err != nil {
		return err
	}
	r.stack.Push("ports", func(context.Context) error { taken.Release(); return nil })
	ports := taken.Addresses
	r.NATSURL, r.Auth = "nats://"+ports[0], ports[1]
	pid, err := s.cfg.Database.PID()
	if err != nil {
		return err
	}
	err = s.bus(ctx, r, dir, ports[0], sync)
	if err != nil {
		return err
	}
	r.Members = append(r.Members, Member{"postgres", pid})
	settings := maps.Clone(s.settings)
	settings["DOORCODE_NATS_URL"], settings["DOORCODE_AUTH_LISTEN"] = r.NATSURL, r.Auth
	_, err = s.operate(ctx, settings, "streams", "apply")
	if err != nil {
		return err
	}
	order := slices.Concat(slices.Repeat([]string{"verifier"}, s.cfg.Verifiers), []string{"auth"},
		slices.Repeat([]string{"email-dispatcher"}, s.cfg.Dispatchers))
	for i, name := range order {
		err = s.process(ctx, r, dir, name, ports[2+i], settings)
		if err != nil {
			return err
		}
	}
	return nil
}

// process starts a process and waits until it is ready.
func (s *Stage) process(ctx context.Context, r *Running, dir, name, operations string, settings map[string]string) error {
	settings = maps.Clone(settings)
	settings["DOORCODE_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"_OPERATIONS_LISTEN"] = operations
	p, err := host.Launch(ctx, host.Program{
		Name: name, Path: filepath.Join(s.cfg.Bin, name), Env: s.environment(settings),
		Log: filepath.Join(dir, name+"-"+operations+".log"),
	})
	if err != nil {
		return err
	}
	r.stack.Push(name, func(context.Context) error { return p.Stop() })
	r.Members = append(r.Members, Member{name, p.PID()})
	return p.Await(ctx, func(ctx context.Context) error { return host.Ready(ctx, "http://"+operations+"/readyz") })
}

// Close stops the processes in the reverse of their order and deletes what they wrote.
func (r *Running) Close(ctx context.Context) error { return r.stack.Close(context.WithoutCancel(ctx)) }
