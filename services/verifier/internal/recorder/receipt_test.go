package recorder_test

import (
	"fmt"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/services/verifier/internal/verifiertest"
)

// report is what a provider says about the first attempt of the first send, some seconds after the challenge was made.
func report(c verifiertest.Challenge, status delivery.Status, seconds int) event.Receipt {
	return event.Receipt{
		Channel: "email", Provider: "sendgrid", Challenge: c.ID(), Send: 1, Attempt: "attempt_001", Status: string(status),
		At: c.Event.CreatedAt.Add(time.Duration(seconds) * time.Second).Truncate(time.Second),
	}
}

// receive publishes receipts as their process does; copy makes each a message of its own although it is the same event.
func (b *bench) receive(copy int, receipts ...event.Receipt) {
	b.t.Helper()
	conn := b.Bus.Connect(b.t, "receipts")
	for _, p := range receipts {
		id := event.ReceiptID(p.Provider, p.Challenge, p.Attempt, p.Status, fmt.Sprint(p.At.Unix()))
		e, err := event.New(event.ReceiptRecorded, id, "doorcode/receipts", p.At, p.Challenge, p)
		if err != nil {
			b.t.Fatal(err)
		}
		_, err = conn.Publish(b.t.Context(), bus.Message{
			Subject: "doorcode.receipt." + p.Channel, ID: fmt.Sprint(id, copy), Header: e.Header(), Data: e.Data,
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// P9: a receipt may come before its attempt and before its challenge, and as often as it likes.
func TestP9_ReceiptsAreRecordedOnceInAnyOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	all := []event.Receipt{
		report(c, delivery.StatusFailed, 9), report(c, delivery.StatusAccepted, 1), report(c, delivery.StatusDelivered, 5),
	}
	b.receive(1, all...)
	b.receive(2, all[2], all[0], all[1])
	b.deliver(event.DeliveryAttempted, c.ID()+".1.attempt_001", attempt(c, 1, delivery.Accepted))
	stop := b.run()
	bustest.Wait(t, "all is recorded", func() bool { return b.recorded.Load() >= 8 })
	stop()
	b.Want(3, `SELECT count(*) FROM audit WHERE kind = 'receipt.v1.recorded' AND challenge_id = $1 AND actor = 'doorcode/receipts'`, c.ID())
	if b.dead.Load() != 0 {
		t.Errorf("%d dead letters", b.dead.Load())
	}
	if _, told := b.changed.Load(c.ID()); !told {
		t.Error("nobody was told that the challenge changed")
	}
	live, err := b.db.Live(t.Context(), c.ID())
	if err != nil {
		t.Fatal(err)
	}
	s := delivery.StatusOf(1, live.Delivered)
	if s.Status != delivery.StatusFailed || s.By != delivery.FactReceipt || !s.At.Equal(all[0].At) {
		t.Errorf("%+v", s)
	}
}

// It shows SEC-64 of deploy/SECURITY.md.
func TestRecorder_AReceiptWithoutAReferenceIsKeptUnderItsAddress(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	p := report(c, delivery.StatusFailed, 3)
	p.Challenge, p.Send, p.Attempt, p.AddressHash = "", 0, "", make([]byte, 32)
	b.receive(1, p)
	broken := report(c, delivery.StatusFailed, 4)
	broken.Send = 0
	b.receive(1, broken)
	b.run()
	bustest.Wait(t, "all is handled", func() bool { return b.recorded.Load() >= 2 && b.dead.Load() == 1 })
	b.Want(1, `SELECT count(*) FROM audit WHERE kind = 'receipt.v1.recorded' AND challenge_id IS NULL AND detail ? 'address_hash'`)
	b.Want(1, `SELECT count(*) FROM audit WHERE kind = 'receipt.v1.recorded'`)
}

// P5: a receipt shows that the provider took a message although the answer was lost, so it is not sent again.
func TestP5_AReceiptShowsThatASendWasTaken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for status, want := range map[delivery.Status]bool{
		delivery.StatusAccepted: true, delivery.StatusDeferred: true, delivery.StatusDelivered: true, delivery.StatusFailed: false,
	} {
		c := b.Issue()
		stop := b.run()
		before := b.recorded.Load()
		b.deliver(event.DeliveryAttempted, c.ID()+".1.attempt_001", attempt(c, 1, delivery.Unknown))
		b.receive(1, report(c, status, 2))
		bustest.Wait(t, "all is recorded", func() bool { return b.recorded.Load() >= before+2 })
		bustest.Wait(t, "the challenge is recorded", func() bool { return b.Count(`SELECT count(*) FROM challenges WHERE id = $1`, c.ID()) == 1 })
		stop()
		_, accepted, err := b.db.Delivery(t.Context(), c.ID(), 1)
		if err != nil || accepted != want {
			t.Errorf("%s: accepted %t: %v", status, accepted, err)
		}
		_, accepted, err = b.db.Delivery(t.Context(), c.ID(), 2)
		if err != nil || accepted {
			t.Errorf("%s of another send: accepted %t: %v", status, accepted, err)
		}
	}
}
