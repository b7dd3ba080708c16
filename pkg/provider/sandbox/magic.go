package sandbox

import (
	"strings"
	"time"

	"doorcode/pkg/delivery"
)

// Magic is a recipient that makes something happen without a control call.
type Magic struct {
	// Recipient is the end of the local part of an address, or of a number.
	Recipient string
	// Effect is one sentence about it.
	Effect string

	fault  Fault        // how the send itself goes wrong; no kind for none
	events []mailStep   // what becomes of a mail
	status string       // with which an SMS is refused
	report []reportStep // what becomes of an SMS
	copies int          // how often each report comes besides the first time
}

// mailStep is one event of a mail.
type mailStep struct {
	after time.Duration
	event mailEvent
}

// reportStep is one receipt of an SMS.
type reportStep struct {
	after         time.Duration
	status, error string
}

// The times after the acceptance at which something becomes of a message.
const (
	afterMoment = 500 * time.Millisecond
	afterWhile  = 3 * time.Second
	afterSlow   = 20 * time.Second
)

// The texts of receiving servers.
const (
	unknownUser = "550 5.1.1 The email account that you tried to reach does not exist"
	refusedMail = "550 5.7.1 Our system has detected that this message is likely unsolicited mail"
	comeLater   = "451 4.7.1 Greylisted, please try again later"
	mailTaken   = "250 2.0.0 OK"
)

// delivers is what becomes of a plain mail, with the last step at the time.
func delivers(after time.Duration) []mailStep {
	return []mailStep{{0, mailEvent{Kind: "processed"}}, {after, mailEvent{Kind: "delivered", Response: mailTaken}}}
}

// bounces is the event of a refusing server; the kind is bounce or blocked.
func bounces(kind, status, reason, class string) mailEvent {
	return mailEvent{Kind: "bounce", Type: kind, Status: status, Reason: reason, Classification: class}
}

// deferred is the event of a server that says "later".
func deferred(attempt string) mailEvent {
	return mailEvent{Kind: "deferred", Response: comeLater, Reason: comeLater, Attempt: attempt}
}

// MailMagic lists the magic ends of a local part, for example of
// ada+bounce@example.net. Any other mail is delivered shortly after its
// acceptance.
func MailMagic() []Magic {
	taken := []mailStep{{0, mailEvent{Kind: "processed"}}}
	hard := bounces("bounce", "5.1.1", unknownUser, "Invalid Address")
	late := hard
	late.Anonymous = true
	return []Magic{
		{Recipient: "+bounce", Effect: "Bounces: the address does not exist.", events: append(taken, mailStep{afterMoment, hard})},
		{Recipient: "+blocked", Effect: "Is blocked: the receiving server refuses the message, not the address.", events: append(taken, mailStep{afterMoment, bounces("blocked", "5.7.1", refusedMail, "Reputation")})},
		{Recipient: "+drop-unsub", Effect: "Is dropped: the address is on the list of unsubscribed ones.", events: []mailStep{{0, mailEvent{Kind: "dropped", Reason: "Unsubscribed Address", Status: "5.0.0"}}}},
		{Recipient: "+drop-bounce", Effect: "Is dropped: the address bounced before.", events: []mailStep{{0, mailEvent{Kind: "dropped", Reason: "Bounced Address", Status: "5.0.0"}}}},
		{Recipient: "+defer", Effect: "Is deferred twice, and no more is heard of it.", events: append(taken, mailStep{afterMoment, deferred("1")}, mailStep{afterWhile, deferred("2")})},
		{Recipient: "+defer-then-deliver", Effect: "Is deferred, then delivered after 3 seconds.", events: append(taken, mailStep{afterMoment, deferred("1")}, mailStep{afterWhile, mailEvent{Kind: "delivered", Response: mailTaken}})},
		{Recipient: "+async-bounce", Effect: "Is delivered, then bounces after 3 seconds without message id and custom arguments.", events: append(delivers(afterMoment), mailStep{afterWhile, late})},
		{Recipient: "+spam", Effect: "Is delivered, then reported as spam after 3 seconds.", events: append(delivers(afterMoment), mailStep{afterWhile, mailEvent{Kind: "spamreport"}})},
		{Recipient: "+silent", Effect: "Is accepted, and nothing is ever heard of it.", events: []mailStep{}},
		{Recipient: "+slow", Effect: "Is delivered after 20 seconds.", events: delivers(afterSlow)},
		{Recipient: "+dup", Effect: "Is delivered; each event comes three times, once with another sg_event_id.", events: delivers(afterMoment), copies: 2},
		{Recipient: "+429", Effect: "Is refused with 429: too many requests.", fault: Fault{Kind: RateLimit, Reset: time.Minute}},
		{Recipient: "+500", Effect: "Is refused with 500.", fault: Fault{Kind: Status}},
		{Recipient: "+hang", Effect: "Gets no answer; not stored.", fault: Fault{Kind: Hang}},
		{Recipient: "+cut", Effect: "Is accepted and stored, then the connection is reset before the answer.", fault: Fault{Kind: ResetAfter}},
		{Recipient: "+credits", Effect: "Is refused with 401: maximum credits exceeded.", fault: Fault{Kind: Credits}},
		{Recipient: "+late-accept", Effect: "Is accepted and stored at once; the answer comes after 30 seconds.", fault: Fault{Kind: LateAccept}},
	}
}

