package standing

import "doorcode/pkg/delivery"

// Text says in plain words what is known about a message. It promises nothing: accepted is not delivered (P12).
func Text(s delivery.State) string {
	switch s.Status {
	case delivery.StatusQueued:
		return "Your message is on its way."
	case delivery.StatusSending:
		return "Sending takes longer than usual; we keep trying."
	case delivery.StatusAccepted:
		return "The mail provider accepted the message; it should arrive shortly."
	case delivery.StatusUnknown:
		return "We cannot tell whether the message was sent; it may still arrive."
	case delivery.StatusFailed:
		return failedText(s.Reason)
	case delivery.StatusAbandoned:
		return "We could not confirm that the message was sent, and we no longer try to."
	}
	return "Your message is on its way."
}

// failedText explains a failure where the person or an administrator can do something about it.
func failedText(r delivery.Reason) string {
	switch r {
	case delivery.ReasonInvalidRecipient, delivery.ReasonUnreachable:
		return "The mail provider could not use this address."
	case delivery.ReasonSuppressed:
		return "The mail provider refuses to send to this address, because earlier messages could not be delivered."
	case delivery.ReasonOther, delivery.ReasonRateLimited, delivery.ReasonAuthentication, delivery.ReasonRejected,
		delivery.ReasonProviderError, delivery.ReasonTimeout, delivery.ReasonCanceled, delivery.ReasonTooLate:
		return "The message could not be sent."
	}
	return "The message could not be sent."
}
