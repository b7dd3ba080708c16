// Package notice tells people what happened to their logins: it hears of it as an event of the directory, and orders one
// message to every proven address of the login, sealed as a code is (DESIGN 7).
//
// It promises that an event which comes again, or to two replicas at once, orders nothing twice: the id of a notice
// follows from the event and the recipient. Nothing is sent on the word of a row that auth did not write (SEC-09), nothing
// is told of a lock that the login is not under any more, and nothing is ordered later than a day after it happened. It
// asks for no limits and spends none.
package notice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/account"
	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
)

const (
	batchSize = 32
	fetchWait = 500 * time.Millisecond
	// handleLimit bounds the work on a batch and is less than the consumer's AckWait.
	handleLimit = 20 * time.Second
	// backOff is the pause after a failure, and how long a given-back event stays away.
	backOff = time.Second
	// ahead is how far the clock of the database may be ahead of this one. What is said to happen later is invented.
	ahead = time.Minute
	// kind is what people are told of, the one thing that the consumer hands out.
	kind = event.NoticeLoginLocked
)

// An order may wait for event.NoticeLife, as while the bus or the dispatchers are away; once a dispatcher has taken it,
// the sending tries for as long as that of a code, which is some 80 s.

// DeadLetters is where events go that cannot be understood.
const DeadLetters = "doorcode.dlq.notices"

// Source hands out the locks among the events of the directory.
type Source interface {
	Fetch(ctx context.Context, limit int, wait time.Duration) ([]*bus.Delivery, error)
}

// Publisher stores notices and dead letters, once per id.
type Publisher interface {
	Publish(ctx context.Context, m bus.Message) (bus.Ack, error)
}

// Directory knows where a person can be told something.
type Directory interface {
	Addressee(ctx context.Context, workspace, login string) (postgres.Addressee, error)
}

