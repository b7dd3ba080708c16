package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
)

// maxDetail and maxProviderID are the schemas' bounds in bytes.
const (
	maxDetail     = 500
	maxProviderID = 200
)

// answer is how a hand-over ends towards the broker. Bus deliveries have it.
type answer interface {
	DoubleAck(ctx context.Context) error
	Nak(delay time.Duration) error
	Term(reason string) error
	InProgress() error
}

// handOver is a job with what conclude needs to end it.
type handOver struct {
	*Job
	answer answer
	// held says that a result could not be published at once, so that nothing
	// more is fetched until this hand-over has ended.
	held bool
}

// conclude says what became of a job, by events first and to the broker after
// them. What could not be said is not answered: the broker hands the send over
// again, and the gap is recorded as unknown (P5).
func (e *Engine) conclude(ctx context.Context, h *handOver, err error) {
	var (
		discarded *discardError
		abandoned *abandonError
		postponed *postponeError
	)
	switch {
	case err == nil:
		err = e.recordAttempt(ctx, h)
	case errors.Is(err, errDone):
		e.log.InfoContext(ctx, "delivery ended before", h.ids()...)
		err = e.finish(ctx, h)
	case errors.As(err, &discarded):
		err = e.recordDiscard(ctx, h, discarded)
	case errors.As(err, &postponed):
		err = e.recordPostponed(ctx, h, postponed)
	case errors.As(err, &abandoned):
		err = e.recordAbandoned(ctx, h, abandoned)
	}
	if err != nil {
		e.log.ErrorContext(ctx, "delivery not concluded", append(h.ids(), "error", err)...)
	}
}

// recordAttempt publishes what is known after a call and decides whether there
// is another hand-over. The provider is not called again for this one.
func (e *Engine) recordAttempt(ctx context.Context, h *handOver) error {
	a := h.Attempt
	var retryAt time.Time
	var end error
	if a.Result == delivery.Temporary || a.Result == delivery.Unknown {
		retryAt, end = e.again(h.Job, e.delay(h.Number, a.RetryAfter), a.Reason)
	}
	e.metrics.attempts.WithLabelValues(string(a.Result), reasonLabel(a)).Inc()
	e.logAttempt(ctx, h, retryAt)
	err := e.publish(ctx, h, e.attempted(h, retryAt))
	if err != nil {
		return err
	}
	faultpoint.Hit("dispatch.published")
	var abandoned *abandonError
	switch {
	case errors.As(end, &abandoned):
		return e.recordAbandoned(ctx, h, abandoned)
	case !retryAt.IsZero():
		return e.nak(h, retryAt)
	}
	return e.finish(ctx, h)
}

// recordPostponed gives a send back, or ends it when the broker would not hand
// it over again in time.
func (e *Engine) recordPostponed(ctx context.Context, h *handOver, p *postponeError) error {
	wait := time.Duration(0)
	if !p.atOnce {
		wait = e.delay(h.Number, p.after)
	}
	retryAt, end := e.again(h.Job, wait, p.reason)
	var abandoned *abandonError
	if errors.As(end, &abandoned) {
		return e.recordAbandoned(ctx, h, abandoned)
	}
	e.metrics.postponed.WithLabelValues(p.reason.String()).Inc()
	e.log.InfoContext(ctx, "delivery postponed", append(h.ids(), "reason", p.reason.String(), "retry_in_ms", wait.Milliseconds())...)
	data := e.told(h, p.reason, p.detail)
	data.RetryAt = &retryAt
	err := e.publish(ctx, h, draft{kind: event.DeliveryPostponed, suffix: ".postponed", at: e.clock(), data: data})
	if err != nil {
		return err
	}
	return e.nak(h, retryAt)
}

// recordAbandoned ends a send for a stated reason.
func (e *Engine) recordAbandoned(ctx context.Context, h *handOver, a *abandonError) error {
	e.metrics.abandoned.WithLabelValues(a.reason.String()).Inc()
	e.log.WarnContext(ctx, "delivery abandoned", append(h.ids(), "reason", a.reason.String())...)
	data := e.told(h, a.reason, a.detail)
	err := e.publish(ctx, h, draft{kind: event.DeliveryAbandoned, suffix: ".abandoned", at: e.clock(), data: data})
	if err != nil {
		return err
	}
	err = h.answer.Term(a.reason.String())
	if err != nil {
		return fmt.Errorf("end the send: %w", err)
	}
	return nil
}

