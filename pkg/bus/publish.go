package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrStreamFull says that the stream took the publish for no lack of a connection but for lack of room
// (`Discard: new`): nothing was stored, and nothing will be until there is room.
var ErrStreamFull = errors.New("stream is full")

const (
	publishTimeout = 2 * time.Second // per try; nats-postgres.md 2
	publishTries   = 3
	inProcessPause = 30 * time.Millisecond

	// A replicated stream answers so while the first copy of an id is on its way (nats-postgres.md 1).
	codeInProcess jetstream.ErrorCode = 10158
	// "Store failed": full by bytes, by messages, or a limit per subject, which no stream of ours has.
	codeStoreFailed jetstream.ErrorCode = 10077
)

// Message is what travels: an event or a stored copy of one.
type Message struct {
	Subject string
	// ID is the Nats-Msg-Id: the stream stores one message per id within its window of duplicates.
	ID string
	// Header holds one value per name, names as they are on the wire (`ce-type`, `traceparent`). Names that steer
	// the server (`Nats-…`) are refused on publish and left out on receipt.
	Header map[string]string
	Data   []byte
}

// Ack says where a message is stored. Duplicate: it was stored before under the same id, at Sequence.
type Ack struct {
	Stream    string
	Sequence  uint64
	Duplicate bool
}

// Publish stores a message in the stream of its subject and returns after the stream's ack, which comes after the
// disk. Up to three tries of two seconds each go with the same id, so that it is stored once. The error wraps
// ErrUnavailable when nobody knows whether it was stored, ErrStreamFull when there is no room.
func (c *Conn) Publish(ctx context.Context, m Message) (Ack, error) {
	msg, err := encode(m)
	if err != nil {
		return Ack{}, err
	}
	for try := 1; ; try++ {
		ack, err := c.publishOnce(ctx, msg)
		if err == nil {
			return ack, nil
		}
		if try == publishTries || !isPassing(err) || pause(ctx, inProcessPause) != nil {
			return Ack{}, publishError(m.Subject, err)
		}
	}
}

func (c *Conn) publishOnce(ctx context.Context, msg *nats.Msg) (Ack, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	// The tries are ours: the client's own would outlast what the caller waits for.
	ack, err := c.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return Ack{}, err
	}
	return Ack{Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// PublishBatch publishes all messages at once and then waits for their acks, two seconds at most. It returns one
// error, or nil, per message, in order, of the same kinds as Publish. There is no second try: the relay keeps what
// failed and comes again with the same ids.
func (c *Conn) PublishBatch(ctx context.Context, batch []Message) []error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	errs := make([]error, len(batch))
	futures := make([]jetstream.PubAckFuture, len(batch))
	for i, m := range batch {
		msg, err := encode(m)
		if err == nil {
			futures[i], err = c.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
		}
		if err != nil {
			errs[i] = publishError(m.Subject, err)
		}
	}
	for i, future := range futures {
		if future == nil {
			continue
		}
		select {
		case <-future.Ok():
		case err := <-future.Err():
			errs[i] = publishError(batch[i].Subject, err)
		case <-ctx.Done():
			errs[i] = publishError(batch[i].Subject, ctx.Err())
		}
	}
	return errs
}

// isPassing tells what another try with the same id may mend.
func isPassing(err error) bool {
	if apiError, ok := errors.AsType[*jetstream.APIError](err); ok {
		return apiError.ErrorCode == codeInProcess
	}
	return !errors.Is(err, nats.ErrMaxPayload) && !errors.Is(err, nats.ErrBadSubject)
}

// publishError gives an error its kind. Whatever the stream did not answer itself leaves the fate open.
func publishError(subject string, err error) error {
	apiError, answered := errors.AsType[*jetstream.APIError](err)
	switch {
	case answered && apiError.ErrorCode == codeStoreFailed:
		return fmt.Errorf("publish to %s: %w: %w", subject, ErrStreamFull, err)
	case answered && apiError.ErrorCode != codeInProcess, errors.Is(err, errSteering), errors.Is(err, errNoID),
		errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject):
		return fmt.Errorf("publish to %s: %w", subject, err)
	default:
		return fmt.Errorf("publish to %s: %w: %w", subject, ErrUnavailable, err)
	}
}

var (
	errSteering = errors.New("a header that steers the server is not part of a message")
	errNoID     = errors.New("a message needs an id")
)

// encode makes the wire form. Without an id a second try would store a second copy, so none is an error; a `Nats-…`
// header could turn a publish into something else (a rollup, a schedule), so that is one, too.
func encode(m Message) (*nats.Msg, error) {
	if m.ID == "" {
		return nil, fmt.Errorf("publish to %s: %w", m.Subject, errNoID)
	}
	msg := nats.NewMsg(m.Subject)
	msg.Data = m.Data
	for name, value := range m.Header {
		if isSteering(name) {
			return nil, fmt.Errorf("publish to %s: %w", m.Subject, errSteering)
		}
		// Not Header.Set: it would change the case of the name.
		msg.Header[name] = []string{value}
	}
	msg.Header[jetstream.MsgIDHeader] = []string{m.ID}
	return msg, nil
}

// decode is the way back. A name that comes more than once keeps its first value.
func decode(subject string, header nats.Header, data []byte) Message {
	return Message{Subject: subject, ID: header.Get(jetstream.MsgIDHeader), Header: plainHeader(header), Data: data}
}

func plainHeader(header map[string][]string) map[string]string {
	plain := make(map[string]string, len(header))
	for name, values := range header {
		if len(values) > 0 && !isSteering(name) {
			plain[name] = values[0]
		}
	}
	return plain
}

func isSteering(name string) bool {
	return len(name) >= 5 && strings.EqualFold(name[:5], "nats-")
}
