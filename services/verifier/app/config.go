package app

import (
	"errors"
	"fmt"
	"time"

	"doorcode/pkg/config"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/rollout"
)

// Prefix begins the names of the verifier's own settings.
const Prefix = "DOORCODE_VERIFIER_"

// maxWorkers bounds how many requests are handled at once.
const maxWorkers = 1024

// Config holds the settings of the verifier.
type Config struct {
	LogLevel         string        `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"Least level that is logged: debug, info, warn or error."`
	OTLP             string        `env:"DOORCODE_OTLP_ENDPOINT" help:"Address of an OpenTelemetry collector that takes OTLP over HTTP; when set, traces are sent to it."`
	NATSURL          string        `env:"DOORCODE_NATS_URL" envDefault:"nats://127.0.0.1:4222" help:"Address of NATS."`
	NATSCAFile       string        `env:"DOORCODE_NATS_CA_FILE" help:"File with the authorities, in PEM, that may vouch for NATS; when set, NATS is spoken over TLS 1.3 alone."`
	DatabaseURL      string        `env:"DOORCODE_DATABASE_URL,required" help:"Address of Postgres, without a password."`
	OperationsListen string        `env:"DOORCODE_VERIFIER_OPERATIONS_LISTEN" envDefault:"127.0.0.1:9092" help:"Address of health, readiness and metrics."`
	NATSKeyFile      string        `env:"DOORCODE_VERIFIER_NATS_KEY_FILE,required" help:"File with the verifier's NATS seed."`
	DatabaseUser     string        `env:"DOORCODE_VERIFIER_DATABASE_USER" envDefault:"doorcode_verifier" help:"Postgres role of the verifier."`
	DatabasePassword config.Secret `env:"DOORCODE_VERIFIER_DATABASE_PASSWORD_FILE,file" help:"File with the password of that role; none when Postgres asks for none."`
	DigestKeyFile    string        `env:"DOORCODE_VERIFIER_DIGEST_KEY_FILE,required" help:"Key ring of the digests, shared with auth."`
	HandleKeyFile    string        `env:"DOORCODE_VERIFIER_HANDLE_KEY_FILE,required" help:"Key ring of the handles, shared with auth."`
	CheckIDKeyFile   string        `env:"DOORCODE_VERIFIER_CHECK_ID_KEY_FILE,required" help:"Key ring under which check ids are kept."`
	AssertionKeyFile string        `env:"DOORCODE_VERIFIER_ASSERTION_KEY_FILE,required" help:"Signing keys of the assertions."`
	Issuer           string        `env:"DOORCODE_VERIFIER_ISSUER" envDefault:"doorcode" help:"Issuer that the assertions name."`
	Workers          int           `env:"DOORCODE_VERIFIER_WORKERS" envDefault:"256" help:"Requests that are handled at once; more are answered 503."`

	// The gates of the roll-out.
	GateVerified float64       `env:"DOORCODE_VERIFIER_GATE_VERIFIED_SHARE" envDefault:"97" help:"Least share of the sign-ins which need a code that end with one, in per cent, 0 to 100. Below it, and beyond the gates that follow, a wave that is about to move on stands still."`
	GateMedian   time.Duration `env:"DOORCODE_VERIFIER_GATE_TIME_TO_CODE_MEDIAN" envDefault:"15s" help:"Longest time within which half of the mails with codes reach the recipient's server."`
	GateP95      time.Duration `env:"DOORCODE_VERIFIER_GATE_TIME_TO_CODE_P95" envDefault:"2m" help:"Longest time within which 95 of 100 do."`
	GateStuck    float64       `env:"DOORCODE_VERIFIER_GATE_STUCK_LOGINS" envDefault:"0.5" help:"Largest share of the logins that were asked for a code within a day and typed none that was right, in per cent."`
	GateBounced  float64       `env:"DOORCODE_VERIFIER_GATE_BOUNCES" envDefault:"1" help:"Largest share of the mails with codes that bounce for good, in per cent."`
	GateFallback float64       `env:"DOORCODE_VERIFIER_GATE_FALLBACK" envDefault:"5" help:"Largest share of the sign-ins by text message that end on e-mail, in per cent."`
	GateLeast    int           `env:"DOORCODE_VERIFIER_GATE_LEAST" envDefault:"200" help:"How many within a day it takes for a gate to be judged."`
}

// limits are the bounds of the gates.
func (c Config) limits() rollout.Limits {
	return rollout.Limits{
		LeastShare: c.GateVerified, Median: c.GateMedian, P95: c.GateP95, MostStuck: c.GateStuck, MostBounced: c.GateBounced,
		MostFallback: c.GateFallback, Least: c.GateLeast,
	}
}

// Validate refuses settings that do not fit together.
func (c Config) Validate() error {
	if c.Workers < 1 || c.Workers > maxWorkers {
		return errors.New("DOORCODE_VERIFIER_WORKERS is not 1 to 1024")
	}
	if c.Issuer == "" {
		return errors.New("DOORCODE_VERIFIER_ISSUER is empty")
	}
	err := c.limits().Validate()
	if err != nil {
		return fmt.Errorf("DOORCODE_VERIFIER_GATE_…: %w", err)
	}
	return nil
}

// Operations returns what operators look at.
func (c Config) Operations() lifecycle.Operations {
	return lifecycle.Operations{Listen: c.OperationsListen, LogLevel: c.LogLevel, OTLP: c.OTLP}
}
