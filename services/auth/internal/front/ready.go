package front

import (
	"context"
	"errors"
	"net/http"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/limit"
	"doorcode/pkg/phone"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/pkg/rollout"
	"doorcode/services/auth/internal/ticket"
)

// The problem codes of the page on which a workspace gets ready.
const (
	// CodeReadyOver says that the link leads nowhere any more, whatever the reason.
	CodeReadyOver = "ready_over"
	// CodeNotPostponed says that the date cannot be moved.
	CodeNotPostponed = "not_postponed"
)

// readyPeople is how many people of a workspace are shown on its way to codes.
const readyPeople = 50

// Ready is how far a workspace is on its way to codes, as one of those who run it sees it.
type Ready struct {
	Workspace string // its name
	Locale    string // of the reader
	Stage     rollout.Stage
	// EnforceAt is when codes become required; zero: it is not known, or they are.
	EnforceAt time.Time
	Days      int  // whole days until then
	Paused    bool // the date does not hold for now
	Recipient string
	Used      bool // the reader has used a code since the announcement
	// Owner says that the reader owns the workspace; MayPostpone that they may move its date now, and Postponed that it was
	// moved. Later is what the date would be.
	Owner, MayPostpone, Postponed bool
	Later                         time.Time
	People                        []ReadyPerson
	// All counts the people of the workspace, of whom the first are shown, and Passed those who have used a code.
	All, Passed int
	// Shared says that several people may read the main address, which the codes of the owner go to.
	Shared bool
}

// ReadyPerson is one of the people of a workspace.
type ReadyPerson struct {
	Name string // their address, masked, or the name of their login
	Role account.Role
	Used bool
}

// readyOver is the one answer to a link that leads nowhere any more.
func readyOver() *problem.Problem {
	return problem.New(http.StatusGone, CodeReadyOver, "This link is over.")
}

// Ready shows how far a workspace is to whoever has the link of a notice, as long as its login runs the workspace. It is
// refused with ready_over. Looking changes nothing, because programs look at links as well.
func (f *Front) Ready(ctx context.Context, l ticket.Link) (Ready, error) {
	r, me, err := f.readiness(ctx, l)
	if err != nil {
		return Ready{}, err
	}
	return f.showReady(r, me), nil
}

// readyVisit is how long the way from the Security settings to that page is open.
const readyVisit = time.Hour

// readyAddress is the address of that page for the login of a session, or nothing.
func (f *Front) readyAddress(ctx context.Context, s Session) (string, error) {
	if s.Login.Role != account.Owner && s.Login.Role != account.Administrator {
		return "", nil
	}
	at, err := f.directory.StageOf(ctx, s.Login.Workspace)
	if err != nil {
		return "", f.translate(ctx, err)
	}
	if at.Place.Wave == nil {
		return "", nil
	}
	l := ticket.Link{Kind: ticket.LinkReady, Workspace: s.Login.Workspace, ID: s.Login.ID, Until: f.clock().Add(readyVisit)}
	return l.Address(f.keys.Handle), nil
}

// readiness reads what a link leads to.
func (f *Front) readiness(ctx context.Context, l ticket.Link) (postgres.Readiness, account.Login, error) {
	if !f.clock().Before(l.Until) {
		return postgres.Readiness{}, account.Login{}, readyOver()
	}
	me, _, err := f.directory.Login(ctx, l.Workspace, l.ID)
	var r postgres.Readiness
	if err == nil {
		r, err = f.directory.Readiness(ctx, l.Workspace, readyPeople)
	}
	switch {
	case errors.Is(err, postgres.ErrNoWorkspace), errors.Is(err, postgres.ErrNoLogin):
		return r, me, readyOver()
	case err != nil:
		return r, me, f.translate(ctx, err)
	case me.Role != account.Owner && me.Role != account.Administrator:
		return r, me, readyOver()
	}
	return r, me, nil
}

