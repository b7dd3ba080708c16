package recorder_test

import (
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
)

// tell publishes a notice as auth does; change spoils it, id names the message.
func (b *bench) tell(id string, change func(*event.Notice)) event.Notice {
	b.t.Helper()
	var p event.Notice
	vector := eventtest.Accepted(b.t, event.NoticeRequested)
	err := vector.Decode(&p)
	if err != nil {
		b.t.Fatal(err)
	}
	var now time.Time
	b.PG.Scan(b.t, `SELECT clock_timestamp()`, nil, &now)
	p.Channel, p.NotAfter = "email", now.Add(24*time.Hour)
	if change != nil {
		change(&p)
	}
	e, err := event.New(event.NoticeRequested, p.Notice, "doorcode/auth", now, p.Notice, p)
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = b.Auth.Publish(b.t.Context(), bus.Message{Subject: "doorcode.challenge." + p.Channel, ID: id, Header: e.Header(), Data: e.Data})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// A notice has no row of its own: what became of it is found under its id where a challenge's would stand.
func TestP11_ANoticeAndItsDeliveriesAreRecordedWithoutAChallenge(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.tell("1", nil)
	b.run()
	var now time.Time
	b.PG.Scan(t, `SELECT clock_timestamp()`, nil, &now)
	d := event.Delivery{
		Challenge: p.Notice, Send: 1, Channel: "email", Number: 2, RequestedAt: now.UTC(),
		Attempt: "attempt_002", Provider: "sendgrid", Result: string(delivery.Unknown),
	}
	b.deliver(event.DeliveryAttempted, p.Notice+".1.attempt_002", d)
	bustest.Wait(t, "all is recorded", func() bool { return b.recorded.Load() >= 2 })
	b.Want(1, `SELECT count(*) FROM audit WHERE id = $1 AND kind = 'notice.v1.requested' AND challenge_id = $1 AND workspace = 'acme'
		AND login = 'jo' AND actor = 'doorcode/auth' AND detail ->> 'kind' = 'login_locked' AND detail ->> 'support_reference' = '4F72KQ9R'`, p.Notice)
	b.Want(0, `SELECT count(*) FROM audit WHERE detail ? 'envelope'`)
	// The hand-over of which nobody spoke is unknown, as that of a code.
	b.Want(2, `SELECT count(*) FROM audit WHERE challenge_id = $1 AND kind = 'delivery.v1.attempted' AND detail ->> 'result' = 'unknown'`, p.Notice)
	b.Want(0, `SELECT count(*) FROM challenges`)
	ended, accepted, err := b.db.Delivery(t.Context(), p.Notice, 1)
	if err != nil || ended || accepted {
		t.Errorf("ended %t, accepted %t before it was taken: %v", ended, accepted, err)
	}
	b.receive(1, event.Receipt{
		Channel: "email", Provider: "sendgrid", Challenge: p.Notice, Send: 1, Attempt: "attempt_002", Status: string(delivery.StatusDelivered),
		At: now.UTC().Truncate(time.Second),
	})
	bustest.Wait(t, "the receipt is recorded", func() bool { return b.recorded.Load() >= 3 })
	ended, accepted, err = b.db.Delivery(t.Context(), p.Notice, 1)
	if err != nil || ended || !accepted || b.dead.Load() != 0 {
		t.Errorf("ended %t, accepted %t after a receipt, %d dead letters: %v", ended, accepted, b.dead.Load(), err)
	}
}

func TestRecorder_ANoticeThatIsNotWholeIsADeadLetter(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.tell("1", func(p *event.Notice) { p.Notice = "short" })
	b.tell("2", func(p *event.Notice) { p.Login = "a b" })
	b.run()
	bustest.Wait(t, "all is handled", func() bool { return b.dead.Load() == 2 })
	b.Want(0, `SELECT count(*) FROM audit`)
}
