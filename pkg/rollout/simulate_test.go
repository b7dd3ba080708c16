package rollout_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/rollout"
)

// midnight is a Sunday's.
func midnight() time.Time { return time.Date(2026, time.August, 30, 0, 0, 0, 0, time.UTC) }

// simulated plays workspaces by a plan.
func simulated(t interface{ Fatal(...any) }, p rollout.Plan, days int, all rollout.Synthetic) rollout.Forecast {
	s, err := rollout.NewSimulation(midnight(), days)
	if err != nil {
		t.Fatal(err)
	}
	for w := range all.All() {
		w.Place = p.Place(w.ID, midnight(), nil)
		s.Add(w)
	}
	return s.Forecast()
}

// drawPlan draws one of up to three waves.
func drawPlan(t *rapid.T) []rollout.PlannedWave {
	var all []rollout.PlannedWave
	for i := range rapid.IntRange(1, 3).Draw(t, "waves") {
		date := midnight().Add(time.Duration(rapid.IntRange(-24, 20*24).Draw(t, "announce")) * time.Hour)
		w := rollout.PlannedWave{
			Wave: rollout.Wave{
				ID: fmt.Sprint("w", i), AnnounceAt: date, GraceAt: date.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "grace")) * time.Hour),
				Skips: rapid.IntRange(0, 4).Draw(t, "skips"),
			},
			Percent: float64(rapid.IntRange(1, 100).Draw(t, "percent")),
		}
		w.Wave.EnforceAt = w.Wave.GraceAt.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "enforce")) * time.Hour)
		if rapid.IntRange(0, 3).Draw(t, "paused") == 0 {
			w.Wave.PausedAt = date.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "pause")) * time.Hour)
		}
		all = append(all, w)
	}
	return all
}

func plan(t interface{ Fatal(...any) }, waves []rollout.PlannedWave) rollout.Plan {
	p, err := rollout.NewPlan(waves)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// required counts what the logins of enforced workspaces sign in on each day, by the sum of their profiles over the weeks.
func required(t *rapid.T, p rollout.Plan, days int, all rollout.Synthetic) []int {
	counts := make([]int, days)
	for w := range all.All() {
		place := p.Place(w.ID, midnight(), nil)
		for day := range days {
			begin := midnight().Add(time.Duration(day) * 24 * time.Hour)
			if place.StageAt(begin) != rollout.Enforced {
				continue
			}
			s, err := rollout.NewSimulation(begin, 1)
			if err != nil {
				t.Fatal(err)
			}
			w.Place = rollout.Place{} // as one that was never in a wave
			s.Add(w)
			d := s.Forecast().Days[0]
			counts[day] += d.Required
			w.Place = place
		}
	}
	return counts
}

// The sum over the stages is always all; no sign-in is lost; the load is at least that of the workspaces that are enforced
// already; and the same seed gives the same forecast.
func TestSimulation_CountsEveryWorkspaceAndSignInOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const days = 28
		all := rollout.Synthetic{Workspaces: 40, Seed: rapid.Uint64().Draw(t, "seed")}
		p := plan(t, drawPlan(t))
		f := simulated(t, p, days, all)
		if again := simulated(t, p, days, all); !reflect.DeepEqual(f, again) {
			t.Fatal("the same seed gave another forecast")
		}
		if f.Workspaces != all.Workspaces || len(f.Days) != days || len(f.Hours) != days*24 || len(f.First) != min(f.Blocked, rollout.ShownBlocked) {
			t.Fatalf("%d workspaces, %d days, %d hours, %d of %d blocked", f.Workspaces, len(f.Days), len(f.Hours), len(f.First), f.Blocked)
		}
		least, signIns, profile := required(t, p, days, all), 0, 0
		for i, d := range f.Days {
			sum := 0
			for _, n := range d.Stages {
				sum += n
			}
			if sum != all.Workspaces {
				t.Fatalf("day %d has %d workspaces in stages %v", i, sum, d.Stages)
			}
			if d.Required < least[i] {
				t.Fatalf("day %d: %d codes are required, and the enforced workspaces sign in %d times", i, d.Required, least[i])
			}
			sent := d.Sent.Mails + d.Sent.Texts
			if sent > d.Required+d.Skippable || sent < d.Required+d.Skippable-d.Stopped || d.PeakMails.Count > d.Sent.Mails || d.PeakMails.Count*24 < d.Sent.Mails {
				t.Fatalf("day %d sends %+v", i, d)
			}
			signIns += d.Required + d.Skippable + d.NotRequired
		}
		for w := range all.All() {
			for _, l := range w.Logins {
				for _, h := range l.SignIns {
					profile += h.Known + h.New
				}
			}
		}
		if signIns != profile { // In four weeks each profile is played once.
			t.Fatalf("%d sign-ins were played of %d", signIns, profile)
		}
	})
}

