package batch_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"doorcode/pkg/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// field is an airfield: it keeps each flight until it is let go.
type field struct {
	mu      sync.Mutex
	flights [][]string // in the order in which they left
	ctxs    []context.Context
	gates   []chan error
}

// fly answers each question with itself, once the flight is let go.
func (f *field) fly(ctx context.Context, questions []string) []batch.Answer[string] {
	gate := make(chan error)
	f.mu.Lock()
	f.flights = append(f.flights, slices.Clone(questions))
	f.ctxs = append(f.ctxs, ctx)
	f.gates = append(f.gates, gate)
	f.mu.Unlock()
	err := <-gate
	answers := make([]batch.Answer[string], len(questions))
	for i, q := range questions {
		answers[i] = batch.Answer[string]{Value: "answer to " + q, Err: err}
	}
	return answers
}

// left returns the flights that have left so far.
func (f *field) left() [][]string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.flights)
}

// release lets flight n land.
func (f *field) release(n int) {
	synctest.Wait()
	f.gates[n] <- nil
	synctest.Wait()
}

// party asks questions and keeps what came back.
type party struct {
	t     *testing.T
	group *batch.Group[string, string]
	mu    sync.Mutex
	got   map[string]string
	all   sync.WaitGroup
}

// ask asks in a goroutine of its own and waits until it flies or stands in line.
func (p *party) ask(ctx context.Context, questions ...string) {
	for _, q := range questions {
		p.all.Go(func() {
			answer, err := p.group.Do(ctx, q)
			if err != nil {
				answer = err.Error()
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.got[q] = answer
		})
		synctest.Wait()
	}
}

// want fails unless every question got its own answer.
func (p *party) want(questions ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range questions {
		if p.got[q] != "answer to "+q {
			p.t.Errorf("%s was answered with %q", q, p.got[q])
		}
	}
}

// fleet runs a test with a group of a most and so many flights. A question's keys are the letters before its first dash.
func fleet(t *testing.T, most, flights int, test func(f *field, p *party)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &field{}
		p := &party{t: t, got: map[string]string{}, group: batch.New(batch.Config[string, string]{
			Most: most, Flights: flights, Fly: f.fly, Keys: func(q string) []string {
				keys, _, keyed := strings.Cut(q, "-")
				if !keyed {
					return nil
				}
				return strings.Split(keys, "")
			},
		})}
		test(f, p)
		p.all.Wait()
		p.group.Close()
	})
}

// same fails unless the flights are the wanted ones.
func same(t *testing.T, got [][]string, want ...string) {
	t.Helper()
	var have []string
	for _, f := range got {
		have = append(have, strings.Join(f, " "))
	}
	if !slices.Equal(have, want) {
		t.Errorf("the flights were %q, not %q", have, want)
	}
}

func TestGroup_ALoneCallWaitsForNobody(t *testing.T) {
	t.Parallel()
	fleet(t, 8, 2, func(f *field, p *party) {
		p.ask(p.t.Context(), "a")
		same(p.t, f.left(), "a")
		p.ask(p.t.Context(), "b") // There is a second flight.
		same(p.t, f.left(), "a", "b")
		f.release(1)
		p.ask(p.t.Context(), "c")
		same(p.t, f.left(), "a", "b", "c")
		f.release(0)
		f.release(2)
		p.want("a", "b", "c")
	})
}

func TestGroup_ALoneCallFliesInItsCallersGoroutineAndContext(t *testing.T) {
	t.Parallel()
	type mark struct{}
	ctx := context.WithValue(t.Context(), mark{}, "mine")
	group := batch.New(batch.Config[string, bool]{Most: 2, Flights: 1, Fly: func(ctx context.Context, _ []string) []batch.Answer[bool] {
		stack := make([]byte, 1<<16)
		here := strings.Contains(string(stack[:runtime.Stack(stack, false)]), "TestGroup_ALoneCallFlies")
		return []batch.Answer[bool]{{Value: here && ctx.Value(mark{}) == "mine"}}
	}})
	mine, err := group.Do(ctx, "a")
	if err != nil || !mine {
		t.Errorf("it left with somebody else: %v", err)
	}
}

func TestGroup_WhoWaitsLeavesTogetherInTheOrderOfTheLine(t *testing.T) {
	t.Parallel()
	fleet(t, 3, 1, func(f *field, p *party) {
		p.ask(p.t.Context(), "a", "b", "c", "d", "e", "f")
		same(p.t, f.left(), "a")
		f.release(0)
		same(p.t, f.left(), "a", "b c d")
		p.ask(p.t.Context(), "g")
		f.release(1)
		p.want("a", "b", "c", "d")
		same(p.t, f.left(), "a", "b c d", "e f g")
		f.release(2)
		p.want("e", "f", "g")
	})
}

