package bus

import (
	"context"
	"fmt"
	"time"
)

// Pause stops a durable consumer of Streams from delivering until a time, also over restarts of the server. What it
// would have delivered waits in the stream; what was delivered may still be acknowledged. It takes the operator's
// rights and may be called again with another time.
func (c *Conn) Pause(ctx context.Context, stream, durable string, until time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	_, err := c.js.PauseConsumer(ctx, stream, durable, until)
	if err != nil {
		return fmt.Errorf("pause consumer %s of %s: %w", durable, stream, lost(err))
	}
	return nil
}

// Resume lets a consumer deliver again, at once. One that is not paused stays as it is.
func (c *Conn) Resume(ctx context.Context, stream, durable string) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	_, err := c.js.ResumeConsumer(ctx, stream, durable)
	if err != nil {
		return fmt.Errorf("resume consumer %s of %s: %w", durable, stream, lost(err))
	}
	return nil
}

// Backlog is where a consumer stands.
type Backlog struct {
	PausedUntil time.Time // zero: it delivers
	Waiting     uint64    // messages that were not delivered yet
	Unanswered  int       // messages that were delivered and not acknowledged
	Settled     uint64    // everything up to this sequence of the stream is over
}

// Backlog tells where a durable consumer stands.
func (c *Conn) Backlog(ctx context.Context, stream, durable string) (Backlog, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	consumer, err := c.js.Consumer(ctx, stream, durable)
	if err != nil {
		return Backlog{}, fmt.Errorf("look at consumer %s of %s: %w", durable, stream, lost(err))
	}
	info := consumer.CachedInfo()
	backlog := Backlog{Waiting: info.NumPending, Unanswered: info.NumAckPending, Settled: info.AckFloor.Stream}
	if info.Paused && info.Config.PauseUntil != nil {
		backlog.PausedUntil = *info.Config.PauseUntil
	}
	return backlog, nil
}
