// Package recorder copies challenges, deliveries and receipts from the bus into Postgres, in batches, and acknowledges them after
// the commit (DESIGN 3.3, nats-postgres.md 4). It may be hours behind: nobody waits for it.
//
// Order and repetition do not matter, for an event's id and time follow from its cause. It never gives up on an event;
// what nobody can understand leaves through the dead letters.
package recorder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/postgres"
)

// Figures of the fetch loop (nats-postgres.md 13).
const (
	batchSize   = 256
	fetchWait   = 200 * time.Millisecond
	handleLimit = 15 * time.Second // less than the consumer's AckWait
	backOff     = time.Second
)

// DeadLetters is the subject of what the recorder cannot understand.
const DeadLetters = "doorcode.dlq.recorder"

// source hands out messages.
type source interface {
	Hand(ctx context.Context, limit int, wait time.Duration, take func(*bus.Delivery)) error
}

// store writes batches.
type store interface {
	Record(ctx context.Context, b postgres.Batch) error
}

// arrivals hears of challenges that are at hand and not recorded yet, and of those with which the recorder is done.
type arrivals interface {
	Came(issued postgres.Issued)
	Gone(challenges ...string)
}

// publisher takes dead letters.
type publisher interface {
	Publish(ctx context.Context, m bus.Message) (bus.Ack, error)
}

// Config is what a Recorder works with; every part is required.
type Config struct {
	Source    source
	Store     store
	Publisher publisher
	// Arrivals hears of each challenge as it comes, for who cannot wait until the batch is recorded.
	Arrivals arrivals
	// Number is that of DOORCODE_CHALLENGES, kept beside each challenge.
	Number uint16
	Clock  func() time.Time
	Log    *slog.Logger
	// Recorded is told after each commit how many events it held and how old the youngest was; after an empty fetch
	// it is told zero of both.
	Recorded func(events int, lag time.Duration)
	// Changed is told after each commit which challenges it was about.
	Changed func(challenges ...string)
	// Dead is told of each dead letter.
	Dead func()
}

// Recorder is the fetch loop of one consumer.
type Recorder struct {
	cfg Config
}

// New returns a recorder, or an error when a part is missing.
func New(cfg Config) (*Recorder, error) {
	if cfg.Source == nil || cfg.Store == nil || cfg.Publisher == nil || cfg.Arrivals == nil || cfg.Clock == nil || cfg.Log == nil ||
		cfg.Recorded == nil || cfg.Changed == nil || cfg.Dead == nil {
		return nil, errors.New("recorder: a part of the configuration is missing")
	}
	return &Recorder{cfg: cfg}, nil
}

// Run records until ctx ends, and then finishes the batch at hand.
func (r *Recorder) Run(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.once(ctx)
		if err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("recorder backs off", "error", err)
			pause(ctx, backOff)
		}
	}
}

// haul is the messages of one batch.
type haul struct {
	whole    []*bus.Delivery
	rows     []postgres.Batch // what becomes of the whole ones
	broken   []*bus.Delivery
	problems []error // of the broken ones
}

// once fetches one batch and records it. What was fetched is finished also when ctx ends meanwhile.
func (r *Recorder) once(ctx context.Context) error {
	var f haul
	fetchErr := r.cfg.Source.Hand(ctx, batchSize, fetchWait, func(d *bus.Delivery) { r.take(&f, d) })
	if len(f.whole)+len(f.broken) == 0 {
		if fetchErr == nil {
			r.cfg.Recorded(0, 0)
		}
		return fetchErr
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handleLimit)
	defer cancel()
	return errors.Join(fetchErr, r.handle(ctx, f))
}

// take reads a message as it comes, and tells of the challenge in it.
func (r *Recorder) take(f *haul, d *bus.Delivery) {
	row, err := r.read(d)
	if err != nil {
		f.broken, f.problems = append(f.broken, d), append(f.problems, err)
		return
	}
	f.whole, f.rows = append(f.whole, d), append(f.rows, row)
	for _, c := range row.Challenges {
		r.cfg.Arrivals.Came(c)
	}
}

