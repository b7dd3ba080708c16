package event

import (
	"encoding/json"
	"fmt"
	"time"

	"doorcode/pkg/challenge"
)

// Issued is the data of challenge.v1.issued: all that every later step needs.
// The answer to create is a pure function of it and its sequence.
type Issued struct {
	Challenge        string            `json:"challenge"`
	Workspace        string            `json:"workspace"`
	Login            string            `json:"login"`
	LoginVersion     int64             `json:"login_version"`
	FrontEnd         string            `json:"front_end"`
	Purpose          challenge.Purpose `json:"purpose"`
	Channel          string            `json:"channel"` // of the first route
	Label            string            `json:"label"`
	SupportReference string            `json:"support_reference"`
	Locale           string            `json:"locale"`
	DigestKey        uint8             `json:"digest_key"`
	Digest           []byte            `json:"digest"`
	TagKey           uint8             `json:"tag_key"`
	Routes           []Route           `json:"routes"`
	Policy           challenge.Policy  `json:"policy"`
	CreatedAt        time.Time         `json:"created_at"`
	ExpiresAt        time.Time         `json:"expires_at"`
	ResendAt         time.Time         `json:"resend_at"`
	// Fingerprint is a keyed hash of the request: the same idempotency key
	// with another body is refused.
	Fingerprint []byte `json:"fingerprint"`
	// Network is the client's address without its last part (/24 or /48).
	Network string `json:"network,omitempty"`
	// Browser is a keyed hash of the front-end's id of the browser and the
	// login: it tells the browsers of one login apart and nothing else.
	Browser []byte `json:"browser,omitempty"`
	// Agent names browser and system in words of a closed set.
	Agent string `json:"agent,omitempty"`
	// Skip is leave to go on without the code, if it may be skipped.
	Skip *Waiver `json:"skip,omitempty"`
}

// Waiver is auth's leave to go on without a code. The MAC covers it and all
// that it is good for (otp.Waiver).
type Waiver struct {
	Why string `json:"why"`
	// Skips is how many skips the login may have in all; 0: it is no skip.
	Skips int       `json:"skips,omitempty"`
	Until time.Time `json:"until"` // it counts for nothing from here on
	Key   uint8     `json:"key"`
	MAC   []byte    `json:"mac"`
	// Left and EnforceAt are for people to read, and no part of the MAC: the
	// skips left, this one counted, and when codes become required, if known.
	Left      int        `json:"left,omitempty"`
	EnforceAt *time.Time `json:"enforce_at,omitempty"`
}

// Route is one proven way to the person, with the envelope that only the
// dispatcher of its channel can open.
type Route struct {
	Channel   string `json:"channel"`
	Recipient string `json:"recipient"` // masked
	Address   []byte `json:"address"`   // keyed hash of the recipient
	// PerHour and PerDay are the limits of messages to this recipient.
	PerHour int `json:"per_hour"`
	PerDay  int `json:"per_day"`
	// Cap is the most messages of this channel within a day over all
	// recipients; 0 is none.
	Cap      int    `json:"cap,omitempty"`
	Envelope string `json:"envelope"`
}

// Send is what a dispatcher does about an event on doorcode.challenge.<c>.
type Send struct {
	Challenge string // of a notice: its id, which takes the same place everywhere
	Number    int    // 1 is create's, and the only one of a notice
	Route     int    // position among the challenge's routes, from 0
	Channel   string
	Envelope  string
	// NotAfter is the latest time at which a call may start (P6), and
	// ExpiresAt when the message has lost its worth.
	NotAfter, ExpiresAt time.Time
	At                  time.Time // of the event that asked for it
	// Notice is the kind of a notice, and empty for a code.
	Notice string
}

