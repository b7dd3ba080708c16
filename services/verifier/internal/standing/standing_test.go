package standing_test

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/problem"
	"doorcode/services/verifier/internal/lookup"
	"doorcode/services/verifier/internal/standing"
	"doorcode/services/verifier/internal/verifiertest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// bench is a keeper over a verifiertest.
type bench struct {
	*verifiertest.Rig
	db     *postgres.DB
	keeper *standing.Keeper
	ended  atomic.Int32
	told   atomic.Int32
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{Rig: verifiertest.New(t)}
	b.db = b.DB()
	keeper, err := standing.New(standing.Config{
		Store: b.db, Finder: lookup.New(b.db, b.Bus.Connect(t, "verifier"), b.Handles), Log: slog.New(slog.DiscardHandler),
		Ended: func(channel string, _ challenge.State) {
			if channel == "email" {
				b.ended.Add(1)
			}
		},
		Changed: func(ids ...string) { b.told.Add(int32(len(ids))) },
	})
	if err != nil {
		t.Fatal(err)
	}
	b.keeper = keeper
	return b
}

// It shows SEC-48 of deploy/SECURITY.md.
func TestState_TellsWhatIsOnRecord(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	reply, err := b.keeper.State(t.Context(), c.Request())
	if err != nil {
		t.Fatal(err)
	}
	if reply.State != "pending" || reply.Label != "BCD" || reply.Recipient != "a•••@example.com" || reply.ChecksLeft != 5 ||
		reply.ResendAt == nil || reply.SupportReference != "4F72KQ9R" || len(reply.Routes) != 0 || len(reply.Deliveries) != 1 ||
		reply.Waiting != 1 {
		t.Errorf("%+v", reply)
	}
	d := reply.Deliveries[0]
	if d.Status != "queued" || d.Text != "Your message is on its way." || !d.At.Equal(c.Event.CreatedAt) {
		t.Errorf("%+v", d)
	}
	foreign := c.Request()
	foreign.FrontEnd = "other"
	_, err = b.keeper.State(t.Context(), foreign)
	var p *problem.Problem
	if !errors.As(err, &p) || p.Code != "unknown_challenge" {
		t.Errorf("another front-end: %v", err)
	}
}

func TestCancel_IsTheSameTwice(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue()
	for range 2 {
		reply, err := b.keeper.Cancel(t.Context(), c.Request())
		if err != nil || reply.State != "canceled" || reply.ResendAt != nil || reply.ChecksLeft != 0 {
			t.Errorf("%+v: %v", reply, err)
		}
	}
	if b.ended.Load() != 1 || b.told.Load() != 1 {
		t.Errorf("ended %d times, told %d times", b.ended.Load(), b.told.Load())
	}
	d, err := b.keeper.Delivery(t.Context(), event.DeliveryRequest{Challenge: c.ID(), Send: 1})
	if err != nil || !d.Ended || d.Accepted {
		t.Errorf("%+v: %v", d, err)
	}
}

// A skip is offered as long as it would be taken: while skips are left, by the login's own count, and the leave lasts.
func TestState_OffersTheSkipsThatAreLeft(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	until := time.Now().Add(5 * time.Minute)
	skippable := func(until time.Time) verifiertest.Challenge {
		return b.Issue(func(e *event.Issued) {
			e.Skip = &event.Waiver{Why: "grace", Skips: 2, Until: until, Key: 1, MAC: make([]byte, 32), Left: 2, EnforceAt: &until}
		})
	}
	c := skippable(until)
	for skipped, left := range []int{2, 1, 0} {
		b.PG.Exec(t, `UPDATE login_budgets SET skips = $1`, skipped)
		reply, err := b.keeper.State(t.Context(), c.Request())
		if err != nil || (reply.Skip == nil) != (left == 0) || reply.Skip != nil && (reply.Skip.Left != left || !reply.Skip.EnforceAt.Equal(until)) {
			t.Errorf("after %d skips: %+v, %v", skipped, reply.Skip, err)
		}
	}
	b.PG.Exec(t, `UPDATE login_budgets SET skips = 0`)
	reply, err := b.keeper.State(t.Context(), skippable(time.Now().Add(-time.Second)).Request())
	if err != nil || reply.Skip != nil || reply.State != "pending" {
		t.Errorf("after the leave: %+v, %v", reply, err)
	}
	reply, err = b.keeper.Cancel(t.Context(), c.Request())
	if err != nil || reply.Skip != nil {
		t.Errorf("ended: %+v, %v", reply.Skip, err)
	}
}

