package front

import (
	"context"
	"errors"
	"net/http"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/ticket"
)

// Offer is an open invitation as its invitee sees it.
type Offer struct {
	Workspace string // its name
	Name      string // of the invitee, as the owner wrote it; may be empty
	Recipient string // where the code goes, masked
	Locale    string
	ExpiresAt time.Time
}

// closedInvitation is the one answer to an invitation that cannot be accepted, whatever the reason.
func closedInvitation() *problem.Problem {
	return problem.New(http.StatusGone, CodeInvitationClosed, "This invitation is not open any more.")
}

// Offer shows the invitation that a link leads to, as long as it is open. It changes nothing, because programs look at
// links as well.
func (f *Front) Offer(ctx context.Context, l ticket.Link) (Offer, error) {
	i, err := f.offered(ctx, l)
	if err == nil && i.StateNow() != account.InvitationOpen {
		err = closedInvitation()
	}
	if err != nil {
		return Offer{}, err
	}
	return offer(i), nil
}

func offer(i postgres.Invited) Offer {
	return Offer{
		Workspace: i.Of.Name, Name: i.Name, Recipient: account.Mask(i.Email), Locale: i.Locale, ExpiresAt: i.ExpiresAt,
	}
}

// offered reads the invitation of a link, in whatever state it is.
func (f *Front) offered(ctx context.Context, l ticket.Link) (postgres.Invited, error) {
	i, err := f.directory.Invitation(ctx, l.Workspace, l.ID)
	if errors.Is(err, postgres.ErrNoWorkspace) || errors.Is(err, postgres.ErrNoInvitation) {
		return i, closedInvitation()
	}
	if err != nil {
		return i, f.translate(ctx, err)
	}
	return i, nil
}

// AskInvitee sends the code that accepts an invitation to its address, and to no other.
func (f *Front) AskInvitee(ctx context.Context, l ticket.Link, client *Client) (Created, error) {
	i, err := f.offered(ctx, l)
	if err == nil && i.StateNow() != account.InvitationOpen {
		err = closedInvitation()
	}
	if err != nil {
		return Created{}, err
	}
	return f.Ask(ctx, Question{
		Workspace: i.Workspace, Login: i.Login, Purpose: challenge.Proof, About: challenge.AboutInvitation,
		Route: &account.Route{Channel: account.Email, Recipient: i.Email}, Locale: i.Locale, Client: client,
	})
}

// Accept accepts an invitation by a code that came to its address. checkID names the check: with it the same code
// accepts it once more, for as long as a right code is answered again. The application hears of it by an event and makes
// the login; until then nobody can sign in by it.
//
// A code that is not right is refused as Check refuses it; invitation_closed says that the invitation was withdrawn, has
// expired, was accepted, or that its inviter does not own the workspace any more.
func (f *Front) Accept(ctx context.Context, l ticket.Link, handle, code, checkID string) (Offer, error) {
	i, err := f.offered(ctx, l)
	if err == nil && i.StateNow() != account.InvitationOpen && i.State != account.InvitationAccepted {
		err = closedInvitation()
	}
	if err != nil {
		return Offer{}, err
	}
	c, err := f.Confirm(ctx, handle, code, checkID)
	if err != nil {
		return Offer{}, err
	}
	if c.Workspace != i.Workspace || c.Login != i.Login || c.Purpose != challenge.Proof { // A code for something else.
		return Offer{}, unknownChallenge()
	}
	i, err = f.directory.AcceptInvitation(ctx, i.Workspace, i.ID, c.Challenge)
	switch {
	case errors.Is(err, postgres.ErrInvitationClosed), errors.Is(err, postgres.ErrNoInvitation), errors.Is(err, postgres.ErrNoWorkspace):
		return Offer{}, closedInvitation()
	case err != nil:
		return Offer{}, f.translate(ctx, err)
	}
	f.log.InfoContext(ctx, "invitation accepted", "workspace", i.Workspace, "invitation", i.ID)
	return offer(i), nil
}
