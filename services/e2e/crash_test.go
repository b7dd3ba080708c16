package e2e

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/pkg/provider/sandbox"
	"doorcode/pkg/seal"
)

// undertaking is one campaign of a round: what happens in it, and its ledger.
type undertaking struct {
	name   string
	run    func(*testing.T) *ledger
	taken  atomic.Bool
	done   chan struct{} // closed when it has ended, in one way or the other
	ledger *ledger       // nil when it did not come to its end
}

// rounds are the undertakings of each repetition of the tests (-count). The laws
// are tests of their own on the ledgers of all campaigns of a round.
var rounds struct { //nolint:gochecknoglobals // campaigns of the whole package
	sync.Mutex
	asked map[string]int // how often each law was
	all   [][]*undertaking
}

// round returns the undertakings on which a law has not been tried yet.
func round(law string) []*undertaking {
	rounds.Lock()
	defer rounds.Unlock()
	if rounds.asked == nil {
		rounds.asked = map[string]int{}
	}
	n := rounds.asked[law]
	rounds.asked[law]++
	if n == len(rounds.all) {
		rounds.all = append(rounds.all, []*undertaking{ // the longest first
			{name: "outages", run: campaignOfOutages, done: make(chan struct{})},
			{name: "fault points", run: campaignOfPoints, done: make(chan struct{})},
			{name: "random kills", run: campaignOfRandomKills, done: make(chan struct{})},
		})
	}
	return rounds.all[n]
}

// hold holds the ledgers of all campaigns against a law. Whichever of these tests
// comes first to a campaign runs it; none waits while there is one to run.
func hold(t *testing.T, law string) {
	t.Helper()
	all := round(law)
	for _, u := range all {
		if u.taken.CompareAndSwap(false, true) {
			u.begin(t)
		}
	}
	deadline := time.NewTimer(2 * endurance)
	defer deadline.Stop()
	for _, u := range all {
		select {
		case <-u.done:
		case <-deadline.C:
			t.Fatalf("the campaign of %s does not end", u.name)
		}
		if u.ledger == nil {
			t.Errorf("the campaign of %s did not come to its end; the test that ran it says why", u.name)
			continue
		}
		u.ledger.account(t, u.name, law)
	}
}

// begin runs the campaign.
func (u *undertaking) begin(t *testing.T) {
	t.Helper()
	defer close(u.done)
	u.ledger = u.run(t)
	t.Logf("%s: %s", u.name, u.ledger.figures())
}

// campaignOfPoints has people sign in until every replica has died at each of its
// points and lives again.
func campaignOfPoints(t *testing.T) *ledger {
	t.Helper()
	c := newCampaign(t, bustest.StartEmpty(t), pgtest.Open(t), soon)
	for fault, count := range map[sandbox.WebhookFault]int{sandbox.Duplicate: 3, sandbox.DuplicateNewID: 3, sandbox.Reorder: 10} {
		err := c.box.AddWebhookFault(fault, count)
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), endurance)
	defer cancel()
	late := c.comesTooLate(t)
	over, proceed := make(chan struct{}), make(chan struct{})
	var dying, asleep sync.WaitGroup
	failed := make(chan error, len(crashPlans())+1)
	for _, plan := range crashPlans() {
		dying.Add(len(plan.points))
		asleep.Go(func() {
			left := len(plan.points)
			err := c.execute(ctx, plan, proceed, func(point string) {
				t.Logf("%s came to %s", plan.replica, point)
				left--
				dying.Done()
			})
			if err != nil {
				failed <- err
				cancel()
			}
			dying.Add(-left)
		})
	}
	go func() {
		dying.Wait()
		close(over)
	}()
	err := c.openWorkspace(ctx)
	if err != nil {
		failed <- err
		cancel()
	}
	c.load(ctx, 4*kinds, over)
	woke := c.wake(ctx, proceed)
	asleep.Wait()
	close(failed)
	var problems []error
	for err := range failed {
		problems = append(problems, err)
	}
	err = errors.Join(problems...)
	if err != nil {
		t.Fatal(err)
	}
	err = c.expire(ctx, late)
	if err != nil {
		t.Fatal(err)
	}
	c.headsAreKept(t)
	l := c.count(t)
	l.woke, l.late = woke, late.challenge
	return l
}

