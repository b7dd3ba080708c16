package notice

import (
	"errors"
	"fmt"
	"slices"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/phone"
	"doorcode/pkg/postgres"
	"doorcode/pkg/seal"
)

// draft makes the event of one notice. All of it but the envelope's random part follows from cause and story; its
// time is the cause's, so that the audit writes it once.
func (t *Teller) draft(c cause, s story, r account.Route) (event.Event, event.Notice, error) {
	ring := t.cfg.Channels[r.Channel]
	if ring == nil {
		return event.Event{}, event.Notice{}, errors.New("seal a notice: there is no key ring of its channel")
	}
	recipient, err := t.hash("doorcode notice recipient v1", r.Channel, account.CompareForm(r.Recipient))
	if err != nil {
		return event.Event{}, event.Notice{}, err
	}
	reference, err := t.reference(c, s)
	if err != nil {
		return event.Event{}, event.Notice{}, err
	}
	locale := s.locale
	if r.Owner {
		locale = s.owner
	}
	p := event.Notice{
		Notice: event.NoticeID(c.ID, recipient), Kind: c.kind.name, Cause: c.ID,
		Workspace: c.Workspace, Login: c.Login, Channel: r.Channel, Destination: mask(r),
		SupportReference: reference, Locale: locale,
		NotAfter: c.notAfter(),
	}
	p.Envelope, err = seal.Seal(ring, seal.Context{
		Challenge: p.Notice, Channel: p.Channel, NotAfter: p.NotAfter, Notice: p.Kind,
	}, seal.Content{
		Recipient: r.Recipient, Workspace: s.workspace, Reference: p.SupportReference, Locale: p.Locale,
		CreatedAt: c.Time, ExpiresAt: p.NotAfter, Owner: r.Owner,
		Label: s.label, Name: s.name, To: s.channel, Ending: s.ending, Browser: s.browser, System: s.system, Link: s.link, Until: s.until,
		Date: s.date, Used: s.used, People: s.people,
	})
	if err != nil {
		return event.Event{}, event.Notice{}, err
	}
	e, err := event.New(event.NoticeRequested, p.Notice, postgres.Auth, c.Time, p.Notice, p)
	e.Traceparent = c.Traceparent
	return e, p, err
}

// reference is the support reference of all notices of a cause.
func (t *Teller) reference(c cause, s story) (string, error) {
	if s.reference != "" {
		return s.reference, nil
	}
	sum, err := t.hash("doorcode notice reference v1", c.ID)
	if err != nil {
		return "", err
	}
	return challenge.ReferenceOf(sum), nil
}

// hash is a keyed hash under the oldest key of the ring: replicas of which one has rotated already agree on it.
func (t *Teller) hash(label string, fields ...string) ([]byte, error) {
	var parts [][]byte
	for _, f := range fields {
		parts = append(parts, []byte(f))
	}
	sum, err := t.cfg.Address.MACWith(slices.Min(t.cfg.Address.IDs()), label, parts...)
	if err != nil {
		return nil, fmt.Errorf("name a notice: %w", err)
	}
	return sum, nil
}

// mask shows what its owner knows a recipient by (SEC-25).
func mask(r account.Route) string {
	if r.Channel == account.SMS {
		return phone.Mask(r.Recipient)
	}
	return account.Mask(r.Recipient)
}
