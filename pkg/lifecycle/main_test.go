package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"doorcode/pkg/telemetry"
)

// settings is the configuration of the process under test.
type settings struct {
	Listen   string `env:"DOORCODE_AUTH_OPERATIONS_LISTEN" envDefault:"127.0.0.1:0" help:"Operations address."`
	LogLevel string `env:"DOORCODE_LOG_LEVEL" envDefault:"info" help:"How much is logged."`
}

func (s settings) Operations() Operations { return Operations{Listen: s.Listen, LogLevel: s.LogLevel} }

// probe is an app whose every step the test holds.
type probe struct {
	starting, start chan struct{} // Closed by the app, closed by the test.
	stopping, stop  chan struct{}
	failed          chan error
	onStart, onStop error
}

func newProbe() *probe {
	return &probe{
		starting: make(chan struct{}), start: make(chan struct{}),
		stopping: make(chan struct{}), stop: make(chan struct{}),
		failed: make(chan error, 1),
	}
}

func (p *probe) Start(ctx context.Context) error {
	close(p.starting)
	select {
	case <-p.start:
		return p.onStart
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *probe) Stop(ctx context.Context) error {
	close(p.stopping)
	if _, bounded := ctx.Deadline(); !bounded {
		return errors.New("the stop has no deadline")
	}
	<-p.stop
	return p.onStop
}

func (p *probe) Ready(context.Context) error { return nil }
func (p *probe) Failed() <-chan error        { return p.failed }

// output is a writer whose lines the test may wait for.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan map[string]any
}

func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var line map[string]any
	err := json.Unmarshal(data, &line)
	if err != nil {
		return 0, err
	}
	o.lines <- line
	return o.text.Write(data)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await reads lines up to the one with that message.
func (o *output) await(t *testing.T, message string) map[string]any {
	t.Helper()
	for {
		select {
		case line := <-o.lines:
			if line["msg"] == message {
				return line
			}
		case <-t.Context().Done():
			t.Fatalf("no line %q in:\n%s", message, o)
		}
	}
}

// launched is a process under test.
type launched struct {
	app     *probe
	out     *output
	signals chan os.Signal
	forgot  chan struct{}
	code    chan int
}

// launch runs a process with that environment in the background.
func launch(t *testing.T, app *probe, environ ...string) launched {
	t.Helper()
	r := launched{
		app: app, out: &output{lines: make(chan map[string]any, 100)},
		signals: make(chan os.Signal, 1), forgot: make(chan struct{}, 1), code: make(chan int, 1),
	}
	p := process[settings]{
		name: "auth", prefix: "DOORCODE_AUTH_", environ: environ, stdout: r.out, signals: r.signals,
		forget: func() { r.forgot <- struct{}{} },
		build: func(_ settings, tel telemetry.Telemetry) (App, error) {
			if app == nil {
				return nil, errors.New("no such provider")
			}
			tel.Log.Debug("built")
			return app, nil
		},
	}
	go func() { r.code <- p.run(context.WithoutCancel(t.Context())) }()
	return r
}

