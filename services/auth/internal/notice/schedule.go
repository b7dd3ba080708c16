package notice

import (
	"context"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/services/auth/internal/ticket"
)

const (
	// scheduleEvery is the pause between two looks at what is due of the roll-out.
	scheduleEvery = 10 * time.Second
	// linkAfter is how long after the date that a notice tells its link leads to the page of the workspace.
	linkAfter = 14 * 24 * time.Hour
)

// MaxPerMinute is the most notices of the roll-out that may be ordered within a minute.
const MaxPerMinute = 100_000

// schedule orders what is due to the people who run workspaces on their way to codes, until ctx ends. Any number of replicas
// may do so; one at a time works. What one that stood still has missed is not told afterwards, but for the newest: see
// rollout.Place.Due.
func (t *Teller) schedule(ctx context.Context) {
	after := ""
	for ctx.Err() == nil {
		pass, err := t.cfg.Directory.OrderNotices(ctx, after, t.cfg.PerMinute)
		if err != nil && ctx.Err() == nil {
			t.metrics.backOff.WithLabelValues(askedRollout).Inc()
			t.cfg.Log.WarnContext(ctx, "notices back off", "asked", askedRollout, "error", err)
		}
		for _, table := range pass.Broken {
			t.cfg.Alarm(ctx, table)
		}
		if pass.Ordered > 0 {
			faultpoint.Hit("rollout.ordered")
			t.cfg.Log.InfoContext(ctx, "notices of the roll-out ordered", "count", pass.Ordered, "full", pass.Full)
		}
		after = pass.After
		if err != nil || pass.Busy || pass.Full || after == "" {
			pause(ctx, scheduleEvery)
		}
	}
}

// onItsWay tells somebody who runs a workspace of its way to codes, at their own address and, the owner, at the main one, as
// long as it is so. It goes by mail alone, from where the codes will come (product.md R4.6).
func (t *Teller) onItsWay(ctx context.Context, c cause) (story, error) {
	n, err := t.cfg.Directory.RolloutNotice(ctx, c.Workspace, c.About)
	if err != nil {
		return story{}, t.gone(ctx, err)
	}
	id, kind := n.Event()
	if c.ID != id || c.Kind != kind || n.Login != c.Login || !n.OrderedAt.Equal(c.Time) || !n.Holds() {
		return story{}, nobody(resultEnded)
	}
	a, err := t.addressee(ctx, c.Workspace, c.Login)
	if err != nil {
		return story{}, err
	}
	s := story{workspace: a.Workspace.Name, locale: a.Login.Locale, date: n.Said.Date}
	if kind == event.NoticeRolloutEnforced {
		s.used, s.people = n.Used, n.People
	}
	s.to = account.Mailboxes(a.Workspace, a.Login)
	until := c.Time
	if n.Said.Date.After(until) {
		until = n.Said.Date
	}
	until = until.Add(linkAfter)
	s.link = t.cfg.Link(ticket.Link{Kind: ticket.LinkReady, Workspace: c.Workspace, ID: c.Login, Until: until})
	if s.link != "" {
		s.until = until
	}
	return s, nil
}