// showReady puts what was read into the form of the page.
func (f *Front) showReady(r postgres.Readiness, me account.Login) Ready {
	shown := Ready{
		Workspace: r.Of.Name, Locale: me.Locale, Stage: r.Stage, Owner: me.Role == account.Owner, Postponed: r.Place.Postponement != nil,
		All: r.All, Passed: r.Used, Shared: account.Shared(r.Of, me),
	}
	routes := account.Routes(r.Of, me, f.settings.MayText(me, nil))
	if len(routes) > 0 {
		shown.Recipient = maskRoute(routes[0])
	}
	dated := r.Place.Dated()
	shown.Paused = !dated.StoppedAt().IsZero()
	if (r.Stage == rollout.Scheduled || r.Stage == rollout.Announced || r.Stage == rollout.Grace) && !shown.Paused {
		shown.EnforceAt = dated.EnforceAt
		shown.Days = int(dated.EnforceAt.Sub(r.Now) / (24 * time.Hour))
	}
	later, err := r.Place.Postpone(r.Now, me.ID)
	if err == nil && shown.Owner {
		shown.MayPostpone, shown.Later = true, later.EnforceAt
	}
	for _, p := range r.People {
		name := p.Login.ID
		switch {
		case p.Login.Email != "":
			name = account.Mask(p.Login.Email)
		case p.Login.Role == account.Owner:
			name = account.Mask(r.Of.MainEmail)
		}
		shown.People = append(shown.People, ReadyPerson{Name: name, Role: p.Login.Role, Used: p.Used})
		if p.Login.ID == me.ID {
			shown.Used = p.Used
		}
	}
	return shown
}

// maskRoute shows what its owner knows a route by (SEC-25).
func maskRoute(r account.Route) string {
	if r.Channel == account.SMS {
		return phone.Mask(r.Recipient)
	}
	return account.Mask(r.Recipient)
}

// AskPractice sends a practice code to where the codes of the link's login go. It is a challenge as that of a sign-in is,
// with its limits, so that it shows what a sign-in will meet; but its code does nothing. A mail with a link holds no code,
// and a code lives for minutes: that is why the announcement leads here and holds none.
func (f *Front) AskPractice(ctx context.Context, l ticket.Link, client *Client) (Created, error) {
	_, me, err := f.readiness(ctx, l)
	if err != nil {
		return Created{}, err
	}
	return f.Ask(ctx, Question{
		Workspace: me.Workspace, Login: me.ID, Purpose: challenge.Practice, About: challenge.AboutReady, Locale: me.Locale, Client: client,
	})
}

// Practise has a practice code judged and puts on record that it arrived. checkID names the check: with it the same code is
// right once more. A code that is not right is refused as Check refuses it.
func (f *Front) Practise(ctx context.Context, l ticket.Link, handle, code, checkID string) (Ready, error) {
	r, me, err := f.readiness(ctx, l)
	if err != nil {
		return Ready{}, err
	}
	c, err := f.Confirm(ctx, handle, code, checkID)
	if err != nil {
		return Ready{}, err
	}
	if c.Workspace != me.Workspace || c.Login != me.ID || c.Purpose != challenge.Practice { // A code for something else.
		return Ready{}, unknownChallenge()
	}
	address := []byte{}
	routes := account.Routes(r.Of, me, f.settings.MayText(me, nil))
	if len(routes) > 0 {
		address = limit.RecipientKey(f.keys.Address, routes[0].Channel, account.CompareForm(routes[0].Recipient))
	}
	err = f.directory.Practised(ctx, postgres.Change{By: postgres.Auth}, me.Workspace, me.ID, c.Challenge, address)
	if err != nil {
		return Ready{}, f.translate(ctx, err)
	}
	f.log.InfoContext(ctx, "practice code typed", "workspace", me.Workspace, "login", me.ID, "challenge", c.Challenge)
	return f.Ready(ctx, l)
}

// Postpone moves the date of a workspace by a week, once, for its owner (product.md R4.10). It is refused with ready_over or
// not_postponed.
func (f *Front) Postpone(ctx context.Context, l ticket.Link) (Ready, error) {
	_, me, err := f.readiness(ctx, l)
	if err != nil {
		return Ready{}, err
	}
	_, err = f.directory.Postpone(ctx, postgres.Change{By: postgres.Auth}, me.Workspace, me.ID)
	switch {
	case errors.Is(err, rollout.ErrPostponed), errors.Is(err, rollout.ErrNotPostponing), errors.Is(err, rollout.ErrPaused),
		errors.Is(err, postgres.ErrNotOwner):
		return Ready{}, problem.New(http.StatusConflict, CodeNotPostponed, "The date cannot be moved.")
	case err != nil:
		return Ready{}, f.translate(ctx, err)
	}
	f.log.InfoContext(ctx, "date postponed by the owner", "workspace", me.Workspace, "login", me.ID)
	return f.Ready(ctx, l)
}
