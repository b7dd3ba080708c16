package dispatch

import (
	"time"

	"doorcode/pkg/delivery"
)

// The bounds of the pause after a failed fetch or publish. Without it a loop
// would spin while the broker elects a leader (nats-postgres.md 3).
const (
	minPause = 25 * time.Millisecond
	maxPause = time.Second
)

// backoff doubles a pause from minPause to maxPause.
type backoff struct {
	last   time.Duration
	random func() float64
}

// next returns the following pause: between a half and all of its step.
func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, minPause), maxPause)
	return b.last/2 + time.Duration(b.random()*float64(b.last/2))
}

// reset begins again after a success.
func (b *backoff) reset() { b.last = 0 }

// delay returns the wait after the n-th hand-over: its place in the schedule
// give or take a fifth, or longer if the provider asked for more.
func (e *Engine) delay(number int, atLeast time.Duration) time.Duration {
	if len(e.schedule) == 0 {
		return atLeast
	}
	step := e.schedule[min(max(number, 1), len(e.schedule))-1]
	jittered := time.Duration(float64(step) * (0.8 + 0.4*e.random()))
	return max(jittered, atLeast)
}

// isLast reports whether the broker will not hand this send over again.
func (e *Engine) isLast(j *Job) bool { return j.Number > len(e.schedule) }

// again returns when the send is handed over again after a wait, or the reason
// why it is not: this was the last time, for the given reason, or the call
// would come too late (P6).
func (e *Engine) again(j *Job, wait time.Duration, reason delivery.Reason) (time.Time, error) {
	at := e.clock().Add(wait)
	switch {
	case !at.Before(j.NotAfter):
		return time.Time{}, abandon(delivery.ReasonTooLate, "")
	case e.isLast(j):
		return time.Time{}, abandon(reason, "")
	}
	return at, nil
}
