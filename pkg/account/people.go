package account

import "time"

// InvitationState is where an invitation stands.
type InvitationState string

// The states of an invitation. An open one ends in exactly one of the others.
const (
	InvitationOpen      InvitationState = "open"
	InvitationAccepted  InvitationState = "accepted" // by a code to its address
	InvitationWithdrawn InvitationState = "withdrawn"
	InvitationExpired   InvitationState = "expired"
)

// InvitationLife is for how long an invitation can be accepted (product.md R9.2).
const InvitationLife = 7 * 24 * time.Hour

// Bounds of invitations, so that nobody is flooded with them.
const (
	MaxOpenInvitations   = 20 // of a workspace at once (product.md R9.1)
	MaxInvitationsPerDay = 50 // of a workspace
	MaxInvitationSends   = 5  // mails of one invitation
	// MaxInvitationsPerAddress is how many of a workspace one address gets within a day.
	MaxInvitationsPerAddress = 3
	// MaxInvitationsEverywhere is how many one address gets within a day, whatever workspaces invite it.
	MaxInvitationsEverywhere = 10
	InvitationResendWait     = time.Minute
)

// Invitation asks whoever reads an address to become an administrator of a workspace. The host application makes the login
// once it is accepted, and names the invitation.
type Invitation struct {
	Workspace string
	ID        string
	Email     string // where it goes, and the code that accepts it
	Name      string // as InertName returns it; may be empty
	Locale    string
	// Login is who gets the code meanwhile: no login of the directory, but with a budget as one has.
	Login string
	// By is the login of the owner who invites. The invitation is worth nothing once that is the owner no more.
	By        string
	State     InvitationState // as stored; see At
	Sends     int
	CreatedAt time.Time
	SentAt    time.Time // of the last mail
	ExpiresAt time.Time
	EndedAt   time.Time // zero while it is open
	Challenge string    // the one whose code accepted it
	Joined    string    // the login that the host application made of it
}

// At returns the state at a moment, in a workspace of that owner.
func (i Invitation) At(now time.Time, owner string) InvitationState {
	switch {
	case i.State != InvitationOpen:
		return i.State
	case !now.Before(i.ExpiresAt):
		return InvitationExpired
	case owner != i.By:
		return InvitationWithdrawn
	}
	return InvitationOpen
}

// JoinState is where a request to be invited stands.
type JoinState string

// The states of a request.
const (
	JoinOpen     JoinState = "open"
	JoinInvited  JoinState = "invited"
	JoinDeclined JoinState = "declined"
)

// MaxJoinRequests is how many requests a login takes within a day (product.md R8.2).
const MaxJoinRequests = 3

// JoinRequest is what somebody who knows the password of a shared login asks its owner for: a login of their own. Nothing
// is granted by it. Name and address are what that person typed.
type JoinRequest struct {
	Workspace string
	ID        string
	Login     string // the shared one
	Name      string // as InertName returns it
	Email     string
	Browser   string // names of a closed table, or empty
	System    string
	State     JoinState
	CreatedAt time.Time
	EndedAt   time.Time // zero while it is open
}

// Shared reports whether the codes of a login go to the workspace's main address: it is the primary login, without an
// address of its own, and whoever has its password may have no way into that mailbox.
func Shared(w Workspace, l Login) bool {
	own := l.Email != "" && CompareForm(l.Email) != CompareForm(w.MainEmail)
	return l.ID != "" && l.ID == w.Owner && w.MainEmail != "" && !own && l.Channel != SMS
}

// GroupTestLife is for how long a test of a group address can be passed: as long as its codes live.
const GroupTestLife = 10 * time.Minute

// GroupTest is a live test of a workspace's main address: two codes went there, and whoever types both has shown that
// messages to the group arrive (product.md R10.2).
type GroupTest struct {
	Workspace string
	ID        string
	Email     string // the main address that is tested
	// Login is who gets the codes: no login of the directory, but with a budget as one has.
	Login string
	By    string // the login of the owner who tests
	// Handles are those of the two challenges, and Confirmed tells which codes came back.
	Handles   [2]string
	Confirmed [2]bool
	CreatedAt time.Time
	PassedAt  time.Time // zero until both came back
}