func TestState_AnExpiredChallengeIsToldWithoutARow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.Issue(func(e *event.Issued) {
		e.CreatedAt = e.CreatedAt.Add(-10 * time.Minute)
		e.ExpiresAt = e.CreatedAt.Add(5 * time.Minute)
	})
	for _, ask := range []func() (event.StateReply, error){
		func() (event.StateReply, error) { return b.keeper.State(t.Context(), c.Request()) },
		func() (event.StateReply, error) { return b.keeper.Cancel(t.Context(), c.Request()) },
	} {
		reply, err := ask()
		if err != nil || reply.State != "expired" || reply.ChecksLeft != 0 || reply.ResendAt != nil {
			t.Errorf("%+v: %v", reply, err)
		}
	}
	b.Want(0, `SELECT count(*) FROM challenges`)
	d, err := b.keeper.Delivery(t.Context(), event.DeliveryRequest{Challenge: c.ID(), Send: 1})
	if err != nil || d != (event.DeliveryReply{}) {
		t.Errorf("%+v: %v", d, err)
	}
}

func TestUnlock_AnswersWhoeverAsksAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.PG.Exec(t, `UPDATE login_budgets SET locked_at = clock_timestamp()`)
	for range 2 {
		_, err := b.keeper.Unlock(t.Context(), event.UnlockRequest{Workspace: "acme", Login: "anna", By: "admin"})
		if err != nil {
			t.Error(err)
		}
	}
	b.Want(1, `SELECT count(*) FROM outbox WHERE type = 'directory.v1.login_unlocked'`)
	for _, login := range []string{"nobody", "not an id", ""} {
		_, err := b.keeper.Unlock(t.Context(), event.UnlockRequest{Workspace: "acme", Login: login, By: "admin"})
		var p *problem.Problem
		if !errors.As(err, &p) || p.Status != 404 || p.Code != "unknown_login" {
			t.Errorf("%q: %v", login, err)
		}
	}
}

func TestText_PromisesNothing(t *testing.T) {
	t.Parallel()
	for _, channel := range delivery.Channels() {
		seen := map[string]bool{}
		for _, s := range delivery.Statuses() {
			text := standing.Text(delivery.State{Status: s}, channel, "a•••@acme.example")
			if text == "" || seen[text] || strings.Contains(text, "•") {
				t.Errorf("%s: %q", s, text)
			}
			seen[text] = true
		}
		// An attempt of unknown result may have been given up too: nothing says that no message was sent.
		if text := standing.Text(delivery.State{Status: delivery.StatusAbandoned}, channel, "x"); strings.Contains(text, "was not sent") {
			t.Errorf("abandoned: %q", text)
		}
		for _, by := range []delivery.FactKind{delivery.FactAttempted, delivery.FactReceipt} {
			for _, r := range delivery.Reasons() {
				if standing.Text(delivery.State{Status: delivery.StatusFailed, Reason: r, By: by}, channel, "x") == "" {
					t.Errorf("%s by %s has no text", r, by)
				}
			}
		}
	}
}

func TestText_NamesWhoeverHasTheMessage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state              delivery.State
		channel, recipient string
		want               string
	}{
		{delivery.State{Status: delivery.StatusAccepted}, "email", "a•••@acme.example", "The mail provider accepted the message; no report from acme.example yet."},
		{delivery.State{Status: delivery.StatusAccepted}, "sms", "+49•••78", "The SMS provider accepted the message; no report from the phone network yet."},
		{delivery.State{Status: delivery.StatusDeferred}, "email", "a•••@acme.example", "acme.example asked to come back later; the message is tried again by itself."},
		{delivery.State{Status: delivery.StatusDeferred}, "sms", "+49•••78", "The phone network asked to come back later; the message is tried again by itself."},
		{delivery.State{Status: delivery.StatusDelivered}, "email", "a•••@acme.example", "Accepted by acme.example; if it is not in the inbox, look for it in the spam folder."},
		{delivery.State{Status: delivery.StatusDelivered}, "sms", "+49•••78", "Delivered to the phone, as far as its network reports."},
		{delivery.State{Status: delivery.StatusFailed, By: delivery.FactReceipt}, "email", "a•••@acme.example", "Refused by acme.example."},
		{delivery.State{Status: delivery.StatusFailed, By: delivery.FactReceipt}, "email", "•••", "Refused by the mail server."},
		{delivery.State{Status: delivery.StatusFailed, By: delivery.FactAttempted}, "email", "a•••@acme.example", "The message could not be sent."},
		{
			delivery.State{Status: delivery.StatusFailed, By: delivery.FactReceipt, Reason: delivery.ReasonUnreachable},
			"sms", "+49•••78",
			"Not delivered: the phone network could not reach this recipient.",
		},
	} {
		got := standing.Text(c.state, delivery.Channel(c.channel), c.recipient)
		if got != c.want {
			t.Errorf("%+v on %s: %q, not %q", c.state, c.channel, got, c.want)
		}
	}
}
