package app_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/chromium/browsertest"
	"doorcode/pkg/event"
)

// change changes the state and announces it, as the verifier does.
func (s *scene) change(t *testing.T, f func()) {
	t.Helper()
	s.set(f)
	issued := s.issued(t)
	data, err := json.Marshal(event.Changed{Challenges: []string{issued[len(issued)-1].Challenge}})
	if err != nil {
		t.Fatal(err)
	}
	err = s.bus.Connect(t, "verifier").Announce(event.SubjectChanged, data)
	if err != nil {
		t.Fatal(err)
	}
}

// seen returns what browsers asked for, without what stands behind the page's name.
func (s *scene) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.visited)
}

// TestPrompt_TheScriptFollowsWhatHappens has a browser with scripts, over TLS with its `__Host-` cookie.
func TestPrompt_TheScriptFollowsWhatHappens(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.set(func() { s.state.ResendAt = new(time.Now().Add(5 * time.Minute)) })
	address, handle := s.prompt(t)
	b := browsertest.Open(t, browsertest.Options{Insecure: true})
	b.Show(320, browsertest.Light)
	b.Visit(address)
	b.See("You can ask for another message in ")
	b.See("Time left: ")
	bustest.Wait(t, "the script follows", func() bool { return len(s.seen()) >= 3 })
	page := strings.TrimPrefix(s.seen()[1], "GET ")
	if got, want := s.seen(), []string{"GET /prompt", "GET " + page, "GET " + page + "/events"}; !slices.Equal(got, want) {
		t.Errorf("the prompt is the requests %v, not %v", got, want) // One document, and then the stream.
	}
	b.Accessible("the prompt with its script")
	b.Fits("the prompt with its script")
	if *allPictures != "" {
		b.Picture(*allPictures + "/script.png")
	}
	if !b.Is("button[name=channel]:disabled") {
		t.Error("the button for another message can be pressed before its time")
	}
	s.change(t, func() {
		s.state.Deliveries[0].Status, s.state.Deliveries[0].Text = "delivered", "Accepted by example.com."
		s.state.ResendAt = new(time.Now().Add(-time.Second))
	})
	b.See("Accepted by example.com.")
	bustest.Wait(t, "the button can be pressed", func() bool { return b.Is("button[name=channel]:enabled") })
	s.change(t, func() { s.state.Waiting = 2 })
	b.See("2 sign-ins are waiting at this address; yours is KRT.")
	// A right code leads back by itself.
	b.Type("#code", "482917")
	b.Press("form.code button")
	b.At(s.back.URL + "/signed-in")
	b.See("Welcome back")
	s.set(func() {
		if len(s.returned) != 1 || s.returned[0].Get("handle") != handle || s.returned[0].Get("assertion") == "" || len(s.returned[0]) != 2 {
			t.Errorf("posted were %v", s.returned)
		}
		if s.origins[0] != s.pages.URL { // A front-end tells our post from others by it.
			t.Errorf("the post comes from the origin %q", s.origins[0])
		}
	})
}

func TestPrompt_AnEndElsewhereIsShownByItself(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	b := browsertest.Open(t, browsertest.Options{Insecure: true})
	b.Visit(address)
	b.See("Time left: ")
	bustest.Wait(t, "the script follows", func() bool { return len(s.seen()) >= 3 })
	s.change(t, func() { s.state.State, s.state.ResendAt = "expired", nil })
	b.See("This code ran out")
	b.See("If you need support, say")
	b.Leave(func() { b.Press("main a.button") })
	b.See("Sign in again")
}

// Clocks of people's machines are wrong by minutes and hours: what is left is what the server says
// (product.md edge case 18).
func TestPrompt_CountsDownByTheServersClock(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	for name, ahead := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		s.serveAnew()
		s.set(func() { s.state.ResendAt = new(time.Now().Add(5 * time.Minute)) })
		address, _ := s.prompt(t)
		b := browsertest.Open(t, browsertest.Options{Insecure: true, Ahead: ahead})
		b.Visit(address)
		if got := regexp.MustCompile(`Time left: (8|9|10):\d\d`).FindString(b.Text()); got == "" {
			t.Errorf("%s: what is left in\n%s", name, b.Text())
		}
		b.See("You can ask for another message in 4:")
		bustest.Wait(t, "the script follows", func() bool { return strings.HasSuffix(s.seen()[len(s.seen())-1], "/events") })
		s.change(t, func() { s.state.ResendAt = new(time.Now().Add(150 * time.Second)) })
		b.See("You can ask for another message in 2:")
		if !b.Is("button[name=channel]:disabled") {
			t.Errorf("%s: the button for another message can be pressed before its time", name)
		}
	}
}

// A page whose time is over asks for no more news, for as long as it is open: it shows how it ended.
func TestPrompt_AfterItsTimeItLooksOnceAndLeavesOff(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	s.set(func() {
		s.state.ExpiresAt = time.Now().Add(-time.Second)
		s.before = func(r *http.Request) { s.away = s.away || strings.HasSuffix(r.URL.Path, "/events") }
	})
	address, _ := s.prompt(t)
	b := browsertest.Open(t, browsertest.Options{Insecure: true})
	b.Visit(address)
	b.See("Not possible at the moment")
	page := strings.TrimPrefix(s.seen()[1], "GET ")
	if got, want := s.seen(), []string{"GET /prompt", "GET " + page, "GET " + page + "/events", "GET " + page}; !slices.Equal(got, want) {
		t.Errorf("asked for were %v, not %v", got, want)
	}
}

func TestPrompt_SaysThatTheBrowserIsOffline(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	address, _ := s.prompt(t)
	b := browsertest.Open(t, browsertest.Options{Insecure: true})
	b.Visit(address)
	b.See("no report from example.com yet")
	b.Offline()
	b.See("You are offline. The code still works when you are back.")
}
