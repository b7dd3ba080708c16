package app

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/config"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/limit"
	"doorcode/pkg/otp"
	"doorcode/pkg/phone"
	"doorcode/services/auth/internal/notice"
	"doorcode/services/auth/internal/pages"
)

// Config holds the settings of auth. Every limit has a hard ceiling and none can be switched off (SEC-14).
type Config struct {
	LogLevel    string `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"How much is logged: debug, info, warn or error."`
	OTLP        string `env:"DOORCODE_OTLP_ENDPOINT" help:"Address of an OpenTelemetry collector that takes OTLP over HTTP; when set, traces are sent to it."`
	NATSURL     string `env:"DOORCODE_NATS_URL" envDefault:"nats://127.0.0.1:4222" help:"Address of NATS."`
	NATSCAFile  string `env:"DOORCODE_NATS_CA_FILE" help:"File with the authorities, in PEM, that may vouch for NATS; when set, NATS is spoken over TLS 1.3 alone."`
	DatabaseURL string `env:"DOORCODE_DATABASE_URL,required" help:"Address of the database, without a password."`
	// Both listeners speak plain HTTP: TLS ends before them.
	Listen           string `env:"DOORCODE_AUTH_LISTEN" envDefault:"127.0.0.1:8080" help:"Address of the API."`
	OperationsListen string `env:"DOORCODE_AUTH_OPERATIONS_LISTEN" envDefault:"127.0.0.1:9091" help:"Address of /healthz, /readyz and /metrics."`

	DatabaseUser     string        `env:"DOORCODE_AUTH_DATABASE_USER" envDefault:"doorcode_auth" help:"Role in the database."`
	DatabasePassword config.Secret `env:"DOORCODE_AUTH_DATABASE_PASSWORD_FILE,file" help:"File with the password of the role."`
	NATSKeyFile      string        `env:"DOORCODE_AUTH_NATS_KEY_FILE,required" help:"File with the NATS key."`

	// Rings of keys; auth reads them once, at its start.
	TagKeyFile         string `env:"DOORCODE_AUTH_TAG_KEY_FILE,required" help:"Key ring of the tags of codes."`
	DigestKeyFile      string `env:"DOORCODE_AUTH_DIGEST_KEY_FILE,required" help:"Key ring of the digests of codes."`
	HandleKeyFile      string `env:"DOORCODE_AUTH_HANDLE_KEY_FILE,required" help:"Key ring of the handles."`
	AddressKeyFile     string `env:"DOORCODE_AUTH_ADDRESS_KEY_FILE,required" help:"Key ring of the hashes of addresses."`
	RowKeyFile         string `env:"DOORCODE_AUTH_ROW_KEY_FILE,required" help:"Key ring of the MACs of directory rows."`
	APIKeyKeyFile      string `env:"DOORCODE_AUTH_API_KEY_KEY_FILE,required" help:"Key ring of the hashes of API keys."`
	IdempotencyKeyFile string `env:"DOORCODE_AUTH_IDEMPOTENCY_KEY_FILE,required" help:"Key ring of idempotency keys and request fingerprints."`
	EmailKeyFile       string `env:"DOORCODE_AUTH_EMAIL_CHANNEL_KEY_FILE,required" help:"Key ring that seals for the e-mail dispatcher."`
	SMSKeyFile         string `env:"DOORCODE_AUTH_SMS_CHANNEL_KEY_FILE" help:"Key ring that seals for the SMS dispatcher; required when countries are listed."`
	JWKSFile           string `env:"DOORCODE_AUTH_JWKS_FILE,required" help:"Public keys of the assertions, served as /.well-known/jwks.json."`

	// The hosted pages. Without an address there are none, and creates answer no prompt_url.
	PublicURL  string `env:"DOORCODE_AUTH_PUBLIC_URL" help:"Address at which browsers reach the hosted pages, such as https://sign-in.example.com; http is for 127.0.0.1, [::1] and localhost, where port 0 is that of the API. Empty: no pages."`
	Brand      string `env:"DOORCODE_AUTH_BRAND" envDefault:"Doorcode" help:"Name of the product that people sign in to, on the hosted pages."`
	SupportURL string `env:"DOORCODE_AUTH_SUPPORT_URL" help:"Where the hosted pages send people for help: an https or mailto address."`

	// What a code is.
	CodeDigits int           `env:"DOORCODE_AUTH_CODE_DIGITS" envDefault:"6" help:"Digits of a code, 6 to 10."`
	CodeLife   time.Duration `env:"DOORCODE_AUTH_CODE_LIFE" envDefault:"10m" help:"Life of a code, 3 to 10 minutes."`

	// How often one may guess, DESIGN 7. The figures travel in every challenge, and the verifier obeys them.
	WrongPerChallenge int `env:"DOORCODE_AUTH_WRONG_PER_CHALLENGE" envDefault:"5" help:"Wrong codes compared per challenge, at most 5."`
	WrongPerHour      int `env:"DOORCODE_AUTH_WRONG_PER_HOUR" envDefault:"10" help:"Wrong codes per login and hour, at most 10."`
	WrongPerDay       int `env:"DOORCODE_AUTH_WRONG_PER_DAY" envDefault:"20" help:"Wrong codes per login and day, at most 20."`
	LockAfter         int `env:"DOORCODE_AUTH_LOCK_AFTER" envDefault:"50" help:"Wrong codes in a row that lock a login, at most 100."`
	SendsPerChallenge int `env:"DOORCODE_AUTH_SENDS_PER_CHALLENGE" envDefault:"5" help:"Messages per challenge, at most 5."`
	LivePerLogin      int `env:"DOORCODE_AUTH_LIVE_PER_LOGIN" envDefault:"5" help:"Live challenges per login, at most 5."`

	// How many messages one recipient may get, resends included.
	PerHour      int `env:"DOORCODE_AUTH_SENDS_PER_ADDRESS_HOUR" envDefault:"20" help:"Messages per address and hour, at most 60."`
	PerDay       int `env:"DOORCODE_AUTH_SENDS_PER_ADDRESS_DAY" envDefault:"60" help:"Messages per address and day, at most 200."`
	GroupPerHour int `env:"DOORCODE_AUTH_GROUP_SENDS_PER_ADDRESS_HOUR" envDefault:"60" help:"Messages per group address and hour, at most 200."`
	GroupPerDay  int `env:"DOORCODE_AUTH_GROUP_SENDS_PER_ADDRESS_DAY" envDefault:"200" help:"Messages per group address and day, at most 600."`

	// Text messages cost money and are worth a fraud, so there are none until countries and a cap are set (DESIGN 7).
	SMSCountries  []string      `env:"DOORCODE_AUTH_SMS_COUNTRIES" help:"Countries to whose numbers text messages go, as ISO 3166-1 codes with commas: US,NL. None is named by default."`
	SMSDailyCap   int           `env:"DOORCODE_AUTH_SMS_DAILY_CAP" envDefault:"0" help:"Text messages with codes within a day over all numbers, at most 5000; 0 is none at all. Notices of locks come on top. Required when countries are listed."`
	SMSCodeLife   time.Duration `env:"DOORCODE_AUTH_SMS_CODE_LIFE" envDefault:"5m" help:"Life of a code that goes by SMS first, 3 to 10 minutes."`
	NumberPerHour int           `env:"DOORCODE_AUTH_SENDS_PER_NUMBER_HOUR" envDefault:"5" help:"Messages per phone number and hour, at most 10."`
	NumberPerDay  int           `env:"DOORCODE_AUTH_SENDS_PER_NUMBER_DAY" envDefault:"10" help:"Messages per phone number and day, at most 20."`

	// How many creates are taken in: exactly over all replicas, and roughly by each.
	CreatesPerClient int `env:"DOORCODE_AUTH_CREATES_PER_CLIENT_MINUTE" envDefault:"30" help:"Creates per client address (IPv6: /64) and minute, at most 600."`
	CreatesPerSecond int `env:"DOORCODE_AUTH_CREATES_PER_SECOND" envDefault:"1000" help:"Creates per second that one replica takes in, at most 100000."`

	// How many challenges are followed by open connections.
	EventStreams int `env:"DOORCODE_AUTH_EVENT_STREAMS" envDefault:"1000" help:"Event streams that one replica keeps open, at most 100000."`

	// How fast people are told of the roll-out: a sender that nobody knows yet is trusted with few mails (product.md R4.16).
	RolloutNotices int `env:"DOORCODE_AUTH_ROLLOUT_NOTICES_MINUTE" envDefault:"300" help:"Mails about the roll-out that are ordered within a minute, over all replicas, at most 100000."`

	// How many requests of front-ends on NATS are worked on at once; more are answered 503.
	NATSWorkers int `env:"DOORCODE_AUTH_NATS_WORKERS" envDefault:"32" help:"Requests over NATS that one replica works on at once, at most 1000."`
}

