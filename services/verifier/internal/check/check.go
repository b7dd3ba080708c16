// Package check judges typed codes. It turns the tag of a code into the digest that must be stored, lets Postgres count
// and compare in one statement, and gives a repeat of a check the answer that it got before (DESIGN 3.4, P2, P3, P7).
//
// It sees tags and digests and never a code; no answer tells whether a refused code would have been right.
package check

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

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

// tries is how often a check that lost a race, or waited too long for a lock, is put again before it is 503.
const tries = 4

// maxCheckID bounds a check id in bytes.
const maxCheckID = 200

// store is what a check needs of Postgres.
type store interface {
	Check(ctx context.Context, c postgres.Check) (postgres.Judgement, bool, error)
	Standing(ctx context.Context, id string) (postgres.Standing, error)
	NoteRefusal(ctx context.Context, id string, r challenge.Refusal) error
}

// finder finds the challenge of a handle.
type finder interface {
	Find(ctx context.Context, r event.HandleRequest) (lookup.Found, error)
}

// Config is what a Checker works with; every part is required.
type Config struct {
	Store    store
	Finder   finder
	Digests  *keyring.Ring
	CheckIDs *keyring.Ring // keys under which check ids are kept
	Keys     *assertion.Keys
	Issuer   string
	Log      *slog.Logger
	// Ended is told the first channel and the state of each challenge that a check ended, after the commit.
	Ended func(channel string, state challenge.State)
	// Changed is called after each commit that wrote an outbox row, with the challenge that it changed.
	Changed func(challenges ...string)
}

// Checker judges codes. It is safe for concurrent use.
type Checker struct {
	cfg Config
}

// New returns a checker, or an error that names the missing part.
func New(cfg Config) (*Checker, error) {
	if cfg.Store == nil || cfg.Finder == nil || cfg.Digests == nil || cfg.CheckIDs == nil || cfg.Keys == nil ||
		cfg.Issuer == "" || cfg.Log == nil || cfg.Ended == nil || cfg.Changed == nil {
		return nil, errors.New("check: a part of the configuration is missing")
	}
	return &Checker{cfg: cfg}, nil
}

// Check judges one code. A right one is answered with an assertion; every other judgement is a *problem.Problem. Any
// other error means that Postgres or the bus could not be asked: nothing is known, and the same check id may be sent
// again without a second count.
func (c *Checker) Check(ctx context.Context, r event.CheckRequest) (event.CheckReply, error) {
	if r.CheckID == "" || len(r.CheckID) > maxCheckID || len(r.Tags) == 0 {
		return event.CheckReply{}, problem.New(http.StatusBadRequest, problem.CodeInvalidRequest, "A check needs an id and a tag.")
	}
	found, err := c.cfg.Finder.Find(ctx, r.HandleRequest)
	if err != nil {
		return event.CheckReply{}, err
	}
	if found.Unrecorded {
		return event.CheckReply{}, refusalProblem(explanation{refusal: challenge.RefusedExpired})
	}
	faultpoint.Hit("check.found")
	facts := found.Facts
	if len(facts.Routes) == 0 { // A sign-in that needed no code has none.
		return event.CheckReply{}, refusalProblem(explanation{refusal: challenge.RefusedClosed})
	}
	question, err := c.question(facts, r)
	if err != nil {
		return event.CheckReply{}, err
	}
	for range tries {
		reply, done, err := c.judge(ctx, facts, question)
		if err != nil || done {
			return reply, err
		}
	}
	return event.CheckReply{}, unavailable()
}

