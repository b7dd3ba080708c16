// Package dispatchtest gives tests of dispatchers what lies around one: a bus
// with the real credentials, the key ring of each channel, and auth, which
// issues challenges.
package dispatchtest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/keyring"
	"doorcode/pkg/seal"
)

// Code is the code of every challenge. It must show in messages alone.
const Code = "482917"

// longest bounds every wait of a test.
const longest = 30 * time.Second

// World is the surroundings of dispatchers. It ends with its test.
type World struct {
	*bustest.Bus
	// Log takes the lines of the processes under test. The end of the test
	// fails when it shows a code, a recipient or another secret (P4).
	Log *Log

	rings map[delivery.Channel]*keyring.Ring
}

// Start runs a bus with all streams.
func Start(t testing.TB) *World {
	t.Helper()
	return New(t, bustest.Start(t))
}

// New puts a world around a bus.
func New(t testing.TB, b *bustest.Bus) *World {
	t.Helper()
	w := &World{Bus: b, Log: &Log{secrets: []string{Code}}, rings: map[delivery.Channel]*keyring.Ring{}}
	for _, c := range delivery.Channels() {
		ring, err := keyring.New()
		if err != nil {
			t.Fatal(err)
		}
		w.rings[c] = ring
	}
	t.Cleanup(func() { w.Log.check(t) })
	return w
}

// RingFile writes the key ring of a channel into a file of the test.
func (w *World) RingFile(t testing.TB, c delivery.Channel) string {
	t.Helper()
	ring, err := w.rings[c].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return File(t, string(c)+".json", ring)
}

// Order is a challenge that a test asks for.
type Order struct {
	Channel   delivery.Channel
	Recipient string
	// Life is how long the code lives; zero is ten minutes.
	Life time.Duration
	// Locale is the person's; notices alone are written in it.
	Locale string
}

// Issue publishes a challenge with one route, as auth does, and returns its id.
func (w *World) Issue(t testing.TB, auth *bus.Conn, o Order) string {
	t.Helper()
	if o.Life == 0 {
		o.Life = 10 * time.Minute
	}
	w.Log.Secret(o.Recipient)
	id, err := challenge.NewID()
	if err != nil {
		t.Fatal(err)
	}
	var p event.Issued
	err = eventtest.Accepted(t, event.ChallengeIssued).Decode(&p)
	if err != nil {
		t.Fatal(err)
	}
	p.Challenge, p.Channel, p.CreatedAt = id, string(o.Channel), time.Now().UTC()
	p.ExpiresAt = p.CreatedAt.Add(o.Life)
	p.Routes = p.Routes[:1]
	p.Routes[0].Channel = p.Channel
	p.Routes[0].Envelope, err = seal.Seal(w.rings[o.Channel], seal.Context{
		Challenge: id, Channel: p.Channel, NotAfter: challenge.NotAfter(p.ExpiresAt),
	}, seal.Content{
		Code: Code, Recipient: o.Recipient, Workspace: "Acme", Label: "KTM", Reference: "4F72KQ9R",
		CreatedAt: p.CreatedAt, ExpiresAt: p.ExpiresAt, UserAgent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0",
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.New(event.ChallengeIssued, id, "doorcode/auth", p.CreatedAt, id, p)
	if err != nil {
		t.Fatal(err)
	}
	subject, err := event.SubjectOf(e.Type, p.Channel)
	if err == nil {
		_, err = auth.Publish(Context(t), bus.Message{Subject: subject, ID: e.ID, Header: e.Header(), Data: e.Data})
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Tell publishes the notice of a lock, as auth does, and returns its id.
func (w *World) Tell(t testing.TB, auth *bus.Conn, o Order) string {
	t.Helper()
	if o.Life == 0 {
		o.Life = 24 * time.Hour
	}
	w.Log.Secret(o.Recipient)
	id, err := challenge.NewID()
	if err != nil {
		t.Fatal(err)
	}
	var p event.Notice
	err = eventtest.Accepted(t, event.NoticeRequested).Decode(&p)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	p.Notice, p.Channel, p.NotAfter = id, string(o.Channel), now.Add(o.Life)
	p.Envelope, err = seal.Seal(w.rings[o.Channel], seal.Context{
		Challenge: id, Channel: p.Channel, NotAfter: p.NotAfter, Notice: p.Kind,
	}, seal.Content{
		Recipient: o.Recipient, Workspace: "Acme", Reference: p.SupportReference, Locale: o.Locale, CreatedAt: now, ExpiresAt: p.NotAfter,
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.New(event.NoticeRequested, id, "doorcode/auth", now, id, p)
	if err != nil {
		t.Fatal(err)
	}
	subject, err := event.SubjectOf(e.Type, p.Channel)
	if err == nil {
		_, err = auth.Publish(Context(t), bus.Message{Subject: subject, ID: e.ID, Header: e.Header(), Data: e.Data})
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Context bounds one wait of a test.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	t.Cleanup(cancel)
	return ctx
}

// File writes a file that lives as long as the test.
func File(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	err := os.WriteFile(path, data, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// StrangerFile writes the seed of a user whom the server does not know.
func StrangerFile(t testing.TB) string {
	t.Helper()
	seed, _, err := bus.NewUserKey()
	if err != nil {
		t.Fatal(err)
	}
	return File(t, "stranger.nk", []byte(seed))
}

// Log keeps log lines of many goroutines.
type Log struct {
	mu      sync.Mutex
	lines   bytes.Buffer
	secrets []string
}

// Write takes a line.
func (l *Log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(line)
}

// Secret adds what no line may show.
func (l *Log) Secret(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.secrets = append(l.secrets, s)
}

// check looks for secrets, and tells all lines of a test that failed.
func (l *Log) check(t testing.TB) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.secrets {
		if bytes.Contains(l.lines.Bytes(), []byte(s)) {
			t.Errorf("the log shows %q (P4)", s)
		}
	}
	if t.Failed() {
		t.Logf("log of the processes:\n%s", l.lines.String())
	}
}
