package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"doorcode/services/bench/internal/load"
)

// What is measured beneath doorcode, one at a time on the idle installation.
const (
	FloorHTTP    = "http"    // a round trip to a handler that does nothing
	FloorPublish = "publish" // a durable publish to a stream
	FloorCommit  = "commit"  // one row, committed
)

// floorOf lists what a stage cannot do without.
func floorOf(s load.Stage) []string {
	switch s {
	case load.Create:
		return []string{FloorHTTP, FloorPublish}
	case load.Provider:
		return []string{FloorHTTP}
	case load.Check:
		return []string{FloorHTTP, FloorCommit}
	case load.Cycle:
		return []string{FloorHTTP, FloorPublish, FloorHTTP, FloorHTTP, FloorCommit}
	}
	return nil
}

// Ratio is how many times its floor a stage takes at the median, or 0 when there is nothing to compare.
func (r Run) Ratio(s load.Stage) float64 {
	var floor int64
	for _, part := range floorOf(s) {
		floor += r.Floor[part].P50
	}
	if floor == 0 {
		return 0
	}
	return float64(r.Stages[s].P50) / float64(floor)
}

// Table writes the report for people.
func (r Report) Table(w io.Writer) error {
	out := &lines{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)}
	out.print("%s, %d CPUs, %s, %s, PostgreSQL %s", r.At.UTC().Format(time.DateTime), r.Machine.CPUs, r.Machine.Model, r.Machine.Go, r.Machine.Postgres)
	out.print("%d logins; replicas:%s", r.People, replicas(r.Replicas))
	for _, name := range slices.Sorted(maps.Keys(r.Settings)) {
		out.print("%s=%s", name, r.Settings[name])
	}
	out.print("\nLatency in ms, p50 / p99. Provider: from create's answer to the provider's call. Settled: until all was recorded.\n")
	r.latencies(out)
	out.print("\nThe floor in ms, p50 / p99, and how many times its floor each stage takes at the median.\n")
	r.floors(out)
	out.print("\nCPU in µs per cycle. Bench: the load and the stand-in of the provider.\n")
	r.processes(out, func(p Process) string { return fmt.Sprintf("%.0f", p.CPU) }, true)
	out.print("\nMemory in MB at the end.\n")
	r.processes(out, func(p Process) string { return fmt.Sprintf("%d", p.Memory>>20) }, false)
	r.failures(out)
	return out.err
}

// replicas writes counts by name.
func replicas(counts map[string]int) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		text += fmt.Sprintf(" %s %d", name, counts[name])
	}
	return text
}

func (r Report) latencies(out *lines) {
	out.row("sync", "load", "cycles/s", "create", "provider", "check", "cycle", "failed", "settled")
	for _, run := range r.Runs {
		cells := []string{run.Sync, run.Name(), fmt.Sprintf("%.0f", run.PerSecond)}
		for _, s := range load.Stages() {
			cells = append(cells, pair(run.Stages[s]))
		}
		out.row(append(cells, fmt.Sprint(run.Failed()), fmt.Sprintf("%.1f s", run.Settled))...)
	}
	out.flush()
}

func (r Report) floors(out *lines) {
	out.row("sync", "load", "http", "publish", "commit", "create", "provider", "check", "cycle")
	for _, run := range r.Runs {
		cells := []string{run.Sync, run.Name()}
		for _, part := range []string{FloorHTTP, FloorPublish, FloorCommit} {
			cells = append(cells, pair(run.Floor[part]))
		}
		for _, s := range load.Stages() {
			cells = append(cells, fmt.Sprintf("×%.1f", run.Ratio(s)))
		}
		out.row(cells...)
	}
	out.flush()
}

// processes writes one figure per process and, when wanted, the sum of doorcode's and of all.
func (r Report) processes(out *lines, figure func(Process) string, cores bool) {
	var names []string
	for _, run := range r.Runs {
		for _, p := range run.Processes {
			if !slices.Contains(names, p.Name) {
				names = append(names, p.Name)
			}
		}
	}
	head := append([]string{"sync", "load"}, names...)
	if cores {
		head = append(head, "all", "cores busy")
	}
	out.row(head...)
	for _, run := range r.Runs {
		cells := []string{run.Sync, run.Name()}
		var sum Process
		for _, name := range names {
			cell := "-"
			for _, p := range run.Processes {
				if p.Name == name {
					cell = figure(p)
					sum.CPU += p.CPU
					sum.Cores += p.Cores
				}
			}
			cells = append(cells, cell)
		}
		if cores {
			cells = append(cells, figure(sum), fmt.Sprintf("%.2f", sum.Cores))
		}
		out.row(cells...)
	}
	out.flush()
}

// failures lists what went wrong, when something did.
func (r Report) failures(out *lines) {
	for _, run := range r.Runs {
		for _, what := range slices.Sorted(maps.Keys(run.Failures)) {
			out.print("%s, %s: %d × %s", run.Sync, run.Name(), run.Failures[what], what)
		}
	}
}

// pair writes median and 99th percentile.
func pair(l Latency) string { return milliseconds(l.P50) + " / " + milliseconds(l.P99) }

// milliseconds writes microseconds with three digits that say something.
func milliseconds(us int64) string {
	switch ms := float64(us) / 1000; {
	case ms < 1:
		return fmt.Sprintf("%.2f", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f", ms)
	default:
		return fmt.Sprintf("%.0f", ms)
	}
}

// lines writes text and rows and keeps the first error.
type lines struct {
	w   *tabwriter.Writer
	err error
}

func (l *lines) print(format string, args ...any) {
	l.keep(fmt.Fprintf(l.w, format+"\n", args...))
	l.flush()
}

// row writes cells that stand under those of the row before.
func (l *lines) row(cells ...string) {
	for _, cell := range cells {
		l.keep(fmt.Fprint(l.w, cell, "\t"))
	}
	l.keep(fmt.Fprintln(l.w))
}

func (l *lines) flush() { l.keep(0, l.w.Flush()) }

func (l *lines) keep(_ int, err error) {
	if l.err == nil {
		l.err = err
	}
}