// recordDiscard keeps a message that cannot be understood as a dead letter. If
// it names a send, that is abandoned, too: no delivery ends without a word.
func (e *Engine) recordDiscard(ctx context.Context, h *handOver, d *discardError) error {
	e.metrics.deadLetters.Inc()
	e.log.ErrorContext(ctx, "dead letter", append(h.ids(), "reason", d.cause, "stream", h.Stream, "sequence", h.Sequence)...)
	header := maps.Clone(h.Message.Header)
	if header == nil {
		header = map[string]string{}
	}
	header["doorcode-subject"], header["doorcode-reason"] = h.Message.Subject, d.cause
	err := e.publishMessage(ctx, h, bus.Message{
		Subject: "doorcode.dlq." + string(e.channel),
		ID:      fmt.Sprintf("%s.%d", h.Stream, h.Sequence),
		Header:  header,
		Data:    h.Message.Data,
	})
	if err != nil {
		return err
	}
	if h.understood() {
		return e.recordAbandoned(ctx, h, &abandonError{reason: delivery.ReasonOther, detail: d.cause})
	}
	err = h.answer.Term(d.cause)
	if err != nil {
		return fmt.Errorf("end a dead letter: %w", err)
	}
	return nil
}

// finish tells the broker that a send has ended. Until it confirms, the send
// is remembered: it may be handed over again.
func (e *Engine) finish(ctx context.Context, h *handOver) error {
	e.ended.add(h.Send, e.clock(), h.NotAfter)
	err := h.answer.DoubleAck(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	e.ended.remove(h.Send)
	return nil
}

// nak asks the broker to hand the send over again at a time.
func (e *Engine) nak(h *handOver, at time.Time) error {
	err := h.answer.Nak(max(at.Sub(e.clock()), 0))
	if err != nil {
		return fmt.Errorf("give back: %w", err)
	}
	return nil
}

// draft is an event that is about to be published.
type draft struct {
	kind   event.Type
	suffix string // of the id, behind the reference
	at     time.Time
	data   event.Delivery
}

// attempted is the event of a call. Its id is the reference that the provider
// echoes: two calls always leave two events.
func (e *Engine) attempted(h *handOver, retryAt time.Time) draft {
	a := h.Attempt
	data := e.told(h, a.Reason, a.Detail)
	if a.Result == delivery.Accepted {
		data.Reason = ""
	}
	if !retryAt.IsZero() {
		data.RetryAt = &retryAt
	}
	data.Attempt, data.Provider, data.Result = h.Reference.Attempt, e.provider.Name(), string(a.Result)
	data.Destination, data.Notice = e.destination(h.Content.Recipient), h.Send.Notice
	if len(a.ProviderID) <= maxProviderID {
		data.ProviderID = a.ProviderID
	}
	data.DurationMS = max(a.Duration.Milliseconds(), 0)
	return draft{kind: event.DeliveryAttempted, at: a.At, data: data}
}

// told is the part that all delivery events share.
func (e *Engine) told(h *handOver, reason delivery.Reason, detail string) event.Delivery {
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "")
	}
	return event.Delivery{
		Challenge: h.Send.Challenge, Send: h.Send.Number, Channel: string(e.channel), Number: h.Number,
		RequestedAt: h.Send.At, Reason: reason.String(), Detail: detail,
	}
}

// ids are the log attributes that name a hand-over.
func (j *Job) ids() []any {
	return []any{
		slog.String("challenge", j.Send.Challenge), slog.Int("send", j.Send.Number),
		slog.Int("number", j.Number), slog.String("attempt", j.Reference.Attempt),
	}
}

// logAttempt writes the one line that holds the whole story of an attempt.
func (e *Engine) logAttempt(ctx context.Context, h *handOver, retryAt time.Time) {
	a := h.Attempt
	attributes := append(h.ids(),
		slog.String("provider", e.provider.Name()), slog.String("result", string(a.Result)),
		slog.String("reason", reasonLabel(a)), slog.Int64("duration_ms", a.Duration.Milliseconds()))
	if !retryAt.IsZero() {
		attributes = append(attributes, slog.Int64("retry_in_ms", retryAt.Sub(a.At).Milliseconds()))
	}
	e.log.InfoContext(ctx, "delivery attempted", attributes...)
}
