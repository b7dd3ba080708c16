// Package batch lets calls that wait together share one flight: one statement and one commit instead of many (DESIGN 5).
//
// A call that finds a flight free leaves at once, alone and in its caller's own goroutine: it waits for nobody and pays
// nothing. Calls that come while all flights are out wait in line and leave together when the next one lands. Nobody
// waits for a timer, and an idle group has no goroutine.
//
// It promises: the first in line is always in the next flight that may take it; calls that share a key are never out
// together; every call gets the answer to its own question, or an error. A call that is given up leaves the line, or, when
// it is out already, its answer behind: whoever asks through this package asks what may be done twice.
package batch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
)

// ErrClosed is the answer to a call that comes after Close.
var ErrClosed = errors.New("batch: closed")

// Answer is what came of one question.
type Answer[A any] struct {
	Value A
	Err   error
}

// Config is how a group flies.
type Config[Q, A any] struct {
	// Most is how many calls one flight takes.
	Most int
	// Flights is how many are out at the same time.
	Flights int
	// Keys names what a call needs for itself: no two calls with a common key are out together. nil names nothing.
	Keys func(Q) []string
	// Fly answers some questions, at least one, each at its own position. The context ends when nobody waits for an
	// answer any more; it carries the values of the first caller's.
	Fly func(ctx context.Context, questions []Q) []Answer[A]
}

// Group is a line of calls and the flights that take them. It is safe for concurrent use.
type Group[Q, A any] struct {
	cfg Config[Q, A]

	mu     sync.Mutex
	line   []*call[Q, A]
	out    int             // flights
	busy   map[string]bool // keys that are out
	dense  bool            // several left the line together the last time that somebody did
	closed bool
	flying sync.WaitGroup
}

// call is one question on its way.
type call[Q, A any] struct {
	ctx      context.Context //nolint:containedctx // A call is a caller's, and its context with it.
	question Q
	keys     []string
	done     chan struct{} // closed when answer or panicked is set
	answer   Answer[A]
	panicked *panicked
	flight   *flight // nil as long as it stands in line
}

// flight is what its passengers know of it.
type flight struct {
	cancel  context.CancelFunc
	waiting int // passengers that still wait; guarded by the group's mutex
}

// panicked is a panic on its way to the callers.
type panicked struct {
	value any
	stack []byte
}

// text is what the panic says where it comes out again.
func (p *panicked) text() string {
	return fmt.Sprintf("%v\n\nin a flight of pkg/batch:\n%s", p.value, p.stack)
}

// New returns a group. It panics when Most or Flights is less than one: nothing would ever fly.
func New[Q, A any](cfg Config[Q, A]) *Group[Q, A] {
	if cfg.Most < 1 || cfg.Flights < 1 {
		panic("batch: a group needs a flight, and a place on it")
	}
	return &Group[Q, A]{cfg: cfg, busy: map[string]bool{}}
}

// Do asks one question. It fails with the context's error when that ends first, and with ErrClosed after Close. When Fly
// panics, so does every call that was out with it.
func (g *Group[Q, A]) Do(ctx context.Context, question Q) (A, error) {
	c := &call[Q, A]{ctx: ctx, question: question, done: make(chan struct{})}
	if g.cfg.Keys != nil {
		c.keys = g.cfg.Keys(question)
	}
	alone, err := g.join(c)
	if err != nil {
		var none A
		return none, err
	}
	if alone {
		g.fly(ctx, []*call[Q, A]{c})
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if !g.leave(c) {
			var none A
			return none, fmt.Errorf("batch: %w", context.Cause(ctx))
		}
	}
	if c.panicked != nil {
		panic(c.panicked.text())
	}
	return c.answer.Value, c.answer.Err
}

// Close takes no more calls, answers those in line and waits until the last flight has landed.
func (g *Group[Q, A]) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.flying.Wait()
}

// join puts a call in line, or reports that it may leave at once, alone.
func (g *Group[Q, A]) join(c *call[Q, A]) (alone bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false, ErrClosed
	}
	if g.open() && g.free(c.keys) {
		g.board([]*call[Q, A]{c})
		return true, nil
	}
	g.line = append(g.line, c)
	return false, nil
}

