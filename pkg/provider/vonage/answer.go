package vonage

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
)

// scalar is a string of an answer. The vendor says that every value is one;
// numbers came too, and anything else is kept as it is written.
type scalar string

// UnmarshalJSON takes any value.
func (s *scalar) UnmarshalJSON(data []byte) error {
	var text string
	err := json.Unmarshal(data, &text)
	if err != nil {
		text = string(data)
	}
	*s = scalar(text)
	return nil
}

// answer is the body of an answer: one message for each part of the text.
type answer struct {
	Count    scalar    `json:"message-count"`
	Messages []message `json:"messages"`
}

// message is what the vendor says of one part; everything in it is optional.
type message struct {
	Status    scalar `json:"status"`
	ErrorText scalar `json:"error-text,omitempty"`
	ID        scalar `json:"message-id,omitempty"`
}

// parseAnswer reads a body; gateways answer in HTML or with nothing.
func parseAnswer(body []byte) (answer, error) {
	var a answer
	err := json.Unmarshal(body, &a)
	if err != nil {
		return answer{}, errStranger // The library's error may repeat a part of the body.
	}
	return a, nil
}

// judge turns an answer into what is known: by the HTTP status first, then by
// the number that each part has. Words decide nothing (providers.md 4.3).
func (r *reply) judge() (provider.Class, string) {
	if r.isOK() {
		return r.answer.judge()
	}
	detail := "no list of messages in the answer"
	if len(r.answer.Messages) > 0 {
		detail = r.answer.text()
	}
	return provider.Classify(r.status), detail
}

// judge joins the parts. A message was accepted when every part was. When some
// were taken and some were not, the person may hold a piece of it and it was
// paid for: that is unknown, so that it counts as sent and a repeat, which may
// double the piece, carries the same code.
func (a answer) judge() (provider.Class, string) {
	var refused *provider.Class
	taken, unread := 0, 0
	for _, m := range a.Messages {
		status, err := strconv.ParseUint(string(m.Status), 10, 16)
		switch {
		case err != nil:
			unread++
		case status == 0:
			taken++
		case refused == nil:
			class := classOf(status)
			refused = &class
		}
	}
	announced, err := strconv.Atoi(string(a.Count))
	if err == nil {
		unread += max(announced-len(a.Messages), 0)
	}
	parts := len(a.Messages)
	switch {
	case parts == 0:
		return provider.Class{Result: delivery.Unknown, Reason: delivery.ReasonProviderError}, "no message in the answer"
	case refused == nil && unread > 0:
		return provider.Class{Result: delivery.Unknown, Reason: delivery.ReasonProviderError}, "a part without a status"
	case refused == nil:
		return provider.Class{Result: delivery.Accepted}, ""
	case taken+unread > 0:
		refused.Result = delivery.Unknown
		return *refused, fmt.Sprintf("%d of %d parts taken; %s", taken, parts, a.text())
	}
	return *refused, a.text()
}

// classOf is the one table from the vendor's number to a class (providers.md
// 4.3). A refusal with a number was not taken, whatever its cause: none of
// them is unknown.
func classOf(status uint64) provider.Class {
	switch status {
	case 1, 10: // Throttled; too many connections.
		return provider.Class{Result: delivery.Temporary, Reason: delivery.ReasonRateLimited}
	case 5: // Internal error.
		return provider.Class{Result: delivery.Temporary, Reason: delivery.ReasonProviderError}
	case 4, 8, 11, 14: // Bad credentials; account barred; not enabled for HTTP; bad signature.
		return provider.Class{Result: delivery.Temporary, Reason: delivery.ReasonAuthentication, Breaks: true}
	case 9: // No credit.
		return provider.Class{Result: delivery.Temporary, Reason: delivery.ReasonRateLimited, Breaks: true}
	case 29: // A demonstration account, and the number is not on its list.
		return provider.Class{Result: delivery.Temporary, Reason: delivery.ReasonRejected, Breaks: true}
	case 6, 33: // Unknown prefix; number deactivated.
		return provider.Class{Result: delivery.Permanent, Reason: delivery.ReasonInvalidRecipient}
	case 7: // Number barred, by the vendor's own list.
		return provider.Class{Result: delivery.Permanent, Reason: delivery.ReasonSuppressed}
	case 2, 3, 12, 23, 32: // A missing or an invalid parameter; too long; bad callback; two ways to sign: our bugs.
		return provider.Class{Result: delivery.Permanent, Reason: delivery.ReasonRejected}
	case 15: // Sender not allowed: the configuration of one country, so the others go on.
		return provider.Class{Result: delivery.Permanent, Reason: delivery.ReasonRejected}
	case 22: // Bad network, or a block for fraud: a repeat would confirm it.
		return provider.Class{Result: delivery.Permanent, Reason: delivery.ReasonRejected}
	}
	return provider.Class{Result: delivery.Permanent, Reason: delivery.ReasonOther} // "Other" is what an alert watches.
}

// text joins what is said of the parts that were not taken.
func (a answer) text() string {
	var words []string
	for _, m := range a.Messages {
		if m.Status != "0" {
			words = append(words, strings.TrimSuffix(fmt.Sprintf("status %s: %s", m.Status, m.ErrorText), ": "))
		}
	}
	return strings.Join(words, "; ")
}

// pleaseWait finds the one form in which a throttled answer names a pause, in
// milliseconds. Other texts have numbers that are none.
var pleaseWait = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)please wait \[ ?\d+ ?\]`) })

// pause is how long the provider asks to be left alone; 0 says nothing. A
// pause in words is a hint of a second, whatever its number: less is below
// what the engine waits, more was always a misreading (providers.md 4.2).
func (r *reply) pause(now time.Time) time.Duration {
	asked := provider.RetryAfter(r.header, now)
	if asked == 0 && pleaseWait().MatchString(r.answer.text()) {
		return provider.MinRetryAfter
	}
	return asked
}
