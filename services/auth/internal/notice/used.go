package notice

import (
	"context"
	"errors"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/limit"
	"doorcode/pkg/message"
)

// used tells a group address that a code was used which had gone there first, so that the others who read it can let that
// mail be (product.md R10.8). Each sign-in is told by itself: of two within a minute both are, since either may be the one
// that nobody of them knows of. A code that went elsewhere first and was sent to the group by a resend is not told.
func (t *Teller) used(ctx context.Context, c cause) (story, error) {
	u, err := t.cfg.Directory.UsedCode(ctx, c.Workspace, c.About)
	if err != nil {
		return story{}, t.gone(ctx, err)
	}
	// Whoever invents an event tells of nothing by it, and of one code nothing is told twice.
	if c.ID != c.About+".approved" || u.Login != c.Login || !u.At.Equal(c.Time) {
		return story{}, nobody(resultEnded)
	}
	main := account.Route{Channel: account.Email, Recipient: u.Of.MainEmail, Group: u.Of.GroupAddress}
	if u.Purpose != challenge.SignIn || !main.Group ||
		!limit.IsRecipientKey(t.cfg.Address, u.Address, main.Channel, account.CompareForm(main.Recipient)) {
		return story{}, nobody(resultNoGroup)
	}
	s := story{workspace: u.Of.Name, to: []account.Route{main}, label: u.Label, reference: u.SupportReference}
	s.browser, s.system = message.Apart(u.Agent)
	a, err := t.addressee(ctx, c.Workspace, c.Login)
	var none nobody // The login was removed since; what it did is told all the same.
	if err != nil && !errors.As(err, &none) {
		return story{}, err
	}
	s.locale = a.Login.Locale
	return s, nil
}
