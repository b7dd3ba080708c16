package dispatch

import (
	"errors"
	"time"

	"doorcode/pkg/delivery"
)

// A stage ends a hand-over by an error that is named after what has to be
// done; conclude does it (STYLE 15). None of them is a fault of the engine.

// errDone says that this send has ended already and is on record: nothing is
// left to do but to tell the broker.
var errDone = errors.New("ended before")

// discardError sends a message that cannot be understood to the dead letters.
type discardError struct{ cause string }

// Error names the cause, which is constant and quotes nothing.
func (e *discardError) Error() string { return "discard: " + e.cause }

// discard makes a discardError.
func discard(cause string) error { return &discardError{cause: cause} }

// abandonError ends a send without a further call.
type abandonError struct {
	reason delivery.Reason
	detail string
}

// Error names the reason.
func (e *abandonError) Error() string { return "abandon: " + e.reason.String() }

// abandon makes an abandonError; the detail is redacted already.
func abandon(reason delivery.Reason, detail string) error {
	return &abandonError{reason: reason, detail: detail}
}

// postponeError gives a send back to the broker; no call was made.
type postponeError struct {
	reason delivery.Reason
	detail string
	// after is the least wait until the next hand-over; the schedule may ask
	// for more, unless atOnce says that another replica should take it now.
	after  time.Duration
	atOnce bool
}

// Error names the reason.
func (e *postponeError) Error() string { return "postpone: " + e.reason.String() }

// postpone makes a postponeError that waits as long as the schedule says, and
// at least after.
func postpone(reason delivery.Reason, after time.Duration, detail string) error {
	return &postponeError{reason: reason, after: after, detail: detail}
}

// giveBack makes a postponeError that does not wait.
func giveBack(reason delivery.Reason, detail string) error {
	return &postponeError{reason: reason, detail: detail, atOnce: true}
}
