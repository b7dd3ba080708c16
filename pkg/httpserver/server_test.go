package httpserver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"doorcode/pkg/httpserver"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// silent returns a log that nobody reads.
func silent() *slog.Logger {
	return slog.New(slog.DiscardHandler)
}

// start serves h on a free port until the test ends.
func start(t *testing.T, h http.Handler) *httpserver.Server {
	t.Helper()
	s, err := httpserver.Start(t.Context(), httpserver.Config{
		Name: "api", Listen: "127.0.0.1:0", Handler: h, Log: silent(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := s.Stop(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Error(err)
		}
	})
	return s
}

// client returns an HTTP client without connections left after the test.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get asks the server and returns status and body.
func get(t *testing.T, c *http.Client, url string) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

func TestServer_LetsRunningRequestsEnd(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	s := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		_, _ = io.WriteString(w, "done")
	}))
	c := client(t)
	answers := make(chan string, 1)
	go func() {
		_, body, err := get(t, c, "http://"+s.Addr()+"/")
		if err != nil {
			body = err.Error()
		}
		answers <- body
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.WithoutCancel(t.Context())) }()
	for { // New connections are refused from some moment of Stop on.
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr())
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	select {
	case err := <-stopped:
		t.Errorf("stopped before the request ended: %v", err)
	default:
	}
	close(leave)
	if body := <-answers; body != "done" {
		t.Errorf("the running request was answered by %q", body)
	}
	err := <-stopped
	if err != nil {
		t.Error(err)
	}
	select {
	case err := <-s.Failed():
		t.Errorf("a stop counts as a failure: %v", err)
	default:
	}
}

func TestServer_CutsOffWhatOutlivesTheStop(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	s, err := httpserver.Start(t.Context(), httpserver.Config{
		Name: "api", Listen: "127.0.0.1:0", Log: silent(),
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := client(t)
	broken := make(chan error, 1)
	go func() {
		_, _, err := get(t, c, "http://"+s.Addr()+"/")
		broken <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = s.Stop(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "stop api listener") {
		t.Errorf("unexpected error: %v", err)
	}
	if <-broken == nil {
		t.Error("the request was answered")
	}
}

// It shows SEC-54 of deploy/SECURITY.md.
func TestServer_BoundsHeaders(t *testing.T) {
	t.Parallel()
	s := start(t, http.NotFoundHandler())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Long", strings.Repeat("a", 32<<10))
	res, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestStart_RefusesWhatCannotServe(t *testing.T) {
	t.Parallel()
	taken := start(t, http.NotFoundHandler())
	for name, cfg := range map[string]httpserver.Config{
		"taken":      {Name: "api", Listen: taken.Addr(), Handler: http.NotFoundHandler(), Log: silent()},
		"no address": {Name: "api", Listen: "nowhere", Handler: http.NotFoundHandler(), Log: silent()},
		"no handler": {Name: "api", Listen: "127.0.0.1:0", Log: silent()},
		"no log":     {Name: "api", Listen: "127.0.0.1:0", Handler: http.NotFoundHandler()},
	} {
		_, err := httpserver.Start(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), "start api listener: ") {
			t.Errorf("%s: unexpected error: %v", name, err)
		}
	}
}

func TestStart_TellsTheLogWhereItListens(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s, err := httpserver.Start(t.Context(), httpserver.Config{
		Name: "api", Listen: "127.0.0.1:0", Handler: http.NotFoundHandler(),
		Log: slog.New(slog.NewJSONHandler(&out, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"msg":"listening","listener":"api","address":"`+s.Addr()+`"`) {
		t.Errorf("unexpected line: %s", &out)
	}
	err = s.Stop(t.Context())
	if err != nil {
		t.Errorf("a second stop fails: %v", err)
	}
}

// The server of the standard library would answer `OPTIONS *` by itself, in no form of ours (DESIGN 8).
func TestServer_AnswersOptionsForAllByTheHandler(t *testing.T) {
	t.Parallel()
	s := start(t, httpserver.NewRouter(silent()))
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(answer), "HTTP/1.1 404 ") || !strings.Contains(string(answer), "application/problem+json") {
		t.Errorf("the answer is %q", answer)
	}
}
