package app

import (
	"context"

	"doorcode/pkg/bus"
)

// createFrontEnd makes a login front-end that asks over NATS: its key, and an account of its own.
func (c command) createFrontEnd(_ context.Context, args []string) error {
	words, err := parse(flags("front-end create"), args, 1)
	if err != nil {
		return err
	}
	made, err := bus.AddFrontEnd(c.cfg.NATSDir, words[0])
	if err != nil {
		return err
	}
	if !made {
		c.printf("%s: it is there and stays\n", words[0])
		return nil
	}
	c.printf("%s: made in %s; NATS reads its account at the next start or reload\n", words[0], c.cfg.NATSDir)
	return nil
}
