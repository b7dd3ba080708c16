package host

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell runs a script.
func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Launch(t.Context(), Program{
		Name: "script", Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"WORD=said"}, Log: filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// never is not ready.
func never(context.Context) error { return errors.New("not yet") }

func TestProcess_StopsByItsSignal(t *testing.T) {
	t.Parallel()
	p := shell(t, `trap 'exit 0' TERM; echo "$WORD"; while :; do read -r line < /dev/null || :; done`)
	err := p.Await(t.Context(), func(context.Context) error {
		if !strings.Contains(p.Tail(), "said") {
			return errors.New("it has not spoken")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if p.Name() != "script" || p.PID() < 2 {
		t.Errorf("%s has the id %d", p.Name(), p.PID())
	}
	err = p.Stop()
	if err != nil {
		t.Error(err)
	}
}

func TestProcess_TellsHowItEnded(t *testing.T) {
	t.Parallel()
	p := shell(t, `echo no way; exit 3`)
	err := p.Await(t.Context(), never)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no way") {
		t.Errorf("await: %v", err)
	}
	err = p.Stop()
	if err == nil || !strings.Contains(err.Error(), "by itself") {
		t.Errorf("stop: %v", err)
	}
}

func TestProcess_AwaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := shell(t, `exec sleep 600`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.Await(ctx, never)
	if err == nil {
		t.Error("it became ready")
	}
	err = p.Stop()
	if err == nil { // sleep does not know SIGTERM and ends by it
		t.Error("an end by a signal counts as clean")
	}
}

func TestLaunch_FailsWithoutAProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Launch(t.Context(), Program{Name: "nothing", Path: filepath.Join(dir, "nothing"), Log: filepath.Join(dir, "log")})
	if err == nil {
		t.Error("what does not exist was started")
	}
	_, err = Launch(t.Context(), Program{Name: "nothing", Path: "/bin/true", Log: filepath.Join(dir, "no", "log")})
	if err == nil {
		t.Error("a process without a log was started")
	}
}

func TestReady_AsksForTheStatus(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	err := Ready(t.Context(), server.URL+"/readyz")
	if err != nil {
		t.Error(err)
	}
	for _, url := range []string{server.URL + "/other", "http://127.0.0.1:1/readyz", ":"} {
		err = Ready(t.Context(), url)
		if err == nil {
			t.Errorf("%s is ready", url)
		}
	}
}
