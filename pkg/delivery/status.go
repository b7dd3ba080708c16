package delivery

import (
	"cmp"
	"time"
)

// Status is the best knowledge of one delivery.
type Status string

// The statuses. Deferred and delivered are a receipt's word; until one speaks,
// accepted is the most that can be said. Delivered means that the receiving
// server or network took the message, not that a person has read it.
const (
	StatusQueued    Status = "queued"
	StatusSending   Status = "sending"
	StatusAccepted  Status = "accepted"
	StatusDeferred  Status = "deferred"
	StatusDelivered Status = "delivered"
	StatusFailed    Status = "failed"
	StatusUnknown   Status = "unknown"
	StatusAbandoned Status = "abandoned"
)

// Statuses lists every status.
func Statuses() []Status {
	return []Status{
		StatusQueued, StatusSending, StatusAccepted, StatusDeferred, StatusDelivered, StatusFailed, StatusUnknown, StatusAbandoned,
	}
}

// Reportable lists what a receipt can say, each overwriting those before it; it
// doubles as the closed set of a metric label.
func Reportable() []Status {
	return []Status{StatusAccepted, StatusDeferred, StatusDelivered, StatusFailed}
}

// FactKind says what a recorded fact about a send reports.
type FactKind string

// The kinds of facts, named as the events that carry them.
const (
	FactRequested FactKind = "requested"
	FactAttempted FactKind = "attempted"
	FactPostponed FactKind = "postponed"
	FactAbandoned FactKind = "abandoned"
	FactReceipt   FactKind = "receipt"
)

// Fact is one audit row about a send, in no particular order.
type Fact struct {
	Send     int
	Kind     FactKind
	At       time.Time
	Number   int    // hand-over of the broker, from 1; 0 for requested and receipts
	Result   Result // of an attempt
	Reported Status // of a receipt
	Reason   Reason
	Channel  Channel
}

// State is the status of one send with the fact that decided it.
type State struct {
	Send   int
	Status Status
	Reason Reason
	At     time.Time
	By     FactKind // requested when nothing is on record
}

// StatusOf returns the state of one send. It is a pure function: order and
// repetition of facts do not matter (P9). An acceptance wins over everything
// that came before or after it; an end wins over what was tried; among tries
// the latest speaks. A receipt wins over all of them, and among receipts the
// worse news does: a bounce may follow a delivery, never the other way round
// (providers.md 3.2).
func StatusOf(send int, facts []Fact) State {
	best, rank := State{Send: send, Status: StatusQueued, By: FactRequested}, -1
	for _, f := range facts {
		if f.Send != send {
			continue
		}
		status, r := f.rank()
		s := State{Send: send, Status: status, Reason: f.Reason, At: f.At, By: f.Kind}
		if r > rank || r == rank && best.before(s) {
			best, rank = s, r
		}
	}
	return best
}

// before orders states of one rank: by time, and by the rest of what they say
// when the time is the same, so that no two different ones are equal.
func (s State) before(other State) bool {
	return cmp.Or(
		s.At.Compare(other.At), cmp.Compare(s.Status, other.Status), cmp.Compare(s.Reason, other.Reason), cmp.Compare(s.By, other.By),
	) < 0
}

// rank orders what facts say: a higher one is never overwritten by a lower.
func (f Fact) rank() (Status, int) {
	switch f.Kind {
	case FactRequested:
		return StatusQueued, 0
	case FactPostponed:
		return StatusSending, 1
	case FactAbandoned:
		return StatusAbandoned, 2
	case FactAttempted:
		switch f.Result {
		case Temporary:
			return StatusSending, 1
		case Unknown:
			return StatusUnknown, 1
		case Permanent:
			return StatusFailed, 3
		case Accepted:
			return StatusAccepted, 4
		}
	case FactReceipt:
		for i, reportable := range Reportable() {
			if f.Reported == reportable {
				return reportable, 4 + i
			}
		}
	}
	return StatusQueued, 0
}