// A wave that comes later never makes an hour busier.
func TestSimulation_ALaterWaveNeverRaisesTheLoad(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const days = 28
		all := rollout.Synthetic{Workspaces: 40, Seed: rapid.Uint64().Draw(t, "seed")}
		waves := drawPlan(t)
		before := simulated(t, plan(t, waves), days, all)
		moved, by := rapid.IntRange(0, len(waves)-1).Draw(t, "moved"), time.Duration(rapid.IntRange(0, 20*24).Draw(t, "by"))*time.Hour
		w := &waves[moved].Wave
		for _, date := range []*time.Time{&w.AnnounceAt, &w.GraceAt, &w.EnforceAt} {
			*date = date.Add(by)
		}
		after := simulated(t, plan(t, waves), days, all)
		for i, h := range after.Hours {
			if h.Mails > before.Hours[i].Mails || h.Texts > before.Hours[i].Texts {
				t.Fatalf("hour %d sends %+v, and %+v before", i, h, before.Hours[i])
			}
		}
		for i, d := range after.Days {
			if d.Required > before.Days[i].Required {
				t.Fatalf("day %d requires %d codes, and %d before", i, d.Required, before.Days[i].Required)
			}
		}
		if after.Blocked > before.Blocked {
			t.Fatalf("%d are blocked, and %d before", after.Blocked, before.Blocked)
		}
	})
}

// One login that signs in every Tuesday at nine, and once in four weeks on Wednesday from another browser.
func TestSimulation_PlaysOneWorkspaceThroughItsWave(t *testing.T) {
	t.Parallel()
	const tuesday, wednesday = 2*24 + 9, 3*24 + 9
	tenAM := midnight().Add(10 * time.Hour)
	wave := rollout.Wave{ID: "one", AnnounceAt: tenAM, GraceAt: tenAM.Add(7 * day), EnforceAt: tenAM.Add(28 * day), Skips: 2}
	s, err := rollout.NewSimulation(midnight().Add(time.Minute), 42)
	if err != nil {
		t.Fatal(err)
	}
	s.Add(rollout.Subject{ID: "acme", Place: rollout.Place{Wave: &wave, JoinedAt: midnight()}, Logins: []rollout.SubjectLogin{
		{ID: "anna", SignIns: []rollout.Hourly{{Hour: wednesday, New: 4}, {Hour: tuesday, Known: 4}}},
		{ID: "bert", Text: true, Obstacle: rollout.Bounced, SignIns: []rollout.Hourly{{Hour: tuesday, Known: 8}}},
		{ID: "carl", Obstacle: rollout.NoRoute, MainOnly: true},
	}})
	s.Add(rollout.Subject{ID: "late", Logins: []rollout.SubjectLogin{{ID: "dora", Obstacle: rollout.NoOwner, SignIns: []rollout.Hourly{{Hour: tuesday, Known: 4}}}}})
	e := exemption()
	s.Add(rollout.Subject{ID: "exempt", Place: rollout.Place{Exemption: &e}})
	f := s.Forecast()
	if f.Days[2].Stages[rollout.Exempt] != 1 || f.Days[5].Stages[rollout.Exempt] != 0 {
		t.Errorf("exempt from the third day to the fifth: %v, %v", f.Days[2].Stages, f.Days[5].Stages)
	}
	if f.Logins != 4 || f.MainOnly != 1 || f.Blocked != 3 || f.BlockedWorkspaces != 1 {
		t.Errorf("%+v", f)
	}
	want := []rollout.BlockedLogin{
		{Workspace: "late", Login: "dora", Obstacle: rollout.NoOwner, From: midnight()},
		{Workspace: "acme", Login: "bert", Obstacle: rollout.Bounced, From: midnight().Add(28 * day)},
		{Workspace: "acme", Login: "carl", Obstacle: rollout.NoRoute, From: midnight().Add(28 * day)},
	}
	if !reflect.DeepEqual(f.First, want) {
		t.Errorf("blocked are %+v", f.First)
	}
	for at, c := range map[int]string{
		0:          "announced: 0 required, 0 skippable, 0 not, 0 stopped, 0 mails, 0 texts",
		2:          "announced: 1 required, 0 skippable, 3 not, 1 stopped, 0 mails, 0 texts",
		7:          "grace: 0 required, 0 skippable, 0 not, 0 stopped, 0 mails, 0 texts",
		7 + 2:      "grace: 1 required, 3 skippable, 0 not, 3 stopped, 1 mails, 2 texts",
		7 + 3:      "grace: 1 required, 0 skippable, 0 not, 0 stopped, 1 mails, 0 texts",
		14 + 2:     "grace: 3 required, 1 skippable, 0 not, 3 stopped, 1 mails, 2 texts",
		21 + 2:     "grace: 4 required, 0 skippable, 0 not, 3 stopped, 1 mails, 2 texts",
		28:         "enforced: 0 required, 0 skippable, 0 not, 0 stopped, 0 mails, 0 texts",
		28 + 7 + 2: "enforced: 4 required, 0 skippable, 0 not, 3 stopped, 1 mails, 2 texts",
	} {
		d := f.Days[at]
		stage := rollout.Enforced
		for _, s := range rollout.Stages() {
			if d.Stages[s] > 0 && s != rollout.Enforced && s != rollout.Exempt {
				stage = s
			}
		}
		if got := fmt.Sprintf("%s: %d required, %d skippable, %d not, %d stopped, %d mails, %d texts", stage, d.Required, d.Skippable, d.NotRequired, d.Stopped, d.Sent.Mails, d.Sent.Texts); got != c {
			t.Errorf("day %d is %s, not %s", at, got, c)
		}
	}
	if got := f.Days[9].PeakTexts; got != (rollout.Peak{At: midnight().Add(9*day + 9*time.Hour), Count: 2}) {
		t.Errorf("most texts leave at %+v", got)
	}
}

