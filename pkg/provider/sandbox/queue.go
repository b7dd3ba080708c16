package sandbox

import (
	"container/heap"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// maxWaiting bounds what waits for its webhook; what comes on top is lost.
const maxWaiting = 50_000

// maxBatchEvents bounds the events of one batch.
const maxBatchEvents = 10_000

// verdict is what the answer of a webhook means.
type verdict int

// The verdicts: told; to be told again later; never to be told again.
const (
	taken verdict = iota
	again
	lost
)

// load is what a webhook is told.
type load interface {
	// request makes the request of one try.
	request(ctx context.Context, s *Sandbox, spoilt spoilt) (*http.Request, error)
	// taken judges the status of the answer.
	taken(status int) verdict
}

// parcel is a load with its times, all of the system's clock.
type parcel struct {
	due   time.Time // not to be posted before
	until time.Time // to be given up after
	tries int
	load  load
	order uint64 // among those of the same time
}

// queue keeps parcels in the order of their times.
type queue struct {
	mu      sync.Mutex
	waiting parcels
	flying  int
	added   uint64
	counts  WebhookCounts
	woken   chan struct{} // holds one signal for the runner
	settled chan struct{} // closed and replaced when a parcel lands
}

// newQueue returns an empty queue.
func newQueue() *queue {
	return &queue{woken: make(chan struct{}, 1), settled: make(chan struct{})}
}

// add puts a parcel into the queue, or loses it when the queue is full.
func (q *queue) add(p *parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.put(p)
}

// put adds under the lock.
func (q *queue) put(p *parcel) {
	if len(q.waiting) >= maxWaiting {
		q.counts.Lost++
		return
	}
	q.added++
	p.order = q.added
	heap.Push(&q.waiting, p)
	select {
	case q.woken <- struct{}{}:
	default: // a signal waits already
	}
}

// take removes the parcels that are due, or all of them, joins the events that
// share a webhook, and tells when the next one is due. Each is flying until it
// is landed.
func (q *queue) take(now time.Time, all bool, limit int) ([]*parcel, time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var due []*parcel
	joined := map[string]*parcel{}
	for len(q.waiting) > 0 && (all || !q.waiting[0].due.After(now)) {
		p := heap.Pop(&q.waiting).(*parcel)
		b, is := p.load.(*batch)
		if !is || p.tries > 0 {
			due = append(due, p)
			continue
		}
		first := joined[b.hook]
		if first == nil || !first.load.(*batch).join(b, limit) {
			joined[b.hook] = p
			due = append(due, p)
		}
	}
	q.flying += len(due)
	if len(q.waiting) == 0 {
		return due, time.Time{}
	}
	return due, q.waiting[0].due
}

// land ends a flight: the parcel is told, waits for the next try, or is lost.
func (q *queue) land(p *parcel, v verdict, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flying--
	p.tries++
	switch {
	case v == taken:
		q.counts.Taken++
	case v == lost:
		q.counts.Lost++
	case now.Add(pause(p.tries)).After(p.until):
		q.counts.GivenUp++
	default:
		q.counts.Retried++
		p.due = now.Add(pause(p.tries))
		q.put(p)
	}
	close(q.settled)
	q.settled = make(chan struct{})
}

// back returns a parcel that was taken and not tried.
func (q *queue) back(p *parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flying--
	q.put(p)
	close(q.settled)
	q.settled = make(chan struct{})
}

// idle waits until no parcel is flying.
func (q *queue) idle(ctx context.Context) error {
	for {
		q.mu.Lock()
		flying, settled := q.flying, q.settled
		q.mu.Unlock()
		if flying == 0 {
			return nil
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return fmt.Errorf("wait for webhooks: %w", ctx.Err())
		}
	}
}

// report copies the counts.
func (q *queue) report() WebhookCounts {
	q.mu.Lock()
	defer q.mu.Unlock()
	counts := q.counts
	counts.Waiting = len(q.waiting) + q.flying
	return counts
}

// The times between two tries: five seconds, doubled up to a quarter of an
// hour, for a day (providers.md 3.1 and 4.7).
const (
	firstPause = 5 * time.Second
	lastPause  = 15 * time.Minute
	keepTrying = 24 * time.Hour
)

// pause is the time after that many tries.
func pause(tries int) time.Duration {
	wait := firstPause
	for range tries - 1 {
		wait = min(2*wait, lastPause)
	}
	return wait
}

// parcels is a heap by time and order.
type parcels []*parcel

func (p parcels) Len() int      { return len(p) }
func (p parcels) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *parcels) Push(x any)   { *p = append(*p, x.(*parcel)) }
func (p parcels) Less(i, j int) bool {
	if p[i].due.Equal(p[j].due) {
		return p[i].order < p[j].order
	}
	return p[i].due.Before(p[j].due)
}

func (p *parcels) Pop() any {
	last := len(*p) - 1
	popped := (*p)[last]
	(*p)[last] = nil
	*p = (*p)[:last]
	return popped
}
