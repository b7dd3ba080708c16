// Package app is the demo's process: the dashboard "Lanternbird" with its login
// page. It keeps passwords and sessions, as a host application does; doorcode
// keeps the second step.
package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"doorcode/pkg/client"
	"doorcode/pkg/config"
	"doorcode/pkg/httpserver"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	"doorcode/services/demo/internal/site"
)

// requestTimeout bounds one call to auth.
const requestTimeout = 10 * time.Second

// Config is the demo's environment.
type Config struct {
	Listen           string        `env:"DOORCODE_DEMO_LISTEN" envDefault:"127.0.0.1:8090" help:"Where the demo's pages are served."`
	OperationsListen string        `env:"DOORCODE_DEMO_OPERATIONS_LISTEN" envDefault:"127.0.0.1:9095" help:"Where health and metrics are served."`
	AuthURL          string        `env:"DOORCODE_DEMO_AUTH_URL" envDefault:"http://127.0.0.1:8080" help:"Address of the auth service."`
	PublicURL        string        `env:"DOORCODE_DEMO_PUBLIC_URL" help:"Address at which browsers reach the demo; empty: http and the address it listens on. doorcode must know it as a return origin."`
	PromptOrigin     string        `env:"DOORCODE_DEMO_PROMPT_ORIGIN" help:"Origin of doorcode's hosted pages; empty: the demo shows its own code page alone."`
	InboxURL         string        `env:"DOORCODE_DEMO_INBOX_URL" envDefault:"http://127.0.0.1:8025" help:"Address of the sandbox's inbox, shown as a hint."`
	APIKey           config.Secret `env:"DOORCODE_DEMO_API_KEY_FILE,file,required" help:"File with an API key of the scopes challenges, directory and settings."`
	LogLevel         string        `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"Least level of log lines: debug, info, warn or error."`
}

// Validate refuses addresses that are none.
func (c Config) Validate() error {
	for name, value := range map[string]string{"DOORCODE_DEMO_AUTH_URL": c.AuthURL, "DOORCODE_DEMO_INBOX_URL": c.InboxURL, "DOORCODE_DEMO_PUBLIC_URL": c.PublicURL, "DOORCODE_DEMO_PROMPT_ORIGIN": c.PromptOrigin} {
		if value == "" && (name == "DOORCODE_DEMO_PUBLIC_URL" || name == "DOORCODE_DEMO_PROMPT_ORIGIN") {
			continue
		}
		u, err := url.Parse(value)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fmt.Errorf("%s is not an http address", name)
		}
	}
	return nil
}

// Operations says where the operations port is.
func (c Config) Operations() lifecycle.Operations {
	return lifecycle.Operations{Listen: c.OperationsListen, LogLevel: c.LogLevel}
}

// App is the running demo.
type App struct {
	cfg    Config
	tel    telemetry.Telemetry
	client *client.Client
	http   *http.Client
	server *httpserver.Server
	failed chan error
	ended  chan struct{} // closed by Stop, for watch
	stop   sync.Once
}

// New checks the configuration and opens nothing.
func New(cfg Config, tel telemetry.Telemetry) (*App, error) {
	hc := &http.Client{Timeout: requestTimeout, Transport: http.DefaultTransport.(*http.Transport).Clone()} //nolint:forcetypeassert // the standard library's own default
	c, err := client.New(client.Config{URL: cfg.AuthURL, Key: cfg.APIKey.Reveal(), HTTP: hc})
	if err != nil {
		return nil, err
	}
	return &App{cfg: cfg, tel: tel, client: c, http: hc, failed: make(chan error, 1), ended: make(chan struct{})}, nil
}

// Start puts the demo's workspace and login into the directory and serves the
// pages. It needs a running auth service.
func (a *App) Start(ctx context.Context) error {
	err := site.Seed(ctx, a.client)
	if err != nil {
		return fmt.Errorf("start demo: %w", err)
	}
	listener, err := httpserver.Listen(ctx, "demo", a.cfg.Listen)
	if err != nil {
		return fmt.Errorf("start demo: %w", err)
	}
	own := a.cfg.PublicURL
	if own == "" {
		own = "http://" + listener.Addr().String()
	}
	s, err := site.New(site.Config{
		Doorcode: a.client, PublicURL: own, PromptOrigin: a.cfg.PromptOrigin, InboxURL: a.cfg.InboxURL, Log: a.tel.Log,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("start demo: %w", err), listener.Close())
	}
	a.server, err = httpserver.Start(ctx, httpserver.Config{Name: "demo", Listener: listener, Handler: s.Handler(), Log: a.tel.Log})
	if err != nil {
		return errors.Join(fmt.Errorf("start demo: %w", err), listener.Close())
	}
	go a.watch(a.server)
	return nil
}

// watch passes on the end of a server that nobody stopped.
func (a *App) watch(s *httpserver.Server) {
	select {
	case err := <-s.Failed():
		a.failed <- err
	case <-a.ended:
	}
}

// Stop ends the pages after the requests that are under way.
func (a *App) Stop(ctx context.Context) error {
	defer a.http.CloseIdleConnections()
	a.stop.Do(func() { close(a.ended) })
	if a.server == nil {
		return nil
	}
	return a.server.Stop(ctx)
}

// Ready asks auth for its public keys: without auth nobody can sign in.
func (a *App) Ready(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.cfg.AuthURL+"/.well-known/jwks.json", nil)
	if err != nil {
		return errors.New("auth: malformed address")
	}
	res, err := a.http.Do(req)
	if err != nil {
		return errors.New("auth does not answer")
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("auth answers with status %d", res.StatusCode)
	}
	return nil
}

// Failed tells when the pages cannot be served any more.
func (a *App) Failed() <-chan error { return a.failed }

// Addr is where the pages are served after Start.
func (a *App) Addr() string { return a.server.Addr() }
