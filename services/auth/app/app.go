// Package app is the auth process: it opens database and bus, reads the keys, serves the API on HTTP and on NATS, and
// tells people what happened to their logins.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"doorcode/pkg/assertion"
	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/httpserver"
	"doorcode/pkg/keyring"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/postgres"
	"doorcode/pkg/strictjson"
	"doorcode/pkg/telemetry"
	"doorcode/services/auth/internal/decide"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
	"doorcode/services/auth/internal/natsapi"
	"doorcode/services/auth/internal/notice"
	"doorcode/services/auth/internal/pages"
	"doorcode/services/auth/internal/settings"
	"doorcode/services/auth/internal/ticket"
	"doorcode/services/auth/internal/watch"
	"doorcode/services/auth/internal/web"
)

// verifierTimeout bounds one try of a question to the verifier.
const verifierTimeout = 2 * time.Second

// App is the auth process.
type App struct {
	cfg    Config
	tel    telemetry.Telemetry
	keys   front.Keys
	rows   *keyring.Ring // of the MACs of directory rows
	jwks   []byte
	failed chan error
	// watches are the challenges that are followed; they end before the listener does.
	watches *watch.Hub

	// What Start opens; the stack closes it in reverse.
	stack  lifecycle.Stack
	db     *postgres.DB
	bus    *bus.Conn
	api    *web.Handler
	server *httpserver.Server
	origin string // of the hosted pages
}

// New reads the key files; it opens nothing. Its error names every file that cannot be used, and none of their content.
func New(cfg Config, tel telemetry.Telemetry) (*App, error) {
	err := cfg.Validate()
	if err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, tel: tel, failed: make(chan error, 1), watches: watch.NewHub(cfg.EventStreams), keys: front.Keys{Channels: map[string]*keyring.Ring{}}}
	var email *keyring.Ring
	var problems []error
	for _, k := range []struct {
		path string
		ring **keyring.Ring
	}{
		{cfg.TagKeyFile, &a.keys.Tag},
		{cfg.DigestKeyFile, &a.keys.Digest},
		{cfg.HandleKeyFile, &a.keys.Handle},
		{cfg.AddressKeyFile, &a.keys.Address},
		{cfg.APIKeyKeyFile, &a.keys.APIKey},
		{cfg.IdempotencyKeyFile, &a.keys.Idempotency},
		{cfg.RowKeyFile, &a.rows},
		{cfg.EmailKeyFile, &email},
	} {
		ring, err := keyring.Read(k.path)
		problems = append(problems, err)
		*k.ring = ring
	}
	a.keys.Channels[string(delivery.Email)] = email
	if cfg.SMSKeyFile != "" {
		ring, err := keyring.Read(cfg.SMSKeyFile)
		problems = append(problems, err)
		a.keys.Channels[string(delivery.SMS)] = ring
	}
	a.jwks, err = readJWKS(cfg.JWKSFile)
	if err == nil {
		a.keys.Assertion, err = assertion.ParseJWKS(a.jwks)
	}
	err = errors.Join(append(problems, err)...)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// readJWKS reads the public keys of the assertions (RFC 7517 §5) and refuses a file that is none, or that holds a
// private key.
func readJWKS(path string) ([]byte, error) {
	data, err := os.ReadFile(path) //nolint:gosec // The operator names the file.
	if err != nil {
		return nil, fmt.Errorf("read the key set: %w", err)
	}
	// Nothing is served that is not known to be public: no private member (RFC 7517 §9.3), wherever it stands.
	var set struct {
		Keys []struct {
			Type      string `json:"kty"`
			Curve     string `json:"crv"`
			ID        string `json:"kid"`
			Use       string `json:"use"`
			Algorithm string `json:"alg"`
			X         string `json:"x"`
		} `json:"keys"`
	}
	err = strictjson.Decode(data, &set)
	if err != nil || len(set.Keys) == 0 {
		return nil, fmt.Errorf("read the key set %s: it is not a JSON Web Key Set of public keys on Ed25519 alone", path)
	}
	return data, nil
}

