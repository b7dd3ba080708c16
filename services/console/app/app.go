// Package app is the console as a value: the pages of operations, auditors and support (DESIGN 2).
//
// Its role in the database reads and writes nothing; what has to be on record, such as who was shown what, goes through
// narrow functions of the owner. So it needs no user on the bus, and a record is readable while the bus is away.
package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"doorcode/pkg/client"
	"doorcode/pkg/httpserver"
	"doorcode/pkg/keyring"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/phone"
	"doorcode/pkg/postgres"
	"doorcode/pkg/telemetry"
	"doorcode/services/console/internal/board"
	"doorcode/services/console/internal/desk"
)

// requestTimeout bounds one call to auth.
const requestTimeout = 10 * time.Second

// App is the console process.
type App struct {
	cfg    Config
	tel    telemetry.Telemetry
	keys   *keyring.Ring
	codes  *client.Client
	help   *client.Client
	http   *http.Client
	failed chan error

	// What Start opens; the stack closes it in reverse.
	stack  lifecycle.Stack
	db     *postgres.DB
	server *httpserver.Server
	origin string
}

// New reads the keys; it opens nothing.
func New(cfg Config, tel telemetry.Telemetry) (*App, error) {
	err := cfg.Validate()
	if err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, tel: tel, failed: make(chan error, 1)}
	a.keys, err = keyring.Read(cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	a.http = &http.Client{Timeout: requestTimeout, Transport: http.DefaultTransport.(*http.Transport).Clone()} //nolint:forcetypeassert // the standard library's own default
	a.codes, err = client.New(client.Config{URL: cfg.AuthURL, Key: cfg.APIKey.Reveal(), HTTP: a.http})
	if err != nil {
		return nil, fmt.Errorf("DOORCODE_CONSOLE_API_KEY_FILE: %w", err)
	}
	a.help, err = client.New(client.Config{URL: cfg.AuthURL, Key: cfg.SupportKey.Reveal(), HTTP: a.http})
	if err != nil {
		return nil, fmt.Errorf("DOORCODE_CONSOLE_SUPPORT_KEY_FILE: %w", err)
	}
	return a, nil
}

// Start opens the database and serves the pages.
func (a *App) Start(ctx context.Context) error {
	a.stack.Push("calls to auth", func(context.Context) error {
		a.http.CloseIdleConnections()
		return nil
	})
	db, err := postgres.Open(ctx, postgres.Config{
		URL: a.cfg.DatabaseURL, User: a.cfg.DatabaseUser, Password: a.cfg.DatabasePassword, Application: "doorcode console", MaxConns: 8,
	})
	if err != nil {
		return err
	}
	a.db = db
	a.stack.Push("database", func(context.Context) error {
		db.Close()
		return nil
	})
	listener, err := httpserver.Listen(ctx, "console", a.cfg.Listen)
	if err != nil {
		return err
	}
	a.origin = strings.TrimSuffix(a.cfg.PublicURL, "/")
	if a.origin == "" {
		a.origin = "http://" + listener.Addr().String()
	}
	figures, err := board.New(board.Config{Store: db, Clock: time.Now, CallingCode: phone.CallingCode})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	site, err := desk.New(desk.Config{
		PublicURL: a.origin, Record: db, Figures: figures, Operators: postgres.NewOperators(db, a.keys), Codes: a.codes, Help: a.help, Keys: a.keys,
		Clock:     time.Now,
		Telemetry: a.tel,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	a.server, err = httpserver.Start(ctx, httpserver.Config{Name: "console", Listener: listener, Handler: site.Handler(), Log: a.tel.Log})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	a.stack.Push("pages", a.server.Stop)
	a.watch()
	return nil
}

// watch reports the end of the pages when nobody stopped them.
func (a *App) watch() {
	ended, done := make(chan struct{}), make(chan struct{})
	a.stack.Push("watch of the pages", func(context.Context) error {
		close(ended)
		<-done
		return nil
	})
	go func() {
		defer close(done)
		select {
		case err := <-a.server.Failed():
			a.failed <- err
		case <-ended:
		}
	}()
}

// Stop answers the requests that run and closes everything.
func (a *App) Stop(ctx context.Context) error { return a.stack.Close(ctx) }

// Ready asks the database. Without auth nobody signs in, and whoever has can still read.
func (a *App) Ready(ctx context.Context) error { return a.db.Ping(ctx) }

// Failed delivers the error that made the process useless.
func (a *App) Failed() <-chan error { return a.failed }

// Addr returns the address of the pages once they are open.
func (a *App) Addr() string { return a.server.Addr() }
