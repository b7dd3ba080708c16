package providertest_test

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFake_PassesTheContract(t *testing.T) {
	t.Parallel()
	providertest.RunContract(t, func(*testing.T) (provider.Provider, providertest.Backend) {
		fake := providertest.NewFake("fake", time.Now)
		return fake, fake
	})
}

func TestFake_FollowsItsScriptAndThenItsMode(t *testing.T) {
	t.Parallel()
	fake := providertest.NewFake("fake", time.Now)
	odd := &provider.Failure{Result: delivery.Unknown, Reason: delivery.ReasonTimeout}
	fake.Script(nil, odd)
	fake.Behave(providertest.Refusing)
	_, err := fake.Send(t.Context(), providertest.Sample(1))
	if err != nil {
		t.Fatalf("first: %v", err)
	}
	_, err = fake.Send(t.Context(), providertest.Sample(2))
	if provider.FailureOf(err) != odd {
		t.Errorf("second: %v", err)
	}
	_, err = fake.Send(t.Context(), providertest.Sample(3))
	providertest.MustFail(t, err, delivery.Permanent, delivery.ReasonInvalidRecipient)
	if len(fake.Messages()) != 3 || fake.Messages()[1].Recipient != providertest.Sample(2).Recipient {
		t.Errorf("kept %v", fake.Messages())
	}
}

func TestFake_HoldsCallsUntilTheyAreReleased(t *testing.T) {
	t.Parallel()
	fake := providertest.NewFake("fake", time.Now)
	fake.Behave(providertest.Silent)
	var group sync.WaitGroup
	for n := range 3 {
		group.Go(func() {
			_, err := fake.Send(t.Context(), providertest.Sample(n))
			if err != nil {
				t.Error(err)
			}
		})
	}
	err := fake.Await(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	fake.Behave(providertest.Taking)
	group.Wait()
}
