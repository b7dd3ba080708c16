package provider_test

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

const cooldown = 30 * time.Second

// badKey is a failure that every other message would meet too.
func badKey() *provider.Failure {
	return &provider.Failure{Result: delivery.Temporary, Reason: delivery.ReasonAuthentication, Status: 401, Breaks: true}
}

// badRecipient is a failure of one message.
func badRecipient() *provider.Failure {
	return &provider.Failure{Result: delivery.Permanent, Reason: delivery.ReasonInvalidRecipient, Status: 400}
}

// down is a failure that says nothing about the key.
func down() *provider.Failure {
	return &provider.Failure{Result: delivery.Unknown, Reason: delivery.ReasonProviderError, Status: 500}
}

// newBreaker returns a breaker that opens at the second failure, the fake
// behind it, and the states it went through.
func newBreaker() (provider.Provider, *providertest.Fake, *[]provider.BreakerState) {
	fake := providertest.NewFake("fake", time.Now)
	states := new([]provider.BreakerState)
	p := provider.WithBreaker(fake, provider.BreakerConfig{
		Failures: 2, Cooldown: cooldown, Clock: time.Now,
		OnChange: func(s provider.BreakerState) { *states = append(*states, s) },
	})
	return p, fake, states
}

// sends makes n sends and returns what became of them.
func sends(t *testing.T, p provider.Provider, n int) []delivery.Reason {
	t.Helper()
	var reasons []delivery.Reason
	for i := range n {
		_, err := p.Send(t.Context(), providertest.Sample(i))
		reasons = append(reasons, provider.FailureOf(err).Reason)
	}
	return reasons
}

func TestBreaker_PassesTheContract(t *testing.T) {
	t.Parallel()
	providertest.RunContract(t, func(*testing.T) (provider.Provider, providertest.Backend) {
		fake := providertest.NewFake("fake", time.Now)
		return provider.WithBreaker(fake, provider.BreakerConfig{}), fake
	})
}

func TestBreaker_OpensForABadKeyAndCallsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, fake, states := newBreaker()
		fake.Script(badKey(), badKey())
		sends(t, p, 2)
		<-time.After(cooldown / 3)
		_, err := p.Send(t.Context(), providertest.Sample(9))
		f := providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonRejected)
		if f.RetryAfter != cooldown*2/3 || !f.NotCalled || f.Breaks || f.Status != 0 {
			t.Errorf("while open: %+v", f)
		}
		if len(fake.Messages()) != 2 {
			t.Errorf("%d calls while it should be open after 2", len(fake.Messages()))
		}
		if !reflect.DeepEqual(*states, []provider.BreakerState{provider.BreakerOpen}) {
			t.Errorf("states: %v", *states)
		}
	})
}

func TestBreaker_ClosesAfterAProbeThatWorks(t *testing.T) {
	t.Parallel()
	for name, probe := range map[string]*provider.Failure{"accepted": nil, "a bad recipient proves the key": badRecipient()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, fake, states := newBreaker()
				fake.Script(badKey(), badKey(), probe)
				sends(t, p, 2)
				<-time.After(cooldown + time.Nanosecond)
				sends(t, p, 1)
				for range 3 {
					_, err := p.Send(t.Context(), providertest.Sample(3))
					if err != nil {
						t.Fatalf("after the probe: %v", err)
					}
				}
				want := []provider.BreakerState{provider.BreakerOpen, provider.BreakerHalfOpen, provider.BreakerClosed}
				if !reflect.DeepEqual(*states, want) {
					t.Errorf("states: %v", *states)
				}
			})
		})
	}
}

func TestBreaker_OpensAgainAfterAProbeThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, fake, _ := newBreaker()
		fake.Script(badKey(), badKey(), badKey())
		sends(t, p, 2)
		<-time.After(cooldown + time.Nanosecond)
		sends(t, p, 1)
		_, err := p.Send(t.Context(), providertest.Sample(4))
		f := providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonRejected)
		if f.RetryAfter != cooldown || len(fake.Messages()) != 3 {
			t.Errorf("after a failed probe: %+v, %d calls", f, len(fake.Messages()))
		}
	})
}

