package app

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	auth "doorcode/services/auth/app"
	console "doorcode/services/console/app"
	demo "doorcode/services/demo/app"
	ctl "doorcode/services/doorcodectl/app"
	email "doorcode/services/email-dispatcher/app"
	sms "doorcode/services/sms-dispatcher/app"
	verifier "doorcode/services/verifier/app"
)

// environment is that of all processes: what standalone made, under what the
// user set.
type environment map[string]string

// senders are those of the countries that the demo's phones are in; the
// sandbox, like Vonage, takes no name towards North America.
const senders = "US=12025550100,CA=12025550100,GB=Lanternbird,IE=Lanternbird,NL=Lanternbird,BE=Lanternbird," +
	"DE=Lanternbird,AT=Lanternbird,CH=Lanternbird,FR=Lanternbird,ES=Lanternbird,IT=Lanternbird,PL=Lanternbird"

// countries are those that text messages go to; each has a sender.
const countries = "US,CA,GB,IE,NL,BE,DE,AT,CH,FR,ES,IT,PL"

// environment returns the settings that this installation has by itself, and
// over them what the user set.
func (a *App) environment() environment {
	keys, nats, passwords := filepath.Join(a.dir, "keys"), filepath.Join(a.dir, "nats"), filepath.Join(a.dir, "passwords")
	ring := func(name string) string { return ctl.KeyFile(keys, name) }
	user := func(name string) string { return filepath.Join(nats, name+".nk") }
	channel := ring(ctl.ChannelKeys(delivery.Email))
	env := environment{
		"DOORCODE_DOORCODECTL_KEYS_DIR":               keys,
		"DOORCODE_DOORCODECTL_NATS_DIR":               nats,
		"DOORCODE_DOORCODECTL_NATS_KEY_FILE":          user("doorcodectl"),
		"DOORCODE_DOORCODECTL_AUTH_PASSWORD_FILE":     filepath.Join(passwords, "auth"),
		"DOORCODE_DOORCODECTL_VERIFIER_PASSWORD_FILE": filepath.Join(passwords, "verifier"),
		"DOORCODE_DOORCODECTL_CONSOLE_PASSWORD_FILE":  filepath.Join(passwords, "console"),
		"DOORCODE_CONSOLE_DATABASE_PASSWORD_FILE":     filepath.Join(passwords, "console"),
		"DOORCODE_CONSOLE_KEY_FILE":                   ring(ctl.ConsoleKeys),
		"DOORCODE_CONSOLE_API_KEY_FILE":               filepath.Join(a.dir, ConsoleKey),
		"DOORCODE_CONSOLE_SUPPORT_KEY_FILE":           filepath.Join(a.dir, SupportKey),
		"DOORCODE_AUTH_NATS_KEY_FILE":                 user("auth"),
		"DOORCODE_AUTH_DATABASE_PASSWORD_FILE":        filepath.Join(passwords, "auth"),
		"DOORCODE_AUTH_TAG_KEY_FILE":                  ring(ctl.TagKeys),
		"DOORCODE_AUTH_DIGEST_KEY_FILE":               ring(ctl.DigestKeys),
		"DOORCODE_AUTH_HANDLE_KEY_FILE":               ring(ctl.HandleKeys),
		"DOORCODE_AUTH_ADDRESS_KEY_FILE":              ring(ctl.AddressKeys),
		"DOORCODE_AUTH_ROW_KEY_FILE":                  ring(ctl.RowKeys),
		"DOORCODE_AUTH_API_KEY_KEY_FILE":              ring(ctl.APIKeyKeys),
		"DOORCODE_AUTH_IDEMPOTENCY_KEY_FILE":          ring(ctl.IdempotencyKeys),
		"DOORCODE_AUTH_EMAIL_CHANNEL_KEY_FILE":        channel,
		"DOORCODE_AUTH_SMS_CHANNEL_KEY_FILE":          ring(ctl.ChannelKeys(delivery.SMS)),
		"DOORCODE_AUTH_SMS_COUNTRIES":                 countries,
		"DOORCODE_AUTH_SMS_DAILY_CAP":                 "200",
		"DOORCODE_AUTH_JWKS_FILE":                     ctl.JWKSFile(keys),
		"DOORCODE_AUTH_BRAND":                         "Lanternbird",
		"DOORCODE_VERIFIER_NATS_KEY_FILE":             user("verifier"),
		"DOORCODE_VERIFIER_DATABASE_PASSWORD_FILE":    filepath.Join(passwords, "verifier"),
		"DOORCODE_VERIFIER_DIGEST_KEY_FILE":           ring(ctl.DigestKeys),
		"DOORCODE_VERIFIER_HANDLE_KEY_FILE":           ring(ctl.HandleKeys),
		"DOORCODE_VERIFIER_CHECK_ID_KEY_FILE":         ring(ctl.CheckIDKeys),
		"DOORCODE_VERIFIER_ASSERTION_KEY_FILE":        ring(ctl.AssertionKeys),
		"DOORCODE_VERIFIER_SEAL_KEY_FILE":             ring(ctl.SealKeys),
		"DOORCODE_VERIFIER_SEAL_FILE":                 filepath.Join(a.dir, "seals.jsonl"),
		"DOORCODE_EMAIL_DISPATCHER_NATS_KEY_FILE":     user("email-dispatcher"),
		"DOORCODE_EMAIL_DISPATCHER_CHANNEL_KEY_FILE":  channel,
		"DOORCODE_EMAIL_DISPATCHER_SENDGRID_KEY_FILE": filepath.Join(passwords, "sendgrid"),
		"DOORCODE_EMAIL_DISPATCHER_FROM_ADDRESS":      "sign-in@lanternbird.example",
		"DOORCODE_EMAIL_DISPATCHER_FROM_NAME":         "Lanternbird",
		"DOORCODE_EMAIL_DISPATCHER_BRAND":             "Lanternbird",
		"DOORCODE_EMAIL_DISPATCHER_SUPPORT_LINK":      "https://lanternbird.example/help",
		"DOORCODE_SMS_DISPATCHER_NATS_KEY_FILE":       user("sms-dispatcher"),
		"DOORCODE_SMS_DISPATCHER_CHANNEL_KEY_FILE":    ring(ctl.ChannelKeys(delivery.SMS)),
		"DOORCODE_SMS_DISPATCHER_VONAGE_KEY_FILE":     filepath.Join(passwords, "vonage-key"),
		"DOORCODE_SMS_DISPATCHER_VONAGE_SECRET_FILE":  filepath.Join(passwords, "vonage-secret"),
		"DOORCODE_SMS_DISPATCHER_SENDERS":             senders,
		"DOORCODE_SMS_DISPATCHER_BRAND":               "Lanternbird",
		"DOORCODE_SMS_DISPATCHER_HOST":                "login.lanternbird.example",
		"DOORCODE_RECEIPTS_NATS_KEY_FILE":             user("receipts"),
		"DOORCODE_RECEIPTS_ADDRESS_KEY_FILE":          ring(ctl.AddressKeys),
		"DOORCODE_DEMO_API_KEY_FILE":                  filepath.Join(a.dir, FrontEndKey),
	}
	env.set("DOORCODE_DOORCODECTL_DATABASE_PASSWORD_FILE", a.cfg.DatabasePassword)
	for name, value := range given(a.around.Environ) {
		env.set(name, value)
	}
	env.useWebhooks(passwords)
	env.keep("DOORCODE_AUTH_PUBLIC_URL", here(env.get("DOORCODE_AUTH_LISTEN", "127.0.0.1:8080")))
	return env
}

