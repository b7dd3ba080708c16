package rollout_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"doorcode/pkg/rollout"
)

// A release that moved a workspace would take others into the next wave than those of the preview.
func TestShare_StaysWhereItIs(t *testing.T) {
	t.Parallel()
	for workspace, want := range map[string]float64{"acme": 0.116603184294197, "globex": 0.839505505639606, "": 0.457393142230492} {
		if got := rollout.Share(workspace); math.Abs(got-want) > 1e-12 {
			t.Errorf("%q lies at %.15f, not at %.15f", workspace, got, want)
		}
	}
}

func TestInPercent_TheGreaterShareHoldsTheSmaller(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[A-Za-z0-9._~-]{1,64}`).Draw(t, "workspace")
		a, b := rapid.Float64Range(1e-9, 100).Draw(t, "a"), rapid.Float64Range(1e-9, 100).Draw(t, "b")
		if rollout.InPercent(id, min(a, b)) && !rollout.InPercent(id, max(a, b)) {
			t.Fatalf("%s is in %v %% and not in %v %%", id, min(a, b), max(a, b))
		}
		if share := rollout.Share(id); share < 0 || share >= 1 || !rollout.InPercent(id, 100) {
			t.Fatalf("%s lies at %v and not among all", id, share)
		}
	})
}

func TestInPercent_TakesAboutThatMany(t *testing.T) {
	t.Parallel()
	const all = 20_000
	for percent, off := range map[float64]float64{1: 0.35, 5: 0.7, 20: 1.5, 50: 2} {
		in := 0
		for i := range all {
			if rollout.InPercent(fmt.Sprint("workspace-", i), percent) {
				in++
			}
		}
		if got := 100 * float64(in) / all; math.Abs(got-percent) > off {
			t.Errorf("%v %% took %v %%", percent, got)
		}
	}
}

func TestInPercent_NobodyIsInWhatIsNoShare(t *testing.T) {
	t.Parallel()
	for _, percent := range []float64{0, -1, 100.1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		if !errors.Is(rollout.ValidatePercent(percent), rollout.ErrPercent) || rollout.InPercent("acme", percent) {
			t.Errorf("%v is taken", percent)
		}
	}
}