// Half of the flights serve as long as calls leave together; each alone, they have all of them again.
func TestGroup_CallsThatLeaveTogetherUseFewFlights(t *testing.T) {
	t.Parallel()
	fleet(t, 8, 4, func(f *field, p *party) {
		p.ask(p.t.Context(), "a", "b", "c", "d", "e", "f")
		same(p.t, f.left(), "a", "b", "c", "d")
		f.release(0)
		same(p.t, f.left(), "a", "b", "c", "d", "e f")
		f.release(1)
		f.release(2)
		p.ask(p.t.Context(), "g", "h") // Two are out.
		same(p.t, f.left(), "a", "b", "c", "d", "e f")
		f.release(3)
		same(p.t, f.left(), "a", "b", "c", "d", "e f", "g h")
		f.release(4)
		p.ask(p.t.Context(), "i")
		p.ask(p.t.Context(), "j")
		f.release(5)
		same(p.t, f.left(), "a", "b", "c", "d", "e f", "g h", "i", "j")
		p.ask(p.t.Context(), "k") // One left the line alone, so that there are four flights again.
		f.release(6)
		p.ask(p.t.Context(), "l", "m")
		same(p.t, f.left(), "a", "b", "c", "d", "e f", "g h", "i", "j", "k", "l", "m")
		for n := 7; n < 11; n++ {
			f.release(n)
		}
		p.want("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m")
	})
}

func TestGroup_CallsWithACommonKeyAreNeverOutTogether(t *testing.T) {
	t.Parallel()
	fleet(t, 8, 2, func(f *field, p *party) {
		// The second waits although a flight is free; the third overtakes it.
		p.ask(p.t.Context(), "xy-1", "x-2", "z-3")
		same(p.t, f.left(), "xy-1", "z-3")
		p.ask(p.t.Context(), "y-4", "y-5", "zx-6", "7")
		f.release(0)
		// The first in line goes first, and takes along whoever does not meet it.
		same(p.t, f.left(), "xy-1", "z-3", "x-2 y-4 7")
		f.release(1)
		same(p.t, f.left(), "xy-1", "z-3", "x-2 y-4 7")
		f.release(2)
		same(p.t, f.left(), "xy-1", "z-3", "x-2 y-4 7", "y-5 zx-6")
		f.release(3)
		p.want("xy-1", "x-2", "z-3", "y-4", "y-5", "zx-6", "7")
	})
}

func TestGroup_WhoGivesUpInLineDoesNotFly(t *testing.T) {
	t.Parallel()
	fleet(t, 8, 1, func(f *field, p *party) {
		ctx, giveUp := context.WithCancel(p.t.Context())
		p.ask(p.t.Context(), "a", "b")
		p.ask(ctx, "c")
		p.ask(p.t.Context(), "d")
		giveUp()
		synctest.Wait()
		if !strings.Contains(p.got["c"], context.Canceled.Error()) {
			p.t.Errorf("the call that was given up got %q", p.got["c"])
		}
		f.release(0)
		same(p.t, f.left(), "a", "b d")
		f.release(1)
		p.want("a", "b", "d")
	})
}

func TestGroup_AFlightGoesOnAsLongAsOneWaitsForIt(t *testing.T) {
	t.Parallel()
	fleet(t, 8, 1, func(f *field, p *party) {
		first, firstGivesUp := context.WithCancel(p.t.Context())
		second, secondGivesUp := context.WithCancel(p.t.Context())
		p.ask(p.t.Context(), "a")
		p.ask(first, "b")
		p.ask(second, "c")
		f.release(0)
		firstGivesUp()
		synctest.Wait()
		if f.ctxs[1].Err() != nil || !strings.Contains(p.got["b"], "canceled") {
			p.t.Errorf("after the first gave up: %v, %q", f.ctxs[1].Err(), p.got["b"])
		}
		secondGivesUp()
		synctest.Wait()
		if f.ctxs[1].Err() == nil || !strings.Contains(p.got["c"], "canceled") {
			p.t.Errorf("after the second gave up: %v, %q", f.ctxs[1].Err(), p.got["c"])
		}
		f.release(1)
		p.want("a")
	})
}

func TestGroup_AnErrorIsTheAnswer(t *testing.T) {
	t.Parallel()
	fleet(t, 8, 1, func(f *field, p *party) {
		p.ask(p.t.Context(), "a", "b")
		f.gates[0] <- errors.New("no")
		synctest.Wait()
		f.release(1)
		p.want("b")
		if p.got["a"] != "no" {
			p.t.Errorf("a was answered with %q", p.got["a"])
		}
	})
}

