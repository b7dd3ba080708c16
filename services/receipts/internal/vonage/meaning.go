package vonage

import (
	"strings"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/services/receipts/internal/report"
)

// Provider is the name that the adapter for sending has, too.
const Provider = "vonage"

// Report says what a receipt means for a code. It fails with report.ErrUnused for a status without information, with
// report.ErrForeign for a message that is not ours, and with report.ErrUnreadable.
func (f Fields) Report() (report.Report, error) {
	status, reason, ok := f.meaning()
	if !ok {
		return report.Report{}, report.ErrUnused
	}
	ref, err := delivery.ParseReference(f["client-ref"])
	if err != nil {
		return report.Report{}, report.ErrForeign
	}
	at, ok := f.at()
	if !ok {
		return report.Report{}, report.ErrUnreadable
	}
	return report.Report{
		Provider: Provider, Channel: delivery.SMS, Reference: ref, Recipient: f["msisdn"], Status: status, Reason: reason,
		Detail: f.detail(), ProviderID: f["messageId"], At: at,
		// One message may have several parts, each with an id and receipts of its own.
		Cause: []string{f["messageId"], f["status"], f["err-code"], f["message-timestamp"], f["scts"]},
	}, nil
}

// meaning translates status and error code. No information is none, and changes nothing.
func (f Fields) meaning() (delivery.Status, delivery.Reason, bool) {
	switch f["status"] {
	case "accepted":
		return delivery.StatusAccepted, delivery.ReasonOther, true
	case "buffered":
		return delivery.StatusDeferred, because(f["err-code"], delivery.ReasonUnreachable), true
	case "delivered":
		return delivery.StatusDelivered, delivery.ReasonOther, true
	case "expired":
		return delivery.StatusFailed, because(f["err-code"], delivery.ReasonUnreachable), true
	case "rejected":
		return delivery.StatusFailed, because(f["err-code"], delivery.ReasonRejected), true
	case "failed", "undelivered", "deleted":
		return delivery.StatusFailed, because(f["err-code"], delivery.ReasonOther), true
	}
	return "", delivery.ReasonOther, false
}

// because translates an error code of the network (providers.md 4.7), or returns the reason of the status alone.
func because(code string, otherwise delivery.Reason) delivery.Reason {
	switch code {
	case "3", "4": // The number is absent for good, or barred by the person.
		return delivery.ReasonInvalidRecipient
	case "2", "7", "8", "12", "13", "14", "15": // It cannot be reached now, or receives nothing of the kind.
		return delivery.ReasonUnreachable
	case "9": // The person wants no messages.
		return delivery.ReasonSuppressed
	case "16": // Capacity.
		return delivery.ReasonRateLimited
	case "5": // Number portability.
		return delivery.ReasonProviderError
	case "6", "10", "11", "50", "51", "52", "53", "54": // Content, sender, country or regulation.
		return delivery.ReasonRejected
	}
	return otherwise
}

// at is when it happened. Without the provider's own time it is that of the carrier, which is off by the carrier's zone
// but the same in every copy.
func (f Fields) at() (time.Time, bool) {
	at, err := time.Parse(time.DateTime, f["message-timestamp"])
	if err == nil {
		return at, true
	}
	at, err = time.Parse("0601021504", f["scts"])
	return at, err == nil
}

// detail is what the provider says beside the status.
func (f Fields) detail() string {
	words := "status " + f["status"]
	if code := f["err-code"]; code != "" && code != "0" {
		words += ", network code " + code
	}
	return strings.TrimSpace(words)
}
