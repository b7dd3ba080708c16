package app

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"doorcode/pkg/challenge"
	"doorcode/pkg/config"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/telemetry"
	auth "doorcode/services/auth/app"
	demo "doorcode/services/demo/app"
	ctl "doorcode/services/doorcodectl/app"
	email "doorcode/services/email-dispatcher/app"
	sandbox "doorcode/services/sandbox/app"
	verifier "doorcode/services/verifier/app"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// installation returns an app on a folder with what the user set beside it.
func installation(t *testing.T, cfg Config, environ ...string) *App {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "data")
	}
	tel, err := telemetry.New("standalone", "info", t.Output())
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(cfg, tel, Surroundings{Environ: environ, Out: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := a.Stop(t.Context())
		if err != nil {
			t.Error(err)
		}
	})
	return a
}

func TestEnvironment_WhatTheUserSetWins(t *testing.T) {
	t.Parallel()
	a := installation(t, Config{DatabasePassword: "/run/owner"},
		"DOORCODE_AUTH_TAG_KEY_FILE=/run/first", "DOORCODE_AUTH_TAG_KEY_FILE=/run/tag", "DOORCODE_AUTH_DIGEST_KEY_FILE=",
		"DOORCODE_VERIFIER_ISSUER=acme=a", "DOORCODE_EMAIL_DISPATCHER_SENDGRID_URL=https://mail.example", "PATH=/bin")
	env := a.environment()
	env.tell("http://127.0.0.1:1", []string{"DOORCODE_EMAIL_DISPATCHER_SENDGRID_URL", "DOORCODE_DEMO_INBOX_URL"})
	for name, want := range map[string]string{
		"DOORCODE_AUTH_TAG_KEY_FILE":                  "/run/tag",
		"DOORCODE_AUTH_DIGEST_KEY_FILE":               filepath.Join(a.dir, "keys", "digest.json"),
		"DOORCODE_VERIFIER_ISSUER":                    "acme=a",
		"DOORCODE_EMAIL_DISPATCHER_SENDGRID_URL":      "https://mail.example",
		"DOORCODE_DEMO_INBOX_URL":                     "http://127.0.0.1:1",
		"DOORCODE_DOORCODECTL_DATABASE_PASSWORD_FILE": "/run/owner",
		"DOORCODE_DOORCODECTL_VERIFIER_PASSWORD_FILE": filepath.Join(a.dir, "passwords", "verifier"),
		"PATH": "",
	} {
		if env[name] != want {
			t.Errorf("%s is %q, not %q", name, env[name], want)
		}
	}
	if list := env.list(); !slices.IsSorted(list) || !slices.Contains(list, "DOORCODE_VERIFIER_ISSUER=acme=a") {
		t.Errorf("as a list: %v", list)
	}
}

// loads reports how a process takes an environment.
func loads[T any](process string, env environment) error {
	_, err := config.Load[T]("DOORCODE_"+process+"_", env.list())
	return err
}

