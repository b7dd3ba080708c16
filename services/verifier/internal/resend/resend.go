// Package resend takes requests for one more message of a challenge's code: the same code, by the same or another
// proven route, after a wait the server enforces (DESIGN 3, Resend). It opens no envelope; it orders a repeat of one
// that it cannot read.
package resend

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/limit"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/pkg/tracing"
	"doorcode/services/verifier/internal/lookup"
)

// tries is how often a request that lost a race is put again before it is 503.
const tries = 4

// maxKey bounds a request key in bytes.
const maxKey = 64

// Codes of the refusals that only a resend knows.
const (
	CodeTooEarly    = "resend_too_early"
	CodeNoMoreSends = "no_more_sends"
	CodeTooMany     = "too_many_messages"
	CodeNoRoute     = "no_route"
)

// noRoute is the position of a route that there is not.
const noRoute = -1

// store is what a resend needs of Postgres.
type store interface {
	Resend(ctx context.Context, r postgres.Resend) (postgres.Ordered, bool, error)
	Standing(ctx context.Context, id string) (postgres.Standing, error)
	Taken(ctx context.Context, d limit.Dimension, key []byte) ([]time.Time, time.Time, error)
}

// finder finds the challenge of a handle.
type finder interface {
	Find(ctx context.Context, r event.HandleRequest) (lookup.Found, error)
}

// Orderer takes resends. It is safe for concurrent use.
type Orderer struct {
	store   store
	finder  finder
	log     *slog.Logger
	changed func(challenges ...string)
}

// New returns an orderer; changed is called after each commit that wrote an outbox row, with the challenge that it
// changed.
func New(s store, f finder, log *slog.Logger, changed func(challenges ...string)) *Orderer {
	return &Orderer{store: s, finder: f, log: log, changed: changed}
}

// Resend takes the next send of a challenge. The same key gets the same send again, whatever happened since. A refusal
// is a *problem.Problem; any other error means that Postgres or the bus could not be asked.
func (o *Orderer) Resend(ctx context.Context, r event.ResendRequest) (event.ResendReply, error) {
	if len(r.Key) == 0 || len(r.Key) > maxKey {
		return event.ResendReply{}, problem.New(http.StatusBadRequest, problem.CodeInvalidRequest, "A resend needs a key.")
	}
	found, err := o.finder.Find(ctx, r.HandleRequest)
	if err != nil {
		return event.ResendReply{}, err
	}
	if found.Unrecorded {
		return event.ResendReply{}, ended(challenge.RefusedExpired)
	}
	faultpoint.Hit("resend.found")
	route := routeOf(found.Facts.Routes, r.Channel)
	for range tries {
		reply, done, err := o.take(ctx, found.Facts, route, r.Key)
		if err != nil || done {
			return reply, err
		}
	}
	p := problem.New(http.StatusServiceUnavailable, problem.CodeUnavailable, "The message cannot be ordered at the moment.")
	p.RetryAfter = time.Second
	return event.ResendReply{}, p
}

// routeOf returns the position of the first route of a channel, of the first route without one, or noRoute.
func routeOf(routes []event.Route, channel string) int {
	if channel == "" && len(routes) > 0 {
		return 0
	}
	return slices.IndexFunc(routes, func(r event.Route) bool { return r.Channel == channel })
}

// take asks Postgres once. false without an error means that the request lost a race and may be put again.
func (o *Orderer) take(ctx context.Context, f postgres.Facts, route int, key []byte) (event.ResendReply, bool, error) {
	if route != noRoute {
		taken, ok, err := o.store.Resend(ctx, postgres.Resend{
			Challenge: f.ID, Key: key, Index: route, Route: f.Routes[route], Traceparent: tracing.Parent(ctx),
		})
		if postgres.IsContended(err) {
			return event.ResendReply{}, false, nil
		}
		if err != nil {
			return event.ResendReply{}, false, err
		}
		if ok {
			faultpoint.Hit("resend.committed")
			o.changed(f.ID)
			o.log.Info("resend taken", "challenge", f.ID, "send", taken.Send, "channel", f.Routes[route].Channel)
			s, err := o.store.Standing(ctx, f.ID)
			if err != nil {
				return event.ResendReply{}, false, err
			}
			return replyOf(f, s, taken.Send), true, nil
		}
	}
	s, err := o.store.Standing(ctx, f.ID)
	if err != nil {
		return event.ResendReply{}, false, err
	}
	if send := sendOf(s, key); send > 0 {
		return replyOf(f, s, send), true, nil
	}
	if route == noRoute && s.State == challenge.Pending {
		return event.ResendReply{}, true, problem.New(http.StatusConflict, CodeNoRoute, "There is no such way to this person.")
	}
	refusal := refusalOf(s)
	if refusal != nil {
		return event.ResendReply{}, true, refusal
	}
	refusal, err = o.limited(ctx, f.Routes[route])
	if err != nil || refusal == nil {
		return event.ResendReply{}, false, err
	}
	s, err = o.store.Standing(ctx, f.ID) // A copy of the request may have taken the last room after the first look.
	if err != nil {
		return event.ResendReply{}, false, err
	}
	if send := sendOf(s, key); send > 0 {
		return replyOf(f, s, send), true, nil
	}
	return event.ResendReply{}, true, refusal
}

