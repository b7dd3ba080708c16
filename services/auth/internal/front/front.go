// Package front holds the use cases of the front door: create, check, read, repeat and cancel a challenge, and keep the
// directory. They know no HTTP request and no NATS message, so that every front door with the same JSON calls the same
// functions; a refusal that a caller may see is a *problem.Problem.
//
// auth judges no code. It draws them, seals them, publishes the challenge and asks the verifier for everything else.
// Whatever cannot be asked is a 503 and nothing is skipped (P7).
package front

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/assertion"
	"doorcode/pkg/bus"
	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
	"doorcode/pkg/limit"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/pkg/telemetry"
	"doorcode/services/auth/internal/decide"
	"doorcode/services/auth/internal/watch"
)

// Keys are the rings that auth holds.
type Keys struct {
	// Tag and Digest hide a code: no other process has both, and the database has neither (DESIGN 6).
	Tag, Digest *keyring.Ring
	// Handle makes handles that nobody can guess; Address hashes recipients and client addresses.
	Handle, Address *keyring.Ring
	// APIKey verifies the keys of front-ends; Idempotency names requests and remembers what they said.
	APIKey, Idempotency *keyring.Ring
	// Assertion verifies what the verifier says about own challenges.
	Assertion *assertion.Public
	// Channels holds the ring of each channel by its name.
	Channels map[string]*keyring.Ring
}

// Settings are the figures of the front door.
type Settings struct {
	decide.Settings
	CodeDigits       int // 6 to 10 (NIST SP 800-63B-4 §3.1.3.2)
	LivePerLogin     int // challenges of a login that are open at once
	CreatesPerClient int // per minute and client address
	CreatesPerSecond int // of this replica
	// VerifierTimeout bounds one try of a question to the verifier.
	VerifierTimeout time.Duration
	// StreamNumber is that of the challenge stream; it stands in every handle.
	StreamNumber uint16
	// PublicURL is the origin of the hosted pages; empty: there are none.
	PublicURL string
}

// Config lists what a Front works with; nothing in it may be nil.
type Config struct {
	Database  *postgres.DB
	Directory *postgres.Directory
	Bus       *bus.Conn
	Watches   *watch.Hub // of the challenges that are followed
	Keys      Keys
	Settings  Settings
	Clock     func() time.Time // for the local limit and the life of assertions
	Telemetry telemetry.Telemetry
}

// Front carries out the use cases. It is safe for concurrent use.
type Front struct {
	db        *postgres.DB
	directory *postgres.Directory
	bus       *bus.Conn
	watches   *watch.Hub
	keys      Keys
	settings  Settings
	bucket    *limit.Bucket
	clock     func() time.Time
	log       *slog.Logger
	creates   *prometheus.CounterVec
	broken    *prometheus.CounterVec
	reached   *prometheus.CounterVec
	stopped   prometheus.Gauge
}

// Call is who asks and how, beside the body.
type Call struct {
	Key frontend.Key
	// Page is the front-end on whose behalf a hosted page asks, which the page's session has proved; the key is empty
	// then. No front door fills it in from a request.
	Page string
	// ReturnURL is where that page leads back to; the front-end must still want people back there.
	ReturnURL      string
	IdempotencyKey string // empty: one is drawn
	Traceparent    string // W3C trace context; anything else is dropped
	// Match holds the ETags of an If-Match header.
	Match []string
}

// New returns a Front and registers its metrics.
func New(cfg Config) (*Front, error) {
	f := &Front{
		db: cfg.Database, directory: cfg.Directory, bus: cfg.Bus, watches: cfg.Watches, keys: cfg.Keys, settings: cfg.Settings,
		bucket: limit.NewBucket(cfg.Settings.CreatesPerSecond, cfg.Clock), clock: cfg.Clock, log: cfg.Telemetry.Log,
		creates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorcode_creates_total", Help: "Creates by what they were answered.",
		}, []string{"answer"}),
		broken: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorcode_directory_mac_failures_total",
			Help: "Rows of the directory that were not as auth wrote them.",
		}, []string{"table"}),
		reached: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorcode_limits_reached_total", Help: "Codes that were not sent because a limit had no room, by the limit.",
		}, []string{"limit"}),
		stopped: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "doorcode_sms_countries_stopped", Help: "Countries to whose numbers nothing is sent for now, as the last create saw it.",
		}),
	}
	for _, d := range limit.Dimensions() {
		f.reached.WithLabelValues(string(d))
	}
	for _, answer := range createAnswers() {
		f.creates.WithLabelValues(answer)
	}
	for _, table := range postgres.GuardedTables() {
		f.broken.WithLabelValues(table)
	}
	streams := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "doorcode_event_streams", Help: "Challenges that are followed by an event stream at the moment.",
	}, func() float64 { return float64(cfg.Watches.Count()) })
	err := telemetry.Register(cfg.Telemetry.Registry, f.creates, f.broken, f.reached, f.stopped, streams)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// authenticate returns the front-end whose key the call carries.
func (f *Front) authenticate(ctx context.Context, call Call) (frontend.FrontEnd, error) {
	id := call.Key.ID
	if call.Page != "" {
		id = call.Page
	}
	fe, err := f.directory.FrontEnd(ctx, id)
	if errors.Is(err, postgres.ErrNoFrontEnd) {
		return frontend.FrontEnd{}, Unauthenticated()
	}
	if err != nil {
		return frontend.FrontEnd{}, f.translate(ctx, err)
	}
	// A page acts for the front-end as long as that wants people back at the page's address: an origin may be withdrawn.
	if call.Page == "" && !fe.Holds(f.keys.APIKey, call.Key) || call.Page != "" && !fe.Returns(call.ReturnURL) {
		return frontend.FrontEnd{}, Unauthenticated()
	}
	return fe, nil
}

// translate turns an error of the database into what the caller may see, and raises the alarm about a row that was
// changed by others.
func (f *Front) translate(ctx context.Context, err error) error {
	var broken *postgres.IntegrityError
	switch {
	case errors.As(err, &broken):
		return f.alarm(ctx, broken.Table)
	case errors.Is(err, postgres.ErrNoWorkspace):
		return decide.UnknownWorkspace()
	case errors.Is(err, postgres.ErrNoLogin):
		return decide.UnknownLogin()
	case errors.Is(err, postgres.ErrChanged):
		return problem.New(http.StatusPreconditionFailed, CodeChanged, "It was changed since it was read.")
	case postgres.IsUnavailable(err):
		f.log.WarnContext(ctx, "database unavailable", "error", err.Error())
		return Unavailable()
	}
	return err
}

// Alarm counts and logs a row that is not as auth wrote it (SEC-09). Nothing is sent on its word.
func (f *Front) Alarm(ctx context.Context, table string) {
	f.broken.WithLabelValues(table).Inc()
	f.log.ErrorContext(ctx, "directory row is not as it was written", "table", table)
}

// alarm raises the alarm and returns what the caller may see of it.
func (f *Front) alarm(ctx context.Context, table string) error {
	f.Alarm(ctx, table)
	return problem.New(http.StatusServiceUnavailable, CodeDirectoryIntegrity,
		"A stored entry was not written by this system. Nothing was sent; the operator has to look at it.")
}
