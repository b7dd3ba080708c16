package story

import (
	"cmp"
	"encoding/json"
	"strings"

	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
)

// Advice is one sentence about what to try, by the state and by what is known
// of the last message (product.md R11.2). It names no way around the code.
func Advice(c Challenge, rows []Row) string {
	switch c.State {
	case challenge.Approved:
		return "The code was right, so look at the front-end when the person is not in."
	case challenge.Waived:
		return "No code was asked for, so there is nothing to deliver."
	case challenge.Canceled:
		if c.Reason == challenge.ReasonDirectory {
			return "Something about the login changed meanwhile: have the person sign in again, and they get a code where codes go now."
		}
		return "Have the person sign in again, and leave the page open."
	case challenge.Exhausted:
		if locked(rows) {
			return "The login was locked: unless that has ended since, have it unlocked when the person is known, then they sign in again."
		}
		return "Have the person sign in again and type the code of the newest message, whose label is the one on the screen" + ofLabel(c) + "."
	case challenge.Pending, challenge.Expired:
	}
	last := LastMessage(c.ID, rows)
	return cmp.Or(deliveryAdvice(c, last), "Look at the dead letters and the channel: nothing tells what became of this challenge.")
}

// ofLabel names the label that was on the screen.
func ofLabel(c Challenge) string {
	if c.Label == "" {
		return ""
	}
	return " (this one had " + c.Label + ")"
}

// locked says whether the login was locked and nobody has unlocked it.
func locked(rows []Row) bool {
	is := false
	for _, r := range sorted(rows) {
		switch event.Type(r.Kind) { //nolint:exhaustive // nothing else locks
		case event.LoginLocked:
			is = true
		case event.LoginUnlocked:
			is = false
		}
	}
	return is
}

// LastMessage is the state of the challenge's newest send, as far as the rows
// tell.
func LastMessage(id string, rows []Row) delivery.State {
	kinds := map[event.Type]delivery.FactKind{
		event.DeliveryRequested: delivery.FactRequested, event.DeliveryAttempted: delivery.FactAttempted,
		event.DeliveryPostponed: delivery.FactPostponed, event.DeliveryAbandoned: delivery.FactAbandoned,
		event.ReceiptRecorded: delivery.FactReceipt,
	}
	last := 1
	var facts []delivery.Fact
	for _, r := range rows {
		kind, known := kinds[event.Type(r.Kind)]
		var d detail
		err := json.Unmarshal(r.Detail, &d)
		if !known || err != nil || r.About != id {
			continue
		}
		f := delivery.Fact{
			Send: d.Send, Kind: kind, At: r.At, Number: d.Number, Result: d.Result, Reported: d.Status, Channel: delivery.Channel(d.Channel),
		}
		_ = f.Reason.UnmarshalText([]byte(d.Reason)) // It never fails: what it does not know is another reason.
		facts = append(facts, f)
		last = max(last, d.Send)
	}
	return delivery.StatusOf(last, facts)
}

// deliveryAdvice is Advice while the code is open, or after it expired.
func deliveryAdvice(c Challenge, s delivery.State) string {
	next := "have it sent again"
	if c.State != challenge.Pending {
		next = "have the person sign in again"
	}
	switch s.Status {
	case delivery.StatusQueued, delivery.StatusSending:
		return "The message has not been taken yet: look at the channel (doorcodectl channel show) and at the provider" + other(c, s, ", or offer ") + "."
	case delivery.StatusAccepted, delivery.StatusDelivered:
		return "Ask the person to look in the spam folder for the sender's name, and the administrator of the mailbox to search for the message; then " + next + "."
	case delivery.StatusDeferred:
		return "The receiver asked to come back later, mostly for under five minutes: wait" + other(c, s, ", or offer ") + "; then " + next + "."
	case delivery.StatusUnknown:
		return "The message may still arrive: wait a minute, then " + next + "; a second message has the same code."
	case delivery.StatusAbandoned:
		return "The message was held up until its code was too old: look at the channel, then " + next + "."
	case delivery.StatusFailed:
		if s.Reason == delivery.ReasonSuppressed {
			return "The provider blocks this recipient after earlier failures: clear the entry there" + other(c, s, ", or offer ") + "; then " + next + "."
		}
		return "The recipient did not get it and will not: " + cmp.Or(other(c, s, "offer "), "the owner or administrator has to correct the address") +
			"; then " + next + "."
	}
	return ""
}

// other names the proven routes that the last message did not take, behind some
// words, or nothing when there is none.
func other(c Challenge, s delivery.State, words string) string {
	if c.Gone {
		return words + "another proven route, if there is one"
	}
	taken := -1
	if s.Send >= 1 && s.Send <= len(c.Sent) {
		taken = c.Sent[s.Send-1]
	}
	var others []string
	for i, r := range c.Routes {
		if i != taken {
			others = append(others, r.Recipient+" "+by(r.Channel))
		}
	}
	if len(others) == 0 {
		return ""
	}
	return words + "another proven route, " + printable(strings.Join(others, " or "))
}
