package front

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/bus"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/frontend"
	"doorcode/pkg/limit"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/pkg/rollout"
	"doorcode/services/auth/internal/decide"
	"doorcode/services/auth/internal/ticket"
)

// Created is the answer to a create: a pure function of the stored event and its place in the stream, or, when no code is
// required, of what the verifier has recorded.
type Created struct {
	Decision         string               `json:"decision"` // a rollout.Kind
	Handle           string               `json:"handle"`
	SupportReference string               `json:"support_reference"`
	Label            string               `json:"label,omitempty"`
	Channel          string               `json:"channel,omitempty"`
	Recipient        string               `json:"recipient,omitempty"` // masked
	Routes           []event.OfferedRoute `json:"routes,omitzero"`     // the others that a resend may take
	ExpiresAt        time.Time            `json:"expires_at,omitzero"`
	ResendAt         time.Time            `json:"resend_at,omitzero"`
	PromptURL        string               `json:"prompt_url,omitempty"` // of the hosted page, with a return_url
	// Skip is there when the code may be skipped.
	Skip *event.SkipOffer `json:"skip,omitempty"`
	// Reason, Assertion and EnforceAt are there when no code is required: why, the way on, and until when, if that is known.
	Reason    string     `json:"reason,omitempty"`
	Assertion string     `json:"assertion,omitempty"`
	EnforceAt *time.Time `json:"enforce_at,omitempty"`
}

// Create issues a challenge (DESIGN 3.1). The same idempotency key with the same body gets the same answer for ten
// minutes, and a 422 with another body.
func (f *Front) Create(ctx context.Context, call Call, r CreateRequest) (Created, error) {
	created, repeated, err := f.create(ctx, call, r)
	f.countCreate(created.Decision, repeated, err)
	return created, err
}

// countCreate counts what a create was answered.
func (f *Front) countCreate(decision string, repeated bool, err error) {
	answer := decision
	switch {
	case err != nil:
		answer = problem.Of(err).Code
	case repeated:
		answer = answerRepeated
	}
	f.creates.WithLabelValues(answer).Inc()
}

// create is Create without the count. repeated says that the challenge was there.
func (f *Front) create(ctx context.Context, call Call, r CreateRequest) (created Created, repeated bool, err error) {
	if !f.bucket.Allow() {
		return Created{}, false, overloaded()
	}
	id, err := f.requestID(&call)
	if err == nil {
		err = r.validate()
	}
	if err != nil { // Who may not ask is told nothing else.
		_, denied := f.authenticate(ctx, call)
		if denied != nil {
			return Created{}, false, denied
		}
		return Created{}, false, err
	}
	facts, err := f.facts(ctx, call, r)
	if err != nil {
		return Created{}, false, err
	}
	f.stopped.Set(float64(len(facts.StoppedCountries)))
	faultpoint.Hit("auth.create.read")
	d := draft{id: id, call: call, request: r, facts: facts}
	d.needs, err = f.needs(ctx, facts, r)
	if err != nil {
		return Created{}, false, err
	}
	state := decide.Facts{
		Now: facts.Now, Workspace: facts.Workspace, Login: facts.Login,
		Failures: facts.Budget.Failures, Locked: facts.Budget.Locked, Stopped: facts.StoppedCountries,
	}
	if d.needs.Kind == rollout.NotRequired {
		err = decide.Open(state, f.settings.Settings)
		if err == nil {
			created, err = f.waive(ctx, d)
		}
		return created, false, err
	}
	d.decision, err = decide.Decide(state, f.settings.Settings)
	if err != nil {
		return Created{}, false, err
	}
	return f.send(ctx, d)
}

// send takes the limits and publishes the challenge. Limits are taken before the publish and stay taken when it fails,
// because its fate may be unknown. While the bus is plainly away nobody pays for it.
func (f *Front) send(ctx context.Context, d draft) (created Created, repeated bool, err error) {
	err = f.bus.Connected()
	if err != nil {
		f.log.WarnContext(ctx, "bus unavailable", "error", err.Error())
		return Created{}, false, Unavailable()
	}
	err = f.take(ctx, &d)
	if err != nil {
		return Created{}, false, err
	}
	faultpoint.Hit("auth.create.taken")
	e, err := f.issue(d)
	if err != nil {
		return Created{}, false, err
	}
	return f.publish(ctx, e, d)
}