// handle records what is whole, in one transaction, and sends the rest to the dead letters.
func (r *Recorder) handle(ctx context.Context, f haul) error {
	faultpoint.Hit("recorder.fetched")
	all := join(f.rows)
	defer r.gone(all)
	var problems []error
	for i, d := range f.broken {
		problems = append(problems, r.bury(ctx, d, f.problems[i].Error()))
	}
	err := r.record(ctx, all)
	if postgres.IsRejected(err) {
		return errors.Join(append(problems, r.oneByOne(ctx, f.whole, f.rows))...)
	}
	if err != nil {
		return errors.Join(append(problems, err, giveBack(f.whole))...)
	}
	return errors.Join(append(problems, r.done(f.whole))...)
}

// gone tells that challenges are no longer at hand.
func (r *Recorder) gone(b postgres.Batch) {
	ids := make([]string, len(b.Challenges))
	for i, c := range b.Challenges {
		ids[i] = c.Event.Challenge
	}
	r.cfg.Arrivals.Gone(ids...)
}

// record commits a batch and then tells which challenges it was about.
func (r *Recorder) record(ctx context.Context, b postgres.Batch) error {
	err := r.cfg.Store.Record(ctx, b)
	if err != nil {
		return err
	}
	faultpoint.Hit("recorder.committed")
	var ids []string
	for _, a := range b.Audit {
		if a.Challenge != "" {
			ids = append(ids, a.Challenge)
		}
	}
	if len(ids) > 0 {
		r.cfg.Changed(ids...)
	}
	return nil
}

// oneByOne replays a batch that Postgres refused, to find the culprit.
func (r *Recorder) oneByOne(ctx context.Context, whole []*bus.Delivery, rows []postgres.Batch) error {
	var problems []error
	for i, d := range whole {
		err := r.record(ctx, rows[i])
		switch {
		case postgres.IsRejected(err):
			problems = append(problems, r.bury(ctx, d, "the database refuses its content"))
		case err != nil:
			problems = append(problems, err, giveBack([]*bus.Delivery{d}))
		default:
			problems = append(problems, r.done([]*bus.Delivery{d}))
		}
	}
	return errors.Join(problems...)
}

// done acknowledges what was committed. The plain ack is enough: one that gets lost brings the event again, which
// changes nothing.
func (r *Recorder) done(deliveries []*bus.Delivery) error {
	if len(deliveries) == 0 {
		return nil
	}
	youngest := deliveries[0].Stored
	var problems []error
	for _, d := range deliveries {
		problems = append(problems, d.Ack())
		if d.Stored.After(youngest) {
			youngest = d.Stored
		}
	}
	r.cfg.Recorded(len(deliveries), max(0, r.cfg.Clock().Sub(youngest)))
	return errors.Join(problems...)
}

// bury publishes a message to the dead letters as it came, with its subject and the reason beside it, and ends its
// deliveries. When that fails it comes again.
func (r *Recorder) bury(ctx context.Context, d *bus.Delivery, reason string) error {
	header := map[string]string{}
	maps.Copy(header, d.Header)
	header["doorcode-subject"] = d.Subject
	header["doorcode-reason"] = reason
	_, err := r.cfg.Publisher.Publish(ctx, bus.Message{
		Subject: DeadLetters, ID: fmt.Sprintf("recorder.%s.%d", d.Stream, d.Sequence), Header: header, Data: d.Data,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("bury a message: %w", err), giveBack([]*bus.Delivery{d}))
	}
	r.cfg.Dead()
	r.cfg.Log.Error("event moved to the dead letters", "stream", d.Stream, "sequence", d.Sequence, "reason", reason)
	return d.Term(reason)
}

// giveBack returns messages to be delivered again a little later.
func giveBack(deliveries []*bus.Delivery) error {
	var problems []error
	for _, d := range deliveries {
		problems = append(problems, d.Nak(backOff))
	}
	return errors.Join(problems...)
}

// join makes one batch of many.
func join(rows []postgres.Batch) postgres.Batch {
	var all postgres.Batch
	for _, b := range rows {
		all.Challenges = append(all.Challenges, b.Challenges...)
		all.Audit = append(all.Audit, b.Audit...)
		all.Handed = append(all.Handed, b.Handed...)
	}
	return all
}

// pause waits for d, or less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// read turns a message into the rows it becomes; an event that leaves none is whole too.
func (r *Recorder) read(d *bus.Delivery) (postgres.Batch, error) {
	return rowsOf(d.Message, postgres.Issued{Stream: r.cfg.Number, Sequence: d.Sequence})
}

// ofDelivery reports whether a type tells what became of a send.
func ofDelivery(t event.Type) bool {
	return t == event.DeliveryAttempted || t == event.DeliveryPostponed || t == event.DeliveryAbandoned
}
