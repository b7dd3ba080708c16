package rollout

import (
	"errors"
	"time"
)

// PostponedBy is how much later the date of a workspace may be made by its owner, once (product.md R4.10).
const PostponedBy = 7 * 24 * time.Hour

// Postponement is what the owner of a workspace was promised when they moved its date. It gives a workspace more time and
// never takes any: it counts for nothing where the wave itself has become later.
type Postponement struct {
	Wave string // of which the date was moved
	// GraceAt and EnforceAt are the dates that were promised. Grace that had begun stays as it was.
	GraceAt, EnforceAt time.Time
	Login              string // the owner's
	At                 time.Time
}

// The refusals of a postponement; ErrPaused is another.
var (
	ErrPostponed     = errors.New("the date was moved once already")
	ErrNotPostponing = errors.New("there is no date that could be moved: it was not announced, or codes are required already")
)

// Postpone returns what the owner is promised who moves the date of their workspace now. It fails with ErrPostponed,
// ErrPaused, since a date that was withdrawn cannot be moved, or ErrNotPostponing.
func (p Place) Postpone(now time.Time, login string) (Postponement, error) {
	stage := p.StageAt(now)
	switch {
	case p.Postponement != nil:
		return Postponement{}, ErrPostponed
	case p.Wave == nil || stage != Announced && stage != Grace:
		return Postponement{}, ErrNotPostponing
	case !p.Wave.StoppedAt().IsZero():
		return Postponement{}, ErrPaused
	}
	q := Postponement{Wave: p.Wave.ID, GraceAt: p.Wave.GraceAt, EnforceAt: p.Wave.EnforceAt.Add(PostponedBy), Login: login, At: now}
	if stage == Announced {
		q.GraceAt = q.GraceAt.Add(PostponedBy)
	}
	return q, nil
}

// Dated returns the wave as the workspace has it: of the date of the wave and the one that its owner was promised the later
// one counts (product.md, edge case 28), and nothing comes more than PostponedBy after the wave. Without a wave it is the
// zero one, which is enforced.
func (p Place) Dated() Wave {
	if p.Wave == nil {
		return Wave{}
	}
	w, q := *p.Wave, p.Postponement
	if q == nil || q.Wave != w.ID || q.EnforceAt.Before(q.GraceAt) || w.Validate() != nil {
		return w
	}
	w.GraceAt, w.EnforceAt = postponed(w.GraceAt, q.GraceAt), postponed(w.EnforceAt, q.EnforceAt)
	return w
}

// postponed is the later one of a date and what was promised, within bounds.
func postponed(date, promised time.Time) time.Time {
	latest := date.Add(PostponedBy)
	switch {
	case promised.After(latest):
		return latest
	case promised.After(date):
		return promised
	}
	return date
}
