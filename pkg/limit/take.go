package limit

import (
	"cmp"
	"slices"
	"time"
)

// Slots are the live challenges of a login: id, expiry and the request that took the place.
type Slots struct {
	IDs     []string
	Until   []time.Time
	Entries []int64
}

// Want is one limit that a create takes from.
type Want struct {
	Dimension Dimension // Recipient, Client or Spend
	Key       []byte    // keyed hash, or SpendKey
	Windows   []Window
}

// Sort puts wants into the order in which their rows are locked everywhere: dimension, last name first, then key. So the
// row of Spend, which all text messages share, is locked before that of a recipient, as the statement of a resend does.
func Sort(wants []Want) {
	slices.SortFunc(wants, func(a, b Want) int {
		return cmp.Or(cmp.Compare(b.Dimension, a.Dimension), slices.Compare(a.Key, b.Key))
	})
}

// Create is what one create takes: a live place and one from every want.
type Create struct {
	Challenge string
	ExpiresAt time.Time
	Entry     int64
	MaxLive   int
	Wants     []Want
}

// State is what the locked rows hold; Rows stand in the order of the wants.
type State struct {
	Slots Slots
	Rows  []Row
}

// Answer says what came of a take. Refused is empty when there was room everywhere, or nothing to take.
type Answer struct {
	// Challenge is the id to use: that of the request, or the one with which the same request took its place before.
	Challenge string
	// Repeat says that the request took before; only an expiry may have moved.
	Repeat  bool
	Refused Dimension
	Wait    time.Duration // until the refusal may end
}

// Take returns the rows after a create and what came of it: all is taken or nothing. A repeat takes nothing, is not
// refused, and does not come back to life when its challenge has ended; one that still has its place keeps it as long
// as the challenge that it may yet make.
func (s State) Take(now time.Time, c Create) (State, Answer) {
	slots := s.Slots.alive(now)
	place := slices.Index(slots.Entries, c.Entry)
	if place >= 0 && !s.repeats(now, c) { // Too old for a repeat: the bus would take it as a new message.
		slots, place = slots.without(place), -1
	}
	if place >= 0 {
		if slots.Until[place].Before(c.ExpiresAt) {
			slots.Until[place] = c.ExpiresAt
		}
		return State{Slots: slots, Rows: s.Rows}, Answer{Challenge: slots.IDs[place], Repeat: true}
	}
	if s.repeats(now, c) {
		return s, Answer{Challenge: c.Challenge, Repeat: true}
	}
	wait := slots.wait(now, c.MaxLive)
	if wait > 0 {
		return s, Answer{Refused: Live, Wait: wait}
	}
	refused := s.refusal(now, c.Wants)
	if refused.Refused != "" {
		return s, refused
	}
	next := State{Slots: slots.add(c), Rows: make([]Row, len(s.Rows))}
	for i, r := range s.Rows {
		next.Rows[i] = r.take(now, c.Entry, c.Wants[i].Windows)
	}
	return next, Answer{Challenge: c.Challenge}
}

// repeats reports whether the request took of these very rows before. All was taken or nothing, so a row that remembers
// as long as a repeat is known must have it: the same request for another recipient is no repeat.
func (s State) repeats(now time.Time, c Create) bool {
	known := false
	for i, r := range s.Rows {
		has := r.Has(now, c.Entry)
		if !has && longest(c.Wants[i].Windows) >= Repeat {
			return false
		}
		known = known || has
	}
	return known
}

// refusal names the first want without room; a recipient speaks before a client address.
func (s State) refusal(now time.Time, wants []Want) Answer {
	var answer Answer
	for i, w := range wants {
		wait := s.Rows[i].Wait(now, w.Windows)
		if wait > 0 && (answer.Refused == "" || w.Dimension == Recipient) {
			answer = Answer{Refused: w.Dimension, Wait: wait}
		}
	}
	return answer
}

// alive returns a copy of the slots that have not expired.
func (s Slots) alive(now time.Time) Slots {
	var next Slots
	for i, until := range s.Until {
		if until.After(now) && i < len(s.IDs) && i < len(s.Entries) {
			next.IDs = append(next.IDs, s.IDs[i])
			next.Until = append(next.Until, until)
			next.Entries = append(next.Entries, s.Entries[i])
		}
	}
	return next
}

// wait returns how long all places are taken.
func (s Slots) wait(now time.Time, most int) time.Duration {
	if len(s.Until) < most {
		return 0
	}
	until := slices.SortedFunc(slices.Values(s.Until), time.Time.Compare)
	return until[len(until)-max(most, 1)].Sub(now)
}

// without returns the places but one; they are the caller's own copy.
func (s Slots) without(i int) Slots {
	return Slots{IDs: slices.Delete(s.IDs, i, i+1), Until: slices.Delete(s.Until, i, i+1), Entries: slices.Delete(s.Entries, i, i+1)}
}

// add gives the create a place.
func (s Slots) add(c Create) Slots {
	return Slots{
		IDs:     append(slices.Clone(s.IDs), c.Challenge),
		Until:   append(slices.Clone(s.Until), c.ExpiresAt),
		Entries: append(slices.Clone(s.Entries), c.Entry),
	}
}
