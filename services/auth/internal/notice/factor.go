package notice

import (
	"context"
	"slices"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/services/auth/internal/ticket"
)

// factorChanged tells every address that the login had before a change, but the new one, that codes go elsewhere now, and
// how to undo that (SEC-38). Nobody is told of a change that was undone meanwhile.
func (t *Teller) factorChanged(ctx context.Context, c cause) (story, error) {
	f, a, err := t.factor(ctx, c, postgres.FactorApplied)
	if err != nil {
		return story{}, err
	}
	w, l := f.Kind.Give(a.Workspace, a.Login, f.Former)
	to := account.Addresses(w, l, t.cfg.MayText(l, a.StoppedCountries))
	if f.Kind == account.FactorMainEmail { // It is told as itself, whoever reads it: it is not the main address any more.
		to = append(slices.DeleteFunc(to, func(r account.Route) bool { return same(r, f.Former.MainEmail) }),
			account.Route{Channel: account.Email, Recipient: f.Former.MainEmail})
	}
	s := t.movedTo(a, account.Route{Channel: f.Channel, Recipient: f.Destination})
	s.to = slices.DeleteFunc(to, func(r account.Route) bool { return same(r, f.Destination) })
	until := f.AppliedAt.Add(postgres.FactorUndo)
	s.link = t.cfg.Link(ticket.Link{Kind: ticket.LinkUndo, Workspace: f.Workspace, ID: f.ID, Until: until})
	if s.link != "" {
		s.until = until
	}
	return s, nil
}

// factorReverted tells the number or address that a change had led to that the change was undone. One to which codes go now
// all the same, because another change was undone as well, is told nothing.
func (t *Teller) factorReverted(ctx context.Context, c cause) (story, error) {
	f, a, err := t.factor(ctx, c, postgres.FactorReverted)
	if err != nil {
		return story{}, err
	}
	lost := account.Route{Channel: f.Channel, Recipient: f.Destination}
	now := account.Routes(a.Workspace, a.Login, t.cfg.MayText(a.Login, a.StoppedCountries))
	if len(now) == 0 || lost.Channel == account.SMS && !t.cfg.MayText(account.Login{Phone: lost.Recipient}, a.StoppedCountries) {
		return story{}, nobody(resultNoAddress)
	}
	if same(now[0], lost.Recipient) {
		return story{}, nobody(resultEnded)
	}
	s := t.movedTo(a, now[0])
	s.to = []account.Route{lost}
	return s, nil
}

// factor reads the change that a cause tells of, as long as it stands there, with its login.
func (t *Teller) factor(ctx context.Context, c cause, state postgres.FactorState) (postgres.FactorChange, postgres.Addressee, error) {
	f, err := t.cfg.Directory.Factor(ctx, c.Workspace, c.About)
	if err != nil {
		return f, postgres.Addressee{}, t.gone(ctx, err)
	}
	if f.State != state || f.Login != c.Login {
		return f, postgres.Addressee{}, nobody(resultEnded)
	}
	a, err := t.addressee(ctx, f.Workspace, f.Login)
	return f, a, err
}

// movedTo is a story of codes that go there now.
func (t *Teller) movedTo(a postgres.Addressee, r account.Route) story {
	s := story{workspace: a.Workspace.Name, locale: a.Login.Locale, channel: r.Channel}
	if r.Channel == account.SMS && len(r.Recipient) > 2 {
		s.ending = r.Recipient[len(r.Recipient)-2:]
	}
	return s
}

// same reports whether a route leads to that recipient.
func same(r account.Route, recipient string) bool {
	return account.CompareForm(r.Recipient) == account.CompareForm(recipient)
}