// ask returns the status of a path of the operations server and its body.
func ask(t *testing.T, address any, path string) (int, string) {
	t.Helper()
	host, _ := address.(string)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestMain_IsReadyBetweenStartAndStopAlone(t *testing.T) {
	t.Parallel()
	app := newProbe()
	p := launch(t, app)
	address := p.out.await(t, "listening")["address"]
	<-app.starting
	expect := func(path string, status int, text string) {
		t.Helper()
		got, body := ask(t, address, path)
		if got != status || !strings.Contains(body, text) {
			t.Errorf("%s is answered by %d %s", path, got, body)
		}
	}
	expect("/healthz", 200, "healthy")
	expect("/readyz", 503, "the process is starting")
	close(app.start)
	p.out.await(t, "started")
	expect("/readyz", 200, "ready")
	expect("/metrics", 200, "go_goroutines")
	p.signals <- syscall.SIGTERM
	<-app.stopping
	expect("/readyz", 503, "the process is stopping")
	expect("/healthz", 200, "healthy")
	close(app.stop)
	if code := <-p.code; code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
	<-p.forgot
	if line := p.out.await(t, "asked to stop"); line["signal"] != "terminated" || line["process"] != "auth" {
		t.Errorf("unexpected line: %v", line)
	}
}

func TestMain_StopsWhenTheAppFails(t *testing.T) {
	t.Parallel()
	app := newProbe()
	p := launch(t, app)
	close(app.start)
	close(app.stop)
	app.failed <- errors.New("permission lost")
	if code := <-p.code; code != 1 || !strings.Contains(p.out.String(), `"run auth: permission lost"`) {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
}

func TestMain_CleansUpAfterAFailedStart(t *testing.T) {
	t.Parallel()
	app := newProbe()
	app.onStart = errors.New("postgres: no answer")
	p := launch(t, app)
	close(app.start)
	close(app.stop)
	<-app.stopping
	if code := <-p.code; code != 1 || !strings.Contains(p.out.String(), `"start auth: postgres: no answer"`) {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
}

func TestMain_GivesUpAStartWhenAskedTo(t *testing.T) {
	t.Parallel()
	app := newProbe()
	close(app.stop)
	p := launch(t, app)
	<-app.starting
	p.signals <- os.Interrupt
	if code := <-p.code; code != 0 || strings.Contains(p.out.String(), `"msg":"started"`) {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
}

func TestMain_ReportsAStopThatFails(t *testing.T) {
	t.Parallel()
	app := newProbe()
	app.onStop = errors.New("stuck")
	close(app.start)
	close(app.stop)
	p := launch(t, app)
	p.out.await(t, "started")
	p.signals <- os.Interrupt
	if code := <-p.code; code != 1 || !strings.Contains(p.out.String(), `"stop auth: stuck"`) {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
}

func TestMain_RefusesBadSettings(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		app     *probe
		environ string
		want    string
	}{
		"unknown name": {newProbe(), "DOORCODE_AUTH_TYPO=1", "DOORCODE_AUTH_TYPO: no such setting"},
		"log level":    {newProbe(), "DOORCODE_LOG_LEVEL=loud", "is not one of debug"},
		"build":        {nil, "", "no such provider"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, tc.app, tc.environ)
			code := <-p.code
			line := p.out.await(t, "configuration refused")
			if text, _ := line["error"].(string); code != 1 || !strings.Contains(text, tc.want) {
				t.Errorf("exit code %d: %v", code, line)
			}
		})
	}
}

func TestMain_RefusesAnAddressThatCannotBeListenedOn(t *testing.T) {
	t.Parallel()
	p := launch(t, newProbe(), "DOORCODE_AUTH_OPERATIONS_LISTEN=nowhere")
	if code := <-p.code; code != 1 || !strings.Contains(p.out.String(), "start operations listener") {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
}

func TestMain_LogsFromItsLevelUp(t *testing.T) {
	t.Parallel()
	app := newProbe()
	close(app.start)
	close(app.stop)
	p := launch(t, app, "DOORCODE_LOG_LEVEL=debug")
	p.out.await(t, "built")
	p.out.await(t, "started")
	p.signals <- os.Interrupt
	if code := <-p.code; code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.out)
	}
}

// The operator's word about the garbage collector is the stronger one.
func TestRelax_LeavesAnOperatorsSettingAlone(t *testing.T) {
	t.Parallel()
	for environ, want := range map[string]int{"": growth, "GOMEMLIMIT=64MiB": growth, "GOGC=50": 0, "GOGC=off": 0} {
		got := 0
		relax([]string{"HOME=/", environ}, func(percent int) int {
			got = percent
			return 100
		})
		if got != want {
			t.Errorf("%q: %d, not %d", environ, got, want)
		}
	}
}
