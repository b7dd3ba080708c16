package front

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/assertion"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/frontend"
	"doorcode/pkg/postgres"
	"doorcode/services/auth/internal/decide"
)

// Question asks for a code that is no sign-in: an approval on the present routes of a login, or a proof of one address or
// number that is no route yet. It is doorcode's own: no front-end can ask for it, see it or take it for a sign-in.
type Question struct {
	Workspace string
	// Login is a login of the workspace. A proof may name one that is none yet (account.NewPseudo), which has a budget.
	Login   string
	Purpose challenge.Purpose // approval, proof or practice
	// Route is where a proof goes, and nil for the others, which go to the routes of the login. Its recipient is valid: an address, or a number in E.164.
	Route *account.Route
	// About stands in the message; it is one of the purpose's.
	About challenge.About
	// Locale is that of the page; without one the login's own counts.
	Locale string
	Client *Client
	// Key names the question: the same one within ten minutes is answered with the same challenge. Empty: one is drawn.
	Key string
}

// Confirmed is what a right code of an own challenge confirmed.
type Confirmed struct {
	Challenge string
	Workspace string
	Login     string
	Purpose   challenge.Purpose
	At        time.Time // of the decision, to the second
}

// Ask issues an own challenge. It takes the limits, and is refused, as a sign-in of the same login is; a proof by text
// message is refused with no_route where text messages may not go. Its answers are those of Create.
func (f *Front) Ask(ctx context.Context, q Question) (Created, error) {
	created, repeated, err := f.askCode(ctx, q)
	f.countCreate(created.Decision, repeated, err)
	return created, err
}

// askCode is Ask without the count.
func (f *Front) askCode(ctx context.Context, q Question) (created Created, repeated bool, err error) {
	if !f.bucket.Allow() {
		return Created{}, false, overloaded()
	}
	d := draft{
		call:    Call{Key: frontend.Key{ID: frontend.Own}, IdempotencyKey: q.Key},
		request: CreateRequest{Workspace: q.Workspace, Login: q.Login, Locale: q.Locale, Client: q.Client}, question: &q,
	}
	d.id, err = f.requestID(&d.call)
	if err == nil {
		err = q.validate(d.request)
	}
	if err != nil {
		return Created{}, false, err
	}
	d.facts, err = f.ownFacts(ctx, q)
	if err != nil {
		return Created{}, false, err
	}
	faultpoint.Hit("auth.create.read")
	d.decision, err = f.decideOwn(d.facts, q)
	if err != nil {
		return Created{}, false, err
	}
	return f.send(ctx, d)
}

// validate refuses a question that nobody could ask for.
func (q Question) validate(r CreateRequest) error {
	err := r.validate()
	if err != nil {
		return err
	}
	if q.Purpose == challenge.SignIn || q.Purpose.Check(q.About) != nil || (q.Purpose == challenge.Proof) != (q.Route != nil) {
		return errors.New("ask for a code: the question has no purpose of its own, or no place to go")
	}
	return nil
}

// ownFacts reads what an own challenge is decided by.
func (f *Front) ownFacts(ctx context.Context, q Question) (postgres.CreateFacts, error) {
	facts, err := f.directory.OwnFacts(ctx, q.Workspace, q.Login)
	switch {
	case err != nil:
		return facts, f.translate(ctx, err)
	case facts.Workspace == nil:
		return facts, decide.UnknownWorkspace()
	case facts.Broken != "":
		return facts, f.alarm(ctx, facts.Broken)
	case facts.Login != nil:
		return facts, nil
	case q.Purpose != challenge.Proof || !account.IsPseudo(q.Login) || facts.Budget == nil:
		return facts, decide.UnknownLogin()
	}
	facts.Login = &account.Login{Workspace: q.Workspace, ID: q.Login, Role: account.Member}
	return facts, nil
}

// decideOwn decides about an own challenge.
func (f *Front) decideOwn(facts postgres.CreateFacts, q Question) (decide.Decision, error) {
	about := decide.Facts{
		Now: facts.Now, Workspace: facts.Workspace, Login: facts.Login,
		Failures: facts.Budget.Failures, Locked: facts.Budget.Locked, Stopped: facts.StoppedCountries,
	}
	if q.Route == nil {
		return decide.Decide(about, f.settings.Settings)
	}
	return decide.Prove(about, *q.Route, f.settings.Settings)
}

// ownFingerprint is what a question's fingerprint covers: whoever asks it once more may do so from elsewhere.
func (q Question) ownFingerprint() ([][]byte, error) {
	q.Client = nil
	canonical, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("write the canonical question: %w", err)
	}
	return [][]byte{[]byte(frontend.Own), canonical}, nil
}

// Confirm has a code of an own challenge judged and believes nothing but the verifier's signature: under one of its keys,
// for doorcode itself and for that challenge. checkID names the check; a repeat with it gets the same answer for a
// minute. A code that is not right is refused as Check refuses it.
func (f *Front) Confirm(ctx context.Context, handle, code, checkID string) (Confirmed, error) {
	h, err := challenge.DecodeHandle(f.keys.Handle, handle)
	if err != nil {
		return Confirmed{}, unknownChallenge()
	}
	approved, err := f.judge(ctx, h, handle, frontend.Own, CheckRequest{Code: code, CheckID: checkID})
	if err != nil {
		return Confirmed{}, err
	}
	claims, err := f.keys.Assertion.Verify(approved.Assertion, assertion.Expected{
		FrontEnd: frontend.Own, Challenge: h.Challenge, Now: f.clock(),
	})
	if err != nil || claims.Purpose == challenge.SignIn {
		f.log.ErrorContext(ctx, "assertion of an own challenge is not valid", "challenge", h.Challenge)
		return Confirmed{}, Unavailable()
	}
	return Confirmed{
		Challenge: claims.Challenge, Workspace: claims.Workspace, Login: claims.Login, Purpose: claims.Purpose, At: claims.At,
	}, nil
}

// Repeat orders one more message of an own challenge's code, on its first route unless a channel names another.
func (f *Front) Repeat(ctx context.Context, handle, channel string) (Ordered, error) {
	h, err := challenge.DecodeHandle(f.keys.Handle, handle)
	if err != nil {
		return Ordered{}, unknownChallenge()
	}
	return f.order(ctx, h, handle, frontend.Own, ResendRequest{Channel: channel}, rand.Text())
}

// Look tells where an own challenge stands.
func (f *Front) Look(ctx context.Context, handle string) (View, error) {
	return f.viewOwn(ctx, handle, event.VerbState)
}

// Withdraw ends an own challenge.
func (f *Front) Withdraw(ctx context.Context, handle string) (View, error) {
	return f.viewOwn(ctx, handle, event.VerbCancel)
}

// viewOwn asks one of the verbs that are answered with a state.
func (f *Front) viewOwn(ctx context.Context, handle, verb string) (View, error) {
	_, err := challenge.DecodeHandle(f.keys.Handle, handle)
	if err != nil {
		return View{}, unknownChallenge()
	}
	return f.viewOf(ctx, handle, frontend.Own, verb)
}
