package announce_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/services/verifier/internal/announce"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ear keeps what auth hears.
type ear struct {
	mu    sync.Mutex
	sizes []int
	ids   []string
}

func (e *ear) hear(data []byte) {
	var c event.Changed
	err := json.Unmarshal(data, &c)
	if err != nil {
		c.Challenges = []string{"unreadable"}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sizes, e.ids = append(e.sizes, len(c.Challenges)), append(e.ids, c.Challenges...)
}

func (e *ear) heard() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(slices.Values(e.ids))
}

// listening returns an announcer over a real bus that auth listens to.
func listening(t *testing.T) (*announce.Announcer, *ear) {
	t.Helper()
	b := bustest.StartEmpty(t)
	e := &ear{}
	_, err := b.Connect(t, "auth").Subscribe(t.Context(), event.SubjectChanged, e.hear)
	if err != nil {
		t.Fatal(err)
	}
	return announce.New(b.Connect(t, "verifier"), slog.New(slog.DiscardHandler)), e
}

// run runs an announcer until the returned function is called.
func run(t *testing.T, a *announce.Announcer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

func TestAnnouncer_TellsEachChallengeOfABatchOnce(t *testing.T) {
	t.Parallel()
	a, e := listening(t)
	a.Changed("b", "a", "b")
	a.Changed("a")
	a.Changed()
	run(t, a)
	bustest.Wait(t, "both are heard", func() bool { return slices.Equal(e.heard(), []string{"a", "b"}) })
	a.Changed("c")
	bustest.Wait(t, "the next is heard", func() bool { return slices.Equal(e.heard(), []string{"a", "b", "c"}) })
}

func TestAnnouncer_SplitsWhatDoesNotFitAMessage(t *testing.T) {
	t.Parallel()
	a, e := listening(t)
	const many = 2*event.MaxChanged + 7
	for i := range many {
		a.Changed(fmt.Sprintf("%022d", i)) // As long as a challenge's id.
	}
	run(t, a)
	bustest.Wait(t, "all are heard", func() bool { return len(e.heard()) == many })
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.Equal(e.sizes, []int{event.MaxChanged, event.MaxChanged, 7}) {
		t.Errorf("told in batches of %v", e.sizes)
	}
}

func TestAnnouncer_SaysTheLastOfItWhenItStops(t *testing.T) {
	t.Parallel()
	a, e := listening(t)
	stop := run(t, a)
	stop()
	a.Changed("late")
	run(t, a)()
	bustest.Wait(t, "it is heard", func() bool { return slices.Equal(e.heard(), []string{"late"}) })
}

// mute is a bus that is away, until it is not.
type mute struct {
	mu    sync.Mutex
	away  bool
	tries int
	said  []string
}

func (m *mute) Announce(_ string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries++
	if m.away {
		return fmt.Errorf("away")
	}
	m.said = append(m.said, string(data))
	return nil
}

func (m *mute) state() (int, []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tries, slices.Clone(m.said)
}

func TestAnnouncer_DropsWhatCannotLeaveAndGoesOn(t *testing.T) {
	t.Parallel()
	m := &mute{away: true}
	a := announce.New(m, slog.New(slog.DiscardHandler))
	for i := range 200_000 { // More than is ever kept.
		a.Changed(fmt.Sprint(i))
	}
	run(t, a)
	bustest.Wait(t, "it was tried", func() bool { tries, _ := m.state(); return tries == 1 })
	m.mu.Lock()
	m.away = false
	m.mu.Unlock()
	a.Changed("x")
	bustest.Wait(t, "the next is told", func() bool {
		_, said := m.state()
		return slices.Equal(said, []string{`{"challenges":["x"]}`})
	})
}
