// Package waive lets people go on without a code where auth has given leave: because codes are not required of them yet, or
// because they may skip this one. Leave is a MAC under a key that is not in the database, with an end; no row and no message
// counts without it.
//
// Every way past the second step ends in a signed assertion that says so: `amr` is empty, and `reason` tells why (DESIGN 8).
package waive

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/assertion"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/keyring"
	"doorcode/pkg/otp"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/verifier/internal/lookup"
)

// The codes of what is refused here.
const (
	CodeNotSkippable = "not_skippable" // the code of this challenge is required
	CodeNotWaived    = "not_waived"    // there is no leave, or the login is not as it was
	CodeTaken        = "idempotency_mismatch"
)

// tries is how often a statement that waited too long for a lock is put again.
const tries = 4

// store is what the package needs of Postgres.
type store interface {
	Waive(ctx context.Context, w event.WaiveRequest) (postgres.Waived, bool, error)
	Skip(ctx context.Context, id string, leave event.Waiver) (bool, error)
	Standing(ctx context.Context, id string) (postgres.Standing, error)
}

// finder finds the challenge of a handle.
type finder interface {
	Find(ctx context.Context, r event.HandleRequest) (lookup.Found, error)
}

// Config is what a Waiver works with; every part is required.
type Config struct {
	Store   store
	Finder  finder
	Digests *keyring.Ring // under which auth gives leave
	Keys    *assertion.Keys
	Issuer  string
	Log     *slog.Logger
	// Ended is told the first channel, empty for none, and the state of each challenge that was waived, after the commit.
	Ended func(channel string, state challenge.State)
	// Changed is called after each commit that wrote an outbox row, with the challenge that it changed.
	Changed func(challenges ...string)
}

// Waiver answers the verbs waive and skip. It is safe for concurrent use.
type Waiver struct {
	cfg Config
}

// New returns a Waiver, or an error when a part is missing.
func New(cfg Config) (*Waiver, error) {
	if cfg.Store == nil || cfg.Finder == nil || cfg.Digests == nil || cfg.Keys == nil || cfg.Issuer == "" || cfg.Log == nil ||
		cfg.Ended == nil || cfg.Changed == nil {
		return nil, errors.New("waive: a part of the configuration is missing")
	}
	return &Waiver{cfg: cfg}, nil
}

// Waive records a sign-in that needs no code and answers with its assertion: the same text for a repeat.
func (w *Waiver) Waive(ctx context.Context, r event.WaiveRequest) (event.CheckReply, error) {
	binding := otp.Binding{
		Challenge: r.Challenge, Workspace: r.Workspace, Login: r.Login, LoginVersion: r.LoginVersion, FrontEnd: r.FrontEnd,
		Purpose: string(challenge.SignIn),
	}
	if account.ValidateID(r.Workspace) != nil || account.ValidateID(r.Login) != nil || r.CreatedAt.IsZero() ||
		len(r.Fingerprint) == 0 || r.Waiver.Why == "" || r.Waiver.Skips != 0 || !w.given(binding, r.Waiver) {
		return event.CheckReply{}, notWaived()
	}
	waived, done, err := retried(func() (postgres.Waived, bool, error) { return w.cfg.Store.Waive(ctx, r) })
	switch {
	case errors.Is(err, postgres.ErrTaken):
		return event.CheckReply{}, problem.New(http.StatusUnprocessableEntity, CodeTaken,
			"This Idempotency-Key was used for another request.")
	case err != nil:
		return event.CheckReply{}, err
	case !done, waived.Now.Sub(waived.At) >= assertion.Life: // Its assertion would be good for nothing.
		return event.CheckReply{}, notWaived()
	}
	faultpoint.Hit("waive.committed")
	if waived.Made {
		w.ended("", r.Challenge)
	}
	return w.sign(binding, waived.Why, waived.At)
}

