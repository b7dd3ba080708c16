package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/client"
	"doorcode/pkg/httpserver"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/provider/sandbox"
	"doorcode/pkg/telemetry"
)

// endurance bounds a whole campaign.
const endurance = 6 * time.Minute

// campaign is an installation whose processes die while people sign in. The
// sandbox lives in the test, so that what it counted survives everything.
type campaign struct {
	*apart
	box         *sandbox.Sandbox
	pool        *pgxpool.Pool // the owner's, for goroutines that may not end the test
	unavailable atomic.Int64  // answers 503 so far

	mu     sync.Mutex
	people []*traveller
}

// soon is how often the sandbox posts receipts, unless they are to come late.
const soon = 200 * time.Millisecond

// newCampaign prepares an installation with receipts, which are posted that often
// and in the end; none of its processes runs.
func newCampaign(t *testing.T, b *bustest.Bus, db *pgtest.Database, receipts time.Duration) *campaign {
	t.Helper()
	err := armedBinaries()
	if err != nil {
		t.Fatal(err)
	}
	c := &campaign{apart: newApartOn(t, b, db, signingIn()...)}
	// What is shared here is not the sandbox of the installation, which would take its messages with it.
	tel, err := telemetry.New("sandbox", "error", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c.box = sandbox.New(sandbox.Config{BatchInterval: receipts})
	server, err := httpserver.Start(t.Context(), httpserver.Config{Name: "sandbox", Listen: c.apart.sandbox, Handler: c.box.Handler(), Log: tel.Log})
	if err != nil {
		t.Fatal(err)
	}
	c.box.Start(t.Context())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := errors.Join(c.box.Stop(ctx), server.Stop(ctx))
		if err != nil {
			t.Error(err)
		}
	})
	c.addReceipts(t)
	c.pool, err = pgxpool.New(t.Context(), db.OwnerURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.pool.Close)
	return c
}

// addReceipts adds the process that takes the sandbox's webhooks.
func (c *campaign) addReceipts(t *testing.T) {
	t.Helper()
	ports, err := freePorts(2)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := c.box.EventWebhook("http://" + ports[0] + "/webhooks/sendgrid")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.dir, "sendgrid-verification")
	err = os.WriteFile(file, []byte(key+"\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	c.replicas = append(c.replicas, &replica{name: "receipts", ops: ports[1], settings: map[string]string{
		"DOORCODE_RECEIPTS_LISTEN":                    ports[0],
		"DOORCODE_RECEIPTS_OPERATIONS_LISTEN":         ports[1],
		"DOORCODE_RECEIPTS_NATS_KEY_FILE":             c.bus.KeyFile("receipts"),
		"DOORCODE_RECEIPTS_ADDRESS_KEY_FILE":          c.settings["DOORCODE_AUTH_ADDRESS_KEY_FILE"],
		"DOORCODE_RECEIPTS_SENDGRID_PUBLIC_KEYS_FILE": file,
	}})
}

