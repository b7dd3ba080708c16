package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

const changed = "doorcode.changed"

// ear keeps what it hears.
type ear struct {
	mu    sync.Mutex
	heard []string
}

func (e *ear) hear(data []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, string(data))
}

func (e *ear) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}

func announce(t *testing.T, c *bus.Conn, data string) {
	t.Helper()
	err := c.Announce(changed, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnnounce_ReachesWhoeverListensInOrder(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	speaker := b.Connect(t, "verifier")
	announce(t, speaker, "before anybody listened")
	err := speaker.Ready(patience(t)) // It has left, and does not come after those who listen.
	if err != nil {
		t.Fatal(err)
	}
	var first, second ear
	for _, e := range []*ear{&first, &second} { // Two replicas both hear everything.
		_, err := b.Connect(t, "auth").Subscribe(patience(t), changed, e.hear)
		if err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprint(i))
		announce(t, speaker, want[i])
	}
	for _, e := range []*ear{&first, &second} {
		bustest.Wait(t, "all is heard", func() bool { return slices.Equal(e.all(), want) })
	}
}

func TestSubscription_HearsNothingOnceItIsStopped(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	speaker, listener := b.Connect(t, "verifier"), b.Connect(t, "auth")
	var stopped, open ear
	s, err := listener.Subscribe(patience(t), changed, stopped.hear)
	if err != nil {
		t.Fatal(err)
	}
	_, err = listener.Subscribe(patience(t), changed, open.hear)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // A second stop changes nothing.
		err = s.Stop(patience(t))
		if err != nil {
			t.Fatal(err)
		}
	}
	announce(t, speaker, "late")
	bustest.Wait(t, "the other hears it", func() bool { return len(open.all()) == 1 })
	if got := stopped.all(); len(got) != 0 {
		t.Errorf("heard %q", got)
	}
}

func TestSubscription_StopWaitsForWhoeverIsHearing(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	speaker := b.Connect(t, "verifier")
	hearing, done := make(chan struct{}), make(chan struct{})
	s, err := b.Connect(t, "auth").Subscribe(patience(t), changed, func([]byte) {
		close(hearing)
		<-done
	})
	if err != nil {
		t.Fatal(err)
	}
	announce(t, speaker, "x")
	<-hearing
	over, cancel := context.WithCancel(t.Context())
	cancel()
	err = s.Stop(over)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("stopped while it was hearing: %v", err)
	}
	close(done)
	err = s.Stop(patience(t))
	if err != nil {
		t.Error(err)
	}
}

func TestSubscription_OutlastsTheServer(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	speaker, listener := b.Connect(t, "verifier"), b.Connect(t, "auth")
	var e ear
	_, err := listener.Subscribe(patience(t), changed, e.hear)
	if err != nil {
		t.Fatal(err)
	}
	b.Stop(t)
	bustest.Wait(t, "the loss is noticed", func() bool { return speaker.Ready(t.Context()) != nil })
	err = speaker.Announce(changed, []byte("lost"))
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("announced without a server: %v", err)
	}
	_, err = listener.Subscribe(t.Context(), changed, e.hear)
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("subscribed without a server: %v", err)
	}
	b.Resume(t)
	for _, c := range []*bus.Conn{speaker, listener, b.Admin()} {
		bustest.Wait(t, "the server is back", func() bool { return c.Ready(t.Context()) == nil })
	}
	announce(t, speaker, "again")
	bustest.Wait(t, "it is heard", func() bool { return slices.Equal(e.all(), []string{"again"}) })
}
