package pages

import (
	"sync"
	"time"
)

// The pace of a page's forms: far above what a person does, who has five codes and four messages.
const (
	paceBurst = 30              // posts at once
	paceEvery = 2 * time.Second // then one in this time
)

// pace bounds how often the forms of one page are posted to this process, before anybody else is asked about them. All
// browsers that opened the page count together. It is safe for concurrent use.
type pace struct {
	mu    sync.Mutex
	now   func() time.Time
	full  map[string]time.Time // by page, when it may post a whole burst again
	swept time.Time
}

func newPace(now func() time.Time) *pace {
	return &pace{now: now, full: map[string]time.Time{}, swept: now()}
}

// take returns 0 and counts a post, or counts nothing and returns the wait until one is let through.
func (p *pace) take(page string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.sweep(now)
	full := p.full[page]
	if full.Before(now) {
		full = now
	}
	wait := full.Sub(now) - (paceBurst-1)*paceEvery
	if wait > 0 {
		return wait
	}
	p.full[page] = full.Add(paceEvery)
	return 0
}

// sweep forgets the pages that have nothing to wait for, now and then. The mutex is held.
func (p *pace) sweep(now time.Time) {
	if now.Sub(p.swept) < paceBurst*paceEvery {
		return
	}
	p.swept = now
	for page, full := range p.full {
		if !full.After(now) {
			delete(p.full, page)
		}
	}
}
