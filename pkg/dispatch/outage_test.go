package dispatch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/pkg/provider/providertest"
)

// resume starts the broker again and waits until auth can use it.
func (w *world) resume(t *testing.T) {
	t.Helper()
	w.Resume(t)
	bustest.Wait(t, "the reconnect of auth", func() bool { return w.auth.Ready(w.context(t)) == nil })
	bustest.Wait(t, "the reconnect of doorcodectl", func() bool { return w.Admin().Ready(w.context(t)) == nil })
}

// forget takes the consumer's memory away, as a kill before its next write
// does: the broker then hands everything over again, counting from 1.
func (w *world) forget(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.StoreDir(), "jetstream", "*", "streams", event.StreamChallenges, "obs", "email-dispatcher", "o.dat"))
	if err != nil || len(files) != 1 {
		t.Fatalf("state of the consumer: %v, %v", files, err)
	}
	err = os.Remove(files[0])
	if err != nil {
		t.Fatal(err)
	}
}

// unpublishing waits until the engine has failed to publish a result.
func (d *dispatcher) unpublishing(t *testing.T) {
	t.Helper()
	bustest.Wait(t, "a result that is not published", func() bool {
		select {
		case <-d.unpublished.cleared():
			return false
		default:
			return true
		}
	})
}

func TestP5_AResultIsPublishedOnceAfterAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, nil)
	w.fake.Behave(providertest.Silent)
	first := w.issue(t, order{})
	w.calls(t, 1)
	w.Stop(t)
	w.fake.Behave(providertest.Taking)
	d.unpublishing(t)
	w.resume(t)
	all := w.await(t, 1)
	if all[0].Challenge != first || all[0].Result != "accepted" || len(w.fake.Received()) != 1 {
		t.Errorf("%d calls, event %+v", len(w.fake.Received()), all[0].Delivery)
	}

	second := w.issue(t, order{})
	w.await(t, 2)
	d.stop(t)
	all = w.events(t)
	if len(all) != 2 || all[1].Challenge != second {
		t.Errorf("after the outage the record is %q", kinds(all))
	}
	checkRecord(t, w.fake.Received(), all)
}

// It shows SEC-22 of deploy/SECURITY.md.
func TestP5_NATSKilledAfterFiveWereFetchedEveryProviderCallIsOnRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, nil)
	w.fake.Behave(providertest.Silent)
	ids := w.issueMany(t, 5)
	w.calls(t, 5)
	w.Stop(t)
	w.forget(t)
	w.fake.Behave(providertest.Taking)
	d.unpublishing(t)
	w.resume(t)
	for _, e := range w.await(t, 5) {
		delete(ids, e.Challenge)
	}
	last := w.issue(t, order{})
	bustest.Wait(t, "the send after the outage", func() bool {
		for _, e := range w.events(t) {
			if e.Challenge == last {
				return true
			}
		}
		return false
	})
	d.stop(t)
	all := w.events(t)
	checkRecord(t, w.fake.Received(), all)
	for _, e := range all {
		delete(ids, e.Challenge)
		if e.Number != 1 {
			t.Errorf("hand-over %d of a broker that forgot", e.Number)
		}
	}
	if len(ids) != 0 {
		t.Errorf("%d sends are without a record", len(ids))
	}
	if n := len(w.fake.Received()); n != 6 {
		t.Errorf("%d calls for six sends: the process forgot what it had sent", n)
	}
}

func TestEngine_GivesUpPublishingWhenItsTimeToStopIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, nil)
	w.fake.Behave(providertest.Silent)
	w.issue(t, order{})
	w.calls(t, 1)
	w.Stop(t)
	w.fake.Behave(providertest.Taking)
	d.unpublishing(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := d.Drain(ctx)
	if err == nil {
		t.Error("a drain that gave up says nothing")
	}
	w.resume(t)
	if len(w.events(t)) != 0 || len(w.fake.Received()) != 1 {
		t.Errorf("record %q after %d calls", kinds(w.events(t)), len(w.fake.Received()))
	}
}

func TestDrain_LetsCallsInFlightEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, nil)
	w.fake.Behave(providertest.Silent)
	w.issueMany(t, 3)
	w.calls(t, 3)
	drained := make(chan error, 1)
	go func() { drained <- d.Drain(w.context(t)) }()
	<-d.draining
	w.fake.Behave(providertest.Taking)
	err := <-drained
	if err != nil {
		t.Errorf("drain: %v", err)
	}
	want := []string{"attempted accepted", "attempted accepted", "attempted accepted"}
	if diff := cmp.Diff(want, kinds(w.events(t))); diff != "" {
		t.Error(diff)
	}
}

