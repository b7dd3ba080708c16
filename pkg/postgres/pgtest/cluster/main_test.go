package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"doorcode/pkg/postgres/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is an output that tells when a word has been written to it.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	word string
	seen chan struct{}
	once sync.Once
}

// Write keeps the text and looks for the word.
func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if strings.Contains(w.text.String(), w.word) {
		w.once.Do(func() { close(w.seen) })
	}
	return len(p), nil
}

func TestRun_GivesTheCommandAClusterAndReturnsItsCode(t *testing.T) {
	t.Parallel()
	var out, complaints bytes.Buffer
	code := run(t.Context(), []string{"--", "sh", "-c", `printf %s "$` + pgtest.Variable + `"; exit 7`}, nil, &out, &complaints)
	if code != 7 {
		t.Errorf("exit code %d, want the command's 7\n%s", code, complaints.String())
	}
	address := out.String()
	if !strings.HasPrefix(address, "postgres://") {
		t.Fatalf("the command saw the address %q", address)
	}
	_, err := pgx.Connect(t.Context(), address)
	if err == nil {
		t.Error("the cluster still answers after the command")
	}
}

func TestRun_PassesSignalsOn(t *testing.T) {
	t.Parallel()
	signals := make(chan os.Signal, 1)
	out := &watched{word: "ready", seen: make(chan struct{})}
	go func() {
		<-out.seen
		signals <- syscall.SIGTERM
	}()
	script := `trap 'kill $!; exit 9' TERM; tail -f /dev/null & echo ready; wait`
	var complaints bytes.Buffer
	code := run(t.Context(), []string{"sh", "-c", script}, signals, out, &complaints)
	if code != 9 {
		t.Errorf("exit code %d, want 9 from the command's own end\n%s", code, complaints.String())
	}
}

func TestRun_CountsADeathBySignal(t *testing.T) {
	t.Parallel()
	var out, complaints bytes.Buffer
	code := run(t.Context(), []string{"sh", "-c", "kill -9 $$"}, nil, &out, &complaints)
	if code != 128+9 {
		t.Errorf("exit code %d, want 137\n%s", code, complaints.String())
	}
}

func TestRun_FailsClearly(t *testing.T) {
	t.Parallel()
	interrupted := make(chan os.Signal, 1)
	interrupted <- os.Interrupt
	for name, c := range map[string]struct {
		args    []string
		signals chan os.Signal
		want    string
	}{
		"no command":      {[]string{"--"}, nil, "usage:"},
		"unknown command": {[]string{"--", "/nowhere/at/all"}, nil, "start command"},
		"interrupted":     {[]string{"--", "true"}, interrupted, "interrupted before"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, complaints bytes.Buffer
			code := run(t.Context(), c.args, c.signals, &out, &complaints)
			if code != failure || !strings.Contains(complaints.String(), c.want) {
				t.Errorf("exit code %d, said %q, want %d and %q", code, complaints.String(), failure, c.want)
			}
		})
	}
}
