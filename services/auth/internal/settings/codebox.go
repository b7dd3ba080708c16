package settings

import (
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
)

// codeBox is the part of a page in which a code is typed.
type codeBox struct {
	Action    string // address of its forms
	Form      string
	Label     string
	Channel   string
	Recipient string               // masked
	Routes    []event.OfferedRoute // the others that it can be sent by
	ExpiresAt time.Time
	Again     bool // another message can be asked for
	About     string
	Problem   string
}

// trouble is what went wrong with a post, in one sentence, and the id of the part of the page that it is about.
type trouble struct{ about, text string }

// The parts of the pages that something can be wrong with; they are ids in the page.
const (
	aboutCode   = "code"
	aboutWays   = "ways"
	aboutChange = "change"
	aboutInvite = "invite"
	aboutGroup  = "group"
	aboutPeople = "approve"
)

// codeTrouble puts the refusal of a typed code, or of another message, into words. ok is false for one that is no such.
func codeTrouble(f *hosted.Face, label string, err error) (trouble, bool) {
	p := problem.Of(err)
	left := hosted.Left(p.RetryAfter)
	switch p.Code {
	case string(challenge.RefusedWrong):
		if p.ChecksLeft != nil && *p.ChecksLeft > 0 {
			return trouble{aboutCode, f.Text("problem.wrong", "label", label)}, true
		}
		return trouble{aboutWays, f.Text("problem.over")}, true
	case string(challenge.RefusedExpired), string(challenge.RefusedClosed), string(challenge.RefusedUsed), front.CodeUnknownChallenge:
		return trouble{aboutWays, f.Text("problem.over")}, true
	case string(challenge.RefusedTooMany):
		return trouble{aboutCode, f.Text("problem.toomany", "left", left)}, true
	case problem.CodeInvalidRequest:
		if p.Field == "channel" {
			return trouble{aboutWays, f.Text("problem.noroute")}, true
		}
		return trouble{aboutCode, f.Text("problem.malformed")}, true
	case "resend_too_early", front.CodeTooManyMessages, front.CodeTooManyRequests, front.CodeTooManyLive:
		return trouble{aboutWays, f.Text("problem.wait", "left", left)}, true
	case "no_more_sends":
		return trouble{aboutWays, f.Text("problem.nomore")}, true
	}
	return trouble{}, false
}
