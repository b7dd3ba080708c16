package front

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
)

// The problem codes around who is to belong to a workspace.
const (
	CodeNotOwner           = "not_owner"
	CodeNoPages            = "no_pages"
	CodeMainAddress        = "main_address"
	CodeAddressInUse       = "address_in_use"
	CodeUnknownInvitation  = "unknown_invitation"
	CodeInvitationClosed   = "invitation_closed"
	CodeTooManyInvitations = "too_many_invitations"
	CodeUnknownRequest     = "unknown_request"
	CodeNotShared          = "not_shared"
	CodeUnknownTest        = "unknown_test"
	CodeTestClosed         = "test_closed"

	// Those of a message that is asked for again are the verifier's.
	codeTooEarly    = "resend_too_early"
	codeNoMoreSends = "no_more_sends"
)

// People keeps who is to belong to one workspace, in the name of somebody who may.
type People struct {
	front     *Front
	workspace string
	by        string // who stands in the records
}

// People returns the people of a workspace for a front-end that may keep its directory.
func (f *Front) People(ctx context.Context, call Call, workspace string) (*People, error) {
	fe, err := f.keeperOf(ctx, call, workspace, workspace)
	if err != nil {
		return nil, err
	}
	return f.PeopleFor(fe.ID, workspace), nil
}

// PeopleFor returns the people of a workspace for a page whose session has proved, by a fresh code, that its login owns
// the workspace. by is the front-end that the page was opened for.
func (f *Front) PeopleFor(by, workspace string) *People {
	return &People{front: f, workspace: workspace, by: by}
}

func (p *People) change() postgres.Change { return postgres.Change{By: p.by} }

// InviteRequest is the body of an invitation. There is no role to choose: it is for administrators.
type InviteRequest struct {
	Email string `json:"email"`
	// Name is what the owner calls the invitee; of it 60 harmless characters are kept.
	Name   string `json:"name"`
	Locale string `json:"locale"`
	// By is the login of the owner who invites, whom the application has asked for a fresh code.
	By string `json:"by"`
}

