package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/services/bench/internal/host"
	"doorcode/services/bench/internal/load"
	"doorcode/services/bench/internal/report"
	"doorcode/services/bench/internal/stage"
)

const (
	// settleLimit bounds the wait for the recorder and the relay after a run.
	settleLimit = 2 * time.Minute
	settlePoll  = 50 * time.Millisecond
	// eventSize is about that of a challenge on the bus, in bytes.
	eventSize = 1500
)

// plan is one run to come.
type plan struct {
	sync           string
	inFlight, rate int // one of them
}

// loads lists the runs.
func (b *bench) loads() []plan {
	var all []plan
	for _, sync := range b.cfg.Syncs {
		for _, n := range b.cfg.Closed {
			all = append(all, plan{sync: sync, inFlight: n})
		}
		for _, n := range b.cfg.Rates {
			all = append(all, plan{sync: sync, rate: n})
		}
	}
	return all
}

// measure sets the processes up, warms them, and runs one load.
func (b *bench) measure(ctx context.Context, p plan) (run report.Run, err error) {
	running, err := b.stage.Open(ctx, p.sync)
	if err != nil {
		return report.Run{}, err
	}
	defer func() { err = errors.Join(err, running.Close(ctx)) }()
	admin, err := bus.Connect(ctx, bus.Config{URL: running.NATSURL, Name: "doorcodectl", KeyFile: b.stage.OperatorKey()})
	if err != nil {
		return report.Run{}, err
	}
	defer func() { err = errors.Join(err, admin.Drain(context.WithoutCancel(ctx))) }()
	front := load.NewFrontEnd(running.Auth, b.stage.Key(), b.cfg.People, b.inbox)
	defer front.Close()

	run = report.Run{Sync: p.sync, InFlight: p.inFlight, Rate: p.rate}
	b.load(ctx, p, front, b.cfg.WarmUp, load.NewTally())
	_, err = b.settle(ctx, admin)
	if err != nil {
		return run, err
	}
	run.Floor, err = b.floor(ctx, admin, running.Auth)
	if err != nil {
		return run, err
	}
	before, err := usages(running.Members)
	if err != nil {
		return run, err
	}
	tally, start := load.NewTally(), time.Now()
	b.load(ctx, p, front, b.cfg.Lasts, tally)
	run.Seconds = time.Since(start).Seconds()
	settled, err := b.settle(ctx, admin)
	if err != nil {
		return run, err
	}
	after, err := usages(running.Members)
	if err != nil {
		return run, err
	}
	run.Settled = settled.Seconds()
	fill(&run, tally)
	run.Processes = costs(before, after, run.Cycles, run.Seconds+run.Settled)
	return run, ctx.Err()
}

// load puts a load on the front-end.
func (b *bench) load(ctx context.Context, p plan, front *load.FrontEnd, lasts time.Duration, tally *load.Tally) {
	cycle := func(ctx context.Context, begun time.Time) { front.SignIn(ctx, begun, tally) }
	if p.rate > 0 {
		load.Open(ctx, p.rate, lasts, cycle)
		return
	}
	load.Closed(ctx, p.inFlight, lasts, cycle)
}

// fill puts what was counted into a run.
func fill(run *report.Run, tally *load.Tally) {
	run.Cycles, run.Failures = tally.Cycles(), tally.Failures()
	run.PerSecond = float64(run.Cycles) / run.Seconds
	run.Stages = map[load.Stage]report.Latency{}
	for _, s := range load.Stages() {
		run.Stages[s] = report.LatencyOf(tally.Times(s))
	}
}

// settle waits until everything is delivered, recorded and published, and returns how long that took.
func (b *bench) settle(ctx context.Context, admin *bus.Conn) (time.Duration, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	ticker := time.NewTicker(settlePoll)
	defer ticker.Stop()
	for {
		waiting, err := b.waiting(ctx, admin)
		if err != nil {
			return 0, err
		}
		if waiting == 0 {
			return time.Since(start), nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("%d events are still to be worked on: %w", waiting, ctx.Err())
		}
	}
}

// waiting counts the events that somebody has still to work on.
func (b *bench) waiting(ctx context.Context, admin *bus.Conn) (int, error) {
	sum, err := b.database.Outbox(ctx)
	if err != nil {
		return 0, err
	}
	for _, consumer := range [][2]string{
		{event.StreamChallenges, "email-dispatcher"}, {event.StreamChallenges, bus.Recorder}, {event.StreamDeliveries, bus.Recorder},
	} {
		backlog, err := admin.Backlog(ctx, consumer[0], consumer[1])
		if err != nil {
			return 0, err
		}
		sum += int(backlog.Waiting) + backlog.Unanswered //nolint:gosec // far fewer than an int holds
	}
	return sum, nil
}

// floor times what lies beneath doorcode, one at a time: the round trip to auth's key set, a publish to a stream that
// nobody consumes, and a commit.
func (b *bench) floor(ctx context.Context, admin *bus.Conn, auth string) (map[string]report.Latency, error) {
	subject, err := event.SubjectOf(event.CheckRejected, "")
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	floor := map[string]report.Latency{}
	for _, part := range []struct {
		name string
		once func() error
	}{
		{report.FloorHTTP, func() error { return get(ctx, client, "http://"+auth+"/.well-known/jwks.json") }},
		{report.FloorPublish, func() error {
			_, err := admin.Publish(ctx, bus.Message{Subject: subject, ID: rand.Text(), Data: make([]byte, eventSize)})
			return err
		}},
		{report.FloorCommit, func() error { return b.database.Commit(ctx) }},
	} {
		latency, err := repeat(b.cfg.Floor, part.once)
		if err != nil {
			return nil, fmt.Errorf("measure the floor %s: %w", part.name, err)
		}
		floor[part.name] = latency
	}
	return floor, nil
}

// repeat times something again and again.
func repeat(lasts time.Duration, once func() error) (report.Latency, error) {
	var times []time.Duration
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		start := time.Now()
		err := once()
		if err != nil {
			return report.Latency{}, err
		}
		times = append(times, time.Since(start))
	}
	return report.LatencyOf(times), nil
}

// get is one round trip.
func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}

// member is what a process had cost at a moment.
type member struct {
	name string
	host.Usage
}

// usages reads what each process and this one, which is the load and the provider, cost so far.
func usages(members []stage.Member) ([]member, error) {
	all := make([]member, 0, len(members)+1)
	for _, m := range members {
		u, err := host.Measure("/proc", m.PID)
		if err != nil {
			return nil, err
		}
		all = append(all, member{m.Name, u})
	}
	own, err := host.MeasureAlone("/proc", os.Getpid())
	return append(all, member{"bench", own}), err
}

// costs sums the replicas and divides by the sign-ins.
func costs(before, after []member, cycles int, seconds float64) []report.Process {
	var all []report.Process
	for i, m := range after {
		cpu := (m.CPU - before[i].CPU).Seconds()
		if len(all) == 0 || all[len(all)-1].Name != m.name {
			all = append(all, report.Process{Name: m.name})
		}
		p := &all[len(all)-1]
		p.Replicas++
		p.CPU += cpu * 1e6 / max(float64(cycles), 1)
		p.Cores += cpu / seconds
		p.Memory += m.Memory
	}
	return all
}
