package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

// It shows SEC-68 of deploy/SECURITY.md.
func TestEngine_TakesNoMoreThanItsWorkersCanWorkOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, func(c *Config) { c.Workers = 4 })
	w.fake.Behave(providertest.Silent)
	w.issueMany(t, 6)
	w.calls(t, 4)
	if n := testutil.ToFloat64(d.metrics.inFlight); n != 4 {
		t.Errorf("%v sends in flight with 4 workers", n)
	}
	// What the first replica has no worker for is there for another one.
	second := providertest.NewFake("second", time.Now)
	w.start(t, func(c *Config) { c.Provider = second })
	err := second.Await(w.context(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	w.await(t, 2)
	w.fake.Behave(providertest.Taking)
	all := w.await(t, 6)
	checkRecord(t, append(w.fake.Received(), second.Received()...), all)
	if len(w.fake.Received()) != 4 || len(second.Received()) != 2 {
		t.Errorf("the replicas made %d and %d calls", len(w.fake.Received()), len(second.Received()))
	}
}

// flaky is a publisher whose first try for every message fails, before or
// after the message was stored.
type flaky struct {
	Publisher
	mu    sync.Mutex
	tried map[string]int
}

var errFlaky = errors.New("the answer was lost")

func (f *flaky) Publish(ctx context.Context, m bus.Message) (bus.Ack, error) {
	f.mu.Lock()
	f.tried[m.ID]++
	try, storeFirst := f.tried[m.ID], len(f.tried)%2 == 0
	f.mu.Unlock()
	switch {
	case try > 1:
		return f.Publisher.Publish(ctx, m)
	case storeFirst:
		_, err := f.Publisher.Publish(ctx, m)
		return bus.Ack{}, errors.Join(errFlaky, err)
	}
	return bus.Ack{}, errFlaky
}

func TestP5_ALostAnswerOfTheBusMakesNeitherASecondCallNorASecondEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := &flaky{tried: map[string]int{}}
	d := w.start(t, func(c *Config) {
		f.Publisher = c.Publisher
		c.Publisher = f
	})
	ids := w.issueMany(t, 20)
	w.await(t, len(ids))
	d.stop(t)
	all := w.events(t)
	checkRecord(t, w.fake.Received(), all)
	if len(all) != len(ids) || len(w.fake.Received()) != len(ids) {
		t.Errorf("%d calls and %d events for %d sends", len(w.fake.Received()), len(all), len(ids))
	}
	for id, n := range f.tried {
		if n != 2 {
			t.Errorf("event %s was published %d times", id, n)
		}
	}
}

func TestEngine_EndsEverySendHoweverTheProviderBehaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answer(t, event.DeliveryReply{})
	notCalled := func() *provider.Failure {
		return &provider.Failure{Result: delivery.Temporary, Reason: delivery.ReasonRateLimited, NotCalled: true}
	}
	refused := provider.Refusal(delivery.ReasonInvalidRecipient, "no address")
	for range 6 {
		w.fake.Script(nil, temporary(), unknown(), permanent(), notCalled(), temporary(), unknown(), refused, nil, unknown())
	}
	w.start(t, nil)
	w.start(t, nil)
	ids := w.issueMany(t, 30)
	ended := func() int {
		n := 0
		for _, facts := range bySend(w.events(t)) {
			if endsOf(facts) > 0 {
				n++
			}
		}
		return n
	}
	bustest.Wait(t, "the end of every send", func() bool { return ended() == len(ids) })
	for id, facts := range bySend(w.events(t)) {
		if !ids[id] {
			t.Errorf("challenge %s was never asked for", id)
		}
		if endsOf(facts) != 1 {
			t.Errorf("the send of %s has %d ends: %q", id, endsOf(facts), kinds(facts))
		}
		last := facts[len(facts)-1]
		for i, e := range facts {
			want := i + 1
			if e.Type == event.DeliveryAbandoned && i > 0 && facts[i-1].RetryAt == nil {
				want = i // The last attempt and the end of its send are of one hand-over.
			}
			if e.Number != want {
				t.Errorf("fact %d of %s is of hand-over %d and not %d: an honest end leaves a gap", i+1, id, e.Number, want)
			}
			if (e.RetryAt == nil) != (i == len(facts)-1) && last.Type != event.DeliveryAbandoned {
				t.Errorf("hand-over %d of %s: retry at %v", i+1, id, e.RetryAt)
			}
		}
	}
}

// bySend groups events by challenge, in the order of their hand-overs.
func bySend(all []told) map[string][]told {
	groups := map[string][]told{}
	for _, e := range all {
		groups[e.Challenge] = append(groups[e.Challenge], e)
	}
	return groups
}

