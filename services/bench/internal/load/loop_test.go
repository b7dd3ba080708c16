package load

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wait passes time.
func wait(d time.Duration) { <-time.After(d) }

func TestClosed_KeepsThatManyInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running, most, done atomic.Int64
		start := time.Now()
		Closed(t.Context(), 4, time.Second, func(_ context.Context, begun time.Time) {
			if !begun.Equal(time.Now()) {
				t.Errorf("begun %s and told %s", time.Since(start), begun.Sub(start))
			}
			most.Store(max(most.Load(), running.Add(1)))
			wait(100 * time.Millisecond)
			running.Add(-1)
			done.Add(1)
		})
		if most.Load() != 4 || done.Load() != 40 {
			t.Errorf("%d in flight, %d done", most.Load(), done.Load())
		}
	})
}

func TestClosed_EndsTheCyclesThatRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var done atomic.Int64
		Closed(t.Context(), 2, time.Second, func(context.Context, time.Time) {
			wait(700 * time.Millisecond)
			done.Add(1)
		})
		if took := time.Since(start); took != 1400*time.Millisecond || done.Load() != 4 {
			t.Errorf("%d done after %s", done.Load(), took)
		}
	})
}

// A slow cycle holds up none that comes later, and each is told when it was due.
func TestOpen_BeginsEachAtItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var begun, told []time.Duration
		Open(t.Context(), 10, time.Second, func(_ context.Context, at time.Time) {
			mu.Lock()
			begun, told = append(begun, time.Since(start)), append(told, at.Sub(start))
			mu.Unlock()
			wait(3 * time.Second)
		})
		var want []time.Duration
		for i := range 10 {
			want = append(want, time.Duration(i)*100*time.Millisecond)
		}
		if !slices.Equal(begun, want) || !slices.Equal(told, want) {
			t.Errorf("begun %v, told %v", begun, told)
		}
		if took := time.Since(start); took != 3900*time.Millisecond {
			t.Errorf("returned after %s, before the last had ended", took)
		}
	})
}

func TestLoops_EndWithTheirContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, loop := range map[string]func(context.Context, func(context.Context, time.Time)){
			"closed": func(ctx context.Context, f func(context.Context, time.Time)) { Closed(ctx, 1, time.Hour, f) },
			"open":   func(ctx context.Context, f func(context.Context, time.Time)) { Open(ctx, 1, time.Hour, f) },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			n := 0
			loop(ctx, func(context.Context, time.Time) {
				n++
				if n == 3 {
					cancel()
				}
				wait(100 * time.Millisecond)
			})
			if n != 3 {
				t.Errorf("%s: %d cycles", name, n)
			}
		}
	})
}

func TestDueAfter_DoesNotDrift(t *testing.T) {
	t.Parallel()
	for rate, n := range map[int]int{3: 3_000_000, 7: 7_000, 1000: 86_400_000} {
		if got, want := dueAfter(n, rate), time.Duration(n/rate)*time.Second; got != want {
			t.Errorf("%d at %d/s: %s, not %s", n, rate, got, want)
		}
	}
}

func TestTally_KeepsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	tally := NewTally()
	var running sync.WaitGroup
	for i := range 1000 {
		running.Go(func() {
			tally.Done(map[Stage]time.Duration{Create: time.Duration(i+1) * time.Millisecond, Provider: -time.Second, Check: time.Hour})
			if i%10 == 0 {
				tally.Fail("check: 503 unavailable")
			}
		})
	}
	running.Wait()
	if tally.Cycles() != 1000 || tally.Failures()["check: 503 unavailable"] != 100 {
		t.Errorf("%d cycles, failures %v", tally.Cycles(), tally.Failures())
	}
	for i, got := range slices.Sorted(slices.Values(tally.Times(Create))) {
		if want := time.Duration(i+1) * time.Millisecond; got != want {
			t.Errorf("%s and not %s", got, want)
		}
	}
	if got := slices.Max(tally.Times(Provider)); got != 0 {
		t.Errorf("called before the answer counts %s", got)
	}
	if got := tally.Times(Check); len(got) != 1000 || slices.Max(got) != longest {
		t.Errorf("what takes too long counts %d times, %s at most", len(got), slices.Max(got))
	}
}
