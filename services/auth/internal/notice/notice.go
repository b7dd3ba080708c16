// Package notice tells people what happened: it hears of it as an event of the directory or as a right code, and orders one
// message to each address that its kind is told at, sealed as a code is (DESIGN 7). What people are told of is one table;
// see kinds. The two streams are worked on apart, so that many sign-ins hold up no lock.
//
// It promises that an event which comes again, or to two replicas at once, orders nothing twice: the id of a notice
// follows from the event and the recipient. Nothing is sent on the word of a row that auth did not write (SEC-09), nothing
// is told of what does not hold any more, such as a lock that the login is not under, and nothing is ordered later than a
// day after it happened, or an hour after a sign-in. It asks for no limits and spends none.
package notice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/account"
	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/services/auth/internal/ticket"
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
)

// An order may wait for event.NoticeLife, as while the bus or the dispatchers are away; once a dispatcher has taken it,
// the sending tries for as long as that of a code, which is some 80 s.

// DeadLetters is where events go that cannot be understood.
const DeadLetters = "doorcode.dlq.notices"

// Source hands out the events of one stream that people are told of.
type Source interface {
	Fetch(ctx context.Context, limit int, wait time.Duration) ([]*bus.Delivery, error)
}

// Opener finds a source. It is asked again while it fails: that a source is missing, as it is until the streams of an older
// installation are applied, costs its notices their time and must not cost sign-ins.
type Opener func(ctx context.Context) (Source, error)

// Publisher stores notices and dead letters, once per id.
type Publisher interface {
	Publish(ctx context.Context, m bus.Message) (bus.Ack, error)
}

// Directory knows where a person can be told something, and what there is to tell.
type Directory interface {
	Addressee(ctx context.Context, workspace, login string) (postgres.Addressee, error)
	Invitation(ctx context.Context, workspace, id string) (postgres.Invited, error)
	JoinRequest(ctx context.Context, workspace, id string) (account.JoinRequest, account.Workspace, error)
	Factor(ctx context.Context, workspace, id string) (postgres.FactorChange, error)
	Removal(ctx context.Context, workspace, id string) (postgres.Removal, error)
	UsedCode(ctx context.Context, workspace, challenge string) (postgres.UsedCode, error)
	RolloutNotice(ctx context.Context, workspace, id string) (postgres.RolloutNotice, error)
	OrderNotices(ctx context.Context, after string, perMinute int) (postgres.NoticePass, error)
}

// Config is what a Teller works with; every part is required.
type Config struct {
	// Changes are those of the directory, and Codes the right ones.
	Changes, Codes Opener
	Publisher      Publisher
	Directory      Directory
	// Address names recipients, and knows them by the hashes that auth made of them; Channels seals for the dispatcher of each channel.
	Address  *keyring.Ring
	Channels map[string]*keyring.Ring
	// MayText tells whether a text message may go to a login's phone, given the countries that are stopped for now.
	MayText func(l account.Login, stopped []string) bool
	// Link returns where a link is opened, or nothing when there are no hosted pages.
	Link func(l ticket.Link) string
	// PerMinute is how many notices of the roll-out are ordered within a minute, over all replicas: 1 to MaxPerMinute.
	PerMinute int
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
	table   map[event.Type]kind
}

// New returns a teller and registers its metrics.
func New(cfg Config) (*Teller, error) {
	if cfg.Changes == nil || cfg.Codes == nil || cfg.Publisher == nil || cfg.Directory == nil || cfg.Address == nil || cfg.Channels == nil ||
		cfg.MayText == nil || cfg.Link == nil || cfg.Alarm == nil || cfg.Clock == nil || cfg.Log == nil || cfg.Metrics == nil ||
		cfg.PerMinute < 1 || cfg.PerMinute > MaxPerMinute {
		return nil, errors.New("notice: a part of the configuration is missing")
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	t := &Teller{cfg: cfg, metrics: m}
	t.table = t.kinds()
	return t, nil
}

// Run tells until ctx ends; what it has fetched by then it finishes.
func (t *Teller) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, open := range []Opener{t.cfg.Changes, t.cfg.Codes} {
		running.Go(func() { t.listen(ctx, open) })
	}
	running.Go(func() { t.schedule(ctx) })
	running.Wait()
}

