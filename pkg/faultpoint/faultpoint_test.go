package faultpoint_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// build builds the walk with or without the tag and returns its path.
func build(t *testing.T, tags string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "walk")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-o", path, "./testdata/walk").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// walk runs the walk and returns what it printed and the signal that ended it, or
// 0 when it came to its end.
func walk(t *testing.T, path, armed string) (string, syscall.Signal) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = append(os.Environ(), "FAULTPOINT="+armed)
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status, _ := exit.Sys().(syscall.WaitStatus)
		return out.String(), status.Signal()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), 0
}

func TestHit_StrikesAtItsPointAndHitAlone(t *testing.T) {
	t.Parallel()
	path := build(t, "faultpoints")
	for armed, want := range map[string]string{
		"":              "one two three",
		"walk.before:1": "",
		"walk.before:3": "one two",
		"walk.after:2":  "one two",
		"walk.after:4":  "one two three",
		"elsewhere:1":   "one two three",
	} {
		printed, signal := walk(t, path, armed)
		ended := armed == "" || armed == "walk.after:4" || armed == "elsewhere:1"
		if got := strings.Join(strings.Fields(printed), " "); got != want || (signal == 0) != ended || !ended && signal != syscall.SIGKILL {
			t.Errorf("%q: printed %q and ended by signal %d", armed, got, signal)
		}
	}
}

func TestHit_StopsTheProcessUntilItIsContinued(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), build(t, "faultpoints"))
	cmd.Env = append(os.Environ(), "FAULTPOINT=walk.after:2:stop")
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Start()
	if err != nil {
		t.Fatal(err)
	}
	stopped := func() bool {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "stat"))
		return err == nil && bytes.Contains(stat, []byte(") T "))
	}
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !stopped() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatal("it never stopped")
		}
	}
	err = errors.Join(cmd.Process.Signal(syscall.SIGCONT), cmd.Wait())
	if err != nil || out.String() != "one\ntwo\nthree\n" {
		t.Errorf("after the stop: %v, printed %q", err, out.String())
	}
}

func TestHit_RefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	path := build(t, "faultpoints")
	for _, armed := range []string{"walk.before", "walk.before:0", "walk.before:x", ":1", "walk.before:1:pause"} {
		cmd := exec.CommandContext(t.Context(), path)
		cmd.Env = append(os.Environ(), "FAULTPOINT="+armed)
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("is not of the form")) {
			t.Errorf("%q was taken: %v %s", armed, err, out)
		}
	}
}

func TestHit_IsNothingWithoutTheTag(t *testing.T) {
	t.Parallel()
	path := build(t, "")
	if printed, signal := walk(t, path, "walk.before:1"); signal != 0 || printed != "one\ntwo\nthree\n" {
		t.Errorf("a release walk ended by signal %d and printed %q", signal, printed)
	}
	with, err := os.ReadFile(build(t, "faultpoints"))
	if err != nil {
		t.Fatal(err)
	}
	without, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, trace := range []string{"walk.before", "walk.after", "FAULTPOINT", "faultpoint.Hit", "pkg/faultpoint/on.go"} {
		if !bytes.Contains(with, []byte(trace)) {
			t.Errorf("the build with the tag has no %q: the test proves nothing", trace)
		}
		if bytes.Contains(without, []byte(trace)) {
			t.Errorf("the build without the tag has %q", trace)
		}
	}
}
