package bus_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

// It shows SEC-22 of deploy/SECURITY.md.
func TestConn_StoresAMessageOncePerID(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")

	first := publish(t, auth, "one")
	again := publish(t, auth, "one")
	other := publish(t, auth, "two")

	if first != (bus.Ack{Stream: bus.Challenges, Sequence: 1}) {
		t.Errorf("first ack: %+v", first)
	}
	if again != (bus.Ack{Stream: bus.Challenges, Sequence: 1, Duplicate: true}) {
		t.Errorf("ack of the repeat: %+v", again)
	}
	if other.Sequence != 2 || other.Duplicate {
		t.Errorf("ack of another id: %+v", other)
	}
	if stored := b.Messages(t, bus.Challenges); len(stored) != 2 {
		t.Errorf("stored %d messages, want 2", len(stored))
	}
}

func TestConn_RemembersIDsAcrossARestart(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")
	publish(t, auth, "one")

	b.Restart(t)
	bustest.Wait(t, "reconnect", func() bool { return auth.Ready(t.Context()) == nil })

	again := publish(t, auth, "one")
	if !again.Duplicate || again.Sequence != 1 {
		t.Errorf("ack after a restart: %+v", again)
	}
}

func TestConn_NeverSendsAFailedPublishLater(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")
	publish(t, auth, "before")

	b.Stop(t)
	message := bus.Message{Subject: email, ID: "ghost", Data: []byte("ghost")}
	_, err := auth.Publish(t.Context(), message)
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Fatalf("publish while the server is down: %v", err)
	}
	for _, err := range auth.PublishBatch(t.Context(), []bus.Message{message}) {
		if !errors.Is(err, bus.ErrUnavailable) {
			t.Fatalf("batch while the server is down: %v", err)
		}
	}

	b.Resume(t)
	bustest.Wait(t, "reconnect", func() bool {
		return auth.Ready(t.Context()) == nil && b.Admin().Ready(t.Context()) == nil
	})
	publish(t, auth, "after") // Whatever was kept back would have left before this.
	var ids []string
	for _, stored := range b.Messages(t, bus.Challenges) {
		ids = append(ids, stored.ID)
	}
	if diff := cmp.Diff([]string{"before", "after"}, ids); diff != "" {
		t.Errorf("stored ids (-want +got):\n%s", diff)
	}
}

// It shows SEC-68 of deploy/SECURITY.md.
func TestConn_SaysWhenAStreamIsFull(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")
	js := rawAdmin(t, b)
	stream, err := js.Stream(patience(t), bus.Challenges)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxBytes = 2 << 10
	_, err = js.UpdateStream(patience(t), config)
	if err != nil {
		t.Fatal(err)
	}

	message := bus.Message{Subject: email, ID: "1", Data: []byte(strings.Repeat("x", 1200))}
	_, err = auth.Publish(patience(t), message)
	if err != nil {
		t.Fatalf("publish into an empty stream: %v", err)
	}
	message.ID = "2"
	_, err = auth.Publish(patience(t), message)
	if !errors.Is(err, bus.ErrStreamFull) || errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("publish into a full stream: %v", err)
	}
	errs := auth.PublishBatch(patience(t), []bus.Message{message})
	if !errors.Is(errs[0], bus.ErrStreamFull) {
		t.Errorf("batch into a full stream: %v", errs[0])
	}
	if stored := b.Messages(t, bus.Challenges); len(stored) != 1 || stored[0].ID != "1" {
		t.Errorf("a full stream holds %d messages; the first must stay", len(stored))
	}
}

func TestConn_RefusesAMessageThatIsTooLarge(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")
	for _, size := range []int{17 << 10, 65 << 10} { // more than the stream takes, more than the server takes
		_, err := auth.Publish(patience(t), bus.Message{Subject: email, ID: strconv.Itoa(size), Data: make([]byte, size)})
		if err == nil || errors.Is(err, bus.ErrUnavailable) || errors.Is(err, bus.ErrStreamFull) {
			t.Errorf("publish of %d bytes: %v", size, err)
		}
	}
}

func TestConn_RefusesHeadersThatSteerTheServer(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")
	for _, name := range []string{"Nats-Rollup", "nats-ttl", "NATS-Schedule", "Nats-Msg-Id"} {
		message := bus.Message{Subject: email, ID: name, Header: map[string]string{name: "all"}}
		_, err := auth.Publish(t.Context(), message)
		if err == nil {
			t.Errorf("header %s was sent", name)
		}
		if auth.PublishBatch(t.Context(), []bus.Message{message})[0] == nil {
			t.Errorf("header %s was sent in a batch", name)
		}
	}
	_, err := auth.Publish(t.Context(), bus.Message{Subject: email})
	if err == nil {
		t.Error("a message without an id was sent")
	}
	if stored := b.Messages(t, bus.Challenges); len(stored) != 0 {
		t.Errorf("%d messages were stored", len(stored))
	}
}

func TestConn_PublishesABatchWithOneErrorPerMessage(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	verifier := b.Connect(t, "verifier")
	errs := verifier.PublishBatch(patience(t), []bus.Message{
		{Subject: "doorcode.outcome.approved", ID: "a"},
		{Subject: "doorcode.directory.login_put"}, // no id
		{Subject: "doorcode.directory.login_put", ID: "c"},
		{Subject: "doorcode.outcome.approved", ID: "a"}, // a repeat is no error
	})
	for i, wantError := range []bool{false, true, false, false} {
		if (errs[i] != nil) != wantError {
			t.Errorf("message %d: %v", i, errs[i])
		}
	}
	if n := len(b.Messages(t, bus.Outcomes)); n != 1 {
		t.Errorf("stored %d outcomes, want 1", n)
	}
	if n := len(b.Messages(t, bus.Directory)); n != 1 {
		t.Errorf("stored %d directory events, want 1", n)
	}
}

func TestConn_StopsTryingWhenTheCallerLeaves(t *testing.T) {
	t.Parallel()
	b := bustest.StartEmpty(t) // no stream: nobody acknowledges
	auth := b.Connect(t, "auth")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := auth.Publish(ctx, bus.Message{Subject: email, ID: "1"})
	if !errors.Is(err, bus.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("publish for a caller that left: %v", err)
	}
}
