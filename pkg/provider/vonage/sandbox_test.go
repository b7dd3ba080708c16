package vonage_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
	"doorcode/pkg/provider/sandbox"
)

// The sandbox refuses what the vendor refuses, so an accepted message here is
// one that the vendor would have taken.

// newSandbox returns a sandbox with our account and a client of it.
func newSandbox(t *testing.T) (*sandbox.Sandbox, provider.Provider) {
	t.Helper()
	box := sandbox.New(sandbox.Config{VonageKey: key, VonageSecret: secret, VonageBalance: 1000})
	s := httptest.NewServer(box.Handler())
	t.Cleanup(func() {
		box.ClearFaults()
		s.Close()
	})
	return box, newClient(t, configFor(s.URL))
}

// plain is a sample for a number that asks for nothing special: the sandbox
// reads the last two digits, and 40 to 59 mean nothing. The numbers come again
// after 500.
func plain(n int) provider.Message {
	m := sample(n)
	m.Recipient = sample(n/20*100 + 40 + n%20).Recipient
	return m
}

// ending is a sample for a number that ends in these two digits.
func ending(digits int) provider.Message {
	m := sample(1)
	m.Recipient = fmt.Sprintf("+120255501%02d", digits)
	return m
}

func TestSandbox_ShowsTheMessageAsItWasSent(t *testing.T) {
	t.Parallel()
	box, c := newSandbox(t)
	for n, m := range []provider.Message{plain(1), plain(2)} {
		if n == 1 {
			m.Text = "804613 — ваш код.\n\n@lanternbird.example #804613"
		}
		accepted, err := c.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		got := box.Messages(m.Recipient)
		if len(got) != 1 {
			t.Fatalf("%d messages", len(got))
		}
		first := got[0]
		if first.Text != m.Text || first.ClientRef != m.Reference || first.From != "12025550199" || first.Parts != 1 ||
			first.Channel != delivery.SMS || first.TTL < 50*time.Second || first.TTL > time.Minute {
			t.Errorf("got %+v", first)
		}
		if accepted.ProviderID == "" || accepted.ProviderID != first.ProviderID {
			t.Errorf("the acceptance has the id %q", accepted.ProviderID)
		}
	}
}

func TestSandbox_EveryNumberHasItsResult(t *testing.T) {
	t.Parallel()
	box, c := newSandbox(t)
	for digits, want := range map[int]provider.Class{
		1:  {Result: delivery.Temporary, Reason: delivery.ReasonRateLimited},
		5:  {Result: delivery.Temporary, Reason: delivery.ReasonProviderError},
		6:  {Result: delivery.Permanent, Reason: delivery.ReasonInvalidRecipient},
		7:  {Result: delivery.Permanent, Reason: delivery.ReasonSuppressed},
		9:  {Result: delivery.Temporary, Reason: delivery.ReasonRateLimited, Breaks: true},
		15: {Result: delivery.Permanent, Reason: delivery.ReasonRejected},
		22: {Result: delivery.Permanent, Reason: delivery.ReasonRejected},
		29: {Result: delivery.Temporary, Reason: delivery.ReasonRejected, Breaks: true},
		33: {Result: delivery.Permanent, Reason: delivery.ReasonInvalidRecipient},
	} {
		_, err := c.Send(t.Context(), ending(digits))
		f := providertest.MustFail(t, err, want.Result, want.Reason)
		if f.Breaks != want.Breaks || f.Status != 200 || f.Detail == "" {
			t.Errorf("%02d: got %+v", digits, f)
		}
	}
	if box.Count() != 0 {
		t.Errorf("%d messages were taken", box.Count())
	}
}