// Operations returns the settings that every process has.
func (c Config) Operations() lifecycle.Operations {
	return lifecycle.Operations{Listen: c.OperationsListen, LogLevel: c.LogLevel, OTLP: c.OTLP}
}

// Validate refuses a setting outside its bounds, by its name.
func (c Config) Validate() error {
	var problems []error
	for _, b := range []struct {
		name            string
		value, min, max int
	}{
		{"DOORCODE_AUTH_CODE_DIGITS", c.CodeDigits, otp.MinDigits, otp.MaxDigits},
		{"DOORCODE_AUTH_WRONG_PER_CHALLENGE", c.WrongPerChallenge, 1, challenge.MaxWrongPerChallenge},
		{"DOORCODE_AUTH_WRONG_PER_HOUR", c.WrongPerHour, 1, challenge.MaxWrongPerHour},
		{"DOORCODE_AUTH_WRONG_PER_DAY", c.WrongPerDay, 1, challenge.MaxWrongPerDay},
		{"DOORCODE_AUTH_LOCK_AFTER", c.LockAfter, 1, challenge.MaxLockAfter},
		{"DOORCODE_AUTH_SENDS_PER_CHALLENGE", c.SendsPerChallenge, 1, challenge.MaxSends},
		{"DOORCODE_AUTH_LIVE_PER_LOGIN", c.LivePerLogin, 1, challenge.MaxLive},
		{"DOORCODE_AUTH_SENDS_PER_ADDRESS_HOUR", c.PerHour, 1, 60},
		{"DOORCODE_AUTH_SENDS_PER_ADDRESS_DAY", c.PerDay, 1, 200},
		{"DOORCODE_AUTH_GROUP_SENDS_PER_ADDRESS_HOUR", c.GroupPerHour, 1, 200},
		{"DOORCODE_AUTH_GROUP_SENDS_PER_ADDRESS_DAY", c.GroupPerDay, 1, 600},
		{"DOORCODE_AUTH_SENDS_PER_NUMBER_HOUR", c.NumberPerHour, 1, 10},
		{"DOORCODE_AUTH_SENDS_PER_NUMBER_DAY", c.NumberPerDay, 1, 20},
		{"DOORCODE_AUTH_SMS_DAILY_CAP", c.SMSDailyCap, 0, limit.MaxSpend},
		{"DOORCODE_AUTH_CREATES_PER_CLIENT_MINUTE", c.CreatesPerClient, 1, 600},
		{"DOORCODE_AUTH_EVENT_STREAMS", c.EventStreams, 1, 100_000},
		{"DOORCODE_AUTH_ROLLOUT_NOTICES_MINUTE", c.RolloutNotices, 1, notice.MaxPerMinute},
		{"DOORCODE_AUTH_NATS_WORKERS", c.NATSWorkers, 1, 1000},
		{"DOORCODE_AUTH_CREATES_PER_SECOND", c.CreatesPerSecond, 1, 100_000},
	} {
		if b.value < b.min || b.value > b.max {
			problems = append(problems, fmt.Errorf("%s: %d is outside %d to %d", b.name, b.value, b.min, b.max))
		}
	}
	for name, life := range map[string]time.Duration{
		"DOORCODE_AUTH_CODE_LIFE": c.CodeLife, "DOORCODE_AUTH_SMS_CODE_LIFE": c.SMSCodeLife,
	} {
		if life < challenge.MinLife || life > challenge.MaxLife {
			problems = append(problems, fmt.Errorf("%s: %s is outside %s to %s", name, life, challenge.MinLife, challenge.MaxLife))
		}
	}
	problems = append(problems, c.validatePages()...)
	return errors.Join(append(problems, c.validateSMS()...)...)
}

