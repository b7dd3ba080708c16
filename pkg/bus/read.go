package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotFound says that a stream holds no message at a sequence.
var ErrNotFound = errors.New("no such message")

// NumberKey is the metadata key of a stream that holds its number, which is part of every handle.
const NumberKey = "doorcode_number"

// State is what a stream holds at a moment.
type State struct {
	Messages uint64
	Bytes    uint64
	First    uint64 // sequence of the oldest message
	Last     uint64 // sequence of the newest message
}

type storedMessage struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Header   []byte    `json:"hdrs"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

// Stored is a message as a stream holds it.
type Stored struct {
	Message
	Sequence uint64
	Time     time.Time // when the stream took it, by the server's clock
}

// Get reads one message by its sequence; see Read.
func (c *Conn) Get(ctx context.Context, stream string, sequence uint64) (Message, error) {
	stored, err := c.Read(ctx, stream, sequence)
	return stored.Message, err
}

// Read reads one message by its sequence, and when it was stored. It asks the stream's leader: a direct get from a follower may miss what was
// stored a moment ago (nats-postgres.md 5). ErrNotFound and ErrUnavailable are told apart.
func (c *Conn) Read(ctx context.Context, stream string, sequence uint64) (Stored, error) {
	var answer struct {
		Message *storedMessage      `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	request := fmt.Appendf(nil, `{"seq":%d}`, sequence)
	err := c.ask(ctx, "STREAM.MSG.GET."+stream, request, &answer)
	if err != nil {
		return Stored{}, fmt.Errorf("read %s at %d: %w", stream, sequence, err)
	}
	if answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return Stored{}, fmt.Errorf("read %s at %d: %w", stream, sequence, ErrNotFound)
	}
	if answer.Error != nil {
		return Stored{}, fmt.Errorf("read %s at %d: %w", stream, sequence, answer.Error)
	}
	stored := answer.Message
	if stored == nil || stored.Sequence != sequence {
		return Stored{}, fmt.Errorf("read %s at %d: the answer is about another message", stream, sequence)
	}
	header := nats.Header{}
	if len(stored.Header) > 0 {
		header, err = nats.DecodeHeadersMsg(stored.Header)
		if err != nil {
			return Stored{}, fmt.Errorf("read the headers of %s at %d: %w", stream, sequence, err)
		}
	}
	message := decode(stored.Subject, header, stored.Data)
	return Stored{Message: message, Sequence: stored.Sequence, Time: stored.Time}, nil
}

// List reads the newest messages of a stream, limit at most, oldest first. What leaves the stream meanwhile is left out.
func (c *Conn) List(ctx context.Context, stream string, limit uint64) ([]Stored, error) {
	state, err := c.StreamState(ctx, stream)
	if err != nil || state.Messages == 0 {
		return nil, err
	}
	first := state.First
	if state.Last >= limit {
		first = max(first, state.Last-limit+1)
	}
	var messages []Stored
	for sequence := first; sequence <= state.Last; sequence++ {
		message, err := c.Read(ctx, stream, sequence)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		messages = append(messages, message)
	}
	return messages, nil
}

type streamInfo struct {
	Config struct {
		Metadata map[string]string `json:"metadata"`
	} `json:"config"`
	State struct {
		Messages uint64 `json:"messages"`
		Bytes    uint64 `json:"bytes"`
		First    uint64 `json:"first_seq"`
		Last     uint64 `json:"last_seq"`
	} `json:"state"`
	Error *jetstream.APIError `json:"error"`
}

// StreamNumber returns the number of a stream for handles, 1 to 65535. It is never given twice.
func (c *Conn) StreamNumber(ctx context.Context, stream string) (uint16, error) {
	info, err := c.info(ctx, stream)
	if err != nil {
		return 0, err
	}
	number, err := parseNumber(info.Config.Metadata[NumberKey])
	if err != nil {
		return 0, fmt.Errorf("number of stream %s: %w", stream, err)
	}
	return number, nil
}

// StreamState returns how much a stream holds.
func (c *Conn) StreamState(ctx context.Context, stream string) (State, error) {
	info, err := c.info(ctx, stream)
	if err != nil {
		return State{}, err
	}
	return State(info.State), nil
}

func (c *Conn) info(ctx context.Context, stream string) (streamInfo, error) {
	var info streamInfo
	err := c.ask(ctx, "STREAM.INFO."+stream, nil, &info)
	if err == nil && info.Error != nil {
		err = info.Error
	}
	if err != nil {
		return streamInfo{}, fmt.Errorf("ask about stream %s: %w", stream, err)
	}
	return info, nil
}

// ask sends a request to the API of JetStream and decodes the answer. It needs no rights but the one subject, which
// the client's own calls do.
func (c *Conn) ask(ctx context.Context, call string, request []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	msg, err := c.nc.RequestWithContext(ctx, apiPrefix+"."+call, request)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	err = json.Unmarshal(msg.Data, answer)
	if err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	return nil
}

func parseNumber(text string) (uint16, error) {
	if text == "" {
		return 0, errors.New("the stream has none")
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil || number == 0 {
		return 0, errors.New("it is not a number of 16 bits above zero")
	}
	return uint16(number), nil
}
