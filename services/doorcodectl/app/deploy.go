package app

import (
	"context"
	"errors"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/config"
	"doorcode/pkg/postgres"
)

// dialTimeout is how long a command waits for a bus that is not there.
const dialTimeout = 10 * time.Second

// migrate brings the database to this version's schema.
func (c command) migrate(ctx context.Context, args []string) error {
	_, err := parse(flags("migrate"), args, 0)
	if err != nil {
		return err
	}
	owner, err := c.ownerURL()
	if err != nil {
		return err
	}
	// A role without a password here keeps the one it has.
	applied, err := postgres.Migrate(ctx, owner, map[postgres.Role]config.Secret{
		postgres.RoleAuth: c.cfg.AuthPassword, postgres.RoleVerifier: c.cfg.VerifierPassword,
		postgres.RoleAuditor: c.cfg.AuditorPassword, postgres.RoleConsole: c.cfg.ConsolePassword,
	})
	if err != nil {
		return err
	}
	c.printf("migrations applied: %d\n", applied)
	return nil
}

// streams shows what would change on NATS and changes it.
func (c command) streams(ctx context.Context, args []string) error {
	set := flags("streams apply")
	planOnly := set.Bool("plan", false, "only show")
	_, err := parse(set, args, 0)
	if err != nil {
		return err
	}
	admin, err := c.admin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Drain(context.WithoutCancel(ctx)) }()
	plan, err := bus.Plan(ctx, admin, c.nextNumber)
	if err != nil {
		return err
	}
	if plan.Empty() {
		c.printf("streams: nothing to change\n")
		return nil
	}
	c.printf("%s", plan)
	for _, change := range plan.Destructive() {
		c.printf("destructive, will be refused: %s\n", change)
	}
	if *planOnly {
		return nil
	}
	err = bus.Apply(ctx, admin, plan)
	if err != nil {
		return err
	}
	c.printf("streams: applied\n")
	return nil
}

// admin connects to NATS as doorcodectl.
func (c command) admin(ctx context.Context) (*bus.Conn, error) {
	if c.cfg.NATSKey == "" {
		return nil, errors.New("DOORCODE_DOORCODECTL_NATS_KEY_FILE is not set")
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return bus.Connect(ctx, bus.Config{URL: c.cfg.NATSURL, CAFile: c.cfg.NATSCAFile, Name: "doorcodectl", KeyFile: c.cfg.NATSKey})
}

// nextNumber gives a stream that is made its number. The database is opened for
// this alone: a look at the streams works without it.
func (c command) nextNumber(ctx context.Context, stream string) (uint16, error) {
	db, err := c.owner(ctx)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	return db.NextStreamNumber(ctx, stream)
}

// owner opens the database as its owner.
func (c command) owner(ctx context.Context) (*postgres.DB, error) {
	address, err := c.ownerURL()
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, postgres.Config{URL: address, Application: "doorcodectl", MaxConns: 1})
}
