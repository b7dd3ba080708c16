// Package rollout says whether a sign-in needs its code already: the stages in which a workspace comes to mandatory
// codes, and one pure function that decides (product.md S2, S4).
//
// Whatever is unknown is enforced: a workspace in no wave, a login that was made after its workspace joined one, a stage
// that is none of ours. It imports the standard library alone and knows no clock.
package rollout

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Stage is where a workspace stands.
type Stage string

// The stages in their order, and the one beside them. A paused wave is no stage: its workspaces stay in the one in which
// they were.
const (
	Scheduled Stage = "scheduled" // a date is set and nobody was told
	Announced Stage = "announced" // its people were told
	Grace     Stage = "grace"     // the code is asked for and may be skipped
	Enforced  Stage = "enforced"  // the code is required
	Exempt    Stage = "exempt"    // for a stated time, by two people
)

// Stages lists all of them, in the order in which they are shown.
func Stages() []Stage { return []Stage{Scheduled, Announced, Grace, Enforced, Exempt} }

// Wave is a group of workspaces that come to codes together.
type Wave struct {
	ID string
	// AnnounceAt, GraceAt and EnforceAt begin the stages, in this order. Two of them may be the same moment.
	AnnounceAt, GraceAt, EnforceAt time.Time
	// Skips is how often each login may go on without its code in grace, 0 to MaxSkips.
	Skips int
	// PausedAt is when the wave was paused; zero: it is not.
	PausedAt time.Time
	Reason   string // of the pause
	// HeldAt is when a gate that failed had the wave stand still, which is as a pause is; zero: none does.
	HeldAt  time.Time
	HeldFor string // why: the sentences of the gates
}

// MaxSkips is the most skips that a wave may give.
const MaxSkips = 100

// ErrWave says that the dates of a wave are not in order, or that its skips are out of range.
var ErrWave = errors.New("the dates of a wave are not in the order announcement, grace, enforcement, or its skips are not 0 to 100")

// Validate returns ErrWave, or nil.
func (w Wave) Validate() error {
	if w.AnnounceAt.IsZero() || w.GraceAt.Before(w.AnnounceAt) || w.EnforceAt.Before(w.GraceAt) || w.Skips < 0 || w.Skips > MaxSkips {
		return ErrWave
	}
	return nil
}

// StageAt returns the stage of the wave's workspaces at a moment. Time that passes in a pause does not count.
func (w Wave) StageAt(now time.Time) Stage {
	now = w.clock(now)
	switch {
	case w.Validate() != nil || !now.Before(w.EnforceAt):
		return Enforced
	case !now.Before(w.GraceAt):
		return Grace
	case !now.Before(w.AnnounceAt):
		return Announced
	}
	return Scheduled
}

// clock is the wave's own: it stands still in a pause.
func (w Wave) clock(now time.Time) time.Time {
	stopped := w.StoppedAt()
	if !stopped.IsZero() && stopped.Before(now) {
		return stopped
	}
	return now
}

// StoppedAt is since when the wave stands still, by a pause or by a gate, whichever came first; zero: it does not.
func (w Wave) StoppedAt() time.Time { return earliest(w.PausedAt, w.HeldAt) }

// The errors of a change of a wave.
var (
	ErrTold     = errors.New("the people of the wave were told: its dates move later alone, and nobody joins or leaves")
	ErrPaused   = errors.New("the wave is paused")
	ErrRunning  = errors.New("the wave is not paused")
	ErrEnforced = errors.New("the wave is enforced")
	ErrPast     = errors.New("the announcement would lie in the past: nobody was told, and nobody could join")
)

// Told reports whether the announcement has gone out.
func (w Wave) Told(now time.Time) bool { return w.StageAt(now) != Scheduled }

// Make returns the wave as a new one: it is not paused, and its announcement is still to come. It fails with ErrWave or
// ErrPast.
func (w Wave) Make(now time.Time) (Wave, error) {
	w = w.going()
	switch {
	case w.Validate() != nil:
		return Wave{}, ErrWave
	case w.Told(now):
		return Wave{}, ErrPast
	}
	return w, nil
}

// Move returns the wave with other dates and skips. Before its people were told every date may be any that is to come;
// from then on a date moves later and never earlier, one that has passed stays, and skips do not become fewer
// (product.md R4.2). It fails with ErrWave, ErrPast, ErrTold, ErrPaused or ErrEnforced.
func (w Wave) Move(to Wave, now time.Time) (Wave, error) {
	next := w
	next.AnnounceAt, next.GraceAt, next.EnforceAt, next.Skips = to.AnnounceAt, to.GraceAt, to.EnforceAt, to.Skips
	switch {
	case next.Validate() != nil:
		return Wave{}, ErrWave
	case !w.StoppedAt().IsZero():
		return Wave{}, ErrPaused
	case w.StageAt(now) == Enforced:
		return Wave{}, ErrEnforced
	case !w.Told(now):
		return next.Make(now)
	case !next.AnnounceAt.Equal(w.AnnounceAt), !later(w.GraceAt, next.GraceAt, now), !later(w.EnforceAt, next.EnforceAt, now),
		next.Skips < w.Skips:
		return Wave{}, ErrTold
	}
	return next, nil
}