func TestBreaker_ProbesAgainAfterAProbeThatSaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, fake, states := newBreaker()
		fake.Script(badKey(), badKey(), down(), nil)
		sends(t, p, 2)
		<-time.After(cooldown + time.Nanosecond)
		reasons := sends(t, p, 2)
		if reasons[0] != delivery.ReasonProviderError || (*states)[len(*states)-1] != provider.BreakerClosed {
			t.Errorf("probes ended with %v, states %v", reasons, *states)
		}
	})
}

func TestBreaker_LetsOneProbeThroughAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, fake, _ := newBreaker()
		fake.Script(badKey(), badKey())
		sends(t, p, 2)
		<-time.After(cooldown + time.Nanosecond)
		fake.Behave(providertest.Silent)
		var group sync.WaitGroup
		group.Go(func() {
			_, err := p.Send(t.Context(), providertest.Sample(1))
			if err != nil {
				t.Errorf("the probe: %v", err)
			}
		})
		synctest.Wait()
		for range 5 {
			_, err := p.Send(t.Context(), providertest.Sample(2))
			f := providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonRejected)
			if f.RetryAfter != provider.MinRetryAfter {
				t.Errorf("beside a probe the pause is %s", f.RetryAfter)
			}
		}
		fake.Behave(providertest.Taking)
		group.Wait()
		if len(fake.Messages()) != 3 {
			t.Errorf("%d calls, want 3", len(fake.Messages()))
		}
	})
}

func TestBreaker_NeverOpensForRecipientsContentsOrTrouble(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]*provider.Failure{
		"a bad recipient": badRecipient(),
		"a bad content":   {Result: delivery.Permanent, Reason: delivery.ReasonRejected, Status: 413},
		"trouble":         down(),
		"too many":        {Result: delivery.Temporary, Reason: delivery.ReasonRateLimited, Status: 429},
		"no connection":   {Result: delivery.Temporary, Reason: delivery.ReasonProviderError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, fake, states := newBreaker()
			for range 50 {
				fake.Script(failure)
			}
			sends(t, p, 50)
			if len(fake.Messages()) != 50 || len(*states) != 0 {
				t.Errorf("%d calls, states %v", len(fake.Messages()), *states)
			}
		})
	}
}

func TestBreaker_CountsOnlyFailuresInARow(t *testing.T) {
	t.Parallel()
	p, fake, states := newBreaker()
	fake.Script(badKey(), nil, badKey(), badRecipient(), badKey(), down(), badKey())
	sends(t, p, 6)
	if len(*states) != 0 {
		t.Fatalf("opened early: %v", *states)
	}
	// What says nothing does not interrupt the row either.
	sends(t, p, 1)
	if len(*states) != 1 {
		t.Errorf("did not open at the second in a row: %v", *states)
	}
}

func TestBreaker_AMessageRefusedWithoutACallIsNoProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, fake, states := newBreaker()
		fake.Script(badKey(), badKey())
		sends(t, p, 2)
		<-time.After(cooldown + time.Nanosecond)
		late := providertest.Sample(1)
		late.NotAfter = time.Now().Add(-time.Second)
		_, err := p.Send(t.Context(), late)
		providertest.MustFail(t, err, delivery.Permanent, delivery.ReasonTooLate)
		if last := (*states)[len(*states)-1]; last != provider.BreakerHalfOpen {
			t.Errorf("state after it: %s", last)
		}
	})
}

func TestBreaker_StatesAreAClosedSet(t *testing.T) {
	t.Parallel()
	if fmt.Sprint(provider.BreakerStates()) != "[closed open half_open]" {
		t.Errorf("got %v", provider.BreakerStates())
	}
}

// leaky breaks the contract: its error is no Failure.
type leaky struct{}

func (leaky) Name() string { return "leaky" }

func (leaky) Send(context.Context, provider.Message) (provider.Acceptance, error) {
	return provider.Acceptance{}, context.Canceled
}

func TestBreaker_CopesWithAnAdapterThatBreaksTheContract(t *testing.T) {
	t.Parallel()
	p := provider.WithBreaker(leaky{}, provider.BreakerConfig{Failures: 1})
	if fmt.Sprint(sends(t, p, 5)) != "[other other other other other]" {
		t.Error("a bug in an adapter opened the breaker")
	}
}
