package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Consumer is a durable consumer that exists on the server.
type Consumer struct {
	conn *Conn
	pull jetstream.Consumer
}

// Consumer opens a durable of Streams. It makes none: one that is missing, or whose settings on the server are others
// than those of Streams, is an error, for a wrong AckWait would send messages twice without a word.
func (c *Conn) Consumer(ctx context.Context, stream, durable string) (*Consumer, error) {
	wanted, ok := findConsumer(stream, durable)
	if !ok {
		return nil, fmt.Errorf("open consumer %s of %s: there is none of that name", durable, stream)
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	pull, err := c.js.Consumer(ctx, stream, durable)
	if err != nil {
		return nil, fmt.Errorf("open consumer %s of %s: %w", durable, stream, lost(err))
	}
	differences := diffConsumer(stream, wanted, pull.CachedInfo().Config)
	if len(differences) > 0 {
		lines := make([]string, len(differences))
		for i, difference := range differences {
			lines[i] = difference.String()
		}
		return nil, fmt.Errorf("open consumer %s of %s: apply the streams first: %s", durable, stream, strings.Join(lines, ", "))
	}
	return &Consumer{conn: c, pull: pull}, nil
}

// Fetch asks for up to limit messages and returns those that came within wait: none is no error. It never asks for
// more than the caller can work on at once, because the time for an ack runs from the moment the server sends. With an
// error there may be messages, too; the caller handles them and then backs off, because the error may come at once.
//
// A fetch that has begun is not ended by ctx: messages that are already here would be lost until their ack is overdue.
// So wait is short, and whoever drains lets the last fetch end (nats-postgres.md 3).
func (c *Consumer) Fetch(ctx context.Context, limit int, wait time.Duration) ([]*Delivery, error) {
	var deliveries []*Delivery
	err := c.Hand(ctx, limit, wait, func(d *Delivery) { deliveries = append(deliveries, d) })
	return deliveries, err
}

// Hand is Fetch for who need not wait for the last message before the first is worked on: take gets each as it comes, one
// after the other, and none after Hand has returned.
func (c *Consumer) Hand(ctx context.Context, limit int, wait time.Duration, take func(*Delivery)) error {
	err := ctx.Err()
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if !c.conn.nc.IsConnected() {
		// The client would leave a subscription behind for each fetch that it cannot send.
		return fmt.Errorf("fetch: %w", ErrUnavailable)
	}
	batch, err := c.pull.Fetch(limit, jetstream.FetchMaxWait(wait))
	if err != nil {
		return fmt.Errorf("fetch: %w", lost(err))
	}
	for msg := range batch.Messages() {
		delivery, metaErr := newDelivery(msg)
		if metaErr != nil {
			err = errors.Join(err, metaErr)
			continue
		}
		take(delivery)
	}
	if batch.Error() != nil {
		err = errors.Join(err, batch.Error())
	}
	if err != nil {
		return fmt.Errorf("fetch: %w", lost(err))
	}
	return nil
}

// Standing is how far a consumer is, over all replicas.
type Standing struct {
	Floor uint64 // the sequence up to which everything is acknowledged
	Open  int    // messages that were handed out and are not acknowledged
}

// Standing asks the server how far the consumer is. An ack on its way may not count yet.
func (c *Consumer) Standing(ctx context.Context) (Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	info, err := c.pull.Info(ctx)
	if err != nil {
		return Standing{}, fmt.Errorf("ask how far a consumer is: %w", lost(err))
	}
	return Standing{Floor: info.AckFloor.Stream, Open: info.NumAckPending}, nil
}

// lost marks what was not answered by the server itself as ErrUnavailable.
func lost(err error) error {
	if _, answered := errors.AsType[*jetstream.APIError](err); answered {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// Delivery is a message that a consumer handed out. Its holder answers with exactly one of DoubleAck, Ack, Nak and
// Term before the consumer's AckWait is over, or it is delivered again.
type Delivery struct {
	Message
	Stream   string
	Sequence uint64
	// Number is 1 on the first delivery. It starts again at 1 when the server was killed before it stored the count.
	Number   int
	Received time.Time // when it came here; the server's AckWait started a little before
	Stored   time.Time // when the stream took it, by the server's clock

	msg jetstream.Msg
}

func newDelivery(msg jetstream.Msg) (*Delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read the metadata of a message: %w", err)
	}
	return &Delivery{
		Message:  decode(msg.Subject(), msg.Headers(), msg.Data()),
		Stream:   meta.Stream,
		Sequence: meta.Sequence.Stream,
		Number:   int(min(meta.NumDelivered, 1<<30)),
		Received: time.Now(),
		Stored:   meta.Timestamp,
		msg:      msg,
	}, nil
}

// DoubleAck says done and returns after the server has confirmed it: the message will not come again.
func (d *Delivery) DoubleAck(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	err := d.msg.DoubleAck(ctx)
	if err != nil {
		return fmt.Errorf("acknowledge %d of %s: %w", d.Sequence, d.Stream, lost(err))
	}
	return nil
}

// Ack says done and does not wait. When it is lost the message comes again, so it is for work that may be repeated.
func (d *Delivery) Ack() error {
	return d.answer("acknowledge", d.msg.Ack())
}

// Nak gives the message back, to be delivered again after delay. The schedule is the caller's.
func (d *Delivery) Nak(delay time.Duration) error {
	return d.answer("give back", d.msg.NakWithDelay(delay))
}

// Term ends the deliveries of the message for a stated reason, which is kept as an advisory.
func (d *Delivery) Term(reason string) error {
	return d.answer("terminate", d.msg.TermWithReason(reason))
}

// InProgress starts the time for an ack anew.
func (d *Delivery) InProgress() error {
	return d.answer("keep", d.msg.InProgress())
}

func (d *Delivery) answer(verb string, err error) error {
	if err != nil {
		return fmt.Errorf("%s %d of %s: %w", verb, d.Sequence, d.Stream, lost(err))
	}
	return nil
}

func findConsumer(stream, durable string) (ConsumerSpec, bool) {
	for _, s := range Streams() {
		i := slices.IndexFunc(s.Consumers, func(c ConsumerSpec) bool { return c.Durable == durable })
		if s.Name == stream && i >= 0 {
			return s.Consumers[i], true
		}
	}
	return ConsumerSpec{}, false
}
