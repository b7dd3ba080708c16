package app

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"doorcode/pkg/config"
	"doorcode/pkg/lifecycle"
	"doorcode/pkg/telemetry"
)

var _ lifecycle.App = (*App)(nil)

// TestMain also proves that a stop leaves nothing running.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// directory answers like auth and remembers what was put.
type directory struct {
	mu     sync.Mutex
	puts   []string
	status int
	// kept makes it refuse to change the main address.
	kept bool
}

// ServeHTTP answers every request with the status.
func (d *directory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Method == http.MethodPut {
		d.puts = append(d.puts, r.URL.Path)
	}
	if d.kept && len(d.puts) == 1 {
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"code":"main_email_differs"}`)
		return
	}
	w.WriteHeader(d.status)
	_, _ = io.WriteString(w, `{"code":"unavailable"}`)
}

// newDemo returns a demo in front of d, not started.
func newDemo(t *testing.T, d *directory) *App {
	t.Helper()
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	tel, err := telemetry.New("demo", "info", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Config{
		Listen: "127.0.0.1:0", AuthURL: server.URL, InboxURL: "http://127.0.0.1:8025", APIKey: config.NewSecret("dck_demo_secret"),
	}, tel)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestApp_SeedsItsLoginServesItsPagesAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	d := &directory{status: http.StatusOK}
	a := newDemo(t, d)
	err := a.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(d.puts, " "); got != "/v1/workspaces/lanternbird /v1/workspaces/lanternbird/logins/jo" {
		t.Errorf("put were %s", got)
	}
	if a.Ready(t.Context()) != nil {
		t.Error("it is not ready")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.Addr()+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	page, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(page), "jo@lanternbird.example") {
		t.Errorf("the login page is %s, %v", page, err)
	}
	err = a.Stop(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Error(err)
	}
}

// Its owner has changed the main address on the settings page: that is no reason not to start.
func TestApp_StartsWithTheMainAddressThatItsOwnerChose(t *testing.T) {
	t.Parallel()
	d := &directory{status: http.StatusOK, kept: true}
	a := newDemo(t, d)
	err := a.Start(t.Context())
	if err != nil || len(d.puts) != 2 {
		t.Errorf("it put %v, %v", d.puts, err)
	}
	err = a.Stop(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Error(err)
	}
}

func TestApp_WithoutAuthItDoesNotStartAndCanBeStopped(t *testing.T) {
	t.Parallel()
	a := newDemo(t, &directory{status: http.StatusServiceUnavailable})
	err := a.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "start demo") {
		t.Errorf("error is %v", err)
	}
	if a.Ready(t.Context()) == nil {
		t.Error("it is ready without auth")
	}
	err = a.Stop(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Error(err)
	}
}

func TestConfig_NamesTheAddressThatIsNone(t *testing.T) {
	t.Parallel()
	good := Config{AuthURL: "http://auth:8080", InboxURL: "http://sandbox:8025"}
	if good.Validate() != nil {
		t.Error("a good configuration is refused")
	}
	for name, spoil := range map[string]func(*Config){
		"DOORCODE_DEMO_AUTH_URL":      func(c *Config) { c.AuthURL = "auth:8080" },
		"DOORCODE_DEMO_INBOX_URL":     func(c *Config) { c.InboxURL = "ftp://sandbox" },
		"DOORCODE_DEMO_PUBLIC_URL":    func(c *Config) { c.PublicURL = "demo:8090" },
		"DOORCODE_DEMO_PROMPT_ORIGIN": func(c *Config) { c.PromptOrigin = "javascript:alert(1)" },
	} {
		c := good
		spoil(&c)
		err := c.Validate()
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
