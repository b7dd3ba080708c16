package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// road is a transport without a network, for tests of time.
type road struct {
	mu     sync.Mutex
	at     []time.Duration // of each request since the beginning
	began  time.Time
	status func(n int) int
	held   chan struct{} // when not nil, answers wait for it or for the context
}

func (r *road) RoundTrip(q *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.at = append(r.at, time.Since(r.began).Round(time.Second))
	status := r.status(len(r.at))
	r.mu.Unlock()
	if r.held != nil {
		select {
		case <-r.held:
		case <-q.Context().Done():
			return nil, q.Context().Err()
		}
	}
	if status == 0 {
		return nil, errors.New("broken")
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("")), Request: q}, nil
}

// times copies when the requests came.
func (r *road) times() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Duration{}, r.at...)
}

// travels makes a started sandbox whose webhooks take the road.
func travels(t *testing.T, status func(n int) int) (*Sandbox, *road) {
	t.Helper()
	s := New(Config{VonageReceiptURL: "http://127.0.0.1:1/", BatchInterval: 30 * time.Second})
	r := &road{began: time.Now(), status: status}
	s.client = &http.Client{Transport: r}
	s.Start(t.Context())
	return s, r
}

// pass lets time pass within a bubble.
func pass(d time.Duration) { <-time.NewTimer(d).C }

// plansReceipt queues the receipt of one SMS.
func plansReceipt(s *Sandbox) {
	s.planReceipts(&smsRequest{fields: map[string]string{"from": "a"}}, smsPart{To: phoneNumber, ID: "1"}, s.cfg.Clock())
}

func TestSender_RetriesAtGrowingIntervalsForADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, r := travels(t, func(int) int { return http.StatusServiceUnavailable })
		plansReceipt(s)
		pass(25 * time.Hour)
		got := r.times()
		var pauses []time.Duration
		for i := range 9 {
			pauses = append(pauses, got[i+1]-got[i])
		}
		diff := cmp.Diff([]time.Duration{
			5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second,
			320 * time.Second, 640 * time.Second, 15 * time.Minute,
		}, pauses)
		if diff != "" || got[len(got)-1] > 24*time.Hour+time.Second || got[len(got)-1] < 23*time.Hour {
			t.Errorf("last %v, pauses differ (-want +got):\n%s", got[len(got)-1], diff)
		}
		if c := s.WebhookCounts(); c.GivenUp != 1 || c.Waiting != 0 || c.Retried != len(got)-1 {
			t.Errorf("counts = %+v", c)
		}
		stop(t, s)
	})
}

func TestSender_GoesOnAfterItIsTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, r := travels(t, func(n int) int { return map[int]int{1: 0, 2: 500, 3: 204}[n] })
		plansReceipt(s)
		pass(time.Hour)
		if c := s.WebhookCounts(); len(r.times()) != 3 || c != (WebhookCounts{Taken: 1, Retried: 2}) {
			t.Errorf("posts at %v, counts %+v", r.times(), c)
		}
		stop(t, s)
	})
}

func TestSender_CollectsEventsForItsInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, r := travels(t, func(int) int { return http.StatusOK })
		_, _, err := s.EventWebhook("http://127.0.0.1:1/")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			s.planEvents([]Message{{ID: fmt.Sprintf("m%d.0", i), Channel: "email", To: "ada@example.net", ReceivedAt: time.Now()}})
		}
		pass(29 * time.Second)
		early := len(r.times())
		pass(2 * time.Second)
		if early != 0 || len(r.times()) != 1 || s.WebhookCounts() != (WebhookCounts{Taken: 1}) {
			t.Errorf("%d posts before the interval ended, then %d; counts %+v", early, len(r.times()), s.WebhookCounts())
		}
		stop(t, s)
	})
}

func TestSender_StopWaitsForThePostsOnTheWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, r := travels(t, func(int) int { return http.StatusOK })
		r.held = make(chan struct{})
		for range maxFlying + 3 {
			plansReceipt(s)
		}
		pass(2 * time.Second)
		if got := len(r.times()); got != maxFlying {
			t.Errorf("%d posts at a time, want %d", got, maxFlying)
		}
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop(context.WithoutCancel(t.Context())) }()
		synctest.Wait()
		if len(stopped) != 0 {
			t.Error("it stopped before the answers came")
		}
		close(r.held)
		err := <-stopped
		if c := s.WebhookCounts(); err != nil || c.Taken != maxFlying || c.Waiting != 3 {
			t.Errorf("stop = %v, counts %+v", err, c)
		}
		s.Start(t.Context())
		plansReceipt(s)
		pass(time.Hour)
		if len(r.times()) != maxFlying {
			t.Error("it posts after its stop")
		}
	})
}

