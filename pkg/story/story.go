// Package story tells one challenge from the record: its audit rows as lines
// in plain words, in order of time, one lane for the sign-in, one per message
// and one per notice about it, and one sentence about what to try (product.md
// R11.2, R11.5, journey 2.8).
//
// It is told to support and operators. It knows no code, no key and no full
// address: recipients are the masks that the record holds. What came from
// outside, such as a provider's words, is made printable and short, so that it
// does nothing to the terminal it is shown on. A row of a kind that this
// version does not know, or whose detail it cannot read, is shown by its kind
// and never left out.
//
// It knows no clock and no driver.
package story

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
)

// Shown is the kind of the audit row that says who has read a story.
const Shown = "challenge.v1.shown"

// The kinds of the audit rows that say what support asked for.
const (
	SentAgain = "support.v1.resend_asked"
	Unlocked  = "support.v1.unlock_asked"
)

// Route is a proven way to the person.
type Route struct {
	Channel   string
	Recipient string // masked
}

// Challenge is what the record says of a challenge by itself.
type Challenge struct {
	ID        string
	Reference string // support reference, as it is stored
	Workspace string
	Login     string
	FrontEnd  string
	Purpose   string
	Label     string
	// State is empty when the row is gone and no end is on record.
	State     challenge.State
	Reason    string // of a cancel or a waiver
	Routes    []Route
	Sent      []int // position among the routes of send 1, 2, ...
	CreatedAt time.Time
	ExpiresAt time.Time
	// Gone says that the challenge's row is not there any more: all is told from
	// the audit, and nobody knows the recipients.
	Gone bool
}

// Row is one row of the audit about a challenge or a notice of it.
type Row struct {
	ID        string
	At        time.Time
	Kind      string
	About     string // id of the challenge or notice
	Workspace string // empty when the row does not say
	Login     string // empty when the row does not say
	Actor     string
	Detail    json.RawMessage
}

// Line is one thing that happened.
type Line struct {
	At   time.Time // UTC
	Lane string    // sign-in, send 1, send 2, ..., notice 1, ...
	Text string
	// Actor is who did it: a front-end, a process or an operator.
	Actor string
}

// SignIn is the lane of all that is about no message.
const SignIn = "sign-in"

// Tell returns the lines of a challenge in order of time. It does not change
// the rows, and their order does not matter.
func Tell(c Challenge, rows []Row) []Line {
	t := teller{challenge: c, notices: map[string]int{}}
	rows = sorted(rows)
	for _, r := range rows {
		if r.Kind == string(event.NoticeRequested) && t.notices[r.About] == 0 {
			t.notices[r.About] = len(t.notices) + 1
		}
	}
	var lines []Line
	for _, r := range rows {
		for _, l := range t.tell(r) {
			l.At, l.Text, l.Actor = r.At.UTC(), printable(l.Text), printable(r.Actor)
			lines = append(lines, l)
		}
	}
	return lines
}

// Recall fills in what a challenge whose row is gone has left in the audit.
func Recall(id string, rows []Row) Challenge {
	c := Challenge{ID: id, Gone: true}
	for _, r := range sorted(rows) {
		var d detail
		err := json.Unmarshal(r.Detail, &d)
		if err != nil || r.About != id {
			continue
		}
		c.Reference, c.FrontEnd = cmp.Or(c.Reference, d.SupportReference), cmp.Or(c.FrontEnd, d.FrontEnd)
		c.Workspace, c.Login = cmp.Or(c.Workspace, r.Workspace), cmp.Or(c.Login, r.Login)
		c.Purpose, c.Label = cmp.Or(c.Purpose, d.Purpose), cmp.Or(c.Label, d.Label)
		if r.Kind == string(event.ChallengeIssued) {
			c.CreatedAt, c.ExpiresAt = r.At, d.ExpiresAt
		}
		if state, ends := ends()[event.Type(r.Kind)]; ends {
			c.State, c.Reason = state, d.Reason
		}
	}
	return c
}

// ends are the kinds that end a challenge, with the state they leave.
func ends() map[event.Type]challenge.State {
	return map[event.Type]challenge.State{
		event.ChallengeApproved: challenge.Approved, event.ChallengeExpired: challenge.Expired,
		event.ChallengeCanceled: challenge.Canceled, event.ChallengeExhausted: challenge.Exhausted,
		event.ChallengeWaived: challenge.Waived,
	}
}

// sorted returns rows by time; of those of one moment the cause comes first.
func sorted(rows []Row) []Row {
	rank := func(r Row) int {
		switch event.Type(r.Kind) { //nolint:exhaustive // the others have no order among them
		case event.ChallengeIssued:
			return 0
		case event.DeliveryRequested, event.CheckRejected:
			return 1
		case event.NoticeRequested:
			return 3
		}
		return 2
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(rank(a), rank(b)), strings.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID))
	})
	return rows
}

// maxText bounds a line: whatever is longer came from outside.
const maxText = 400

// printable is a text that does nothing to a terminal, cut where it is too
// long.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
	if cut := []rune(s); len(cut) > maxText {
		return string(cut[:maxText]) + "\u2026"
	}
	return s
}

// teller tells the rows of one challenge.
type teller struct {
	challenge Challenge
	notices   map[string]int // number of a notice by its id
}

// lane names the lane of a message.
func (t teller) lane(r Row, send int) string {
	number, notice := t.notices[r.About]
	switch {
	case notice:
		return fmt.Sprintf("notice %d", number)
	case send > 0:
		return fmt.Sprintf("send %d", send)
	}
	return SignIn
}

// to names recipient and channel of a send, as far as they are known.
func (t teller) to(send int, channel string) string {
	route := -1
	if send >= 1 && send <= len(t.challenge.Sent) {
		route = t.challenge.Sent[send-1]
	}
	if route < 0 || route >= len(t.challenge.Routes) {
		return by(channel)
	}
	return "to " + t.challenge.Routes[route].Recipient + " " + by(channel)
}

// by names a channel.
func by(channel string) string {
	switch channel {
	case "email":
		return "by e-mail"
	case "sms":
		return "by SMS"
	}
	return "by " + cmp.Or(channel, "an unknown channel")
}