// Config is what a Teller works with; every part is required.
type Config struct {
	// Open finds the source. It is asked again while it fails: that a source is missing, as it is until the streams of an
	// older installation are applied, costs notices their time and must not cost sign-ins.
	Open      func(ctx context.Context) (Source, error)
	Publisher Publisher
	Directory Directory
	// Address names recipients; Channels seals for the dispatcher of each channel.
	Address  *keyring.Ring
	Channels map[string]*keyring.Ring
	// MayText tells whether a text message may go to a login's phone, given the countries that are stopped for now.
	MayText func(l account.Login, stopped []string) bool
	// Alarm is told of a table whose row is not as auth wrote it.
	Alarm   func(ctx context.Context, table string)
	Clock   func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Teller hears of changes and orders notices. It runs once.
type Teller struct {
	cfg     Config
	metrics *metrics
}

// New returns a teller and registers its metrics.
func New(cfg Config) (*Teller, error) {
	if cfg.Open == nil || cfg.Publisher == nil || cfg.Directory == nil || cfg.Address == nil || cfg.Channels == nil ||
		cfg.MayText == nil || cfg.Alarm == nil || cfg.Clock == nil || cfg.Log == nil || cfg.Metrics == nil {
		return nil, errors.New("notice: a part of the configuration is missing")
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	return &Teller{cfg: cfg, metrics: m}, nil
}

// Run tells until ctx ends; what it has fetched by then it finishes.
func (t *Teller) Run(ctx context.Context) {
	var source Source
	for ctx.Err() == nil {
		var err error
		asked := askedConsumer
		if source == nil {
			var opened Source
			opened, err = t.cfg.Open(ctx)
			if err == nil { // With an error it may be a nil that is not nil.
				source = opened
			}
		}
		if err == nil {
			asked, err = t.once(ctx, source)
		}
		if err != nil && ctx.Err() == nil {
			t.metrics.backOff.WithLabelValues(asked).Inc()
			t.cfg.Log.WarnContext(ctx, "notices back off", "asked", asked, "error", err)
			pause(ctx, backOff)
		}
	}
}

// once fetches some events and works on each. With an error it says what could not be asked.
func (t *Teller) once(ctx context.Context, source Source) (string, error) {
	handed, err := source.Fetch(ctx, batchSize, fetchWait)
	if err != nil && len(handed) == 0 {
		return askedConsumer, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handleLimit)
	defer cancel()
	problems := []error{err}
	for _, d := range handed {
		problems = append(problems, t.handle(ctx, d))
	}
	return askedRest, errors.Join(problems...)
}

// handle works on one event. It is acknowledged when everything that it causes is stored, and given back when something
// could not be asked.
func (t *Teller) handle(ctx context.Context, d *bus.Delivery) error {
	c, err := t.read(d.Message)
	if err != nil {
		return t.bury(ctx, d, err)
	}
	err = t.tell(ctx, c)
	if err != nil {
		return errors.Join(fmt.Errorf("tell of %s: %w", kind, err), d.Nak(backOff))
	}
	faultpoint.Hit("notice.ordered")
	return d.Ack()
}

// cause is an event that people are told of.
type cause struct {
	event.Event
	event.Directory
}

// read finds out what an event is about, or fails with event.ErrMalformed for what belongs to the dead letters: no
// consumer trusts a subject or a producer.
func (t *Teller) read(m bus.Message) (cause, error) {
	e, err := event.Parse(m.Subject, m.Header, m.Data)
	if err != nil {
		return cause{}, err
	}
	c := cause{Event: e}
	err = e.Decode(&c.Directory)
	if err != nil {
		return cause{}, err
	}
	switch {
	case e.Type != event.LoginLocked:
		return cause{}, fmt.Errorf("%w: nobody is told of this", event.ErrMalformed)
	case account.ValidateID(c.Workspace) != nil || account.ValidateID(c.Login) != nil || c.Subject != c.Workspace:
		return cause{}, fmt.Errorf("%w: workspace or login", event.ErrMalformed)
	case len(e.ID) > maxCause:
		return cause{}, fmt.Errorf("%w: id", event.ErrMalformed)
	case c.Time.After(t.cfg.Clock().Add(ahead)):
		return cause{}, fmt.Errorf("%w: time", event.ErrMalformed)
	}
	return c, nil
}

// maxCause bounds the id of an event in bytes, as the schema does.
const maxCause = 256

// tell orders the notices of a cause.
func (t *Teller) tell(ctx context.Context, c cause) error {
	if !t.cfg.Clock().Before(c.Time.Add(event.NoticeLife)) {
		return t.end(ctx, c, resultTooLate)
	}
	a, err := t.cfg.Directory.Addressee(ctx, c.Workspace, c.Login)
	if errors.Is(err, postgres.ErrNoWorkspace) || errors.Is(err, postgres.ErrNoLogin) {
		return t.end(ctx, c, resultRemoved)
	}
	if err != nil {
		return err
	}
	// Support may have unlocked it meanwhile, and whoever invents a lock names no moment at which one began.
	if !a.LockedAt.Equal(c.Time) {
		return t.end(ctx, c, resultEnded)
	}
	for _, table := range a.Broken {
		t.cfg.Alarm(ctx, table)
	}
	routes := account.Addresses(a.Workspace, a.Login, t.cfg.MayText(a.Login, a.StoppedCountries))
	if len(routes) == 0 {
		return t.end(ctx, c, resultNoAddress)
	}
	var problems []error
	for _, r := range routes { // One that fails keeps no other from being told.
		problems = append(problems, t.order(ctx, c, a, r))
	}
	return errors.Join(problems...)
}

// end says that nothing is told, which is no error.
func (t *Teller) end(ctx context.Context, c cause, result string) error {
	t.metrics.count(result)
	t.cfg.Log.InfoContext(ctx, "nobody is told", "notice", kind, "reason", result, "workspace", c.Workspace, "login", c.Login)
	return nil
}

// order publishes one notice.
func (t *Teller) order(ctx context.Context, c cause, a postgres.Addressee, r account.Route) error {
	e, p, err := t.draft(c, a, r)
	if err != nil {
		return err
	}
	subject, err := event.SubjectOf(e.Type, r.Channel)
	if err != nil {
		return err
	}
	ack, err := t.cfg.Publisher.Publish(ctx, bus.Message{Subject: subject, ID: e.ID, Header: e.Header(), Data: e.Data})
	if err != nil {
		return err
	}
	result := resultRequested
	if ack.Duplicate {
		result = resultRepeated
	}
	t.metrics.count(result)
	t.cfg.Log.InfoContext(ctx, "notice requested", "notice", kind, "challenge", p.Notice, "channel", p.Channel,
		"workspace", c.Workspace, "login", c.Login, "repeated", ack.Duplicate)
	return nil
}

// bury keeps an event that cannot be understood as a dead letter.
func (t *Teller) bury(ctx context.Context, d *bus.Delivery, reason error) error {
	header := map[string]string{}
	maps.Copy(header, d.Header)
	header["doorcode-subject"], header["doorcode-reason"] = d.Subject, reason.Error()
	_, err := t.cfg.Publisher.Publish(ctx, bus.Message{
		Subject: DeadLetters, ID: fmt.Sprintf("notices.%s.%d", d.Stream, d.Sequence), Header: header, Data: d.Data,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("bury an event: %w", err), d.Nak(backOff))
	}
	t.metrics.dead.Inc()
	t.cfg.Log.ErrorContext(ctx, "event moved to the dead letters", "stream", d.Stream, "sequence", d.Sequence, "reason", reason)
	return d.Term("not understood")
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
