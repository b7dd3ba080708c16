package sandbox

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"doorcode/pkg/delivery"
)

// Kind is one way to misbehave; the set is closed.
type Kind string

// The kinds (providers.md 7). "Stored" says that the message reaches the inbox
// although the sender may not learn it: the outcome that a sender must treat
// as unknown, or as accepted when it saw the status.
const (
	// Latency answers as usual after Delay, which it needs; stored, also when the sender has gone.
	Latency Kind = "latency"
	// Hang never answers; not stored. It ends with the sender's patience.
	Hang Kind = "hang"
	// Drip answers 202 at once and then a body without end, one byte each Delay; stored.
	Drip Kind = "drip"
	// Truncate answers 202 and breaks off within the body; stored.
	Truncate Kind = "truncate"
	// ResetBefore resets the connection when the request was read; not stored.
	ResetBefore Kind = "reset-before-reply"
	// ResetAfter resets the connection when the message was accepted; stored.
	ResetAfter Kind = "reset-after-accept"
	// Status answers Status with the provider's body for it; not stored.
	Status Kind = "status"
	// HTML answers Status (502 by default) with a page in place of JSON; not stored.
	HTML Kind = "html"
	// Empty answers Status (200 by default) without a body; not stored.
	Empty Kind = "empty"
	// Redirect answers Status (307 by default) to Location; not stored.
	Redirect Kind = "redirect"
	// RateLimit answers that the sender is too fast: 429 for a mail, with the headers of the limit when Reset is above
	// zero; status 1 for an SMS, with Reset as the time to wait; not stored.
	RateLimit Kind = "ratelimit"
	// Credits answers that the credit is used up: 401 for a mail, status 9 for an SMS; not stored.
	Credits Kind = "credits"
	// LateAccept stores at once and answers after Delay (30 seconds by default), too late for most senders.
	LateAccept Kind = "late-accept"
)

// The kinds in which the answer to an accepted SMS is worded so that a client
// may stumble (providers.md 1, traps 6 to 8); all stored. A mail that meets one
// is answered as usual.
const (
	// BadJSON breaks off within the JSON, but not within the answer.
	BadJSON Kind = "bad-json"
	// NumberTypes writes the status and the count as numbers.
	NumberTypes Kind = "number-types"
	// NoContentType leaves the media type away.
	NoContentType Kind = "no-content-type"
	// XML answers in XML.
	XML Kind = "xml"
	// PartialRefusal refuses the last of several parts with status 5.
	PartialRefusal Kind = "partial-refusal"
)

// Kinds lists every kind of fault.
func Kinds() []Kind {
	return []Kind{
		Latency, Hang, Drip, Truncate, ResetBefore, ResetAfter,
		Status, HTML, Empty, Redirect, RateLimit, Credits, LateAccept,
		BadJSON, NumberTypes, NoContentType, XML, PartialRefusal,
	}
}

// Fault is one way in which a send goes wrong, and the sends that meet it. Faults stand before
// every check of the request: a hanging provider does not look at keys. Those
// whose message is stored answer as usual when it is refused.
type Fault struct {
	// Kind is the way to misbehave; required.
	Kind Kind
	// Channel limits the fault to the provider of one channel; empty for both.
	Channel delivery.Channel
	// To is a pattern of path.Match for the bare address of a recipient, in any
	// letter case, or for a number without its plus; empty for every send, also
	// one that cannot be read.
	To string
	// Count is how many sends meet the fault; 0 means all until ClearFaults.
	Count int
	// Status is the answer's status where the kind says so.
	Status int
	// Delay is the time before a Latency answer or between the bytes of a Drip.
	Delay time.Duration
	// Reset is the time until the limit of a RateLimit ends, rounded to seconds.
	Reset time.Duration
	// Location is where a Redirect points; the inbox page when empty.
	Location string
}

// maxFaults bounds the list of faults.
const maxFaults = 1_000

// lateAnswer is longer than any sender of ours waits.
const lateAnswer = 30 * time.Second

