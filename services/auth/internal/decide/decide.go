// Package decide says whether a challenge may be issued, and by which routes: one pure function of what create read and
// of the settings. It knows no clock, no database and no bus.
package decide

import (
	"net/http"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/limit"
	"doorcode/pkg/phone"
	"doorcode/pkg/problem"
)

// The codes of a create that is refused.
const (
	CodeUnknownWorkspace = "unknown_workspace"
	CodeUnknownLogin     = "unknown_login"
	CodeNoRoute          = "no_route"
	CodeLoginLocked      = "login_locked"
	CodeTooMany          = "too_many"
)

// Settings are the figures that a decision applies.
type Settings struct {
	Policy challenge.Policy
	Life   time.Duration // of a code
	// TextLife is that of a code whose first message is a text message.
	TextLife time.Duration
	// Messages per recipient, and per recipient that several people read.
	PerHour, PerDay             int
	GroupPerHour, GroupPerDay   int
	NumberPerHour, NumberPerDay int
	// Countries are those to whose numbers text messages go, and TextsPerDay is how many at most go to all of them in a
	// day. Without either there are none.
	Countries   []string
	TextsPerDay int
}

// Facts are what create read at one moment. A workspace or login that does not exist is nil.
type Facts struct {
	Now       time.Time // the database clock
	Workspace *account.Workspace
	Login     *account.Login
	Failures  []time.Time // wrong codes of the login within the last day
	// Stopped are the countries to whose numbers nothing is sent for now.
	Stopped []string
	Locked  bool
}

// Route is a route with the limits of messages to its recipient.
type Route struct {
	account.Route
	PerHour, PerDay int
	// Cap is the most messages of the channel within a day over all recipients; 0 is none.
	Cap int
}

// Decision is a challenge that may be issued.
type Decision struct {
	Routes    []Route // at least one; the first is the route of create
	CreatedAt time.Time
	ExpiresAt time.Time
	ResendAt  time.Time
}

// Decide returns the decision, or a *problem.Problem that says why nothing may be sent.
func Decide(f Facts, s Settings) (Decision, error) {
	err := Open(f, s)
	if err != nil {
		return Decision{}, err
	}
	return issue(f, account.Routes(*f.Workspace, *f.Login, s.MayText(*f.Login, f.Stopped)), s)
}

// Prove returns the decision about a code to one place that is no route of the login, or why nothing may be sent there.
func Prove(f Facts, r account.Route, s Settings) (Decision, error) {
	err := Open(f, s)
	if err != nil {
		return Decision{}, err
	}
	routes := []account.Route{r}
	if r.Channel == account.SMS && !s.MayText(account.Login{Phone: r.Recipient}, f.Stopped) {
		routes = nil
	}
	return issue(f, routes, s)
}

// Open returns why the login may not sign in at all for now, with a code or without, or nil.
func Open(f Facts, s Settings) error {
	switch {
	case f.Workspace == nil:
		return UnknownWorkspace()
	case f.Login == nil:
		return UnknownLogin()
	case f.Locked:
		return problem.New(http.StatusConflict, CodeLoginLocked,
			"This login is locked after too many wrong codes in a row. An administrator of the application can unlock it.")
	}
	wait := spent(f, s.Policy)
	if wait > 0 {
		p := problem.New(http.StatusTooManyRequests, CodeTooMany, "There were too many wrong codes for this login. Wait a little.")
		p.RetryAfter = wait
		return p
	}
	return nil
}

// issue is the decision to send a code by the first of the routes.
func issue(f Facts, routes []account.Route, s Settings) (Decision, error) {
	if len(routes) == 0 {
		return Decision{}, problem.New(http.StatusConflict, CodeNoRoute,
			"There is no proven way to send a code to this person.")
	}
	d := Decision{
		CreatedAt: f.Now,
		ExpiresAt: f.Now.Add(s.Life),
		ResendAt:  f.Now.Add(challenge.ResendWait(1)),
	}
	if routes[0].Channel == account.SMS {
		d.ExpiresAt = f.Now.Add(s.TextLife)
	}
	for _, r := range routes {
		d.Routes = append(d.Routes, limits(r, s))
	}
	return d, nil
}

// limits gives a route those of its kind.
func limits(r account.Route, s Settings) Route {
	switch {
	case r.Channel == account.SMS:
		return Route{Route: r, PerHour: s.NumberPerHour, PerDay: s.NumberPerDay, Cap: s.TextsPerDay}
	case r.Group:
		return Route{Route: r, PerHour: s.GroupPerHour, PerDay: s.GroupPerDay}
	}
	return Route{Route: r, PerHour: s.PerHour, PerDay: s.PerDay}
}

// MayText reports whether a text message may go to a login's phone: its country is allowed and not among the stopped
// ones, and there is a daily cap (DESIGN 7). A cap that is reached is a matter of limits: nobody is moved to another
// channel by it.
func (s Settings) MayText(l account.Login, stopped []string) bool {
	if l.Phone == "" || s.TextsPerDay == 0 {
		return false
	}
	number, err := phone.Parse(l.Phone)
	return err == nil && number.Allowed(s.Countries) && !number.Allowed(stopped)
}

// UnknownWorkspace is the answer to a workspace that does not exist or lies outside a key.
func UnknownWorkspace() *problem.Problem {
	return problem.New(http.StatusNotFound, CodeUnknownWorkspace, "There is no such workspace.")
}

// UnknownLogin is the answer to a login that does not exist.
func UnknownLogin() *problem.Problem {
	return problem.New(http.StatusNotFound, CodeUnknownLogin, "There is no such login.")
}

// spent returns how long the login's budget of wrong codes is used up.
func spent(f Facts, p challenge.Policy) time.Duration {
	return limit.Row{Times: f.Failures}.Wait(f.Now, limit.PerHourAndDay(p.WrongPerHour, p.WrongPerDay))
}
