package bus_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

const wait = 2 * time.Second

func openConsumer(t *testing.T, c *bus.Conn, stream, durable string) *bus.Consumer {
	t.Helper()
	consumer, err := c.Consumer(patience(t), stream, durable)
	if err != nil {
		t.Fatalf("open %s of %s: %v", durable, stream, err)
	}
	return consumer
}

func fetch(t *testing.T, consumer *bus.Consumer, limit int) []*bus.Delivery {
	t.Helper()
	deliveries, err := consumer.Fetch(t.Context(), limit, wait)
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	return deliveries
}

// pending is how many challenges a consumer has handed out and not got back.
func pending(t *testing.T, b *bustest.Bus, durable string) int {
	t.Helper()
	consumer, err := rawAdmin(t, b).Consumer(patience(t), bus.Challenges, durable)
	if err != nil {
		t.Fatal(err)
	}
	return consumer.CachedInfo().NumAckPending
}

// The second message is there only once the first was worked on: who gathered both first would wait for it in vain.
func TestConsumer_HandsEachMessageAsItComes(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")
	publish(t, auth, "0")
	consumer := openConsumer(t, b.Connect(t, "email-dispatcher"), bus.Challenges, bus.EmailDispatcher)
	var handed []string
	err := consumer.Hand(patience(t), 3, wait, func(d *bus.Delivery) {
		handed = append(handed, d.ID)
		if len(handed) < 3 {
			publish(t, auth, strconv.Itoa(len(handed)))
		}
	})
	if err != nil || !slices.Equal(handed, []string{"0", "1", "2"}) {
		t.Errorf("handed %v, %v", handed, err)
	}
}

func TestConsumer_FetchesExactlyWhatItIsAskedFor(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")
	for i := range 5 {
		publish(t, auth, strconv.Itoa(i))
	}
	consumer := openConsumer(t, b.Connect(t, "email-dispatcher"), bus.Challenges, bus.EmailDispatcher)

	deliveries := fetch(t, consumer, 2)
	if len(deliveries) != 2 || pending(t, b, bus.EmailDispatcher) != 2 {
		t.Fatalf("fetched %d, the server handed out %d; want 2", len(deliveries), pending(t, b, bus.EmailDispatcher))
	}
	first := deliveries[0]
	if first.ID != "0" || first.Subject != email || first.Header["ce-type"] != "challenge.v1.issued" ||
		first.Sequence != 1 || first.Number != 1 || first.Stream != bus.Challenges ||
		first.Received.IsZero() || first.Stored.IsZero() {
		t.Errorf("first delivery: %+v", first)
	}
	for _, delivery := range deliveries {
		err := delivery.DoubleAck(patience(t))
		if err != nil {
			t.Errorf("double ack: %v", err)
		}
	}
	if left := pending(t, b, bus.EmailDispatcher); left != 0 {
		t.Errorf("%d pending after the acks", left)
	}
}

func TestConsumer_FindsNothingWithoutAnError(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	consumer := openConsumer(t, b.Connect(t, "verifier"), bus.Deliveries, bus.Recorder)
	deliveries, err := consumer.Fetch(t.Context(), 10, 20*time.Millisecond)
	if err != nil || len(deliveries) != 0 {
		t.Errorf("fetch from an empty stream: %v, %v", deliveries, err)
	}
}

func TestConsumer_SeesOnlyItsChannel(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")
	_, err := auth.Publish(patience(t), bus.Message{Subject: "doorcode.challenge.sms", ID: "sms"})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, auth, "mail")
	dispatcher := openConsumer(t, b.Connect(t, "email-dispatcher"), bus.Challenges, bus.EmailDispatcher)
	recorder := openConsumer(t, b.Connect(t, "verifier"), bus.Challenges, bus.Recorder)
	if got := fetch(t, dispatcher, 1); len(got) != 1 || got[0].ID != "mail" {
		t.Errorf("the dispatcher got %v", got)
	}
	if got := fetch(t, recorder, 2); len(got) != 2 {
		t.Errorf("the recorder got %d messages, want both", len(got))
	}
}

