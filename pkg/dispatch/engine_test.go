package dispatch

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/provider"
)

// temporary, unknown and permanent are failures of a provider that was called.
func temporary() *provider.Failure {
	return &provider.Failure{Result: delivery.Temporary, Reason: delivery.ReasonProviderError, Status: 503, Detail: "busy"}
}

func unknown() *provider.Failure {
	return &provider.Failure{Result: delivery.Unknown, Reason: delivery.ReasonTimeout}
}

func permanent() *provider.Failure {
	return &provider.Failure{Result: delivery.Permanent, Reason: delivery.ReasonInvalidRecipient, Status: 400}
}

func TestEngine_TellsAnAcceptanceOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, func(c *Config) {
		c.Destination = func(r string) string { return map[string]string{recipient: "gmail"}[r] }
	})
	id := w.issue(t, order{})
	all := w.await(t, 1)
	d.stop(t)

	messages := w.fake.Messages()
	if len(messages) != 1 || len(w.events(t)) != 1 {
		t.Fatalf("%d calls and %d events for one send", len(messages), len(w.events(t)))
	}
	m, e := messages[0], all[0]
	if m.Recipient != recipient || m.Text != "Your code: "+code || m.Subject != "KTM – code" {
		t.Errorf("the message is not that of the envelope")
	}
	reference, err := delivery.ParseReference(m.Reference)
	if err != nil || reference.Challenge != id || reference.Send != 1 || e.ID != m.Reference || e.Attempt != reference.Attempt {
		t.Errorf("reference %q and event %q do not name the attempt of %s: %v", m.Reference, e.ID, id, err)
	}
	if !m.ExpiresAt.Equal(e.RequestedAt.Add(10 * time.Minute)) {
		t.Errorf("the message says that its code dies at %v", m.ExpiresAt)
	}
	if m.NotAfter.After(time.Now().Add(15 * time.Second)) {
		t.Error("a call may start in the second half of the broker's patience")
	}
	want := event.Delivery{
		Challenge: id, Send: 1, Channel: "email", Number: 1, RequestedAt: e.RequestedAt, Attempt: reference.Attempt,
		Provider: "fake", ProviderID: "fake-1", Destination: "gmail", Result: "accepted", DurationMS: e.DurationMS,
	}
	if diff := cmp.Diff(want, e.Delivery); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if e.RequestedAt.IsZero() || !strings.HasPrefix(e.Traceparent, "00-4bf92f") {
		t.Error("the event does not say what it comes from")
	}
	if d.counted(t, d.metrics.attempts, "accepted", noReason) != 1 {
		t.Error("the acceptance is not counted")
	}
}

func TestEngine_SendsResendsAsOrdered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e, id := w.issued(t, order{})
	var first event.Issued
	err := e.Decode(&first)
	if err != nil {
		t.Fatal(err)
	}
	resend, err := event.New(event.DeliveryRequested, id+".3", "doorcode/verifier", time.Now(), id, event.Requested{
		Challenge: id, Send: 3, Route: 0, Channel: "email", Envelope: first.Routes[0].Envelope, ExpiresAt: first.ExpiresAt,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.start(t, nil)
	w.publish(t, bus.Message{Subject: "doorcode.challenge.email", ID: resend.ID, Header: resend.Header(), Data: resend.Data})
	all := w.await(t, 1)
	if all[0].Send != 3 || !strings.HasPrefix(all[0].ID, id+".3.") || w.fake.Messages()[0].Text != "Your code: "+code {
		t.Errorf("the resend became %+v", all[0].Delivery)
	}
}

func TestP1_TwoReplicasSendFiveHundredMessagesOnceEach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t, nil)
	w.start(t, nil)
	const n = 500
	ids := w.issueMany(t, n)
	for part := 50; part < n; part += 50 {
		w.await(t, part) // each part has the whole patience
	}
	all := w.await(t, n)
	checkRecord(t, w.fake.Received(), all)
	if len(w.fake.Received()) != n || len(all) != n {
		t.Errorf("%d calls and %d events for %d sends", len(w.fake.Received()), len(all), n)
	}
	for _, e := range all {
		if !ids[e.Challenge] {
			t.Errorf("challenge %s was sent twice, or never asked for", e.Challenge)
		}
		delete(ids, e.Challenge)
	}
}

func TestEngine_EndsAfterAPermanentFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.Script(permanent())
	d := w.start(t, nil)
	w.issue(t, order{})
	all := w.await(t, 1)
	d.stop(t)
	if diff := cmp.Diff([]string{"attempted permanent invalid_recipient"}, kinds(w.events(t))); diff != "" {
		t.Error(diff)
	}
	if all[0].RetryAt != nil || len(w.fake.Received()) != 1 {
		t.Error("a permanent failure is tried again")
	}
}

func TestEngine_TriesTemporaryFailuresAgainUnderNewNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answer(t, event.DeliveryReply{})
	w.fake.Script(temporary(), temporary(), nil)
	d := w.start(t, nil)
	w.issue(t, order{})
	all := w.await(t, 3)
	want := []string{"attempted temporary provider_error", "attempted temporary provider_error", "attempted accepted"}
	if diff := cmp.Diff(want, kinds(all)); diff != "" {
		t.Error(diff)
	}
	for i, e := range all {
		if e.Number != i+1 || (e.RetryAt == nil) != (i == 2) {
			t.Errorf("hand-over %d says number %d, retry at %v", i+1, e.Number, e.RetryAt)
		}
	}
	if all[0].Detail != "busy" {
		t.Errorf("detail is %q", all[0].Detail)
	}
	checkRecord(t, w.fake.Received(), all)
	if d.counted(t, d.metrics.attempts, "temporary", "provider_error") != 2 {
		t.Error("temporary failures are not counted")
	}
	for _, m := range w.fake.Messages() {
		if m.Text != "Your code: "+code {
			t.Error("a repeat carries another code")
		}
	}
}

func TestEngine_AbandonsAfterTheLastHandOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.Script(temporary(), temporary(), temporary(), temporary(), temporary(), temporary(), temporary())
	d := w.start(t, nil)
	w.issue(t, order{})
	all := w.await(t, 7)
	w.terminated(t, 1)
	d.stop(t)
	if got := kinds(w.events(t)); len(got) != 7 || got[6] != "abandoned provider_error" {
		t.Errorf("events are %q", got)
	}
	if len(w.fake.Received()) != 6 || all[5].RetryAt != nil {
		t.Errorf("%d calls for six hand-overs", len(w.fake.Received()))
	}
	if d.counted(t, d.metrics.abandoned, "provider_error") != 1 {
		t.Error("the end is not counted")
	}
}

// It shows SEC-22 and SEC-29 of deploy/SECURITY.md.
func TestP5_ARepeatAsksTheVerifierFirst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		reply *event.DeliveryReply
		want  []string
	}{
		{"accepted", &event.DeliveryReply{Accepted: true}, []string{"attempted unknown timeout"}},
		{"accepted and ended", &event.DeliveryReply{Accepted: true, Ended: true}, []string{"attempted unknown timeout"}},
		{"ended", &event.DeliveryReply{Ended: true}, []string{"attempted unknown timeout", "abandoned canceled"}},
		{"neither", &event.DeliveryReply{}, []string{"attempted unknown timeout", "attempted accepted"}},
		{"silent", nil, []string{"attempted unknown timeout", "attempted accepted"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := &asked{}
			if c.reply != nil {
				a = w.answer(t, *c.reply)
			}
			w.fake.Script(unknown())
			d := w.start(t, nil)
			id := w.issue(t, order{})
			w.await(t, len(c.want))
			if c.reply != nil {
				bustest.Wait(t, "the question", func() bool { return len(a.list()) > 0 })
			}
			d.stop(t)
			if diff := cmp.Diff(c.want, kinds(w.events(t))); diff != "" {
				t.Error(diff)
			}
			checkRecord(t, w.fake.Received(), w.events(t))
			if c.reply != nil && !slices.Equal(a.list(), []event.DeliveryRequest{{Challenge: id, Send: 1}}) {
				t.Errorf("the verifier was asked %+v", a.list())
			}
		})
	}
}

// It shows SEC-22, SEC-29 and SEC-68 of deploy/SECURITY.md.
func TestP6_NoCallStartsTooLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, nil)
	w.issue(t, order{expires: 59 * time.Second}) // the last minute is too late
	w.issue(t, order{expires: -time.Hour})
	w.await(t, 2)
	w.terminated(t, 2)
	d.stop(t)
	all := w.events(t)
	if diff := cmp.Diff([]string{"abandoned too_late", "abandoned too_late"}, kinds(all)); diff != "" {
		t.Error(diff)
	}
	if len(w.fake.Received()) != 0 {
		t.Error("a call was made too late")
	}
	if all[0].Attempt != "" || all[0].Result != "" || d.counted(t, d.metrics.abandoned, "too_late") != 2 {
		t.Error("an abandoned send looks like an attempt, or is not counted")
	}
}

// It shows SEC-68 of deploy/SECURITY.md.
func TestP6_ARetryThatWouldComeTooLateIsAbandoned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := temporary()
	f.RetryAfter = 5 * time.Minute
	w.fake.Script(f)
	d := w.start(t, nil)
	w.issue(t, order{expires: 3 * time.Minute})
	w.await(t, 2)
	d.stop(t)
	want := []string{"attempted temporary provider_error", "abandoned too_late"}
	if diff := cmp.Diff(want, kinds(w.events(t))); diff != "" {
		t.Error(diff)
	}
}

// It shows SEC-29 of deploy/SECURITY.md.
func TestP4_AnEnvelopeOfAnotherKeyIsADeadLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	d := w.start(t, nil)
	id := w.issue(t, order{ring: foreign})
	moved := w.issue(t, order{change: func(p *event.Issued) { p.ExpiresAt = p.ExpiresAt.Add(time.Hour) }})
	empty := w.issue(t, order{code: "none"})
	letters := w.letters(t, 3)
	all := w.await(t, 3)
	w.terminated(t, 3)
	d.stop(t)
	reasons := map[string]string{}
	for _, l := range letters {
		reasons[l.Header["ce-subject"]] = l.Header["doorcode-reason"]
		if l.Header["doorcode-subject"] != "doorcode.challenge.email" || l.Header["ce-type"] != string(event.ChallengeIssued) {
			t.Errorf("a dead letter does not say where it comes from: %v", l.Header)
		}
	}
	want := map[string]string{
		id: "envelope does not open", moved: "envelope does not open", empty: "content cannot be rendered",
	}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Error(diff)
	}
	if len(w.fake.Received()) != 0 {
		t.Error("a message of a stranger was sent")
	}
	if diff := cmp.Diff([]string{"abandoned other", "abandoned other", "abandoned other"}, kinds(all)); diff != "" {
		t.Error(diff)
	}
	if testutil.ToFloat64(d.metrics.deadLetters) != 3 {
		t.Error("dead letters are not counted")
	}
}