// Skip ends a challenge whose code may be skipped, because the person asks for it, and answers with its assertion: for a
// repeat with the same text, as long as that is good.
func (w *Waiver) Skip(ctx context.Context, r event.HandleRequest) (event.CheckReply, error) {
	found, err := w.cfg.Finder.Find(ctx, r)
	if err != nil {
		return event.CheckReply{}, err
	}
	f := found.Facts
	binding := otp.Binding{
		Challenge: f.ID, Workspace: f.Workspace, Login: f.Login, LoginVersion: f.LoginVersion, FrontEnd: f.FrontEnd, Purpose: f.Purpose,
	}
	if f.Skip == nil || f.Skip.Skips < 1 || len(f.Routes) == 0 || f.Purpose != string(challenge.SignIn) || !w.given(binding, *f.Skip) {
		return event.CheckReply{}, notSkippable()
	}
	if found.Unrecorded {
		return event.CheckReply{}, refused(challenge.RefusedExpired, "The code ran out. Sign in again.")
	}
	_, done, err := retried(func() (struct{}, bool, error) {
		done, err := w.cfg.Store.Skip(ctx, f.ID, *f.Skip)
		return struct{}{}, done, err
	})
	if err != nil {
		return event.CheckReply{}, err
	}
	if done {
		faultpoint.Hit("skip.committed")
		w.ended(f.Routes[0].Channel, f.ID)
	}
	s, err := w.cfg.Store.Standing(ctx, f.ID)
	if err != nil {
		return event.CheckReply{}, err
	}
	return w.answer(binding, f.Skip.Why, s)
}

// retried puts a statement again when somebody held its rows for too long.
func retried[T any](put func() (T, bool, error)) (T, bool, error) {
	for try := 1; ; try++ {
		done, ok, err := put()
		if !postgres.IsContended(err) || try == tries {
			return done, ok, err
		}
	}
}

// answer is a pure function of where the challenge stands after the skip.
func (w *Waiver) answer(b otp.Binding, why string, s postgres.Standing) (event.CheckReply, error) {
	switch {
	case s.State == challenge.Waived && s.Now.Sub(s.EndedAt) < assertion.Life:
		return w.sign(b, why, s.EndedAt)
	case s.State == challenge.Waived, s.State == challenge.Approved:
		return event.CheckReply{}, refused(challenge.RefusedUsed, "This sign-in has ended. Sign in again.")
	case s.State == challenge.Expired, s.State == challenge.Pending && !s.Now.Before(s.ExpiresAt):
		return event.CheckReply{}, refused(challenge.RefusedExpired, "The code ran out. Sign in again.")
	case s.State == challenge.Pending && s.LoginOpen:
		return event.CheckReply{}, notSkippable() // the skips were used up meanwhile, or the leave has ended
	}
	return event.CheckReply{}, refused(challenge.RefusedClosed, "This sign-in was closed. Sign in again.")
}

// given reports whether auth gave this leave, and logs one that it did not give: somebody has written it.
func (w *Waiver) given(b otp.Binding, leave event.Waiver) bool {
	given := otp.Waiver{Binding: b, Why: leave.Why, Skips: leave.Skips, Until: leave.Until}
	if given.Sealed(w.cfg.Digests, leave.Key, leave.MAC) {
		return true
	}
	w.cfg.Log.Error("leave to go on without a code is not as it was given", "challenge", b.Challenge, "workspace", b.Workspace, "login", b.Login,
		"front_end", b.FrontEnd)
	return false
}

// ended tells others of a challenge that was waived.
func (w *Waiver) ended(channel, id string) {
	w.cfg.Ended(channel, challenge.Waived)
	w.cfg.Changed(id)
}

// sign makes the assertion of a waiver.
func (w *Waiver) sign(b otp.Binding, why string, at time.Time) (event.CheckReply, error) {
	signed, err := w.cfg.Keys.Sign(assertion.Claims{
		Issuer: w.cfg.Issuer, FrontEnd: b.FrontEnd, Login: b.Login, Workspace: b.Workspace, Challenge: b.Challenge,
		Purpose: challenge.SignIn, Waived: why, At: at,
	})
	return event.CheckReply{Assertion: signed}, err
}

func notWaived() error {
	return problem.New(http.StatusConflict, CodeNotWaived, "This sign-in needs its code. Ask for a challenge again.")
}

func notSkippable() error {
	return problem.New(http.StatusConflict, CodeNotSkippable, "The code of this sign-in cannot be skipped.")
}

// refused says that the challenge has ended.
func refused(r challenge.Refusal, detail string) error {
	return problem.New(http.StatusUnprocessableEntity, string(r), detail)
}
