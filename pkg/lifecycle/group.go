package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Group runs several apps as one: each started when its turn comes, stopped in reverse, ready when all are, failed with
// the first that fails. Other parts can be stopped and watched with it.
type Group struct {
	Stack   // What is started, apps and other parts.
	mu      sync.Mutex
	apps    []named
	failed  chan error
	ending  chan struct{} // Closed by Stop: nobody need watch any longer.
	end     func()
	watches sync.WaitGroup
}

// named is a running app under the name that its errors carry.
type named struct {
	name string
	app  App
}

// NewGroup returns a group of no apps yet.
func NewGroup() *Group {
	ending := make(chan struct{})
	return &Group{failed: make(chan error, 1), ending: ending, end: sync.OnceFunc(func() { close(ending) })}
}

// Start starts one more app. Those before it run on until Stop, also when it fails.
func (g *Group) Start(ctx context.Context, name string, app App) error {
	err := g.Stack.Start(ctx, name, app)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.apps = append(g.apps, named{name, app})
	g.mu.Unlock()
	g.Watch(name, app.Failed())
	return nil
}

// Watch passes the failure of a part on. A later one of another part is dropped: the group is being stopped by then.
func (g *Group) Watch(name string, failed <-chan error) {
	g.watches.Go(func() {
		select {
		case err := <-failed:
			select {
			case g.failed <- fmt.Errorf("%s: %w", name, reasoned(err)):
			default:
			}
		case <-g.ending:
		}
	})
}

// Stop stops what was started, in reverse, and joins the errors.
func (g *Group) Stop(ctx context.Context) error {
	g.end()
	err := g.Close(ctx)
	g.watches.Wait()
	return err
}

// Ready joins what the apps lack, each under its name.
func (g *Group) Ready(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var problems []error
	for _, n := range g.apps {
		err := n.app.Ready(ctx)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", n.name, err))
		}
	}
	return errors.Join(problems...)
}

// Failed delivers the first failure of a part.
func (g *Group) Failed() <-chan error { return g.failed }
