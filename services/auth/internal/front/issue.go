package front

import (
	"errors"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/otp"
	"doorcode/pkg/phone"
	"doorcode/pkg/postgres"
	"doorcode/pkg/seal"
	"doorcode/services/auth/internal/decide"
)

// issue draws the code of a challenge and makes its event: the code appears in the sealed envelopes and in a digest,
// and nowhere else (P4).
func (f *Front) issue(d draft) (event.Event, error) {
	code, err := otp.Draw(f.settings.CodeDigits)
	if err != nil {
		return event.Event{}, err
	}
	issued, err := f.describe(d)
	if err != nil {
		return event.Event{}, err
	}
	tagKey, tag := otp.NewTag(f.keys.Tag, d.challenge, code)
	issued.TagKey = tagKey
	issued.DigestKey, issued.Digest = otp.Digest(f.keys.Digest, otp.Binding{
		Challenge: d.challenge, Workspace: issued.Workspace, Login: issued.Login, LoginVersion: issued.LoginVersion,
		FrontEnd: issued.FrontEnd, Purpose: string(issued.Purpose),
	}, tag)
	for i, r := range d.decision.Routes {
		route, err := f.sealRoute(d, issued, i, r, code)
		if err != nil {
			return event.Event{}, err
		}
		issued.Routes = append(issued.Routes, route)
	}
	e, err := event.New(event.ChallengeIssued, d.id, postgres.Auth, issued.CreatedAt, d.challenge, issued)
	e.Traceparent = traceparent(d.call.Traceparent)
	return e, err
}

// describe fills in all of the event but code and routes.
func (f *Front) describe(d draft) (event.Issued, error) {
	label, err := challenge.DrawLabel(d.labels)
	if err != nil {
		return event.Issued{}, err
	}
	reference, err := challenge.DrawReference()
	if err != nil {
		return event.Issued{}, err
	}
	fields, err := d.fingerprint()
	if err != nil {
		return event.Issued{}, err
	}
	_, sum := f.keys.Idempotency.MAC(fingerprintLabel, fields...)
	purpose, _ := d.purpose()
	locale := d.request.Locale
	if locale == "" {
		locale = d.facts.Login.Locale
	}
	issued := event.Issued{
		Challenge: d.challenge, Workspace: d.request.Workspace, Login: d.request.Login,
		LoginVersion: d.facts.Budget.Version, FrontEnd: d.facts.FrontEnd.ID, Purpose: purpose,
		Channel: d.decision.Routes[0].Channel, Label: label, SupportReference: reference, Locale: locale,
		Policy: f.settings.Policy, CreatedAt: d.decision.CreatedAt, ExpiresAt: d.decision.ExpiresAt,
		ResendAt: d.decision.ResendAt, Fingerprint: sum,
	}
	issued.Network, issued.Agent, issued.Browser = f.visitor(d.request)
	issued.Skip = f.leave(d, d.challenge, issued.FrontEnd, issued.ExpiresAt)
	return issued, nil
}

// sealRoute hides code and recipient for the one dispatcher of the route's channel.
func (f *Front) sealRoute(d draft, issued event.Issued, i int, r decide.Route, code otp.Code) (event.Route, error) {
	ring := f.keys.Channels[r.Channel]
	if ring == nil {
		return event.Route{}, errors.New("seal a route: there is no key ring of its channel")
	}
	purpose, about := d.purpose()
	if purpose == challenge.SignIn {
		purpose = "" // as it always was in an envelope
	}
	envelope, err := seal.Seal(ring, seal.Context{
		Challenge: d.challenge, Route: i, Channel: r.Channel, NotAfter: challenge.NotAfter(issued.ExpiresAt),
	}, seal.Content{
		Code: code.Reveal(), Recipient: r.Recipient, Workspace: d.facts.Workspace.Name, Label: issued.Label,
		Reference: issued.SupportReference, Locale: issued.Locale, CreatedAt: issued.CreatedAt,
		ExpiresAt: issued.ExpiresAt, UserAgent: d.request.userAgent(), Purpose: string(purpose), About: string(about),
	})
	if err != nil {
		return event.Route{}, err
	}
	return event.Route{
		Channel: r.Channel, Recipient: mask(r), Address: f.addressHash(r),
		PerHour: r.PerHour, PerDay: r.PerDay, Cap: r.Cap, Envelope: envelope,
	}, nil
}

// mask shows what its owner knows a recipient by (SEC-25).
func mask(r decide.Route) string {
	if r.Channel == account.SMS {
		return phone.Mask(r.Recipient)
	}
	return account.Mask(r.Recipient)
}
