package story_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/story"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	id     = "AAAAAAAAAAAAAAAAAAAAAA"
	notice = "NNNNNNNNNNNNNNNNNNNNNN"
)

// at is some seconds after the challenge was made.
func at(seconds int) time.Time {
	return time.Date(2026, 6, 3, 8, 0, seconds, 0, time.UTC)
}

// row is a row about the challenge.
func row(seconds int, kind event.Type, actor, detail string) story.Row {
	return story.Row{
		ID: fmt.Sprintf("%s.%d", kind, seconds), At: at(seconds), Kind: string(kind), About: id, Workspace: "acme", Login: "anna", Actor: actor,
		Detail: json.RawMessage(detail),
	}
}

// issued is the row that every story begins with.
func issued() story.Row {
	return row(0, event.ChallengeIssued, "web", `{"front_end": "web", "purpose": "sign_in", "channel": "email", "label": "KTM",
		"support_reference": "4F72KQ99", "expires_at": "2026-06-03T08:10:00Z"}`)
}

// attempt is a hand-over of a send.
func attempt(seconds, send int, channel, rest string) story.Row {
	return row(seconds, event.DeliveryAttempted, "doorcode/"+channel+"-dispatcher", fmt.Sprintf(
		`{"send": %d, "channel": %q, "number": 1, "attempt": "aaaaaaaaaaa", %s}`, send, channel, rest))
}

// receipt is a report about the first send.
func receipt(seconds int, rest string) story.Row {
	return row(seconds, event.ReceiptRecorded, "doorcode/receipts", fmt.Sprintf(`{"send": 1, "provider": "sendgrid", %s}`, rest))
}

// told is one story: what is on record, and whose.
type told struct {
	challenge story.Challenge
	rows      []story.Row
}

// of is a challenge in a state, with an address and a phone.
func of(state challenge.State, reason string, sent ...int) story.Challenge {
	return story.Challenge{
		ID: id, Reference: "4F72KQ99", Workspace: "acme", Login: "anna", FrontEnd: "web", Label: "KTM", State: state, Reason: reason,
		Routes: []story.Route{{Channel: "email", Recipient: "a•••@example.com"}, {Channel: "sms", Recipient: "•••• 48"}},
		Sent:   sent, CreatedAt: at(0), ExpiresAt: at(600),
	}
}

// stories are the golden ones.
func stories() map[string]told {
	accepted := attempt(2, 1, "email", `"provider": "sendgrid", "provider_id": "msg-1", "result": "accepted"`)
	wrong := func(n int) story.Row {
		return row(20+n, event.CheckRejected, "web", fmt.Sprintf(`{"wrong": %d, "checks_left": %d}`, n, 5-n))
	}
	fiveWrong := []story.Row{issued(), accepted, wrong(1), wrong(2), wrong(3), wrong(4), wrong(5)}
	asked := row(25, event.NoticeRequested, "doorcode/auth", `{"kind": "login_locked", "channel": "email", "destination": "o•••@acme.com"}`)
	sent := attempt(27, 1, "email", `"provider": "sendgrid", "result": "accepted"`)
	asked.About, sent.About = notice, notice
	return map[string]told{
		"success": {of(challenge.Approved, "", 0), []story.Row{
			issued(), accepted, receipt(5, `"status": "delivered"`), row(30, event.ChallengeApproved, "web", `{}`),
		}},
		"bounce_then_sms": {of(challenge.Approved, "", 0, 1), []story.Row{
			issued(), accepted, receipt(5, `"status": "failed", "reason": "invalid_recipient", "detail": "550 5.1.1 no such\u001b[2J user"`),
			row(40, event.DeliveryRequested, "web", `{"send": 2, "route": 1, "channel": "sms"}`),
			attempt(41, 2, "sms", `"provider": "vonage", "result": "temporary", "reason": "rate_limited", "retry_at": "2026-06-03T08:00:44Z"`),
			attempt(44, 2, "sms", `"provider": "vonage", "result": "accepted"`), row(60, event.ChallengeApproved, "web", `{}`),
		}},
		"five_wrong": {of(challenge.Exhausted, "", 0), append(fiveWrong,
			row(25, event.ChallengeExhausted, "web", `{"wrong": 5}`), row(25, event.LoginLocked, "doorcode/verifier", `{"by": "doorcode/verifier"}`),
			row(31, "check.v1.refused", "web", `{"reason": "too_many"}`), asked, sent)},
		"waived": {of(challenge.Waived, "not_yet"), []story.Row{row(0, event.ChallengeWaived, "web", `{"reason": "not_yet"}`)}},
		"expired_unseen": {of(challenge.Expired, "", 0), []story.Row{
			issued(), row(1, event.DeliveryPostponed, "doorcode/email-dispatcher", `{"send": 1, "channel": "email", "retry_at": "2026-06-03T08:00:02Z"}`),
			accepted, receipt(5, `"status": "delivered"`), row(600, event.ChallengeExpired, "doorcode/verifier", `{}`),
			row(700, "check.v1.refused", "web", `{"reason": "expired"}`),
		}},
		"unknown_attempt": {of(challenge.Pending, "", 0), []story.Row{
			issued(), row(0, event.DeliveryAttempted, "doorcode/verifier", `{"send": 1, "channel": "email", "number": 1, "result": "unknown", "reason": "other"}`),
			attempt(9, 1, "email", `"provider": "sendgrid", "result": "unknown", "reason": "timeout", "retry_at": "2026-06-03T08:00:12Z"`),
			row(50, story.Shown, "sue", `{}`), row(55, "challenge.v9.praised", "someone", `{"reason": "so_good"}`),
			row(56, event.DeliveryAbandoned, "doorcode/email-dispatcher", `"?"`),
		}},
		"canceled": {of(challenge.Canceled, challenge.ReasonDirectory, 0), []story.Row{
			issued(), accepted, receipt(7, `"status": "deferred", "detail": "451 4.7.1 greylisted"`),
			row(80, event.ChallengeCanceled, "doorcode/verifier", `{"reason": "directory"}`),
		}},
	}
}

