package front

import (
	"context"
	"errors"
	"fmt"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/message"
	"doorcode/pkg/postgres"
)

// Joining is what somebody types who asks the owner of a shared login for a login of their own, and the browser that
// they type it in.
type Joining struct {
	// Name is cut to 60 harmless characters. Email is where an invitation would go.
	Name, Email string
	// UserAgent is looked up in a closed table and never kept.
	UserAgent string
}

// askingAfterEnd is how long after the end of its challenge the owner can still be asked.
const askingAfterEnd = 15 * time.Minute

// MayAskOwner reports whether the person at a challenge may ask the owner: the login is shared, which means that its codes
// go to the workspace's main address.
func (f *Front) MayAskOwner(ctx context.Context, call Call, handle string) (bool, error) {
	issued, err := f.asking(ctx, call, handle)
	if err != nil {
		return false, err
	}
	w, _, err := f.directory.Workspace(ctx, issued.Workspace)
	if err != nil {
		return false, f.translate(ctx, err)
	}
	l, _, err := f.directory.Login(ctx, issued.Workspace, issued.Login)
	if err != nil {
		return false, f.translate(ctx, err)
	}
	return account.Shared(w, l), nil
}

// AskOwner has the owner of a shared login told that the person at a challenge, who has typed its right password, asks for
// a login of their own (product.md R8.2). Nothing is granted by it; three requests a day are taken per login, and one for
// an address that asks already changes nothing. Whether the address is another login's is told to nobody.
//
// It is refused with invalid_request for the field name or email, not_shared, too_many_requests with how long to wait,
// or unknown_challenge.
func (f *Front) AskOwner(ctx context.Context, call Call, handle string, r Joining) error {
	issued, err := f.asking(ctx, call, handle)
	if err != nil {
		return err
	}
	name := account.InertName(r.Name)
	if name == "" {
		return invalid("name", "A name has letters, and is no address and no number.")
	}
	err = account.ValidateEmail(r.Email)
	if err != nil {
		return invalid("email", sentence(err))
	}
	request := account.JoinRequest{Workspace: issued.Workspace, Login: issued.Login, Name: name, Email: r.Email}
	request.Browser, request.System = message.Describe(r.UserAgent)
	err = f.directory.AskOwner(ctx, postgres.Change{By: issued.FrontEnd}, request)
	var wait *postgres.WaitError
	switch {
	case errors.As(err, &wait):
		return tooMany(CodeTooManyRequests, "The owner was asked three times today. Wait until tomorrow.", wait)
	case errors.Is(err, postgres.ErrMainAddress):
		return invalid("email", "This is the address that the codes go to now.")
	case err != nil:
		return f.refusal(ctx, err)
	}
	f.log.InfoContext(ctx, "owner asked", "workspace", issued.Workspace, "login", issued.Login)
	return nil
}

// asking reads the challenge at which the owner is asked. It stands on the bus from the moment it is issued, so that
// nobody has to wait for its record (P8).
func (f *Front) asking(ctx context.Context, call Call, handle string) (event.Issued, error) {
	h, fe, err := f.admit(ctx, call, handle)
	if err != nil {
		return event.Issued{}, err
	}
	if h.Stream != f.settings.StreamNumber {
		return event.Issued{}, unknownChallenge()
	}
	m, err := f.bus.Get(ctx, event.StreamChallenges, h.Sequence)
	if err != nil {
		f.log.WarnContext(ctx, "challenge not read", "error", err.Error())
		return event.Issued{}, Unavailable()
	}
	issued, err := issuedOf(m.Subject, m.Header, m.Data)
	if err != nil {
		return event.Issued{}, err
	}
	if !asksFor(issued, h, fe) || f.clock().After(issued.ExpiresAt.Add(askingAfterEnd)) {
		return event.Issued{}, unknownChallenge()
	}
	return issued, nil
}

// asksFor reports whether a challenge is the handle's, the front-end's, and a sign-in.
func asksFor(issued event.Issued, h challenge.Handle, fe frontend.FrontEnd) bool {
	return issued.Challenge == h.Challenge && issued.FrontEnd == fe.ID && issued.Purpose == challenge.SignIn
}

// issuedOf reads the event of a challenge.
func issuedOf(subject string, header map[string]string, data []byte) (event.Issued, error) {
	e, err := event.Parse(subject, header, data)
	if err != nil {
		return event.Issued{}, fmt.Errorf("read a challenge: %w", err)
	}
	if e.Type != event.ChallengeIssued {
		return event.Issued{}, unknownChallenge()
	}
	var issued event.Issued
	err = e.Decode(&issued)
	if err != nil {
		return event.Issued{}, fmt.Errorf("read a challenge: %w", err)
	}
	return issued, nil
}