// later reports whether a date may be moved so: not to an earlier one, and not at all once it has passed.
func later(from, to, now time.Time) bool {
	return to.Equal(from) || to.After(from) && from.After(now)
}

// Pause returns the wave as it stands still. An enforced one does not: no code is taken back by it. It fails with
// ErrPaused or ErrEnforced.
func (w Wave) Pause(now time.Time, reason string) (Wave, error) {
	switch {
	case !w.PausedAt.IsZero():
		return Wave{}, ErrPaused
	case w.StageAt(now) == Enforced:
		return Wave{}, ErrEnforced
	}
	w.PausedAt, w.Reason = now, reason
	return w, nil
}

// Resume returns the wave as it goes on, whatever had it stand still: what was to come comes later by as long as it stood.
// It fails with ErrRunning.
func (w Wave) Resume(now time.Time) (Wave, error) {
	stopped := w.StoppedAt()
	if stopped.IsZero() {
		return Wave{}, ErrRunning
	}
	stood := max(0, now.Sub(stopped))
	for _, date := range []*time.Time{&w.AnnounceAt, &w.GraceAt, &w.EnforceAt} {
		if date.After(stopped) {
			*date = date.Add(stood)
		}
	}
	return w.going(), nil
}

// going returns the wave as one that nobody has stand still.
func (w Wave) going() Wave {
	w.PausedAt, w.Reason, w.HeldAt, w.HeldFor = time.Time{}, "", time.Time{}, ""
	return w
}

// Exemption is a time without codes, for a workspace or one login.
type Exemption struct {
	Reason                  Reason
	RequestedBy, ApprovedBy string
	Since, Until            time.Time
}

// Reason is why somebody is exempt, of a closed list (product.md R4.11). An emergency account is none.
type Reason string

// The reasons of an exemption.
const (
	SingleSignOn  Reason = "single_sign_on" // the workspace signs in by its own identity provider alone
	Accessibility Reason = "accessibility"  // a need that no offered way meets
	Contract      Reason = "contract"
	Automation    Reason = "automation"  // that is being replaced
	Unreachable   Reason = "unreachable" // no code reaches the person, and support has made sure of who they are
)

// Reasons lists every reason.
func Reasons() []Reason {
	return []Reason{SingleSignOn, Accessibility, Contract, Automation, Unreachable}
}

// The longest exemptions.
const (
	LongestOfWorkspace = 90 * 24 * time.Hour
	LongestOfLogin     = 72 * time.Hour
)

// ErrExemption says that an exemption may not be given.
var ErrExemption = errors.New("an exemption needs a known reason, two people, and an end within 90 days, or 72 hours for a login")

// Validate returns ErrExemption, or nil. One that was written another way counts for nothing.
func (e Exemption) Validate(ofLogin bool) error {
	longest := LongestOfWorkspace
	if ofLogin {
		longest = LongestOfLogin
	}
	if !slices.Contains(Reasons(), e.Reason) || blank(e.RequestedBy) || blank(e.ApprovedBy) || same(e.RequestedBy, e.ApprovedBy) ||
		e.Since.IsZero() || !e.Until.After(e.Since) || e.Until.Sub(e.Since) > longest {
		return ErrExemption
	}
	return nil
}

// blank reports whether a name names nobody.
func blank(name string) bool { return strings.TrimSpace(name) == "" }

// same reports whether two names are of one person, who may have been written in two ways.
func same(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }

// holds reports whether an exemption counts at a moment.
func (e *Exemption) holds(now time.Time, ofLogin bool) bool {
	return e != nil && e.Validate(ofLogin) == nil && !now.Before(e.Since) && now.Before(e.Until)
}

// Place is where a workspace belongs. The zero Place is that of a workspace of which nothing is known: it is enforced.
type Place struct {
	Wave      *Wave
	JoinedAt  time.Time // the wave
	Exemption *Exemption
}

// StageAt returns the stage of the workspace: exactly one at every moment, so that the counts of all stages add up to all
// workspaces.
func (p Place) StageAt(now time.Time) Stage {
	switch {
	case p.Exemption.holds(now, false):
		return Exempt
	case p.Wave == nil:
		return Enforced
	}
	return p.Wave.StageAt(now)
}