// Requested is the data of delivery.v1.requested, a resend.
type Requested struct {
	Challenge string    `json:"challenge"`
	Send      int       `json:"send"`
	Route     int       `json:"route"`
	Channel   string    `json:"channel"`
	Envelope  string    `json:"envelope"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Delivery is the data of delivery.v1.attempted, postponed and abandoned.
type Delivery struct {
	Challenge string `json:"challenge"` // or notice, whose id has the same form
	Send      int    `json:"send"`
	Channel   string `json:"channel"`
	// Number is the broker's count of hand-overs of this send, from 1. It
	// starts again when the broker was killed.
	Number int `json:"number"`
	// RequestedAt is the time of the event that asked for the send; a row for
	// a hand-over without an event gets it, so that it is written once.
	RequestedAt time.Time `json:"requested_at"`
	Reason      string    `json:"reason,omitempty"`
	// RetryAt is when the broker hands the send over again, if it will.
	RetryAt *time.Time `json:"retry_at,omitempty"`

	// The rest belongs to an attempt: one call to a provider.
	Attempt    string `json:"attempt,omitempty"`
	Provider   string `json:"provider,omitempty"`
	ProviderID string `json:"provider_id,omitempty"`
	// Destination is the country of the number or the mailbox provider, of a
	// closed list: no more of the recipient than many others share. Events of
	// before have none.
	Destination string `json:"destination,omitempty"`
	// Notice is the kind of a notice, and empty for a code.
	Notice     string `json:"notice,omitempty"`
	Result     string `json:"result,omitempty"`
	Detail     string `json:"detail,omitempty"` // redacted cause
	DurationMS int64  `json:"duration_ms,omitempty"`
}

// Outcome is the data of challenge.v1.approved, expired, canceled, exhausted,
// waived and check.v1.rejected.
type Outcome struct {
	Challenge        string    `json:"challenge"`
	Workspace        string    `json:"workspace"`
	Login            string    `json:"login"`
	FrontEnd         string    `json:"front_end"`
	SupportReference string    `json:"support_reference"`
	Channel          string    `json:"channel,omitempty"` // of the first message; none was sent of a sign-in that needed no code
	At               time.Time `json:"at"`
	Reason           string    `json:"reason,omitempty"`      // of a cancel or a waiver
	Wrong            int       `json:"wrong,omitempty"`       // wrong codes compared so far
	ChecksLeft       *int      `json:"checks_left,omitempty"` // of a rejected check
}

// Directory is the data of all directory.v1 events. It carries no address and
// nothing that anybody typed.
type Directory struct {
	Workspace string `json:"workspace"`
	Login     string `json:"login,omitempty"`
	Version   int64  `json:"version,omitempty"` // of the login, after the change
	By        string `json:"by"`                // the front-end, or the process
	// About is the id of the invitation, request or change of a factor that the
	// event tells of, if it tells of one.
	About string `json:"about,omitempty"`
	// Kind is that of the change of a factor, or of the notice that is ordered.
	Kind string    `json:"kind,omitempty"`
	At   time.Time `json:"at"`
}

// SendOf returns what a dispatcher has to do about an event, or ErrMalformed
// when it asks for nothing.
func SendOf(e Event) (Send, error) {
	switch e.Type { //nolint:exhaustive // three types order a send, and no later one does by chance
	case ChallengeIssued:
		var p Issued
		err := e.Decode(&p)
		if err != nil {
			return Send{}, err
		}
		if p.Challenge == "" || len(p.Routes) == 0 || p.Routes[0].Channel != p.Channel || p.ExpiresAt.IsZero() {
			return Send{}, fmt.Errorf("%w: no route", ErrMalformed)
		}
		return Send{
			Challenge: p.Challenge, Number: 1, Route: 0, Channel: p.Channel,
			Envelope: p.Routes[0].Envelope, NotAfter: challenge.NotAfter(p.ExpiresAt), ExpiresAt: p.ExpiresAt, At: e.Time,
		}, nil
	case DeliveryRequested:
		var p Requested
		err := e.Decode(&p)
		if err != nil {
			return Send{}, err
		}
		if p.Challenge == "" || p.Send < 2 || p.ExpiresAt.IsZero() {
			return Send{}, fmt.Errorf("%w: no send", ErrMalformed)
		}
		return Send{
			Challenge: p.Challenge, Number: p.Send, Route: p.Route, Channel: p.Channel,
			Envelope: p.Envelope, NotAfter: challenge.NotAfter(p.ExpiresAt), ExpiresAt: p.ExpiresAt, At: e.Time,
		}, nil
	case NoticeRequested:
		return noticeSend(e)
	default:
		return Send{}, fmt.Errorf("%w: type %s asks for no send", ErrMalformed, e.Type)
	}
}

// Decode reads the event's data into a payload, or fails with ErrMalformed.
func (e Event) Decode(payload any) error {
	err := json.Unmarshal(e.Data, payload)
	if err != nil {
		return fmt.Errorf("%w: data of %s", ErrMalformed, e.Type)
	}
	return nil
}
