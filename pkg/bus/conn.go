// Package bus is the only place that speaks NATS. It publishes events to JetStream and reads them back, asks and
// answers requests, fetches from durable consumers, and describes and applies the streams.
//
// It knows messages with a subject, an id and headers; what they mean is the business of package event. It promises
// that a publish which failed to its caller never leaves later, that a fetch takes exactly as many messages as it was
// asked for, and that an answer is only ever sent to an inbox. Settings follow nats-postgres.md (3, 7, 9, 13) and
// section 4 of the design. It makes no stream but through Apply, and Apply refuses what would lose events.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrUnavailable says that the bus, or whoever should have answered, could not be asked: nothing is known about the
// fate of the request. The caller answers 503 or tries again with the same id.
var ErrUnavailable = errors.New("bus unavailable")

// apiPrefix is the name under which accounts import the API of JetStream: see deploy/nats/nats.conf.
const apiPrefix = "doorcode.jetstream"

const (
	dialTimeout    = 2 * time.Second
	dialPause      = 100 * time.Millisecond
	reconnectWait  = 250 * time.Millisecond
	pingInterval   = 20 * time.Second
	drainTimeout   = 10 * time.Second
	readyTimeout   = 2 * time.Second
	defaultTimeout = 10 * time.Second
)

// Config says how to reach the bus and as whom.
type Config struct {
	// URL is the server's address, `nats://host:port`, or `tls://host:port` for one whose certificate the system trusts.
	URL string
	// CAFile names a file with the authorities, in PEM, that may vouch for the server. With it nothing but TLS 1.3 is
	// spoken, from the first byte, and only to a server that proves the host name of URL. Empty leaves it to URL.
	CAFile string
	// Name is the user's name in nats.conf; the inbox prefix follows from it.
	Name string
	// KeyFile names the file with the user's nkey seed.
	KeyFile string
	// Log gets connection changes and, without Fatal, what is fatal. Nil discards.
	Log *slog.Logger
	// Fatal is told what no retry can mend: a refused permission (which its caller would see as a time-out only),
	// or a connection that was closed for good. It may be called more than once and must not block.
	Fatal func(error)
}

// Conn is one connection of one user. It reconnects for ever; while it is down every call fails at once.
type Conn struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	log    *slog.Logger
	fatal  func(error)
	closed chan struct{}
	once   sync.Once
	ending atomic.Bool
}

// Connect opens a connection. A server that is not there yet is waited for until ctx ends; a key that the server
// refuses, a server that cannot prove itself, or a file that does not hold what it should, is an error at once.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	if cfg.URL == "" || cfg.Name == "" || cfg.KeyFile == "" {
		return nil, errors.New("connect to the bus: address, user name and key file are required")
	}
	key, err := nats.NkeyOptionFromSeed(cfg.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the bus key of %s: %w", cfg.Name, err)
	}
	c := &Conn{log: cfg.Log, fatal: cfg.Fatal, closed: make(chan struct{})}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	secure, err := transport(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus as %s: %w", cfg.Name, err)
	}
	options := append(c.options(cfg.Name), append(secure, key)...)
	for {
		// Not RetryOnFailedConnect: it would retry a refused key for ever as if the server were away.
		c.nc, err = nats.Connect(cfg.URL, options...)
		if err == nil {
			break
		}
		if isRefused(err) {
			return nil, fmt.Errorf("connect to the bus as %s: the server refuses the key: %w", cfg.Name, err)
		}
		if isUntrusted(err) {
			return nil, fmt.Errorf("connect to the bus as %s: the server cannot be trusted: %w", cfg.Name, err)
		}
		if pause(ctx, dialPause) != nil {
			return nil, fmt.Errorf("connect to the bus as %s: %w: %w", cfg.Name, ErrUnavailable, err)
		}
	}
	c.js, err = jetstream.NewWithAPIPrefix(c.nc, apiPrefix, jetstream.WithPublishAsyncTimeout(publishTimeout))
	if err != nil {
		c.nc.Close()
		return nil, fmt.Errorf("open jetstream as %s: %w", cfg.Name, err)
	}
	return c, nil
}

