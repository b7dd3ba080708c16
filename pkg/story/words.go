package story

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/rollout"
)

// detail is all that lines are made of; each kind has a part of it.
type detail struct {
	FrontEnd         string          `json:"front_end"`
	Purpose          string          `json:"purpose"`
	Label            string          `json:"label"`
	SupportReference string          `json:"support_reference"`
	ExpiresAt        time.Time       `json:"expires_at"`
	Channel          string          `json:"channel"`
	Send             int             `json:"send"`
	Number           int             `json:"number"`
	Attempt          string          `json:"attempt"`
	Provider         string          `json:"provider"`
	ProviderID       string          `json:"provider_id"`
	Result           delivery.Result `json:"result"`
	Status           delivery.Status `json:"status"`
	Reason           string          `json:"reason"`
	Detail           string          `json:"detail"`
	RetryAt          *time.Time      `json:"retry_at"`
	Wrong            int             `json:"wrong"`
	ChecksLeft       *int            `json:"checks_left"`
	Kind             string          `json:"kind"`        // of a notice
	Destination      string          `json:"destination"` // of a notice, masked
	By               string          `json:"by"`
}

// tell returns the lines of one row, without their time.
func (t teller) tell(r Row) []Line {
	var d detail
	err := json.Unmarshal(r.Detail, &d)
	if err != nil {
		return []Line{{Lane: t.lane(r, 0), Text: r.Kind + " by " + r.Actor + "; its detail cannot be read"}}
	}
	lane := t.lane(r, d.Send)
	kind := event.Type(r.Kind)
	switch kind { //nolint:exhaustive // a kind without words of its own is shown by its name
	case event.ChallengeIssued:
		text := "a code was asked for by front-end " + r.Actor
		if !d.ExpiresAt.IsZero() {
			text += ", good until " + clock(d.ExpiresAt)
		}
		return []Line{{Lane: SignIn, Text: text}, {Lane: "send 1", Text: "code ordered " + t.to(1, d.Channel)}}
	case event.DeliveryRequested:
		return []Line{{Lane: lane, Text: "the same code ordered again by front-end " + r.Actor + ", " + t.to(d.Send, d.Channel)}}
	case event.NoticeRequested:
		return []Line{{Lane: lane, Text: noticeText(d)}}
	case event.DeliveryAttempted:
		return []Line{{Lane: lane, Text: attemptText(d)}}
	case event.DeliveryPostponed:
		return []Line{{Lane: lane, Text: "not handed over yet" + why(d) + again(d)}}
	case event.DeliveryAbandoned:
		return []Line{{Lane: lane, Text: "given up" + why(d)}}
	case event.ReceiptRecorded:
		return []Line{{Lane: lane, Text: receiptText(d)}}
	}
	switch r.Kind {
	case Shown:
		return []Line{{Lane: lane, Text: "shown to operator " + r.Actor}}
	case SentAgain:
		return []Line{{Lane: SignIn, Text: "sent again at the wish of operator " + r.Actor + reason(d)}}
	case Unlocked:
		return []Line{{Lane: SignIn, Text: "unlocked at the wish of operator " + r.Actor + reason(d)}}
	}
	return []Line{{Lane: lane, Text: cmp.Or(signInText(kind, d), r.Kind+" by "+r.Actor+reason(d))}}
}

// refusedCheck is the kind of the first refusal of its reason that compared
// nothing. It is no event.
const refusedCheck event.Type = "check.v1.refused"

// signInText says what happened to the sign-in, or nothing when the kind is not
// known.
func signInText(kind event.Type, d detail) string {
	switch kind { //nolint:exhaustive // the others are told elsewhere or shown by name
	case event.CheckRejected:
		if d.ChecksLeft == nil {
			return fmt.Sprintf("wrong code (number %d)", d.Wrong)
		}
		return fmt.Sprintf("wrong code (number %d, tries left: %d)", d.Wrong, *d.ChecksLeft)
	case refusedCheck:
		return "a code was refused without looking at it: " + refusal(challenge.Refusal(d.Reason))
	case event.ChallengeApproved:
		return "approved: the code was right"
	case event.ChallengeExpired:
		return "expired: no right code was typed in time"
	case event.ChallengeExhausted:
		return "exhausted: too many wrong codes"
	case event.ChallengeCanceled:
		return "canceled: " + cancel(d.Reason)
	case event.ChallengeWaived:
		return "no code was needed: " + waiver(rollout.Why(d.Reason))
	case event.LoginLocked:
		return "the login was locked: too many wrong codes in a row"
	case event.LoginUnlocked:
		return "the login was unlocked by " + d.By
	}
	return ""
}

