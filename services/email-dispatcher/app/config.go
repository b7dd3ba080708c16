// Package app is the email-dispatcher as a value: settings, start, stop.
//
// It wires the engine of pkg/dispatch to the bus, to SendGrid behind a rate
// and a breaker, and to the words of pkg/message. It holds the key of its own
// channel and the provider's, and nothing else.
package app

import (
	"errors"
	"fmt"

	"doorcode/pkg/config"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/message"
	"doorcode/pkg/provider"
)

// The bounds of settings.
const (
	maxWorkers       = 512   // the consumer's MaxAckPending, over all replicas
	maxRatePerSecond = 10000 // far above what any account is allowed
)

// Config is every setting of the process.
type Config struct {
	OperationsListen string        `env:"DOORCODE_EMAIL_DISPATCHER_OPERATIONS_LISTEN" envDefault:"127.0.0.1:9093" help:"Address of /healthz, /readyz and /metrics."`
	LogLevel         string        `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"Least level of log lines: debug, info, warn or error."`
	NATSURL          string        `env:"DOORCODE_NATS_URL" envDefault:"nats://127.0.0.1:4222" help:"Address of the NATS server."`
	NATSKeyFile      string        `env:"DOORCODE_EMAIL_DISPATCHER_NATS_KEY_FILE,required" help:"File with the seed of the NATS user email-dispatcher."`
	ChannelKeyFile   string        `env:"DOORCODE_EMAIL_DISPATCHER_CHANNEL_KEY_FILE,required" help:"File with the key ring that opens the envelopes of e-mail."`
	SendGridKey      config.Secret `env:"DOORCODE_EMAIL_DISPATCHER_SENDGRID_KEY_FILE,file,required" help:"File with the SendGrid API key; it needs the permission to send mail alone."`
	SendGridURL      string        `env:"DOORCODE_EMAIL_DISPATCHER_SENDGRID_URL" envDefault:"https://api.sendgrid.com" help:"Address of the SendGrid API, or of a sandbox."`
	Live             bool          `env:"DOORCODE_EMAIL_DISPATCHER_LIVE" envDefault:"false" help:"Send to real people; without it only a loopback address or a sandbox may be called."`
	FromAddress      string        `env:"DOORCODE_EMAIL_DISPATCHER_FROM_ADDRESS,required" help:"The one sender of all codes, verified at SendGrid."`
	FromName         string        `env:"DOORCODE_EMAIL_DISPATCHER_FROM_NAME" envDefault:"Doorcode" help:"Name of the sender as people see it, in ASCII."`
	Brand            string        `env:"DOORCODE_EMAIL_DISPATCHER_BRAND" envDefault:"Doorcode" help:"Name of the product that people sign in to, in subject and text."`
	Workers          int           `env:"DOORCODE_EMAIL_DISPATCHER_WORKERS" envDefault:"32" help:"How many messages are worked on at the same time."`
	RatePerSecond    float64       `env:"DOORCODE_EMAIL_DISPATCHER_RATE_PER_SECOND" envDefault:"100" help:"How many messages a second this replica hands to SendGrid at most."`
}

// Operations returns what operators look at.
func (c Config) Operations() lifecycle.Operations {
	return lifecycle.Operations{Listen: c.OperationsListen, LogLevel: c.LogLevel}
}

// Validate refuses settings that could not send, or that could reach real
// people unasked. Each error begins with the variable.
func (c Config) Validate() error {
	var problems []error
	refuse := func(name string, err error) {
		problems = append(problems, fmt.Errorf("DOORCODE_EMAIL_DISPATCHER_%s: %w", name, err))
	}
	_, err := provider.Endpoint{URL: c.SendGridURL, Live: c.Live}.Base()
	if err != nil {
		refuse("SENDGRID_URL", err)
	}
	_, err = message.New(c.Brand)
	if err != nil {
		refuse("BRAND", err)
	}
	if c.Workers < 1 || c.Workers > maxWorkers {
		refuse("WORKERS", fmt.Errorf("%d is outside 1 to %d", c.Workers, maxWorkers))
	}
	if !(c.RatePerSecond >= 1 && c.RatePerSecond <= maxRatePerSecond) { // not-a-number included
		refuse("RATE_PER_SECOND", fmt.Errorf("%g is outside 1 to %d", c.RatePerSecond, maxRatePerSecond))
	}
	return errors.Join(problems...)
}
