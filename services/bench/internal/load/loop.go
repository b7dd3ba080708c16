// Package load makes sign-ins in a loop and times their stages.
//
// A closed loop keeps a number of them in flight: the next begins when one has ended, as fast as doorcode answers. An
// open loop begins them at fixed times, whether or not doorcode keeps up, and times each from when it was meant to
// begin: a stall then counts for everybody who would have come during it (coordinated omission).
package load

import (
	"context"
	"sync"
	"time"
)

// Closed keeps inFlight cycles running for that long and returns when the last has ended. cycle gets the time of its
// begin.
func Closed(ctx context.Context, inFlight int, lasts time.Duration, cycle func(context.Context, time.Time)) {
	end := time.Now().Add(lasts)
	var running sync.WaitGroup
	for range inFlight {
		running.Go(func() {
			for now := time.Now(); now.Before(end) && ctx.Err() == nil; now = time.Now() {
				cycle(ctx, now)
			}
		})
	}
	running.Wait()
}

// Open begins rate cycles a second for that long, each at its time, and returns when the last has ended. cycle gets the
// time at which it was meant to begin.
func Open(ctx context.Context, rate int, lasts time.Duration, cycle func(context.Context, time.Time)) {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	for i := 0; ; i++ {
		due := dueAfter(i, rate)
		if due >= lasts {
			return
		}
		at := start.Add(due)
		timer.Reset(time.Until(at))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		running.Go(func() { cycle(ctx, at) })
	}
}

// dueAfter is when the i-th cycle, from 0 on, is due after the start.
func dueAfter(i, rate int) time.Duration {
	return time.Duration(i) * time.Second / time.Duration(rate)
}
