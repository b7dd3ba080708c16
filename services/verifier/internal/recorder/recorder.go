// Package recorder copies challenges, deliveries and receipts from the bus into Postgres, in batches, and acknowledges them after
// the commit (DESIGN 3.3, nats-postgres.md 4). It may be hours behind: nobody waits for it.
//
// Order and repetition do not matter, for an event's id and time follow from its cause. It never gives up on an event;
// what nobody can understand leaves through the dead letters.
package recorder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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

// source hands out messages, and knows which of them others have at hand.
type source interface {
	Standing(ctx context.Context) (bus.Standing, error)
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
	whole    []whole
	broken   []*bus.Delivery
	problems []error // of the broken ones
}

// whole is a message that was understood.
type whole struct {
	*bus.Delivery
	rows postgres.Batch // what becomes of it
	// early says that another replica has an older message at hand; see wait.
	early bool
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
	f.whole = append(f.whole, whole{Delivery: d, rows: row})
	for _, c := range row.Challenges {
		r.cfg.Arrivals.Came(c)
	}
}

// handle records what is whole, in one transaction, and sends the rest to the dead letters.
func (r *Recorder) handle(ctx context.Context, f haul) error {
	faultpoint.Hit("recorder.fetched")
	problems := []error{r.wait(ctx, f)}
	all := join(f.whole)
	defer r.gone(all)
	for i, d := range f.broken {
		problems = append(problems, r.bury(ctx, d, f.problems[i].Error()))
	}
	err := r.record(ctx, all)
	if postgres.IsRejected(err) {
		return errors.Join(append(problems, r.oneByOne(ctx, f.whole))...)
	}
	if err != nil {
		return errors.Join(append(problems, err, giveBack(f.whole...))...)
	}
	return errors.Join(append(problems, r.done(f.whole...))...)
}

// wait puts off the gaps below a hand-over while an older message is at hand elsewhere, or on its way back: it may tell
// of the very hand-over that is missing, as when a dispatcher gave a send back and another took it, and a row that says
// unknown would stay. Events of lower hand-overs are older in the stream, so nothing needs to be waited for but what was
// handed out before. What is put off is recorded at once but for its gaps, and comes again for them.
func (r *Recorder) wait(ctx context.Context, f haul) error {
	if len(join(f.whole).Handed) == 0 {
		return nil
	}
	at, err := r.cfg.Source.Standing(ctx)
	own := map[uint64]bool{}
	for _, w := range f.whole {
		own[w.Sequence] = true
	}
	for _, d := range f.broken {
		own[d.Sequence] = true
	}
	for err == nil && own[at.Floor+1] {
		at.Floor++
	}
	for i := range f.whole {
		w := &f.whole[i]
		if len(w.rows.Handed) > 0 && (err != nil || at.Open > len(own) && at.Floor+1 < w.Sequence) {
			w.rows.Handed, w.early = nil, true
		}
	}
	return err
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

// oneByOne replays a batch that Postgres refused, to find the culprit. It ends where Postgres cannot be asked, for what
// comes later must not be recorded before.
func (r *Recorder) oneByOne(ctx context.Context, all []whole) error {
	var problems []error
	slices.SortFunc(all, func(a, b whole) int { return cmp.Compare(a.Sequence, b.Sequence) })
	for i, w := range all {
		err := r.record(ctx, w.rows)
		switch {
		case postgres.IsRejected(err):
			problems = append(problems, r.bury(ctx, w.Delivery, "the database refuses its content"))
		case err != nil:
			return errors.Join(append(problems, err, giveBack(all[i:]...))...)
		default:
			problems = append(problems, r.done(w))
		}
	}
	return errors.Join(problems...)
}

// done acknowledges what was committed, but for what has to come again. The plain ack is enough: one that gets lost
// brings the event again, which changes nothing.
func (r *Recorder) done(all ...whole) error {
	var youngest time.Time
	var problems []error
	done := 0
	for _, w := range all {
		if w.early {
			problems = append(problems, giveBack(w))
			continue
		}
		problems = append(problems, w.Ack())
		done++
		if w.Stored.After(youngest) {
			youngest = w.Stored
		}
	}
	if done > 0 {
		r.cfg.Recorded(done, max(0, r.cfg.Clock().Sub(youngest)))
	}
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
		return errors.Join(fmt.Errorf("bury a message: %w", err), d.Nak(backOff))
	}
	r.cfg.Dead()
	r.cfg.Log.Error("event moved to the dead letters", "stream", d.Stream, "sequence", d.Sequence, "reason", reason)
	return d.Term(reason)
}

// giveBack returns messages to be delivered again a little later.
func giveBack(all ...whole) error {
	var problems []error
	for _, w := range all {
		problems = append(problems, w.Nak(backOff))
	}
	return errors.Join(problems...)
}

// join makes one batch of many.
func join(all []whole) postgres.Batch {
	var b postgres.Batch
	for _, w := range all {
		b.Challenges = append(b.Challenges, w.rows.Challenges...)
		b.Audit = append(b.Audit, w.rows.Audit...)
		b.Handed = append(b.Handed, w.rows.Handed...)
	}
	return b
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
