package lookup

import (
	"context"
	"sync"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/postgres"
)

const (
	// maxTogether bounds how many challenges are recorded by one statement ahead of the recorder.
	maxTogether = 256
	// togetherLimit bounds that statement. The caller who happens to make it for all may have gone.
	togetherLimit = 3 * time.Second
)

// arrivals are the challenges that the recorder of this process has at hand and has not recorded yet. A check of one of
// them needs no second copy of its event, and the first one that comes has all of them recorded, for the others' checks
// are on their way too.
type arrivals struct {
	mu      sync.Mutex
	waiting map[string]*arrival
}

// arrival is one of them.
type arrival struct {
	issued postgres.Issued
	trip   *trip // nil until somebody asked
	at     int   // its place there
}

// trip is one statement that records several.
type trip struct {
	issued  []postgres.Issued
	done    chan struct{} // closed when what follows is known
	expired []bool
	failed  bool
}

// Came tells of a challenge that the recorder took from the bus.
func (f *Finder) Came(issued postgres.Issued) {
	f.arrivals.mu.Lock()
	defer f.arrivals.mu.Unlock()
	f.arrivals.waiting[issued.Event.Challenge] = &arrival{issued: issued}
}

// Gone tells that the recorder is done with challenges, recorded or not.
func (f *Finder) Gone(challenges ...string) {
	f.arrivals.mu.Lock()
	defer f.arrivals.mu.Unlock()
	for _, id := range challenges {
		delete(f.arrivals.waiting, id)
	}
}

// arrived finds the challenge of a handle among those at hand, recorded. false says nothing about it: it has to be looked
// for as if there were no arrivals, also when it could not be recorded together with the others.
func (f *Finder) arrived(ctx context.Context, h challenge.Handle, frontEnd string) (Found, bool) {
	a, mine := f.arrivals.join(h, frontEnd)
	if a == nil {
		return Found{}, false
	}
	faultpoint.Hit("lookup.read")
	if mine {
		f.travel(ctx, a.trip)
	}
	select {
	case <-a.trip.done:
	case <-ctx.Done():
		return Found{}, false
	}
	if a.trip.failed {
		return Found{}, false
	}
	faultpoint.Hit("lookup.inserted")
	return Found{Facts: factsOf(a.issued.Event), Unrecorded: a.trip.expired[a.at]}, true
}

// join returns the arrival of a handle with its trip, and whether the caller has to make that. A trip that nobody made yet
// takes all that have none, this one first.
func (a *arrivals) join(h challenge.Handle, frontEnd string) (found *arrival, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found = a.waiting[h.Challenge]
	if found == nil || found.issued.Stream != h.Stream || found.issued.Sequence != h.Sequence || found.issued.Event.FrontEnd != frontEnd {
		return nil, false
	}
	if found.trip != nil {
		return found, false
	}
	t := &trip{done: make(chan struct{}), failed: true}
	t.take(found)
	for _, other := range a.waiting {
		if other.trip == nil && len(t.issued) < maxTogether {
			t.take(other)
		}
	}
	return found, true
}

// take puts an arrival on the trip.
func (t *trip) take(a *arrival) {
	a.trip, a.at = t, len(t.issued)
	t.issued = append(t.issued, a.issued)
}

// travel records what a trip took. It goes on when its caller gives up, for others wait for it.
func (f *Finder) travel(ctx context.Context, t *trip) {
	defer close(t.done)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), togetherLimit)
	defer cancel()
	expired, err := f.store.MaterialiseAll(ctx, t.issued)
	if err == nil {
		t.expired, t.failed = expired, false
	}
}