// endsOf counts the facts that end a send. A last attempt that is followed by
// an end of the same hand-over counts once.
func endsOf(facts []told) int {
	n := 0
	for _, e := range facts {
		ends := e.Type == event.DeliveryAbandoned || e.Result == string(delivery.Accepted) || e.Result == string(delivery.Permanent)
		if ends {
			n++
		}
	}
	return n
}

// It shows SEC-29 of deploy/SECURITY.md.
func TestEngine_KeepsWhatItCannotUnderstandAsItCame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, nil)
	want := map[string]string{}
	for _, v := range eventtest.Vectors(t) {
		_, err := event.Parse("doorcode.challenge.email", v.Header, v.Data)
		if err == nil {
			continue // a send in good order
		}
		w.publish(t, bus.Message{Subject: "doorcode.challenge.email", ID: v.Name, Header: v.Header, Data: v.Data})
		want[v.Name] = string(v.Data)
	}
	letters := w.letters(t, len(want))
	w.terminated(t, len(want))
	id := w.issue(t, order{}) // and it goes on
	all := w.await(t, 1)
	d.stop(t)
	var got []string
	for _, l := range letters {
		got = append(got, string(l.Data))
		if l.Header["doorcode-reason"] == "" || l.Header["doorcode-subject"] != "doorcode.challenge.email" {
			t.Errorf("a dead letter says nothing of itself: %v", l.Header)
		}
	}
	for name, data := range want {
		found := false
		for _, g := range got {
			found = found || g == data
		}
		if !found {
			t.Errorf("the vector %s is no dead letter, or was changed", name)
		}
	}
	if len(want) < 15 || len(letters) != len(want) || testutil.ToFloat64(d.metrics.deadLetters) != float64(len(want)) {
		t.Errorf("%d dead letters for %d messages", len(letters), len(want))
	}
	if len(all) != 1 || all[0].Challenge != id || len(w.fake.Received()) != 1 {
		t.Errorf("record is %q", kinds(all))
	}
}

// It shows SEC-27 and SEC-33 of deploy/SECURITY.md.
func TestP4_NeitherBusNorMetricsShowACodeOrARecipient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.Script(temporary(), unknown(), nil, permanent())
	d := w.start(t, nil)
	w.issueMany(t, 4)
	w.await(t, 6)
	w.publish(t, bus.Message{Subject: "doorcode.challenge.email", ID: "x", Data: []byte("no event")})
	w.letters(t, 1)
	d.stop(t)
	var all strings.Builder
	for _, stream := range []string{event.StreamChallenges, event.StreamDeliveries, bus.DeadLetter, bus.Advisories} {
		for _, m := range w.Messages(t, stream) {
			fmt.Fprintln(&all, m.Subject, m.ID, m.Header, string(m.Data))
		}
	}
	families, err := d.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		fmt.Fprintln(&all, f.String())
	}
	for _, secret := range []string{code, recipient} {
		if strings.Contains(all.String(), secret) {
			t.Errorf("%q can be read", secret)
		}
	}
	for _, e := range w.events(t) {
		for _, f := range families {
			if strings.Contains(f.String(), e.Challenge) {
				t.Errorf("the metric %s has an id for a label", f.GetName())
			}
		}
	}
}

func TestEndedSends_AreForgottenWhenNoCallCouldBeMade(t *testing.T) {
	t.Parallel()
	m := newEndedSends()
	first, second := event.Send{Challenge: "a", Number: 1}, event.Send{Challenge: "a", Number: 2}
	m.add(first, noon(), noon().Add(time.Minute))
	if !m.has(first) || m.has(second) {
		t.Error("a send is confused with a resend of its challenge")
	}
	m.add(second, noon().Add(2*time.Minute), noon().Add(3*time.Minute))
	if m.has(first) || !m.has(second) {
		t.Error("what cannot be sent any more is remembered")
	}
	m.remove(second)
	m.remove(second)
	if len(m.till) != 0 {
		t.Error("what was removed is remembered")
	}
}

func TestLatch_OpensWhenTheLastOneLetsGo(t *testing.T) {
	t.Parallel()
	l := newLatch()
	<-l.cleared()
	var all sync.WaitGroup
	for range 50 {
		l.raise()
	}
	waiting := l.cleared()
	for range 49 {
		all.Go(l.lower)
	}
	all.Wait()
	select {
	case <-waiting:
		t.Error("the latch opened before the last one let go")
	default:
	}
	l.lower()
	<-waiting
	<-l.cleared()
	l.raise()
	select {
	case <-l.cleared():
		t.Error("the latch does not close again")
	default:
	}
	l.lower()
}
