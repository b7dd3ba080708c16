package dispatch

import (
	"context"
	"encoding/json"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/provider"
	"doorcode/pkg/seal"
	"doorcode/pkg/tracing"
)

// askTimeout bounds the question to the verifier: a code that comes twice does
// less harm than one that comes late (DESIGN 3.2).
const askTimeout = 300 * time.Millisecond

// stage is one step of a hand-over. An error is a verb of verbs.go.
type stage func(ctx context.Context, j *Job) error

// stages lists the steps up to the call; conclude follows them.
func (e *Engine) stages() []stage {
	return []stage{e.decode, e.gate, e.open, e.render, e.send}
}

// advance takes a job through the stages until one of them ends it.
func (e *Engine) advance(ctx context.Context, j *Job) error {
	for _, s := range e.stages() {
		err := s(ctx, j)
		if err != nil {
			return err
		}
	}
	return nil
}

// decode finds out what the message asks for and draws the id of the attempt.
// No subject is trusted: type and channel must fit it (DESIGN 4).
func (e *Engine) decode(_ context.Context, j *Job) error {
	ev, err := event.Parse(j.Message.Subject, j.Message.Header, j.Message.Data)
	if err != nil {
		return discard("malformed event")
	}
	send, err := event.SendOf(ev)
	if err != nil {
		return discard("event asks for no send")
	}
	if send.Channel != string(e.channel) {
		return discard("send of another channel")
	}
	attempt, err := challenge.NewAttempt()
	if err != nil {
		return discard("no attempt id could be drawn")
	}
	reference := delivery.Reference{Challenge: send.Challenge, Send: send.Number, Attempt: attempt}
	_, err = delivery.ParseReference(reference.String())
	if err != nil {
		return discard("malformed id of a challenge or a send")
	}
	j.Send, j.Reference, j.Traceparent = send, reference, ev.Traceparent
	j.NotAfter = send.NotAfter
	return nil
}

// gate decides whether a call may still be made. What is known to have ended
// here is not begun again, whatever the broker counts. A first hand-over goes on at
// once; before a repeat the verifier is asked, and before one that may have lain
// in the connection of a process that stood still, and before every call for a
// notice: that is in no hurry, and the broker forgets its id long before its
// cause can come again. While the engine drains, a send is given back, unless
// the broker would not hand it over again.
func (e *Engine) gate(ctx context.Context, j *Job) error {
	if e.ended.has(j.Send) {
		return errDone
	}
	if !e.clock().Before(j.NotAfter) {
		return abandon(delivery.ReasonTooLate, "")
	}
	if e.isDraining() && !e.isLast(j) {
		return giveBack(delivery.ReasonCanceled, "the dispatcher stops")
	}
	if j.Number <= 1 && j.Send.Notice == "" && !e.mayBeStale(j) {
		return nil
	}
	reply, answered := e.ask(ctx, j)
	faultpoint.Hit("dispatch.asked")
	switch {
	case !answered:
		return nil // the repeat carries the same code (P5)
	case reply.Accepted:
		return errDone
	case reply.Ended:
		return abandon(delivery.ReasonCanceled, "the challenge has ended")
	}
	return nil
}

// mayBeStale reports whether the broker may have handed a send to somebody else
// since it sent it here: it is older than half of the broker's patience. What was
// on its way to a process that stood still comes as a first hand-over when that goes on.
func (e *Engine) mayBeStale(j *Job) bool {
	return e.clock().Sub(j.Stored) >= e.ackWait/2
}

// ask puts the question before a call to the verifier.
func (e *Engine) ask(ctx context.Context, j *Job) (event.DeliveryReply, bool) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var reply event.DeliveryReply
	question, err := json.Marshal(event.DeliveryRequest{Challenge: j.Send.Challenge, Send: j.Send.Number})
	if err != nil {
		return reply, false
	}
	answer, err := e.verifier.Request(ctx, event.VerbDelivery, question)
	if err != nil {
		e.log.InfoContext(ctx, "verifier did not answer", append(j.ids(), "error", err)...)
		return reply, false
	}
	err = json.Unmarshal(answer, &reply)
	return reply, err == nil
}