// question turns a request into what Postgres is asked. It fails as unavailable when a key is missing: a half rolled-out
// rotation must not count as a wrong code.
func (c *Checker) question(f postgres.Facts, r event.CheckRequest) (postgres.Check, error) {
	tag := r.Tags[f.TagKey]
	if len(tag) == 0 {
		c.cfg.Log.Error("tag key of a challenge is missing in auth", "key_id", f.TagKey, "challenge", f.ID)
		return postgres.Check{}, unavailable()
	}
	digest, err := otp.DigestWith(c.cfg.Digests, f.DigestKey, otp.Binding{
		Challenge: f.ID, Workspace: f.Workspace, Login: f.Login, LoginVersion: f.LoginVersion,
		FrontEnd: f.FrontEnd, Purpose: f.Purpose,
	}, tag)
	if err != nil {
		c.cfg.Log.Error("digest key of a challenge is missing", "key_id", f.DigestKey, "challenge", f.ID, "error", err)
		return postgres.Check{}, unavailable()
	}
	return postgres.Check{
		Challenge: f.ID, Workspace: f.Workspace, Login: f.Login, MACs: c.macs(r.CheckID, tag), Digest: digest,
	}, nil
}

// macs returns the names of a check under every check-id key, the active one first.
func (c *Checker) macs(checkID string, tag []byte) [][]byte {
	ring := c.cfg.CheckIDs
	active, sum := ring.MAC("doorcode check v1", []byte(checkID), tag)
	macs := [][]byte{sum}
	for _, id := range ring.IDs() {
		older, err := ring.MACWith(id, "doorcode check v1", []byte(checkID), tag)
		if err == nil && id != active {
			macs = append(macs, older)
		}
	}
	return macs
}

// judge asks Postgres once. false without an error means that the check lost a race and may be put again: a check that
// was counted all the same is known by its name.
func (c *Checker) judge(ctx context.Context, f postgres.Facts, q postgres.Check) (event.CheckReply, bool, error) {
	j, counted, err := c.cfg.Store.Check(ctx, q)
	if postgres.IsContended(err) {
		return event.CheckReply{}, false, nil
	}
	if err != nil {
		return event.CheckReply{}, false, err
	}
	if counted {
		faultpoint.Hit("check.committed")
		reply, err := c.answer(f, j)
		return reply, true, err
	}
	s, err := c.cfg.Store.Standing(ctx, q.Challenge)
	if err != nil {
		return event.CheckReply{}, false, fmt.Errorf("explain refusal: %w", err)
	}
	e := explain(s, q.MACs)
	switch e.kind {
	case again:
		return event.CheckReply{}, false, nil
	case repeated:
		reply, err := c.approve(f, s.EndedAt)
		return reply, true, err
	case refused:
	}
	if e.refusal != challenge.RefusedWrong && !slices.Contains(s.Refused, string(e.refusal)) {
		err = c.cfg.Store.NoteRefusal(ctx, q.Challenge, e.refusal)
		if err != nil {
			return event.CheckReply{}, false, err
		}
	}
	return event.CheckReply{}, true, refusalProblem(e)
}

// answer answers a check that was counted just now.
func (c *Checker) answer(f postgres.Facts, j postgres.Judgement) (event.CheckReply, error) {
	c.cfg.Changed(f.ID)
	if j.State != challenge.Pending {
		c.cfg.Ended(f.Routes[0].Channel, j.State)
	}
	if j.Locked {
		c.cfg.Log.Warn("login locked", "workspace", f.Workspace, "login", f.Login, "challenge", f.ID)
	}
	if j.Approved {
		return c.approve(f, j.At)
	}
	return event.CheckReply{}, refusalProblem(explanation{refusal: challenge.RefusedWrong, left: j.ChecksLeft})
}

// approve signs the assertion of a challenge that was approved at that time: the same text however often.
func (c *Checker) approve(f postgres.Facts, at time.Time) (event.CheckReply, error) {
	signed, err := c.cfg.Keys.Sign(assertion.Claims{
		Issuer: c.cfg.Issuer, FrontEnd: f.FrontEnd, Login: f.Login, Workspace: f.Workspace, Challenge: f.ID,
		Channel: f.Routes[0].Channel, Purpose: challenge.Purpose(f.Purpose), At: at,
	})
	if err != nil {
		return event.CheckReply{}, err
	}
	return event.CheckReply{Assertion: signed}, nil
}
