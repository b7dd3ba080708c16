package live

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"doorcode/services/auth/internal/front"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asJSON is the data that front-ends get.
func asJSON(v front.View) ([]byte, error) { return json.Marshal(v) }

// story is a followed challenge whose states are told in advance. It is used from one bubble at a time.
type story struct {
	views   []front.View
	errs    []error
	looks   int
	changed chan struct{}
	ended   chan struct{}
}

func (s *story) State(ctx context.Context) (front.View, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return front.View{}, errors.New("a look without a bound")
	}
	i := min(s.looks, len(s.views)-1)
	s.looks++
	return s.views[i], s.errs[i]
}

func (s *story) Changed() <-chan struct{} { return s.changed }
func (s *story) Ended() <-chan struct{}   { return s.ended }

// tell adds what the next look sees.
func (s *story) tell(state, label string, err error) {
	s.views, s.errs = append(s.views, front.View{State: state, Label: label}), append(s.errs, err)
}

func newStory() *story {
	return &story{changed: make(chan struct{}, 1), ended: make(chan struct{})}
}

// follow streams a story; the returned functions tell what was sent since the last call, and whether it is over.
func follow(ctx context.Context, s *story) (sent func() string, over func() bool) {
	var mu sync.Mutex
	var b strings.Builder
	done := make(chan struct{})
	go func() {
		defer close(done)
		stream(ctx, s, front.View{State: "pending", Label: "first"}, asJSON, func(data []byte) error {
			mu.Lock()
			defer mu.Unlock()
			b.Write(data)
			return nil
		})
	}()
	sent = func() string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		defer b.Reset()
		return b.String()
	}
	over = func() bool {
		synctest.Wait()
		select {
		case <-done:
			return true
		default:
			return false
		}
	}
	return sent, over
}

func TestStream_SendsAtOnceOnChangeAndEvery15Seconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory()
		s.tell("pending", "first", nil)
		s.tell("pending", "second", nil)
		s.tell("pending", "second", nil)
		sent, over := follow(t.Context(), s)
		if got := sent(); !strings.HasPrefix(got, "event: state\ndata: {\"state\":\"pending\",\"label\":\"first\"") || !strings.HasSuffix(got, "}\n\n") {
			t.Errorf("on connect: %q", got)
		}
		s.changed <- struct{}{}
		if got := sent(); got != "" {
			t.Errorf("a change that changes nothing: %q", got)
		}
		s.changed <- struct{}{}
		if got := sent(); strings.Count(got, "event: state") != 1 || !strings.Contains(got, "second") {
			t.Errorf("on change: %q", got)
		}
		<-time.After(14 * time.Second)
		if got := sent(); got != "" {
			t.Errorf("too early: %q", got)
		}
		<-time.After(2 * time.Second)
		if got := sent(); strings.Count(got, "event: state") != 1 || over() {
			t.Errorf("after 15 seconds: %q", got)
		}
		close(s.ended)
		if !over() || sent() != "" {
			t.Error("it goes on while the process stops")
		}
	})
}

func TestStream_EndsWithTheChallengeAfterItsLastState(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"approved", "expired", "canceled", "exhausted"} {
		synctest.Test(t, func(t *testing.T) {
			s := newStory()
			s.tell(state, "last", nil)
			sent, over := follow(t.Context(), s)
			sent()
			s.changed <- struct{}{}
			if got := sent(); !strings.Contains(got, state) || !over() {
				t.Errorf("%s: %q", state, got)
			}
		})
	}
}

func TestStream_SaysNothingWhileTheStateCannotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory()
		s.tell("", "", front.Unavailable())
		s.tell("", "", errors.New("something"))
		s.tell("pending", "first", nil)
		sent, over := follow(t.Context(), s)
		sent()
		s.changed <- struct{}{}
		if got := sent(); got != ": the state cannot be read at the moment\n\n" {
			t.Errorf("sent %q", got)
		}
		<-time.After(15 * time.Second)
		if got := sent(); !strings.HasPrefix(got, ": ") {
			t.Errorf("sent %q", got)
		}
		<-time.After(15 * time.Second)
		if got := sent(); !strings.Contains(got, "first") || over() {
			t.Errorf("sent %q", got)
		}
		close(s.ended)
		over()
	})
}

func TestStream_EndsForWhoeverMayNotLookOrIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStory()
		s.tell("", "", front.Unauthenticated())
		sent, over := follow(t.Context(), s)
		sent()
		s.changed <- struct{}{}
		if got := sent(); got != "" || !over() {
			t.Errorf("a withdrawn key gets %q", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		_, over = follow(ctx, newStory())
		cancel()
		if !over() {
			t.Error("it goes on without its client")
		}
		broken := newStory()
		broken.tell("", "", front.Unavailable())
		for n := range 2 { // The first event cannot leave, or the comment after it.
			left := n
			stream(t.Context(), broken, front.View{State: "pending"}, asJSON, func([]byte) error {
				if left == 0 {
					return errors.New("gone")
				}
				left--
				broken.changed <- struct{}{}
				return nil
			})
		}
	})
}
