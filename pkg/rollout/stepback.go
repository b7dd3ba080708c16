package rollout

import (
	"errors"
	"time"
)

// StepBack is an order to have an enforced wave go back to grace for a time (product.md R4.14). It takes two people, and nothing
// of it can switch codes off: the time has an end.
type StepBack struct {
	// RequestedBy and ApprovedBy are the names of the two, and the others as which logins to the database they were. Where
	// these differ, two credentials were used; where they do not, that there were two people is the operators' word.
	RequestedBy, RequestedAs string
	ApprovedBy, ApprovedAs   string
	RequestedAt, ApprovedAt  time.Time // zero: not approved
	Until                    time.Time // then a code is required again
	// Skips is how often each login may go on without its code in all, those that it had before included; a wave does not
	// come to fewer.
	Skips  int
	Reason string
}

// Bounds of a step back.
const (
	// LongestGraceAgain is the longest time that an enforced wave goes back to grace.
	LongestGraceAgain = 30 * 24 * time.Hour
	// ApproveWithin is how long an order waits for the second person.
	ApproveWithin = 24 * time.Hour
)

// The errors of a step back.
var (
	ErrNotEnforced = errors.New("the wave is not enforced: pause it instead")
	ErrUntil       = errors.New("a step back ends within 30 days, and not in the past")
	ErrTwoPeople   = errors.New("a step back needs two different people")
	ErrTooLate     = errors.New("the request is older than a day: ask again")
	ErrNoReason    = errors.New("a step back needs a reason")
)

// StepBack returns an enforced wave as it is in grace until a time and enforced from then on. It fails with ErrNotEnforced,
// ErrUntil or ErrWave.
func (w Wave) StepBack(now time.Time, s StepBack) (Wave, error) {
	switch {
	case w.Validate() != nil || s.Skips < 0 || s.Skips > MaxSkips:
		return Wave{}, ErrWave
	case w.StageAt(now) != Enforced:
		return Wave{}, ErrNotEnforced
	case !s.Until.After(now) || s.Until.Sub(now) > LongestGraceAgain:
		return Wave{}, ErrUntil
	}
	w = w.going()
	w.EnforceAt, w.Skips = s.Until, max(w.Skips, s.Skips)
	return w, nil
}

// Approve returns the order as a second person has approved it. It fails with ErrTwoPeople, also when the name is that of the
// first in another spelling, with ErrNoReason or with ErrTooLate.
func (s StepBack) Approve(by, as string, now time.Time) (StepBack, error) {
	switch {
	case blank(by), blank(s.RequestedBy), same(by, s.RequestedBy):
		return StepBack{}, ErrTwoPeople
	case blank(s.Reason):
		return StepBack{}, ErrNoReason
	case s.RequestedAt.IsZero() || now.Sub(s.RequestedAt) > ApproveWithin:
		return StepBack{}, ErrTooLate
	}
	s.ApprovedBy, s.ApprovedAs, s.ApprovedAt = by, as, now
	return s, nil
}

// Shown reports whether the order is of interest: it can be approved, or the wave is in the grace that it gave.
func (s StepBack) Shown(w Wave, now time.Time) bool {
	if s.ApprovedAt.IsZero() {
		return now.Sub(s.RequestedAt) <= ApproveWithin
	}
	return w.StageAt(now) != Enforced
}
