package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The bounds of posting (providers.md 4.7).
const (
	maxFlying    = 16
	connectTime  = 3 * time.Second
	answerTime   = 15 * time.Second
	maxHookReply = 64 << 10
)

// WebhookCounts tell what became of the posts since the start.
type WebhookCounts struct {
	Taken   int // answered with success
	Retried int // refused or not answered, to be posted again
	GivenUp int // refused for a day
	Lost    int // refused for good, or dropped because too many waited
	Waiting int // not posted yet, or on the way
}

// WebhookCounts tells what became of the posts.
func (s *Sandbox) WebhookCounts() WebhookCounts { return s.queue.report() }

// runner posts in the background.
type runner struct {
	mu     sync.Mutex
	pick   context.CancelFunc // ends the picking
	abort  context.CancelFunc // ends the posts on the way
	ended  chan struct{}
	closed bool
}

// Start begins to post webhooks in the background, each at its time. Without it
// they wait for Flush. A second call does nothing; the posting outlives ctx and
// ends with Stop.
func (s *Sandbox) Start(ctx context.Context) {
	s.runner.mu.Lock()
	defer s.runner.mu.Unlock()
	if s.runner.ended != nil || s.runner.closed {
		return
	}
	ctx = context.WithoutCancel(ctx)
	picking, pick := context.WithCancel(ctx)
	posting, abort := context.WithCancel(ctx)
	s.runner.pick, s.runner.abort, s.runner.ended = pick, abort, make(chan struct{})
	go func() {
		defer close(s.runner.ended)
		s.pump(picking, posting)
	}()
}

// Stop ends the posting, and lets go of every send that a fault or a magic
// recipient holds, now and later. It waits for the posts on the way until ctx
// ends, then breaks them off and waits for that. What waits is posted by Flush
// alone. The sandbox does not start again. A server calls it before it stops.
func (s *Sandbox) Stop(ctx context.Context) error {
	s.faults.close()
	s.runner.mu.Lock()
	s.runner.closed = true
	ended := s.runner.ended
	s.runner.mu.Unlock()
	if ended == nil {
		return nil
	}
	defer s.runner.abort()
	s.runner.pick()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	s.runner.abort()
	<-ended
	return fmt.Errorf("stop webhooks: %w", ctx.Err())
}

// pump takes what is due, posts it, and sleeps until the next one is.
func (s *Sandbox) pump(picking, posting context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, maxFlying)
	for picking.Err() == nil {
		due, next := s.queue.take(time.Now(), false, s.cfg.BatchBytes)
		for _, p := range due {
			select {
			case slots <- struct{}{}:
			case <-picking.Done():
				s.queue.back(p)
				continue
			}
			group.Go(func() {
				defer func() { <-slots }()
				_ = s.deliver(posting, p) // counted
			})
		}
		s.doze(picking, next)
	}
}

// doze waits for the time, for another parcel, or for the end.
func (s *Sandbox) doze(ctx context.Context, next time.Time) {
	var elapsed <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		elapsed = timer.C
	}
	select {
	case <-elapsed:
	case <-s.queue.woken:
	case <-ctx.Done():
	}
}

// Flush posts everything that waits, in the order of its time and without
// waiting for it, each once, and waits for what is on the way. The error tells
// how many were not taken; those go on waiting for their next try.
func (s *Sandbox) Flush(ctx context.Context) error {
	all, _ := s.queue.take(time.Now(), true, s.cfg.BatchBytes)
	var failed []error
	for _, p := range all {
		err := s.deliver(ctx, p)
		if err != nil {
			failed = append(failed, err)
		}
	}
	err := s.queue.idle(ctx)
	if len(failed) > 0 {
		err = errors.Join(err, fmt.Errorf("flush webhooks: %d of %d were not taken, the first: %w", len(failed), len(all), failed[0]))
	}
	return err
}

// Why a post failed. The transport's own error would tell the address.
var (
	errUnreachable = errors.New("the webhook cannot be reached")
	errRefused     = errors.New("the webhook did not take it")
)

// deliver posts one parcel, as often as its faults say, and lands it with the
// last answer.
func (s *Sandbox) deliver(ctx context.Context, p *parcel) error {
	got, err := lost, error(nil)
	for _, spoilt := range s.hookFaults.posts() {
		got, err = s.post(ctx, p.load, spoilt)
	}
	s.queue.land(p, got, time.Now())
	return err
}

// post makes one request and judges its answer.
func (s *Sandbox) post(ctx context.Context, l load, spoilt spoilt) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	request, err := l.request(ctx, s, spoilt)
	if err != nil {
		return lost, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return again, errUnreachable
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxHookReply))
	_ = response.Body.Close()
	got := l.taken(response.StatusCode)
	if got != taken {
		return got, fmt.Errorf("%w: status %d", errRefused, response.StatusCode)
	}
	return taken, nil
}

// errForeign says that a webhook points away from this machine.
var errForeign = errors.New("a webhook may only point to a loopback address or a host that the settings name")

// newClient makes a client that follows no redirect, knows no proxy, keeps no
// connection, and connects to loopback addresses and the named hosts alone.
func newClient(hosts []string) *http.Client {
	local := &net.Dialer{Timeout: connectTime, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !at.Addr().Unmap().IsLoopback() {
			return errForeign
		}
		return nil
	}}
	free := &net.Dialer{Timeout: connectTime}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(address)
				named := func(h string) bool { return strings.EqualFold(h, host) }
				if err == nil && slices.ContainsFunc(hosts, named) {
					return free.DialContext(ctx, network, address)
				}
				return local.DialContext(ctx, network, address)
			},
		},
	}
}