// comesTooLate issues a challenge as auth does, while no dispatcher runs, and
// waits until its code is too old to be sent. No setting makes codes live so
// short, so that the event is made here.
func (c *campaign) comesTooLate(t *testing.T) *traveller {
	t.Helper()
	id, err := challenge.NewID()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Read(c.settings["DOORCODE_AUTH_EMAIL_CHANNEL_KEY_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	issued := event.Issued{
		Challenge: id, Workspace: "acme", Login: "late", LoginVersion: 1, FrontEnd: strings.Split(c.key, "_")[1],
		Purpose: challenge.SignIn, Channel: "email", Label: "BCD", SupportReference: "0000000V", DigestKey: 1, Digest: make([]byte, 32),
		TagKey: 1, Policy: challenge.DefaultPolicy(), CreatedAt: now, ResendAt: now.Add(30 * time.Second),
	}
	issued.ExpiresAt = now.Add(now.Sub(challenge.NotAfter(now)) + time.Second) // too late in a second
	envelope, err := seal.Seal(ring, seal.Context{Challenge: id, Channel: "email", NotAfter: challenge.NotAfter(issued.ExpiresAt)}, seal.Content{
		Code: "123456", Recipient: "late@acme.example", Workspace: "Acme", Label: issued.Label, Reference: issued.SupportReference,
		CreatedAt: now, ExpiresAt: issued.ExpiresAt,
	})
	if err != nil {
		t.Fatal(err)
	}
	issued.Routes = []event.Route{{Channel: "email", Recipient: "l•••@acme.example", Address: make([]byte, 32), PerHour: 20, PerDay: 60, Envelope: envelope}}
	e, err := event.New(event.ChallengeIssued, "late", "doorcode/auth", now, id, issued)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.bus.Connect(t, "auth").Publish(t.Context(), bus.Message{Subject: "doorcode.challenge.email", ID: e.ID, Header: e.Header(), Data: e.Data})
	if err != nil {
		t.Fatal(err)
	}
	for time.Now().Before(challenge.NotAfter(issued.ExpiresAt)) {
		tick(t.Context())
	}
	p := &traveller{kind: leaves, login: "late", challenge: id, wrong: map[string]int{}}
	c.people = append(c.people, p)
	return p
}

// wake lets the dispatcher go on that stopped with a send in its hands, once others
// have ended every send on the bus, its own among them, and that is on record, and
// returns when. A resend may still come out of the outbox.
func (c *campaign) wake(ctx context.Context, proceed chan<- struct{}) time.Time {
	for ctx.Err() == nil {
		sends, err := c.unacknowledged(ctx, bus.Challenges, bus.EmailDispatcher)
		if err == nil && sends == 0 {
			told, err := c.unacknowledged(ctx, bus.Deliveries, bus.Recorder)
			if err == nil && told == 0 {
				break
			}
		}
		tick(ctx)
	}
	woke := time.Now()
	close(proceed)
	return woke
}

func TestP1_WhateverDiesNoChallengeIsLost(t *testing.T) {
	t.Parallel()
	hold(t, "P1")
}

func TestP2_WhateverDiesARightCodeSucceedsOnce(t *testing.T) {
	t.Parallel()
	hold(t, "P2")
}

func TestP3_WhateverDiesEveryWrongCodeIsCountedOnce(t *testing.T) {
	t.Parallel()
	hold(t, "P3")
}

func TestP4_WhateverDiesPrintsNoCode(t *testing.T) {
	t.Parallel()
	hold(t, "P4")
}

func TestP5_WhateverDiesEveryMessageIsAccountedFor(t *testing.T) {
	t.Parallel()
	hold(t, "P5")
}

func TestP6_ADispatcherThatDiedOrSleptCallsNobodyLate(t *testing.T) {
	t.Parallel()
	hold(t, "P6")
}

func TestP7_WhateverIsAwayAnswersAreClearAndNobodyIsLetIn(t *testing.T) {
	t.Parallel()
	hold(t, "P7")
}

func TestP8_WhateverDiesACodeIsJudgedRightAfterTheCreate(t *testing.T) {
	t.Parallel()
	hold(t, "P8")
}

func TestP9_WhateverDiesReceiptsThatComeAgainChangeNothing(t *testing.T) {
	t.Parallel()
	hold(t, "P9")
}
