package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// line is a line of /proc/<pid>/stat.
func line(pid int, command string, parent, user, system, childrenUser, childrenSystem int) string {
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194304 100 0 0 0 %d %d %d %d 20 0 1 0 1 1 1 1",
		pid, command, parent, user, system, childrenUser, childrenSystem)
}

func TestParseStat_ReadsParentAndTimes(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"auth", "postgres: doorcode doorcode_auth 127.0.0.1(40000) idle", "a) S 7 (b"} {
		s, err := parseStat(line(42, command, 7, 100, 20, 3, 4))
		if err != nil {
			t.Fatalf("%q: %v", command, err)
		}
		if want := (stat{parent: 7, cpu: 1270 * time.Millisecond}); s != want {
			t.Errorf("%q: %+v, not %+v", command, s, want)
		}
	}
	for _, bad := range []string{"", "42 auth S 7", "42 (auth) S", "42 (auth) S x 1 1 0 -1 1 1 0 0 0 1 1 1 1 20", "42 (auth) S 7 1 1 0 -1 1 1 0 0 0 x 1 1 1 20"} {
		s, err := parseStat(bad)
		if err == nil {
			t.Errorf("%q is read as %+v", bad, s)
		}
	}
}

func TestParseMemory_ReadsTheShare(t *testing.T) {
	t.Parallel()
	n, err := parseMemory([]byte("5581-7ffd ---p 00000000 00:00 0   [rollup]\nRss:   9000 kB\nPss:   1234 kB\nPss_Anon:  17 kB\n"))
	if err != nil || n != 1234<<10 {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"", "Rss: 1 kB\n", "Pss: many kB\n"} {
		n, err := parseMemory([]byte(bad))
		if err == nil {
			t.Errorf("%q is read as %d", bad, n)
		}
	}
}

// proc makes a proc file system of processes, each with 10 ticks and 10 kB, by their parents.
func proc(t *testing.T, parents map[int]int) string {
	t.Helper()
	dir := t.TempDir()
	for pid, parent := range parents {
		folder := filepath.Join(dir, strconv.Itoa(pid))
		err := os.Mkdir(folder, 0o700)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"stat": line(pid, "p", parent, 4, 3, 2, 1), "smaps_rollup": "Pss: 10 kB\n"} {
			err = os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestMeasure_SumsTheTree(t *testing.T) {
	t.Parallel()
	dir := proc(t, map[int]int{1: 0, 10: 1, 11: 10, 12: 10, 13: 12, 20: 1})
	all, err := Measure(dir, 10)
	if want := (Usage{CPU: 400 * time.Millisecond, Memory: 40 << 10}); err != nil || all != want {
		t.Errorf("%+v, %v, not %+v", all, err, want)
	}
	alone, err := MeasureAlone(dir, 10)
	if want := (Usage{CPU: 100 * time.Millisecond, Memory: 10 << 10}); err != nil || alone != want {
		t.Errorf("%+v, %v, not %+v", alone, err, want)
	}
	_, err = Measure(dir, 99)
	if err == nil {
		t.Error("a process that does not run is measured")
	}
}

func TestMeasure_ReadsThisProcess(t *testing.T) {
	t.Parallel()
	u, err := Measure("/proc", os.Getpid())
	if err != nil || u.Memory < 1<<20 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestMeasure_SkipsAChildThatEnds(t *testing.T) {
	t.Parallel()
	dir := proc(t, map[int]int{10: 1, 11: 10})
	err := os.Remove(filepath.Join(dir, "11", "smaps_rollup"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := Measure(dir, 10)
	if err != nil || u.CPU != 100*time.Millisecond {
		t.Errorf("%+v, %v", u, err)
	}
}