func TestSender_StopBreaksOffWhenItsTimeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, r := travels(t, func(int) int { return http.StatusOK })
		r.held = make(chan struct{})
		plansReceipt(s)
		pass(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.Stop(ctx)
		if c := s.WebhookCounts(); !errors.Is(err, context.DeadlineExceeded) || c.Retried != 1 {
			t.Errorf("stop = %v, counts %+v", err, c)
		}
	})
}

func TestSender_EndsAPostThatIsNotAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, r := travels(t, func(int) int { return http.StatusOK })
		r.held = make(chan struct{})
		plansReceipt(s)
		err := s.Flush(t.Context())
		if err == nil || s.WebhookCounts().Retried != 1 || time.Since(r.began) < answerTime {
			t.Errorf("flush = %v after %v, counts %+v", err, time.Since(r.began), s.WebhookCounts())
		}
		close(r.held)
		stop(t, s)
	})
}

func TestSender_PostsInTheBackground(t *testing.T) {
	t.Parallel()
	h := receive(t, nil)
	s := startWith(t, Config{BatchInterval: time.Millisecond})
	s.Start(t.Context())
	s.Start(t.Context())
	key := s.hooked(t, h)
	s.accept(t, "ada@example.net", "c.1.a")
	waitFor(t, "both events", func() bool { return len(h.kinds(t)) == 2 })
	for _, p := range h.got() {
		if !verified(t, key, p) {
			t.Error("a post is not signed")
		}
	}
}

// It shows SEC-56 of deploy/SECURITY.md.
func TestSender_ReachesLoopbackAlone(t *testing.T) {
	t.Parallel()
	s := startWith(t, Config{VonageReceiptURL: "http://192.0.2.1:9/"})
	s.form(t, smsForm(nil))
	err := s.Flush(t.Context())
	if err == nil || s.WebhookCounts().Retried != 1 {
		t.Errorf("flush = %v, %+v", err, s.WebhookCounts())
	}
	if err != nil && strings.Contains(err.Error(), "192.0.2.1") {
		t.Error("the error tells the address")
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://192.0.2.1:9/", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newClient([]string{"receipts"}).Do(r) //nolint:bodyclose // there is no answer
	if !errors.Is(err, errForeign) {
		t.Errorf("a foreign address = %v", err)
	}
	// A named host is dialled: the end of the time comes, not our refusal.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = newClient([]string{"192.0.2.1"}).Do(r.WithContext(ctx)) //nolint:bodyclose // there is no answer
	if err == nil || errors.Is(err, errForeign) {
		t.Errorf("a named address = %v", err)
	}
}

// It shows SEC-56 of deploy/SECURITY.md.
func TestSender_FollowsNoRedirect(t *testing.T) {
	t.Parallel()
	h := receive(t, func(int) int { return http.StatusFound })
	s := start(t)
	s.hooked(t, h)
	s.accept(t, "ada@example.net", "c.1.a")
	err := s.Flush(t.Context())
	if err == nil || len(h.got()) != 1 || s.WebhookCounts() != (WebhookCounts{Retried: 1, Waiting: 1}) {
		t.Errorf("flush = %v, %d posts, %+v", err, len(h.got()), s.WebhookCounts())
	}
}

func TestSender_FlushTriesAgainWhatWasRefused(t *testing.T) {
	t.Parallel()
	h := receive(t, func(n int) int { return map[bool]int{true: 500, false: 200}[n == 1] })
	s := start(t)
	s.hooked(t, h)
	s.accept(t, "ada@example.net", "c.1.a")
	if s.Flush(t.Context()) == nil {
		t.Error("the refusal is not told")
	}
	s.accept(t, "bob@example.net", "c.2.a")
	s.flush(t)
	posts := h.got()
	if len(posts) != 3 || string(posts[0].Body) != string(posts[1].Body) && string(posts[0].Body) != string(posts[2].Body) {
		t.Errorf("%d posts, want the first batch again beside a new one", len(posts))
	}
}
