package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doorcode/pkg/lifecycle"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// journal keeps what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) all() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, ", ")
}

// part is an app that does nothing but say so.
type part struct {
	name                  string
	journal               *journal
	failed                chan error
	onStart, onStop, down error
}

func (p *part) Start(context.Context) error {
	p.journal.add("start " + p.name)
	return p.onStart
}

func (p *part) Stop(context.Context) error {
	p.journal.add("stop " + p.name)
	return p.onStop
}

func (p *part) Ready(context.Context) error { return p.down }
func (p *part) Failed() <-chan error        { return p.failed }

// parts returns apps named a, b and c.
func parts() (*journal, []*part) {
	j := &journal{}
	return j, []*part{
		{name: "a", journal: j, failed: make(chan error, 1)},
		{name: "b", journal: j, failed: make(chan error, 1)},
		{name: "c", journal: j},
	}
}

// start starts the parts in a group, until one fails.
func start(t *testing.T, g *lifecycle.Group, parts []*part) error {
	t.Helper()
	for _, p := range parts {
		err := g.Start(t.Context(), p.name, p)
		if err != nil {
			return err
		}
	}
	return nil
}

func TestStack_ClosesInReverseAndOnce(t *testing.T) {
	t.Parallel()
	j := &journal{}
	lost := errors.New("connection lost")
	var stack lifecycle.Stack
	stack.Push("first", func(context.Context) error { j.add("first"); return nil })
	stack.Push("second", func(context.Context) error { j.add("second"); return lost })
	stack.Push("third", func(ctx context.Context) error { j.add("third"); return ctx.Err() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := stack.Close(ctx)
	if !errors.Is(err, lost) || !errors.Is(err, context.Canceled) ||
		err.Error() != "stop third: context canceled\nstop second: connection lost" {
		t.Errorf("unexpected error: %v", err)
	}
	err = stack.Close(t.Context())
	if err != nil {
		t.Errorf("a second close fails: %v", err)
	}
	if diff := cmp.Diff("third, second, first", j.all()); diff != "" {
		t.Error(diff)
	}
}

func TestStack_StopsAnAppThatFailedHalfWay(t *testing.T) {
	t.Parallel()
	j := &journal{}
	refused := errors.New("refused")
	var stack lifecycle.Stack
	err := stack.Start(t.Context(), "auth", &part{name: "auth", journal: j, onStart: refused})
	if !errors.Is(err, refused) || err.Error() != "start auth: refused" {
		t.Errorf("unexpected error: %v", err)
	}
	err = stack.Close(t.Context())
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff("start auth, stop auth", j.all()); diff != "" {
		t.Error(diff)
	}
}

func TestGroup_StartsInOrderAndStopsInReverse(t *testing.T) {
	t.Parallel()
	j, apps := parts()
	g := lifecycle.NewGroup()
	err := start(t, g, apps)
	if err != nil {
		t.Fatal(err)
	}
	apps[0].onStop = errors.New("stuck")
	err = g.Stop(t.Context())
	if err == nil || err.Error() != "stop a: stuck" {
		t.Errorf("unexpected error: %v", err)
	}
	if diff := cmp.Diff("start a, start b, start c, stop c, stop b, stop a", j.all()); diff != "" {
		t.Error(diff)
	}
}

func TestGroup_StopsWhatStartedBeforeAFailure(t *testing.T) {
	t.Parallel()
	j, apps := parts()
	apps[1].onStart = errors.New("refused")
	g := lifecycle.NewGroup()
	err := start(t, g, apps)
	if err == nil || err.Error() != "start b: refused" {
		t.Errorf("unexpected error: %v", err)
	}
	err = g.Stop(t.Context())
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff("start a, start b, stop b, stop a", j.all()); diff != "" {
		t.Error(diff)
	}
}

func TestGroup_NeedsNoStartToStop(t *testing.T) {
	t.Parallel()
	g := lifecycle.NewGroup()
	err := errors.Join(g.Ready(t.Context()), g.Stop(t.Context()))
	if err != nil {
		t.Error(err)
	}
}

func TestGroup_IsReadyWhenAllAre(t *testing.T) {
	t.Parallel()
	_, apps := parts()
	g := lifecycle.NewGroup()
	err := errors.Join(start(t, g, apps), g.Ready(t.Context()))
	if err != nil {
		t.Error(err)
	}
	apps[0].down, apps[2].down = errors.New("nats: no answer"), errors.New("postgres: no answer")
	err = g.Ready(t.Context())
	if err == nil || err.Error() != "a: nats: no answer\nc: postgres: no answer" {
		t.Errorf("unexpected error: %v", err)
	}
	err = g.Stop(t.Context())
	if err != nil {
		t.Error(err)
	}
}

func TestGroup_WatchesPartsThatAreNoApps(t *testing.T) {
	t.Parallel()
	g := lifecycle.NewGroup()
	stopped, failed := false, make(chan error, 1)
	g.Push("postgres", func(context.Context) error { stopped = true; return nil })
	g.Watch("postgres", failed)
	failed <- errors.New("killed")
	if got := <-g.Failed(); got == nil || got.Error() != "postgres: killed" {
		t.Errorf("failed with %v", got)
	}
	err := g.Stop(t.Context())
	if err != nil || !stopped {
		t.Errorf("stopped %v, %v", stopped, err)
	}
}

func TestGroup_FailsWithTheFirst(t *testing.T) {
	t.Parallel()
	_, apps := parts()
	g := lifecycle.NewGroup()
	err := start(t, g, apps)
	if err != nil {
		t.Fatal(err)
	}
	apps[1].failed <- errors.New("permission lost")
	if got := <-g.Failed(); got == nil || got.Error() != "b: permission lost" {
		t.Errorf("failed with %v", got)
	}
	close(apps[0].failed)
	if got := <-g.Failed(); got == nil || got.Error() != "a: the app ended without a reason" {
		t.Errorf("failed with %v", got)
	}
	err = g.Stop(t.Context())
	if err != nil {
		t.Error(err)
	}
}

func TestGroup_StopsThoughNobodyTookTheFailure(t *testing.T) {
	t.Parallel()
	_, apps := parts()
	g := lifecycle.NewGroup()
	err := start(t, g, apps)
	if err != nil {
		t.Fatal(err)
	}
	apps[0].failed <- errors.New("first")
	apps[1].failed <- errors.New("second")
	err = g.Stop(t.Context())
	if err != nil {
		t.Error(err)
	}
}
