package front

import (
	"context"

	"doorcode/pkg/challenge"
	"doorcode/pkg/problem"
)

// AskApproval sends a fresh code on the present routes of the session's login; a right one approves changes for five
// minutes (SEC-36). While one is asked for already, nothing is sent again.
func (f *Front) AskApproval(ctx context.Context, s Session, about challenge.About) error {
	if s.Row.Asked != "" {
		view, err := f.Look(ctx, s.Row.Asked)
		if err == nil && view.State == string(challenge.Pending) {
			return nil
		}
		if err != nil && problem.Of(err).Code != CodeUnknownChallenge {
			return err
		}
	}
	created, err := f.Ask(ctx, Question{
		Workspace: s.Row.Workspace, Login: s.Row.Login, Purpose: challenge.Approval, About: about, Locale: s.Row.Locale, Client: s.Client(),
	})
	if err != nil {
		return err
	}
	_, err = f.directory.AskSettings(ctx, s.Row.ID, created.Handle)
	if err != nil {
		return f.settingsError(ctx, err)
	}
	return nil
}

// Asked tells where the challenge stands that asks for a fresh code in the session. Without one, or with one that has
// ended, asked is false.
func (f *Front) Asked(ctx context.Context, s Session) (view View, asked bool, err error) {
	if s.Row.Asked == "" {
		return View{}, false, nil
	}
	view, err = f.Look(ctx, s.Row.Asked)
	if err != nil && problem.Of(err).Code == CodeUnknownChallenge {
		return View{}, false, nil
	}
	return view, err == nil && view.State == string(challenge.Pending), err
}

// Approve has the code judged that the session asks for, and notes that it was right. checkID names the check. A code that
// is not right is refused as Check refuses it.
func (f *Front) Approve(ctx context.Context, s Session, code, checkID string) error {
	if s.Row.Asked == "" {
		return unknownChallenge()
	}
	c, err := f.Confirm(ctx, s.Row.Asked, code, checkID)
	if err != nil {
		return err
	}
	if c.Workspace != s.Row.Workspace || c.Login != s.Row.Login || c.Purpose != challenge.Approval { // A code for something else.
		return unknownChallenge()
	}
	_, err = f.directory.ApproveSettings(ctx, s.Row.ID, c.At)
	if err != nil {
		return f.settingsError(ctx, err)
	}
	return nil
}

// RepeatApproval sends the code that the session asks for once more, by another of its routes when channel names one.
func (f *Front) RepeatApproval(ctx context.Context, s Session, channel string) error {
	if s.Row.Asked == "" {
		return unknownChallenge()
	}
	_, err := f.Repeat(ctx, s.Row.Asked, channel)
	return err
}

// CancelApproval ends the challenge that asks for a fresh code in the session, if there is one.
func (f *Front) CancelApproval(ctx context.Context, s Session) error {
	if s.Row.Asked == "" {
		return nil
	}
	_, err := f.Withdraw(ctx, s.Row.Asked)
	if err != nil && problem.Of(err).Code != CodeUnknownChallenge {
		return err
	}
	_, err = f.directory.AskSettings(ctx, s.Row.ID, "")
	if err != nil {
		return f.settingsError(ctx, err)
	}
	return nil
}
