// Package report holds what every provider's webhook is read into, and the event that it becomes. It is a pure function
// of what the provider said: no clock, and nothing that depends on when or how often it arrived (P9).
package report

import (
	"encoding/hex"
	"errors"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/limit"
	"doorcode/pkg/provider"
)

// Source is the source of the events.
const Source = "doorcode/receipts"

// Why a part of a webhook becomes no event. None of them is worth an error to the provider, which would only say it
// again.
var (
	ErrForeign    = errors.New("not about a message of ours")
	ErrUnused     = errors.New("says nothing about a delivery")
	ErrUnreadable = errors.New("not readable")
)

// The span in which a provider's time is believed. Providers try for up to three days to deliver, and repeat a report
// for a day; the record has partitions from eight days ago.
const (
	oldest = 7 * 24 * time.Hour
	newest = time.Hour
)

// maxID bounds an id that a provider made up, in bytes.
const maxID = 200

// Report is one report of a provider on one message.
type Report struct {
	Provider string
	Channel  delivery.Channel
	// Reference is what the provider echoed; the zero value when it echoed nothing.
	Reference delivery.Reference
	// Recipient is in clear and leaves this process as a keyed hash, and only without a reference.
	Recipient     string
	Status        delivery.Status
	Reason        delivery.Reason
	Detail        string // as the provider has it; it may quote the recipient
	ProviderID    string
	ProviderEvent string
	At            time.Time
	// Cause tells this report from others on the same message, equal in every copy of it.
	Cause []string
}

// Plausible reports whether the provider's time can be true. Nothing else could be kept where it belongs.
func (r Report) Plausible(now time.Time) bool {
	return r.At.After(now.Add(-oldest)) && r.At.Before(now.Add(newest))
}

// Event returns the event of a report. Its id and time follow from the report, so that a copy is the same event; ring
// hashes the recipient when there is no reference.
func (r Report) Event(ring *keyring.Ring) (event.Event, error) {
	p := event.Receipt{
		Channel: string(r.Channel), Provider: r.Provider, Status: string(r.Status),
		Detail: provider.Redact(r.Detail, r.Recipient), ProviderID: printable(r.ProviderID),
		ProviderEvent: printable(r.ProviderEvent), At: r.At.UTC(),
	}
	if r.Status == delivery.StatusFailed || r.Status == delivery.StatusDeferred {
		p.Reason = r.Reason.String()
	}
	var about string
	if r.Reference.Challenge != "" {
		p.Challenge, p.Send, p.Attempt = r.Reference.Challenge, r.Reference.Send, r.Reference.Attempt
		about = r.Reference.String()
	} else {
		p.AddressHash = limit.RecipientKey(ring, string(r.Channel), account.CompareForm(r.Recipient))
		about = hex.EncodeToString(p.AddressHash)
	}
	id := event.ReceiptID(r.Provider, append([]string{about}, r.Cause...)...)
	return event.New(event.ReceiptRecorded, id, Source, r.At, p.Challenge, p)
}

// printable returns a provider's id when it looks like one, and nothing otherwise.
func printable(id string) string {
	if len(id) > maxID {
		return ""
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' || c == '@' { // An address is no id.
			return ""
		}
	}
	return id
}