// SMSMagic lists the magic last two digits of a number. Any other SMS is
// delivered shortly after its acceptance.
func SMSMagic() []Magic {
	fails := func(status, code string) []reportStep { return []reportStep{{afterMoment, status, code}} }
	return []Magic{
		{Recipient: "01", Effect: "Refused with status 1: throttled.", status: smsThrottled},
		{Recipient: "05", Effect: "Refused with status 5: internal error.", status: smsInternal},
		{Recipient: "06", Effect: "Refused with status 6: unknown prefix.", status: smsPrefix},
		{Recipient: "07", Effect: "Refused with status 7: the number is barred.", status: smsBarred},
		{Recipient: "09", Effect: "Refused with status 9: no credit.", status: smsCredit},
		{Recipient: "15", Effect: "Refused with status 15: the sender is not allowed.", status: smsSender},
		{Recipient: "22", Effect: "Refused with status 22: taken for fraud.", status: smsNetwork},
		{Recipient: "29", Effect: "Refused with status 29: not on the list of a demo account.", status: smsDemo},
		{Recipient: "33", Effect: "Refused with status 33: the number is deactivated.", status: smsDeactivated},
		{Recipient: "60", Effect: "Accepted, and no receipt ever comes.", report: []reportStep{}},
		{Recipient: "70", Effect: "Buffered, then delivered after 3 seconds.", report: []reportStep{{afterMoment, "buffered", "0"}, {afterWhile, "delivered", "0"}}},
		{Recipient: "71", Effect: "Fails with err-code 1: unknown.", report: fails("failed", "1")},
		{Recipient: "72", Effect: "Fails with err-code 2: the phone is absent for now.", report: fails("failed", "2")},
		{Recipient: "76", Effect: "Rejected with err-code 6: spam filter.", report: fails("rejected", "6")},
		{Recipient: "79", Effect: "Expires with err-code 1.", report: fails("expired", "1")},
		{Recipient: "90", Effect: "HTTP 500 in place of an answer.", fault: Fault{Kind: Status}},
		{Recipient: "91", Effect: "Gets no answer; not stored.", fault: Fault{Kind: Hang}},
		{Recipient: "92", Effect: "Accepted and stored, then the connection is reset before the answer.", fault: Fault{Kind: ResetAfter}},
		{Recipient: "93", Effect: "Accepted and stored at once; the answer comes after 30 seconds.", fault: Fault{Kind: LateAccept}},
		{Recipient: "94", Effect: "Delivered after 20 seconds.", report: []reportStep{{afterSlow, "delivered", "0"}}},
		{Recipient: "95", Effect: "Delivered; the receipt comes three times.", report: fails("delivered", "0"), copies: 2},
	}
}

// magicOf finds what a recipient asks for; a plain one asks for a delivery.
func magicOf(channel delivery.Channel, recipient string) Magic {
	if channel == delivery.SMS {
		for _, m := range SMSMagic() {
			if strings.HasSuffix(recipient, m.Recipient) {
				return m.complete()
			}
		}
		return Magic{}.complete()
	}
	local, _, _ := strings.Cut(strings.ToLower(recipient), "@")
	for _, m := range MailMagic() {
		if strings.HasSuffix(local, m.Recipient) {
			return m.complete()
		}
	}
	return Magic{}.complete()
}

// complete adds the plain course of things where nothing else is said.
func (m Magic) complete() Magic {
	if m.events == nil {
		m.events = delivers(afterMoment)
	}
	if m.report == nil {
		m.report = []reportStep{{afterMoment, "delivered", "0"}}
	}
	return m
}

// magicFault is the fault that the first magic recipient of a send brings along.
func magicFault(channel delivery.Channel, recipients []string) (Fault, bool) {
	for _, recipient := range recipients {
		fault := magicOf(channel, recipient).fault
		if fault.Kind != "" {
			return fault.withDefaults(), true
		}
	}
	return Fault{}, false
}

// magicRefusal refuses the SMS to a number that asks for it.
func magicRefusal(q *smsRequest) (smsPart, bool) {
	status := magicOf(delivery.SMS, q.fields["to"]).status
	if status == "" {
		return smsPart{}, false
	}
	return refuseSMS(status)
}