// Start connects to database and bus and serves the API. The streams must exist: their number stands in every handle, and
// auth makes none.
func (a *App) Start(ctx context.Context) error {
	var err error
	a.db, err = postgres.Open(ctx, postgres.Config{
		URL: a.cfg.DatabaseURL, User: a.cfg.DatabaseUser, Password: a.cfg.DatabasePassword, Application: "doorcode auth",
	})
	if err != nil {
		return err
	}
	a.stack.Push("database", func(context.Context) error { a.db.Close(); return nil })
	a.bus, err = bus.Connect(ctx, bus.Config{
		URL: a.cfg.NATSURL, CAFile: a.cfg.NATSCAFile, Name: "auth", KeyFile: a.cfg.NATSKeyFile, Log: a.tel.Log, Fatal: a.fail,
	})
	if err != nil {
		return err
	}
	a.stack.Push("bus", a.bus.Drain)
	changes, err := a.bus.Subscribe(ctx, event.SubjectChanged, a.watches.Hear)
	if err != nil {
		return err
	}
	a.stack.Push("changes", changes.Stop)
	number, err := a.bus.StreamNumber(ctx, event.StreamChallenges)
	if err != nil {
		return err
	}
	listener, err := httpserver.Listen(ctx, "api", a.cfg.Listen)
	if err != nil {
		return err
	}
	a.stack.Push("listener", func(context.Context) error { return closed(listener) })
	a.origin = a.publicURL(listener.Addr())
	f, err := a.build(number)
	if err != nil {
		return err
	}
	people, err := a.pages(f)
	if err != nil {
		return err
	}
	a.api, err = web.New(f, a.jwks, people, a.tel)
	if err != nil {
		return err
	}
	err = a.tell(ctx, f)
	if err != nil {
		return err
	}
	service, err := natsapi.Serve(ctx, natsapi.Config{Tracer: a.tel.Tracer(), Bus: a.bus, Front: f, Workers: a.cfg.NATSWorkers, Log: a.tel.Log})
	if err != nil {
		return err
	}
	a.stack.Push("api on nats", service.Stop)
	a.server, err = httpserver.Start(ctx, httpserver.Config{
		Name: "api", Listener: listener, Handler: a.api, Log: a.tel.Log,
	})
	if err != nil {
		return err
	}
	a.stack.Push("api", a.server.Stop)
	// Streams would keep the listener from closing, so they end before it.
	a.stack.Push("event streams", func(context.Context) error { a.watches.Close(); return nil })
	a.watch()
	return nil
}

// tell starts what orders notices. It finds its consumers by itself: none of it keeps the process from starting.
func (a *App) tell(ctx context.Context, f *front.Front) error {
	teller, err := notice.New(notice.Config{
		Changes: a.consumer(event.StreamDirectory), Codes: a.consumer(event.StreamOutcomes),
		Publisher: a.bus, Directory: postgres.NewDirectory(a.db, a.rows), Address: a.keys.Address,
		Channels: a.keys.Channels, MayText: a.decisions().MayText, Link: a.link, PerMinute: a.cfg.RolloutNotices,
		Alarm: f.Alarm, Clock: time.Now, Log: a.tel.Log, Metrics: a.tel.Registry,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { teller.Run(ctx) })
	a.stack.Push("notices", func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})
	return nil
}

// consumer opens the one of a stream that hands out what people are told of.
func (a *App) consumer(stream string) notice.Opener {
	return func(ctx context.Context) (notice.Source, error) { return a.bus.Consumer(ctx, stream, bus.Notices) }
}

// link is where a link in a mail is opened; without hosted pages there is no such place.
func (a *App) link(l ticket.Link) string {
	if a.origin == "" {
		return ""
	}
	return a.origin + l.Address(a.keys.Handle)
}

