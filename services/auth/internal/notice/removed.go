package notice

import (
	"context"
	"errors"
	"slices"

	"doorcode/pkg/account"
)

// removed tells a person at every address of their own that their login was removed, and the owner of the workspace; the
// main address as well when the login was the owner's (product.md R9.5). It is told also when the login was put again
// meanwhile: whoever did that may have put it with an address of theirs.
func (t *Teller) removed(ctx context.Context, c cause) (story, error) {
	if c.About == "" { // The whole workspace went, or an older auth removed it.
		return story{}, nobody(resultRemoved)
	}
	r, err := t.cfg.Directory.Removal(ctx, c.Workspace, c.About)
	if err != nil {
		return story{}, t.gone(ctx, err)
	}
	if r.Login != c.Login || !r.At.Equal(c.Time) {
		return story{}, nobody(resultEnded)
	}
	own := account.Login{Workspace: r.Workspace, ID: r.Login, Email: r.Email, Phone: r.Phone}
	s := story{workspace: r.Of.Name, locale: r.Locale, owner: r.Locale}
	s.to = account.Routes(account.Workspace{}, own, t.cfg.MayText(own, r.StoppedCountries))
	if r.Owned && r.Of.MainEmail != "" {
		s.toOwner(account.Route{Channel: account.Email, Recipient: r.Of.MainEmail})
	}
	if r.Of.Owner == "" || r.Of.Owner == r.Login {
		return s, nil
	}
	a, err := t.addressee(ctx, c.Workspace, r.Of.Owner)
	var none nobody
	if errors.As(err, &none) {
		return s, nil
	}
	if err != nil {
		return story{}, err
	}
	s.owner = a.Login.Locale
	for _, route := range account.Routes(a.Workspace, a.Login, false) {
		s.toOwner(route)
	}
	return s, nil
}

// toOwner tells the owner there, unless somebody is told there already.
func (s *story) toOwner(r account.Route) {
	if slices.ContainsFunc(s.to, func(told account.Route) bool { return same(told, r.Recipient) }) {
		return
	}
	r.Owner = true
	s.to = append(s.to, r)
}
