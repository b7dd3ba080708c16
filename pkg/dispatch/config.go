package dispatch

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"go.opentelemetry.io/otel/trace"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/keyring"
	"doorcode/pkg/provider"
	"doorcode/pkg/seal"
	"doorcode/pkg/tracing"
)

// Source hands out up to that many sends, each as it comes and within wait. What
// has begun runs to its end; what comes with an error is handled too.
type Source interface {
	Hand(ctx context.Context, limit int, wait time.Duration, take func(*bus.Delivery)) error
}

// Publisher stores events and dead letters, once per id.
type Publisher interface {
	Publish(ctx context.Context, m bus.Message) (bus.Ack, error)
}

// Asker puts one question to whoever answers a subject.
type Asker interface {
	Request(ctx context.Context, subject string, data []byte) ([]byte, error)
}

// Config is what an engine is made of. Everything is required but Destination,
// Random, Schedule and Tracer.
type Config struct {
	Channel   delivery.Channel
	Provider  provider.Provider
	Source    Source
	Publisher Publisher
	// Verifier is asked before a repeat and before a notice, whether it should
	// still be sent.
	Verifier Asker
	// Tracer makes a span of each attempt; nil traces nothing.
	Tracer trace.Tracer
	// Ring opens the envelopes of the channel.
	Ring *keyring.Ring
	// Render writes the message, of a notice of that kind or, when it is empty,
	// of a code; the engine adds reference, recipient and deadline. An error
	// means that the content is not auth's.
	Render func(notice string, c seal.Content) (provider.Message, error)
	// Destination names the country or the mailbox provider of a recipient, in
	// words of a closed list that say no more than many others share; nil names
	// none.
	Destination func(recipient string) string
	Clock       func() time.Time
	// Random returns a number from 0 up to 1 for jitter; nil draws it from the
	// system. It must be safe for concurrent use.
	Random  func() float64
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Workers is how many sends are worked on at the same time.
	Workers int
	// AckWait is the consumer's: after it the broker hands a send over again.
	AckWait time.Duration
	// Schedule is the wait after the first, second, … hand-over without
	// success, before jitter; the broker delivers once more than it is long.
	// Nil is DefaultSchedule.
	Schedule []time.Duration
}

// DefaultSchedule spreads six hand-overs over some 80 s, well inside the life
// of a code (nats-postgres.md 3).
func DefaultSchedule() []time.Duration {
	return []time.Duration{time.Second, 3 * time.Second, 8 * time.Second, 20 * time.Second, 45 * time.Second}
}

// validate names the first thing that is missing.
func (c Config) validate() error {
	switch {
	case c.Channel == "":
		return errors.New("dispatch: the channel is missing")
	case c.Provider == nil:
		return errors.New("dispatch: the provider is missing")
	case c.Source == nil:
		return errors.New("dispatch: the source is missing")
	case c.Publisher == nil:
		return errors.New("dispatch: the publisher is missing")
	case c.Verifier == nil:
		return errors.New("dispatch: the verifier is missing")
	case c.Ring == nil:
		return errors.New("dispatch: the key ring is missing")
	case c.Render == nil:
		return errors.New("dispatch: the render function is missing")
	case c.Clock == nil:
		return errors.New("dispatch: the clock is missing")
	case c.Log == nil:
		return errors.New("dispatch: the logger is missing")
	case c.Metrics == nil:
		return errors.New("dispatch: the metrics registry is missing")
	case c.Workers < 1:
		return errors.New("dispatch: at least one worker is needed")
	case c.AckWait < time.Second:
		return errors.New("dispatch: the time for an ack is less than a second")
	}
	return nil
}

// withDefaults fills in what may be left out.
func (c Config) withDefaults() Config {
	if c.Random == nil {
		c.Random = random
	}
	if c.Destination == nil {
		c.Destination = func(string) string { return "" }
	}
	if c.Tracer == nil {
		c.Tracer = tracing.Of(nil)
	}
	if c.Schedule == nil {
		c.Schedule = DefaultSchedule()
	}
	return c
}

// random draws a number from 0 up to 1.
func random() float64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return float64(binary.BigEndian.Uint64(b[:])>>11) / (1 << 53)
}