// decisions are the settings of what is sent, and where to.
func (a *App) decisions() decide.Settings {
	return decide.Settings{
		Policy: a.cfg.policy(), Life: a.cfg.CodeLife, PerHour: a.cfg.PerHour, PerDay: a.cfg.PerDay,
		GroupPerHour: a.cfg.GroupPerHour, GroupPerDay: a.cfg.GroupPerDay,
		TextLife: a.cfg.SMSCodeLife, NumberPerHour: a.cfg.NumberPerHour, NumberPerDay: a.cfg.NumberPerDay,
		Countries: a.cfg.SMSCountries, TextsPerDay: a.cfg.SMSDailyCap,
	}
}

// closed closes a listener that its server may have closed before.
func closed(listener net.Listener) error {
	err := listener.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// PublicURL returns the origin of the hosted pages once auth is started; empty: there are none.
func (a *App) PublicURL() string { return a.origin }

// publicURL is the origin of the hosted pages, with the real port of the API for port 0; empty: there are none.
func (a *App) publicURL(api net.Addr) string {
	if a.cfg.PublicURL == "" {
		return ""
	}
	u, err := pages.ParsePublicURL(a.cfg.PublicURL)
	if err != nil { // Validate has refused it before.
		return ""
	}
	_, port, err := net.SplitHostPort(api.String())
	if err == nil && u.Port() == "0" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return u.String()
}

// pages returns the hosted pages, or nil when there are none.
func (a *App) pages(f *front.Front) (web.Pages, error) {
	if a.origin == "" {
		return nil, nil //nolint:nilnil // No pages is a choice of the operator, and web knows it.
	}
	site, err := hosted.New(hosted.Config{PublicURL: a.origin, Brand: a.cfg.Brand, SupportURL: a.cfg.SupportURL, Log: a.tel.Log})
	if err != nil {
		return nil, err
	}
	err = pages.Add(pages.Config{Site: site, Front: f, Ring: a.keys.Handle, Clock: time.Now, Log: a.tel.Log})
	if err != nil {
		return nil, err
	}
	err = settings.Add(settings.Config{Site: site, Front: f, Log: a.tel.Log})
	if err != nil {
		return nil, err
	}
	return site, nil
}

// watch reports the end of a listener that nobody stopped.
func (a *App) watch() {
	ended, done := make(chan struct{}), make(chan struct{})
	a.stack.Push("watch of the api", func(context.Context) error {
		close(ended)
		<-done
		return nil
	})
	go func() {
		defer close(done)
		select {
		case err := <-a.server.Failed():
			a.fail(err)
		case <-ended:
		}
	}()
}

// build puts the use cases over what is open.
func (a *App) build(number uint16) (*front.Front, error) {
	return front.New(front.Config{
		Database: a.db, Directory: postgres.NewDirectory(a.db, a.rows), Bus: a.bus, Watches: a.watches, Keys: a.keys,
		Clock: time.Now, Telemetry: a.tel,
		Settings: front.Settings{
			Settings:   a.decisions(),
			CodeDigits: a.cfg.CodeDigits, LivePerLogin: a.cfg.LivePerLogin, CreatesPerClient: a.cfg.CreatesPerClient,
			CreatesPerSecond: a.cfg.CreatesPerSecond, VerifierTimeout: verifierTimeout, StreamNumber: number,
			PublicURL: a.origin,
		},
	})
}

// Stop lets running requests end and closes everything.
func (a *App) Stop(ctx context.Context) error { return a.stack.Close(ctx) }

// Ready names what cannot be asked. The verifier is not among it: without one, codes can still be sent.
func (a *App) Ready(ctx context.Context) error {
	return errors.Join(a.db.Ping(ctx), a.bus.Ready(ctx))
}

// Failed delivers the error that made the process useless.
func (a *App) Failed() <-chan error { return a.failed }

// Addr returns the address of the API once it is started.
func (a *App) Addr() string { return a.server.Addr() }

// Handler returns the API itself once it is started, for tests that speak to it without a connection.
func (a *App) Handler() http.Handler { return a.api }

// fail passes the first fatal error on; it does not block.
func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
}