func TestDelivery_ComesAgainWithTheNextNumberAfterANak(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	publish(t, b.Connect(t, "auth"), "one")
	consumer := openConsumer(t, b.Connect(t, "email-dispatcher"), bus.Challenges, bus.EmailDispatcher)

	first := fetch(t, consumer, 1)
	err := errors.Join(first[0].InProgress(), first[0].Nak(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	second := fetch(t, consumer, 1)
	if len(second) != 1 || second[0].Number != 2 || second[0].Sequence != first[0].Sequence {
		t.Fatalf("after a nak: %+v", second)
	}
	err = second[0].Term("too late")
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "advisory", func() bool {
		for _, advisory := range b.Messages(t, bus.Advisories) {
			if strings.Contains(string(advisory.Data), "too late") {
				return true
			}
		}
		return false
	})
	if left := pending(t, b, bus.EmailDispatcher); left != 0 {
		t.Errorf("%d pending after the end", left)
	}
}

func TestDelivery_IsDoneAfterAPlainAck(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	publish(t, b.Connect(t, "auth"), "one")
	consumer := openConsumer(t, b.Connect(t, "verifier"), bus.Challenges, bus.Recorder)
	err := fetch(t, consumer, 1)[0].Ack()
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "ack", func() bool { return pending(t, b, bus.Recorder) == 0 })
}

func TestConsumer_ReportsAServerThatIsAway(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth, dispatcher := b.Connect(t, "auth"), b.Connect(t, "email-dispatcher")
	consumer := openConsumer(t, dispatcher, bus.Challenges, bus.EmailDispatcher)
	publish(t, auth, "one")
	held := fetch(t, consumer, 1)

	b.Stop(t)
	bustest.Wait(t, "disconnect", func() bool { return dispatcher.Ready(t.Context()) != nil })
	_, err := consumer.Fetch(t.Context(), 1, wait)
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("fetch: %v", err)
	}
	err = held[0].DoubleAck(t.Context())
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("double ack: %v", err)
	}

	b.Resume(t)
	bustest.Wait(t, "reconnect", func() bool {
		return dispatcher.Ready(t.Context()) == nil && auth.Ready(t.Context()) == nil
	})
	publish(t, auth, "two")
	if got := fetch(t, consumer, 1); len(got) != 1 || got[0].ID != "two" {
		t.Errorf("after the restart: %+v", got)
	}
	err = held[0].DoubleAck(patience(t))
	if err != nil {
		t.Errorf("the ack of what was held: %v", err)
	}
}

func TestConsumer_LetsARunningFetchEnd(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")
	consumer := openConsumer(t, b.Connect(t, "email-dispatcher"), bus.Challenges, bus.EmailDispatcher)
	ctx, cancel := context.WithCancel(t.Context())
	type result struct {
		deliveries []*bus.Delivery
		err        error
	}
	done := make(chan result, 1)
	go func() {
		deliveries, err := consumer.Fetch(ctx, 1, 10*time.Second)
		done <- result{deliveries, err}
	}()
	js := rawAdmin(t, b)
	bustest.Wait(t, "the pull", func() bool {
		info, err := js.Consumer(patience(t), bus.Challenges, bus.EmailDispatcher)
		return err == nil && info.CachedInfo().NumWaiting == 1
	})
	cancel()
	publish(t, auth, "one")
	got := <-done
	if got.err != nil || len(got.deliveries) != 1 {
		t.Errorf("a fetch that was running: %v, %v", got.deliveries, got.err)
	}
	_, err := consumer.Fetch(ctx, 1, wait)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a fetch after the end: %v", err)
	}
}

// It shows SEC-31 of deploy/SECURITY.md.
func TestConn_RefusesAConsumerThatIsNotAsPlanned(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	dispatcher := b.Connect(t, "email-dispatcher")
	_, err := dispatcher.Consumer(t.Context(), bus.Challenges, "nobody")
	if err == nil {
		t.Error("a consumer of no plan was opened")
	}

	js := rawAdmin(t, b)
	running, err := js.Consumer(patience(t), bus.Challenges, bus.EmailDispatcher)
	if err != nil {
		t.Fatal(err)
	}
	config := running.CachedInfo().Config
	config.AckWait = time.Second
	_, err = js.UpdateConsumer(patience(t), bus.Challenges, config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dispatcher.Consumer(patience(t), bus.Challenges, bus.EmailDispatcher)
	if err == nil || !strings.Contains(err.Error(), "ack_wait 1s → 30s") {
		t.Errorf("a consumer with another ack wait: %v", err)
	}

	err = js.DeleteConsumer(patience(t), bus.Challenges, bus.EmailDispatcher)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dispatcher.Consumer(patience(t), bus.Challenges, bus.EmailDispatcher)
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("a consumer that is gone: %v", err)
	}
}
