package resend_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/pkg/seal"
	"doorcode/services/verifier/internal/lookup"
	"doorcode/services/verifier/internal/resend"
	"doorcode/services/verifier/internal/verifiertest"
)

// bench is an orderer over a verifiertest.
type bench struct {
	*verifiertest.Rig
	t       *testing.T
	db      *postgres.DB
	orderer *resend.Orderer
	changed atomic.Int32
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{Rig: verifiertest.New(t), t: t}
	b.db = b.DB()
	b.orderer = resend.New(b.db, lookup.New(b.db, b.Bus.Connect(t, "verifier"), b.Handles), slog.New(slog.DiscardHandler),
		func(ids ...string) { b.changed.Add(int32(len(ids))) })
	return b
}

// ask asks for one more message.
func (b *bench) ask(c verifiertest.Challenge, key int, channel string) (event.ResendReply, error) {
	b.t.Helper()
	return b.orderer.Resend(b.t.Context(), event.ResendRequest{HandleRequest: c.Request(), Channel: channel, Key: verifiertest.Key(key)})
}

// refused wants a refusal.
func (b *bench) refused(c verifiertest.Challenge, status int, code string) {
	b.t.Helper()
	_ = b.refusal(c, "", status, code)
}

// refusal is refused for whoever looks at the rest of it.
func (b *bench) refusal(c verifiertest.Challenge, channel string, status int, code string) *problem.Problem {
	b.t.Helper()
	_, err := b.ask(c, 99, channel)
	var p *problem.Problem
	if !errors.As(err, &p) {
		b.t.Fatalf("not refused: %v", err)
	}
	if p.Status != status || p.Code != code {
		b.t.Errorf("%d %s, not %d %s", p.Status, p.Code, status, code)
	}
	return p
}

// waited makes every wait be over.
func (b *bench) waited() {
	b.PG.Exec(b.t, `UPDATE challenges SET resend_at = clock_timestamp()`)
}

func TestResend_TheEnvelopeOpensInItsContext(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue(func(e *event.Issued) {
		e.ExpiresAt = e.ExpiresAt.Truncate(time.Second).Add(-time.Second + 77*time.Millisecond + 999_999) // Never above ten minutes.
	})
	p := b.refusal(c, "", 429, resend.CodeTooEarly)
	if p.RetryAfter <= 0 || p.RetryAfter > 30*time.Second {
		t.Errorf("wait of %s", p.RetryAfter)
	}
	b.waited()
	reply, err := b.ask(c, 1, "")
	if err != nil || reply.Send != 2 || reply.Channel != "email" || reply.Recipient != c.Event.Routes[0].Recipient || reply.ResendAt == nil {
		t.Fatalf("%+v: %v", reply, err)
	}
	_, _, err = b.db.Relay(t.Context(), 10, func(_ context.Context, events []event.Event) []error {
		send, err := event.SendOf(events[0])
		if err != nil || len(events) != 1 {
			t.Errorf("%d events: %v", len(events), err)
		}
		at := b.Sealed(c.Event)
		at.NotAfter = send.ExpiresAt.Add(-time.Minute)
		content, err := seal.Open(b.Channel, at, send.Envelope)
		if err != nil || content.Code != c.Code.Reveal() {
			t.Errorf("the envelope of a resend does not open: %v", err)
		}
		return make([]error, len(events))
	})
	if err != nil || b.changed.Load() != 1 {
		t.Errorf("%d changes: %v", b.changed.Load(), err)
	}
}

// It shows SEC-18 of deploy/SECURITY.md.
func TestResend_50ParallelRequestsOrderOneMessage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	b.refused(c, 429, resend.CodeTooEarly) // Records it.
	b.waited()
	var taken, early atomic.Int32
	verifiertest.Parallel(50, func(i int) {
		_, err := b.ask(c, i, "email")
		var p *problem.Problem
		switch {
		case err == nil:
			taken.Add(1)
		case errors.As(err, &p) && p.Code == resend.CodeTooEarly:
			early.Add(1)
		default:
			t.Error(err)
		}
	})
	if taken.Load() != 1 || early.Load() != 49 {
		t.Errorf("%d taken, %d too early", taken.Load(), early.Load())
	}
	b.Want(1, `SELECT count(*) FROM outbox`)
}

