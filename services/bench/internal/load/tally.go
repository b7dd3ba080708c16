package load

import (
	"maps"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Stage is a part of a sign-in that is timed.
type Stage string

// The stages, in their order; Cycle is all of them.
const (
	Create   Stage = "create"   // asked until answered
	Provider Stage = "provider" // create answered until the provider is called; 0 when it was called before
	Check    Stage = "check"    // the right code sent until approved
	Cycle    Stage = "cycle"
)

// Stages lists them.
func Stages() []Stage { return []Stage{Create, Provider, Check, Cycle} }

const (
	// longest is the largest latency that is kept; a longer one counts as this long.
	longest = 5 * time.Minute
	// precision is the number of significant digits that are kept.
	precision = 3
)

// Tally gathers what the cycles of a run did. It is safe for concurrent use.
type Tally struct {
	mu       sync.Mutex
	stages   map[Stage]*hdrhistogram.Histogram // in microseconds
	done     int
	failures map[string]int
}

// NewTally returns an empty tally.
func NewTally() *Tally {
	t := &Tally{stages: map[Stage]*hdrhistogram.Histogram{}, failures: map[string]int{}}
	for _, s := range Stages() {
		t.stages[s] = hdrhistogram.New(1, longest.Microseconds(), precision)
	}
	return t
}

// Done counts a sign-in that was approved, with the time of each stage.
func (t *Tally) Done(times map[Stage]time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	for stage, d := range times {
		// It fails outside of the range alone, and the value is inside.
		_ = t.stages[stage].RecordValue(min(max(d, 0), longest).Microseconds())
	}
}

// Fail counts a sign-in that ended otherwise, by what went wrong.
func (t *Tally) Fail(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures[what]++
}

// Cycles returns how many sign-ins were approved.
func (t *Tally) Cycles() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done
}

// Failures returns how many sign-ins ended otherwise, by what went wrong.
func (t *Tally) Failures() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.failures)
}

// Histogram returns a copy of a stage's latencies in microseconds.
func (t *Tally) Histogram(s Stage) *hdrhistogram.Histogram {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stages[s].Clone()
}