// here is where a browser on this machine reaches a listener.
func here(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || (host != "localhost" && host != "::1") {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// given returns the settings of ours in an environment, the last of equal names.
func given(environ []string) environment {
	env := environment{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "DOORCODE_") {
			env[name] = value
		}
	}
	return env
}

// set changes a setting; one that is set to nothing counts as not set.
func (e environment) set(name, value string) {
	if value != "" {
		e[name] = value
	}
}

// get returns a setting or its default.
func (e environment) get(name, otherwise string) string {
	if value, set := e[name]; set {
		return value
	}
	return otherwise
}

// tell sets the address of a started part wherever the user set no other.
func (e environment) tell(address string, names []string) {
	for _, name := range names {
		e.keep(name, address)
	}
}

// keep sets what this installation has by itself, unless the user set it.
func (e environment) keep(name, value string) { e[name] = e.get(name, value) }

// list returns the environment in the form of the operating system.
func (e environment) list() []string {
	list := make([]string, 0, len(e))
	for _, name := range slices.Sorted(maps.Keys(e)) {
		list = append(list, name+"="+e[name])
	}
	return list
}

// useDatabase takes the owner's password out of an address, because no setting
// has a password in an address, and puts it into a file.
func (e environment) useDatabase(address, passwordFile string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("the address of the private database is malformed")
	}
	password, _ := u.User.Password()
	err = os.WriteFile(passwordFile, []byte(password), 0o600)
	if err != nil {
		return fmt.Errorf("keep the owner's password: %w", err)
	}
	u.User = url.User(u.User.Username())
	e["DOORCODE_DATABASE_URL"] = u.String()
	e["DOORCODE_DOORCODECTL_DATABASE_PASSWORD_FILE"] = passwordFile
	return nil
}

