// Package report shows what was measured: as a table for people, as JSON for programs and as a picture of the
// distributions.
package report

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"doorcode/services/bench/internal/load"
)

// Report is one measurement: all runs on one machine.
type Report struct {
	At       time.Time         `json:"at"`
	Machine  Machine           `json:"machine"`
	People   int               `json:"people"`
	Replicas map[string]int    `json:"replicas"`
	Settings map[string]string `json:"settings"` // that differ from the defaults
	Runs     []Run             `json:"runs"`
}

// Machine is what the figures hold for.
type Machine struct {
	CPUs     int    `json:"cpus"`
	Model    string `json:"model"`
	Go       string `json:"go"`
	Postgres string `json:"postgres"`
}

// Run is one load on a fresh bus. Times of stages and of the floor are in microseconds.
type Run struct {
	Sync     string `json:"sync_interval"`
	InFlight int    `json:"in_flight,omitempty"` // of a closed loop
	Rate     int    `json:"rate,omitempty"`      // of an open loop, a second

	Seconds   float64 `json:"seconds"` // from the first begin to the last end
	Cycles    int     `json:"cycles"`
	PerSecond float64 `json:"cycles_per_second"`
	// Settled is how many seconds passed until everything was recorded and published; CPU counts until then.
	Settled   float64                `json:"settled_after_seconds"`
	Stages    map[load.Stage]Latency `json:"stages"`
	Floor     map[string]Latency     `json:"floor"`
	Processes []Process              `json:"processes"`
	Failures  map[string]int         `json:"failures"`
}

// Name says which load it was.
func (r Run) Name() string {
	if r.Rate > 0 {
		return fmt.Sprintf("%d/s", r.Rate)
	}
	return fmt.Sprintf("%d in flight", r.InFlight)
}

// Failed is the number of sign-ins that were not approved.
func (r Run) Failed() int {
	sum := 0
	for _, n := range r.Failures {
		sum += n
	}
	return sum
}

// Process is what a process, or all replicas of it, cost during a run.
type Process struct {
	Name     string  `json:"name"`
	Replicas int     `json:"replicas"`
	CPU      float64 `json:"cpu_us_per_cycle"`
	Cores    float64 `json:"cores"`  // that it kept busy
	Memory   int64   `json:"memory"` // in bytes, at the end
}

// Latency is a distribution in microseconds.
type Latency struct {
	Count  int64   `json:"count"`
	P50    int64   `json:"p50"`
	P90    int64   `json:"p90"`
	P99    int64   `json:"p99"`
	P999   int64   `json:"p999"`
	Max    int64   `json:"max"`
	Points []Point `json:"points"` // for the picture
}

// Point is a percentile: how many of 100 were this fast or faster.
type Point struct {
	Percentile float64 `json:"percentile"`
	Value      int64   `json:"value"`
}

// LatencyOf summarizes what was measured, in any order. Its points go as far as there is more than one value beyond.
func LatencyOf(times []time.Duration) Latency {
	sorted := slices.Sorted(slices.Values(times))
	at := func(percentile float64) int64 { return nearest(sorted, percentile).Microseconds() }
	l := Latency{Count: int64(len(sorted)), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: at(100)}
	for beyond := 1.0; beyond*2 <= float64(l.Count); beyond *= 1.25 { // one of so many is slower
		percentile := 100 - 100/beyond
		l.Points = append(l.Points, Point{Percentile: percentile, Value: at(percentile)})
	}
	return l
}

// nearest is the nearest-rank percentile: the smallest value that so many of 100 do not exceed; 0 of none.
func nearest(sorted []time.Duration, percentile float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(percentile*float64(len(sorted))/100 - 1e-6)) // 99.9 has no exact form
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// JSON returns the report for programs.
func (r Report) JSON() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the report: %w", err)
	}
	return append(data, '\n'), nil
}