// sendOf returns the send that a key took, or 0.
func sendOf(s postgres.Standing, key []byte) int {
	i := slices.IndexFunc(s.SendKeys, func(k []byte) bool { return bytes.Equal(k, key) })
	if i < 0 {
		return 0
	}
	return i + 2 // Send 1 is create's and has no key.
}

// replyOf tells about a send that was taken. It depends on the row alone, so a repeat gets it again.
func replyOf(f postgres.Facts, s postgres.Standing, send int) event.ResendReply {
	route := 0
	if send <= len(s.SendRoutes) {
		route = int(s.SendRoutes[send-1])
	}
	reply := event.ResendReply{
		Send: send, Channel: f.Routes[route].Channel, Recipient: f.Routes[route].Recipient, ExpiresAt: s.ExpiresAt,
	}
	if possible(s) {
		at := s.ResendAt
		reply.ResendAt = &at
	}
	return reply
}

// possible reports whether one more send will be possible at all.
func possible(s postgres.Standing) bool {
	last := challenge.LastResend(s.ExpiresAt)
	return s.State == challenge.Pending && s.Sends < s.SendLimit && s.Now.Before(last) && s.ResendAt.Before(last)
}

// refusalOf says why nothing was taken; nil when it is not the challenge or its login. It is a pure function.
func refusalOf(s postgres.Standing) error {
	switch {
	case s.State == challenge.Approved:
		return ended(challenge.RefusedUsed)
	case s.State == challenge.Expired, s.State == challenge.Pending && !s.Now.Before(s.ExpiresAt):
		return ended(challenge.RefusedExpired)
	case s.State != challenge.Pending, !s.LoginOpen:
		return ended(challenge.RefusedClosed)
	case !possible(s):
		return problem.New(http.StatusConflict, CodeNoMoreSends, "No further message can be sent for this sign-in.")
	case s.Now.Before(s.ResendAt):
		p := problem.New(http.StatusTooManyRequests, CodeTooEarly, "The last message may still arrive. Wait a little.")
		p.RetryAfter = s.ResendAt.Sub(s.Now)
		return p
	}
	return nil
}

// limited says whether the recipient's limit or the channel's cap is why nothing was taken; nil when both have room by
// now.
func (o *Orderer) limited(ctx context.Context, r event.Route) (error, error) {
	times, now, err := o.store.Taken(ctx, limit.Recipient, r.Address)
	if err != nil {
		return nil, err
	}
	wait := limit.Row{Times: times}.Wait(now, limit.PerHourAndDay(r.PerHour, r.PerDay))
	detail := "Too many messages were sent to this address."
	if wait == 0 && r.Cap > 0 {
		times, now, err = o.store.Taken(ctx, limit.Spend, limit.SpendKey())
		if err != nil {
			return nil, err
		}
		wait = limit.Row{Times: times}.Wait(now, limit.PerDay(r.Cap))
		detail = "Too many text messages were sent today."
	}
	if wait == 0 {
		return nil, nil //nolint:nilnil // Neither a refusal nor a failure: the request may be put again.
	}
	p := problem.New(http.StatusTooManyRequests, CodeTooMany, detail)
	p.RetryAfter = wait
	return p, nil
}

// ended is the answer about a challenge that is over.
func ended(r challenge.Refusal) error {
	none := 0
	p := problem.New(http.StatusUnprocessableEntity, string(r), "This sign-in is over. Start again.")
	p.ChecksLeft = &none
	return p
}
