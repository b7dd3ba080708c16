package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Named is an app under the name that its errors carry.
type Named struct {
	Name string
	App  App
}

// Group runs several apps as one App: started in order, stopped in reverse, ready when all are, failed with the first
// that fails.
type Group struct {
	apps    []Named
	stack   Stack
	failed  chan error
	ending  chan struct{} // Closed by Stop: nobody need watch any longer.
	end     func()
	watches sync.WaitGroup
}

// NewGroup returns the group of apps. It starts none.
func NewGroup(apps ...Named) *Group {
	ending := make(chan struct{})
	return &Group{
		apps:   apps,
		failed: make(chan error, 1),
		ending: ending,
		end:    sync.OnceFunc(func() { close(ending) }),
	}
}

// Start starts the apps one after the other and ends with the first that cannot. Those before it run on until Stop.
func (g *Group) Start(ctx context.Context) error {
	for _, named := range g.apps {
		err := g.stack.Start(ctx, named.Name, named.App)
		if err != nil {
			return err
		}
		g.watches.Go(func() { g.watch(named) })
	}
	return nil
}

// watch passes an app's failure on. A later one of another app is dropped: the group is being stopped by then.
func (g *Group) watch(named Named) {
	select {
	case err := <-named.App.Failed():
		select {
		case g.failed <- fmt.Errorf("%s: %w", named.Name, reasoned(err)):
		default:
		}
	case <-g.ending:
	}
}

// Stop stops what was started, in reverse, and joins the errors.
func (g *Group) Stop(ctx context.Context) error {
	g.end()
	err := g.stack.Close(ctx)
	g.watches.Wait()
	return err
}

// Ready joins what the apps lack, each under its name.
func (g *Group) Ready(ctx context.Context) error {
	var problems []error
	for _, named := range g.apps {
		err := named.App.Ready(ctx)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", named.Name, err))
		}
	}
	return errors.Join(problems...)
}

// Failed delivers the first failure of an app.
func (g *Group) Failed() <-chan error { return g.failed }
