package front

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/phone"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/decide"
)

// The problem codes of changes of factors.
const (
	CodeUnknownChange    = "unknown_change"
	CodeChangePending    = "change_pending"
	CodeChangeOver       = "change_over"
	CodeNothingToChange  = "nothing_to_change"
	CodeNumberNotAllowed = "number_not_allowed"
	CodeNumberInUse      = "number_in_use"
	CodeNotFresh         = "approval_not_fresh"
)

// approvalFresh is how long a fresh code of a settings session approves changes (SEC-36).
const approvalFresh = 5 * time.Minute

// maxRounds is how many challenges one half of a change asks for at most: a text message's code dies long before the change.
const maxRounds = 5

// FactorStart is what a change of a factor begins with. Whoever calls has made sure who the person is.
type FactorStart struct {
	Workspace, Login string
	Kind             account.FactorKind
	// Phone, in international form, and Email name what is new; a kind takes at most one of them.
	Phone, Email string
	Locale       string
	Client       *Client
	By           string // who is on record: a front-end, or a process
	// Version is the login's that a session knows; with another one by now the start is refused. 0: the present one.
	Version int64
	// Approved is when a code of this very login approved changes of it. Within five minutes nobody is asked for one again.
	Approved time.Time
}

// FactorRef names a change of a login, and who acts.
type FactorRef struct {
	Workspace, Login, Change string
	By                       string
	Client                   *Client
}

func (r FactorRef) row() postgres.FactorRef {
	return postgres.FactorRef{Workspace: r.Workspace, Login: r.Login, ID: r.Change}
}

// FactorChange is a change of a factor as it is shown.
type FactorChange struct {
	ID        string `json:"id"`
	Workspace string `json:"workspace"`
	Login     string `json:"login"`
	Kind      string `json:"kind"`
	State     string `json:"state"`
	// Channel and Recipient are where codes are to go; the recipient is masked.
	Channel   string `json:"channel"`
	Recipient string `json:"recipient"`
	// Challenge is the open one of a change on its way; null: none could be sent yet, and a confirm or a delivery does.
	Challenge *FactorChallenge `json:"challenge"`
	CreatedAt time.Time        `json:"created_at"`
	ExpiresAt time.Time        `json:"expires_at"`
	AppliedAt *time.Time       `json:"applied_at"` // null until it takes effect
	// Handle is that of the challenge, for the pages.
	Handle string `json:"-"`
	// Followed says that further changes would be undone with this one, for the page of an undo.
	Followed bool `json:"-"`
	// Round is how many challenges were asked for in this state.
	Round int `json:"-"`
}

// FactorChallenge is what a person needs to know of the open challenge of a change.
type FactorChallenge struct {
	Label            string               `json:"label"`
	Channel          string               `json:"channel"`
	Recipient        string               `json:"recipient"` // masked
	Routes           []event.OfferedRoute `json:"routes"`
	SupportReference string               `json:"support_reference"`
	ExpiresAt        time.Time            `json:"expires_at"`
	ResendAt         *time.Time           `json:"resend_at"` // null when no further message is possible
}

// StartFactor begins a change: a fresh code goes out on the present route of the login, or, when one approved changes
// minutes ago, to the new one. Until the new one is proved nothing changes. A change whose code could not be sent is in
// no other's way: the start may be repeated.
func (f *Front) StartFactor(ctx context.Context, s FactorStart) (FactorChange, error) {
	destination, err := s.destination()
	if err != nil {
		return FactorChange{}, err
	}
	err = CreateRequest{Workspace: s.Workspace, Login: s.Login, Locale: s.Locale, Client: s.Client}.validate()
	if err != nil {
		return FactorChange{}, err
	}
	if age := f.clock().Sub(s.Approved); !s.Approved.IsZero() && age > approvalFresh {
		return FactorChange{}, problem.New(http.StatusConflict, CodeNotFresh, "The last code is too long ago. Ask for a fresh one.")
	}
	row, err := f.directory.StartFactor(ctx, postgres.Change{By: s.By}, postgres.FactorStart{
		Workspace: s.Workspace, Login: s.Login, Kind: s.Kind, Destination: destination, Version: s.Version, Approved: s.Approved,
		Locale: s.Locale, Allowed: f.mayProve,
	})
	if err != nil {
		return FactorChange{}, f.translateFactor(ctx, err)
	}
	f.log.InfoContext(ctx, "change of a factor begun", "change", row.ID, "kind", string(row.Kind), "workspace", row.Workspace, "login", row.Login)
	return f.nextCode(ctx, FactorRef{Workspace: s.Workspace, Login: s.Login, Change: row.ID, By: s.By, Client: s.Client}, row)
}

