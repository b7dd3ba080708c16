package front

import (
	"context"

	"doorcode/pkg/account"
	"doorcode/pkg/phone"
	"doorcode/pkg/postgres"
)

// ShownRoute is a way to a person as it may be shown: where a code goes, masked, and why in one sentence.
type ShownRoute struct {
	Channel   string `json:"channel"`
	Recipient string `json:"recipient"` // masked
	Why       string `json:"why"`
	// Reason is the key of Why in other languages, and Group says that several people read the recipient.
	Reason account.Reason `json:"-"`
	Group  bool           `json:"-"`
}

// routes lists the proven ways to a login, masked, in the order in which a code would take them.
func (f *Front) routes(ctx context.Context, workspace, login string) ([]ShownRoute, error) {
	a, err := f.directory.Addressee(ctx, workspace, login)
	if err != nil {
		return nil, f.translate(ctx, err)
	}
	if len(a.Broken) > 0 {
		return nil, f.alarm(ctx, a.Broken[0])
	}
	var shown []ShownRoute
	for _, r := range account.Routes(a.Workspace, a.Login, f.settings.MayText(a.Login, a.StoppedCountries)) {
		recipient := account.Mask(r.Recipient)
		if r.Channel == account.SMS {
			recipient = phone.Mask(r.Recipient)
		}
		shown = append(shown, ShownRoute{Channel: r.Channel, Recipient: recipient, Why: r.Why, Reason: r.Reason, Group: r.Group})
	}
	return shown, nil
}

// shownSignIns is how many sign-ins a page lists.
const shownSignIns = 20

// Overview is what Security settings show of a login.
type Overview struct {
	Routes  []ShownRoute // where codes go: the first is the one of a sign-in; none: nowhere
	SignIns []postgres.SignIn
	Use     account.Use // within thirty days
	// Ready is the address of the page on which the workspace gets ready for codes; empty: the login does not run it, or it is
	// in no wave.
	Ready string
}

// Overview returns what Security settings show of the session's login.
func (f *Front) Overview(ctx context.Context, s Session) (Overview, error) {
	var o Overview
	var err error
	o.Routes, err = f.routes(ctx, s.Login.Workspace, s.Login.ID)
	if err != nil {
		return Overview{}, err
	}
	o.SignIns, err = f.directory.SignIns(ctx, s.Login.Workspace, s.Login.ID, shownSignIns)
	if err != nil {
		return Overview{}, f.translate(ctx, err)
	}
	uses, err := f.directory.Uses(ctx, s.Login.Workspace, s.Login.ID)
	if err != nil {
		return Overview{}, f.translate(ctx, err)
	}
	o.Use = uses[s.Login.ID]
	o.Ready, err = f.readyAddress(ctx, s)
	return o, err
}
