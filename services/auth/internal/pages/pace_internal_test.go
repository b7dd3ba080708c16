package pages

import (
	"sync"
	"testing"
	"time"
)

func TestPace_LetsABurstThroughAndThenOneNowAndThen(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := newPace(func() time.Time { return now })
	for n := range paceBurst {
		if wait := p.take("a"); wait != 0 {
			t.Fatalf("post %d waits %s", n, wait)
		}
	}
	for range 3 { // A refusal counts nothing.
		if wait := p.take("a"); wait != paceEvery {
			t.Errorf("the next post waits %s", wait)
		}
	}
	if p.take("b") != 0 {
		t.Error("another page waits")
	}
	now = now.Add(paceEvery)
	if p.take("a") != 0 || p.take("a") == 0 {
		t.Error("not one more after the wait")
	}
	now = now.Add(paceBurst * paceEvery)
	for n := range paceBurst {
		if p.take("a") != 0 {
			t.Fatalf("after a pause, post %d waits", n)
		}
	}
}

func TestPace_ForgetsPagesThatAreQuiet(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := newPace(func() time.Time { return now })
	for _, page := range []string{"a", "b", "c"} {
		p.take(page)
	}
	now = now.Add(paceBurst * paceEvery)
	p.take("d")
	if len(p.full) != 1 {
		t.Errorf("%d pages are remembered", len(p.full))
	}
}

func TestPace_CountsExactlyWhoeverPostsAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := newPace(func() time.Time { return now })
	let := make(chan bool, 4*paceBurst)
	var all sync.WaitGroup
	for range cap(let) {
		all.Go(func() { let <- p.take("a") == 0 })
	}
	all.Wait()
	close(let)
	n := 0
	for ok := range let {
		if ok {
			n++
		}
	}
	if n != paceBurst {
		t.Errorf("%d were let through", n)
	}
}
