// Package bustest gives a test a bus of its own: a real embedded server with the permissions of deploy/nats/nats.conf,
// fresh keys for every user, and all streams. It takes some 50 ms, so every test has one.
package bustest

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/embedded"
	"doorcode/pkg/freeport"
)

// Number is the number of DOORCODE_CHALLENGES for handles in a test.
const Number = 7

const timeout = time.Minute

// Bus is one server and its keys. It ends with its test.
type Bus struct {
	keys   string // directory of nats.conf and the seeds
	store  string
	listen string
	server *embedded.Server
	admin  *bus.Conn
	log    *slog.Logger // of the server; nil discards
}

// Start runs a server on a free port of 127.0.0.1 and applies the streams.
func Start(t testing.TB) *Bus {
	t.Helper()
	b := StartEmpty(t)
	b.Apply(t)
	return b
}

// StartEmpty is Start without the streams.
func StartEmpty(t testing.TB) *Bus {
	t.Helper()
	// Clean-ups run in reverse: the directory goes last, after the server, after its clients.
	dir := t.TempDir()
	taken, err := freeport.Take(t.Context(), "127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(taken.Release)
	b := &Bus{keys: filepath.Join(dir, "keys"), store: filepath.Join(dir, "store"), listen: taken.Addresses[0]}
	_, err = bus.WriteKeys(b.keys)
	if err != nil {
		t.Fatalf("write the keys: %v", err)
	}
	b.Resume(t)
	t.Cleanup(func() { b.Stop(t) })
	b.admin = b.Connect(t, "doorcodectl")
	return b
}

// Apply makes the streams, as `doorcodectl streams apply` does.
func (b *Bus) Apply(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	number := func(context.Context, string) (uint16, error) { return Number, nil }
	changes, err := bus.Plan(ctx, b.admin, number)
	if err != nil {
		t.Fatalf("plan the streams: %v", err)
	}
	err = bus.Apply(ctx, b.admin, changes)
	if err != nil {
		t.Fatalf("apply the streams: %v", err)
	}
}

// Forget deletes a consumer, so that the bus is as it was before there was one.
func (b *Bus) Forget(t testing.TB, stream, durable string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	answer, err := b.admin.Request(ctx, "$JS.API.CONSUMER.DELETE."+stream+"."+durable, nil)
	if err != nil || !strings.Contains(string(answer), `"success":true`) {
		t.Fatalf("delete consumer %s of %s: %s, %v", durable, stream, answer, err)
	}
}

// Connect opens a connection with the real credential of a user of nats.conf. A refused permission fails the test.
func (b *Bus) Connect(t testing.TB, user string) *bus.Conn {
	t.Helper()
	return b.Open(t, bus.Config{Name: user, Fatal: func(err error) { t.Errorf("connection of %s: %v", user, err) }})
}

// Open is Connect with the caller's Log and Fatal; address and key are those of cfg.Name.
func (b *Bus) Open(t testing.TB, cfg bus.Config) *bus.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cfg.URL, cfg.KeyFile = b.URL(), b.KeyFile(cfg.Name)
	conn, err := bus.Connect(ctx, cfg)
	if err != nil {
		t.Fatalf("connect as %s: %v", cfg.Name, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		err := conn.Drain(ctx)
		if err != nil {
			t.Errorf("drain the connection of %s: %v", cfg.Name, err)
		}
	})
	return conn
}

// Admin is the connection of doorcodectl.
func (b *Bus) Admin() *bus.Conn {
	return b.admin
}

// URL is the server's address, the same after a restart.
func (b *Bus) URL() string {
	return "nats://" + b.listen
}

// KeyFile names the file with a user's seed.
func (b *Bus) KeyFile(user string) string {
	return filepath.Join(b.keys, user+".nk")
}

// StoreDir is the server's store.
func (b *Bus) StoreDir() string {
	return b.store
}

// ConfigFile is the server's nats.conf.
func (b *Bus) ConfigFile() string {
	return filepath.Join(b.keys, "nats.conf")
}

// Stop ends the server; connections stay open and try to reconnect. It may be called again.
func (b *Bus) Stop(t testing.TB) {
	t.Helper()
	err := b.server.Stop(context.Background())
	if err != nil {
		t.Errorf("stop the server: %v", err)
	}
}

// Resume starts the server again after Stop, on the same store and port.
func (b *Bus) Resume(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	server, err := embedded.Start(ctx, embedded.Config{ConfigFile: b.ConfigFile(), StoreDir: b.store, Listen: b.listen, Log: b.log})
	if err != nil {
		t.Fatalf("start the server: %v", err)
	}
	b.server = server
}

// LogTo gives the server a log from its next start on.
func (b *Bus) LogTo(log *slog.Logger) {
	b.log = log
}

// Restart is Stop and Resume. Use Wait with a connection's Ready to go on when it is back.
func (b *Bus) Restart(t testing.TB) {
	t.Helper()
	b.Stop(t)
	b.Resume(t)
}

// Stored is a message in a stream.
type Stored struct {
	bus.Message
	Sequence uint64
}

// Messages reads all that a stream holds, oldest first, as doorcodectl.
func (b *Bus) Messages(t testing.TB, stream string) []Stored {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	state, err := b.admin.StreamState(ctx, stream)
	if err != nil {
		t.Fatalf("state of %s: %v", stream, err)
	}
	var messages []Stored
	for sequence := state.First; state.Messages > 0 && sequence <= state.Last; sequence++ {
		message, err := b.admin.Get(ctx, stream, sequence)
		if err != nil {
			t.Fatalf("read %s at %d: %v", stream, sequence, err)
		}
		messages = append(messages, Stored{Message: message, Sequence: sequence})
	}
	return messages
}

// Wait asks again and again until done says yes, and fails the test when that takes too long.
func Wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
