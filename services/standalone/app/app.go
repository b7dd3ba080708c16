// Package app is standalone: every process of doorcode in one, with NATS
// embedded, a private Postgres and the sandbox in place of the providers.
//
// It makes keys, passwords, users and streams itself at its first start, by the
// same commands that an operator uses, and keeps everything in one folder. Its
// data survives a restart, also after a kill; a second start on the same folder
// is refused.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"doorcode/pkg/bus/embedded"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/postgres/local"
	"doorcode/pkg/telemetry"
	sandbox "doorcode/services/sandbox/app"
)

// Config is standalone's own environment. Every setting of every process may be
// set beside it.
type Config struct {
	Dir              string `env:"DOORCODE_STANDALONE_DIR" envDefault:".doorcode" help:"Folder of all data, keys and passwords."`
	OperationsListen string `env:"DOORCODE_STANDALONE_OPERATIONS_LISTEN" envDefault:"127.0.0.1:9090" help:"Where health and metrics of all processes are served."`
	NATSListen       string `env:"DOORCODE_STANDALONE_NATS_LISTEN" envDefault:"127.0.0.1:4222" help:"Where the embedded NATS listens."`
	PostgresBin      string `env:"DOORCODE_STANDALONE_POSTGRES_BIN" help:"Folder of the Postgres binaries; empty means PATH and the usual places, and the system's package when there is none."`
	DatabaseURL      string `env:"DOORCODE_DATABASE_URL" help:"Address of an existing database, with its owner's name and without a password; empty means a private Postgres."`
	DatabasePassword string `env:"DOORCODE_STANDALONE_DATABASE_PASSWORD_FILE" help:"File with the password of the existing database's owner."`
	LogLevel         string `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"Least level of log lines: debug, info, warn or error."`
	OTLP             string `env:"DOORCODE_OTLP_ENDPOINT" help:"Address of an OpenTelemetry collector that takes OTLP over HTTP; when set, traces are sent to it."`
}

// Operations says where the operations port is.
func (c Config) Operations() lifecycle.Operations {
	return lifecycle.Operations{Listen: c.OperationsListen, LogLevel: c.LogLevel, OTLP: c.OTLP}
}

// Surroundings are what standalone takes from the operating system.
type Surroundings struct {
	Environ []string  // settings of all processes
	Out     io.Writer // where it tells people what to open
}

// App is the running whole: a group of all processes and of what they stand on.
type App struct {
	*lifecycle.Group
	cfg     Config
	tel     telemetry.Telemetry
	around  Surroundings
	dir     string
	sandbox *sandbox.App // signs the mail provider's reports with a key of its own
}

// New checks the settings and takes the folder, so that a second start on it is
// refused before it opens an address that the first one has.
func New(cfg Config, tel telemetry.Telemetry, around Surroundings) (*App, error) {
	if given(around.Environ)["DOORCODE_NATS_URL"] != "" {
		return nil, errors.New("DOORCODE_NATS_URL: standalone has a NATS of its own, which listens on DOORCODE_STANDALONE_NATS_LISTEN")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("DOORCODE_STANDALONE_DIR: %w", err)
	}
	a := &App{Group: lifecycle.NewGroup(), cfg: cfg, tel: tel, around: around, dir: dir}
	return a, a.lock()
}

// Start makes what is missing in the folder and starts everything, in the order
// in which the parts need one another.
func (a *App) Start(ctx context.Context) error {
	env, err := a.prepare(ctx)
	if err != nil {
		return err
	}
	for _, p := range a.processes() {
		app, err := p.build(env)
		if err != nil {
			return fmt.Errorf("configuration of %s: %w", p.name, err)
		}
		err = a.Group.Start(ctx, p.name, app)
		if err != nil {
			return err
		}
		if listener, listens := app.(addressed); listens {
			env.tell("http://"+listener.Addr(), p.tells)
		}
		if pages, has := app.(public); has {
			env.keep("DOORCODE_DEMO_PROMPT_ORIGIN", pages.PublicURL())
		}
	}
	a.welcome(env)
	return nil
}

// prepare starts the database and the bus, applies migrations and streams and
// makes the development key, the console's and a first operator. It returns the environment of all processes.
func (a *App) prepare(ctx context.Context) (environment, error) {
	env := a.environment()
	err := a.passwords(env)
	if err != nil {
		return nil, err
	}
	err = a.startDatabase(ctx, env)
	if err != nil {
		return nil, err
	}
	for _, args := range [][]string{{"keys"}, {"migrate"}} {
		err = a.operate(ctx, env, io.Discard, args...)
		if err != nil {
			return nil, err
		}
	}
	nats, err := embedded.Start(ctx, embedded.Config{
		ConfigFile: filepath.Join(a.dir, "nats", "nats.conf"), StoreDir: filepath.Join(a.dir, "nats", "jetstream"),
		Listen: a.cfg.NATSListen, Log: a.tel.For("nats").Log,
	})
	if err != nil {
		return nil, err
	}
	a.Push("nats", nats.Stop)
	env["DOORCODE_NATS_URL"] = nats.URL()
	delete(env, "DOORCODE_NATS_CA_FILE") // the embedded one is reached on this machine, in plain
	err = a.operate(ctx, env, io.Discard, "streams", "apply")
	if err != nil {
		return nil, err
	}
	err = a.developmentKey(ctx, env)
	if err != nil {
		return nil, err
	}
	return env, a.console(ctx, env)
}

// startDatabase runs the private Postgres, unless the environment names a
// database that exists.
func (a *App) startDatabase(ctx context.Context, env environment) error {
	if a.cfg.DatabaseURL != "" {
		return nil
	}
	bin, err := local.FindOrInstall(ctx, a.cfg.PostgresBin, a.around.Out)
	if err != nil {
		return err
	}
	cluster, err := local.Start(ctx, local.Config{Dir: filepath.Join(a.dir, "postgres"), BinDir: bin, Log: a.tel.For("postgres").Log})
	if err != nil {
		return err
	}
	a.Push("postgres", cluster.Stop)
	a.Watch("postgres", cluster.Failed())
	err = cluster.EnsureDatabase(ctx, "doorcode")
	if err != nil {
		return err
	}
	return env.useDatabase(cluster.URL("doorcode"), filepath.Join(a.dir, "passwords", "owner"))
}
