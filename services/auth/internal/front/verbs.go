package front

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/bus"
	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/otp"
	"doorcode/pkg/problem"
)

// View is where a challenge stands.
type View struct {
	State            string                `json:"state"`
	Label            string                `json:"label"`
	Channel          string                `json:"channel"`
	Recipient        string                `json:"recipient"` // masked
	Routes           []event.OfferedRoute  `json:"routes"`
	SupportReference string                `json:"support_reference"`
	ExpiresAt        time.Time             `json:"expires_at"`
	ResendAt         *time.Time            `json:"resend_at"` // null when no further message is possible
	ChecksLeft       int                   `json:"checks_left"`
	Waiting          int                   `json:"waiting"` // sign-ins that wait at the recipient, this one among them; 0 when it has ended
	Deliveries       []event.DeliveryState `json:"deliveries"`
	// Skip is there while the code may be skipped.
	Skip *event.SkipOffer `json:"skip,omitempty"`
}

// CheckRequest is the body of a check.
type CheckRequest struct {
	Code    string `json:"code"`
	CheckID string `json:"check_id"`
}

// Approved is the answer to a right code; every other judgement is a problem.
type Approved struct {
	Outcome   string `json:"outcome"` // always approved
	Assertion string `json:"assertion"`
}

// ResendRequest is the body of a resend; without a channel the first route is repeated.
type ResendRequest struct {
	Channel string `json:"channel"`
}

// Ordered is the answer to a resend: the message is on its way to the dispatcher.
type Ordered struct {
	Send      int        `json:"send"`
	Channel   string     `json:"channel"`
	Recipient string     `json:"recipient"` // masked
	ResendAt  *time.Time `json:"resend_at"` // null when no further message is possible
	ExpiresAt time.Time  `json:"expires_at"`
}

// checkTries is how often a check is asked: the second time with the same check id, so that it is counted once.
const checkTries = 2

// State tells where a challenge stands.
func (f *Front) State(ctx context.Context, call Call, handle string) (View, error) {
	return f.view(ctx, call, handle, event.VerbState)
}

// Cancel ends a challenge ("this was not me").
func (f *Front) Cancel(ctx context.Context, call Call, handle string) (View, error) {
	return f.view(ctx, call, handle, event.VerbCancel)
}

// view asks one of the verbs that are answered with a state.
func (f *Front) view(ctx context.Context, call Call, handle, verb string) (View, error) {
	_, fe, err := f.admit(ctx, call, handle)
	if err != nil {
		return View{}, err
	}
	return f.viewOf(ctx, handle, fe.ID, verb)
}

// viewOf is view in the name of a front-end that may ask.
func (f *Front) viewOf(ctx context.Context, handle, frontEnd, verb string) (View, error) {
	var s event.StateReply
	err := f.ask(ctx, verb, event.HandleRequest{Handle: handle, FrontEnd: frontEnd}, &s, 1)
	if err != nil {
		return View{}, err
	}
	v := View{
		State: s.State, Label: s.Label, Channel: s.Channel, Recipient: s.Recipient, Routes: s.Routes,
		SupportReference: challenge.ShowReference(s.SupportReference), ExpiresAt: s.ExpiresAt.UTC(),
		ResendAt: utc(s.ResendAt), ChecksLeft: s.ChecksLeft, Waiting: s.Waiting, Deliveries: s.Deliveries, Skip: s.Skip,
	}
	if v.Routes == nil {
		v.Routes = []event.OfferedRoute{}
	}
	if v.Deliveries == nil {
		v.Deliveries = []event.DeliveryState{}
	}
	for i := range v.Deliveries {
		v.Deliveries[i].At = v.Deliveries[i].At.UTC()
	}
	return v, nil
}

// Check has a typed code judged. What is no code is refused here and counts nothing; a code leaves as a tag alone (P4).
func (f *Front) Check(ctx context.Context, call Call, handle string, r CheckRequest) (Approved, error) {
	h, fe, err := f.admit(ctx, call, handle)
	if err != nil {
		return Approved{}, err
	}
	return f.judge(ctx, h, handle, fe.ID, r)
}

// judge is Check in the name of a front-end that may ask.
func (f *Front) judge(ctx context.Context, h challenge.Handle, handle, frontEnd string, r CheckRequest) (Approved, error) {
	code, err := otp.Parse(r.Code)
	if err != nil {
		return Approved{}, invalid("code", "A code has 6 to 10 digits; spaces and dashes do not matter.")
	}
	if r.CheckID == "" {
		r.CheckID = rand.Text()
	}
	if account.ValidateID(r.CheckID) != nil {
		return Approved{}, invalid("check_id", sentence(account.ErrID))
	}
	tags := map[uint8][]byte{}
	for id, tag := range otp.Tags(f.keys.Tag, h.Challenge, code) {
		tags[id] = tag
	}
	var reply event.CheckReply
	err = f.ask(ctx, event.VerbCheck, event.CheckRequest{
		HandleRequest: event.HandleRequest{Handle: handle, FrontEnd: frontEnd},
		Tags:          tags, CheckID: r.CheckID,
	}, &reply, checkTries)
	if err != nil {
		return Approved{}, err
	}
	return Approved{Outcome: string(challenge.Approved), Assertion: reply.Assertion}, nil
}

