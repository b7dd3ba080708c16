package sandbox

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// WebhookFault is one way in which a webhook goes wrong; the set is closed.
type WebhookFault string

// The faults of webhooks (providers.md 7). Reorder is met by a message, the
// others by a post.
const (
	// Duplicate posts twice the same.
	Duplicate WebhookFault = "duplicate"
	// DuplicateNewID posts twice, the second time with other values of sg_event_id.
	DuplicateNewID WebhookFault = "duplicate-new-id"
	// Reorder turns the reports of one message around; each keeps its own time.
	Reorder WebhookFault = "reorder"
	// BadSignature signs something else.
	BadSignature WebhookFault = "bad-signature"
	// NoSignature signs nothing.
	NoSignature WebhookFault = "no-signature"
	// Stale signs with a timestamp of 26 hours ago.
	Stale WebhookFault = "stale"
	// Lose posts nothing, now or later.
	Lose WebhookFault = "lose"
)

// staleAge is older than any retry (providers.md 3.3).
const staleAge = 26 * time.Hour

// WebhookFaults lists every fault of webhooks.
func WebhookFaults() []WebhookFault {
	return []WebhookFault{Duplicate, DuplicateNewID, Reorder, BadSignature, NoSignature, Stale, Lose}
}

// spoilt is what is wrong with one post.
type spoilt struct {
	forged, unsigned, renamed bool
	age                       time.Duration
}

// hookFaults counts how often each fault is still to be met; -1 is for ever.
type hookFaults struct {
	mu   sync.Mutex
	left map[WebhookFault]int
}

// newHookFaults returns none.
func newHookFaults() *hookFaults { return &hookFaults{left: map[WebhookFault]int{}} }

// take tells whether a fault is met, and counts it.
func (f *hookFaults) take(fault WebhookFault) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := f.left[fault]
	if left == 0 {
		return false
	}
	if left > 0 {
		f.left[fault]--
	}
	return true
}

// AddWebhookFault spoils the next count posts, or all until ClearWebhookFaults
// when count is 0. A second call for the same fault replaces the first. The
// error says what is wrong with the fault.
func (s *Sandbox) AddWebhookFault(fault WebhookFault, count int) error {
	switch {
	case !slices.Contains(WebhookFaults(), fault):
		return errors.New("add webhook fault: kind is unknown")
	case count < 0:
		return errors.New("add webhook fault: count is below zero")
	case count == 0:
		count = -1
	}
	s.hookFaults.mu.Lock()
	defer s.hookFaults.mu.Unlock()
	s.hookFaults.left[fault] = count
	return nil
}

// ClearWebhookFaults forgets all faults of webhooks.
func (s *Sandbox) ClearWebhookFaults() {
	s.hookFaults.mu.Lock()
	defer s.hookFaults.mu.Unlock()
	clear(s.hookFaults.left)
}

// posts is how each post of one parcel is spoilt, empty when none is made.
func (f *hookFaults) posts() []spoilt {
	if f.take(Lose) {
		return nil
	}
	first := spoilt{forged: f.take(BadSignature), unsigned: f.take(NoSignature)}
	if f.take(Stale) {
		first.age = staleAge
	}
	list := []spoilt{first}
	if f.take(Duplicate) {
		list = append(list, first)
	}
	if f.take(DuplicateNewID) {
		renamed := first
		renamed.renamed = true
		list = append(list, renamed)
	}
	return list
}
