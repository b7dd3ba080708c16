// Package app is the sandbox's process: the stand-in of pkg/provider/sandbox on
// a listener of its own, and a count of what came.
//
// Whoever reaches the listener reads every code, so it belongs on the local
// machine or a closed test network.
package app

import (
	"context"
	"errors"
	"fmt"

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
	SendGridKey      string `env:"DOORCODE_SANDBOX_SENDGRID_KEY" envDefault:"SG.sandbox" help:"The SendGrid API key that is accepted; no secret, it opens nothing else."`
	LogLevel         string `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"Least level of log lines: debug, info, warn or error."`
}

// Validate refuses an empty key, which every sender would have.
func (c Config) Validate() error {
	if c.SendGridKey == "" {
		return errors.New("DOORCODE_SANDBOX_SENDGRID_KEY is empty")
	}
	return nil
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
	s := sandbox.New(sandbox.Config{SendGridKey: cfg.SendGridKey})
	err := telemetry.Register(tel.Registry, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name:        "doorcode_sandbox_messages_total",
		Help:        "Messages that were accepted and stored since the start or since the inbox was emptied.",
		ConstLabels: prometheus.Labels{"channel": string(delivery.Email)},
	}, func() float64 { return float64(s.Count()) }))
	if err != nil {
		return nil, fmt.Errorf("make sandbox: %w", err)
	}
	return &App{cfg: cfg, tel: tel, sandbox: s}, nil
}

// Sandbox is the stand-in itself, for tests that run the process in their own.
func (a *App) Sandbox() *sandbox.Sandbox { return a.sandbox }

// Start opens the listener.
func (a *App) Start(ctx context.Context) error {
	server, err := httpserver.Start(ctx, httpserver.Config{
		Name: "sandbox", Listen: a.cfg.Listen, Handler: a.sandbox.Handler(), Log: a.tel.Log,
	})
	if err != nil {
		return fmt.Errorf("start sandbox: %w", err)
	}
	a.server = server
	return nil
}

// Stop lets go of the requests that a fault holds and closes the listener.
func (a *App) Stop(ctx context.Context) error {
	a.sandbox.ClearFaults()
	if a.server == nil {
		return nil
	}
	return a.server.Stop(ctx)
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
