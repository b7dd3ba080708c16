// Package app is the email-dispatcher as a value: settings, start, stop.
//
// It is the process of pkg/dispatch/process with SendGrid and the e-mails of
// pkg/message. It holds the key of its own channel and the provider's, and
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
	OperationsListen string        `env:"DOORCODE_EMAIL_DISPATCHER_OPERATIONS_LISTEN" envDefault:"127.0.0.1:9093" help:"Address of /healthz, /readyz and /metrics."`
	LogLevel         string        `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"Least level of log lines: debug, info, warn or error."`
	OTLP             string        `env:"DOORCODE_OTLP_ENDPOINT" help:"Address of an OpenTelemetry collector that takes OTLP over HTTP; when set, traces are sent to it."`
	NATSURL          string        `env:"DOORCODE_NATS_URL" envDefault:"nats://127.0.0.1:4222" help:"Address of the NATS server."`
	NATSCAFile       string        `env:"DOORCODE_NATS_CA_FILE" help:"File with the authorities, in PEM, that may vouch for NATS; when set, NATS is spoken over TLS 1.3 alone."`
	NATSKeyFile      string        `env:"DOORCODE_EMAIL_DISPATCHER_NATS_KEY_FILE,required" help:"File with the seed of the NATS user email-dispatcher."`
	ChannelKeyFile   string        `env:"DOORCODE_EMAIL_DISPATCHER_CHANNEL_KEY_FILE,required" help:"File with the key ring that opens the envelopes of e-mail."`
	SendGridKey      config.Secret `env:"DOORCODE_EMAIL_DISPATCHER_SENDGRID_KEY_FILE,file,required" help:"File with the SendGrid API key; it needs the permission to send mail alone."`
	SendGridURL      string        `env:"DOORCODE_EMAIL_DISPATCHER_SENDGRID_URL" envDefault:"https://api.sendgrid.com" help:"Address of the SendGrid API, or of a sandbox."`
	Live             bool          `env:"DOORCODE_EMAIL_DISPATCHER_LIVE" envDefault:"false" help:"Send to real people; without it only a loopback address or a sandbox may be called."`
	FromAddress      string        `env:"DOORCODE_EMAIL_DISPATCHER_FROM_ADDRESS,required" help:"The one sender of all codes, verified at SendGrid."`
	FromName         string        `env:"DOORCODE_EMAIL_DISPATCHER_FROM_NAME" envDefault:"Doorcode" help:"Name of the sender as people see it, in ASCII."`
	Brand            string        `env:"DOORCODE_EMAIL_DISPATCHER_BRAND" envDefault:"Doorcode" help:"Name of the product that people sign in to, in subject and text."`
	SupportLink      string        `env:"DOORCODE_EMAIL_DISPATCHER_SUPPORT_LINK" help:"Where people find support, a page with https or an e-mail address; a message with a code shows it as words to type, never as a link."`
	Workers          int           `env:"DOORCODE_EMAIL_DISPATCHER_WORKERS" envDefault:"32" help:"How many messages are worked on at the same time."`
	RatePerSecond    float64       `env:"DOORCODE_EMAIL_DISPATCHER_RATE_PER_SECOND" envDefault:"100" help:"How many messages a second this replica hands to SendGrid at most."`
}

// Operations returns what operators look at.
func (c Config) Operations() lifecycle.Operations {
	return lifecycle.Operations{Listen: c.OperationsListen, LogLevel: c.LogLevel, OTLP: c.OTLP}
}

// Validate refuses settings that could not send, or that could reach real
// people unasked. Each error begins with the variable.
func (c Config) Validate() error {
	var problems []error
	check := func(name string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("DOORCODE_EMAIL_DISPATCHER_%s: %w", name, err))
		}
	}
	_, err := provider.Endpoint{URL: c.SendGridURL, Live: c.Live}.Base()
	check("SENDGRID_URL", err)
	_, err = message.NewEmail(c.Brand, c.SupportLink)
	if errors.Is(err, message.ErrSupport) {
		check("SUPPORT_LINK", err)
	} else {
		check("BRAND", err)
	}
	check("WORKERS", process.CheckWorkers(delivery.Email, c.Workers))
	check("RATE_PER_SECOND", process.CheckRate(c.RatePerSecond))
	return errors.Join(problems...)
}
