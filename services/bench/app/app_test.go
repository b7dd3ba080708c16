package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/services/bench/internal/host"
	"doorcode/services/bench/internal/load"
	"doorcode/services/bench/internal/report"
)

// The binaries, as `make bench` builds them.
var binaries string //nolint:gochecknoglobals // set by TestMain before any test runs

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "doorcode-bench-test-")
	if err != nil {
		return complain(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binaries = dir
	build := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-o", dir+"/", "doorcode/services/auth",
		"doorcode/services/verifier", "doorcode/services/email-dispatcher", "doorcode/services/doorcodectl", "github.com/nats-io/nats-server/v2")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		return complain(fmt.Errorf("%w\n%s", err, out))
	}
	code := m.Run()
	err = goleak.Find()
	if code == 0 && err != nil {
		return complain(err)
	}
	return code
}

// complain reports why the tests do not count.
func complain(err error) int {
	_, _ = fmt.Fprintln(os.Stderr, "bench tests:", err)
	return 1
}

// measure runs the command with few people for a moment.
func measure(t *testing.T, args ...string) (code int, out, progress, files string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	files = filepath.Join(t.TempDir(), "report")
	var stdout, stderr bytes.Buffer
	code = Run(ctx, append([]string{
		"-bin", binaries, "-out", files, "-logins", "20", "-duration", "300ms", "-warm-up", "1ms", "-floor", "1ms",
	}, args...), os.Environ(), &stdout, &stderr)
	return code, stdout.String(), stderr.String(), files
}

// A moment of each kind of load, through all processes: the figures are there, whatever they are.
func TestBench_MeasuresSignInsOfRealProcesses(t *testing.T) {
	t.Parallel()
	code, out, progress, files := measure(t, "-closed", "2", "-rates", "20", "-sync", "always", "-dispatchers", "2")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, progress)
	}
	data, err := os.ReadFile(filepath.Join(files, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	err = json.Unmarshal(data, &r)
	if err != nil || len(r.Runs) != 2 {
		t.Fatalf("%d runs, %v", len(r.Runs), err)
	}
	for _, run := range r.Runs {
		wantWhole(t, run)
	}
	if got := r.Runs[1].Cycles; got != 6 { // 20 a second for 300 ms
		t.Errorf("the open loop made %d cycles", got)
	}
	for _, name := range []string{"report.txt", "latency.svg"} {
		info, err := os.Stat(filepath.Join(files, name))
		if err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, want := range []string{"cycles/s", "2 in flight", "20/s", "email-dispatcher 2", "PostgreSQL"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q does not stand in the table\n%s", want, out)
		}
	}
}

// wantWhole looks for every figure of a run.
func wantWhole(t *testing.T, r report.Run) {
	t.Helper()
	if r.Cycles == 0 || r.Failed() != 0 || r.PerSecond <= 0 || r.Seconds <= 0 {
		t.Errorf("%s: %d cycles, %v", r.Name(), r.Cycles, r.Failures)
	}
	for _, s := range load.Stages() {
		if r.Stages[s].Count != int64(r.Cycles) {
			t.Errorf("%s: %d of %d cycles have the stage %s", r.Name(), r.Stages[s].Count, r.Cycles, s)
		}
	}
	if r.Stages[load.Cycle].P50 < r.Stages[load.Check].P50 {
		t.Errorf("%s: a part takes longer than the whole", r.Name())
	}
	for _, part := range []string{report.FloorHTTP, report.FloorPublish, report.FloorCommit} {
		if r.Floor[part].Count == 0 {
			t.Errorf("%s: the floor %s was not measured", r.Name(), part)
		}
	}
	var names []string
	for _, p := range r.Processes {
		names = append(names, p.Name)
		if p.Memory == 0 || p.CPU < 0 || p.Replicas < 1 {
			t.Errorf("%s: %+v", r.Name(), p)
		}
	}
	if want := []string{"nats-server", "postgres", "verifier", "auth", "email-dispatcher", "bench"}; !slices.Equal(names, want) {
		t.Errorf("%s: processes %v", r.Name(), names)
	}
}

// Sign-ins that fail are told, and make the exit code.
func TestBench_FailsWhenSignInsAreRefused(t *testing.T) {
	t.Parallel()
	code, _, progress, files := measure(t, "-closed", "2", "-rates", "none", "-sync", "default", "-set", "DOORCODE_AUTH_CREATES_PER_SECOND=1")
	if code != 1 || !strings.Contains(progress, "were not approved") {
		t.Errorf("exit code %d\n%s", code, progress)
	}
	table, err := os.ReadFile(filepath.Join(files, "report.txt"))
	if err != nil || !strings.Contains(string(table), "× create: 503 ") {
		t.Errorf("%v\n%s", err, table)
	}
}

func TestBench_RefusesFlagsThatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-nothing"},
		{"word"},
		{"-closed", "0"},
		{"-closed", "x"},
		{"-rates", "-1"},
		{"-duration", "0s"},
		{"-dispatchers", "0"},
		{"-logins", "10", "-closed", "11"},
		{"-set", "PATH=/"},
		{"-set", "DOORCODE_LOG_LEVEL"},
		{"-floor", "-1s"},
		{"-verifiers", "0"},
	} {
		var out, errOut bytes.Buffer
		code := Run(t.Context(), args, nil, &out, &errOut)
		if code != 2 || out.Len() > 0 || errOut.Len() == 0 {
			t.Errorf("%v: exit code %d, %q", args, code, errOut.String())
		}
	}
	var out, errOut bytes.Buffer
	if code := Run(t.Context(), []string{"-h"}, nil, &out, &errOut); code != 0 || !strings.Contains(errOut.String(), "-duration") {
		t.Errorf("help: exit code %d, %q", code, errOut.String())
	}
}

