package dispatch

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/seal"
)

// notice is a notice that a test asks for.
type notice struct {
	life   time.Duration // from now on; 0 means a day
	change func(*event.Notice)
}

// tell publishes a notice as auth and returns its id.
func (w *world) tell(t *testing.T, n notice) string {
	t.Helper()
	id, err := challenge.NewID()
	if err != nil {
		t.Fatal(err)
	}
	if n.life == 0 {
		n.life = 24 * time.Hour
	}
	var p event.Notice
	err = eventtest.Accepted(t, event.NoticeRequested).Decode(&p)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	p.Notice, p.Channel, p.NotAfter = id, "email", now.Add(n.life)
	p.Envelope, err = seal.Seal(w.ring, seal.Context{Challenge: id, Channel: "email", NotAfter: p.NotAfter, Notice: p.Kind}, seal.Content{
		Recipient: recipient, Reference: p.SupportReference, CreatedAt: now, ExpiresAt: p.NotAfter,
	})
	if err != nil {
		t.Fatal(err)
	}
	if n.change != nil {
		n.change(&p)
	}
	e, err := event.New(event.NoticeRequested, id, "doorcode/auth", now, id, p)
	if err != nil {
		t.Fatal(err)
	}
	w.publish(t, bus.Message{Subject: "doorcode.challenge.email", ID: e.ID, Header: e.Header(), Data: e.Data})
	return id
}

// samples counts what a histogram of a dispatcher was told.
func samples(t *testing.T, d *dispatcher, name string) (n uint64) {
	t.Helper()
	families, err := d.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				n += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return n
}

func TestNotice_GoesTheWayOfACode(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]bool{"with a verifier": true, "without one": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			questions := &asked{}
			if answers {
				questions = w.answer(t, event.DeliveryReply{})
			}
			d := w.start(t, nil)
			id := w.tell(t, notice{})
			told := w.await(t, 1)[0]
			call := w.fake.Received()[0]
			if call.Reference != told.ID || !strings.HasPrefix(told.ID, id+".1.") || told.Result != "accepted" || told.Send != 1 || told.Challenge != id || told.Notice != event.NoticeLoginLocked {
				t.Errorf("the call %s is told as %+v", call.Reference, told)
			}
			if m := w.fake.Messages()[0]; m.Recipient != recipient || m.Text != event.NoticeLoginLocked+" 4F72KQ9R" {
				t.Errorf("message %q", m.Text)
			}
			// Its time is that of its cause, so it says nothing about the queue of the codes.
			if waited, called := samples(t, d, "doorcode_delivery_queue_seconds"), samples(t, d, "doorcode_delivery_duration_seconds"); waited != 0 || called != 1 {
				t.Errorf("%d waits and %d calls are measured", waited, called)
			}
			want := []event.DeliveryRequest{{Challenge: id, Send: 1}}
			bustest.Wait(t, "the question is put", func() bool { return !answers || len(questions.list()) > 0 })
			if diff := cmp.Diff(want, questions.list()); diff != "" && answers {
				t.Errorf("questions (-want +got):\n%s", diff)
			}
		})
	}
}

// The broker forgets the id of a notice after minutes, and its cause may come again an hour later: then the verifier
// knows that a provider took it.
func TestP5_ANoticeThatAProviderTookIsNotSentAgain(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]string{`{"accepted":true}`: "ended before", `{}`: "", `{"accepted":`: ""} {
		b := newBench(t)
		j := b.job()
		j.Number, j.Send.Notice = 1, event.NoticeLoginLocked
		b.reply = func() ([]byte, error) { return []byte(reply), nil }
		err := b.gate(t.Context(), j)
		if (err != nil) != (want != "") || err != nil && err.Error() != want {
			t.Errorf("after the answer %s: %v", reply, err)
		}
	}
}

func TestNotice_IsTriedAgainUnderTheSameRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.Script(temporary(), temporary(), temporary(), temporary(), temporary(), temporary(), temporary())
	d := w.start(t, nil)
	w.tell(t, notice{})
	w.terminated(t, 1)
	d.stop(t)
	all := w.events(t)
	got := kinds(all)
	if len(got) != 7 || !strings.HasPrefix(got[0], "attempted temporary") || !strings.HasPrefix(got[6], "abandoned") {
		t.Errorf("events %v", got)
	}
	checkRecord(t, w.fake.Received(), all)
}

func TestP6_ANoticeIsAbandonedAfterItsDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, nil)
	w.tell(t, notice{life: -time.Second})
	w.terminated(t, 1)
	d.stop(t)
	if diff := cmp.Diff([]string{"abandoned too_late"}, kinds(w.events(t))); diff != "" || len(w.fake.Received()) != 0 {
		t.Errorf("%d calls, events:\n%s", len(w.fake.Received()), diff)
	}
}

// Whoever may publish orders, as the verifier may, cannot make a notice of a code's envelope, nor a code of a notice's,
// nor a notice of another kind.
func TestNotice_NoEnvelopeOpensAsWhatItIsNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, nil)
	w.tell(t, notice{change: func(p *event.Notice) { p.Kind = "factor_changed" }})
	w.tell(t, notice{change: func(p *event.Notice) { p.NotAfter = p.NotAfter.Add(time.Hour) }})
	w.tell(t, notice{change: func(p *event.Notice) {
		p.Envelope = w.seal(t, w.ring, p.Notice, p.NotAfter.Add(time.Minute), code)
	}})
	w.issue(t, order{change: func(p *event.Issued) {
		var err error
		p.Routes[0].Envelope, err = seal.Seal(w.ring, seal.Context{
			Challenge: p.Challenge, Channel: "email", NotAfter: challenge.NotAfter(p.ExpiresAt), Notice: event.NoticeLoginLocked,
		}, seal.Content{Code: code, Recipient: recipient})
		if err != nil {
			t.Error(err)
		}
	}})
	letters := w.letters(t, 4)
	w.terminated(t, 4)
	d.stop(t)
	for _, l := range letters {
		if got := l.Header["doorcode-reason"]; got != "envelope does not open" {
			t.Errorf("a dead letter says %q", got)
		}
	}
	if n := len(w.fake.Received()); n != 0 {
		t.Errorf("%d calls", n)
	}
}