// Resend orders one more message of the same code; the same idempotency key orders the same one.
func (f *Front) Resend(ctx context.Context, call Call, handle string, r ResendRequest) (Ordered, error) {
	h, fe, err := f.admit(ctx, call, handle)
	if err != nil {
		return Ordered{}, err
	}
	_, err = f.requestID(&call)
	if err != nil {
		return Ordered{}, err
	}
	return f.order(ctx, h, handle, fe.ID, r, call.IdempotencyKey)
}

// order is Resend in the name of a front-end that may ask.
func (f *Front) order(ctx context.Context, h challenge.Handle, handle, frontEnd string, r ResendRequest, name string) (Ordered, error) {
	_, err := delivery.ParseChannel(r.Channel)
	if err != nil && r.Channel != "" {
		return Ordered{}, invalid("channel", "The value is no channel: email or sms.")
	}
	_, key := f.keys.Idempotency.MAC("doorcode idempotency v1", []byte(frontEnd), []byte("resend"), []byte(h.Challenge),
		[]byte(name))
	var reply event.ResendReply
	err = f.ask(ctx, event.VerbResend, event.ResendRequest{
		HandleRequest: event.HandleRequest{Handle: handle, FrontEnd: frontEnd}, Channel: r.Channel, Key: key,
	}, &reply, 1)
	if err != nil {
		return Ordered{}, err
	}
	return Ordered{
		Send: reply.Send, Channel: reply.Channel, Recipient: reply.Recipient, ResendAt: utc(reply.ResendAt),
		ExpiresAt: reply.ExpiresAt.UTC(),
	}, nil
}

// Unlock ends a login's lock. The verifier carries it out and records who asked.
func (f *Front) Unlock(ctx context.Context, call Call, workspace, login string) error {
	fe, err := f.keeperOf(ctx, call, workspace, login)
	if err != nil {
		return err
	}
	_, _, err = f.directory.Login(ctx, workspace, login)
	if err != nil {
		return f.translate(ctx, err)
	}
	return f.ask(ctx, event.VerbUnlock, event.UnlockRequest{Workspace: workspace, Login: login, By: fe.ID}, nil, 1)
}

// admit checks who asks and reads the handle. A handle that this system did not make is unknown, and nobody is asked
// about it.
func (f *Front) admit(ctx context.Context, call Call, handle string) (challenge.Handle, frontend.FrontEnd, error) {
	fe, err := f.authenticate(ctx, call)
	if err != nil {
		return challenge.Handle{}, fe, err
	}
	h, err := challenge.DecodeHandle(f.keys.Handle, handle)
	if err != nil || !fe.Has(frontend.Challenges) {
		return challenge.Handle{}, fe, unknownChallenge()
	}
	return h, fe, nil
}

// ask sends one question to the verifier, that many times when no answer comes, and reads the answer into reply unless
// that is nil. A problem that the verifier answers with is passed on as it is.
func (f *Front) ask(ctx context.Context, subject string, request, reply any, tries int) error {
	data, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("ask the verifier: %w", err)
	}
	var answer []byte
	for range tries {
		answer, err = f.askOnce(ctx, subject, data)
		if err == nil || problem.Of(err).Status < http.StatusInternalServerError {
			break
		}
	}
	if err != nil {
		return err
	}
	if reply == nil {
		return nil
	}
	err = json.Unmarshal(answer, reply)
	if err != nil {
		return errors.New("ask the verifier: the answer is not what was asked for")
	}
	return nil
}

// askOnce is one try. Its error is a *problem.Problem.
func (f *Front) askOnce(ctx context.Context, subject string, data []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, f.settings.VerifierTimeout)
	defer cancel()
	answer, err := f.bus.Request(ctx, subject, data)
	if err == nil {
		return answer, nil
	}
	var refused *bus.ServiceError
	if errors.As(err, &refused) {
		p := new(problem.Problem)
		unreadable := json.Unmarshal(refused.Body, p)
		if unreadable == nil && p.Status == refused.Code && p.Code != "" && p.Status < http.StatusInternalServerError {
			return nil, p
		}
	}
	f.log.WarnContext(ctx, "verifier unavailable", "error", err.Error())
	return nil, Unavailable()
}

// utc is a time in UTC, or none.
func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}
