package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrDestructive says that Apply refused a plan that would lose events or hide them from their consumers.
var ErrDestructive = errors.New("the plan is destructive")

// Numberer gives a new stream its number for handles. It is asked once per numbered stream that is made, and must
// never give a number twice: handles of a stream that was lost would name messages of its successor.
type Numberer func(ctx context.Context, stream string) (uint16, error)

// Changes is the way from the streams that run to those that are wanted.
type Changes struct {
	steps  []step
	number Numberer
}

// step makes or changes one stream or one of its consumers.
type step struct {
	stream   Stream
	consumer *ConsumerSpec // nil: the stream itself
	create   bool
	// needsNumber: a numbered stream that has none.
	needsNumber     bool
	differences     []difference
	runningStream   jetstream.StreamConfig
	runningConsumer jetstream.ConsumerConfig
}

// Plan compares Streams with what runs. It changes nothing.
func Plan(ctx context.Context, admin *Conn, number Numberer) (Changes, error) {
	changes := Changes{number: number}
	for _, wanted := range Streams() {
		running, err := admin.js.Stream(ctx, wanted.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			changes.steps = append(changes.steps, step{stream: wanted, create: true, needsNumber: wanted.Numbered})
		case err != nil:
			return Changes{}, fmt.Errorf("look at stream %s: %w", wanted.Name, lost(err))
		default:
			changes.compareStream(wanted, running.CachedInfo().Config)
		}
		for _, consumer := range wanted.Consumers {
			err = changes.planConsumer(ctx, admin, wanted, consumer)
			if err != nil {
				return Changes{}, err
			}
		}
	}
	return changes, nil
}

func (c *Changes) compareStream(wanted Stream, running jetstream.StreamConfig) {
	s := step{stream: wanted, runningStream: running, differences: diffStream(wanted, running)}
	_, err := parseNumber(running.Metadata[NumberKey])
	if wanted.Numbered && err != nil {
		s.needsNumber = true
		s.differences = append(s.differences, difference{
			field: wanted.Name + ".metadata." + NumberKey, from: strconv.Quote(running.Metadata[NumberKey]), to: "the next number",
		})
	}
	if len(s.differences) > 0 {
		c.steps = append(c.steps, s)
	}
}

func (c *Changes) planConsumer(ctx context.Context, admin *Conn, stream Stream, wanted ConsumerSpec) error {
	running, err := admin.js.Consumer(ctx, stream.Name, wanted.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		c.steps = append(c.steps, step{stream: stream, consumer: &wanted, create: true})
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at consumer %s of %s: %w", wanted.Durable, stream.Name, lost(err))
	}
	config := running.CachedInfo().Config
	differences := diffConsumer(stream.Name, wanted, config)
	if len(differences) > 0 {
		c.steps = append(c.steps, step{stream: stream, consumer: &wanted, runningConsumer: config, differences: differences})
	}
	return nil
}

// Empty says that nothing is to be done.
func (c Changes) Empty() bool {
	return len(c.steps) == 0
}

// String is the plan for a person to read, one change a line, and empty when there is none.
func (c Changes) String() string {
	var text strings.Builder
	for _, s := range c.steps {
		switch {
		case s.create && s.consumer != nil:
			fmt.Fprintf(&text, "create consumer %s of %s\n", s.consumer.Durable, s.stream.Name)
		case s.create:
			fmt.Fprintf(&text, "create stream %s\n", s.stream.Name)
		}
		for _, d := range s.differences {
			fmt.Fprintf(&text, "change %s\n", d)
		}
	}
	return text.String()
}

// Destructive lists the changes that Apply refuses: subjects removed, another retention or storage, a lower limit, a
// protection that the server cannot take back, or what a consumer cannot change without missing messages.
func (c Changes) Destructive() []string {
	var refused []string
	for _, s := range c.steps {
		for _, d := range s.differences {
			if d.destructive {
				refused = append(refused, d.String())
			}
		}
	}
	return refused
}

// Apply carries a plan out, streams before their consumers. A plan with a destructive change is refused whole, with
// an error that wraps ErrDestructive and names them.
func Apply(ctx context.Context, admin *Conn, changes Changes) error {
	refused := changes.Destructive()
	if len(refused) > 0 {
		return fmt.Errorf("apply the streams: %w: %s", ErrDestructive, strings.Join(refused, "; "))
	}
	for _, s := range changes.steps {
		var err error
		if s.consumer != nil {
			err = admin.applyConsumer(ctx, s)
		} else {
			err = admin.applyStream(ctx, s, changes.number)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) applyStream(ctx context.Context, s step, number Numberer) error {
	config := s.stream.config(s.runningStream)
	if s.needsNumber {
		if number == nil {
			return fmt.Errorf("apply stream %s: nobody gives it its number", s.stream.Name)
		}
		given, err := number(ctx, s.stream.Name)
		if err != nil {
			return fmt.Errorf("number stream %s: %w", s.stream.Name, err)
		}
		if given == 0 {
			return fmt.Errorf("number stream %s: zero is no number", s.stream.Name)
		}
		config.Metadata[NumberKey] = strconv.FormatUint(uint64(given), 10)
	}
	var err error
	if s.create {
		_, err = c.js.CreateStream(ctx, config)
	} else {
		_, err = c.js.UpdateStream(ctx, config)
	}
	if err != nil {
		return fmt.Errorf("apply stream %s: %w", s.stream.Name, lost(err))
	}
	return nil
}

func (c *Conn) applyConsumer(ctx context.Context, s step) error {
	_, err := c.js.CreateOrUpdateConsumer(ctx, s.stream.Name, s.consumer.config(s.runningConsumer))
	if err != nil {
		return fmt.Errorf("apply consumer %s of %s: %w", s.consumer.Durable, s.stream.Name, lost(err))
	}
	return nil
}
