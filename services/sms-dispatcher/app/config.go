// Package app is the sms-dispatcher as a value: settings, start, stop.
//
// It is the process of pkg/dispatch/process with Vonage and the text messages
// of pkg/message. It holds the key of its own channel and the provider's, and
// nothing else.
package app

import (
	"errors"
	"fmt"

	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/dispatch/process"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/message"
	"doorcode/pkg/provider"
)

// Config is every setting of the process.
type Config struct {
	OperationsListen string        `env:"DOORCODE_SMS_DISPATCHER_OPERATIONS_LISTEN" envDefault:"127.0.0.1:9096" help:"Address of /healthz, /readyz and /metrics."`
	LogLevel         string        `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"Least level of log lines: debug, info, warn or error."`
	OTLP             string        `env:"DOORCODE_OTLP_ENDPOINT" help:"Address of an OpenTelemetry collector that takes OTLP over HTTP; when set, traces are sent to it."`
	NATSURL          string        `env:"DOORCODE_NATS_URL" envDefault:"nats://127.0.0.1:4222" help:"Address of the NATS server."`
	NATSCAFile       string        `env:"DOORCODE_NATS_CA_FILE" help:"File with the authorities, in PEM, that may vouch for NATS; when set, NATS is spoken over TLS 1.3 alone."`
	NATSKeyFile      string        `env:"DOORCODE_SMS_DISPATCHER_NATS_KEY_FILE,required" help:"File with the seed of the NATS user sms-dispatcher."`
	ChannelKeyFile   string        `env:"DOORCODE_SMS_DISPATCHER_CHANNEL_KEY_FILE,required" help:"File with the key ring that opens the envelopes of SMS."`
	VonageKey        config.Secret `env:"DOORCODE_SMS_DISPATCHER_VONAGE_KEY_FILE,file,required" help:"File with the Vonage API key, of 8 characters."`
	VonageSecret     config.Secret `env:"DOORCODE_SMS_DISPATCHER_VONAGE_SECRET_FILE,file,required" help:"File with the secret of the Vonage API key."`
	VonageURL        string        `env:"DOORCODE_SMS_DISPATCHER_VONAGE_URL" envDefault:"https://rest.nexmo.com" help:"Address of the Vonage SMS API, or of a sandbox."`
	Live             bool          `env:"DOORCODE_SMS_DISPATCHER_LIVE" envDefault:"false" help:"Send to real people; without it only a loopback address or a sandbox may be called."`
	Senders          Senders       `env:"DOORCODE_SMS_DISPATCHER_SENDERS,required" help:"Who a message comes from, for each country: US=12025550100,NL=Lanternbird. A country that is not named gets no message."`
	Brand            string        `env:"DOORCODE_SMS_DISPATCHER_BRAND" envDefault:"Doorcode" help:"Name of the product that people sign in to, at most 11 characters of GSM-7."`
	Host             string        `env:"DOORCODE_SMS_DISPATCHER_HOST,required" help:"Host of the page where codes are typed, at most 63 characters; phones offer the code on that page alone."`
	Workers          int           `env:"DOORCODE_SMS_DISPATCHER_WORKERS" envDefault:"32" help:"How many messages are worked on at the same time."`
	RatePerSecond    float64       `env:"DOORCODE_SMS_DISPATCHER_RATE_PER_SECOND" envDefault:"25" help:"How many messages a second this replica hands to Vonage at most; all replicas share the 30 of an account."`
}

// Operations returns what operators look at.
func (c Config) Operations() lifecycle.Operations {
	return lifecycle.Operations{Listen: c.OperationsListen, LogLevel: c.LogLevel, OTLP: c.OTLP}
}

// Validate refuses settings that could not send, that could reach real people
// unasked, or whose messages would not fit one part. Each error begins with the
// variable.
func (c Config) Validate() error {
	var problems []error
	check := func(name string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("DOORCODE_SMS_DISPATCHER_%s: %w", name, err))
		}
	}
	_, err := provider.Endpoint{URL: c.VonageURL, Live: c.Live}.Base()
	check("VONAGE_URL", err)
	_, err = message.NewSMS(c.Brand, c.Host)
	if errors.Is(err, message.ErrHost) {
		check("HOST", err)
	} else {
		check("BRAND", err)
	}
	check("WORKERS", process.CheckWorkers(delivery.SMS, c.Workers))
	check("RATE_PER_SECOND", process.CheckRate(c.RatePerSecond))
	return errors.Join(problems...)
}
