package challenge

import (
	"errors"
	"slices"
)

// Purpose is what the code of a challenge is good for. It is bound into the
// digest, so that a code asked for one thing never does another (SEC-05).
type Purpose string

// The purposes. Only a sign-in is asked for by front-ends; the others are
// doorcode's own and never let anybody in.
const (
	// SignIn ends a sign-in.
	SignIn Purpose = "sign_in"
	// Approval is a fresh code, on the present routes of a login, for a change
	// that needs one (product.md R6.11).
	Approval Purpose = "approval"
	// Proof is a code to one address or number that is no route yet.
	Proof Purpose = "proof"
	// Practice is a code on the present routes of a login that does nothing: it
	// shows that codes arrive (product.md R4.6).
	Practice Purpose = "practice"
)

// About is what an approval approves or a proof is for: a closed set, because
// it stands in the message.
type About string

// What own challenges are about.
const (
	AboutSMS       About = "sms"        // codes by text message
	AboutEmail     About = "email"      // codes by e-mail again
	AboutNumber    About = "number"     // another phone number
	AboutMainEmail About = "main_email" // another main e-mail address of the workspace
	// AboutSettings is a look at the security settings, with nothing changed yet.
	AboutSettings About = "settings"
	// AboutPeople is a change of who belongs to the workspace.
	AboutPeople About = "people"
	// AboutGroup is a main e-mail address that several people read.
	AboutGroup About = "group_address"
	// AboutInvitation is an invitation that its invitee accepts.
	AboutInvitation About = "invitation"
	// AboutReady is the way of a workspace to codes.
	AboutReady About = "ready"
)

// Purposes lists all purposes.
func Purposes() []Purpose { return []Purpose{SignIn, Approval, Proof, Practice} }

// Abouts lists what challenges of a purpose can be about; a sign-in is about
// nothing else.
func (p Purpose) Abouts() []About {
	switch p {
	case Approval:
		return []About{AboutSMS, AboutEmail, AboutNumber, AboutMainEmail, AboutSettings, AboutPeople, AboutGroup}
	case Proof:
		return []About{AboutSMS, AboutEmail, AboutNumber, AboutMainEmail, AboutGroup, AboutInvitation}
	case Practice:
		return []About{AboutReady}
	case SignIn:
	}
	return nil
}

// ErrPurpose says that a purpose is none, or is not about that.
var ErrPurpose = errors.New("there is no such purpose of a code")

// Check fails with ErrPurpose unless there are challenges of that purpose which
// are about that.
func (p Purpose) Check(about About) error {
	if p == SignIn && about == "" || slices.Contains(p.Abouts(), about) {
		return nil
	}
	return ErrPurpose
}
