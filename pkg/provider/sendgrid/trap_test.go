package sendgrid_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

// The tests here are named after the traps of providers.md, section 1. Trap 2
// is the classification of contract_test.go.

// inParallel does something for each of n people, width at a time.
func inParallel(t *testing.T, n, width int, do func(ctx context.Context, n int) error) {
	t.Helper()
	numbers := make(chan int)
	var group sync.WaitGroup
	for range width {
		group.Go(func() {
			for n := range numbers {
				err := do(t.Context(), n)
				if err != nil {
					t.Errorf("person %d: %v", n, err)
				}
			}
		})
	}
	for n := range n {
		numbers <- n
	}
	close(numbers)
	group.Wait()
}

// sendParallel sends people messages, width at a time, and returns how often
// each call arrived.
func sendParallel(t *testing.T, s *providertest.Server, p provider.Provider, people, width int) map[providertest.Call]int {
	t.Helper()
	inParallel(t, people, width, func(ctx context.Context, n int) error {
		_, err := p.Send(ctx, providertest.Sample(n))
		return err
	})
	times := map[providertest.Call]int{}
	for _, r := range s.Requests() {
		call, err := readCall(r)
		if err != nil {
			t.Error(err)
		}
		times[call]++
	}
	return times
}

func TestTrap01And11_2000SendsReachEveryPersonOnceOverFewConnections(t *testing.T) {
	t.Parallel()
	const people, width = 2000, 64
	s, c := newPair(t)
	times := sendParallel(t, s, c, people, width)
	for n := range people {
		m := providertest.Sample(n)
		got := times[providertest.Call{Reference: m.Reference, Recipient: m.Recipient}]
		if got != 1 {
			t.Errorf("person %d got %d messages", n, got)
		}
	}
	if len(times) != people {
		t.Errorf("%d different messages, want %d", len(times), people)
	}
	// A connection that is just being returned may be missed now and then.
	if s.Conns() > width+width/2 {
		t.Errorf("%d connections for %d workers", s.Conns(), width)
	}
}

func TestTrap11_OpensNoMoreConnectionsThanAllowed(t *testing.T) {
	t.Parallel()
	s := providertest.NewServer(t)
	cfg := configFor(s.URL())
	cfg.MaxConns = 4
	sendParallel(t, s, newClient(t, cfg), 200, 32)
	if s.Conns() > 4 {
		t.Errorf("%d connections, want at most 4", s.Conns())
	}
}

func TestTrap03_200IsNoAcceptance(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	s.Use(providertest.Answer(providertest.Reply{Status: 200}))
	_, err := c.Send(t.Context(), providertest.Sample(1))
	f := providertest.MustFail(t, err, delivery.Permanent, delivery.ReasonRejected)
	if !f.Breaks || f.Status != 200 || !strings.Contains(f.Detail, "not queued") {
		t.Errorf("got %+v", f)
	}
}

// It shows SEC-34 and SEC-56 of deploy/SECURITY.md.
func TestTrap03_FollowsNoRedirect(t *testing.T) {
	t.Parallel()
	other := providertest.NewServer(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		s, c := newPair(t)
		for _, target := range []string{"/elsewhere", other.URL() + "/v3/mail/send"} {
			s.Use(providertest.Answer(providertest.Reply{Status: status, Header: map[string]string{"Location": target}}))
			_, err := c.Send(t.Context(), providertest.Sample(1))
			f := providertest.MustFail(t, err, delivery.Permanent, delivery.ReasonRejected)
			if f.Status != status || !f.Breaks {
				t.Errorf("%d: %+v", status, f)
			}
		}
		if len(s.Requests()) != 2 {
			t.Errorf("%d: %d requests, want one for each send", status, len(s.Requests()))
		}
	}
	if len(other.Requests()) != 0 {
		t.Error("a message and the key went to another host")
	}
}

func TestTrap04_TriesOnceAndReadsTheResetHeaderItself(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	reset := time.Now().Add(2 * time.Minute)
	s.Use(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		// The vendor's own spelling on the wire, which the SDK's helper misses.
		w.Header()["X-RateLimit-Reset"] = []string{unix(reset)}
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := c.Send(t.Context(), providertest.Sample(1))
	f := providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonRateLimited)
	if f.RetryAfter <= time.Minute || f.RetryAfter > 2*time.Minute {
		t.Errorf("a pause of %s", f.RetryAfter)
	}
	if len(s.Requests()) != 1 {
		t.Errorf("%d requests", len(s.Requests()))
	}
}

