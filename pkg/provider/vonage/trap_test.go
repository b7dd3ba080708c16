package vonage_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/vonage/vonage-go-sdk"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

// The tests here are named after the traps of providers.md, section 1. Trap 7
// begins with the classification of contract_test.go; the clocks of trap 5 and
// the net of trap 6 are in clock_internal_test.go.

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
		_, err := p.Send(ctx, sample(n))
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

func TestTrap11AndThreadSafety_2000SendsReachEveryPersonOnceOverFewConnections(t *testing.T) {
	t.Parallel()
	const people, width = 2000, 64
	s, c := newPair(t)
	times := sendParallel(t, s, c, people, width)
	for n := range people {
		m := sample(n)
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
	s.Use(providertest.Answer(taken()))
	cfg := configFor(s.URL())
	cfg.MaxConns = 4
	sendParallel(t, s, newClient(t, cfg), 200, 32)
	if s.Conns() > 4 {
		t.Errorf("%d connections, want at most 4", s.Conns())
	}
}

func TestTrap05_ASilentServerHoldsNobodyPastTheDeadline(t *testing.T) {
	t.Parallel()
	for name, behavior := range map[string]providertest.Behavior{
		"no answer":             providertest.Hang(),
		"a refusal without end": providertest.Stall(providertest.Reply{Status: 503}),
		"an OK without a body":  providertest.Stall(providertest.Reply{Status: 200}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := newPair(t)
			s.Use(behavior)
			m := sample(1)
			m.NotAfter = time.Now().Add(500 * time.Millisecond)
			_, err := c.Send(t.Context(), m)
			if provider.FailureOf(err).Result == delivery.Permanent {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTrap05_TheCallersContextReachesTheCall(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	gone := make(chan struct{})
	s.Use(func(_ http.ResponseWriter, r *http.Request, _ []byte) {
		<-r.Context().Done()
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = s.Await(ctx, 1) // Ends with the test at the latest.
		cancel()
	}()
	_, err := c.Send(ctx, sample(1))
	providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonCanceled)
	<-gone // The provider saw the caller leave.
}

// panicsBare reports whether the SDK alone panics on what a server answers.
func panicsBare(url string) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	client := sdk.NewSMSClient(sdk.CreateAuthFromKeySecret(key, secret))
	client.Config.BasePath = url + "/sms"
	client.Config.HTTPClient = &http.Client{Transport: provider.NewHTTPClient(provider.HTTPConfig{MaxConns: 1}).Transport}
	defer client.Config.HTTPClient.CloseIdleConnections()
	_, _, _ = client.Send("12025550199", "12025550100", "text", sdk.SMSOpts{}) // Whether it panics is all that is asked.
	return false
}

func TestTrap06_NoAnswerMakesSendPanic(t *testing.T) {
	t.Parallel()
	const xml = `<?xml version="1.0"?><mt-submission-res><messages count="1"><message><status>0</status></message></messages></mt-submission-res>`
	for name, c := range map[string]struct {
		answer providertest.Reply
		breaks bool
	}{
		"an empty object":  {reply(`{}`), false},
		"null":             {reply(`null`), false},
		"no list":          {reply(`{"message-count":"0"}`), false},
		"a list of null":   {reply(`{"messages":null}`), false},
		"an empty list":    {reply(`{"message-count":"0","messages":[]}`), false},
		"XML":              {providertest.Reply{Status: 200, Header: map[string]string{"Content-Type": "text/xml"}, Body: xml}, true},
		"XML, application": {providertest.Reply{Status: 200, Header: map[string]string{"Content-Type": "application/xml"}, Body: xml}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, client := newPair(t)
			s.Use(providertest.Answer(c.answer))
			if !panicsBare(s.URL()) {
				t.Error("the SDK alone does not panic any more: the trap is gone")
			}
			_, err := client.Send(t.Context(), sample(1))
			f := providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonProviderError)
			if f.Status != 200 || f.Breaks != c.breaks || f.RetryAfter != 0 {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestTrap07_LooksAtEveryPartAndKeepsWhatIsSaidOfIt(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	s.Use(providertest.Answer(reply(`{"message-count":"3","messages":[` + part + `,` +
		refused(9, "Quota Exceeded - rejected") + `,` + refused(7, "Number barred: 12015550101, 804613") + `]}`)))
	_, err := c.Send(t.Context(), sample(1))
	f := providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonRateLimited)
	const want = "1 of 3 parts taken; status 9: Quota Exceeded - rejected; status 7: Number barred: [redacted], [digits]"
	if f.Detail != want || f.Status != 200 || !f.Breaks {
		t.Errorf("got %+v", f)
	}
}

func TestTrap08_AnAcceptanceIsReadHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	json, text, page := "application/json", "text/plain; charset=utf-8", "text/html"
	for name, c := range map[string]struct{ kind, body string }{
		"as documented":      {json, taken().Body},
		"numbers":            {json, `{"message-count":1,"messages":[{"status":0,"message-id":"` + messageID + `","message-price":0.055}]}`},
		"a null, an object":  {json, `{"messages":[{"status":"0","message-id":"` + messageID + `","network":{"mcc":1},"error-text":null}]}`},
		"plain text":         {text, taken().Body},
		"called a page":      {page, taken().Body},
		"no type":            {"", taken().Body},
		"called XML":         {"text/xml", taken().Body},
		"white space around": {json, "\r\n " + taken().Body + "\n"},
		"unknown names":      {json, `{"future":[1],"messages":[{"status":"0","message-id":"` + messageID + `","more":{}}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, client := newPair(t)
			for _, status := range []int{200, 201, 202} {
				s.Use(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
					w.Header()["Content-Type"] = nil // Nor does the server guess one.
					if c.kind != "" {
						w.Header().Set("Content-Type", c.kind)
					}
					w.WriteHeader(status)
					_, _ = w.Write([]byte(c.body)) // A broken connection fails the send.
				})
				accepted, err := client.Send(t.Context(), sample(1))
				if err != nil || accepted.ProviderID != messageID {
					t.Errorf("%d: got %v, %v", status, accepted, err)
				}
			}
		})
	}
}

func TestTrap08_AnAnswerThatBreaksOffIsReadAsFarAsItIsComplete(t *testing.T) {
	t.Parallel()
	cut := func(body string) providertest.Behavior {
		return func(w http.ResponseWriter, r *http.Request, b []byte) {
			w.Header().Set("Content-Length", "5000")
			providertest.Answer(reply(body))(w, r, b)
		}
	}
	for name, c := range map[string]struct {
		behavior providertest.Behavior
		result   delivery.Result
		reason   delivery.Reason
	}{
		"complete, and cut":        {cut(taken().Body), delivery.Accepted, 0},
		"complete, and never ends": {providertest.Stall(taken()), delivery.Accepted, 0},
		"a refusal, and cut":       {cut(refusal(7, "barred").Body), delivery.Permanent, delivery.ReasonSuppressed},
		"cut within":               {cut(taken().Body[:60]), delivery.Unknown, delivery.ReasonProviderError},
		"late within":              {providertest.Stall(reply(taken().Body[:60])), delivery.Unknown, delivery.ReasonTimeout},
		"nothing but a head":       {providertest.Stall(reply("")), delivery.Unknown, delivery.ReasonTimeout},
		"endless":                  {providertest.Flood(taken(), 10<<20), delivery.Unknown, delivery.ReasonProviderError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, client := newPair(t)
			s.Use(c.behavior)
			m := sample(1)
			m.NotAfter = time.Now().Add(3 * time.Second) // For those that never end.
			accepted, err := client.Send(t.Context(), m)
			if c.result == delivery.Accepted {
				if err != nil || accepted.ProviderID != messageID {
					t.Errorf("got %v, %v", accepted, err)
				}
				return
			}
			f := providertest.MustFail(t, err, c.result, c.reason)
			if f.Status != 200 {
				t.Errorf("the status is lost: %+v", f)
			}
		})
	}
}

func TestTrap08_ReadsNoMoreThan64KiB(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	s.Use(providertest.Answer(reply(strings.Repeat(" ", 64<<10) + taken().Body)))
	_, err := c.Send(t.Context(), sample(1))
	providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonProviderError)
	s.Use(providertest.Answer(reply(strings.Repeat(" ", 60<<10) + taken().Body)))
	_, err = c.Send(t.Context(), sample(1))
	if err != nil {
		t.Errorf("a long answer within the bound: %v", err)
	}
}

func TestTrap09_SendsTheTimeToLiveThatTheSDKCannot(t *testing.T) {
	t.Parallel()
	s := providertest.NewServer(t)
	s.Use(providertest.Answer(taken()))
	cfg := configFor(s.URL())
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	cfg.Clock = func() time.Time { return now }
	c := newClient(t, cfg)
	for _, row := range []struct {
		left, life time.Duration // until NotAfter, and until ExpiresAt if there is one
		want       string        // in ms
	}{
		{240 * time.Second, 0, "240000"},
		{20*time.Second + 1500*time.Microsecond, 0, "20001"},
		{20 * time.Second, 0, "20000"},
		{19 * time.Second, 0, "20000"},
		{time.Second, 0, "20000"},
		{30 * 24 * time.Hour, 0, "604800000"},
		{4*time.Minute - time.Nanosecond, 0, "239999"},
		{240 * time.Second, 300 * time.Second, "300000"},
		{time.Second, 61 * time.Second, "61000"},
		{time.Second, 2 * time.Second, "20000"},
		{time.Second, 30 * 24 * time.Hour, "604800000"},
	} {
		m := sample(1)
		m.NotAfter = now.Add(row.left)
		if row.life > 0 {
			m.ExpiresAt = now.Add(row.life)
		}
		_, err := c.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		requests := s.Requests()
		form, err := readForm(requests[len(requests)-1])
		if err != nil || form["ttl"] != row.want {
			t.Errorf("%s, %s: a time to live of %q ms, %v; want %s", row.left, row.life, form["ttl"], err, row.want)
		}
	}
}

func TestTrap09_KeepsTheHTTPStatusAndTheWordsThatTheSDKDrops(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	s.Use(providertest.Answer(providertest.Reply{
		Status: 429, Header: map[string]string{"Content-Type": "application/json", "Retry-After": "3"},
		Body: refusal(1, "Back off").Body,
	}))
	_, err := c.Send(t.Context(), sample(1))
	f := providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonRateLimited)
	if f.Status != 429 || f.RetryAfter != 3*time.Second || f.Detail != "status 1: Back off" {
		t.Errorf("got %+v", f)
	}
	s.Use(providertest.Answer(providertest.Reply{Status: 502, Body: "<html>Bad gateway</html>"}))
	_, err = c.Send(t.Context(), sample(1))
	f = providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonProviderError)
	if f.Status != 502 || f.Detail != "no list of messages in the answer" {
		t.Errorf("got %+v", f)
	}
}

// It shows SEC-34 of deploy/SECURITY.md.
func TestTrap10_NoRedirectCarriesTheCredentialsElsewhere(t *testing.T) {
	t.Parallel()
	other := providertest.NewServer(t)
	other.Use(providertest.Answer(taken()))
	for _, status := range []int{301, 302, 303, 307, 308} {
		s, c := newPair(t)
		for _, target := range []string{"/elsewhere", other.URL() + "/sms/json"} {
			s.Use(providertest.Answer(providertest.Reply{Status: status, Header: map[string]string{"Location": target}}))
			_, err := c.Send(t.Context(), sample(1))
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
		t.Error("a message and the credentials went to another host")
	}
}

func TestTrap12_AnIdleConnectionThatBreaksIsUnknownAndSentOnce(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	_, err := c.Send(t.Context(), sample(1))
	if err != nil {
		t.Fatal(err)
	}
	s.Use(providertest.Reset())
	_, err = c.Send(t.Context(), sample(2))
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

// TestThreadSafety_NoCallTouchesTheDefaultClient: without an HTTP client of
// its own the SDK writes the default one into its configuration, and calls it.
func TestThreadSafety_NoCallTouchesTheDefaultClient(t *testing.T) {
	t.Parallel()
	s, c := newPair(t)
	inParallel(t, 200, 32, func(ctx context.Context, n int) error {
		_, err := c.Send(ctx, sample(n))
		return err
	})
	before := s.Conns()
	c.Close()
	_, err := c.Send(t.Context(), sample(1))
	if err != nil || s.Conns() != before+1 {
		t.Errorf("%v; %d connections after %d were closed, want one more: somebody else's were used", err, s.Conns(), before)
	}
}

func TestClient_TellsNotSentFromUnknown(t *testing.T) {
	t.Parallel()
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		s, c := newPair(t)
		s.Close()
		_, err := c.Send(t.Context(), sample(1))
		providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonProviderError)
	})
	t.Run("not TLS", func(t *testing.T) {
		t.Parallel()
		s := providertest.NewServer(t)
		c := newClient(t, configFor(strings.Replace(s.URL(), "http://", "https://", 1)))
		_, err := c.Send(t.Context(), sample(1))
		providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonProviderError)
		if len(s.Requests()) != 0 {
			t.Error("something arrived")
		}
	})
	t.Run("a reset after the request", func(t *testing.T) {
		t.Parallel()
		s, c := newPair(t)
		s.Use(providertest.Reset())
		_, err := c.Send(t.Context(), sample(1))
		providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonProviderError)
	})
	t.Run("an answer that is no HTTP", func(t *testing.T) {
		t.Parallel()
		s, c := newPair(t)
		s.Use(providertest.Garbage())
		_, err := c.Send(t.Context(), sample(1))
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
		m := sample(1)
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
		group.Go(func() { _, _ = c.Send(ctx, sample(1)) }) // Holds the one connection.
		err := s.Await(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		m := sample(2)
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