// written is a story as the golden files have it.
func written(s told) string {
	var b strings.Builder
	for _, l := range story.Tell(s.challenge, s.rows) {
		fmt.Fprintf(&b, "%s  %-8s  %s\n", l.At.Format(time.DateTime), l.Lane, l.Text)
	}
	fmt.Fprintf(&b, "\n%s\n", story.Advice(s.challenge, s.rows))
	return b.String()
}

func TestTell_IsAsTheGoldenFilesHaveIt(t *testing.T) {
	t.Parallel()
	for name, s := range stories() {
		path := filepath.Join("testdata", name+".txt")
		got := written(s)
		backwards := slices.Clone(s.rows)
		slices.Reverse(backwards)
		if again := written(told{s.challenge, backwards}); again != got {
			t.Errorf("%s: the order of the rows matters:\n%s", name, again)
		}
		if *update {
			err := os.WriteFile(path, []byte(got), 0o600)
			if err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || got != string(want) {
			t.Errorf("%s, %v:\n%s", name, err, got)
		}
	}
}

// However strange a row is, it has its line, and does nothing to the terminal.
func TestTell_DropsNoRow(t *testing.T) {
	t.Parallel()
	kinds := []string{"", "what.v1.ever", "\x1b]0;x\a", story.Shown, "check.v1.refused", "audit_export.v1.began"}
	for _, known := range event.Types() {
		kinds = append(kinds, string(known))
	}
	for _, kind := range kinds {
		for _, detail := range []string{
			`{}`, `{"send": 1}`, `{"send": 99, "result": "odd", "status": "odd"}`, `[]`, `nonsense`, "",
			`{"send": -1, "detail": "` + strings.Repeat(`\u001b[2J\u202e`, 500) + `"}`,
		} {
			r := row(1, event.Type(kind), "ghost\x1b[31m", detail)
			lines := story.Tell(of(challenge.Pending, "", 0, 7), []story.Row{r, r})
			if len(lines) < 2 {
				t.Errorf("%q with %q has %d lines", kind, detail, len(lines))
			}
			for _, l := range lines {
				if l.Text == "" || len([]rune(l.Text)) > 401 || strings.ContainsFunc(l.Text, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%q with %q reads %q", kind, detail, l.Text)
				}
			}
		}
	}
}

func TestRecall_FillsInWhatTheAuditHas(t *testing.T) {
	t.Parallel()
	rows := []story.Row{row(80, event.ChallengeCanceled, "web", `{"reason": "request"}`), issued()}
	c := story.Recall(id, rows)
	if !c.Gone || c.State != challenge.Canceled || c.Reason != "request" || c.Login != "anna" || c.Workspace != "acme" || c.Label != "KTM" ||
		c.Reference != "4F72KQ99" || c.FrontEnd != "web" || !c.ExpiresAt.Equal(at(600)) || !c.CreatedAt.Equal(at(0)) {
		t.Errorf("%+v", c)
	}
	if c = story.Recall(id, rows[1:]); c.State != "" {
		t.Errorf("a challenge without an end is %q", c.State)
	}
}

// R11.2: what to try follows from the state of the newest message, and a route
// is offered only when it is a proven one that was not taken.
func TestAdvice_FollowsTheNewestMessage(t *testing.T) {
	t.Parallel()
	bounced := []story.Row{issued(), receipt(5, `"status": "failed", "reason": "invalid_recipient"`)}
	both := append(slices.Clone(bounced), row(40, event.DeliveryRequested, "web", `{"send": 2, "channel": "sms"}`),
		attempt(41, 2, "sms", `"provider": "vonage", "result": "permanent", "reason": "unreachable"`))
	alone := of(challenge.Pending, "", 0)
	alone.Routes = alone.Routes[:1]
	for name, c := range map[string]struct {
		challenge story.Challenge
		rows      []story.Row
		want, not string
	}{
		"bounced":         {of(challenge.Pending, "", 0), bounced, "•••• 48", "a•••"},
		"bounced twice":   {of(challenge.Pending, "", 0, 1), both, "a•••@example.com", "••••"},
		"one route":       {alone, bounced, "correct the address", "another proven route"},
		"expired":         {of(challenge.Expired, "", 0), bounced, "sign in again", "sent again"},
		"nothing yet":     {of(challenge.Pending, "", 0), []story.Row{issued()}, "channel show", "spam"},
		"only exhausted":  {of(challenge.Exhausted, "", 0), nil, "KTM", "locked"},
		"unlocked":        {of(challenge.Exhausted, "", 0), []story.Row{row(1, event.LoginLocked, "v", `{}`), row(2, event.LoginUnlocked, "w", `{}`)}, "KTM", "locked"},
		"nothing on file": {story.Challenge{ID: id, Gone: true}, nil, "if there is one", "correct"},
	} {
		got := story.Advice(c.challenge, c.rows)
		if !strings.Contains(got, c.want) || strings.Contains(got, c.not) || !strings.HasSuffix(got, ".") || strings.Contains(got, "\n") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if s := story.LastMessage(id, both); s.Send != 2 || s.Status != delivery.StatusFailed {
		t.Errorf("%+v", s)
	}
}