// leave gives a call up. It reports true when the answer was there in time.
func (g *Group[Q, A]) leave(c *call[Q, A]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-c.done:
		return true
	default:
	}
	if c.flight == nil {
		g.line = slices.DeleteFunc(g.line, func(other *call[Q, A]) bool { return other == c })
		return false
	}
	c.flight.waiting--
	if c.flight.waiting == 0 && c.flight.cancel != nil {
		c.flight.cancel()
	}
	return false
}

// open reports whether there is a flight to leave with. The first one always is.
func (g *Group[Q, A]) open() bool {
	if g.dense {
		return g.out < (g.cfg.Flights+1)/2
	}
	return g.out < g.cfg.Flights
}

// free reports whether none of the keys is out.
func (g *Group[Q, A]) free(keys []string) bool {
	return !slices.ContainsFunc(keys, func(k string) bool { return g.busy[k] })
}

// board takes calls out. The mutex is held.
func (g *Group[Q, A]) board(calls []*call[Q, A]) *flight {
	f := &flight{waiting: len(calls)}
	for _, c := range calls {
		c.flight = f
		for _, k := range c.keys {
			g.busy[k] = true
		}
	}
	g.out++
	g.flying.Add(1)
	return f
}

// depart sends as much of the line out as there are flights for, the longest waiting first. The mutex is held.
func (g *Group[Q, A]) depart() {
	for g.open() {
		calls := g.take()
		if len(calls) == 0 {
			return
		}
		g.dense = len(calls) > 1
		f := g.board(calls)
		var ctx context.Context
		ctx, f.cancel = context.WithCancel(context.WithoutCancel(calls[0].ctx))
		go g.fly(ctx, calls)
	}
}

// take removes the calls of the next flight from the line.
func (g *Group[Q, A]) take() []*call[Q, A] {
	var calls []*call[Q, A]
	var own map[string]bool // keys of this flight
	g.line = slices.DeleteFunc(g.line, func(c *call[Q, A]) bool {
		taken := func(k string) bool { return own[k] || g.busy[k] }
		if len(calls) == g.cfg.Most || slices.ContainsFunc(c.keys, taken) {
			return false
		}
		for _, k := range c.keys {
			if own == nil {
				own = map[string]bool{}
			}
			own[k] = true
		}
		calls = append(calls, c)
		return true
	})
	return calls
}

// fly asks the questions of one flight and gives every call its answer, whatever Fly does.
func (g *Group[Q, A]) fly(ctx context.Context, calls []*call[Q, A]) {
	defer g.flying.Done()
	var answers []Answer[A]
	lost := &panicked{value: "batch: a flight ended its goroutine"}
	defer func() {
		if lost != nil { // Fly did not return.
			value := recover()
			if value != nil {
				lost.value, lost.stack = value, debug.Stack()
			}
		}
		heard := g.land(calls, answers, lost)
		if lost != nil && !heard {
			panic(lost.text()) // Nobody else would hear of it.
		}
	}()
	questions := make([]Q, len(calls))
	for i, c := range calls {
		questions[i] = c.question
	}
	answers = g.cfg.Fly(ctx, questions)
	lost = nil
	if len(answers) != len(calls) {
		lost = &panicked{value: fmt.Sprintf("batch: %d answers to %d questions", len(answers), len(calls))}
	}
}

// land hands out the answers and lets the next flight go. It reports whether somebody still waited for one.
func (g *Group[Q, A]) land(calls []*call[Q, A], answers []Answer[A], lost *panicked) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out--
	for i, c := range calls {
		for _, k := range c.keys {
			delete(g.busy, k)
		}
		c.panicked = lost
		if lost == nil {
			c.answer = answers[i]
		}
		close(c.done)
	}
	if cancel := calls[0].flight.cancel; cancel != nil {
		cancel()
	}
	g.depart()
	return calls[0].flight.waiting > 0
}
