// Package notice tells people what happened to their logins: it hears of it as an event of the directory, and orders one
// message to every proven address of the login, sealed as a code is (DESIGN 7).
//
// It promises that an event which comes again, or to two replicas at once, orders nothing twice: the id of a notice
// follows from the event and the recipient. Nothing is sent on the word of a row that auth did not write (SEC-09), and
// nothing is told later than a day after it happened. It asks for no limits and spends none.
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
	// life is how long after its cause something may still be told: a notice is no code, and yesterday's lock is news
	// to whoever was asleep.
	life = 24 * time.Hour
)

// DeadLetters is where events go that cannot be understood.
const DeadLetters = "doorcode.dlq.notices"

// kinds says which changes of the directory people are told of, and as which notice. Whatever is not listed here is
// told to nobody.
func kinds() map[event.Type]string {
	return map[event.Type]string{
		event.LoginLocked: event.NoticeLoginLocked,
	}
}

// Source hands out the events of the directory.
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
	Source    Source
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
	if cfg.Source == nil || cfg.Publisher == nil || cfg.Directory == nil || cfg.Address == nil || cfg.Channels == nil ||
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
	for ctx.Err() == nil {
		err := t.once(ctx)
		if err != nil && ctx.Err() == nil {
			t.cfg.Log.WarnContext(ctx, "notices back off", "error", err)
			pause(ctx, backOff)
		}
	}
}

// once fetches some events and works on each.
func (t *Teller) once(ctx context.Context) error {
	handed, err := t.cfg.Source.Fetch(ctx, batchSize, fetchWait)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handleLimit)
	defer cancel()
	problems := []error{err}
	for _, d := range handed {
		problems = append(problems, t.handle(ctx, d))
	}
	return errors.Join(problems...)
}

// handle works on one event. It is acknowledged when everything that it causes is stored, and given back when something
// could not be asked.
func (t *Teller) handle(ctx context.Context, d *bus.Delivery) error {
	c, err := read(d.Message)
	switch {
	case errors.Is(err, errUntold):
		return d.Ack()
	case err != nil:
		return t.bury(ctx, d, err)
	}
	err = t.tell(ctx, c)
	if err != nil {
		return errors.Join(fmt.Errorf("tell of %s: %w", c.kind, err), d.Nak(backOff))
	}
	return d.Ack()
}

// errUntold says that people are not told of an event.
var errUntold = errors.New("nobody is told of this")

// cause is an event that people are told of.
type cause struct {
	event.Event
	event.Directory
	kind string
}

// read finds out what an event is about. It fails with errUntold, or with event.ErrMalformed for what belongs to the
// dead letters: no consumer trusts a subject or a producer.
func read(m bus.Message) (cause, error) {
	e, err := event.Parse(m.Subject, m.Header, m.Data)
	if err != nil {
		return cause{}, err
	}
	kind, told := kinds()[e.Type]
	if !told {
		return cause{}, errUntold
	}
	c := cause{Event: e, kind: kind}
	err = e.Decode(&c.Directory)
	if err != nil {
		return cause{}, err
	}
	if account.ValidateID(c.Workspace) != nil || account.ValidateID(c.Login) != nil || c.Subject != c.Workspace {
		return cause{}, fmt.Errorf("%w: workspace or login", event.ErrMalformed)
	}
	if len(e.ID) > maxCause {
		return cause{}, fmt.Errorf("%w: id", event.ErrMalformed)
	}
	return c, nil
}

// maxCause bounds the id of an event in bytes, as the schema does.
const maxCause = 256

// tell orders the notices of a cause.
func (t *Teller) tell(ctx context.Context, c cause) error {
	if !t.cfg.Clock().Before(c.Time.Add(life)) {
		return t.end(ctx, c, resultTooLate)
	}
	a, err := t.cfg.Directory.Addressee(ctx, c.Workspace, c.Login)
	if errors.Is(err, postgres.ErrNoWorkspace) || errors.Is(err, postgres.ErrNoLogin) {
		return t.end(ctx, c, resultRemoved)
	}
	if err != nil {
		return err
	}
	for _, table := range a.Broken {
		t.cfg.Alarm(ctx, table)
	}
	routes := account.Addresses(a.Workspace, a.Login, t.cfg.MayText(a.Login, a.StoppedCountries))
	if len(routes) == 0 {
		return t.end(ctx, c, resultNoAddress)
	}
	for _, r := range routes {
		err = t.order(ctx, c, a, r)
		if err != nil {
			return err
		}
	}
	return nil
}

// end says that nothing is told, which is no error.
func (t *Teller) end(ctx context.Context, c cause, result string) error {
	t.metrics.count(c.kind, result)
	t.cfg.Log.InfoContext(ctx, "nobody is told", "notice", c.kind, "reason", result, "workspace", c.Workspace, "login", c.Login)
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
	t.metrics.count(c.kind, result)
	t.cfg.Log.InfoContext(ctx, "notice requested", "notice", c.kind, "challenge", p.Notice, "channel", p.Channel,
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