// process is one part and how it comes to life in this one.
type process struct {
	name  string
	build func(environment) (lifecycle.App, error)
	tells []string // the settings of later parts that are its address
}

// addressed is an app that listens.
type addressed interface{ Addr() string }

// public is an app with pages that other sites lead to.
type public interface{ PublicURL() string }

// processes lists the parts in the order of their start.
func (a *App) processes() []process {
	return []process{
		{
			"sandbox", a.buildSandbox,
			[]string{"DOORCODE_EMAIL_DISPATCHER_SENDGRID_URL", "DOORCODE_SMS_DISPATCHER_VONAGE_URL", "DOORCODE_DEMO_INBOX_URL"},
		},
		{"verifier", build(a.tel.For("verifier"), "VERIFIER", verifier.New), nil},
		{"auth", build(a.tel.For("auth"), "AUTH", auth.New), []string{"DOORCODE_DEMO_AUTH_URL", "DOORCODE_CONSOLE_AUTH_URL"}},
		{"receipts", a.buildReceipts, nil},
		{"email-dispatcher", build(a.tel.For("email-dispatcher"), "EMAIL_DISPATCHER", email.New), nil},
		{"sms-dispatcher", build(a.tel.For("sms-dispatcher"), "SMS_DISPATCHER", sms.New), nil},
		{"console", build(a.tel.For("console"), "CONSOLE", console.New), []string{consoleURL}},
		{"demo", build(a.tel.For("demo"), "DEMO", demo.New), []string{demoURL}},
	}
}

// Where welcome finds the addresses of demo and console; no process reads them.
const (
	demoURL    = "demo"
	consoleURL = "console"
)

// build returns what reads a process's configuration from the environment and
// makes its app, as its own main function does.
func build[T any, A lifecycle.App](tel telemetry.Telemetry, process string, create func(T, telemetry.Telemetry) (A, error)) func(environment) (lifecycle.App, error) {
	return func(env environment) (lifecycle.App, error) {
		cfg, err := config.Load[T]("DOORCODE_"+process+"_", env.list())
		if err != nil {
			return nil, err
		}
		return create(cfg, tel)
	}
}

// welcome tells a person what to open.
func (a *App) welcome(env environment) {
	_, _ = fmt.Fprintf(a.around.Out, `
doorcode is running. Open:

  %s   the demo: sign in as jo@lanternbird.example, password lantern
  %s   the inbox: every message, as a person sees it
  %s   the console: sign in as %s with the secret in %s; the code is in the inbox

  API           %s   (key: %s)
  Operations    http://%s/readyz and /metrics
  NATS          %s   (keys: %s)

Stop it with Ctrl-C. Everything it keeps is in %s.

`, env[demoURL], env["DOORCODE_DEMO_INBOX_URL"], env[consoleURL], firstOperator, filepath.Join(a.dir, OperatorSecret), env["DOORCODE_DEMO_AUTH_URL"], filepath.Join(a.dir, FrontEndKey),
		a.cfg.OperationsListen, env["DOORCODE_NATS_URL"], filepath.Join(a.dir, "nats"), a.dir)
}
