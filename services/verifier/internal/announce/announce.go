// Package announce tells, on core NATS, which challenges were just changed, so that whoever shows one looks again
// (DESIGN 3.3). It is a hint: what gets lost costs the reader's next look, and nothing waits for it.
package announce

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"

	"doorcode/pkg/event"
)

// maxWaiting bounds what is kept while the bus is slow; more is left to the readers' next look.
const maxWaiting = 100_000

// speaker says something to whoever listens.
type speaker interface {
	Announce(subject string, data []byte) error
}

// Announcer gathers changed challenges and announces them in batches. It is safe for concurrent use.
type Announcer struct {
	bus  speaker
	log  *slog.Logger
	wake chan struct{}

	mu      sync.Mutex
	waiting map[string]struct{}
}

// New returns an announcer.
func New(b speaker, log *slog.Logger) *Announcer {
	return &Announcer{bus: b, log: log, wake: make(chan struct{}, 1), waiting: map[string]struct{}{}}
}

// Changed notes challenges that were changed by a commit. It never blocks; each waits once, however often it changed.
func (a *Announcer) Changed(challenges ...string) {
	a.mu.Lock()
	for _, id := range challenges {
		if len(a.waiting) < maxWaiting {
			a.waiting[id] = struct{}{}
		}
	}
	waits := len(a.waiting) > 0
	a.mu.Unlock()
	if !waits {
		return
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run announces until ctx ends, and then once more: what changes while one batch leaves makes the next.
func (a *Announcer) Run(ctx context.Context) {
	for {
		select {
		case <-a.wake:
			a.announce()
		case <-ctx.Done():
			a.announce()
			return
		}
	}
}

// take empties the set.
func (a *Announcer) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := make([]string, 0, len(a.waiting))
	for id := range a.waiting {
		ids = append(ids, id)
	}
	clear(a.waiting)
	return ids
}

// announce says what waits. What cannot leave is dropped.
func (a *Announcer) announce() {
	for ids := range slices.Chunk(a.take(), event.MaxChanged) {
		data, err := json.Marshal(event.Changed{Challenges: ids})
		if err == nil {
			err = a.bus.Announce(event.SubjectChanged, data)
		}
		if err != nil {
			a.log.Debug("changes not announced", "challenges", len(ids), "error", err)
			return
		}
	}
}