func TestTrap05_ASilentServerHoldsNobodyPastTheDeadline(t *testing.T) {
	t.Parallel()
	for name, behavior := range map[string]providertest.Behavior{
		"no answer":             providertest.Hang(),
		"a refusal without end": providertest.Stall(providertest.Reply{Status: 503}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := newPair(t)
			s.Use(behavior)
			m := providertest.Sample(1)
			m.NotAfter = time.Now().Add(500 * time.Millisecond)
			_, err := c.Send(t.Context(), m)
			if provider.FailureOf(err).Result == delivery.Permanent {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTrap12_AnIdleConnectionThatBreaksIsUnknownAndSentOnce(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	_, err := c.Send(t.Context(), providertest.Sample(1))
	if err != nil {
		t.Fatal(err)
	}
	s.Use(providertest.Reset())
	_, err = c.Send(t.Context(), providertest.Sample(2))
	providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonProviderError)
	if s.Conns() != 1 || len(s.Requests()) != 2 {
		t.Errorf("%d connections, %d requests; want 1 and 2", s.Conns(), len(s.Requests()))
	}
	for _, r := range s.Requests() {
		for name := range r.Header {
			if strings.Contains(strings.ToLower(name), "idempotency") {
				t.Errorf("header %s makes the transport send twice", name)
			}
		}
	}
}

// It shows SEC-34 of deploy/SECURITY.md.
func TestTrap13_CallsTheConfiguredHostAndNoOther(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	_, err := c.Send(t.Context(), providertest.Sample(1))
	if err != nil {
		t.Fatal(err)
	}
	r := s.Requests()[0]
	if r.Method != http.MethodPost || r.Path != "/v3/mail/send" || r.Header.Get("Authorization") != "Bearer "+key {
		t.Errorf("got %s %s", r.Method, r.Path)
	}
}

func TestClient_AnAcceptanceWithABrokenBodyIsAnAcceptance(t *testing.T) {
	t.Parallel()
	for name, behavior := range map[string]providertest.Behavior{
		"cut":     providertest.Cut(taken()),
		"endless": providertest.Flood(taken(), 10<<20),
		"late":    providertest.Stall(taken()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := newPair(t)
			s.Use(behavior)
			m := providertest.Sample(1)
			m.NotAfter = time.Now().Add(2 * time.Second)
			accepted, err := c.Send(t.Context(), m)
			if err != nil || accepted.ProviderID != taken().Header["X-Message-Id"] {
				t.Errorf("got %v, %v", accepted, err)
			}
		})
	}
}

func TestClient_ACancelWithinTheBodyOfAnAcceptanceChangesNothing(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Use(providertest.Stall(taken()))
	// The head of the answer has come by then, however slow the machine is, and its body never does.
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotFirstResponseByte: func() { time.AfterFunc(time.Second, cancel) }})
	accepted, err := c.Send(ctx, providertest.Sample(1))
	if err != nil || accepted.ProviderID != taken().Header["X-Message-Id"] {
		t.Errorf("got %v, %v", accepted, err)
	}
}

func TestClient_ARefusalThatBreaksOffKeepsItsStatus(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	s.Use(providertest.Cut(providertest.Reply{Status: 401}))
	_, err := c.Send(t.Context(), providertest.Sample(1))
	f := providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonAuthentication)
	if !f.Breaks || f.Detail != "no error list in the answer" {
		t.Errorf("got %+v", f)
	}
}

func TestClient_ReadsNoMoreThan64KiBOfAnAnswer(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	const late = `"late word"`
	reply := refusal(400, strings.Repeat("x", 64<<10)+late, "")
	s.Use(providertest.Answer(reply))
	_, err := c.Send(t.Context(), providertest.Sample(1))
	f := providertest.MustFail(t, err, delivery.Permanent, delivery.ReasonRejected)
	if f.Detail != "no error list in the answer" {
		t.Errorf("a list of more than 64 KiB was read: %q", f.Detail)
	}
}

func TestClient_TellsNotSentFromUnknown(t *testing.T) {
	t.Parallel()
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		s, c := newPair(t)
		s.Close()
		_, err := c.Send(t.Context(), providertest.Sample(1))
		providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonProviderError)
	})
	t.Run("not TLS", func(t *testing.T) {
		t.Parallel()
		s := providertest.NewServer(t)
		c := newClient(t, configFor(strings.Replace(s.URL(), "http://", "https://", 1)))
		_, err := c.Send(t.Context(), providertest.Sample(1))
		providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonProviderError)
		if len(s.Requests()) != 0 {
			t.Error("something arrived")
		}
	})
	t.Run("a reset after the request", func(t *testing.T) {
		t.Parallel()
		s, c := newPair(t)
		s.Use(providertest.Reset())
		_, err := c.Send(t.Context(), providertest.Sample(1))
		providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonProviderError)
	})
	t.Run("an answer that is no HTTP", func(t *testing.T) {
		t.Parallel()
		s, c := newPair(t)
		s.Use(providertest.Garbage())
		_, err := c.Send(t.Context(), providertest.Sample(1))
		providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonProviderError)
	})
	t.Run("a queue of connections only", func(t *testing.T) {
		t.Parallel()
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		c := newClient(t, configFor("http://"+listener.Addr().String()))
		m := providertest.Sample(1)
		m.NotAfter = time.Now().Add(500 * time.Millisecond)
		_, err = c.Send(t.Context(), m)
		providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonTimeout)
	})
	t.Run("waiting for a connection", func(t *testing.T) {
		t.Parallel()
		s := providertest.NewServer(t)
		s.Use(providertest.Hang())
		cfg := configFor(s.URL())
		cfg.MaxConns = 1
		c := newClient(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _, _ = c.Send(ctx, providertest.Sample(1)) }) // Holds the one connection.
		err := s.Await(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		m := providertest.Sample(2)
		m.NotAfter = time.Now().Add(300 * time.Millisecond)
		_, err = c.Send(t.Context(), m)
		providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonTimeout)
		cancel()
		group.Wait()
		if len(s.Requests()) != 1 {
			t.Error("the waiting message was sent")
		}
	})
}