// refusal says why nothing was compared.
func refusal(r challenge.Refusal) string {
	switch r {
	case challenge.RefusedExpired:
		return "it had expired"
	case challenge.RefusedUsed:
		return "it had been used"
	case challenge.RefusedClosed:
		return "the challenge had been canceled, or the login has changed"
	case challenge.RefusedTooMany:
		return "too many wrong codes before, or the login is locked"
	case challenge.RefusedWrong:
	}
	return plainReason(string(r))
}

// cancel says why a challenge was canceled.
func cancel(reason string) string {
	switch reason {
	case challenge.ReasonRequest:
		return "the person or the front-end asked for it"
	case challenge.ReasonDirectory:
		return "an address, a factor or the membership changed"
	}
	return plainReason(reason)
}

// waiver says why a sign-in needed no code.
func waiver(w rollout.Why) string {
	switch w { //nolint:exhaustive // the others require one
	case rollout.WhyGrace:
		return "the person skipped it, which is allowed for now"
	case rollout.WhyNotYet:
		return "codes are not required here yet"
	case rollout.WhyExempt:
		return "the workspace is exempt"
	case rollout.WhyExemptedLogin:
		return "the login is exempt"
	case rollout.WhyElsewhere:
		return "another workspace of the same person decides"
	}
	return plainReason(string(w))
}

// noticeText says what people are told.
func noticeText(d detail) string {
	to := by(d.Channel)
	if d.Destination != "" {
		to = "to " + d.Destination + " " + to
	}
	return "notice " + plainReason(d.Kind) + " ordered " + to
}

// attemptText says what is known after one hand-over to a provider.
func attemptText(d detail) string {
	if d.Result == delivery.Unknown && d.Attempt == "" {
		return fmt.Sprintf("hand-over %d: nothing is on record about it; the message may have been sent", d.Number)
	}
	text := "handed to " + cmp.Or(d.Provider, "the provider") + ": "
	switch d.Result {
	case delivery.Accepted:
		if d.ProviderID != "" {
			return text + "accepted as message " + d.ProviderID
		}
		return text + "accepted"
	case delivery.Temporary:
		return text + "refused for now" + why(d) + again(d)
	case delivery.Permanent:
		return text + "refused for good" + why(d)
	case delivery.Unknown:
		return text + "no answer; it may or may not have been taken" + why(d) + again(d)
	}
	return text + plainReason(string(d.Result)) + why(d)
}

// receiptText says what a provider reported later.
func receiptText(d detail) string {
	text := cmp.Or(d.Provider, "the provider") + " reports: "
	switch d.Status { //nolint:exhaustive // a receipt says no more than four
	case delivery.StatusAccepted:
		return text + "accepted" + why(d)
	case delivery.StatusDeferred:
		return text + "deferred, the receiver asked to come back later" + why(d)
	case delivery.StatusDelivered:
		return text + "delivered, which is not yet read" + why(d)
	case delivery.StatusFailed:
		return text + "bounced, the receiver did not take it" + why(d)
	}
	return text + plainReason(string(d.Status)) + why(d)
}

// why adds the reason of a delivery and the provider's own words.
func why(d detail) string {
	text := reason(d)
	if d.Detail == "" {
		return text
	}
	return text + ": " + d.Detail
}

// reason adds a reason in brackets.
func reason(d detail) string {
	if d.Reason == "" || d.Reason == delivery.ReasonOther.String() {
		return ""
	}
	return " (" + plainReason(d.Reason) + ")"
}

// again adds when the broker hands it over again.
func again(d detail) string {
	if d.RetryAt == nil {
		return ""
	}
	return "; next try " + clock(*d.RetryAt)
}

// plainReason is a word of a closed set as people write it.
func plainReason(s string) string {
	return cmp.Or(strings.ReplaceAll(s, "_", " "), "no reason is on record")
}

// clock is a time of day in UTC.
func clock(t time.Time) string { return t.UTC().Format(time.TimeOnly) }
