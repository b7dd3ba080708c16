// Package app is receipts as a value: it takes the providers' webhooks, checks who signed them, and publishes what they
// report (DESIGN 2).
//
// It holds verification keys and the key ring of the addresses; it has no database, hears nothing on the bus and can
// publish nothing but receipts, so that what it takes can change the status of a delivery and no outcome (P9, SEC-57).
package app

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"net/http"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/httpserver"
	"doorcode/pkg/keyring"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
	"doorcode/services/receipts/internal/sendgrid"
	"doorcode/services/receipts/internal/vonage"
	"doorcode/services/receipts/internal/web"
)

// App is the receipts process.
type App struct {
	cfg       Config
	tel       telemetry.Telemetry
	addresses *keyring.Ring
	sendGrid  []*ecdsa.PublicKey
	vonage    vonage.Verifier
	failed    chan error

	// What Start opens; the stack closes it in reverse.
	stack  lifecycle.Stack
	bus    *bus.Conn
	server *httpserver.Server
}

// New reads the keys; it opens nothing.
func New(cfg Config, tel telemetry.Telemetry) (*App, error) {
	err := cfg.Validate()
	if err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, tel: tel, failed: make(chan error, 1)}
	a.addresses, err = keyring.Read(cfg.AddressKeyFile)
	if err != nil {
		return nil, err
	}
	if !cfg.SendGridPublicKeys.IsZero() {
		a.sendGrid, err = sendgrid.ParseKeys(cfg.SendGridPublicKeys.Reveal())
		if err != nil {
			return nil, fmt.Errorf("DOORCODE_RECEIPTS_SENDGRID_PUBLIC_KEYS_FILE: %w", err)
		}
	}
	a.vonage = vonage.Verifier{Method: vonage.Method(cfg.VonageSignatureMethod), APIKey: cfg.VonageAPIKey}
	if !cfg.VonageSignatureSecrets.IsZero() {
		a.vonage.Secrets, err = vonage.ParseSecrets(cfg.VonageSignatureSecrets.Reveal())
		if err != nil {
			return nil, fmt.Errorf("DOORCODE_RECEIPTS_VONAGE_SIGNATURE_SECRETS_FILE: %w", err)
		}
	}
	return a, nil
}

// Start connects to the bus and opens the webhooks.
func (a *App) Start(ctx context.Context) error {
	conn, err := bus.Connect(ctx, bus.Config{
		URL: a.cfg.NATSURL, CAFile: a.cfg.NATSCAFile, Name: "receipts", KeyFile: a.cfg.NATSKeyFile, Log: a.tel.Log, Fatal: a.fail,
	})
	if err != nil {
		return err
	}
	a.bus = conn
	a.stack.Push("bus", conn.Drain)
	handler, err := web.New(web.Config{
		SendGrid: a.sendGrid, Vonage: a.vonage, Addresses: a.addresses, Publisher: conn, Clock: time.Now, Telemetry: a.tel,
	})
	if err != nil {
		return err
	}
	for name, closed := range map[string]bool{sendgrid.Provider: len(a.sendGrid) == 0, vonage.Provider: len(a.vonage.Secrets) == 0} {
		if closed {
			a.tel.Log.Warn("webhook closed for want of a key", "provider", name)
		}
	}
	return a.listen(ctx, handler)
}

// listen opens the listener and reports its end when nobody stopped it.
func (a *App) listen(ctx context.Context, handler http.Handler) error {
	server, err := httpserver.Start(ctx, httpserver.Config{Name: "webhooks", Listen: a.cfg.Listen, Handler: handler, Log: a.tel.Log})
	if err != nil {
		return err
	}
	a.server = server
	a.stack.Push("webhooks", server.Stop)
	ended, done := make(chan struct{}), make(chan struct{})
	a.stack.Push("watch of the webhooks", func(context.Context) error {
		close(ended)
		<-done
		return nil
	})
	go func() {
		defer close(done)
		select {
		case err := <-server.Failed():
			a.fail(err)
		case <-ended:
		}
	}()
	return nil
}

// fail reports what no retry can mend; it does not block.
func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default: // The first one is enough.
	}
}

// Stop answers the webhooks that run and closes everything.
func (a *App) Stop(ctx context.Context) error { return a.stack.Close(ctx) }

// Ready asks the bus.
func (a *App) Ready(ctx context.Context) error {
	err := a.bus.Ready(ctx)
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	return nil
}

// Failed delivers the error that made the process useless.
func (a *App) Failed() <-chan error { return a.failed }

// Addr returns the address of the webhooks once they are open.
func (a *App) Addr() string { return a.server.Addr() }