func TestSandbox_EveryFaultHasItsResult(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  sandbox.Fault
		result delivery.Result
		reason delivery.Reason
	}{
		"reset before":    {sandbox.Fault{Kind: sandbox.ResetBefore}, delivery.Unknown, delivery.ReasonProviderError},
		"reset after":     {sandbox.Fault{Kind: sandbox.ResetAfter}, delivery.Unknown, delivery.ReasonProviderError},
		"hang":            {sandbox.Fault{Kind: sandbox.Hang}, delivery.Unknown, delivery.ReasonTimeout},
		"latency":         {sandbox.Fault{Kind: sandbox.Latency, Delay: time.Hour}, delivery.Unknown, delivery.ReasonTimeout},
		"late":            {sandbox.Fault{Kind: sandbox.LateAccept}, delivery.Unknown, delivery.ReasonTimeout},
		"page":            {sandbox.Fault{Kind: sandbox.HTML}, delivery.Unknown, delivery.ReasonProviderError},
		"page with OK":    {sandbox.Fault{Kind: sandbox.HTML, Status: 200}, delivery.Unknown, delivery.ReasonProviderError},
		"empty":           {sandbox.Fault{Kind: sandbox.Empty}, delivery.Unknown, delivery.ReasonProviderError},
		"redirect":        {sandbox.Fault{Kind: sandbox.Redirect, Status: 307}, delivery.Permanent, delivery.ReasonRejected},
		"limit":           {sandbox.Fault{Kind: sandbox.RateLimit, Reset: time.Minute}, delivery.Temporary, delivery.ReasonRateLimited},
		"credits":         {sandbox.Fault{Kind: sandbox.Credits}, delivery.Temporary, delivery.ReasonRateLimited},
		"forbidden":       {sandbox.Fault{Kind: sandbox.Status, Status: 403}, delivery.Temporary, delivery.ReasonAuthentication},
		"out of order":    {sandbox.Fault{Kind: sandbox.Status, Status: 503}, delivery.Temporary, delivery.ReasonProviderError},
		"server error":    {sandbox.Fault{Kind: sandbox.Status, Status: 500}, delivery.Unknown, delivery.ReasonProviderError},
		"body cut off":    {sandbox.Fault{Kind: sandbox.Truncate}, delivery.Unknown, delivery.ReasonProviderError},
		"JSON cut off":    {sandbox.Fault{Kind: sandbox.BadJSON}, delivery.Unknown, delivery.ReasonProviderError},
		"XML":             {sandbox.Fault{Kind: sandbox.XML}, delivery.Unknown, delivery.ReasonProviderError},
		"numbers":         {sandbox.Fault{Kind: sandbox.NumberTypes}, delivery.Accepted, delivery.ReasonOther},
		"no content type": {sandbox.Fault{Kind: sandbox.NoContentType}, delivery.Accepted, delivery.ReasonOther},
		"none of these":   {sandbox.Fault{Kind: sandbox.Hang, To: "4*"}, delivery.Accepted, delivery.ReasonOther},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box, client := newSandbox(t)
			err := box.AddFault(c.fault)
			if err != nil {
				t.Fatal(err)
			}
			m := plain(1)
			if c.reason == delivery.ReasonTimeout {
				m.NotAfter = time.Now().Add(time.Second)
			}
			_, err = client.Send(t.Context(), m)
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

func TestSandbox_APartThatIsRefusedLeavesTheMessageUnknown(t *testing.T) {
	t.Parallel()
	box, c := newSandbox(t)
	err := box.AddFault(sandbox.Fault{Kind: sandbox.PartialRefusal})
	if err != nil {
		t.Fatal(err)
	}
	m := plain(1)
	for len(m.Text) < 200 {
		m.Text = "Two parts. " + m.Text
	}
	_, err = c.Send(t.Context(), m)
	providertest.MustFail(t, err, delivery.Unknown, delivery.ReasonProviderError)
}

func TestSandbox_RefusesAWrongSecret(t *testing.T) {
	t.Parallel()
	box := sandbox.New(sandbox.Config{})
	s := httptest.NewServer(box.Handler())
	t.Cleanup(s.Close)
	_, err := newClient(t, configFor(s.URL)).Send(t.Context(), plain(1))
	f := providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonAuthentication)
	if !f.Breaks {
		t.Error("a bad key does not break")
	}
	cfg := configFor(s.URL)
	cfg.Key, cfg.Secret = config.NewSecret("abcd1234"), config.NewSecret("sandbox-secret")
	_, err = newClient(t, cfg).Send(t.Context(), plain(1))
	if err != nil {
		t.Errorf("the sandbox's own account: %v", err)
	}
}

func TestThreadSafety_2000SendsReachThePhonesOfTheSandboxOnce(t *testing.T) {
	t.Parallel()
	const people, width = 2000, 64
	box, c := newSandbox(t)
	inParallel(t, people, width, func(ctx context.Context, n int) error {
		_, err := c.Send(ctx, plain(n))
		return err
	})
	references := box.References()
	for n := range people {
		if got := references[sample(n).Reference]; got != 1 {
			t.Errorf("person %d got %d messages", n, got)
		}
	}
	if len(references) != people || box.CountOf(delivery.SMS) != people {
		t.Errorf("%d references, %d messages", len(references), box.CountOf(delivery.SMS))
	}
}

func TestBreaker_StopsCallsToAnEmptyAccountUntilItIsFilled(t *testing.T) {
	t.Parallel()
	box, c := newSandbox(t)
	err := box.AddFault(sandbox.Fault{Kind: sandbox.Credits})
	if err != nil {
		t.Fatal(err)
	}
	var states []provider.BreakerState
	p := provider.WithBreaker(c, provider.BreakerConfig{
		Failures: 2, Cooldown: time.Nanosecond, Clock: time.Now,
		OnChange: func(s provider.BreakerState) { states = append(states, s) },
	})
	for n := range 2 {
		_, err = p.Send(t.Context(), plain(n))
		providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonRateLimited)
	}
	box.ClearFaults()
	_, err = p.Send(t.Context(), plain(2))
	if err != nil || states[len(states)-1] != provider.BreakerClosed {
		t.Errorf("after it was filled: %v, %v", err, states)
	}
}
