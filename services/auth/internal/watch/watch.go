// Package watch tells those who show a challenge that it has changed. One subscription of the process fans out to any
// number of watches, up to a bound; a watch holds one pending change and never more, so that a slow reader costs nothing.
//
// It knows no state of a challenge: whoever is woken reads it again, and reads it now and then anyway, because a change
// may be told to nobody (DESIGN 3.3).
package watch

import (
	"encoding/json"
	"sync"

	"doorcode/pkg/event"
)

// Hub is where watches are open. It is safe for concurrent use.
type Hub struct {
	limit int
	ended chan struct{}
	end   func()

	mu   sync.Mutex
	open int
	by   map[string]map[*Watch]struct{} // challenge to its watches
}

// Watch is one open watch of one challenge.
type Watch struct {
	hub       *Hub
	challenge string
	changed   chan struct{}
	close     sync.Once
}

// NewHub returns a hub for at most limit open watches.
func NewHub(limit int) *Hub {
	h := &Hub{limit: limit, ended: make(chan struct{}), by: map[string]map[*Watch]struct{}{}}
	h.end = sync.OnceFunc(func() { close(h.ended) })
	return h
}

// perChallenge is how many watches one challenge may have: a page is open in a few tabs, and more is no person.
const perChallenge = 8

// Open opens a watch, or reports false when there is no room, for this challenge or for any, or the hub is closed. Changes count from here on, so the
// caller reads the state after it.
func (h *Hub) Open(challenge string) (*Watch, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.ended:
		return nil, false
	default:
	}
	if h.open >= h.limit || len(h.by[challenge]) >= perChallenge {
		return nil, false
	}
	w := &Watch{hub: h, challenge: challenge, changed: make(chan struct{}, 1)}
	h.open++
	if h.by[challenge] == nil {
		h.by[challenge] = map[*Watch]struct{}{}
	}
	h.by[challenge][w] = struct{}{}
	return w, true
}

// Hear takes an announcement of the verifier. What is not readable is left alone: it is a hint.
func (h *Hub) Hear(data []byte) {
	var c event.Changed
	if json.Unmarshal(data, &c) != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range c.Challenges {
		for w := range h.by[id] {
			select {
			case w.changed <- struct{}{}:
			default: // It has not looked yet.
			}
		}
	}
}

// Count returns how many watches are open.
func (h *Hub) Count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// Close ends every watch and opens no more. It may be called again.
func (h *Hub) Close() { h.end() }

// Changed delivers that the challenge may have changed since the last time.
func (w *Watch) Changed() <-chan struct{} { return w.changed }

// Ended is closed when the process stops.
func (w *Watch) Ended() <-chan struct{} { return w.hub.ended }

// Close ends the watch. It may be called again.
func (w *Watch) Close() {
	w.close.Do(func() {
		w.hub.mu.Lock()
		defer w.hub.mu.Unlock()
		w.hub.open--
		delete(w.hub.by[w.challenge], w)
		if len(w.hub.by[w.challenge]) == 0 {
			delete(w.hub.by, w.challenge)
		}
	})
}
