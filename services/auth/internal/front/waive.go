package front

import (
	"context"
	"encoding/base64"
	"errors"
	"math"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/limit"
	"doorcode/pkg/otp"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// Waived is the answer to a skip: the way on without the code.
type Waived struct {
	Outcome   string `json:"outcome"` // always waived
	Assertion string `json:"assertion"`
}

// Skip lets a person go on without the code of a challenge that may be skipped. The verifier counts the skips and signs the
// assertion, which says that nothing was proved beside the password.
func (f *Front) Skip(ctx context.Context, call Call, handle string) (Waived, error) {
	_, fe, err := f.admit(ctx, call, handle)
	if err != nil {
		return Waived{}, err
	}
	var reply event.CheckReply
	err = f.ask(ctx, event.VerbSkip, event.HandleRequest{Handle: handle, FrontEnd: fe.ID}, &reply, checkTries)
	if err != nil {
		return Waived{}, err
	}
	return Waived{Outcome: string(challenge.Waived), Assertion: reply.Assertion}, nil
}

// needs says whether a sign-in needs its code already. What is not known is enforced: a row of the roll-out that we did not
// write raises the alarm and asks for the code.
func (f *Front) needs(ctx context.Context, facts postgres.CreateFacts, r CreateRequest) (rollout.Decision, error) {
	required := rollout.Decision{Kind: rollout.Required, Why: rollout.WhyEnforced}
	if !facts.Staged {
		return required, nil
	}
	var browser []byte
	if r.Client != nil {
		browser = f.browser(r.Workspace, r.Login, r.Client.BrowserID)
	}
	known, err := f.directory.RolloutFacts(ctx, r.Workspace, r.Login, browser)
	var broken *postgres.IntegrityError
	switch {
	case errors.As(err, &broken):
		f.Alarm(ctx, broken.Table)
		return required, nil
	case err != nil:
		return required, f.translate(ctx, err)
	}
	return rollout.Decide(known), nil
}

// waiverLife is how long leave to go on without any code lasts: as long as the request may take.
const waiverLife = time.Minute

// waive has the verifier record a sign-in that needs no code, and answers with its assertion. No code is drawn, nothing is
// sent, and the one limit is that of creates per client address. Its id and its support reference follow from the request's
// name, so that a repeat is the same sign-in, as long as its assertion is good.
func (f *Front) waive(ctx context.Context, d draft) (Created, error) {
	_, sum := f.keys.Idempotency.MAC("doorcode waived v1", []byte(d.id))
	id := base64.RawURLEncoding.EncodeToString(sum[:challenge.IDSize])
	err := f.takeClient(ctx, d, id)
	if err != nil {
		return Created{}, err
	}
	handle, err := challenge.Handle{Challenge: id}.Encode(f.keys.Handle) // Its event is in no stream.
	if err != nil {
		return Created{}, err
	}
	q := event.WaiveRequest{
		Challenge: id, Workspace: d.request.Workspace, Login: d.request.Login, LoginVersion: d.facts.Budget.Version,
		FrontEnd: d.facts.FrontEnd.ID, SupportReference: challenge.ReferenceOf(sum[challenge.IDSize:]), CreatedAt: d.facts.Now,
	}
	fields, err := d.fingerprint()
	if err != nil {
		return Created{}, err
	}
	_, q.Fingerprint = f.keys.Idempotency.MAC(fingerprintLabel, fields...)
	q.Network, q.Agent, q.Browser = f.visitor(d.request)
	q.Waiver = *f.leave(d, id, q.FrontEnd, d.facts.Now.Add(waiverLife))
	var reply event.CheckReply
	err = f.ask(ctx, event.VerbWaive, q, &reply, checkTries)
	if err != nil {
		return Created{}, err
	}
	f.log.InfoContext(ctx, "sign-in waived", "challenge", id, "workspace", q.Workspace, "login", q.Login, "front_end", q.FrontEnd,
		"why", q.Waiver.Why)
	return Created{
		Decision: string(rollout.NotRequired), Handle: handle, SupportReference: challenge.ShowReference(q.SupportReference),
		Reason: q.Waiver.Why, Assertion: reply.Assertion, EnforceAt: q.Waiver.EnforceAt,
	}, nil
}

// takeClient takes the limit of the client address, if the front-end said one. The live place that goes with it is over at
// once: nothing waits for a code.
func (f *Front) takeClient(ctx context.Context, d draft, id string) error {
	address, known := d.request.address()
	if !known {
		return nil
	}
	answer, err := f.db.TakeCreate(ctx, postgres.CreateTake{
		Workspace: d.request.Workspace, Login: d.request.Login,
		Create: limit.Create{
			Challenge: id, ExpiresAt: d.facts.Now, Entry: limit.Entry(d.id), MaxLive: math.MaxInt,
			Wants: []limit.Want{{
				Dimension: limit.Client, Key: limit.ClientKey(f.keys.Address, address), Windows: limit.PerMinute(f.settings.CreatesPerClient),
			}},
		},
	})
	if err != nil {
		return f.translate(ctx, err)
	}
	if answer.Refused != "" {
		return limited(answer.Answer)
	}
	return nil
}

// leave is that to go on without the code of a challenge until it expires, or nil when it is required. It never outlasts the
// day on which codes become required.
func (f *Front) leave(d draft, id, frontEnd string, expires time.Time) *event.Waiver {
	if d.needs.Kind != rollout.NotRequired && d.needs.Kind != rollout.Skippable {
		return nil
	}
	w := otp.Waiver{
		Binding: otp.Binding{
			Challenge: id, Workspace: d.request.Workspace, Login: d.request.Login, LoginVersion: d.facts.Budget.Version,
			FrontEnd: frontEnd, Purpose: string(challenge.SignIn),
		},
		Why: string(d.needs.Why), Skips: d.needs.Skips, Until: expires.UTC().Truncate(time.Microsecond),
	}
	if e := d.needs.EnforceAt; !e.IsZero() && e.Before(w.Until) {
		w.Until = e.UTC().Truncate(time.Microsecond)
	}
	key, mac := w.Seal(f.keys.Digest)
	return &event.Waiver{Why: w.Why, Skips: w.Skips, Until: w.Until, Key: key, MAC: mac, Left: d.needs.Left, EnforceAt: orNone(d.needs.EnforceAt)}
}

// visitor is what the front-end said about the browser, as far as it is kept.
func (f *Front) visitor(r CreateRequest) (network, agentName string, browser []byte) {
	address, known := r.address()
	if known {
		network = limit.Network(address)
	}
	if c := r.Client; c != nil {
		agentName, browser = agent(c.UserAgent), f.browser(r.Workspace, r.Login, c.BrowserID)
	}
	return network, agentName, browser
}

// orNone is a time in UTC, or none.
func orNone(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}

// skipOf is the skip of a challenge as a person may see it, or nil.
func skipOf(w *event.Waiver) *event.SkipOffer {
	if w == nil {
		return nil
	}
	return &event.SkipOffer{Left: w.Left, EnforceAt: utc(w.EnforceAt)}
}
