package front

import (
	"context"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/frontend"
	"doorcode/pkg/problem"
)

// FactorRequest is the body of a change of a factor.
type FactorRequest struct {
	// Kind is sms, email, number or main_email.
	Kind string `json:"kind"`
	// Phone is the new number of sms and number, in international form; sms takes the one that is there without it.
	Phone string `json:"phone"`
	// Email is the new address of main_email.
	Email string `json:"email"`
	// Locale is that of the page; without one the login's own counts.
	Locale string  `json:"locale"`
	Client *Client `json:"client"`
}

// FactorConfirmation is the body of a confirm.
type FactorConfirmation struct {
	Code   string  `json:"code"`
	Client *Client `json:"client"`
}

// FactorList is the answer to a read of the changes of a login.
type FactorList struct {
	Changes []FactorChange `json:"changes"`
}

// PostFactor is StartFactor for a front-end that keeps the directory.
func (f *Front) PostFactor(ctx context.Context, call Call, workspace, login string, r FactorRequest) (FactorChange, error) {
	fe, err := f.keeperOf(ctx, call, workspace, login)
	if err != nil {
		return FactorChange{}, err
	}
	return f.StartFactor(ctx, FactorStart{
		Workspace: workspace, Login: login, Kind: account.FactorKind(r.Kind), Phone: r.Phone, Email: r.Email, Locale: r.Locale,
		Client: r.Client, By: fe.ID,
	})
}

// GetFactors is Factors for a front-end that keeps the directory.
func (f *Front) GetFactors(ctx context.Context, call Call, workspace, login string) (FactorList, error) {
	_, err := f.keeperOf(ctx, call, workspace, login)
	if err != nil {
		return FactorList{}, err
	}
	_, _, err = f.directory.Login(ctx, workspace, login)
	if err != nil {
		return FactorList{}, f.translate(ctx, err)
	}
	all, err := f.Factors(ctx, workspace, login)
	return FactorList{Changes: all}, err
}

// PostConfirmation is ConfirmFactor for a front-end that keeps the directory.
func (f *Front) PostConfirmation(ctx context.Context, call Call, ref FactorRef, r FactorConfirmation) (FactorChange, error) {
	fe, err := f.keeperOfChange(ctx, call, &ref, r.Client)
	if err != nil {
		return FactorChange{}, err
	}
	ref.By = fe.ID
	return f.ConfirmFactor(ctx, ref, r.Code)
}

// PostDelivery is RepeatFactor for a front-end that keeps the directory.
func (f *Front) PostDelivery(ctx context.Context, call Call, ref FactorRef, r ResendRequest) (FactorChange, error) {
	fe, err := f.keeperOfChange(ctx, call, &ref, nil)
	if err != nil {
		return FactorChange{}, err
	}
	ref.By = fe.ID
	return f.RepeatFactor(ctx, ref, r.Channel)
}

// DeleteFactor is CancelFactor for a front-end that keeps the directory.
func (f *Front) DeleteFactor(ctx context.Context, call Call, ref FactorRef) error {
	fe, err := f.keeperOfChange(ctx, call, &ref, nil)
	if err != nil {
		return err
	}
	ref.By = fe.ID
	return f.CancelFactor(ctx, ref)
}

// keeperOfChange is keeperOf for a change. An id that no change can have is unknown, and nobody is asked about it.
func (f *Front) keeperOfChange(ctx context.Context, call Call, ref *FactorRef, c *Client) (frontend.FrontEnd, error) {
	fe, err := f.keeperOf(ctx, call, ref.Workspace, ref.Login)
	if err != nil {
		return fe, err
	}
	if len(ref.Change) != challenge.IDSize*4/3+1 || account.ValidateID(ref.Change) != nil {
		return fe, problem.New(404, CodeUnknownChange, "There is no such change of this login.")
	}
	ref.Client = c
	if c != nil {
		return fe, c.validate()
	}
	return fe, nil
}