// open decrypts the envelope. Only auth can make one that opens, so whatever
// does not was not asked for by auth.
func (e *Engine) open(_ context.Context, j *Job) error {
	content, err := seal.Open(e.ring, seal.Context{
		Challenge: j.Send.Challenge, Route: j.Send.Route, Channel: j.Send.Channel, NotAfter: j.NotAfter,
		Notice: j.Send.Notice,
	}, j.Send.Envelope)
	if err != nil {
		return discard("envelope does not open")
	}
	j.Content = content
	return nil
}

// render writes the message for the person.
func (e *Engine) render(_ context.Context, j *Job) error {
	m, err := e.write(j.Send.Notice, j.Content)
	if err != nil {
		return discard("content cannot be rendered")
	}
	m.Reference, m.Recipient = j.Reference.String(), j.Content.Recipient
	j.Rendered = m
	return nil
}

// send makes the one call to the provider. It starts neither past the
// deadline nor in the second half of the broker's patience: a call that outlasts
// that would be made again by another hand-over.
func (e *Engine) send(ctx context.Context, j *Job) error {
	start := e.clock()
	latest := j.Received.Add(e.ackWait / 2)
	switch {
	case !start.Before(j.NotAfter):
		return abandon(delivery.ReasonTooLate, "")
	case !start.Before(latest):
		return postpone(delivery.ReasonTimeout, 0, "not called: too long after the hand-over")
	case ctx.Err() != nil:
		return giveBack(delivery.ReasonCanceled, "not called: the dispatcher was stopped")
	}
	m := j.Rendered
	m.NotAfter, m.ExpiresAt = j.NotAfter, j.Send.ExpiresAt
	if latest.Before(m.NotAfter) {
		m.NotAfter = latest
	}
	ctx, cancel := context.WithTimeout(ctx, e.ackWait*3/4)
	defer cancel()
	faultpoint.Hit("dispatch.rendered")
	attempt, failure := e.call(ctx, m)
	faultpoint.Hit("dispatch.called")
	if failure != nil && failure.NotCalled {
		return e.notCalled(j, failure)
	}
	j.Attempt = attempt
	e.trace(ctx, j)
	if j.Send.Notice == "" { // The time of a notice is that of what it tells of, and says nothing about this queue.
		e.metrics.queued.Observe(start.Sub(j.Send.At).Seconds())
	}
	e.metrics.duration.Observe(attempt.Duration.Seconds())
	return nil
}

// trace tells of an attempt by a span of its own, linked to what asked for the
// send: that is over by now, and a send may have many attempts. Its attributes
// are closed words.
func (e *Engine) trace(ctx context.Context, j *Job) {
	_, span := e.tracer.Start(ctx, "delivery attempt",
		trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(j.Attempt.At.Add(-j.Attempt.Duration)), trace.WithLinks(tracing.Link(ctx, j.Traceparent)))
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("channel", string(e.channel)), attribute.String("provider", e.provider.Name()),
			attribute.String("result", string(j.Attempt.Result)))
		if j.Attempt.Result != delivery.Accepted {
			span.SetAttributes(attribute.String("reason", j.Attempt.Reason.String()))
		}
	}
	span.End(trace.WithTimestamp(j.Attempt.At))
}

// call makes the call and says what is known after it.
func (e *Engine) call(ctx context.Context, m provider.Message) (Attempt, *provider.Failure) {
	start := e.clock()
	accepted, err := e.provider.Send(ctx, m)
	end := e.clock()
	a := Attempt{Result: delivery.Accepted, ProviderID: accepted.ProviderID, Duration: end.Sub(start), At: end}
	if err == nil {
		return a, nil
	}
	f := provider.FailureOf(err)
	a.Result, a.Reason, a.RetryAfter, a.Detail = f.Result, f.Reason, f.RetryAfter, f.Detail
	return a, f
}

// notCalled decides about a send for which the provider was not even called.
func (e *Engine) notCalled(j *Job, f *provider.Failure) error {
	switch {
	case !e.clock().Before(j.NotAfter):
		return abandon(delivery.ReasonTooLate, f.Detail)
	case f.Reason == delivery.ReasonTooLate:
		// Only the broker's patience ran out, not the code's life.
		return postpone(delivery.ReasonTimeout, 0, "not called: no turn soon after the hand-over")
	case f.Result == delivery.Permanent:
		return abandon(f.Reason, f.Detail)
	}
	return postpone(f.Reason, f.RetryAfter, f.Detail)
}