func TestParse_Defaults(t *testing.T) {
	t.Parallel()
	c, err := parse(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{cfg: c}
	var names []string
	for _, p := range b.loads() {
		names = append(names, p.sync+" "+report.Run{InFlight: p.inFlight, Rate: p.rate}.Name())
	}
	want := []string{
		"default 1 in flight", "default 16 in flight", "default 64 in flight", "default 256 in flight", "default 200/s", "default 1000/s",
		"always 1 in flight", "always 16 in flight", "always 64 in flight", "always 256 in flight", "always 200/s", "always 1000/s",
	}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	short, err := parse([]string{"-short", "-logins", "500", "-set", "DOORCODE_LOG_LEVEL=info", "-sync", "1s"}, nil)
	if err != nil || short.Lasts >= c.Lasts || short.People != 500 || short.Settings["DOORCODE_LOG_LEVEL"] != "info" || !slices.Equal(short.Syncs, []string{"1s"}) {
		t.Errorf("%+v, %v", short, err)
	}
}

func TestJudge_ForgivesOnlyWhatAnOpenLoopIsRefused(t *testing.T) {
	t.Parallel()
	refused, wrong := map[string]int{"create: 503 overloaded": 3}, map[string]int{"create: 503 overloaded": 3, "check: 422 wrong_code": 1}
	for _, c := range []struct {
		run report.Run
		ok  bool
	}{
		{report.Run{InFlight: 1}, true},
		{report.Run{InFlight: 1, Failures: refused}, false},
		{report.Run{Rate: 1, Failures: refused}, true},
		{report.Run{Rate: 1, Failures: wrong}, false},
	} {
		if err := judge(c.run); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.run, err)
		}
	}
}

func TestCosts_SumReplicasAndDivideByCycles(t *testing.T) {
	t.Parallel()
	usage := func(ms int, memory int64) host.Usage {
		return host.Usage{CPU: time.Duration(ms) * time.Millisecond, Memory: memory}
	}
	before := []member{{"auth", usage(100, 1)}, {"dispatcher", usage(10, 1)}, {"dispatcher", usage(20, 1)}}
	after := []member{{"auth", usage(300, 5)}, {"dispatcher", usage(60, 6)}, {"dispatcher", usage(70, 7)}}
	got := costs(before, after, 100, 2)
	want := []report.Process{
		{Name: "auth", Replicas: 1, CPU: 2000, Cores: 0.1, Memory: 5}, {Name: "dispatcher", Replicas: 2, CPU: 1000, Cores: 0.05, Memory: 13},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if none := costs(before, after, 0, 2); none[0].CPU != 200_000 {
		t.Errorf("without a cycle: %+v", none)
	}
}

func TestRepeat_TellsWhatFails(t *testing.T) {
	t.Parallel()
	n := 0
	l, err := repeat(time.Millisecond, func() error { n++; return nil })
	if err != nil || n == 0 || l.Count != int64(n) {
		t.Errorf("%d of %d, %v", l.Count, n, err)
	}
	_, err = repeat(time.Minute, func() error { return errors.New("down") })
	if err == nil {
		t.Error("a floor that is down is measured")
	}
}

func TestModel_IsWhatTheKernelSays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "cpuinfo")
	err := os.WriteFile(path, []byte("processor\t: 0\nmodel name\t: A Processor\nmodel name\t: Another\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if got := model(path); got != "A Processor" {
		t.Errorf("%q", got)
	}
	if got := model(filepath.Join(t.TempDir(), "none")); got == "" {
		t.Error("a machine without a name")
	}
}
