package notice

import (
	"context"
	"errors"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
	"doorcode/pkg/message"
	"doorcode/pkg/postgres"
	"doorcode/services/auth/internal/ticket"
)

// story is what is told of a cause, and to whom.
type story struct {
	workspace string // its name
	locale    string
	to        []account.Route
	// owner is the locale of those routes that are told as the owner's (account.Route.Owner).
	owner string
	// The rest is what the words of the kind show beside what all notices have; see message.Notice.
	label, name, channel, ending, browser, system string
	link                                          string
	until, date                                   time.Time
	used, people                                  int
	// reference is the support reference, when what is told of has one already.
	reference string
}

// storyteller finds out, for one kind, who is told of a cause and what, or fails with a nobody.
type storyteller func(ctx context.Context, c cause) (story, error)

// nobody says why nobody is told, which is one of results and no failure.
type nobody string

// Error names the result.
func (n nobody) Error() string { return "nobody is told: " + string(n) }

// kind is one thing that people are told of.
type kind struct {
	name string // one of event.NoticeKinds
	tell storyteller
}

// kinds is the table of what people are told of, by the event that causes it. It has an entry for every subject of
// bus.NoticeSubjects and bus.NoticeOutcomes, and for no other.
func (t *Teller) kinds() map[event.Type]kind {
	return map[event.Type]kind{
		event.LoginLocked:        {event.NoticeLoginLocked, t.locked},
		event.InvitationMade:     {event.NoticeInvited, t.invited},
		event.InvitationRepeated: {event.NoticeInvited, t.invited},
		event.JoinRequested:      {event.NoticeJoinRequested, t.joinRequested},
		event.FactorChanged:      {event.NoticeFactorChanged, t.factorChanged},
		event.FactorReverted:     {event.NoticeFactorChanged, t.factorReverted},
		event.LoginRemoved:       {event.NoticeLoginRemoved, t.removed},
		event.ChallengeApproved:  {event.NoticeCodeUsed, t.used},
		event.RolloutOrdered:     {event.NoticeRolloutAnnounced, t.onItsWay}, // The event says which of those it is.
	}
}

// notAfter is when what happened is no news any more.
func (c cause) notAfter() time.Time {
	if c.kind.name == event.NoticeCodeUsed {
		return c.Time.Add(event.CodeUsedLife)
	}
	return c.Time.Add(event.NoticeLife)
}

// locked tells every proven address of a login that it is locked, as long as it is.
func (t *Teller) locked(ctx context.Context, c cause) (story, error) {
	a, err := t.addressee(ctx, c.Workspace, c.Login)
	if err != nil {
		return story{}, err
	}
	// Support may have unlocked it meanwhile, and whoever invents a lock names no moment at which one began.
	if !a.LockedAt.Equal(c.Time) {
		return story{}, nobody(resultEnded)
	}
	return story{
		workspace: a.Workspace.Name, locale: a.Login.Locale, owner: a.Login.Locale,
		to: account.Addresses(a.Workspace, a.Login, t.cfg.MayText(a.Login, a.StoppedCountries)),
	}, nil
}

// invited sends an invitation to its invitee, as long as it is open.
func (t *Teller) invited(ctx context.Context, c cause) (story, error) {
	i, err := t.cfg.Directory.Invitation(ctx, c.Workspace, c.About)
	if err != nil {
		return story{}, t.gone(ctx, err)
	}
	link := t.cfg.Link(ticket.Link{Kind: ticket.LinkInvitation, Workspace: i.Workspace, ID: i.ID, Until: i.ExpiresAt})
	if i.StateNow() != account.InvitationOpen || link == "" {
		return story{}, nobody(resultEnded)
	}
	return story{
		workspace: i.Of.Name, locale: i.Locale, to: []account.Route{{Channel: account.Email, Recipient: i.Email}},
		name: i.Name, link: link, until: i.ExpiresAt,
	}, nil
}

// joinRequested tells the owner of a shared login that somebody on it asks for a login of their own, as long as nobody
// has answered.
func (t *Teller) joinRequested(ctx context.Context, c cause) (story, error) {
	r, w, err := t.cfg.Directory.JoinRequest(ctx, c.Workspace, c.About)
	if err != nil {
		return story{}, t.gone(ctx, err)
	}
	if r.State != account.JoinOpen || r.Login != w.Owner {
		return story{}, nobody(resultEnded)
	}
	a, err := t.addressee(ctx, c.Workspace, r.Login)
	if err != nil {
		return story{}, err
	}
	return story{
		workspace: w.Name, locale: a.Login.Locale, to: account.Routes(a.Workspace, a.Login, false),
		name: r.Name, browser: r.Browser, system: r.System,
	}, nil
}

// gone says that nobody is told of what is not there any more. Of a row that is not as auth wrote it nobody is told
// either, and the alarm is raised.
func (t *Teller) gone(ctx context.Context, err error) error {
	var broken *postgres.IntegrityError
	switch {
	case errors.Is(err, postgres.ErrNoWorkspace), errors.Is(err, postgres.ErrNoInvitation), errors.Is(err, postgres.ErrNoRequest),
		errors.Is(err, postgres.ErrNoFactorChange), errors.Is(err, postgres.ErrNoRemoval), errors.Is(err, postgres.ErrNoChallenge),
		errors.Is(err, postgres.ErrNoRolloutNotice):
		return nobody(resultRemoved)
	case errors.As(err, &broken):
		t.cfg.Alarm(ctx, broken.Table)
		return nobody(resultBroken)
	}
	return err
}

// addressee reads a login with its workspace and raises the alarm about a row that is not as auth wrote it.
func (t *Teller) addressee(ctx context.Context, workspace, login string) (postgres.Addressee, error) {
	a, err := t.cfg.Directory.Addressee(ctx, workspace, login)
	if errors.Is(err, postgres.ErrNoWorkspace) || errors.Is(err, postgres.ErrNoLogin) {
		return a, nobody(resultRemoved)
	}
	for _, table := range a.Broken {
		t.cfg.Alarm(ctx, table)
	}
	return a, err
}

// reachable are the routes that the kind has words for.
func reachable(kind string, to []account.Route) []account.Route {
	form, _ := message.FormOf(kind)
	var routes []account.Route
	for _, r := range to {
		if r.Channel == account.SMS && !form.Texted || r.Owner && !form.Owner {
			continue
		}
		routes = append(routes, r)
	}
	return routes
}
