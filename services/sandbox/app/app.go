// Package app is the sandbox's process: the stand-in of pkg/provider/sandbox on
// a listener of its own, its webhooks, and a count of what came and went.
//
// Whoever reaches the listener reads every code, so it belongs on the local
// machine or a closed test network.
package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/delivery"
	"doorcode/pkg/httpserver"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/provider/sandbox"
	"doorcode/pkg/telemetry"
)

// Config is the sandbox's environment.
type Config struct {
	Listen           string `env:"DOORCODE_SANDBOX_LISTEN" envDefault:"127.0.0.1:8025" help:"Where the look-alike of the provider and the inbox are served."`
	OperationsListen string `env:"DOORCODE_SANDBOX_OPERATIONS_LISTEN" envDefault:"127.0.0.1:9094" help:"Where health and metrics are served."`
	LogLevel         string `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"Least level of log lines: debug, info, warn or error."`

	SendGridKey           string `env:"DOORCODE_SANDBOX_SENDGRID_KEY" envDefault:"SG.sandbox" help:"The SendGrid API key that is accepted; no secret, it opens nothing else."`
	VonageKey             string `env:"DOORCODE_SANDBOX_VONAGE_KEY" envDefault:"abcd1234" help:"The Vonage API key that is accepted, 8 characters; no secret."`
	VonageSecret          string `env:"DOORCODE_SANDBOX_VONAGE_SECRET" envDefault:"sandbox-secret" help:"The Vonage API secret that is accepted, 6 to 32 characters; it opens nothing else."`
	VonageSignatureSecret string `env:"DOORCODE_SANDBOX_VONAGE_SIGNATURE_SECRET" envDefault:"sandbox-signature-secret" help:"What delivery receipts are signed with."`

	VonageReceiptURL      string `env:"DOORCODE_SANDBOX_VONAGE_RECEIPT_URL" help:"Where delivery receipts go unless a message names a callback; empty for nowhere."`
	VonageReceiptMethod   string `env:"DOORCODE_SANDBOX_VONAGE_RECEIPT_METHOD" envDefault:"json" help:"How delivery receipts travel: get, form or json."`
	VonageSignatureMethod string `env:"DOORCODE_SANDBOX_VONAGE_SIGNATURE_METHOD" envDefault:"sha256" help:"How delivery receipts are signed: none, md5hash, md5, sha1, sha256 or sha512."`

	BatchInterval time.Duration `env:"DOORCODE_SANDBOX_BATCH_INTERVAL" envDefault:"1s" help:"How often collected events are posted to the event webhooks; SendGrid itself waits 30s."`
	BatchBytes    int           `env:"DOORCODE_SANDBOX_BATCH_BYTES" envDefault:"768000" help:"The size in bytes that no batch of several events exceeds."`
	BatchLayout   string        `env:"DOORCODE_SANDBOX_BATCH_LAYOUT" envDefault:"after-comma" help:"Where the line ends of a batch stand: after-comma or before-comma."`
	WebhookHosts  []string      `env:"DOORCODE_SANDBOX_WEBHOOK_HOSTS" help:"Hosts without port that webhooks may be posted to besides the loopback addresses."`
	Seed          string        `env:"DOORCODE_SANDBOX_SEED" help:"Makes all ids and keys the same in every run; random when empty."`
}

// Validate refuses empty credentials, which every sender would have, and what
// the stand-in does not understand.
func (c Config) Validate() error {
	for name, value := range map[string]string{
		"DOORCODE_SANDBOX_SENDGRID_KEY": c.SendGridKey, "DOORCODE_SANDBOX_VONAGE_KEY": c.VonageKey,
		"DOORCODE_SANDBOX_VONAGE_SECRET": c.VonageSecret, "DOORCODE_SANDBOX_VONAGE_SIGNATURE_SECRET": c.VonageSignatureSecret,
	} {
		if value == "" {
			return errors.New(name + " is empty")
		}
	}
	return c.sandbox().Validate()
}

