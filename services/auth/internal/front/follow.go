package front

import (
	"context"
	"time"

	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/watch"
)

// followAgain is when whoever found no room may come again.
const followAgain = 5 * time.Second

// Following is an open look at one challenge.
type Following struct {
	front  *Front
	call   Call
	handle string
	watch  *watch.Watch
}

// Follow opens a look at a challenge and returns where it stands now; the caller closes it. Who asks is checked again at
// every look, so that a key that was withdrawn sees nothing more.
func (f *Front) Follow(ctx context.Context, call Call, handle string) (*Following, View, error) {
	h, _, err := f.admit(ctx, call, handle)
	if err != nil {
		return nil, View{}, err
	}
	w, ok := f.watches.Open(h.Challenge)
	if !ok {
		return nil, View{}, crowded()
	}
	following := &Following{front: f, call: call, handle: handle, watch: w}
	view, err := following.State(ctx) // After the watch is open: no change falls between the two.
	if err != nil {
		following.Close()
		return nil, View{}, err
	}
	return following, view, nil
}

// State tells where the challenge stands.
func (f *Following) State(ctx context.Context) (View, error) {
	return f.front.State(ctx, f.call, f.handle)
}

// Changed delivers that the challenge may have changed since the last look.
func (f *Following) Changed() <-chan struct{} { return f.watch.Changed() }

// Ended is closed when the process stops.
func (f *Following) Ended() <-chan struct{} { return f.watch.Ended() }

// Close ends the look. It may be called again.
func (f *Following) Close() { f.watch.Close() }

// crowded is the answer when as many challenges are looked at as this process can bear, or when it stops.
func crowded() *problem.Problem {
	p := overloaded()
	p.Detail = "Too many challenges are followed at the moment. Read the state now and then instead, or try again."
	p.RetryAfter = followAgain
	return p
}
