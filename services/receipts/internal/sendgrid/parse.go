package sendgrid

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"doorcode/pkg/account"
	"doorcode/pkg/delivery"
	"doorcode/services/receipts/internal/report"
)

// Provider is the name that the adapter for sending has, too.
const Provider = "sendgrid"

// Entry is one event as SendGrid writes it, as far as it is used. Whatever else stands there is left alone.
type Entry struct {
	Email          text `json:"email,omitempty"`
	Event          text `json:"event,omitempty"`
	Timestamp      text `json:"timestamp,omitempty"`
	ID             text `json:"sg_event_id,omitempty"`
	Message        text `json:"sg_message_id,omitempty"`
	Reference      text `json:"dlv,omitempty"` // our custom argument
	Type           text `json:"type,omitempty"`
	Classification text `json:"bounce_classification,omitempty"`
	Reason         text `json:"reason,omitempty"`
	Response       text `json:"response,omitempty"`
	Code           text `json:"status,omitempty"` // RFC 3463, such as 5.1.1
	Attempt        text `json:"attempt,omitempty"`
}

// text takes a string or a number, for SendGrid mixes them, and reads anything else as nothing.
type text string

// UnmarshalJSON never fails.
func (t *text) UnmarshalJSON(data []byte) error {
	*t = ""
	var s string
	var n json.Number
	switch {
	case len(data) > 0 && data[0] == '"' && json.Unmarshal(data, &s) == nil:
		*t = text(s)
	case json.Unmarshal(data, &n) == nil:
		*t = text(n)
	}
	return nil
}

// Decode reads a batch: a JSON array of events, of which those that are no objects are skipped and counted. The line
// ends that SendGrid writes between events are white space wherever they stand.
func Decode(body []byte) (entries []Entry, skipped int, err error) {
	if len(body) == 0 || body[0] != '[' {
		return nil, 0, fmt.Errorf("read events: %w", report.ErrUnreadable)
	}
	var raw []json.RawMessage
	err = json.Unmarshal(body, &raw)
	if err != nil {
		return nil, 0, fmt.Errorf("read events: %w", report.ErrUnreadable)
	}
	for _, one := range raw {
		var e Entry
		if !bytes.HasPrefix(one, []byte("{")) || json.Unmarshal(one, &e) != nil {
			skipped++
			continue
		}
		entries = append(entries, e)
	}
	return entries, skipped, nil
}

// Report says what an event means for a code (providers.md 3.2). It fails with report.ErrUnused for a kind that says
// nothing about a delivery, with report.ErrForeign for another system's mail on the same account, and with
// report.ErrUnreadable.
func (e Entry) Report() (report.Report, error) {
	status, reason, ok := e.meaning()
	if !ok {
		return report.Report{}, report.ErrUnused
	}
	at, ok := unixSeconds(string(e.Timestamp))
	if !ok {
		return report.Report{}, report.ErrUnreadable
	}
	r := report.Report{
		Provider: Provider, Channel: delivery.Email, Recipient: string(e.Email), Status: status, Reason: reason,
		Detail: e.detail(), ProviderID: string(e.Message), ProviderEvent: string(e.ID), At: at,
		Cause: []string{string(e.Event), string(e.Timestamp), string(e.Attempt)},
	}
	ref, err := delivery.ParseReference(string(e.Reference))
	if err == nil {
		r.Reference = ref
		return r, nil
	}
	// An asynchronous bounce carries neither our arguments nor an id of the message, but its recipient.
	if e.Event != "bounce" || e.Reference != "" || e.Message != "" {
		return report.Report{}, report.ErrForeign
	}
	if account.ValidateEmail(r.Recipient) != nil {
		return report.Report{}, report.ErrUnreadable
	}
	return r, nil
}

// meaning translates the kind of an event. A spam report or an opened mail says nothing about the delivery; the latter
// is faked by mail scanners.
func (e Entry) meaning() (delivery.Status, delivery.Reason, bool) {
	switch e.Event {
	case "processed":
		return delivery.StatusAccepted, delivery.ReasonOther, true
	case "deferred":
		return delivery.StatusDeferred, delivery.ReasonUnreachable, true
	case "delivered":
		return delivery.StatusDelivered, delivery.ReasonOther, true
	case "dropped":
		return delivery.StatusFailed, delivery.ReasonSuppressed, true
	case "bounce":
		return delivery.StatusFailed, e.bounced(), true
	}
	return "", delivery.ReasonOther, false
}

// bounced tells a bad address from a message that was refused.
func (e Entry) bounced() delivery.Reason {
	switch {
	case e.Type == "blocked":
		return delivery.ReasonRejected
	case e.Classification == "Mailbox Unavailable", e.Classification == "Technical":
		return delivery.ReasonUnreachable
	case e.Classification == "Content", e.Classification == "Reputation", e.Classification == "Frequency or Volume Too High":
		return delivery.ReasonRejected
	}
	return delivery.ReasonInvalidRecipient
}

// enhanced returns the shape of a status code (RFC 3463 §2).
func enhanced() *regexp.Regexp { return regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}$`) }

// detail is what the receiving server said, its status code first.
func (e Entry) detail() string {
	words := string(e.Reason)
	if words == "" {
		words = string(e.Response)
	}
	if enhanced().MatchString(string(e.Code)) {
		words = string(e.Code) + ": " + words
	}
	return strings.TrimSpace(words)
}
