// Package standing tells where challenges and their messages stand, and ends challenges and locks on request.
package standing

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/verifier/internal/lookup"
)

// tries is how often a cancel that waited too long for a lock is put again.
const tries = 4

// store is what the package needs of Postgres.
type store interface {
	Live(ctx context.Context, id string) (postgres.Live, error)
	Cancel(ctx context.Context, id string) (postgres.Ended, bool, error)
	Delivery(ctx context.Context, id string, send int) (ended, accepted bool, err error)
	Unlock(ctx context.Context, workspace, login, by string) (bool, error)
}

// finder finds the challenge of a handle.
type finder interface {
	Find(ctx context.Context, r event.HandleRequest) (lookup.Found, error)
}

// Config is what a Keeper works with; every part is required.
type Config struct {
	Store  store
	Finder finder
	Log    *slog.Logger
	// Ended is told the first channel and the state of each challenge that a cancel ended, after the commit.
	Ended func(channel string, state challenge.State)
	// Changed is called after each commit that wrote an outbox row, with the challenge that it changed, if it did.
	Changed func(challenges ...string)
}

// Keeper answers the verbs state, cancel, delivery and unlock. It is safe for concurrent use.
type Keeper struct {
	cfg Config
}

// New returns a keeper, or an error when a part is missing.
func New(cfg Config) (*Keeper, error) {
	if cfg.Store == nil || cfg.Finder == nil || cfg.Log == nil || cfg.Ended == nil || cfg.Changed == nil {
		return nil, errors.New("standing: a part of the configuration is missing")
	}
	return &Keeper{cfg: cfg}, nil
}

// State tells where a challenge stands.
func (k *Keeper) State(ctx context.Context, r event.HandleRequest) (event.StateReply, error) {
	found, err := k.cfg.Finder.Find(ctx, r)
	if err != nil {
		return event.StateReply{}, err
	}
	return k.reply(ctx, found)
}

// Cancel ends a challenge on request and tells where it stands then; one that had ended stays as it is.
func (k *Keeper) Cancel(ctx context.Context, r event.HandleRequest) (event.StateReply, error) {
	found, err := k.cfg.Finder.Find(ctx, r)
	if err != nil {
		return event.StateReply{}, err
	}
	if found.Unrecorded {
		return k.reply(ctx, found)
	}
	for try := 1; ; try++ {
		ended, now, err := k.cfg.Store.Cancel(ctx, found.Facts.ID)
		if postgres.IsContended(err) && try < tries {
			continue
		}
		if err != nil {
			return event.StateReply{}, err
		}
		if now {
			k.cfg.Ended(ended.Channel, ended.State)
			k.cfg.Changed(ended.Challenge)
		}
		return k.reply(ctx, found)
	}
}

// Delivery tells a dispatcher whether a redelivered send should still be sent.
func (k *Keeper) Delivery(ctx context.Context, r event.DeliveryRequest) (event.DeliveryReply, error) {
	ended, accepted, err := k.cfg.Store.Delivery(ctx, r.Challenge, r.Send)
	return event.DeliveryReply{Ended: ended, Accepted: accepted}, err
}

// Unlock ends a login's lock; a login that is not locked stays as it is.
func (k *Keeper) Unlock(ctx context.Context, r event.UnlockRequest) (struct{}, error) {
	unknown := problem.New(http.StatusNotFound, "unknown_login", "There is no such login.")
	if account.ValidateID(r.Workspace) != nil || account.ValidateID(r.Login) != nil || r.By == "" {
		return struct{}{}, unknown
	}
	unlocked, err := k.cfg.Store.Unlock(ctx, r.Workspace, r.Login, r.By)
	if errors.Is(err, postgres.ErrNoLogin) {
		return struct{}{}, unknown
	}
	if err != nil {
		return struct{}{}, err
	}
	if unlocked {
		k.cfg.Changed()
		k.cfg.Log.Info("login unlocked", "workspace", r.Workspace, "login", r.Login, "by", r.By)
	}
	return struct{}{}, nil
}

func (k *Keeper) reply(ctx context.Context, found lookup.Found) (event.StateReply, error) {
	if found.Unrecorded {
		return replyOf(postgres.Live{Facts: found.Facts, State: challenge.Expired, Sends: 1}), nil
	}
	live, err := k.cfg.Store.Live(ctx, found.Facts.ID)
	if err != nil {
		return event.StateReply{}, err
	}
	return replyOf(live), nil
}

// replyOf is a pure function of what is on record.
func replyOf(l postgres.Live) event.StateReply {
	reply := event.StateReply{
		State: string(l.State), Label: l.Facts.Label, Routes: []event.OfferedRoute{}, SupportReference: l.Facts.SupportReference, ExpiresAt: l.Facts.ExpiresAt,
		Deliveries: []event.DeliveryState{}, Waiting: l.Waiting,
	}
	for i, r := range l.Facts.Routes { // A sign-in that needed no code has none.
		if i == 0 {
			reply.Channel, reply.Recipient = r.Channel, r.Recipient
			continue
		}
		reply.Routes = append(reply.Routes, event.OfferedRoute{Channel: r.Channel, Recipient: r.Recipient})
	}
	last := challenge.LastResend(l.Facts.ExpiresAt)
	if l.State == challenge.Pending {
		if s := l.Facts.Skip; s != nil && l.Skipped < s.Skips && l.Now.Before(s.Until) {
			reply.Skip = &event.SkipOffer{Left: s.Skips - l.Skipped, EnforceAt: s.EnforceAt}
		}
		reply.ChecksLeft = l.WrongMax - l.Wrong
		if l.Sends < l.SendMax && l.Now.Before(last) && l.ResendAt.Before(last) {
			at := l.ResendAt
			reply.ResendAt = &at
		}
	}
	for send := 1; send <= l.Sends; send++ {
		reply.Deliveries = append(reply.Deliveries, deliveryOf(l, send))
	}
	return reply
}

// deliveryOf tells the status of one send. That of create was asked for when the challenge was made; its event is on
// record as the challenge itself.
func deliveryOf(l postgres.Live, send int) event.DeliveryState {
	route := l.Facts.Routes[0]
	if send <= len(l.Routes) && int(l.Routes[send-1]) < len(l.Facts.Routes) {
		route = l.Facts.Routes[l.Routes[send-1]]
	}
	facts := l.Delivered
	if send == 1 {
		facts = append([]delivery.Fact{{Send: 1, Kind: delivery.FactRequested, At: l.Facts.CreatedAt}}, facts...)
	}
	s := delivery.StatusOf(send, facts)
	if s.At.IsZero() {
		s.At = l.Facts.CreatedAt
	}
	return event.DeliveryState{
		Send: send, Channel: route.Channel, Recipient: route.Recipient,
		Status: string(s.Status), Text: Text(s, delivery.Channel(route.Channel), route.Recipient), At: s.At,
	}
}