// draft is a challenge on its way.
type draft struct {
	id        string // Nats-Msg-Id
	challenge string
	call      Call
	request   CreateRequest
	facts     postgres.CreateFacts
	needs     rollout.Decision // zero for an own challenge: its code is required
	decision  decide.Decision
	labels    []string // of the live challenges at the first route's recipient
	// question is what an own challenge was asked for with, and nil for a sign-in.
	question *Question
}

// purpose is what the code is good for, and what it is about.
func (d draft) purpose() (challenge.Purpose, challenge.About) {
	if d.question == nil {
		return challenge.SignIn, ""
	}
	return d.question.Purpose, d.question.About
}

// fingerprint is what the keyed hash of the request covers.
func (d draft) fingerprint() ([][]byte, error) {
	if d.question != nil {
		return d.question.ownFingerprint()
	}
	return fingerprint(d.call, d.request)
}

// requestID names the request on the bus and in the limits: a keyed hash of front-end, operation and idempotency key.
// A request without a key gets a random one, so that our own repeats of the publish are safe.
func (f *Front) requestID(call *Call) (string, error) {
	if call.IdempotencyKey == "" {
		call.IdempotencyKey = rand.Text()
	}
	if len(call.IdempotencyKey) > maxIdempotencyKey || !visible(call.IdempotencyKey) {
		return "", invalid("Idempotency-Key", "The header is not 1 to 255 visible ASCII characters.")
	}
	_, sum := f.keys.Idempotency.MAC("doorcode idempotency v1", []byte(call.Key.ID), []byte("create"), []byte(call.IdempotencyKey))
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// facts reads all that create decides by and checks who asks. Outside a key's scopes and workspaces everything is
// unknown.
func (f *Front) facts(ctx context.Context, call Call, r CreateRequest) (postgres.CreateFacts, error) {
	facts, err := f.directory.CreateFacts(ctx, call.Key.ID, r.Workspace, r.Login)
	switch {
	case errors.Is(err, postgres.ErrNoFrontEnd):
		return facts, Unauthenticated()
	case err != nil:
		return facts, f.translate(ctx, err)
	case !facts.FrontEnd.Holds(f.keys.APIKey, call.Key):
		return facts, Unauthenticated()
	case facts.Workspace == nil, !facts.FrontEnd.May(frontend.Challenges, r.Workspace):
		return facts, decide.UnknownWorkspace()
	case facts.Broken != "":
		return facts, f.alarm(ctx, facts.Broken)
	case facts.Login == nil:
		return facts, decide.UnknownLogin()
	case r.ReturnURL != "" && !facts.FrontEnd.Returns(r.ReturnURL):
		return facts, invalid("return_url", "The value does not belong to an origin that this front-end is registered with.")
	}
	return facts, nil
}

// take takes the limits, settles the challenge's id and learns which labels are taken.
func (f *Front) take(ctx context.Context, d *draft) error {
	fresh, err := challenge.NewID()
	if err != nil {
		return err
	}
	first := d.decision.Routes[0]
	take := postgres.CreateTake{
		Workspace: d.request.Workspace, Login: d.request.Login,
		Create: limit.Create{
			Challenge: fresh, ExpiresAt: d.decision.ExpiresAt, Entry: limit.Entry(d.id), MaxLive: f.settings.LivePerLogin,
			Wants: []limit.Want{{
				Dimension: limit.Recipient, Key: f.addressHash(first), Windows: limit.PerHourAndDay(first.PerHour, first.PerDay),
			}},
		},
	}
	if first.Cap > 0 {
		take.Wants = append(take.Wants, limit.Want{
			Dimension: limit.Spend, Key: limit.SpendKey(), Windows: limit.PerDay(first.Cap),
		})
	}
	address, known := d.request.address()
	if known {
		take.Wants = append(take.Wants, limit.Want{
			Dimension: limit.Client, Key: limit.ClientKey(f.keys.Address, address),
			Windows: limit.PerMinute(f.settings.CreatesPerClient),
		})
	}
	answer, err := f.db.TakeCreate(ctx, take)
	if err != nil {
		return f.translate(ctx, err)
	}
	if answer.Refused != "" {
		f.reached.WithLabelValues(string(answer.Refused)).Inc()
		return limited(answer.Answer)
	}
	d.challenge, d.labels = answer.Challenge, answer.Labels
	return nil
}

// addressHash is the keyed hash of a route's recipient.
func (f *Front) addressHash(r decide.Route) []byte {
	return limit.RecipientKey(f.keys.Address, r.Channel, account.CompareForm(r.Recipient))
}

// publish stores the event and answers from what is stored.
func (f *Front) publish(ctx context.Context, e event.Event, d draft) (Created, bool, error) {
	subject, err := event.SubjectOf(e.Type, d.decision.Routes[0].Channel)
	if err != nil {
		return Created{}, false, err
	}
	ack, err := f.bus.Publish(ctx, bus.Message{Subject: subject, ID: e.ID, Header: e.Header(), Data: e.Data})
	if err != nil {
		f.log.WarnContext(ctx, "challenge not published", "error", err.Error())
		return Created{}, false, Unavailable()
	}
	faultpoint.Hit("auth.create.published")
	if ack.Duplicate {
		e, err = f.stored(ctx, ack)
		if err != nil {
			return Created{}, false, err
		}
	}
	var issued event.Issued
	err = e.Decode(&issued)
	if err != nil {
		return Created{}, false, err
	}
	if ack.Duplicate && !f.sameRequest(d, issued) {
		return Created{}, false, problem.New(422, CodeIdempotencyMismatch, "This Idempotency-Key was used for another request.")
	}
	created, err := f.answer(issued, ack.Sequence, d.request.ReturnURL)
	if err != nil {
		return Created{}, false, err
	}
	if !ack.Duplicate {
		f.log.InfoContext(ctx, "challenge issued", "challenge", issued.Challenge, "workspace", issued.Workspace,
			"login", issued.Login, "front_end", issued.FrontEnd, "channel", issued.Channel)
	}
	return created, ack.Duplicate, nil
}

// stored reads back the event that took an id first.
func (f *Front) stored(ctx context.Context, ack bus.Ack) (event.Event, error) {
	m, err := f.bus.Get(ctx, ack.Stream, ack.Sequence)
	if err != nil {
		f.log.WarnContext(ctx, "challenge not read back", "error", err.Error())
		return event.Event{}, Unavailable()
	}
	e, err := event.Parse(m.Subject, m.Header, m.Data)
	if err != nil {
		return event.Event{}, fmt.Errorf("read the first challenge of a key: %w", err)
	}
	return e, nil
}

// fingerprint is a keyed hash of the request as it was understood.
func fingerprint(call Call, r CreateRequest) ([][]byte, error) {
	canonical, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write the canonical request: %w", err)
	}
	return [][]byte{[]byte(call.Key.ID), canonical}, nil
}

