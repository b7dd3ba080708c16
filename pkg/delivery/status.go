package delivery

import "time"

// Status is the best knowledge of one delivery.
type Status string

// The statuses. Delivered and deferred need receipts; until a receipt speaks,
// accepted is the most that can be said.
const (
	StatusQueued    Status = "queued"
	StatusSending   Status = "sending"
	StatusAccepted  Status = "accepted"
	StatusFailed    Status = "failed"
	StatusUnknown   Status = "unknown"
	StatusAbandoned Status = "abandoned"
)

// FactKind says what a recorded fact about a send reports.
type FactKind string

// The kinds of facts, named as the events that carry them.
const (
	FactRequested FactKind = "requested"
	FactAttempted FactKind = "attempted"
	FactPostponed FactKind = "postponed"
	FactAbandoned FactKind = "abandoned"
)

// Fact is one audit row about a send, in no particular order.
type Fact struct {
	Send    int
	Kind    FactKind
	At      time.Time
	Number  int    // hand-over of the broker, from 1; 0 for requested
	Result  Result // of an attempt
	Reason  Reason
	Channel Channel
}

// State is the status of one send with the fact that decided it.
type State struct {
	Send   int
	Status Status
	Reason Reason
	At     time.Time
}

// StatusOf returns the state of one send. It is a pure function: order and
// repetition of facts do not matter (P9). An acceptance wins over everything
// that came before or after it; an end wins over what was tried; among tries
// the latest speaks.
func StatusOf(send int, facts []Fact) State {
	best := State{Send: send, Status: StatusQueued}
	rank := -1
	for _, f := range facts {
		if f.Send != send {
			continue
		}
		status, r := f.rank()
		later := r == rank && f.At.After(best.At)
		if r > rank || later {
			best = State{Send: send, Status: status, Reason: f.Reason, At: f.At}
			rank = r
		}
	}
	return best
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
	}
	return StatusQueued, 0
}