func TestSimulation_RefusesWhatItCannotPlay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from time.Time
		days int
	}{{midnight(), 0}, {midnight(), -1}, {midnight(), rollout.MaxSimulated + 1}, {time.Time{}, 1}} {
		_, err := rollout.NewSimulation(c.from, c.days)
		if !errors.Is(err, rollout.ErrSimulated) {
			t.Errorf("%v, %d days: %v", c.from, c.days, err)
		}
	}
}

// A plan takes whom joins in the same order would take.
func TestPlan_TakesWhomTheWavesTake(t *testing.T) {
	t.Parallel()
	named := rollout.PlannedWave{Wave: wave(), Workspaces: []string{"acme", "globex"}}
	named.Wave.ID = "named"
	few, rest := rollout.PlannedWave{Wave: wave(), Percent: 20}, rollout.PlannedWave{Wave: wave(), Percent: 100}
	few.Wave.ID, rest.Wave.ID = "few", "rest"
	p := plan(t, []rollout.PlannedWave{few, named, rest})
	e := exemption()
	for id, want := range map[string]string{"acme": "named", "globex": "named", "": "rest"} {
		got := p.Place(id, day0, &e)
		if got.Wave.ID != want || !got.JoinedAt.Equal(day0) || got.Exemption != &e {
			t.Errorf("%s is at %+v", id, got)
		}
	}
	for i := range 200 {
		id, want := fmt.Sprint("w", i), "rest"
		if rollout.InPercent(id, 20) {
			want = "few"
		}
		if got := p.Place(id, day0, nil).Wave.ID; got != want {
			t.Errorf("%s is in %s, not in %s", id, got, want)
		}
	}
	if got := plan(t, []rollout.PlannedWave{named}).Place("initech", day0, nil); got.Wave != nil {
		t.Errorf("in no wave, it is in %+v", got)
	}
	twice, both, dateless := named, named, few
	twice.Wave.ID, both.Percent, dateless.Wave.EnforceAt = "twice", 5, time.Time{}
	for want, waves := range map[error][][]rollout.PlannedWave{
		rollout.ErrPlan:    {{few, few}, {named, twice}, {both}},
		rollout.ErrWave:    {{dateless}},
		rollout.ErrPercent: {{{Wave: wave()}}, {{Wave: wave(), Percent: 101}}},
	} {
		for _, w := range waves {
			_, err := rollout.NewPlan(w)
			if !errors.Is(err, want) {
				t.Errorf("%+v: %v", w, err)
			}
		}
	}
}

// What is made up looks like what it is said to be.
func TestSynthetic_LooksAsItSays(t *testing.T) {
	t.Parallel()
	const all = 20_000
	p := plan(t, []rollout.PlannedWave{{Wave: rollout.Wave{ID: "all", AnnounceAt: midnight(), GraceAt: midnight(), EnforceAt: midnight().Add(7 * day), Skips: 3}, Percent: 50}})
	f := simulated(t, p, 14, rollout.Synthetic{Workspaces: all, Seed: 1})
	texts, mails := 0, 0
	for _, d := range f.Days {
		texts, mails = texts+d.Sent.Texts, mails+d.Sent.Mails
	}
	share := func(name string, got, of int, low, high float64) {
		t.Helper()
		if s := float64(got) / float64(of); s < low || s > high {
			t.Errorf("%s: %d of %d", name, got, of)
		}
	}
	share("logins of a workspace", f.Logins, all, 2.5, 3.5)
	share("logins that only the main address leads to", f.MainOnly, all, 0.69, 0.76)
	share("blocked logins", f.Blocked, f.Logins, 0.02, 0.04)
	share("text messages", texts, texts+mails, 0.06, 0.1)
	share("enforced at the end", f.Days[13].Stages[rollout.Enforced], all, 1, 1)
	share("in grace", f.Days[3].Stages[rollout.Grace], all, 0.47, 0.53)
	share("on a Sunday", f.Days[7].Required, f.Days[9].Required, 0.05, 0.15)
	if other := simulated(t, p, 14, rollout.Synthetic{Workspaces: all, Seed: 2}); reflect.DeepEqual(f, other) {
		t.Error("another seed gives the same workspaces")
	}
}