// destination checks what is new and returns it as it is stored. No problem repeats it.
func (s FactorStart) destination() (string, error) {
	switch s.Kind {
	case account.FactorSMS, account.FactorNumber:
		switch {
		case s.Email != "":
			return "", invalid("email", "This kind of change takes no address.")
		case s.Phone == "" && s.Kind == account.FactorSMS: // The number that is there.
			return "", nil
		}
		number, err := phone.Parse(s.Phone)
		if err != nil {
			return "", invalid("phone", sentence(err))
		}
		return number.E164, nil
	case account.FactorMainEmail:
		if s.Phone != "" {
			return "", invalid("phone", "This kind of change takes no number.")
		}
		err := account.ValidateEmail(s.Email)
		if err != nil {
			return "", invalid("email", sentence(err))
		}
		return s.Email, nil
	case account.FactorEmail:
		switch {
		case s.Phone != "":
			return "", invalid("phone", "This kind of change takes no number.")
		case s.Email != "":
			return "", invalid("email", "This kind of change takes no address: codes go to the one that is there.")
		}
		return "", nil
	}
	return "", invalid("kind", sentence(account.ErrFactorKind))
}

// errNumber says that text messages do not go to a number.
var errNumber = errors.New("no text messages go there")

// mayProve refuses a number to which text messages may not go.
func (f *Front) mayProve(r account.Route, stopped []string) error {
	if r.Channel == account.SMS && !f.settings.MayText(account.Login{Phone: r.Recipient}, stopped) {
		return errNumber
	}
	return nil
}

// ConfirmFactor takes a change on with the code of its open challenge: from the approval to the proof, or from there to its
// effect. What was confirmed and not carried out, because a process died, is carried out by the same code again; where a
// code could not be sent, it is sent now and none is judged.
func (f *Front) ConfirmFactor(ctx context.Context, r FactorRef, code string) (FactorChange, error) {
	row, err := f.current(ctx, r)
	if err != nil {
		return FactorChange{}, err
	}
	if row.State.Pending() && row.Handle == "" {
		return f.nextCode(ctx, r, row)
	}
	if row.State != postgres.FactorApplied && !row.State.Pending() || row.Handle == "" {
		return FactorChange{}, changeOver()
	}
	again, err := f.approvedBy(ctx, row, code)
	if err != nil {
		return FactorChange{}, err
	}
	if again {
		return f.withChallenge(ctx, row)
	}
	confirmed, err := f.Confirm(ctx, row.Handle, code, factorCheckID(row.ID, purposeOf(row.State)))
	if err != nil {
		return FactorChange{}, err
	}
	if confirmed.Workspace != row.Workspace || confirmed.Login != row.Login || confirmed.Purpose != purposeOf(row.State) {
		f.log.ErrorContext(ctx, "challenge of a change of a factor is of something else", "change", row.ID, "challenge", confirmed.Challenge)
		return FactorChange{}, Unavailable()
	}
	faultpoint.Hit("auth.factor.confirmed")
	if row.State == postgres.FactorApproval {
		row, err = f.directory.ApproveFactor(ctx, postgres.Change{By: r.By}, r.row(), confirmed.At)
	} else {
		row, err = f.directory.ApplyFactor(ctx, postgres.Change{By: r.By}, r.row(), row.Handle)
	}
	if err != nil {
		return FactorChange{}, f.translateFactor(ctx, err)
	}
	faultpoint.Hit("auth.factor.written")
	switch row.State {
	case postgres.FactorProof:
		if row.Handle != "" { // Somebody else took it on at the same time.
			return f.withChallenge(ctx, row)
		}
		return f.nextCode(ctx, r, row)
	case postgres.FactorApplied:
		f.log.InfoContext(ctx, "factor changed", "change", row.ID, "kind", string(row.Kind), "workspace", row.Workspace, "login", row.Login)
		return showFactor(row), nil
	case postgres.FactorApproval, postgres.FactorCanceled, postgres.FactorExpired, postgres.FactorReverted:
	}
	return FactorChange{}, changeOver()
}

// factorCheckID names the check of a code: the same code, typed again for the same half of a change, is the same check,
// whose answer may have been lost (P7).
func factorCheckID(change string, p challenge.Purpose) string { return change + "." + string(p) }

