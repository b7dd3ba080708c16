package load

import (
	"maps"
	"slices"
	"sync"
	"time"
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

// longest is the largest latency that is kept; a longer one counts as this long.
const longest = 5 * time.Minute

// Tally gathers what the cycles of a run did. It is safe for concurrent use.
type Tally struct {
	mu       sync.Mutex
	stages   map[Stage][]time.Duration
	done     int
	failures map[string]int
}

// NewTally returns an empty tally.
func NewTally() *Tally {
	return &Tally{stages: map[Stage][]time.Duration{}, failures: map[string]int{}}
}

// Done counts a sign-in that was approved, with the time of each stage.
func (t *Tally) Done(times map[Stage]time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	for stage, d := range times {
		t.stages[stage] = append(t.stages[stage], min(max(d, 0), longest))
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

// Times returns the latencies of a stage, in the order in which they came.
func (t *Tally) Times(s Stage) []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.stages[s])
}
