// Package provider is the contract between the delivery engine and the
// companies that carry a message: one verb, one acceptance, one failure. It
// also holds what every adapter shares: the table that turns an HTTP status
// into a result, redaction, the HTTP client, the check of the address, and the
// two decorators that keep a provider from being called in vain (breaker) or
// too often (rate).
//
// An adapter never tries twice: one Send makes at most one call (P5). It keeps
// no secret in anything that it returns, and it never starts a call after a
// message's deadline (P6). Whether a delivery is tried again is the engine's
// affair.
package provider

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"doorcode/pkg/delivery"
)

// maxReference is the shortest limit of any provider (Vonage's client-ref).
const maxReference = 40

// referenceCharacters are those of a delivery reference. An address cannot be
// written with them: providers keep references for ever (providers.md 2.2).
const referenceCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

// Message is one rendered message for one recipient. It carries a code in
// clear, so it prints, logs and marshals as its reference alone.
type Message struct {
	// Reference is `<challenge>.<send>.<attempt>`; receipts echo it.
	Reference string
	// Recipient is one bare address of the provider's channel.
	Recipient string
	// Subject is the subject line of an e-mail; it never holds a code.
	Subject string
	// Text is the plain form and is required.
	Text string
	// HTML is the rich form and may be empty.
	HTML string
	// NotAfter is the instant after which no call may start or go on.
	NotAfter time.Time
	// ExpiresAt is when the code dies, long after NotAfter perhaps: a provider
	// that keeps messages for a phone or a mailbox that is away keeps this one
	// until then. Zero stands for NotAfter.
	ExpiresAt time.Time
}

// Acceptance says that the provider took the message; it is not a delivery.
type Acceptance struct {
	// ProviderID is the provider's own name of the message; it may be empty
	// when the provider gave none that can be used.
	ProviderID string
}

// maxMessageID is well above the longest id that was seen of a provider.
const maxMessageID = 100

// shortestCode is the length of the shortest code (DESIGN 6).
const shortestCode = 6

// UsableID returns a provider's own name of a message, or nothing if it has not
// the shape of one, or repeats the recipient or a code: it travels on in events,
// and whoever answers decides what it says (P4).
func UsableID(id string, m Message) string {
	if len(id) > maxMessageID || strings.Trim(id, referenceCharacters) != "" {
		return ""
	}
	local, _, _ := strings.Cut(m.Recipient, "@")
	number := strings.TrimPrefix(m.Recipient, "+")
	if id == local || strings.Contains(id, number) {
		return ""
	}
	for _, run := range strings.FieldsFunc(m.Text, func(r rune) bool { return r < '0' || r > '9' }) {
		if len(run) >= shortestCode && strings.Contains(id, run) {
			return ""
		}
	}
	return id
}

// Provider sends one message. The error of Send is always a *Failure, also
// after a decorator; anything else is a bug (FailureOf copes with it).
// Implementations are safe for use by many goroutines.
type Provider interface {
	// Name is a short lower-case word, used as a metric label.
	Name() string
	// Send makes at most one call to the provider.
	Send(ctx context.Context, m Message) (Acceptance, error)
}

// Check refuses, without a call, what no provider may be given at the instant
// now: a message past its deadline, a reference that is none, a missing text,
// control characters in recipient or subject. It returns nil when the message
// may be sent. Adapters call it first and add their own rules.
func (m Message) Check(now time.Time) *Failure {
	switch {
	case !now.Before(m.NotAfter):
		return Refusal(delivery.ReasonTooLate, "the deadline has passed")
	case m.Reference == "" || len(m.Reference) > maxReference || strings.Trim(m.Reference, referenceCharacters) != "":
		return Refusal(delivery.ReasonRejected, "the reference is malformed")
	case m.Recipient == "" || !oneLine(m.Recipient):
		return Refusal(delivery.ReasonInvalidRecipient, "the recipient is empty or holds control characters")
	case !oneLine(m.Subject):
		return Refusal(delivery.ReasonRejected, "the subject holds control characters")
	case m.Text == "":
		return Refusal(delivery.ReasonRejected, "the text is empty")
	}
	return nil
}

// oneLine reports whether s is valid UTF-8 without control characters and line
// separators: nothing that could start a further header (providers.md 2.1).
func oneLine(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp)
	}) < 0
}

// String shows the reference alone.
func (m Message) String() string { return "message " + m.Reference }

// Format shows the reference alone, whatever the verb.
func (m Message) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, m.String()) }

// LogValue shows the reference alone.
func (m Message) LogValue() slog.Value { return slog.StringValue(m.String()) }

// MarshalText shows the reference alone.
func (m Message) MarshalText() ([]byte, error) { return []byte(m.String()), nil }