func TestEnvironment_GivesEveryProcessWhatItNeeds(t *testing.T) {
	t.Parallel()
	a := installation(t, Config{})
	env := a.environment()
	err := a.passwords(env)
	if err != nil {
		t.Fatal(err)
	}
	err = env.useDatabase("postgres://doorcode:secret@127.0.0.1:5432/doorcode", filepath.Join(a.dir, "passwords", "owner"))
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(filepath.Join(a.dir, FrontEndKey), []byte("dck_development_x"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range a.processes() {
		env.tell("http://127.0.0.1:1", p.tells)
	}
	for process, err := range map[string]error{
		"auth": loads[auth.Config]("AUTH", env), "verifier": loads[verifier.Config]("VERIFIER", env),
		"email-dispatcher": loads[email.Config]("EMAIL_DISPATCHER", env), "sandbox": loads[sandbox.Config]("SANDBOX", env),
		"demo": loads[demo.Config]("DEMO", env), "doorcodectl": loads[ctl.Config]("DOORCODECTL", env),
	} {
		if err != nil {
			t.Errorf("%s: %v", process, err)
		}
	}
}

// SEC-14: one process of all takes the settings of each, and none of them switches a limit off there either.
func TestSEC14_NoEnvironmentSwitchesALimitOff(t *testing.T) {
	t.Parallel()
	var names []string
	for _, s := range config.Describe[auth.Config]() {
		if s.Default != "" && strings.Trim(s.Default, "0123456789") == "" && s.Name != "DOORCODE_AUTH_SMS_DAILY_CAP" {
			names = append(names, s.Name)
		}
	}
	plain := installation(t, Config{})
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom(names).Draw(rt, "name")
		value := rapid.OneOf(
			rapid.SampledFrom([]string{"", "0", "-1", "off", "none", "unlimited", "1e9", " 0", "0x0"}),
			rapid.Map(rapid.IntRange(-2, 2), strconv.Itoa), rapid.Map(rapid.Int(), strconv.Itoa),
		).Draw(rt, "value")
		a := *plain // of the same folder, which is only named
		a.around.Environ = []string{name + "=" + value}
		env := a.environment()
		env["DOORCODE_DATABASE_URL"] = "postgres://127.0.0.1/doorcode"
		env["DOORCODE_AUTH_DATABASE_PASSWORD_FILE"] = ""
		cfg, err := config.Load[auth.Config]("DOORCODE_AUTH_", env.list())
		if err != nil {
			if !strings.Contains(err.Error(), name) {
				rt.Fatalf("%s=%q: %v", name, value, err)
			}
			return
		}
		policy := challenge.Policy{
			WrongPerChallenge: cfg.WrongPerChallenge, WrongPerHour: cfg.WrongPerHour, WrongPerDay: cfg.WrongPerDay,
			LockAfter: cfg.LockAfter, Sends: cfg.SendsPerChallenge,
		}
		lowest := min(cfg.LivePerLogin, cfg.PerHour, cfg.PerDay, cfg.GroupPerHour, cfg.GroupPerDay, cfg.NumberPerHour, cfg.NumberPerDay,
			cfg.CreatesPerClient, cfg.CreatesPerSecond, cfg.EventStreams, cfg.NATSWorkers)
		if policy.Validate() != nil || lowest < 1 || cfg.LivePerLogin > challenge.MaxLive || cfg.SMSDailyCap < 1 {
			rt.Fatalf("%s=%q starts with %+v", name, value, cfg)
		}
	})
}

// It shows SEC-70 of deploy/SECURITY.md.
func TestP4_NoPasswordStandsInTheDatabaseAddress(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "owner")
	env := environment{"DOORCODE_DATABASE_URL": "postgres://former"}
	err := env.useDatabase("postgres://doorcode:p%40ss@127.0.0.1:5432/doorcode?sslmode=disable", file)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(env["DOORCODE_DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	if _, has := u.User.Password(); has || u.User.Username() != "doorcode" || u.Host != "127.0.0.1:5432" || u.Query().Get("sslmode") != "disable" {
		t.Errorf("the address is %s", u)
	}
	if strings.Contains(strings.Join(env.list(), "\n"), "ss@") {
		t.Error("the password stands in the environment")
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || content(t, file) != "p@ss" || env["DOORCODE_DOORCODECTL_DATABASE_PASSWORD_FILE"] != file {
		t.Errorf("the password's file: %v", err)
	}
	err = env.useDatabase("postgres://doorcode:secret@127.0.0.1:port", file)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a malformed address: %v", err)
	}
}

func TestNew_RefusesTheAddressOfAnotherNATS(t *testing.T) {
	t.Parallel()
	for environ, fine := range map[string]bool{"DOORCODE_NATS_URL=nats://elsewhere": false, "DOORCODE_NATS_URL=": true} {
		_, err := New(Config{Dir: t.TempDir()}, telemetry.Telemetry{}, Surroundings{Environ: []string{environ}})
		if (err == nil) != fine {
			t.Errorf("%s: %v", environ, err)
		}
	}
}

func TestEnvironment_TheHostedPagesAreWhereAuthListensOnThisMachine(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		"127.0.0.1:8080": "http://127.0.0.1:8080", "0.0.0.0:9000": "http://127.0.0.1:9000", ":9000": "http://127.0.0.1:9000",
		"localhost:80": "http://localhost:80", "[::1]:8080": "http://[::1]:8080", "127.0.0.1:0": "http://127.0.0.1:0",
	} {
		if got := here(listen); got != want {
			t.Errorf("%s is reached at %s", listen, got)
		}
	}
}
