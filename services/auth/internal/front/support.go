package front

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/postgres"
)

// maxReason is the longest reason of support in characters.
const maxReason = 200

// SupportRequest says who of support acts, and why.
type SupportRequest struct {
	Operator string `json:"operator"`
	Reason   string `json:"reason"`
}

// SupportResendRequest is the body of a resend by support; without a channel the first route is repeated.
type SupportResendRequest struct {
	SupportRequest
	Channel string `json:"channel"`
}

// validate returns a problem that names the field, or nil.
func (r SupportRequest) validate() error {
	if account.ValidateID(r.Operator) != nil {
		return invalid("operator", sentence(account.ErrID))
	}
	odd := strings.ContainsFunc(r.Reason, func(c rune) bool { return !unicode.IsPrint(c) })
	if strings.TrimSpace(r.Reason) == "" || utf8.RuneCountInString(r.Reason) > maxReason || odd {
		return invalid("reason", "A reason has 1 to 200 printable characters.")
	}
	return nil
}

// SupportResend orders one more message of the same code, by a route of the challenge, in the name of somebody of support.
// Who asked and why is on record before. Nothing of the answer is a code or a whole address, and no route but those of
// create can be named (SEC-48).
func (f *Front) SupportResend(ctx context.Context, call Call, id string, r SupportResendRequest) (Ordered, error) {
	fe, err := f.authenticate(ctx, call)
	if err != nil {
		return Ordered{}, err
	}
	_, err = delivery.ParseChannel(r.Channel)
	if err != nil && r.Channel != "" {
		return Ordered{}, invalid("channel", "The value is no channel: email or sms.")
	}
	_, err = f.requestID(&call)
	if err != nil {
		return Ordered{}, err
	}
	s, err := f.support(ctx, fe, id, r.SupportRequest, postgres.SupportOrder{Kind: postgres.SupportResend, Channel: r.Channel})
	if err != nil {
		return Ordered{}, err
	}
	h := challenge.Handle{Challenge: s.Challenge, Stream: s.Stream, Sequence: s.Sequence}
	handle, err := h.Encode(f.keys.Handle)
	if err != nil {
		return Ordered{}, unknownChallenge()
	}
	return f.order(ctx, h, handle, s.FrontEnd, ResendRequest{Channel: r.Channel}, call.IdempotencyKey)
}

// SupportUnlock ends the lock of a challenge's login in the name of somebody of support. Who asked and why is on record
// before; a login that is not locked stays as it is, and its budget of hour and day in any case.
func (f *Front) SupportUnlock(ctx context.Context, call Call, id string, r SupportRequest) error {
	fe, err := f.authenticate(ctx, call)
	if err != nil {
		return err
	}
	s, err := f.support(ctx, fe, id, r, postgres.SupportOrder{Kind: postgres.SupportUnlock})
	if err != nil {
		return err
	}
	return f.ask(ctx, event.VerbUnlock, event.UnlockRequest{Workspace: s.Workspace, Login: s.Login, By: r.Operator}, nil, 1)
}

// support finds the challenge that support may act upon and puts on record what is asked for. One that is not recorded,
// and one outside the key's scope or workspaces, are one and the same answer.
func (f *Front) support(ctx context.Context, fe frontend.FrontEnd, id string, r SupportRequest, o postgres.SupportOrder) (postgres.Supported, error) {
	if !fe.Has(frontend.Support) {
		return postgres.Supported{}, unknownChallenge()
	}
	err := r.validate()
	if err != nil {
		return postgres.Supported{}, err
	}
	s, err := f.db.Supported(ctx, id)
	if errors.Is(err, postgres.ErrNoChallenge) || err == nil && !fe.May(frontend.Support, s.Workspace) {
		return postgres.Supported{}, unknownChallenge()
	}
	if err != nil {
		return postgres.Supported{}, f.translate(ctx, err)
	}
	o.Operator, o.Reason, o.FrontEnd = r.Operator, strings.TrimSpace(r.Reason), fe.ID
	err = f.db.RecordSupport(ctx, s, o)
	if err != nil {
		return postgres.Supported{}, f.translate(ctx, err)
	}
	return s, nil
}
