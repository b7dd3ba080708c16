package provider_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

func TestRate_PassesTheContract(t *testing.T) {
	t.Parallel()
	providertest.RunContract(t, func(*testing.T) (provider.Provider, providertest.Backend) {
		fake := providertest.NewFake("fake", time.Now)
		return provider.WithRate(fake, 10_000, 10), fake
	})
}

func TestRate_LetsABurstThroughAndThenOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := provider.WithRate(providertest.NewFake("fake", time.Now), 2, 3)
		start := time.Now()
		for i, want := range []time.Duration{0, 0, 0, 500 * time.Millisecond, time.Second, 1500 * time.Millisecond} {
			_, err := p.Send(t.Context(), providertest.Sample(i))
			if err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got != want {
				t.Errorf("message %d left after %s, want %s", i, got, want)
			}
		}
	})
}

func TestRate_RefusesAtOnceWhatGetsNoTurnInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := providertest.NewFake("fake", time.Now)
		p := provider.WithRate(fake, 0.1, 1)
		sends(t, p, 1)
		start := time.Now()
		soon := providertest.Sample(1)
		soon.NotAfter = start.Add(9 * time.Second)
		_, err := p.Send(t.Context(), soon)
		f := providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonRateLimited)
		if f.RetryAfter != 10*time.Second || !f.NotCalled || f.Breaks || f.Status != 0 {
			t.Errorf("got %+v", f)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		_, err = p.Send(ctx, providertest.Sample(2))
		providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonRateLimited)
		if time.Since(start) != 0 {
			t.Errorf("the refusals took %s", time.Since(start))
		}
		// A refusal takes no turn: the next one leaves after ten seconds.
		_, err = p.Send(t.Context(), providertest.Sample(3))
		if err != nil || time.Since(start) != 10*time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		if len(fake.Messages()) != 2 {
			t.Errorf("%d calls, want 2", len(fake.Messages()))
		}
	})
}

func TestRate_WhoGivesUpWaitingTakesNoTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := providertest.NewFake("fake", time.Now)
		p := provider.WithRate(fake, 0.1, 1)
		sends(t, p, 1)
		start := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			_, err := p.Send(ctx, providertest.Sample(1))
			providertest.MustFail(t, err, delivery.Temporary, delivery.ReasonCanceled)
		})
		synctest.Wait()
		cancel()
		group.Wait()
		_, err := p.Send(t.Context(), providertest.Sample(2))
		if err != nil || time.Since(start) != 10*time.Second || len(fake.Messages()) != 2 {
			t.Errorf("after %s, %d calls: %v", time.Since(start), len(fake.Messages()), err)
		}
	})
}

func TestRate_SaysTooLateWithoutACall(t *testing.T) {
	t.Parallel()
	fake := providertest.NewFake("fake", time.Now)
	p := provider.WithRate(fake, 1, 1)
	late := providertest.Sample(1)
	late.NotAfter = time.Now().Add(-time.Second)
	_, err := p.Send(t.Context(), late)
	providertest.MustFail(t, err, delivery.Permanent, delivery.ReasonTooLate)
	if len(fake.Messages()) != 0 {
		t.Error("there was a call")
	}
}

func TestRate_TakesOddSettingsAsOneASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := provider.WithRate(providertest.NewFake("fake", time.Now), 0, 0)
		start := time.Now()
		sends(t, p, 3)
		if time.Since(start) != 2*time.Second || p.Name() != "fake" {
			t.Errorf("three messages took %s", time.Since(start))
		}
	})
}