// validatePages refuses addresses that no page may show or have.
func (c Config) validatePages() []error {
	var problems []error
	if c.PublicURL != "" {
		_, err := pages.ParsePublicURL(c.PublicURL)
		if err != nil {
			problems = append(problems, fmt.Errorf("DOORCODE_AUTH_PUBLIC_URL: %w", err))
		}
	}
	if c.SupportURL != "" && !supports(c.SupportURL) {
		problems = append(problems, errors.New("DOORCODE_AUTH_SUPPORT_URL: it is no https or mailto address"))
	}
	return problems
}

// supports reports whether an address may stand on a page for whoever needs help: a web page, or a mailbox.
func supports(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	return u.Scheme == "https" && u.Hostname() != "" || u.Scheme == "mailto" && strings.Contains(u.Opaque, "@")
}

// validateSMS refuses countries that are none, and text messages that nothing caps or seals.
func (c Config) validateSMS() []error {
	var problems []error
	for _, region := range c.SMSCountries {
		if !phone.IsRegion(region) {
			problems = append(problems, fmt.Errorf("DOORCODE_AUTH_SMS_COUNTRIES: %q is no country", region))
		}
	}
	if len(c.SMSCountries) == 0 {
		return nil
	}
	if c.SMSDailyCap == 0 {
		problems = append(problems, errors.New("DOORCODE_AUTH_SMS_DAILY_CAP: countries are listed, so a cap is required"))
	}
	if c.SMSKeyFile == "" {
		problems = append(problems, errors.New("DOORCODE_AUTH_SMS_CHANNEL_KEY_FILE: countries are listed, so it is required"))
	}
	return problems
}

// policy is what every challenge is made with.
func (c Config) policy() challenge.Policy {
	return challenge.Policy{
		WrongPerChallenge: c.WrongPerChallenge, WrongPerHour: c.WrongPerHour, WrongPerDay: c.WrongPerDay,
		LockAfter: c.LockAfter, Sends: c.SendsPerChallenge,
	}
}
