package dispatch

import (
	"context"
	"fmt"
	"sync"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
)

// publishTimeout bounds one try to publish (nats-postgres.md 2).
const publishTimeout = 2 * time.Second

// publish makes an event of a draft and publishes it.
func (e *Engine) publish(ctx context.Context, h *handOver, d draft) error {
	id := h.Reference.String() + d.suffix
	ev, err := event.New(d.kind, id, e.source, d.at, h.Send.Challenge, d.data)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	ev.Traceparent = h.Traceparent
	subject, err := event.SubjectOf(d.kind, string(e.channel))
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return e.publishMessage(ctx, h, bus.Message{Subject: subject, ID: id, Header: ev.Header(), Data: ev.Data})
}

// publishMessage tries until the message is stored, always under the same id,
// or until ctx ends. Meanwhile it keeps the send in progress, and nothing more
// is fetched: what could not be told must not happen again and again (P5).
func (e *Engine) publishMessage(ctx context.Context, h *handOver, m bus.Message) error {
	pause := backoff{random: e.random}
	kept := h.Received
	for {
		err := e.publishOnce(ctx, m)
		if err == nil {
			return nil
		}
		if !h.held {
			e.hold(h)
			e.log.WarnContext(ctx, "result not published yet", append(h.ids(), "error", err)...)
		}
		if now := e.clock(); now.Sub(kept) >= e.ackWait/3 {
			kept = now
			// Not heard means that the send comes again: no worse than before.
			_ = h.answer.InProgress()
		}
		if sleep(ctx, pause.next()) != nil {
			return fmt.Errorf("give up publishing: %w", err)
		}
	}
}

// publishOnce makes one try. It runs to its end also when the engine is told
// to stop at once: a result gets at least one try.
func (e *Engine) publishOnce(ctx context.Context, m bus.Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	_, err := e.publisher.Publish(ctx, m)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// hold stops fetching until this hand-over has ended.
func (e *Engine) hold(h *handOver) {
	h.held = true
	e.unpublished.raise()
}

// release undoes hold.
func (e *Engine) release(h *handOver) {
	if h.held {
		h.held = false
		e.unpublished.lower()
	}
}

// latch counts what is not published yet and lets others wait for zero.
type latch struct {
	mu    sync.Mutex
	count int
	clear chan struct{} // closed while count is zero
}

// newLatch returns a latch at zero.
func newLatch() *latch {
	l := &latch{clear: make(chan struct{})}
	close(l.clear)
	return l
}

func (l *latch) raise() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == 0 {
		l.clear = make(chan struct{})
	}
	l.count++
}

func (l *latch) lower() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
	if l.count == 0 {
		close(l.clear)
	}
}

// cleared returns a channel that is closed while nothing is unpublished.
func (l *latch) cleared() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clear
}

// sleep waits for d and returns the context's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait: %w", ctx.Err())
	}
}
