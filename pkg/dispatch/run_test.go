package dispatch

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doorcode/pkg/bus"
)

// ctxEnded returns a context that has ended.
func ctxEnded(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

// source is a bus that is empty or broken and counts how often it is asked.
type source struct {
	fetches atomic.Int64
	limit   atomic.Int64
	err     error
}

func (s *source) Hand(_ context.Context, limit int, wait time.Duration, _ func(*bus.Delivery)) error {
	s.fetches.Add(1)
	s.limit.Store(int64(limit))
	if s.err != nil {
		return s.err
	}
	<-time.NewTimer(wait).C // an empty bus keeps a fetch for its whole wait
	return nil
}

// run starts an engine on a source inside a bubble.
func run(t *testing.T, s *source) (*Engine, chan error) {
	t.Helper()
	cfg := complete(t)
	cfg.Source, cfg.Workers = s, 4
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(context.Background()) }()
	return e, ended
}

// advance lets time pass in a bubble.
func advance(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

func TestRun_BacksOffFromABrokenBus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{err: errors.New("no responders")}
		e, ended := run(t, s)
		advance(time.Minute)
		// Six steps up to a second, then one each 0.75 s.
		if n := s.fetches.Load(); n < 60 || n > 100 {
			t.Errorf("%d fetches in a minute", n)
		}
		err := errors.Join(e.Drain(t.Context()), <-ended)
		if err != nil {
			t.Error(err)
		}
	})
}

func TestRun_AsksAnEmptyBusForOneMessageAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		e, ended := run(t, s)
		advance(time.Minute)
		if n := s.fetches.Load(); n < 29 || n > 31 || s.limit.Load() != 1 {
			t.Errorf("%d fetches of %d in a minute", n, s.limit.Load())
		}
		err := errors.Join(e.Drain(t.Context()), <-ended)
		if err != nil {
			t.Error(err)
		}
	})
}

func TestP5_NothingIsFetchedWhileAResultIsUnpublished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		e, ended := run(t, s)
		h := &handOver{Job: &Job{}}
		e.hold(h)
		advance(fetchWait) // the fetch that runs is not cancelled
		before := s.fetches.Load()
		advance(time.Hour)
		if s.fetches.Load() != before {
			t.Error("messages are fetched while a result is unpublished")
		}
		e.release(h)
		e.release(h) // counts once
		advance(time.Minute)
		if s.fetches.Load() < before+29 {
			t.Error("fetching does not go on")
		}
		err := errors.Join(e.Drain(t.Context()), <-ended)
		if err != nil {
			t.Error(err)
		}
	})
}

func TestDrain_EndsAnEngineThatIsHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, ended := run(t, &source{})
		e.hold(&handOver{Job: &Job{}})
		advance(time.Minute)
		start := time.Now()
		err := errors.Join(e.Drain(t.Context()), <-ended)
		if err != nil || time.Since(start) > 0 {
			t.Errorf("drained after %v: %v", time.Since(start), err)
		}
	})
}

func TestDrain_WaitsForTheFetchThatRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, ended := run(t, &source{})
		advance(time.Second)
		start := time.Now()
		err := errors.Join(e.Drain(t.Context()), <-ended)
		if err != nil || time.Since(start) != time.Second {
			t.Errorf("drained after %v: %v", time.Since(start), err)
		}
	})
}

func TestDrain_NeedsNoEngineThatRuns(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	err := b.Drain(t.Context())
	if err != nil {
		t.Error(err)
	}
	err = b.Run(t.Context())
	if err != nil {
		t.Errorf("an engine that was drained before it ran: %v", err)
	}
}

func TestRun_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := complete(t)
		cfg.Source = &source{}
		e, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		advance(time.Second)
		cancel()
		err = <-ended
		if err != nil {
			t.Error(err)
		}
	})
}

func TestTake_WaitsForAFreeWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := complete(t)
		cfg.Workers = 3
		e, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if n := e.take(t.Context()); n != 3 {
			t.Fatalf("%d of 3 workers are free", n)
		}
		taken := make(chan int, 1)
		go func() { taken <- e.take(t.Context()) }()
		synctest.Wait()
		select {
		case n := <-taken:
			t.Errorf("took %d workers of none", n)
		default:
		}
		e.put(1)
		if n := <-taken; n != 1 {
			t.Errorf("took %d workers of one", n)
		}
		go func() { taken <- e.take(t.Context()) }()
		synctest.Wait()
		_ = e.Drain(t.Context())
		if n := <-taken; n != 0 {
			t.Errorf("took %d workers while draining", n)
		}
	})
}
