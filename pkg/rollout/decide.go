package rollout

import "time"

// Kind is what a sign-in needs.
type Kind string

// The kinds, which are also the decisions of the API. The order is their strictness.
const (
	NotRequired Kind = "not_required" // no code is sent
	Skippable   Kind = "skippable"    // a code is sent, and the person may go on without it
	Required    Kind = "required"     // there is no other way
)

// strictness orders the kinds; one that is none of them is the strictest.
func (k Kind) strictness() int {
	switch k {
	case NotRequired:
		return 0
	case Skippable:
		return 1
	case Required:
	}
	return 2
}

// Why is the reason of a decision: what the assertion of a waiver says, and what people are told.
type Why string

// The reasons of a decision.
const (
	WhyEnforced      Why = "enforced"        // codes are required here
	WhyNewLogin      Why = "new_login"       // the login is younger than its workspace's place in a wave
	WhyElsewhere     Why = "elsewhere"       // another workspace of the same person is stricter
	WhyUnknown       Why = "unknown_browser" // grace, in a browser that this login has not used lately
	WhySkipsSpent    Why = "skips_spent"     // grace, and the skips are used up
	WhyGrace         Why = "grace"           // the code may be skipped
	WhyNotYet        Why = "not_yet"         // scheduled or announced
	WhyExempt        Why = "exempt"          // the workspace is exempt
	WhyExemptedLogin Why = "exempted_login"  // the login is exempt
)

// Facts are all that a decision depends on, at one moment.
type Facts struct {
	Now  time.Time
	Home Membership // in the workspace that is signed in to
	// Others are those of further workspaces in which the same address belongs to a login.
	Others []Membership
	// Exemption is that of the login, if it has one.
	Exemption *Exemption
	// KnownBrowser says that this login was used in this browser within 30 days.
	KnownBrowser bool
	// Skipped counts the skips of the login.
	Skipped int
}

// earliest is the first of two times; zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Membership is a login's in a workspace.
type Membership struct {
	Place  Place
	MadeAt time.Time // when the login was made
}

// Decision is what a sign-in needs, and why.
type Decision struct {
	Kind Kind
	Why  Why
	// Skips is how many skips the login may have in all, for a skippable one; the verifier counts to it.
	Skips int
	// Left are those that are left, this one counted.
	Left int
	// EnforceAt is when codes become required, if that is known; zero: it is not, or they are.
	EnforceAt time.Time
}

// Decide returns what a sign-in needs. The strictest workspace of the person decides (product.md R2.3), except that an
// exempted login is let in: that was said of this very login, in the names of two people.
func Decide(f Facts) Decision {
	if f.Exemption.holds(f.Now, true) {
		return Decision{Kind: NotRequired, Why: WhyExemptedLogin}
	}
	d := f.Home.decide(f)
	for _, other := range f.Others {
		o := other.decide(f)
		switch {
		case o.Kind == Required && d.Kind != Required:
			return Decision{Kind: Required, Why: WhyElsewhere}
		case o.Kind.strictness() > d.Kind.strictness():
			o.EnforceAt = earliest(o.EnforceAt, d.EnforceAt)
			d = o // Why is that of both: nobody learns of the other workspace (product.md R2.3).
		case o.Kind == d.Kind && d.Kind != Required:
			d.EnforceAt = earliest(d.EnforceAt, o.EnforceAt)
			d.Skips, d.Left = min(d.Skips, o.Skips), min(d.Left, o.Left)
		}
	}
	return d
}

// decide is the decision as one workspace has it.
func (m Membership) decide(f Facts) Decision {
	stage := m.Place.StageAt(f.Now)
	switch {
	case stage == Exempt:
		return Decision{Kind: NotRequired, Why: WhyExempt}
	case stage == Enforced:
		return Decision{Kind: Required, Why: WhyEnforced}
	case m.MadeAt.After(m.Place.JoinedAt): // No habit is broken (product.md R2.2).
		return Decision{Kind: Required, Why: WhyNewLogin}
	case stage == Grace:
		return m.Place.Wave.inGrace(f)
	}
	return Decision{Kind: NotRequired, Why: WhyNotYet, EnforceAt: m.Place.Wave.enforceAt()}
}

// inGrace is the decision while codes may be skipped. A browser that the login has not used lately must enter the code, or
// grace would protect nobody (product.md R4.8).
func (w Wave) inGrace(f Facts) Decision {
	switch {
	case !f.KnownBrowser:
		return Decision{Kind: Required, Why: WhyUnknown}
	case f.Skipped >= w.Skips:
		return Decision{Kind: Required, Why: WhySkipsSpent}
	}
	return Decision{Kind: Skippable, Why: WhyGrace, Skips: w.Skips, Left: w.Skips - f.Skipped, EnforceAt: w.enforceAt()}
}

// enforceAt is when codes become required, as far as it is known: in a pause it is not.
func (w Wave) enforceAt() time.Time {
	if !w.StoppedAt().IsZero() {
		return time.Time{}
	}
	return w.EnforceAt
}
