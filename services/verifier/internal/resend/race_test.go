package resend_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/limit"
	"doorcode/pkg/postgres"
	"doorcode/services/verifier/internal/lookup"
	"doorcode/services/verifier/internal/resend"
	"doorcode/services/verifier/internal/verifiertest"
)

// between is Postgres with what others do between the statements of one request.
type between struct {
	*postgres.DB
	afterResend, beforeTaken func()
}

func (b between) Resend(ctx context.Context, r postgres.Resend) (postgres.Ordered, bool, error) {
	o, ok, err := b.DB.Resend(ctx, r)
	b.afterResend()
	return o, ok, err
}

func (b between) Taken(ctx context.Context, d limit.Dimension, key []byte) ([]time.Time, time.Time, error) {
	b.beforeTaken()
	return b.DB.Taken(ctx, d, key)
}

// The wait passes between two statements of a request, and a copy of that request takes what was left of the address. The
// limit is full by what their own key took, which is no reason to refuse it.
func TestResend_ACopyThatFilledTheLimitIsNotRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue(func(e *event.Issued) { e.Routes[0].PerHour = 1 })
	b.refused(c, 429, resend.CodeTooEarly)
	store := between{DB: b.db, afterResend: b.waited, beforeTaken: func() {
		reply, err := b.ask(c, 1, "")
		if err != nil || reply.Send != 2 {
			t.Errorf("the copy: %+v: %v", reply, err)
		}
	}}
	slow := resend.New(store, lookup.New(b.db, b.Bus.Connect(t, "verifier"), b.Handles), slog.New(slog.DiscardHandler), func(...string) {})
	reply, err := slow.Resend(t.Context(), event.ResendRequest{HandleRequest: c.Request(), Key: verifiertest.Key(1)})
	if err != nil || reply.Send != 2 || reply.Channel != "email" {
		t.Errorf("%+v: %v", reply, err)
	}
	b.Want(1, `SELECT count(*) FROM outbox`)
	b.Want(1, `SELECT cardinality(times) FROM limits`)
	b.waited()
	b.refused(c, 429, resend.CodeTooMany) // Any other key.
}
