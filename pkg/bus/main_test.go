package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

const email = "doorcode.challenge.email"

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// raw is a connection with a user's real key and none of this package's manners.
func raw(t *testing.T, b *bustest.Bus, user, inbox string) *nats.Conn {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(b.KeyFile(user))
	if err != nil {
		t.Fatalf("read the key of %s: %v", user, err)
	}
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	nc, err := nats.Connect(b.URL(), key, nats.CustomInboxPrefix(inbox), quiet)
	if err != nil {
		t.Fatalf("connect as %s: %v", user, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// rawAdmin is JetStream as the operator has it.
func rawAdmin(t *testing.T, b *bustest.Bus) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(raw(t, b, "doorcodectl", "_INBOX_doorcodectl"))
	if err != nil {
		t.Fatalf("open jetstream: %v", err)
	}
	return js
}

// patience bounds a call that is expected to succeed.
func patience(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func publish(t *testing.T, c *bus.Conn, id string) bus.Ack {
	t.Helper()
	ack, err := c.Publish(patience(t), bus.Message{
		Subject: email, ID: id, Header: map[string]string{"ce-type": "challenge.v1.issued"}, Data: []byte(id),
	})
	if err != nil {
		t.Fatalf("publish %s: %v", id, err)
	}
	return ack
}