const fingerprintLabel = "doorcode fingerprint v1"

// sameRequest compares in constant time, under every key that may have made the stored fingerprint.
func (f *Front) sameRequest(d draft, stored event.Issued) bool {
	fields, err := d.fingerprint()
	if err != nil {
		return false
	}
	same := false
	for _, id := range f.keys.Idempotency.IDs() {
		same = f.keys.Idempotency.Verify(id, stored.Fingerprint, fingerprintLabel, fields...) || same
	}
	return same
}

// answer is the answer to the create of a stored event with that return_url, which the fingerprint covers.
func (f *Front) answer(e event.Issued, sequence uint64, returnURL string) (Created, error) {
	handle, err := challenge.Handle{
		Challenge: e.Challenge, Stream: f.settings.StreamNumber, Sequence: sequence,
	}.Encode(f.keys.Handle)
	if err != nil {
		return Created{}, err
	}
	routes := []event.OfferedRoute{}
	for _, r := range e.Routes[1:] {
		routes = append(routes, event.OfferedRoute{Channel: r.Channel, Recipient: r.Recipient})
	}
	kind := rollout.Required
	if e.Skip != nil {
		kind = rollout.Skippable
	}
	return Created{
		Decision: string(kind), Skip: skipOf(e.Skip), Handle: handle, Label: e.Label, Channel: e.Channel, Recipient: e.Routes[0].Recipient,
		Routes: routes, ExpiresAt: e.ExpiresAt.UTC(), ResendAt: e.ResendAt.UTC(),
		SupportReference: challenge.ShowReference(e.SupportReference),
		PromptURL: f.promptURL(ticket.Ticket{
			Handle: handle, FrontEnd: e.FrontEnd, ReturnURL: returnURL, Locale: e.Locale, ExpiresAt: e.ExpiresAt,
		}),
	}, nil
}

// promptURL is where the hosted page of a challenge is opened, if there are such pages and a way back.
func (f *Front) promptURL(t ticket.Ticket) string {
	if f.settings.PublicURL == "" || t.ReturnURL == "" {
		return ""
	}
	return f.settings.PublicURL + ticket.Path + t.Encode(f.keys.Handle)
}
