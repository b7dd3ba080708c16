package app

import (
	"context"
	"fmt"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
)

// untilResumed is how long a channel is paused when nobody says it: NATS wants a time.
const untilResumed = 10 * 365 * 24 * time.Hour

// pauseChannel keeps a channel's messages back. They wait in the stream; what is too late when they go on is not sent.
func (c command) pauseChannel(ctx context.Context, args []string) error {
	set := flags("channel pause")
	duration := set.Duration("for", untilResumed, "how long")
	words, err := parse(set, args, 1)
	if err != nil {
		return err
	}
	if *duration <= 0 {
		return fmt.Errorf("channel pause: -for is not above zero; %w", errUsage)
	}
	return c.atDispatcher(ctx, words[0], func(admin *bus.Conn, durable string) error {
		return admin.Pause(ctx, bus.Challenges, durable, time.Now().Add(*duration))
	})
}

// resumeChannel lets a channel go on.
func (c command) resumeChannel(ctx context.Context, args []string) error {
	words, err := parse(flags("channel resume"), args, 1)
	if err != nil {
		return err
	}
	return c.atDispatcher(ctx, words[0], func(admin *bus.Conn, durable string) error {
		return admin.Resume(ctx, bus.Challenges, durable)
	})
}

// showChannel only shows where a channel stands.
func (c command) showChannel(ctx context.Context, args []string) error {
	words, err := parse(flags("channel show"), args, 1)
	if err != nil {
		return err
	}
	return c.atDispatcher(ctx, words[0], func(*bus.Conn, string) error { return nil })
}

// atDispatcher does something with the consumer of a channel's dispatcher and shows where it stands then.
func (c command) atDispatcher(ctx context.Context, channel string, act func(admin *bus.Conn, durable string) error) error {
	parsed, err := delivery.ParseChannel(channel)
	if err != nil {
		return fmt.Errorf("there is no channel of that name: %w; %w", err, errUsage)
	}
	durable := map[delivery.Channel]string{delivery.Email: bus.EmailDispatcher, delivery.SMS: bus.SMSDispatcher}[parsed]
	admin, err := c.admin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Drain(context.WithoutCancel(ctx)) }()
	err = act(admin, durable)
	if err != nil {
		return err
	}
	backlog, err := admin.Backlog(ctx, bus.Challenges, durable)
	if err != nil {
		return err
	}
	state := "delivers"
	if !backlog.PausedUntil.IsZero() {
		state = "paused until " + backlog.PausedUntil.UTC().Format(time.RFC3339)
	}
	c.printf("%s: %s; %d messages wait, %d are being sent\n", parsed, state, backlog.Waiting, backlog.Unanswered)
	return nil
}