// startAll starts every process, with fault points of which none is armed.
func (c *campaign) startAll(t *testing.T) {
	t.Helper()
	for _, r := range c.processes() {
		err := c.launchArmed(t.Context(), r, "")
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range c.processes() {
		err := r.readyIn(t.Context(), r.ops)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// openWorkspace puts the workspace that people sign in to.
func (c *campaign) openWorkspace(ctx context.Context) error {
	r, err := c.insist(ctx, &traveller{}, http.MethodPut, "/v1/workspaces/acme", "", client.Workspace{Name: "Acme", MainEmail: "main@acme.example", Owner: "owner"})
	if err != nil || r.status >= http.StatusMultipleChoices {
		return unexpected("put of the workspace", r, err)
	}
	return nil
}

// processes are the replicas but for the sandbox, which is none here.
func (c *campaign) processes() []*replica {
	return c.named("auth", "verifier", "email-dispatcher", "receipts")
}

// crashPlan is what one replica goes through: it dies at each point in turn, is
// started again with the next one armed, and lives on after the last.
type crashPlan struct {
	replica string
	points  []string
}

// crashPlans names every point between two steps of create, deliver, record,
// check, resend and publish, of the sweep, of the seals and of the receipts.
func crashPlans() []crashPlan {
	return []crashPlan{
		{"auth", []string{"auth.create.read:2", "auth.create.taken:2", "auth.create.published:2"}},
		{"verifier-1", []string{"check.found:2", "recorder.fetched:1", "recorder.committed:2", "lookup.read:1", "lookup.inserted:1", "check.committed:3"}},
		{"verifier-2", []string{"relay.read:2", "recorder.stored:2", "resend.found:1", "relay.published:2", "resend.committed:1", "sweep.committed:1", "sealer.committed:1", "sealer.written:1"}},
		{"email-dispatcher-1", []string{"dispatch.fetched:2", "dispatch.rendered:2", "dispatch.called:2", "dispatch.published:2"}},
		{"email-dispatcher-2", []string{"dispatch.asked:1", "dispatch.called:1", "dispatch.fetched:1:stop"}},
		{"receipts", []string{"receipts.verified:1", "receipts.published:2"}},
	}
}

// execute takes one replica through its plan. A stopped process goes on when the
// channel is closed.
func (c *campaign) execute(ctx context.Context, plan crashPlan, proceed <-chan struct{}, reached func(point string)) error {
	r := c.named(plan.replica)[0]
	for _, point := range plan.points {
		err := c.launchArmed(ctx, r, point)
		if err != nil {
			return err
		}
		if filepath.Ext(point) == ".fetched:1:stop" {
			return c.sleep(ctx, r, point, proceed, reached)
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return fmt.Errorf("%s never came to %s", r.name, point)
		}
		if !r.killed() {
			return fmt.Errorf("%s ended at %s: %w\n%s", r.name, point, r.err, r.tail())
		}
		reached(point)
	}
	err := c.launchArmed(ctx, r, "")
	if err != nil {
		return err
	}
	return r.readyIn(ctx, r.ops)
}

// sleep waits until a process has stopped itself, and lets it go on when told.
func (c *campaign) sleep(ctx context.Context, r *replica, point string, proceed <-chan struct{}, reached func(string)) error {
	pid := r.cmd.Process.Pid
	for !stopped(pid) {
		tick(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("%s never stopped at %s", r.name, point)
		}
	}
	reached(point)
	select {
	case <-proceed:
	case <-ctx.Done():
	}
	return errors.Join(r.cmd.Process.Signal(syscall.SIGCONT), r.readyIn(ctx, r.ops))
}

// settle waits until nothing is on its way any more: no send, no event that is not
// recorded, no outbox, no open challenge, no webhook.
func (c *campaign) settle(t *testing.T) {
	t.Helper()
	for _, r := range c.processes() {
		err := r.readyIn(t.Context(), r.ops)
		if err != nil {
			t.Fatal(err)
		}
	}
	bustest.Wait(t, "the administrator is connected", func() bool { return c.bus.Admin().Ready(t.Context()) == nil })
	deadline := time.Now().Add(endurance)
	for quiet := 0; quiet < 2; { // twice, because what ends in one place may begin in another
		left := c.left(t)
		if left == "" {
			quiet++
			continue
		}
		quiet = 0
		_ = c.box.Flush(t.Context()) // what fails is left and posted again
		if time.Now().After(deadline) {
			t.Fatalf("still on their way: %s", left)
		}
		tick(t.Context())
	}
}

// left names what is still on its way, along the way that things take; empty is
// nothing.
func (c *campaign) left(t *testing.T) string {
	t.Helper()
	var open, outbox int
	c.db.Scan(t, `SELECT (SELECT count(*) FROM challenges WHERE state = 'pending'), (SELECT count(*) FROM outbox)`, nil, &open, &outbox)
	for _, way := range []struct {
		name  string
		count int
	}{
		{"challenges to record", c.waiting(t, bus.Challenges, bus.Recorder)},
		{"open challenges", open},
		{"events in the outbox", outbox},
		{"sends", c.waiting(t, bus.Challenges, bus.EmailDispatcher)},
		{"webhooks", c.box.WebhookCounts().Waiting},
		{"deliveries and receipts to record", c.waiting(t, bus.Deliveries, bus.Recorder)},
	} {
		if way.count > 0 {
			return fmt.Sprintf("%d %s", way.count, way.name)
		}
	}
	return ""
}

// waiting is how many messages a consumer has not seen acknowledged.
func (s *apart) waiting(t *testing.T, stream, durable string) int {
	t.Helper()
	n, err := s.unacknowledged(t.Context(), stream, durable)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
