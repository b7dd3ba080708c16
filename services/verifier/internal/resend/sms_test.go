package resend_test

import (
	"context"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/seal"
	"doorcode/services/verifier/internal/resend"
	"doorcode/services/verifier/internal/verifiertest"
)

// byText puts a phone before the e-mail address of a challenge.
func byText(e *event.Issued) {
	text := event.Route{Channel: "sms", Recipient: "•••48", Address: []byte("hash of the number"), PerHour: 5, PerDay: 10, Cap: 3}
	e.Channel, e.Routes = "sms", append([]event.Route{text}, e.Routes...)
	e.ExpiresAt = e.CreatedAt.Add(5 * time.Minute)
}

// relayed relays one event and opens its envelope as the dispatcher of its channel does.
func (b *bench) relayed(c verifiertest.Challenge) (event.Send, seal.Content) {
	b.t.Helper()
	var send event.Send
	var content seal.Content
	_, _, err := b.db.Relay(b.t.Context(), 10, func(_ context.Context, events []event.Event) []error {
		var err error
		send, err = event.SendOf(events[0])
		if err != nil || len(events) != 1 {
			b.t.Errorf("%d events: %v", len(events), err)
		}
		ring, other := b.Channel, b.Texts
		if send.Channel == "sms" {
			ring, other = other, ring
		}
		content, err = seal.Open(ring, b.SealedRoute(c.Event, send.Route), send.Envelope)
		if err != nil {
			b.t.Errorf("the envelope of send %d does not open with the ring of %s: %v", send.Number, send.Channel, err)
		}
		_, err = seal.Open(other, b.SealedRoute(c.Event, send.Route), send.Envelope)
		if err == nil {
			b.t.Errorf("the envelope of send %d opens with the ring of the other channel", send.Number)
		}
		return make([]error, len(events))
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return send, content
}

func TestResend_ByEMailRepeatsTheCodeOfATextMessage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue(byText)
	b.refused(c, 429, resend.CodeTooEarly)
	b.waited()
	reply, err := b.ask(c, 1, "email")
	if err != nil || reply.Send != 2 || reply.Channel != "email" || reply.Recipient != "a•••@example.com" {
		t.Fatalf("%+v: %v", reply, err)
	}
	send, mail := b.relayed(c)
	if send.Channel != "email" || send.Route != 1 || mail.Code != c.Code.Reveal() || mail.Label != c.Event.Label || mail.Recipient != "anna@example.com" {
		t.Errorf("%+v to %s", send, mail.Recipient)
	}
	b.Want(1, `SELECT cardinality(times) FROM limits WHERE dimension = 'recipient' AND key = $1`, []byte("hash of the address"))
	b.Want(0, `SELECT coalesce(sum(cardinality(times)), 0) FROM limits WHERE dimension = 'sms_spend' OR key = $1`, []byte("hash of the number"))
	b.waited()
	reply, err = b.ask(c, 2, "")
	if err != nil || reply.Send != 3 || reply.Channel != "sms" || reply.Recipient != "•••48" {
		t.Fatalf("%+v: %v", reply, err)
	}
	send, text := b.relayed(c)
	if send.Channel != "sms" || send.Route != 0 || text.Code != mail.Code || text.Label != mail.Label || text.Recipient != "+12025550148" {
		t.Errorf("%+v to %s", send, text.Recipient)
	}
	b.Want(1, `SELECT cardinality(times) FROM limits WHERE dimension = 'sms_spend'`)
	b.Want(1, `SELECT cardinality(times) FROM limits WHERE key = $1`, []byte("hash of the number"))
}

func TestResend_TellsWhenTheCapOfTextMessagesIsReached(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue(byText)
	b.refused(c, 429, resend.CodeTooEarly)
	b.waited()
	b.PG.Exec(t, `UPDATE limits SET entries = '{1,2,3}', times = array_fill(clock_timestamp() - interval '23 hours', ARRAY[3])
		WHERE dimension = 'sms_spend'`)
	p := b.refusal(c, "sms", 429, resend.CodeTooMany)
	if p.RetryAfter <= 59*time.Minute || p.RetryAfter > time.Hour {
		t.Errorf("wait of %s", p.RetryAfter)
	}
	b.Want(0, `SELECT count(*) FROM outbox`)
	_, err := b.ask(c, 1, "email") // By the person's act, never by itself.
	if err != nil {
		t.Error(err)
	}
}
