package standing

import (
	"strings"

	"doorcode/pkg/delivery"
)

// Text says in plain words what is known about a message to a masked recipient on a channel. It is the one place where
// these words are made. It promises nothing: accepted is not delivered, and delivered is not read (P12).
func Text(s delivery.State, channel delivery.Channel, recipient string) string {
	by, provider := receiver(channel, recipient), "mail provider"
	if channel == delivery.SMS {
		provider = "SMS provider"
	}
	switch s.Status {
	case delivery.StatusQueued:
		return "Your message is on its way."
	case delivery.StatusSending:
		return "Sending takes longer than usual; we keep trying."
	case delivery.StatusAccepted:
		return "The " + provider + " accepted the message; no report from " + by + " yet."
	case delivery.StatusDeferred:
		return capital(by) + " asked to come back later; the message is tried again by itself."
	case delivery.StatusDelivered:
		if channel == delivery.SMS {
			return "Delivered to the phone, as far as its network reports."
		}
		return "Accepted by " + by + "; if it is not in the inbox, look for it in the spam folder."
	case delivery.StatusUnknown:
		return "We cannot tell whether the message was sent; it may still arrive."
	case delivery.StatusFailed:
		if s.By == delivery.FactReceipt {
			return refusedText(s.Reason, by)
		}
		return failedText(s.Reason, provider)
	case delivery.StatusAbandoned:
		return "We could not confirm that the message was sent, and we no longer try to."
	}
	return "Your message is on its way."
}

// receiver names who takes a message for the person: the domain of the address, or the network of the phone.
func receiver(channel delivery.Channel, recipient string) string {
	at := strings.LastIndexByte(recipient, '@')
	switch {
	case channel == delivery.SMS:
		return "the phone network"
	case at < 0 || at == len(recipient)-1:
		return "the mail server"
	}
	return recipient[at+1:]
}

// capital begins a sentence. A domain stays as it is written.
func capital(name string) string {
	if rest, found := strings.CutPrefix(name, "the "); found {
		return "The " + rest
	}
	return name
}

// refusedText explains a message that was taken and did not arrive.
func refusedText(r delivery.Reason, by string) string {
	switch r {
	case delivery.ReasonInvalidRecipient:
		return "Refused by " + by + ": this recipient does not exist there."
	case delivery.ReasonSuppressed:
		return "Not delivered: this recipient is blocked after earlier messages that failed or were unwanted."
	case delivery.ReasonUnreachable:
		return "Not delivered: " + by + " could not reach this recipient."
	case delivery.ReasonOther, delivery.ReasonRateLimited, delivery.ReasonAuthentication, delivery.ReasonRejected,
		delivery.ReasonProviderError, delivery.ReasonTimeout, delivery.ReasonCanceled, delivery.ReasonTooLate:
	}
	return "Refused by " + by + "."
}

// failedText explains a failure before anybody took the message, where the person or an administrator can do something
// about it.
func failedText(r delivery.Reason, provider string) string {
	switch r {
	case delivery.ReasonInvalidRecipient, delivery.ReasonUnreachable:
		return "The " + provider + " could not use this recipient."
	case delivery.ReasonSuppressed:
		return "The " + provider + " refuses to send to this recipient, because earlier messages could not be delivered."
	case delivery.ReasonOther, delivery.ReasonRateLimited, delivery.ReasonAuthentication, delivery.ReasonRejected,
		delivery.ReasonProviderError, delivery.ReasonTimeout, delivery.ReasonCanceled, delivery.ReasonTooLate:
	}
	return "The message could not be sent."
}