// listen tells of what comes from one source.
func (t *Teller) listen(ctx context.Context, open Opener) {
	var source Source
	for ctx.Err() == nil {
		var err error
		asked := askedConsumer
		if source == nil {
			var opened Source
			opened, err = open(ctx)
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
		return errors.Join(fmt.Errorf("tell of %s: %w", c.kind.name, err), d.Nak(backOff))
	}
	faultpoint.Hit("notice.ordered")
	return d.Ack()
}

// cause is an event that people are told of.
type cause struct {
	event.Event
	event.Directory
	kind kind
}

// read finds out what an event is about, or fails with event.ErrMalformed for what belongs to the dead letters: no
// consumer trusts a subject or a producer.
func (t *Teller) read(m bus.Message) (cause, error) {
	e, err := event.Parse(m.Subject, m.Header, m.Data)
	if err != nil {
		return cause{}, err
	}
	c := cause{Event: e}
	var known bool
	c.kind, known = t.table[e.Type]
	if !known {
		return cause{}, fmt.Errorf("%w: nobody is told of this", event.ErrMalformed)
	}
	subject, err := c.decode()
	if e.Type == event.RolloutOrdered && slices.Contains(event.RolloutNotices(), c.Kind) {
		c.kind.name = c.Kind // One event orders several kinds; one that only a newer auth knows is told to nobody.
	}
	switch {
	case err != nil:
		return cause{}, err
	case account.ValidateID(c.Workspace) != nil || account.ValidateID(c.Login) != nil || c.Subject != subject:
		return cause{}, fmt.Errorf("%w: workspace or login", event.ErrMalformed)
	case c.About != "" && account.ValidateID(c.About) != nil:
		return cause{}, fmt.Errorf("%w: what it is about", event.ErrMalformed)
	case len(e.ID) > maxCause:
		return cause{}, fmt.Errorf("%w: id", event.ErrMalformed)
	case c.Time.After(t.cfg.Clock().Add(ahead)):
		return cause{}, fmt.Errorf("%w: time", event.ErrMalformed)
	}
	return c, nil
}

// decode reads the data of a cause and returns what its subject has to be. A right code is about its challenge.
func (c *cause) decode() (subject string, err error) {
	if c.Type != event.ChallengeApproved {
		err = c.Event.Decode(&c.Directory)
		return c.Workspace, err
	}
	var o event.Outcome
	err = c.Event.Decode(&o)
	c.Workspace, c.Login, c.About = o.Workspace, o.Login, o.Challenge
	return o.Challenge, err
}

// maxCause bounds the id of an event in bytes, as the schema does.
const maxCause = 256

// tell orders the notices of a cause.
func (t *Teller) tell(ctx context.Context, c cause) error {
	if !t.cfg.Clock().Before(c.notAfter()) {
		return t.end(ctx, c, resultTooLate)
	}
	s, err := c.kind.tell(ctx, c)
	var reason nobody
	if errors.As(err, &reason) {
		return t.end(ctx, c, string(reason))
	}
	if err != nil {
		return err
	}
	routes := reachable(c.kind.name, s.to)
	if len(routes) == 0 {
		return t.end(ctx, c, resultNoAddress)
	}
	var problems []error
	for _, r := range routes { // One that fails keeps no other from being told.
		problems = append(problems, t.order(ctx, c, s, r))
	}
	return errors.Join(problems...)
}

// end says that nothing is told, which is no error. Of most sign-ins nobody is told, and no line is written about them.
func (t *Teller) end(ctx context.Context, c cause, result string) error {
	t.metrics.count(c.kind.name, result)
	if c.Type == event.ChallengeApproved && (result == resultNoGroup || result == resultTooLate) {
		return nil
	}
	t.cfg.Log.InfoContext(ctx, "nobody is told", "notice", c.kind.name, "reason", result, "workspace", c.Workspace, "login", c.Login)
	return nil
}

// order publishes one notice.
func (t *Teller) order(ctx context.Context, c cause, s story, r account.Route) error {
	e, p, err := t.draft(c, s, r)
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
	t.metrics.count(c.kind.name, result)
	t.cfg.Log.InfoContext(ctx, "notice requested", "notice", c.kind.name, "challenge", p.Notice, "channel", p.Channel,
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