// sandbox is the part of the settings that the stand-in takes.
func (c Config) sandbox() sandbox.Config {
	return sandbox.Config{
		SendGridKey: c.SendGridKey,
		VonageKey:   c.VonageKey, VonageSecret: c.VonageSecret, VonageSignatureSecret: c.VonageSignatureSecret,
		VonageReceiptURL:      c.VonageReceiptURL,
		VonageReceiptMethod:   sandbox.ReceiptMethod(c.VonageReceiptMethod),
		VonageSignatureMethod: sandbox.SignatureMethod(c.VonageSignatureMethod),
		BatchInterval:         c.BatchInterval, BatchBytes: c.BatchBytes, BatchLayout: sandbox.Layout(c.BatchLayout),
		WebhookHosts: c.WebhookHosts, Seed: c.Seed,
	}
}

// Operations says where the operations port is.
func (c Config) Operations() lifecycle.Operations {
	return lifecycle.Operations{Listen: c.OperationsListen, LogLevel: c.LogLevel}
}

// App is one sandbox process.
type App struct {
	cfg     Config
	tel     telemetry.Telemetry
	sandbox *sandbox.Sandbox
	server  *httpserver.Server
}

// New registers the metrics and opens nothing.
func New(cfg Config, tel telemetry.Telemetry) (*App, error) {
	s := sandbox.New(cfg.sandbox())
	err := register(tel.Registry, s)
	if err != nil {
		return nil, fmt.Errorf("make sandbox: %w", err)
	}
	return &App{cfg: cfg, tel: tel, sandbox: s}, nil
}

// register adds the counts of messages and webhooks, each with all its labels.
func register(registry *prometheus.Registry, s *sandbox.Sandbox) error {
	count := func(name, help, label, value string, read func() int) error {
		return telemetry.Register(registry, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: name, Help: help, ConstLabels: prometheus.Labels{label: value},
		}, func() float64 { return float64(read()) }))
	}
	var failed []error
	for _, channel := range delivery.Channels() {
		failed = append(failed, count("doorcode_sandbox_messages_total",
			"Messages that were accepted and stored since the start or since the inbox was emptied.",
			"channel", string(channel), func() int { return s.CountOf(channel) }))
	}
	for result, read := range map[string]func(sandbox.WebhookCounts) int{
		"taken":    func(c sandbox.WebhookCounts) int { return c.Taken },
		"retried":  func(c sandbox.WebhookCounts) int { return c.Retried },
		"given_up": func(c sandbox.WebhookCounts) int { return c.GivenUp },
		"lost":     func(c sandbox.WebhookCounts) int { return c.Lost },
	} {
		failed = append(failed, count("doorcode_sandbox_webhooks_total",
			"Posts to webhooks by what became of them.",
			"result", result, func() int { return read(s.WebhookCounts()) }))
	}
	return errors.Join(failed...)
}

// Sandbox is the stand-in itself, for tests that run the process in their own.
func (a *App) Sandbox() *sandbox.Sandbox { return a.sandbox }

// Start opens the listener and begins to post webhooks.
func (a *App) Start(ctx context.Context) error {
	server, err := httpserver.Start(ctx, httpserver.Config{
		Name: "sandbox", Listen: a.cfg.Listen, Handler: a.sandbox.Handler(), Log: a.tel.Log,
	})
	if err != nil {
		return fmt.Errorf("start sandbox: %w", err)
	}
	a.server = server
	a.sandbox.Start(ctx)
	return nil
}

// Stop waits for the webhooks that are on the way, lets go of the requests that
// a fault holds, and closes the listener. Webhooks that wait are forgotten.
func (a *App) Stop(ctx context.Context) error {
	err := a.sandbox.Stop(ctx)
	if a.server == nil {
		return err
	}
	return errors.Join(err, a.server.Stop(ctx))
}

// Ready tells whether the listener is open; the sandbox depends on nothing.
func (a *App) Ready(context.Context) error {
	if a.server == nil {
		return errors.New("the sandbox is not started")
	}
	return nil
}

// Failed delivers the error that closed the listener; nil before Start.
func (a *App) Failed() <-chan error {
	if a.server == nil {
		return nil
	}
	return a.server.Failed()
}

// Addr is the address of the listener with its real port; empty before Start.
func (a *App) Addr() string {
	if a.server == nil {
		return ""
	}
	return a.server.Addr()
}
