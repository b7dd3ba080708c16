package dispatch

import (
	"sync"
	"time"

	"doorcode/pkg/event"
)

// endedSends remembers sends that have ended but of which the broker has not
// confirmed to know. A broker that was killed forgets hand-overs, does not
// answer to their acks, and hands them over again as if for the first time
// (measured): without this memory the provider would be called again. Other
// replicas do not share it; their repeat is on record under its own name.
type endedSends struct {
	mu   sync.Mutex
	till map[sendKey]time.Time
}

// sendKey names one send.
type sendKey struct {
	challenge string
	number    int
}

// newEndedSends returns an empty memory.
func newEndedSends() *endedSends { return &endedSends{till: map[sendKey]time.Time{}} }

// keyOf names a send.
func keyOf(s event.Send) sendKey { return sendKey{challenge: s.Challenge, number: s.Number} }

// add remembers a send until no call could be made for it anyway, and forgets
// the others of which that is true by now.
func (m *endedSends) add(s event.Send, now, till time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, end := range m.till {
		if end.Before(now) {
			delete(m.till, key)
		}
	}
	m.till[keyOf(s)] = till
}

// has reports whether a send is remembered.
func (m *endedSends) has(s event.Send) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.till[keyOf(s)]
	return known
}

// remove forgets a send that the broker knows to have ended.
func (m *endedSends) remove(s event.Send) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.till, keyOf(s))
}
