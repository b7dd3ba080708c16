package event

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// Receipt is the data of receipt.v1.recorded: what a provider reports on a
// message that it took. It names the delivery by the reference that the
// provider echoed, or else the recipient by a keyed hash, never both.
type Receipt struct {
	Channel  string `json:"channel"`
	Provider string `json:"provider"`

	// From the echoed reference.
	Challenge string `json:"challenge,omitempty"`
	Send      int    `json:"send,omitempty"`
	Attempt   string `json:"attempt,omitempty"`
	// AddressHash is limit.RecipientKey of the recipient, for a report without
	// a reference (SendGrid's asynchronous bounces, providers.md 3.2).
	AddressHash []byte `json:"address_hash,omitempty"`

	Status     string `json:"status"` // accepted, deferred, delivered or failed
	Reason     string `json:"reason,omitempty"`
	Detail     string `json:"detail,omitempty"`      // redacted
	ProviderID string `json:"provider_id,omitempty"` // of the message
	// ProviderEvent is the provider's id of the report. Copies of one report
	// may differ in it, so the event's id does not follow from it alone.
	ProviderEvent string    `json:"provider_event,omitempty"`
	At            time.Time `json:"at"` // by the provider's clock
}

// ReceiptID names a receipt by its cause: the same provider and parts, in the
// same order, are the same receipt, and a second arrival changes nothing.
func ReceiptID(provider string, parts ...string) string {
	h := sha256.New()
	for _, part := range append([]string{provider}, parts...) {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // A hash takes everything.
		_, _ = h.Write([]byte(part))
	}
	return "receipt." + base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
