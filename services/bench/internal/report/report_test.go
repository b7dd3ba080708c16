package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/services/bench/internal/load"
)

var update = flag.Bool("update", false, "write the golden files anew")

// spread is a latency between two bounds, most of it near the lower one.
func spread(from, to int64) Latency {
	var times []time.Duration
	for i := range int64(1000) {
		times = append(times, time.Duration(from+(to-from)*i*i*i/1_000_000_000)*time.Microsecond)
	}
	return LatencyOf(times)
}

// run is one whose stages are that many times slower.
func run(sync string, inFlight, rate int, slow int64) Run {
	return Run{
		Sync: sync, InFlight: inFlight, Rate: rate, Seconds: 10, Cycles: 1000, PerSecond: 100 / float64(slow), Settled: 0.25,
		Stages: map[load.Stage]Latency{
			load.Create: spread(1000*slow, 9000*slow), load.Provider: spread(0, 4000*slow),
			load.Check: spread(800*slow, 7000*slow), load.Cycle: spread(3000*slow, 30_000*slow),
		},
		Floor: map[string]Latency{
			FloorHTTP: spread(50, 200), FloorPublish: spread(300, 3000), FloorCommit: spread(400, 4000),
		},
		Processes: []Process{
			{Name: "nats-server", Replicas: 1, CPU: 500, Cores: 0.2, Memory: 40 << 20},
			{Name: "email-dispatcher", Replicas: 2, CPU: 300, Cores: 0.1, Memory: 24 << 20},
			{Name: "bench", Replicas: 1, CPU: 400, Cores: 0.15, Memory: 60 << 20},
		},
		Failures: map[string]int{},
	}
}

// sample is a small report.
func sample() Report {
	r := Report{
		At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), People: 10_000, Replicas: map[string]int{"auth": 1, "email-dispatcher": 2},
		Machine:  Machine{CPUs: 2, Model: "A Processor", Go: "go1.26", Postgres: "15.18"},
		Settings: map[string]string{"DOORCODE_LOG_LEVEL": "warn", "DOORCODE_AUTH_CREATES_PER_SECOND": "100000"},
		Runs:     []Run{run("default", 1, 0, 1), run("default", 0, 200, 2), run("always", 1, 0, 3), run("always", 0, 1000, 200)},
	}
	r.Runs[3].Failures = map[string]int{"create: 503 overloaded": 7, "check: 503 unavailable": 2}
	return r
}

// golden compares with a file, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		err := os.WriteFile(path, got, 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestReport_TableIsForPeople(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := sample().Table(&b)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", b.Bytes())
}

func TestReport_JSONIsWhole(t *testing.T) {
	t.Parallel()
	data, err := sample().JSON()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", data)
	var again Report
	err = json.Unmarshal(data, &again)
	if diff := cmp.Diff(sample(), again); err != nil || diff != "" {
		t.Errorf("%v, read back (-want +got):\n%s", err, diff)
	}
}

func TestReport_PictureHasAPlotPerStageAndSetting(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := sample().Picture(&b)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "latency.svg", b.Bytes())
	text := texts(t, b.Bytes())
	for _, sync := range []string{"default", "always"} {
		for _, s := range load.Stages() {
			if want := string(s) + ", sync_interval " + sync; strings.Count(text, want) != 1 {
				t.Errorf("%q stands %d times in the picture", want, strings.Count(text, want))
			}
		}
	}
	for _, want := range []string{"1 in flight", "200/s", "1000/s", "99.9", "10000"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not stand in the picture", want)
		}
	}
}

// texts returns what stands in an SVG, one text a line.
func texts(t *testing.T, svg []byte) string {
	t.Helper()
	var all strings.Builder
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		element, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := element.(xml.CharData); ok {
			all.WriteString(strings.TrimSpace(string(text)) + "\n")
		}
	}
}

func TestReport_WithoutRunsIsEmpty(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r := sample()
	r.Runs = nil
	err := errors.Join(r.Picture(&b), r.Table(io.Discard))
	if err != nil || b.Len() > 0 {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
	r.Runs = []Run{{Sync: "always", InFlight: 1}} // nobody signed in
	err = errors.Join(r.Picture(&b), r.Table(io.Discard))
	if err != nil {
		t.Error(err)
	}
}

func TestReport_TellsThatItCouldNotBeWritten(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	_ = r.Close()
	if sample().Table(w) == nil || sample().Picture(w) == nil {
		t.Error("a report that nobody got counts as written")
	}
}

func TestRun_RatioIsToTheFloor(t *testing.T) {
	t.Parallel()
	r := Run{
		Floor: map[string]Latency{FloorHTTP: {P50: 50}, FloorPublish: {P50: 350}, FloorCommit: {P50: 450}},
		Stages: map[load.Stage]Latency{
			load.Create: {P50: 800}, load.Provider: {P50: 100}, load.Check: {P50: 250}, load.Cycle: {P50: 950},
		},
	}
	for s, want := range map[load.Stage]float64{load.Create: 2, load.Provider: 2, load.Check: 0.5, load.Cycle: 1} {
		if got := r.Ratio(s); got != want {
			t.Errorf("%s: %g, not %g", s, got, want)
		}
	}
	if got := (Run{Stages: r.Stages}).Ratio(load.Check); got != 0 {
		t.Errorf("without a floor: %g", got)
	}
}

func TestLatencyOf_GoesAsFarAsItIsKnown(t *testing.T) {
	t.Parallel()
	var times []time.Duration
	for i := range 1000 {
		times = append(times, time.Duration(1000-i)*time.Microsecond)
	}
	l := LatencyOf(times)
	if l.Count != 1000 || l.P50 != 500 || l.P90 != 900 || l.P99 != 990 || l.P999 != 999 || l.Max != 1000 {
		t.Errorf("%+v", l)
	}
	last := l.Points[len(l.Points)-1]
	if l.Points[0] != (Point{Percentile: 0, Value: 1}) || last.Percentile < 99.7 || last.Percentile > 99.8 || last.Value > 999 {
		t.Errorf("from %+v to %+v", l.Points[0], last)
	}
	if none := LatencyOf(nil); none.Count != 0 || none.Points != nil {
		t.Errorf("nothing is %+v", none)
	}
}

func TestMilliseconds_HaveThreeDigits(t *testing.T) {
	t.Parallel()
	for us, want := range map[int64]string{0: "0.00", 50: "0.05", 999: "1.00", 1000: "1.0", 12_345: "12.3", 123_456: "123", 6_000_000: "6000"} {
		if got := milliseconds(us); got != want {
			t.Errorf("%d µs: %s, not %s", us, got, want)
		}
	}
}