// approvedBy reports whether a code is the one that approved a change just now, whose answer was lost. The challenge of the
// approval has ended, so that nothing is compared and no other code is charged.
func (f *Front) approvedBy(ctx context.Context, row postgres.FactorChange, code string) (bool, error) {
	if row.State != postgres.FactorProof || row.Approval == "" {
		return false, nil
	}
	_, err := f.Confirm(ctx, row.Approval, code, factorCheckID(row.ID, challenge.Approval))
	if err != nil && problem.Of(err).Status >= http.StatusInternalServerError {
		return false, err
	}
	return err == nil, nil
}

// purposeOf is what the code of a state is good for.
func purposeOf(s postgres.FactorState) challenge.Purpose { // of one that took effect it was a proof
	if s == postgres.FactorApproval {
		return challenge.Approval
	}
	return challenge.Proof
}

// current reads a change, which ends when it cannot take effect any more; that of another login is unknown.
func (f *Front) current(ctx context.Context, r FactorRef) (postgres.FactorChange, error) {
	row, err := f.directory.CurrentFactor(ctx, postgres.Change{By: r.By}, r.row())
	if err != nil {
		return row, f.translateFactor(ctx, err)
	}
	return row, nil
}

// nextCode asks for the code that a change waits for. The question is named by the change, its half and the round, so
// that a repeat of it is the same challenge.
func (f *Front) nextCode(ctx context.Context, r FactorRef, row postgres.FactorChange) (FactorChange, error) {
	if row.Round >= maxRounds {
		return showFactor(row), problem.New(http.StatusConflict, "no_more_sends", "All codes of this change were sent. Start again.")
	}
	q := Question{
		Workspace: row.Workspace, Login: row.Login, Purpose: purposeOf(row.State), About: aboutOf(row.Kind), Locale: row.Locale,
		Client: r.Client, Key: "factor." + row.ID + "." + string(row.State) + "." + strconv.Itoa(row.Round),
	}
	if q.Purpose == challenge.Proof {
		q.Route = &account.Route{Channel: row.Channel, Recipient: row.Destination}
	}
	created, err := f.Ask(ctx, q)
	if err != nil {
		return showFactor(row), err
	}
	faultpoint.Hit("auth.factor.asked")
	row, err = f.directory.AskedFactor(ctx, postgres.Change{By: r.By}, r.row(), row.State, row.Round, created.Handle)
	if err != nil {
		return FactorChange{}, f.translateFactor(ctx, err)
	}
	if !row.State.Pending() {
		return FactorChange{}, changeOver()
	}
	shown := showFactor(row)
	if row.Handle == created.Handle {
		resend := created.ResendAt
		shown.Challenge = &FactorChallenge{
			Label: created.Label, Channel: created.Channel, Recipient: created.Recipient, Routes: created.Routes,
			SupportReference: created.SupportReference, ExpiresAt: created.ExpiresAt, ResendAt: &resend,
		}
	}
	return shown, nil
}

// aboutOf is what the message says that a kind of change is.
func aboutOf(k account.FactorKind) challenge.About {
	switch k {
	case account.FactorSMS:
		return challenge.AboutSMS
	case account.FactorEmail:
		return challenge.AboutEmail
	case account.FactorNumber:
		return challenge.AboutNumber
	case account.FactorMainEmail:
		return challenge.AboutMainEmail
	}
	return ""
}

// RepeatFactor sends the code that a change waits for once more, by a route of the challenge when channel names one. Where
// the challenge has ended, or none could be sent, another code goes out.
func (f *Front) RepeatFactor(ctx context.Context, r FactorRef, channel string) (FactorChange, error) {
	row, err := f.current(ctx, r)
	switch {
	case err != nil:
		return FactorChange{}, err
	case !row.State.Pending():
		return FactorChange{}, changeOver()
	case row.Handle == "":
		return f.nextCode(ctx, r, row)
	}
	_, err = f.Repeat(ctx, row.Handle, channel)
	if err != nil {
		switch problem.Of(err).Code {
		case string(challenge.RefusedExpired), string(challenge.RefusedUsed), string(challenge.RefusedClosed):
			return f.nextCode(ctx, r, row)
		}
		return FactorChange{}, err
	}
	return f.withChallenge(ctx, row)
}

// withChallenge shows a change on its way with where its challenge stands.
func (f *Front) withChallenge(ctx context.Context, row postgres.FactorChange) (FactorChange, error) {
	shown := showFactor(row)
	if !row.State.Pending() || row.Handle == "" {
		return shown, nil
	}
	v, err := f.Look(ctx, row.Handle)
	if err != nil {
		return FactorChange{}, err
	}
	if v.State == string(challenge.Pending) {
		shown.Challenge = &FactorChallenge{
			Label: v.Label, Channel: v.Channel, Recipient: v.Recipient, Routes: v.Routes, SupportReference: v.SupportReference,
			ExpiresAt: v.ExpiresAt, ResendAt: v.ResendAt,
		}
	}
	return shown, nil
}

