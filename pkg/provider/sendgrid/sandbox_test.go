package sendgrid_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
	"doorcode/pkg/provider/sandbox"
)

// The sandbox refuses what the vendor refuses, so an accepted message here is
// one that the vendor would have taken.

// newSandbox returns a sandbox with our key and a client of it.
func newSandbox(t *testing.T) (*sandbox.Sandbox, provider.Provider) {
	t.Helper()
	box := sandbox.New(sandbox.Config{SendGridKey: key})
	s := httptest.NewServer(box.Handler())
	t.Cleanup(func() {
		box.ClearFaults()
		s.Close()
	})
	return box, newClient(t, configFor(s.URL))
}

// addFault adds a fault or ends the test.
func addFault(t *testing.T, box *sandbox.Sandbox, fault sandbox.Fault) {
	t.Helper()
	err := box.AddFault(fault)
	if err != nil {
		t.Fatal(err)
	}
}

func TestSandbox_ShowsTheMessageAsItWasSent(t *testing.T) {
	t.Parallel()
	box, c := newSandbox(t)
	m := providertest.Sample(1)
	accepted, err := c.Send(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	got := box.Messages(m.Recipient)
	if len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	first := got[0]
	if first.Subject != m.Subject || first.Text != m.Text || first.HTML != m.HTML || first.CustomArgs["dlv"] != m.Reference {
		t.Errorf("got %+v", first)
	}
	if accepted.ProviderID == "" {
		t.Error("the acceptance has no id")
	}
}

func TestSandbox_EveryFaultHasItsResult(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  sandbox.Fault
		result delivery.Result
		reason delivery.Reason
	}{
		"reset before":  {sandbox.Fault{Kind: sandbox.ResetBefore}, delivery.Unknown, delivery.ReasonProviderError},
		"reset after":   {sandbox.Fault{Kind: sandbox.ResetAfter}, delivery.Unknown, delivery.ReasonProviderError},
		"hang":          {sandbox.Fault{Kind: sandbox.Hang}, delivery.Unknown, delivery.ReasonTimeout},
		"latency":       {sandbox.Fault{Kind: sandbox.Latency, Delay: time.Hour}, delivery.Unknown, delivery.ReasonTimeout},
		"page":          {sandbox.Fault{Kind: sandbox.HTML}, delivery.Unknown, delivery.ReasonProviderError},
		"empty":         {sandbox.Fault{Kind: sandbox.Empty}, delivery.Permanent, delivery.ReasonRejected},
		"redirect":      {sandbox.Fault{Kind: sandbox.Redirect, Status: 302}, delivery.Permanent, delivery.ReasonRejected},
		"limit":         {sandbox.Fault{Kind: sandbox.RateLimit, Reset: time.Minute}, delivery.Temporary, delivery.ReasonRateLimited},
		"credits":       {sandbox.Fault{Kind: sandbox.Credits}, delivery.Temporary, delivery.ReasonRateLimited},
		"forbidden":     {sandbox.Fault{Kind: sandbox.Status, Status: 403}, delivery.Temporary, delivery.ReasonAuthentication},
		"out of order":  {sandbox.Fault{Kind: sandbox.Status, Status: 503}, delivery.Temporary, delivery.ReasonProviderError},
		"server error":  {sandbox.Fault{Kind: sandbox.Status, Status: 500}, delivery.Unknown, delivery.ReasonProviderError},
		"endless body":  {sandbox.Fault{Kind: sandbox.Drip, Delay: 50 * time.Millisecond}, delivery.Accepted, delivery.ReasonOther},
		"body cut off":  {sandbox.Fault{Kind: sandbox.Truncate}, delivery.Accepted, delivery.ReasonOther},
		"none of these": {sandbox.Fault{Kind: sandbox.Hang, To: "nobody@*"}, delivery.Accepted, delivery.ReasonOther},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box, client := newSandbox(t)
			addFault(t, box, c.fault)
			m := providertest.Sample(1)
			m.NotAfter = time.Now().Add(time.Second)
			_, err := client.Send(t.Context(), m)
			if c.result == delivery.Accepted {
				if err != nil || len(box.Messages(m.Recipient)) != 1 {
					t.Errorf("got %v, %d messages", err, len(box.Messages(m.Recipient)))
				}
				return
			}
			providertest.MustFail(t, err, c.result, c.reason)
		})
	}
}

func TestSandbox_RefusesAWrongKey(t *testing.T) {
	t.Parallel()
	box := sandbox.New(sandbox.Config{})
	s := httptest.NewServer(box.Handler())
	t.Cleanup(s.Close)
	c := newClient(t, configFor(s.URL))
	_, err := c.Send(t.Context(), providertest.Sample(1))
	f := providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonAuthentication)
	if !f.Breaks {
		t.Error("a bad key does not break")
	}
}

func TestTrap01_2000SendsReachEveryMailboxOfTheSandboxOnce(t *testing.T) {
	t.Parallel()
	const people, width = 2000, 64
	box, c := newSandbox(t)
	inParallel(t, people, width, func(ctx context.Context, n int) error {
		_, err := c.Send(ctx, providertest.Sample(n))
		return err
	})
	references := box.References()
	for n := range people {
		if got := references[providertest.Sample(n).Reference]; got != 1 {
			t.Errorf("person %d got %d messages", n, got)
		}
	}
	if len(references) != people || box.Count() != people {
		t.Errorf("%d references, %d messages", len(references), box.Count())
	}
}

func TestBreaker_StopsCallsToAnEmptyAccountUntilItIsFilled(t *testing.T) {
	t.Parallel()
	box, c := newSandbox(t)
	addFault(t, box, sandbox.Fault{Kind: sandbox.Credits})
	var states []provider.BreakerState
	p := provider.WithBreaker(c, provider.BreakerConfig{
		Failures: 2, Cooldown: time.Nanosecond, Clock: time.Now,
		OnChange: func(s provider.BreakerState) { states = append(states, s) },
	})
	for n := range 2 {
		_, err := p.Send(t.Context(), providertest.Sample(n))
		providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonRateLimited)
	}
	box.ClearFaults()
	_, err := p.Send(t.Context(), providertest.Sample(2))
	if err != nil || states[len(states)-1] != provider.BreakerClosed {
		t.Errorf("after it was filled: %v, %v", err, states)
	}
}
