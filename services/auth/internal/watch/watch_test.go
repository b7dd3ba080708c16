package watch_test

import (
	"fmt"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"doorcode/services/auth/internal/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, h *watch.Hub, challenge string) *watch.Watch {
	t.Helper()
	w, ok := h.Open(challenge)
	if !ok {
		t.Fatalf("no watch of %s", challenge)
	}
	return w
}

// pending says whether a watch was woken, and forgets it.
func pending(w *watch.Watch) bool {
	select {
	case <-w.Changed():
		return true
	default:
		return false
	}
}

func TestHub_WakesTheWatchesOfAChallengeAlone(t *testing.T) {
	t.Parallel()
	h := watch.NewHub(10)
	one, two, other := open(t, h, "a"), open(t, h, "a"), open(t, h, "b")
	h.Hear([]byte(`{"challenges":["a","c"],"later":true}`))
	if !pending(one) || !pending(two) || pending(other) {
		t.Error("the wrong ones were woken")
	}
	for range 100 { // A reader that is slow has one change to look at.
		h.Hear([]byte(`{"challenges":["b"]}`))
	}
	if !pending(other) || pending(other) || pending(one) {
		t.Error("changes pile up")
	}
	for _, junk := range []string{"", "x", "[]", `{"challenges":"b"}`, `{"challenges":[1]}`} {
		h.Hear([]byte(junk))
	}
	if pending(other) {
		t.Error("junk wakes")
	}
	one.Close()
	h.Hear([]byte(`{"challenges":["a"]}`))
	if pending(one) || !pending(two) {
		t.Error("a closed watch is woken, or closes another")
	}
}

func TestHub_HasABound(t *testing.T) {
	t.Parallel()
	h := watch.NewHub(2)
	first, _ := open(t, h, "a"), open(t, h, "a")
	_, ok := h.Open("b")
	if ok || h.Count() != 2 {
		t.Errorf("a third watch is open: %d", h.Count())
	}
	first.Close()
	first.Close()
	if h.Count() != 1 {
		t.Errorf("%d are open after one was closed", h.Count())
	}
	open(t, h, "b")
}

func TestHub_LeavesRoomForOtherChallenges(t *testing.T) {
	t.Parallel()
	h := watch.NewHub(100)
	var opened []*watch.Watch
	for {
		w, ok := h.Open("a")
		if !ok {
			break
		}
		opened = append(opened, w)
	}
	if len(opened) != 8 {
		t.Errorf("one challenge has %d watches", len(opened))
	}
	open(t, h, "b")
	opened[0].Close()
	open(t, h, "a")
}

func TestHub_CloseEndsAllAndOpensNone(t *testing.T) {
	t.Parallel()
	h := watch.NewHub(2)
	w := open(t, h, "a")
	h.Close()
	h.Close()
	<-w.Ended()
	_, ok := h.Open("a")
	if ok {
		t.Error("a closed hub opens watches")
	}
	w.Close()
	if h.Count() != 0 {
		t.Errorf("%d are open", h.Count())
	}
}

func TestHub_IsSafeForManyGoroutines(t *testing.T) {
	t.Parallel()
	h := watch.NewHub(1000)
	var running sync.WaitGroup
	for i := range 16 {
		running.Go(func() {
			for range 200 {
				id := fmt.Sprint(i % 3)
				w, ok := h.Open(id)
				if !ok {
					t.Error("no room")
					return
				}
				h.Hear([]byte(`{"challenges":["` + id + `"]}`))
				<-w.Changed()
				w.Close()
			}
		})
	}
	running.Wait()
	if h.Count() != 0 {
		t.Errorf("%d are open", h.Count())
	}
}