// maxFaultTime bounds Delay and Reset.
const maxFaultTime = 24 * time.Hour

// validate names what is wrong with a fault.
func (f *Fault) validate() error {
	_, err := path.Match(f.To, "")
	switch {
	case err != nil:
		return errors.New("to is not a pattern")
	case f.Channel != "" && !slices.Contains(delivery.Channels(), f.Channel):
		return errors.New("channel is unknown")
	case !slices.Contains(Kinds(), f.Kind):
		return errors.New("kind is unknown")
	case f.Count < 0:
		return errors.New("count is below zero")
	case f.Kind == Latency && f.Delay == 0:
		return errors.New("latency needs a delay")
	case f.Delay < 0 || f.Delay > maxFaultTime || f.Reset < 0 || f.Reset > maxFaultTime:
		return errors.New("a time is below zero or above a day")
	case f.Kind == Redirect && (f.Status < 300 || f.Status > 399):
		return errors.New("status is not one of a redirect")
	case f.Status < 200 || f.Status > 599:
		return errors.New("status is not from 200 to 599")
	}
	return nil
}

// withDefaults fills in the status that the kind has by default.
func (f Fault) withDefaults() Fault {
	if f.Status == 0 {
		f.Status = map[Kind]int{Status: 500, HTML: 502, Redirect: 307}[f.Kind]
	}
	if f.Status == 0 {
		f.Status = 200
	}
	if f.Kind == LateAccept && f.Delay == 0 {
		f.Delay = lateAnswer
	}
	if f.Location == "" {
		f.Location = "/"
	}
	return f
}

// meets tells whether a send to these addresses meets the fault.
func (f *Fault) meets(channel delivery.Channel, addresses []string) bool {
	if f.Channel != "" && f.Channel != channel {
		return false
	}
	if f.To == "" {
		return true
	}
	return slices.ContainsFunc(addresses, func(a string) bool {
		ok, _ := path.Match(strings.ToLower(f.To), strings.ToLower(a)) // the pattern was checked
		return ok
	})
}

// Met is a fault and how many sends met it.
type Met struct {
	Fault
	Hits int
}

// faults is the list of faults, oldest first.
type faults struct {
	mu       sync.Mutex
	list     []Met
	released chan struct{} // closed and replaced when the list is cleared
	closed   bool          // released stays closed: nothing is held any more
}

// newFaults returns an empty list.
func newFaults() *faults { return &faults{released: make(chan struct{})} }

// take returns the first fault that a send meets, and counts it. The channel
// is closed when the faults are cleared and held sends shall go.
func (f *faults) take(channel delivery.Channel, addresses []string) (Fault, <-chan struct{}, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.list {
		m := &f.list[i]
		if (m.Count == 0 || m.Hits < m.Count) && m.meets(channel, addresses) {
			m.Hits++
			return m.Fault, f.released, true
		}
	}
	return Fault{}, f.released, false
}

// AddFault puts a fault behind the earlier ones. The first one that a send
// meets and whose count is not used up decides; later ones wait for their turn.
// The error says what is wrong with the fault.
func (s *Sandbox) AddFault(f Fault) error {
	f = f.withDefaults()
	err := f.validate()
	if err != nil {
		return fmt.Errorf("add fault: %w", err)
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if len(s.faults.list) >= maxFaults {
		return errors.New("add fault: there are too many, clear them first")
	}
	s.faults.list = append(s.faults.list, Met{Fault: f})
	return nil
}

// Faults lists the faults, oldest first, also those that are used up.
func (s *Sandbox) Faults() []Met {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return slices.Clone(s.faults.list)
}

// ClearFaults forgets all faults and lets go of every send that one holds: a
// late one is answered at once, a hanging or dripping one is broken off.
func (s *Sandbox) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = nil
	if s.faults.closed {
		return
	}
	close(s.faults.released)
	s.faults.released = make(chan struct{})
}

// close lets go of every held send, now and later.
func (f *faults) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.released)
	}
}
