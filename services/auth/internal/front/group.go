package front

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
)

// The states of a test of a group address.
const (
	testOpen   = "open"
	testPassed = "passed"
	testOver   = "over"
)

// GroupTestRequest is the body of the start of a test.
type GroupTestRequest struct {
	// By is the login of the owner who tests.
	By     string `json:"by"`
	Locale string `json:"locale"`
}

// GroupTest is a test as it is shown.
type GroupTest struct {
	ID        string        `json:"id"`
	State     string        `json:"state"`
	Recipient string        `json:"recipient"` // masked
	Messages  []TestMessage `json:"messages"`  // in the order in which their codes are typed
	CreatedAt time.Time     `json:"created_at"`
	ExpiresAt time.Time     `json:"expires_at"`
}

// TestMessage is one of the two messages of a test, with what is known of its way.
type TestMessage struct {
	Label     string    `json:"label"`
	Confirmed bool      `json:"confirmed"` // its code came back
	Status    string    `json:"status"`
	Text      string    `json:"text"`
	At        time.Time `json:"at"` // of the status
}

// GroupCodes is the body of a confirmation: the codes in the order of the messages; one that came back before may be
// empty.
type GroupCodes struct {
	Codes []string `json:"codes"`
}

// TestGroup sends two codes to the workspace's main address and ends the test before. Whoever types both has shown that
// messages to the group arrive (product.md R10.2).
func (p *People) TestGroup(ctx context.Context, r GroupTestRequest) (GroupTest, error) {
	if account.ValidateID(r.By) != nil {
		return GroupTest{}, invalid("by", sentence(account.ErrID))
	}
	err := account.ValidateLocale(r.Locale)
	if err != nil {
		return GroupTest{}, invalid("locale", sentence(err))
	}
	g, err := p.front.directory.StartGroupTest(ctx, p.change(), p.workspace, r.By)
	if err != nil {
		return GroupTest{}, p.front.refusal(ctx, err)
	}
	labels := map[string]bool{}
	for i := range g.Handles {
		g.Handles[i], err = p.ask(ctx, g, r.Locale, labels)
		if err != nil {
			return GroupTest{}, err
		}
	}
	err = p.front.directory.SentGroupTest(ctx, p.change(), g)
	if err != nil {
		return GroupTest{}, p.front.refusal(ctx, err)
	}
	return p.showTest(ctx, g)
}

// ask sends one code of a test, whose label none of the others has, and returns its handle.
func (p *People) ask(ctx context.Context, g account.GroupTest, locale string, labels map[string]bool) (string, error) {
	for {
		c, err := p.front.Ask(ctx, Question{
			Workspace: g.Workspace, Login: g.Login, Purpose: challenge.Proof, About: challenge.AboutGroup,
			Route: &account.Route{Channel: account.Email, Recipient: g.Email}, Locale: locale,
		})
		if err != nil || !labels[c.Label] {
			labels[c.Label] = true
			return c.Handle, err
		}
		// One label in some thousand: the limit of live challenges bounds it.
		_, err = p.front.Withdraw(ctx, c.Handle)
		if err != nil {
			return "", err
		}
	}
}

// GroupTest shows a test and what became of its messages.
func (p *People) GroupTest(ctx context.Context, id string) (GroupTest, error) {
	g, err := p.test(ctx, id)
	if err != nil {
		return GroupTest{}, err
	}
	return p.showTest(ctx, g)
}

// test reads a test.
func (p *People) test(ctx context.Context, id string) (account.GroupTest, error) {
	if account.ValidateID(id) != nil {
		return account.GroupTest{}, p.front.refusal(ctx, postgres.ErrNoTest)
	}
	g, err := p.front.directory.GroupTest(ctx, p.workspace, id)
	if err != nil {
		return account.GroupTest{}, p.front.refusal(ctx, err)
	}
	return g, nil
}

// showTest writes a test as the API has it.
func (p *People) showTest(ctx context.Context, g account.GroupTest) (GroupTest, error) {
	shown := GroupTest{
		ID: g.ID, State: testOpen, Recipient: account.Mask(g.Email), Messages: []TestMessage{}, CreatedAt: g.CreatedAt,
		ExpiresAt: g.CreatedAt.Add(account.GroupTestLife),
	}
	switch {
	case !g.PassedAt.IsZero():
		shown.State = testPassed
	case !p.front.clock().Before(shown.ExpiresAt), g.Handles[0] == "":
		shown.State = testOver
	}
	for i, handle := range g.Handles {
		if handle == "" {
			continue
		}
		view, err := p.front.Look(ctx, handle)
		if err != nil {
			return GroupTest{}, err
		}
		m := TestMessage{Label: view.Label, Confirmed: g.Confirmed[i], Status: "queued", At: g.CreatedAt}
		if len(view.Deliveries) > 0 {
			last := view.Deliveries[len(view.Deliveries)-1]
			m.Status, m.Text, m.At = last.Status, last.Text, last.At
		}
		shown.Messages = append(shown.Messages, m)
	}
	return shown, nil
}

// ConfirmGroup has the codes of a test judged, each for its own message. Once both came back, the main address is a group
// address. A code that is not right is refused as Check refuses it, with its place in the field; the other counts
// nevertheless.
func (p *People) ConfirmGroup(ctx context.Context, id string, r GroupCodes) (GroupTest, error) {
	g, err := p.test(ctx, id)
	if err != nil {
		return GroupTest{}, err
	}
	switch {
	case len(r.Codes) != len(g.Handles):
		return GroupTest{}, invalid("codes", "The value is not a list of two codes.")
	case !g.PassedAt.IsZero():
		return p.showTest(ctx, g)
	case g.Handles[0] == "":
		return GroupTest{}, p.front.refusal(ctx, postgres.ErrTestClosed)
	}
	confirmed, refused := p.judge(ctx, g, r.Codes)
	g, err = p.front.directory.ConfirmGroupTest(ctx, p.change(), p.workspace, id, confirmed)
	if err != nil {
		return GroupTest{}, p.front.refusal(ctx, err)
	}
	if refused != nil {
		return GroupTest{}, refused
	}
	return p.showTest(ctx, g)
}

// judge returns which codes are right, and the first refusal of another.
func (p *People) judge(ctx context.Context, g account.GroupTest, codes []string) (confirmed [2]bool, refused error) {
	for i, handle := range g.Handles {
		if g.Confirmed[i] {
			continue
		}
		// The same code again is the same check, whose answer may have been lost.
		_, sum := p.front.keys.Idempotency.MAC("doorcode group check v1", []byte(g.ID), []byte{byte(i)}, []byte(codes[i]))
		c, err := p.front.Confirm(ctx, handle, codes[i], base64.RawURLEncoding.EncodeToString(sum))
		if err == nil && (c.Login != g.Login || c.Workspace != g.Workspace || c.Purpose != challenge.Proof) {
			err = unknownChallenge()
		}
		confirmed[i] = err == nil
		if err != nil && refused == nil {
			refused = placed(err, fmt.Sprintf("codes.%d", i))
		}
	}
	return confirmed, refused
}

// placed names the place that a refusal is about.
func placed(err error, field string) error {
	var p *problem.Problem
	if !errors.As(err, &p) {
		return err
	}
	told := *p
	told.Field = field
	return &told
}
