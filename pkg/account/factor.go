package account

import "errors"

// FactorKind is what a change of a factor changes.
type FactorKind string

// The kinds of changes.
const (
	FactorSMS       FactorKind = "sms"        // codes go to a phone from now on
	FactorEmail     FactorKind = "email"      // codes go by e-mail again
	FactorNumber    FactorKind = "number"     // codes go to another phone
	FactorMainEmail FactorKind = "main_email" // the workspace gets another main address
)

// FactorKinds lists the kinds.
func FactorKinds() []FactorKind {
	return []FactorKind{FactorSMS, FactorEmail, FactorNumber, FactorMainEmail}
}

// The refusals of a change that makes no sense.
var (
	// ErrFactorKind says that there is no such kind.
	ErrFactorKind = errors.New("a kind of change is sms, email, number or main_email")
	// ErrNoChange says that everything is as it should become.
	ErrNoChange = errors.New("there is nothing to change")
	// ErrNotOnSMS says that codes of the login do not go to a phone.
	ErrNotOnSMS = errors.New("codes of this login do not go to a phone")
	// ErrNotOwner says that the login is not the workspace's owner.
	ErrNotOwner = errors.New("only the owner changes the main address")
	// ErrNoDestination says that nothing was named for codes to go to, and
	// nothing is there.
	ErrNoDestination = errors.New("there is no address or number to send codes to")
)

// Reach is what changes of factors change: where codes of a login can go
// beside its own address.
type Reach struct {
	Phone        string `json:"phone,omitempty"`
	Channel      string `json:"channel,omitempty"` // as in Login
	MainEmail    string `json:"main_email,omitempty"`
	GroupAddress bool   `json:"group_address,omitempty"`
}

// ReachOf returns that of a login, as far as a kind of change is about it.
func (k FactorKind) ReachOf(w Workspace, l Login) Reach {
	if k == FactorMainEmail {
		return Reach{MainEmail: w.MainEmail, GroupAddress: w.GroupAddress}
	}
	return Reach{Phone: l.Phone, Channel: l.Channel}
}

// Give returns workspace and login with that reach, as far as a kind of change
// is about it.
func (k FactorKind) Give(w Workspace, l Login, r Reach) (Workspace, Login) {
	if k == FactorMainEmail {
		w.MainEmail, w.GroupAddress = r.MainEmail, r.GroupAddress
		return w, l
	}
	l.Phone, l.Channel = r.Phone, r.Channel
	return w, l
}

// Plan returns what a change makes of a login's reach, and the route that has
// to be proved before. The destination, a number in E.164 or an address, is
// valid; without one a change to SMS takes the number that is there, and a
// change to e-mail never has one. A new main address is no group address until
// that is tested.
func (k FactorKind) Plan(w Workspace, l Login, destination string) (Reach, Route, error) {
	old := k.ReachOf(w, l)
	switch k {
	case FactorSMS:
		if l.Channel == SMS {
			return Reach{}, Route{}, ErrNoChange
		}
		if destination == "" {
			destination = l.Phone
		}
		return toPhone(destination)
	case FactorNumber:
		switch {
		case l.Channel != SMS:
			return Reach{}, Route{}, ErrNotOnSMS
		case destination == l.Phone:
			return Reach{}, Route{}, ErrNoChange
		}
		return toPhone(destination)
	case FactorEmail:
		if l.Channel != SMS {
			return Reach{}, Route{}, ErrNoChange
		}
		mail := mailRoutes(w, l)
		if len(mail) == 0 {
			return Reach{}, Route{}, ErrNoDestination
		}
		return Reach{Phone: old.Phone}, mail[0], nil
	case FactorMainEmail:
		switch {
		case l.ID == "" || w.Owner != l.ID:
			return Reach{}, Route{}, ErrNotOwner
		case destination == "":
			return Reach{}, Route{}, ErrNoDestination
		case CompareForm(destination) == CompareForm(w.MainEmail):
			return Reach{}, Route{}, ErrNoChange
		}
		return Reach{MainEmail: destination}, Route{Channel: Email, Recipient: destination}, nil
	}
	return Reach{}, Route{}, ErrFactorKind
}

// toPhone is the plan to send codes to a number.
func toPhone(number string) (Reach, Route, error) {
	if number == "" {
		return Reach{}, Route{}, ErrNoDestination
	}
	return Reach{Phone: number, Channel: SMS}, Route{Channel: SMS, Recipient: number}, nil
}