// CancelFactor ends a change on its way and its challenge.
func (f *Front) CancelFactor(ctx context.Context, r FactorRef) error {
	row, err := f.directory.CancelFactor(ctx, postgres.Change{By: r.By}, r.row())
	if err != nil {
		return f.translateFactor(ctx, err)
	}
	if row.State == postgres.FactorApplied || row.State == postgres.FactorReverted {
		return changeOver()
	}
	if row.Handle != "" {
		_, err = f.Withdraw(ctx, row.Handle)
		if err != nil { // Its code confirms nothing any more, whatever becomes of it.
			f.log.WarnContext(ctx, "challenge of a canceled change not withdrawn", "change", row.ID, "error", err.Error())
		}
	}
	return nil
}

// Factors lists the changes of a login, the newest first, the one on its way with its challenge.
func (f *Front) Factors(ctx context.Context, workspace, login string) ([]FactorChange, error) {
	rows, err := f.directory.Factors(ctx, workspace, login)
	if err != nil {
		return nil, f.translateFactor(ctx, err)
	}
	all := []FactorChange{}
	for _, row := range rows {
		shown, err := f.withChallenge(ctx, row)
		if err != nil {
			return nil, err
		}
		all = append(all, shown)
	}
	return all, nil
}

// showFactor writes a change as the API has it, without its challenge.
func showFactor(row postgres.FactorChange) FactorChange {
	shown := FactorChange{
		ID: row.ID, Workspace: row.Workspace, Login: row.Login, Kind: string(row.Kind), State: string(row.State), Channel: row.Channel,
		Recipient: mask(decide.Route{Route: account.Route{Channel: row.Channel, Recipient: row.Destination}}),
		CreatedAt: row.CreatedAt.UTC(), ExpiresAt: row.ExpiresAt.UTC(), Handle: row.Handle, Round: row.Round,
	}
	if !row.AppliedAt.IsZero() {
		shown.AppliedAt = utc(&row.AppliedAt)
	}
	return shown
}

// translateFactor turns an error about a change into what the caller may see.
func (f *Front) translateFactor(ctx context.Context, err error) error {
	var wait *postgres.WaitError
	if errors.As(err, &wait) {
		return tooMany(CodeTooManyRequests, "Too many changes of this login were begun today.", wait)
	}
	refuse := func(status int, code, detail string) error { return problem.New(status, code, detail) }
	switch {
	case errors.Is(err, postgres.ErrNoFactorChange):
		return refuse(http.StatusNotFound, CodeUnknownChange, "There is no such change of this login.")
	case errors.Is(err, postgres.ErrFactorPending):
		return refuse(http.StatusConflict, CodeChangePending, "Another change of this login waits for its code. Finish or cancel it first.")
	case errors.Is(err, postgres.ErrFactorOver):
		return changeOver()
	case errors.Is(err, postgres.ErrNoSession):
		return unknownSettings()
	case errors.Is(err, account.ErrNoChange):
		return refuse(http.StatusConflict, CodeNothingToChange, "Codes go there already.")
	case errors.Is(err, account.ErrNotOnSMS):
		return refuse(http.StatusConflict, CodeNothingToChange, "Codes of this login do not go to a phone. Switch to text messages instead.")
	case errors.Is(err, account.ErrNotOwner):
		return refuse(http.StatusConflict, CodeNotOwner, "Only the workspace's owner changes its main address.")
	case errors.Is(err, account.ErrNoDestination):
		return refuse(http.StatusConflict, decide.CodeNoRoute, "There is no address or number that codes could go to.")
	case errors.Is(err, postgres.ErrNumberInUse):
		return numberInUse()
	case errors.Is(err, errNumber):
		return refuse(http.StatusConflict, CodeNumberNotAllowed, "No text messages go to numbers of this country.")
	}
	return f.translate(ctx, err)
}

// numberInUse is the answer when one login too many would get a number. It does not tell whose they are.
func numberInUse() *problem.Problem {
	return problem.New(http.StatusConflict, CodeNumberInUse, fmt.Sprintf("This number serves %d logins already. Use another one.", account.MaxLoginsPerNumber))
}

// changeOver is the answer about a change that has ended.
func changeOver() *problem.Problem {
	return problem.New(http.StatusConflict, CodeChangeOver, "This change has ended, or its time has passed. Start again.")
}
