package app

import (
	"errors"
	"fmt"
	"slices"

	"doorcode/pkg/config"
	"doorcode/pkg/lifecycle"
	"doorcode/services/receipts/internal/vonage"
)

// Prefix begins the names of the process's own settings.
const Prefix = "DOORCODE_RECEIPTS_"

// Config holds the settings of receipts.
type Config struct {
	LogLevel         string `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"Least level that is logged: debug, info, warn or error."`
	OTLP             string `env:"DOORCODE_OTLP_ENDPOINT" help:"Address of an OpenTelemetry collector that takes OTLP over HTTP; when set, traces are sent to it."`
	NATSURL          string `env:"DOORCODE_NATS_URL" envDefault:"nats://127.0.0.1:4222" help:"Address of NATS."`
	NATSCAFile       string `env:"DOORCODE_NATS_CA_FILE" help:"File with the authorities, in PEM, that may vouch for NATS; when set, NATS is spoken over TLS 1.3 alone."`
	Listen           string `env:"DOORCODE_RECEIPTS_LISTEN" envDefault:"127.0.0.1:8081" help:"Address of the webhooks, in plain HTTP: TLS ends before it."`
	OperationsListen string `env:"DOORCODE_RECEIPTS_OPERATIONS_LISTEN" envDefault:"127.0.0.1:9097" help:"Address of health, readiness and metrics."`
	NATSKeyFile      string `env:"DOORCODE_RECEIPTS_NATS_KEY_FILE,required" help:"File with the process's NATS seed."`
	AddressKeyFile   string `env:"DOORCODE_RECEIPTS_ADDRESS_KEY_FILE,required" help:"Key ring of the hashes of addresses, shared with auth."`

	// A webhook without its key is closed.
	SendGridPublicKeys     config.Secret `env:"DOORCODE_RECEIPTS_SENDGRID_PUBLIC_KEYS_FILE,file" help:"File with one or two verification keys of SendGrid, one a line; without it that webhook is closed."`
	VonageSignatureSecrets config.Secret `env:"DOORCODE_RECEIPTS_VONAGE_SIGNATURE_SECRETS_FILE,file" help:"File with one or two signature secrets of Vonage, one a line; without it that webhook is closed."`
	VonageSignatureMethod  string        `env:"DOORCODE_RECEIPTS_VONAGE_SIGNATURE_METHOD" envDefault:"sha256" help:"How Vonage signs: md5hash, md5, sha1, sha256 or sha512."`
	VonageAPIKey           string        `env:"DOORCODE_RECEIPTS_VONAGE_API_KEY" help:"API key of the Vonage account; receipts of another are refused."`
}

// Validate refuses a method that there is not, and an account without a secret.
func (c Config) Validate() error {
	if !slices.Contains(vonage.Methods(), vonage.Method(c.VonageSignatureMethod)) {
		return fmt.Errorf("DOORCODE_RECEIPTS_VONAGE_SIGNATURE_METHOD is none of %v", vonage.Methods())
	}
	if c.VonageAPIKey != "" && c.VonageSignatureSecrets.IsZero() {
		return errors.New("DOORCODE_RECEIPTS_VONAGE_API_KEY is set, but not DOORCODE_RECEIPTS_VONAGE_SIGNATURE_SECRETS_FILE")
	}
	return nil
}

// Operations returns what operators look at.
func (c Config) Operations() lifecycle.Operations {
	return lifecycle.Operations{Listen: c.OperationsListen, LogLevel: c.LogLevel, OTLP: c.OTLP}
}