// options are those of nats-postgres.md 9. ReconnectBufSize(-1) keeps nothing back while the connection is down: a
// publish then fails to its caller and cannot leave after the reconnect.
func (c *Conn) options(name string) []nats.Option {
	return []nats.Option{
		nats.Name(name),
		nats.CustomInboxPrefix("_INBOX_" + underscored(name)),
		nats.Timeout(dialTimeout),
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.PingInterval(pingInterval),
		nats.DrainTimeout(drainTimeout),
		nats.ErrorHandler(c.onError),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if !c.ending.Load() {
				c.log.Warn("bus disconnected", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { c.log.Info("bus reconnected") }),
		nats.ClosedHandler(c.onClosed),
	}
}

// onError hears what no call returns. A refused publish is among it: the server does not answer one, so that its
// caller sees a time-out.
func (c *Conn) onError(_ *nats.Conn, sub *nats.Subscription, err error) {
	if isForgotten(err) {
		c.log.Warn("answer not allowed any more", "error", err)
		return
	}
	if errors.Is(err, nats.ErrPermissionViolation) {
		c.fail(fmt.Errorf("the bus refuses a permission: %w", err))
		return
	}
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	c.log.Warn("bus error", "error", err, "subject", subject)
}

// isForgotten tells a refused answer from every other refused permission. The right to answer a request is the
// connection's, and ends with it and after fifteen seconds (`allow_responses`): who answers a request from before a
// restart of the server, or after having been stopped for a while, is refused. The one that asked does not wait any
// more, and nothing is wrong with our rights. Only answers go to inboxes (isInbox).
func isForgotten(err error) bool {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return false
	}
	_, quoted, found := strings.Cut(err.Error(), `Publish to "`)
	return found && isInbox(quoted)
}

func (c *Conn) onClosed(nc *nats.Conn) {
	defer c.once.Do(func() { close(c.closed) })
	if !c.ending.Load() {
		c.fail(fmt.Errorf("the bus connection is closed for good: %w", errors.Join(nats.ErrConnectionClosed, nc.LastError())))
	}
}

func (c *Conn) fail(err error) {
	if c.fatal == nil {
		c.log.Error("bus failed", "error", err)
		return
	}
	c.fatal(err)
}

// Ready returns nil when the server answers a ping within two seconds.
func (c *Conn) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	err := c.flush(ctx)
	if err != nil {
		return fmt.Errorf("ping the bus: %w: %w", ErrUnavailable, err)
	}
	return nil
}

// Connected returns ErrUnavailable while there is no connection, without asking the server: a publish would fail now,
// and it is known that nothing of it would ever leave.
func (c *Conn) Connected() error {
	if !c.nc.IsConnected() {
		return fmt.Errorf("%w: not connected", ErrUnavailable)
	}
	return nil
}

// flush waits until the server has taken all that was sent so far. ctx must have a deadline.
func (c *Conn) flush(ctx context.Context) error {
	if !c.nc.IsConnected() {
		return nats.ErrConnectionReconnecting
	}
	return c.nc.FlushWithContext(ctx)
}

// Drain ends the connection in order: subscriptions take no more, what is waiting is handled, what was published is
// flushed. When ctx ends first the connection is closed as it is. Services are stopped before.
func (c *Conn) Drain(ctx context.Context) error {
	c.ending.Store(true)
	err := c.nc.Drain()
	if err != nil {
		// It is down or closed already: there is nothing to drain.
		c.nc.Close()
	}
	select {
	case <-c.closed:
		return nil
	case <-ctx.Done():
		c.nc.Close()
		<-c.closed
		return fmt.Errorf("drain the bus connection: %w", ctx.Err())
	}
}

// isRefused tells a server that says no from one that is not there.
func isRefused(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired) ||
		errors.Is(err, nats.ErrNkeysNotSupported) || errors.Is(err, nats.ErrSecureConnRequired)
}

// pause waits for d and returns the context's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
