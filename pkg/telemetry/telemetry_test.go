package telemetry_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/goleak"

	"doorcode/pkg/telemetry"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestNew_WritesJSONLinesFromItsLevelUp(t *testing.T) {
	t.Parallel()
	all := []string{"debug", "info", "warn", "error"}
	for i, level := range all {
		var out bytes.Buffer
		tel, err := telemetry.New("auth", strings.ToUpper(level), &out)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			tel.Log.Log(t.Context(), l, "said something", "challenge_id", "abc")
		}
		var said []string
		for dec := json.NewDecoder(&out); dec.More(); {
			var line map[string]any
			err := dec.Decode(&line)
			if err != nil {
				t.Fatal(err)
			}
			if line["process"] != "auth" || line["challenge_id"] != "abc" || line["msg"] != "said something" {
				t.Errorf("unexpected line: %v", line)
			}
			text, _ := line["level"].(string)
			said = append(said, strings.ToLower(text))
		}
		if got, want := strings.Join(said, " "), strings.Join(all[i:], " "); got != want {
			t.Errorf("%s: lines of %q instead of %q", level, got, want)
		}
	}
}

func TestNew_RefusesAnUnknownLevelInASentence(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"", "loud", "info+2", "INFO ", "0"} {
		_, err := telemetry.New("auth", level, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "is not one of debug, info, warn and error") {
			t.Errorf("%q: unexpected error: %v", level, err)
		}
	}
}

func TestNew_RegistersRuntimeFigures(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.New("auth", "info", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	families, err := tel.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, family := range families {
		seen[family.GetName()] = true
	}
	for _, name := range []string{"go_goroutines", "process_open_fds"} {
		if !seen[name] {
			t.Errorf("%s is not there", name)
		}
	}
}

func TestTelemetry_ForChangesTheProcessAlone(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tel, err := telemetry.New("standalone", "info", &out)
	if err != nil {
		t.Fatal(err)
	}
	other := tel.For("auth").For("verifier")
	other.Log.Info("said something")
	if line := out.String(); strings.Count(line, `"process"`) != 1 || !strings.Contains(line, `"process":"verifier"`) {
		t.Errorf("unexpected line: %s", line)
	}
	if other.Registry != tel.Registry {
		t.Error("another registry")
	}
	literal := telemetry.Telemetry{Log: slog.New(slog.NewJSONHandler(&out, nil)), Registry: tel.Registry}
	literal.For("demo").Log.Info("said something")
	if !strings.Contains(out.String(), `"process":"demo"`) {
		t.Error("a telemetry put together by hand loses the name")
	}
}

func TestRegister_ToleratesTheRuntimeAlone(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	counter := func(name string) prometheus.Collector {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "Counts."})
	}
	for range 2 {
		err := telemetry.Register(reg, collectors.NewGoCollector(),
			collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		if err != nil {
			t.Fatal(err)
		}
	}
	err := telemetry.Register(reg, counter("doorcode_a_total"), counter("doorcode_b_total"))
	if err != nil {
		t.Fatal(err)
	}
	err = telemetry.Register(reg, counter("doorcode_a_total"), counter("doorcode_c_total"))
	if err == nil || !strings.Contains(err.Error(), "register metrics: ") {
		t.Errorf("unexpected error: %v", err)
	}
	err = reg.Register(counter("doorcode_c_total"))
	if err == nil {
		t.Error("one refusal kept the others out")
	}
}
