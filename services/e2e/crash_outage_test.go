package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/config"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/local"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/provider/sandbox"
)

// ownPostgres is a database server of one test, one that can be killed.
type ownPostgres struct {
	cfg     local.Config
	cluster *local.Cluster
	db      *pgtest.Database
}

// newPostgres starts a server with a migrated database. A killed process loses
// nothing that it has handed to the operating system, so that nothing need reach
// the disk here.
func newPostgres(t *testing.T) *ownPostgres {
	t.Helper()
	bin, err := local.FindOrInstall(t.Context(), "", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	p := &ownPostgres{cfg: local.Config{
		Dir: filepath.Join(folder(t), "data"), BinDir: bin,
		Settings: map[string]string{"fsync": "off", "synchronous_commit": "on", "max_connections": "200"},
	}}
	p.cluster, err = local.Start(t.Context(), p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := p.cluster.Remove(context.Background())
		if err != nil {
			t.Error(err)
		}
	})
	address, err := url.Parse(p.cluster.URL("signin"))
	if err != nil {
		t.Fatal(err)
	}
	p.cfg.Port, err = strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	err = p.cluster.EnsureDatabase(t.Context(), "signin")
	if err != nil {
		t.Fatal(err)
	}
	p.db = pgtest.At(t, address.String())
	_, err = postgres.Migrate(t.Context(), address.String(), map[postgres.Role]config.Secret{
		postgres.RoleAuth: p.db.AuthConfig().Password, postgres.RoleVerifier: p.db.VerifierConfig().Password,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// processes are the server's, the first one first.
func (p *ownPostgres) processes() ([]int, error) {
	data, err := os.ReadFile(filepath.Join(p.cluster.Dir(), "postmaster.pid"))
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	first, err := strconv.Atoi(line)
	if err != nil {
		return nil, err
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", first, first))
	if err != nil {
		return nil, err
	}
	all := []int{first}
	for _, field := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		all = append(all, pid)
	}
	return all, nil
}

// signal sends a signal to every process of the server.
func (p *ownPostgres) signal(s syscall.Signal) error {
	all, err := p.processes()
	if err != nil {
		return err
	}
	for _, pid := range all {
		err := syscall.Kill(pid, s)
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// kill ends every process of the server at once.
func (p *ownPostgres) kill(ctx context.Context) error {
	err := p.signal(syscall.SIGKILL)
	if err != nil {
		return err
	}
	select {
	case ended := <-p.cluster.Failed():
		if ended == nil {
			return errors.New("postgres ended by itself")
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	return p.cluster.Stop(ctx) // gives the folder back
}

// again starts the server after kill, on the same address.
func (p *ownPostgres) again(ctx context.Context) error {
	cluster, err := local.Start(ctx, p.cfg)
	if err != nil {
		return err
	}
	p.cluster = cluster
	return nil
}

// outage takes a dependency away and brings it back.
type outage struct {
	name       string
	away, back func(context.Context) error
}

// outages are those of the bus and of the database: killed, and stopped for a
// while.
func (c *campaign) outages(nats **process, pg *ownPostgres) []outage {
	plain := func(f func() error) func(context.Context) error { return func(context.Context) error { return f() } }
	return []outage{
		{
			name: "nats killed", away: plain(func() error { return (*nats).signal(syscall.SIGKILL) }),
			back: func(ctx context.Context) error {
				var err error
				*nats, err = c.launchBus(ctx)
				return err
			},
		},
		{name: "postgres killed", away: pg.kill, back: pg.again},
		{
			name: "nats stopped", away: plain(func() error { return (*nats).cmd.Process.Signal(syscall.SIGSTOP) }),
			back: plain(func() error { return (*nats).cmd.Process.Signal(syscall.SIGCONT) }),
		},
		{
			name: "postgres stopped", away: plain(func() error { return pg.signal(syscall.SIGSTOP) }),
			back: plain(func() error { return pg.signal(syscall.SIGCONT) }),
		},
	}
}

// suffer goes through the outages one after the other. Each lasts until people
// were told of it, and the next one waits until people sign in again.
func (c *campaign) suffer(ctx context.Context, all []outage, log func(format string, args ...any)) error {
	for _, o := range all {
		err := c.until(ctx, o.name+": people sign in before it", c.moreTravelled(4))
		if err != nil {
			return err
		}
		err = o.away(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		before := c.unavailable.Load()
		told := c.until(ctx, o.name+": people are told", func() bool { return c.unavailable.Load() >= before+3 })
		err = errors.Join(told, o.back(ctx))
		if err != nil {
			return fmt.Errorf("%s: %w", o.name, err)
		}
		log("%s: %d answers 503", o.name, c.unavailable.Load()-before)
	}
	return c.until(ctx, "people sign in after it", c.moreTravelled(4))
}

// moreTravelled is a condition: that many more people have come to the end.
func (c *campaign) moreTravelled(n int) func() bool {
	travelled := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.people)
	}
	before := travelled()
	return func() bool { return travelled() >= before+n }
}

// until waits for a condition.
func (c *campaign) until(ctx context.Context, what string, holds func() bool) error {
	for !holds() {
		if ctx.Err() != nil {
			return fmt.Errorf("it never came true: %s", what)
		}
		tick(ctx)
	}
	return nil
}

// campaignOfOutages has people sign in while the bus and the database are killed
// and stopped.
func campaignOfOutages(t *testing.T) *ledger {
	t.Helper()
	pg := newPostgres(t)
	var nats *process
	t.Cleanup(func() { // after all connections, which are drained before
		if nats != nil {
			_ = nats.signal(syscall.SIGKILL)
		}
	})
	c := newCampaign(t, bustest.StartEmpty(t), pg.db, soon)
	c.bus.Stop(t)
	var err error
	nats, err = c.launchBus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "the bus runs on its own", func() bool { return c.bus.Admin().Ready(t.Context()) == nil })
	c.startAll(t)
	ctx, cancel := context.WithTimeout(t.Context(), endurance)
	defer cancel()
	err = c.openWorkspace(ctx)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var failed error
	var suffering sync.WaitGroup
	suffering.Go(func() {
		defer close(over)
		failed = c.suffer(ctx, c.outages(&nats, pg), t.Logf)
		if failed != nil {
			cancel()
		}
	})
	c.load(ctx, 4*kinds, over)
	suffering.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	return c.count(t)
}

// killAtRandom kills processes one after the other, whenever a random while has
// passed, and starts each again.
func (c *campaign) killAtRandom(ctx context.Context, kills int, log func(format string, args ...any)) error {
	for i := range kills {
		r := c.processes()[i%len(c.processes())]
		pause, err := randomPause()
		if err != nil {
			return err
		}
		rest(ctx, pause)
		err = r.signal(syscall.SIGKILL)
		if err != nil {
			return err
		}
		log("%s killed after %s more", r.name, pause)
		err = c.launchArmed(ctx, r, "")
		if err != nil {
			return err
		}
		err = r.readyIn(ctx, r.ops)
		if err != nil {
			return err
		}
	}
	return nil
}

// campaignOfRandomKills has people sign in while every process is killed once.
func campaignOfRandomKills(t *testing.T) *ledger {
	t.Helper()
	c := newCampaign(t, bustest.StartEmpty(t), pgtest.Open(t), time.Hour) // receipts come at the end alone, so that a dispatcher cannot learn by them
	err := c.box.AddFault(sandbox.Fault{Kind: sandbox.Latency, Delay: 100 * time.Millisecond, To: "kim-??[02468]@*"})
	if err != nil {
		t.Fatal(err)
	}
	c.startAll(t)
	ctx, cancel := context.WithTimeout(t.Context(), endurance)
	defer cancel()
	err = c.openWorkspace(ctx)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var failed error
	var dying sync.WaitGroup
	dying.Go(func() {
		defer close(over)
		failed = c.killAtRandom(ctx, len(c.processes()), t.Logf)
		if failed != nil {
			cancel()
		}
	})
	c.load(ctx, 4*kinds, over)
	dying.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	return c.count(t)
}
