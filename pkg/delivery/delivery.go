// Package delivery holds the words for getting one message to one recipient:
// channels, results, reasons, the reference that a provider echoes, and the
// status of a delivery as a pure function of what was recorded.
//
// It imports the standard library alone and knows no clock and no driver.
package delivery

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Channel is the medium that carries a code.
type Channel string

// The channels, one dispatcher each. SMS is restricted in NIST's terms (SP
// 800-63B-4 §3.1.3.3): a person chooses it, nobody is moved to it.
const (
	Email Channel = "email"
	SMS   Channel = "sms"
)

// Channels lists every channel there is, in a fixed order.
func Channels() []Channel { return []Channel{Email, SMS} }

// ParseChannel returns the channel of that name, or an error for any other.
func ParseChannel(s string) (Channel, error) {
	for _, c := range Channels() {
		if string(c) == s {
			return c, nil
		}
	}
	return "", errors.New("unknown channel")
}

// Result is what is known after one attempt.
type Result string

// The four results. Unknown means that the provider may or may not have taken
// the message; a repeat then carries the same code.
const (
	Accepted  Result = "accepted"
	Temporary Result = "temporary"
	Permanent Result = "permanent"
	Unknown   Result = "unknown"
)

// Results lists every result; it doubles as the closed set of a metric label.
func Results() []Result { return []Result{Accepted, Temporary, Permanent, Unknown} }

// Reason is the closed cause of a result that is not an acceptance. Its zero
// value says "other", so a forgotten reason is visible and never misleading.
type Reason int

// The closed set of reasons.
const (
	ReasonOther Reason = iota
	ReasonInvalidRecipient
	ReasonUnreachable
	ReasonSuppressed
	ReasonRateLimited
	ReasonAuthentication
	ReasonRejected
	ReasonProviderError
	ReasonTimeout
	ReasonCanceled
	ReasonTooLate
)

// Reasons lists every reason; it doubles as the closed set of a metric label.
func Reasons() []Reason {
	return []Reason{
		ReasonOther, ReasonInvalidRecipient, ReasonUnreachable, ReasonSuppressed, ReasonRateLimited,
		ReasonAuthentication, ReasonRejected, ReasonProviderError, ReasonTimeout, ReasonCanceled, ReasonTooLate,
	}
}

// String returns the reason's stable name in snake case.
func (r Reason) String() string {
	switch r {
	case ReasonInvalidRecipient:
		return "invalid_recipient"
	case ReasonUnreachable:
		return "unreachable"
	case ReasonSuppressed:
		return "suppressed"
	case ReasonRateLimited:
		return "rate_limited"
	case ReasonAuthentication:
		return "authentication"
	case ReasonRejected:
		return "rejected"
	case ReasonProviderError:
		return "provider_error"
	case ReasonTimeout:
		return "timeout"
	case ReasonCanceled:
		return "canceled"
	case ReasonTooLate:
		return "too_late"
	case ReasonOther:
		return "other"
	}
	return "other"
}

// MarshalText writes the reason's stable name.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads a reason. A name that this version does not know becomes
// "other": within an event version reasons may be added.
func (r *Reason) UnmarshalText(text []byte) error {
	*r = ReasonOther
	for _, known := range Reasons() {
		if known.String() == string(text) {
			*r = known
		}
	}
	return nil
}

// Reference names one attempt: `<challenge>.<send>.<attempt id>`. Providers
// echo it, so that their receipts find the attempt without an index of theirs.
type Reference struct {
	Challenge string // 22 base64url characters
	Send      int    // 1 is the send of create
	Attempt   string // 11 base64url characters: 64 random bits
}

// String returns the reference, at most 36 characters (Vonage takes 40).
func (r Reference) String() string {
	return r.Challenge + "." + strconv.Itoa(r.Send) + "." + r.Attempt
}

// ParseReference reads what String wrote and refuses everything else.
func ParseReference(s string) (Reference, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 22 || len(parts[2]) != 11 {
		return Reference{}, errors.New("malformed delivery reference")
	}
	send, err := strconv.Atoi(parts[1])
	if err != nil || send < 1 || send > 99 || strconv.Itoa(send) != parts[1] {
		return Reference{}, errors.New("malformed delivery reference")
	}
	r := Reference{Challenge: parts[0], Send: send, Attempt: parts[2]}
	for _, s := range []string{r.Challenge, r.Attempt} {
		if strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return Reference{}, errors.New("malformed delivery reference")
		}
	}
	return r, nil
}

// UnknownID names the row that stands for the n-th hand-over of a send of
// which no event was ever seen: `<challenge>.<send>.<n>`.
func UnknownID(challenge string, send, n int) string {
	return fmt.Sprintf("%s.%d.%d", challenge, send, n)
}