func TestDrain_CancelsCallsAtItsDeadlineAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, nil)
	w.fake.Behave(providertest.Silent)
	w.issue(t, order{})
	w.calls(t, 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := d.Drain(ctx)
	if err == nil {
		t.Error("a drain that cancelled a call says nothing")
	}
	all := w.events(t)
	// The fetch that still ran may have got it again and given it back.
	if diff := cmp.Diff("attempted unknown canceled", kinds(all)[0]); diff != "" || len(w.fake.Received()) != 1 {
		t.Errorf("%d calls, record %q", len(w.fake.Received()), kinds(all))
	}
	checkRecord(t, w.fake.Received(), all)
}

func TestDrain_GivesBackWhatNoWorkerHasBegun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.longFetch = true
	fetches := &countingSource{began: make(chan struct{}, 1000)}
	d := w.start(t, func(c *Config) {
		fetches.Source = c.Source
		c.Source = fetches
	})
	// The fetch that begins now is still open when the drain begins.
	<-fetches.began
	drained := make(chan error, 1)
	go func() { drained <- d.Drain(w.context(t)) }()
	<-d.draining
	w.issue(t, order{})
	err := <-drained
	if err != nil {
		t.Errorf("drain: %v", err)
	}
	all := w.events(t)
	if len(all) > 0 {
		if diff := cmp.Diff([]string{"postponed canceled"}, kinds(all)); diff != "" {
			t.Error(diff)
		}
		if all[0].RetryAt == nil || all[0].Attempt != "" || d.counted(t, d.metrics.postponed, "canceled") != 1 {
			t.Error("a send that was given back looks like an attempt, or is not counted")
		}
	}
	if len(w.fake.Received()) != 0 {
		t.Error("a call was made while draining")
	}
	// Whether or not the closing fetch got it, the next replica sends it.
	w.start(t, nil)
	all = w.await(t, len(all)+1)
	if got := kinds(all); got[len(got)-1] != "attempted accepted" {
		t.Errorf("record is %q", got)
	}
}

// countingSource tells when a fetch begins.
type countingSource struct {
	Source
	began chan struct{}
}

func (s *countingSource) Hand(ctx context.Context, limit int, wait time.Duration, take func(*bus.Delivery)) error {
	select {
	case s.began <- struct{}{}:
	default:
	}
	return s.Source.Hand(ctx, limit, wait, take)
}

// patientSource goes on only once a message that it handed over has reached the provider.
type patientSource struct {
	Source
	reached func()
}

func (s *patientSource) Hand(ctx context.Context, limit int, wait time.Duration, take func(*bus.Delivery)) error {
	return s.Source.Hand(ctx, limit, wait, func(d *bus.Delivery) {
		take(d)
		s.reached()
	})
}

// A code does not wait for those that come with it.
func TestEngine_SendsEachAsItComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 6
	w.issueMany(t, n)
	handed := 0
	w.start(t, func(cfg *Config) {
		cfg.Source = &patientSource{Source: cfg.Source, reached: func() {
			handed++
			ctx, ticker := w.context(t), time.NewTicker(time.Millisecond)
			defer ticker.Stop()
			for len(w.fake.Received()) < handed {
				select {
				case <-ticker.C:
				case <-ctx.Done():
					t.Errorf("%d handed over, %d sent", handed, len(w.fake.Received()))
					return
				}
			}
		}}
	})
	w.await(t, n)
}

func TestP1_ReplicasThatStopAndStartLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.start(t, nil), w.start(t, nil)
	const n = 200
	ids := w.issueMany(t, n)
	w.calls(t, 20)
	first.stop(t)
	w.start(t, nil)
	w.calls(t, 40)
	second.stop(t)
	accepted := func() int {
		count := 0
		for _, k := range kinds(w.events(t)) {
			if k == "attempted accepted" {
				count++
			}
		}
		return count
	}
	for part := 50; part <= n; part += 50 {
		bustest.Wait(t, "accepted sends", func() bool { return accepted() >= part })
	}
	all := w.events(t)
	checkRecord(t, w.fake.Received(), all)
	for _, e := range all {
		if e.Type != event.DeliveryAttempted {
			continue
		}
		if !ids[e.Challenge] {
			t.Errorf("challenge %s was sent twice", e.Challenge)
		}
		delete(ids, e.Challenge)
	}
	if len(ids) != 0 {
		t.Errorf("%d sends are lost", len(ids))
	}
}

func TestRun_WorksOnceOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, nil)
	w.issue(t, order{})
	w.await(t, 1)
	err := d.Run(context.Background())
	if err == nil {
		t.Error("a second Run is taken")
	}
}