// Invitation is an invitation as it is shown. Its link is in the mail alone: whoever has it still needs the code.
type Invitation struct {
	ID        string     `json:"id"`
	Email     string     `json:"email"`
	Name      string     `json:"name,omitempty"`
	Locale    string     `json:"locale,omitempty"`
	By        string     `json:"invited_by"`
	State     string     `json:"state"`
	Sends     int        `json:"sends"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt time.Time  `json:"expires_at"`
	EndedAt   *time.Time `json:"ended_at"`  // null while it is open
	ResendAt  *time.Time `json:"resend_at"` // null when no further mail is possible
	// Login is the one that the application made of it; empty: an accepted one still waits for the application.
	Login string `json:"login,omitempty"`
	// ProbableGroup warns that several people seem to read the address: all of them would get the codes.
	ProbableGroup bool `json:"probable_group"`
}

// Invite invites somebody by mail. Created says that it was made just now; an invitation that waits at that address
// already is answered as it is, and nothing is sent.
func (p *People) Invite(ctx context.Context, r InviteRequest) (invitation Invitation, created bool, err error) {
	err = r.validate()
	if err != nil {
		return Invitation{}, false, err
	}
	if p.front.settings.PublicURL == "" {
		return Invitation{}, false, problem.New(http.StatusConflict, CodeNoPages,
			"An invitation is accepted on a hosted page, and this installation has none.")
	}
	i, err := p.front.directory.Invite(ctx, p.change(), account.Invitation{
		Workspace: p.workspace, Email: r.Email, Name: account.InertName(r.Name), Locale: r.Locale, By: r.By,
	})
	var wait *postgres.WaitError
	if errors.As(err, &wait) {
		return Invitation{}, false, tooMany(CodeTooManyInvitations, "There are too many invitations. Withdraw some, or wait.", wait)
	}
	if err != nil {
		return Invitation{}, false, p.front.refusal(ctx, err)
	}
	return showInvitation(i), i.Created, nil
}

// validate names the first field that is wrong.
func (r InviteRequest) validate() error {
	err := account.ValidateEmail(r.Email)
	if err != nil {
		return invalid("email", sentence(err))
	}
	err = account.ValidateLocale(r.Locale)
	if err != nil {
		return invalid("locale", sentence(err))
	}
	if account.ValidateID(r.By) != nil {
		return invalid("by", sentence(account.ErrID))
	}
	return nil
}

// Invitations lists all of the last month, the newest first.
func (p *People) Invitations(ctx context.Context) ([]Invitation, error) {
	all, err := p.front.directory.Invitations(ctx, p.workspace)
	if err != nil {
		return nil, p.front.refusal(ctx, err)
	}
	shown := []Invitation{}
	for _, i := range all {
		shown = append(shown, showInvitation(i))
	}
	return shown, nil
}

// Invitation shows one.
func (p *People) Invitation(ctx context.Context, id string) (Invitation, error) {
	if account.ValidateID(id) != nil {
		return Invitation{}, p.front.refusal(ctx, postgres.ErrNoInvitation)
	}
	i, err := p.front.directory.Invitation(ctx, p.workspace, id)
	if err != nil {
		return Invitation{}, p.front.refusal(ctx, err)
	}
	return showInvitation(i), nil
}

// RepeatInvitation mails the link of an open invitation once more. It lives no longer by that.
func (p *People) RepeatInvitation(ctx context.Context, id string) (Invitation, error) {
	if account.ValidateID(id) != nil {
		return Invitation{}, p.front.refusal(ctx, postgres.ErrNoInvitation)
	}
	i, err := p.front.directory.RepeatInvitation(ctx, p.change(), p.workspace, id)
	var wait *postgres.WaitError
	switch {
	case errors.As(err, &wait) && wait.After > 0:
		return Invitation{}, tooMany(codeTooEarly, "It was just sent. Wait a little.", wait)
	case errors.As(err, &wait):
		return Invitation{}, problem.New(http.StatusConflict, codeNoMoreSends, "No further mail of this invitation is possible.")
	case err != nil:
		return Invitation{}, p.front.refusal(ctx, err)
	}
	return showInvitation(i), nil
}

// WithdrawInvitation takes an invitation back, also an accepted one of which no login was made yet.
func (p *People) WithdrawInvitation(ctx context.Context, id string) error {
	if account.ValidateID(id) != nil {
		return p.front.refusal(ctx, postgres.ErrNoInvitation)
	}
	_, err := p.front.directory.WithdrawInvitation(ctx, p.change(), p.workspace, id)
	if err != nil {
		return p.front.refusal(ctx, err)
	}
	return nil
}

// JoinRequest is a request to be invited as it is shown. Name and address are what a stranger typed.
type JoinRequest struct {
	ID        string    `json:"id"`
	Login     string    `json:"login"`
	Name      string    `json:"name"`
	Email     string    `json:"email"`
	Browser   string    `json:"browser,omitempty"`
	System    string    `json:"system,omitempty"`
	State     string    `json:"state"`
	CreatedAt time.Time `json:"created_at"`
}

// JoinRequests lists all of the last month, the newest first.
func (p *People) JoinRequests(ctx context.Context) ([]JoinRequest, error) {
	all, err := p.front.directory.JoinRequests(ctx, p.workspace)
	if err != nil {
		return nil, p.front.refusal(ctx, err)
	}
	shown := []JoinRequest{}
	for _, r := range all {
		shown = append(shown, JoinRequest{
			ID: r.ID, Login: r.Login, Name: r.Name, Email: r.Email, Browser: r.Browser, System: r.System,
			State: string(r.State), CreatedAt: r.CreatedAt,
		})
	}
	return shown, nil
}

// DeclineJoin answers a request with no.
func (p *People) DeclineJoin(ctx context.Context, id string) error {
	if account.ValidateID(id) != nil {
		return p.front.refusal(ctx, postgres.ErrNoRequest)
	}
	err := p.front.directory.DeclineJoin(ctx, p.change(), p.workspace, id)
	if err != nil {
		return p.front.refusal(ctx, err)
	}
	return nil
}

// showInvitation writes an invitation as the API has it.
func showInvitation(i postgres.Invited) Invitation {
	shown := Invitation{
		ID: i.ID, Email: i.Email, Name: i.Name, Locale: i.Locale, By: i.By, State: string(i.StateNow()), Sends: i.Sends,
		CreatedAt: i.CreatedAt, ExpiresAt: i.ExpiresAt, Login: i.Joined, ProbableGroup: probableGroup(i.Email),
	}
	if !i.EndedAt.IsZero() {
		shown.EndedAt = &i.EndedAt
	}
	resend := i.SentAt.Add(account.InvitationResendWait)
	if i.StateNow() == account.InvitationOpen && i.Sends < account.MaxInvitationSends && resend.Before(i.ExpiresAt) {
		shown.ResendAt = &resend
	}
	return shown
}

// probableGroup reports whether an address looks like one that several people read (product.md R9.4). It is a guess.
func probableGroup(address string) bool {
	local, _, _ := strings.Cut(account.CompareForm(address), "@")
	local, _, _ = strings.Cut(local, "+")
	switch local {
	case "accounting", "accounts", "admin", "administration", "all", "billing", "contact", "everyone", "finance", "hello", "help",
		"helpdesk", "info", "invoices", "mail", "marketing", "office", "ops", "orders", "reception", "sales", "service",
		"staff", "support", "team", "administratie", "boekhouding", "facturen", "kantoor", "klantenservice", "verkoop":
		return true
	}
	return false
}

// refusal turns an error of the directory into what the caller may see.
func (f *Front) refusal(ctx context.Context, err error) error {
	for _, known := range []struct {
		cause        error
		status       int
		code, detail string
		field        string
	}{
		{postgres.ErrNoInvitation, http.StatusNotFound, CodeUnknownInvitation, "There is no such invitation.", ""},
		{postgres.ErrNoRequest, http.StatusNotFound, CodeUnknownRequest, "There is no such request.", ""},
		{postgres.ErrNoTest, http.StatusNotFound, CodeUnknownTest, "There is no such test.", ""},
		{postgres.ErrNotOwner, http.StatusConflict, CodeNotOwner, "This login does not own the workspace.", "by"},
		{postgres.ErrMainAddress, http.StatusConflict, CodeMainAddress, "This is the workspace's main address, not a person's own.", "email"},
		{postgres.ErrAddressInUse, http.StatusConflict, CodeAddressInUse, "A login of the workspace has this address already.", "email"},
		{postgres.ErrInvitationClosed, http.StatusConflict, CodeInvitationClosed, "This invitation is not open any more.", ""},
		{postgres.ErrNotShared, http.StatusConflict, CodeNotShared, "The codes of this login go to its own address.", ""},
		{postgres.ErrTestClosed, http.StatusConflict, CodeTestClosed, "This test is over. Begin another one.", ""},
	} {
		if errors.Is(err, known.cause) {
			p := problem.New(known.status, known.code, known.detail)
			p.Field = known.field
			return p
		}
	}
	return f.translate(ctx, err)
}

// tooMany is the answer when something may be done again after a while, or not by waiting.
func tooMany(code, detail string, wait *postgres.WaitError) error {
	if wait.After <= 0 {
		return problem.New(http.StatusConflict, code, detail)
	}
	p := problem.New(http.StatusTooManyRequests, code, detail)
	p.RetryAfter = wait.After
	return p
}
