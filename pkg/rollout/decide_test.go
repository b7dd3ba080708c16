package rollout_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/rollout"
)

// facts are those of an old login in a known browser, that many days after the announcement.
func facts(days int) rollout.Facts {
	w := wave()
	return rollout.Facts{
		Now:          day0.Add(time.Duration(days) * day),
		Home:         rollout.Membership{Place: rollout.Place{Wave: &w, JoinedAt: day0.Add(-7 * day)}, MadeAt: day0.Add(-100 * day)},
		KnownBrowser: true,
	}
}

// elsewhere is an old login's in another workspace, whose wave is by so much from ours and gives so many skips.
func elsewhere(by time.Duration, skips int) rollout.Membership {
	w := wave()
	w.AnnounceAt, w.GraceAt, w.EnforceAt, w.Skips = w.AnnounceAt.Add(by), w.GraceAt.Add(by), w.EnforceAt.Add(by), skips
	return rollout.Membership{Place: rollout.Place{Wave: &w, JoinedAt: day0.Add(-30 * day)}, MadeAt: day0.Add(-100 * day)}
}

func TestDecide_ByStage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		days   int
		change func(*rollout.Facts)
		want   rollout.Decision
	}{
		"scheduled":            {-1, nil, rollout.Decision{Kind: rollout.NotRequired, Why: rollout.WhyNotYet, EnforceAt: wave().EnforceAt}},
		"announced":            {1, nil, rollout.Decision{Kind: rollout.NotRequired, Why: rollout.WhyNotYet, EnforceAt: wave().EnforceAt}},
		"grace":                {8, nil, rollout.Decision{Kind: rollout.Skippable, Why: rollout.WhyGrace, Skips: 3, Left: 3, EnforceAt: wave().EnforceAt}},
		"enforced":             {14, nil, rollout.Decision{Kind: rollout.Required, Why: rollout.WhyEnforced}},
		"grace, the last skip": {8, func(f *rollout.Facts) { f.Skipped = 2 }, rollout.Decision{Kind: rollout.Skippable, Why: rollout.WhyGrace, Skips: 3, Left: 1, EnforceAt: wave().EnforceAt}},
		"grace, no skip left":  {8, func(f *rollout.Facts) { f.Skipped = 3 }, rollout.Decision{Kind: rollout.Required, Why: rollout.WhySkipsSpent}},
		"grace, a new browser": {8, func(f *rollout.Facts) { f.KnownBrowser = false }, rollout.Decision{Kind: rollout.Required, Why: rollout.WhyUnknown}},
		"a new login":          {1, func(f *rollout.Facts) { f.Home.MadeAt = day0 }, rollout.Decision{Kind: rollout.Required, Why: rollout.WhyNewLogin}},
		"a new login in grace": {8, func(f *rollout.Facts) { f.Home.MadeAt = day0 }, rollout.Decision{Kind: rollout.Required, Why: rollout.WhyNewLogin}},
		"a new login, exempt workspace": {1, func(f *rollout.Facts) {
			e := exemption()
			f.Home.MadeAt, f.Home.Place.Exemption = day0, &e
		}, rollout.Decision{Kind: rollout.NotRequired, Why: rollout.WhyExempt}},
		"an exempted login, enforced": {1, func(f *rollout.Facts) {
			e := exemption()
			f.Home, f.Exemption = rollout.Membership{}, &e
		}, rollout.Decision{Kind: rollout.NotRequired, Why: rollout.WhyExemptedLogin}},
		"a workspace of which nothing is known": {1, func(f *rollout.Facts) { f.Home = rollout.Membership{} }, rollout.Decision{Kind: rollout.Required, Why: rollout.WhyEnforced}},
		"stricter elsewhere":                    {1, func(f *rollout.Facts) { f.Others = []rollout.Membership{{}} }, rollout.Decision{Kind: rollout.Required, Why: rollout.WhyElsewhere}},
		"grace here and elsewhere, with less": {8, func(f *rollout.Facts) {
			f.Others = []rollout.Membership{elsewhere(-day, 1)}
		}, rollout.Decision{Kind: rollout.Skippable, Why: rollout.WhyGrace, Skips: 1, Left: 1, EnforceAt: wave().EnforceAt.Add(-day)}},
		"grace elsewhere alone": {1, func(f *rollout.Facts) { // Nothing in it tells of the other workspace but the date.
			f.Others = []rollout.Membership{elsewhere(-7*day, 2)}
		}, rollout.Decision{Kind: rollout.Skippable, Why: rollout.WhyGrace, Skips: 2, Left: 2, EnforceAt: wave().EnforceAt.Add(-7 * day)}},
		"grace elsewhere, required here first": {6, func(f *rollout.Facts) {
			f.Home.Place.Wave.EnforceAt = day0.Add(7 * day)
			f.Others = []rollout.Membership{elsewhere(-7*day, 2)}
			f.Others[0].Place.Wave.EnforceAt = day0.Add(20 * day)
		}, rollout.Decision{Kind: rollout.Skippable, Why: rollout.WhyGrace, Skips: 2, Left: 2, EnforceAt: day0.Add(7 * day)}},
		"not yet here, and earlier elsewhere": {1, func(f *rollout.Facts) {
			f.Others = []rollout.Membership{elsewhere(-day, 3)}
		}, rollout.Decision{Kind: rollout.NotRequired, Why: rollout.WhyNotYet, EnforceAt: wave().EnforceAt.Add(-day)}},
		"paused as announced": {20, func(f *rollout.Facts) { f.Home.Place.Wave.PausedAt = day0.Add(day) }, rollout.Decision{Kind: rollout.NotRequired, Why: rollout.WhyNotYet}},
	} {
		f := facts(c.days)
		if c.change != nil {
			c.change(&f)
		}
		if got := rollout.Decide(f); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func drawPlace(t *rapid.T) rollout.Place {
	var p rollout.Place
	if rapid.Bool().Draw(t, "in a wave") {
		w := rollout.Wave{ID: "w", AnnounceAt: drawTime(t, "announce"), GraceAt: drawTime(t, "grace"), EnforceAt: drawTime(t, "enforce"), Skips: rapid.IntRange(-1, 4).Draw(t, "skips")}
		if rapid.Bool().Draw(t, "paused") {
			w.PausedAt = drawTime(t, "pause")
		}
		p.Wave, p.JoinedAt = &w, drawTime(t, "joined")
	}
	p.Exemption = drawExemption(t)
	return p
}

func drawTime(t *rapid.T, name string) time.Time {
	return day0.Add(time.Duration(rapid.IntRange(-20, 20).Draw(t, name)) * day)
}

func drawExemption(t *rapid.T) *rollout.Exemption {
	if rapid.IntRange(0, 2).Draw(t, "exempt") > 0 {
		return nil
	}
	return &rollout.Exemption{
		Reason:      rapid.SampledFrom(append(rollout.Reasons(), "other")).Draw(t, "reason"),
		RequestedBy: rapid.SampledFrom([]string{"", "kim", "robin"}).Draw(t, "asked"), ApprovedBy: rapid.SampledFrom([]string{"", "kim", "robin"}).Draw(t, "approved"),
		Since: drawTime(t, "since"), Until: drawTime(t, "until"),
	}
}

func drawMembership(t *rapid.T) rollout.Membership {
	return rollout.Membership{Place: drawPlace(t), MadeAt: drawTime(t, "made")}
}

// Whatever the facts, nobody passes without a cause that stands in them, and knowing more of a person never lets them
// pass more easily.
// It shows SEC-61 of deploy/SECURITY.md.
func TestDecide_LetsNobodyPassWithoutACause(t *testing.T) {
	t.Parallel()
	strict := map[rollout.Kind]int{rollout.NotRequired: 0, rollout.Skippable: 1, rollout.Required: 2}
	rapid.Check(t, func(t *rapid.T) {
		f := rollout.Facts{
			Now: day0, Home: drawMembership(t), Exemption: drawExemption(t), KnownBrowser: rapid.Bool().Draw(t, "known"), Skipped: rapid.IntRange(0, 5).Draw(t, "skipped"),
		}
		exempted := f.Exemption != nil && f.Exemption.Validate(true) == nil && !f.Now.Before(f.Exemption.Since) && f.Now.Before(f.Exemption.Until)
		for n := range 4 {
			d := rollout.Decide(f)
			all := append([]rollout.Membership{f.Home}, f.Others...)
			for _, m := range all {
				stage := m.Place.StageAt(f.Now)
				old := m.Place.Wave != nil && !m.MadeAt.After(m.Place.JoinedAt)
				asked := stage == rollout.Enforced || stage != rollout.Exempt && !old
				if asked && !exempted && d.Kind != rollout.Required {
					t.Fatalf("%+v though one of them is in %s", d, stage)
				}
				if stage == rollout.Grace && !exempted && (d.Kind == rollout.NotRequired || d.Kind == rollout.Skippable && (!f.KnownBrowser || f.Skipped >= m.Place.Wave.Skips)) {
					t.Fatalf("%+v in grace", d)
				}
			}
			if exempted != (d.Why == rollout.WhyExemptedLogin) {
				t.Fatalf("%+v with %+v", d, f.Exemption)
			}
			if d.Kind == rollout.Skippable && (d.Skips <= f.Skipped || d.Left != d.Skips-f.Skipped) {
				t.Fatalf("%+v after %d", d, f.Skipped)
			}
			f.Others = append(f.Others, drawMembership(t))
			next := rollout.Decide(f)
			if strict[next.Kind] < strict[d.Kind] {
				t.Fatalf("with %d others %+v, with one more %+v", n, d, next)
			}
		}
	})
}