func TestGroup_CloseAnswersTheLineAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	fleet(t, 8, 1, func(f *field, p *party) {
		p.ask(p.t.Context(), "a", "b")
		closed := make(chan struct{})
		go func() {
			p.group.Close()
			close(closed)
		}()
		synctest.Wait()
		_, err := p.group.Do(p.t.Context(), "c")
		if !errors.Is(err, batch.ErrClosed) {
			p.t.Errorf("a call after the end: %v", err)
		}
		f.release(0)
		select {
		case <-closed:
			p.t.Error("closed while a flight is out")
		default:
		}
		f.release(1)
		<-closed
		p.want("a", "b")
	})
}

// panics returns what a call panicked with.
func panics(call func()) (value any) {
	defer func() { value = recover() }()
	call()
	return nil
}

func TestGroup_APanicReachesEveryPassengerAndNobodyElse(t *testing.T) {
	t.Parallel()
	for name, crash := range map[string]func() []batch.Answer[string]{
		"panic":               func() []batch.Answer[string] { panic("engine") },
		"too few answers":     func() []batch.Answer[string] { return nil },
		"goroutine's end":     func() []batch.Answer[string] { runtime.Goexit(); return nil },
		"panic with an error": func() []batch.Answer[string] { panic(errors.New("engine")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				gate := make(chan struct{})
				group := batch.New(batch.Config[string, string]{Most: 8, Flights: 1, Fly: func(_ context.Context, q []string) []batch.Answer[string] {
					switch {
					case q[0] == "first":
						<-gate
					case q[0] != "last":
						return crash()
					}
					return []batch.Answer[string]{{Value: q[0]}}
				}})
				var all sync.WaitGroup
				var crashed atomic.Int32
				all.Go(func() { _, _ = group.Do(t.Context(), "first") })
				synctest.Wait()
				for i := range 3 {
					all.Go(func() {
						if panics(func() { _, _ = group.Do(t.Context(), strconv.Itoa(i)) }) != nil {
							crashed.Add(1)
						}
					})
				}
				synctest.Wait()
				close(gate)
				all.Wait()
				if crashed.Load() != 3 {
					t.Errorf("%d of 3 heard of it", crashed.Load())
				}
				answer, err := group.Do(t.Context(), "last")
				if answer != "last" || err != nil {
					t.Errorf("afterwards: %q, %v", answer, err)
				}
				group.Close()
			})
		})
	}
}

func TestGroup_ALonePanicKeepsNoPlace(t *testing.T) {
	t.Parallel()
	group := batch.New(batch.Config[string, string]{
		Most: 1, Flights: 1, Keys: func(q string) []string { return []string{q} },
		Fly: func(context.Context, []string) []batch.Answer[string] { panic("engine") },
	})
	for range 3 {
		value := panics(func() { _, _ = group.Do(t.Context(), "a") })
		if value == nil || !strings.Contains(value.(string), "engine") || !strings.Contains(value.(string), "batch_test.go") {
			t.Errorf("the panic tells %v", value)
		}
	}
	group.Close()
}

// Whatever comes and goes: every call gets its own answer or its own end, no key is out twice, never is more out than may be.
func TestGroup_ManyCallsAtOnceKeepTheRules(t *testing.T) {
	t.Parallel()
	const most, flights, callers, each, names = 5, 3, 40, 50, 7
	var out, answered atomic.Int32
	var busy [names]atomic.Int32
	name := func(q int) int { return q % names }
	group := batch.New(batch.Config[int, int]{
		Most: most, Flights: flights, Keys: func(q int) []string { return []string{strconv.Itoa(name(q))} },
		Fly: func(_ context.Context, questions []int) []batch.Answer[int] {
			if len(questions) > most || out.Add(1) > flights {
				t.Error("more is out than may be")
			}
			answers := make([]batch.Answer[int], len(questions))
			for i, q := range questions {
				if busy[name(q)].Add(1) != 1 {
					t.Error("a key is out twice")
				}
				answers[i].Value = -q
			}
			runtime.Gosched()
			for _, q := range questions {
				busy[name(q)].Add(-1)
			}
			out.Add(-1)
			return answers
		},
	})
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := range each {
				ctx, cancel := context.WithCancel(t.Context())
				q := c*each + i + 1
				if q%3 == 0 {
					go cancel()
				}
				answer, err := group.Do(ctx, q)
				switch {
				case err == nil && answer == -q:
					answered.Add(1)
				case err == nil || !errors.Is(err, context.Canceled) || q%3 != 0:
					t.Errorf("%d was answered with %d, %v", q, answer, err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	group.Close()
	if answered.Load() < callers*each*2/3 {
		t.Errorf("%d were answered", answered.Load())
	}
}

func TestNew_WantsAFlightAndAPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []batch.Config[int, int]{{Most: 1}, {Flights: 1}} {
		if panics(func() { batch.New(c) }) == nil {
			t.Errorf("a group that never flies: %+v", c)
		}
	}
}
