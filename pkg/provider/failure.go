package provider

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"doorcode/pkg/delivery"
)

// Failure is the one error that a provider returns: what is known, and why. It
// wraps no other error, because the errors of HTTP clients carry addresses.
type Failure struct {
	// Result is temporary (certainly not taken, worth a repeat), permanent
	// (certainly not taken, never will be) or unknown (may have been taken).
	Result delivery.Result
	// Reason is the closed cause.
	Reason delivery.Reason
	// RetryAfter is how long the provider asks to be left alone; 0 says nothing.
	RetryAfter time.Duration
	// Status is the HTTP status of the provider's answer; 0 without an answer.
	Status int
	// Breaks says that every other message would fail in the same way: the
	// key, the sender, the quota or the address of the API is at fault.
	Breaks bool
	// NotCalled says that no call to the provider was made: nothing was
	// attempted, so nothing counts as an attempt.
	NotCalled bool
	// Detail is a short text for operators, already redacted.
	Detail string
}

// Refusal is a permanent failure that was decided without a call.
func Refusal(reason delivery.Reason, detail string) *Failure {
	return &Failure{Result: delivery.Permanent, Reason: reason, NotCalled: true, Detail: Redact(detail)}
}

// FailureOf returns the Failure in err. An error that holds none is a bug in
// an adapter: nothing is known then, and its text is not trusted.
func FailureOf(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return &Failure{Result: delivery.Unknown, Detail: "the provider failed without saying how"}
}

// Error names result and reason, the status when there was an answer, and the
// redacted detail.
func (f *Failure) Error() string {
	text := fmt.Sprintf("send: %s, %s", f.Result, f.Reason)
	if f.Status != 0 {
		text += fmt.Sprintf(", status %d", f.Status)
	}
	if f.Detail != "" {
		text += ": " + Redact(f.Detail)
	}
	return text
}

// LogValue lists what is known under stable keys.
func (f *Failure) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("result", string(f.Result)),
		slog.String("reason", f.Reason.String()),
		slog.Int("status", f.Status),
		slog.Duration("retry_after", f.RetryAfter),
		slog.String("detail", Redact(f.Detail)),
	)
}