func TestResend_TheSameKeyGetsTheSameSendWhateverHappenedSince(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	b.refused(c, 429, resend.CodeTooEarly)
	for key := range 4 {
		b.waited()
		verifiertest.Parallel(4, func(int) {
			reply, err := b.ask(c, key, "")
			if err != nil || reply.Send != key+2 || (reply.ResendAt == nil) != (key == 3) {
				t.Errorf("%+v: %v", reply, err)
			}
		})
	}
	b.waited()
	b.refused(c, 409, resend.CodeNoMoreSends)
	b.PG.Exec(t, `UPDATE challenges SET state = 'approved', digest = NULL, ended_at = clock_timestamp()`)
	for key := range 4 {
		reply, err := b.ask(c, key, "sms") // Also before the route is looked at.
		if err != nil || reply.Send != key+2 || reply.ResendAt != nil {
			t.Errorf("%+v: %v", reply, err)
		}
	}
	b.Want(4, `SELECT count(*) FROM outbox`)
	b.Want(4, `SELECT cardinality(times) FROM limits`)
}

// It shows SEC-18 and SEC-42 of deploy/SECURITY.md.
func TestResend_SaysWhyNot(t *testing.T) {
	t.Parallel()
	const full = `INSERT INTO limits (dimension, key, times, entries) SELECT 'recipient', convert_to('hash of the address', 'UTF8'),
		array_agg(clock_timestamp() - interval '50 minutes'), array_agg(n::bigint) FROM generate_series(1, 20) n`
	for name, c := range map[string]struct {
		change  string
		channel string
		status  int
		code    string
	}{
		"other route":      {``, "sms", 409, resend.CodeNoRoute},
		"last two minutes": {`UPDATE challenges SET expires_at = clock_timestamp() + interval '2 minutes'`, "", 409, resend.CodeNoMoreSends},
		"no time to wait":  {`UPDATE challenges SET resend_at = expires_at - interval '1 minute'`, "", 409, resend.CodeNoMoreSends},
		"expired":          {`UPDATE challenges SET expires_at = clock_timestamp()`, "", 422, "expired"},
		"swept":            {`UPDATE challenges SET state = 'expired', digest = NULL, ended_at = now()`, "", 422, "expired"},
		"approved":         {`UPDATE challenges SET state = 'approved', digest = NULL, ended_at = now()`, "", 422, "used"},
		"canceled":         {`UPDATE challenges SET state = 'canceled', digest = NULL, ended_at = now()`, "", 422, "closed"},
		"directory":        {`UPDATE login_budgets SET version = 2`, "", 422, "closed"},
		"locked":           {`UPDATE login_budgets SET locked_at = now()`, "", 422, "closed"},
		"limit":            {full, "", 429, resend.CodeTooMany},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			challenge := b.Issue()
			b.refused(challenge, 429, resend.CodeTooEarly)
			b.waited()
			if c.change != "" {
				b.PG.Exec(t, c.change)
			}
			p := b.refusal(challenge, c.channel, c.status, c.code)
			if c.code == resend.CodeTooMany && (p.RetryAfter <= 9*time.Minute || p.RetryAfter > 10*time.Minute) {
				t.Errorf("wait of %s", p.RetryAfter)
			}
			b.Want(0, `SELECT count(*) FROM outbox`)
		})
	}
}

func TestResend_AnExpiredChallengeIsNotMade(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue(func(e *event.Issued) {
		e.CreatedAt = e.CreatedAt.Add(-10 * time.Minute)
		e.ExpiresAt = e.CreatedAt.Add(5 * time.Minute)
	})
	b.refused(c, 422, "expired")
	b.Want(0, `SELECT count(*) FROM challenges`)
	_, err := b.orderer.Resend(t.Context(), event.ResendRequest{HandleRequest: c.Request()})
	var p *problem.Problem
	if !errors.As(err, &p) || p.Status != 400 {
		t.Errorf("a request without a key: %v", err)
	}
}
