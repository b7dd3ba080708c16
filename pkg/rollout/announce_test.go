package rollout_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/rollout"
)

// month is a wave whose people are told 30 days ahead, with grace in the last ten.
func month() rollout.Wave {
	return rollout.Wave{ID: "one", AnnounceAt: day0, GraceAt: day0.Add(20 * day), EnforceAt: day0.Add(30 * day), Skips: 3}
}

// listening is a scheduler that asks for one listener again and again.
type listening struct {
	place rollout.Place
	who   rollout.Listener
	told  []rollout.Said
}

// ask asks once; what is due is told.
func (l *listening) ask(now time.Time) {
	due, is := l.place.Due(now, l.who)
	if is {
		l.who.Last = &due
		l.told = append(l.told, due)
	}
}

// names are the notices told, each with how long before the date when it is a reminder.
func (l *listening) names() []string {
	var all []string
	for _, s := range l.told {
		name := string(s.Notice)
		if s.Notice == rollout.NoticeReminded {
			name += fmt.Sprint(" ", s.Date.Sub(s.DueAt).Hours())
		}
		all = append(all, name)
	}
	return all
}

// hourly asks every hour of some days, from the hour on that is given.
func (l *listening) hourly(from time.Time, days int) {
	for h := range 24 * days {
		l.ask(from.Add(time.Duration(h) * time.Hour))
	}
}

// R4.6, R4.7: everything comes at its time and once, and who has used a code is not reminded.
func TestDue_TellsEachThingOnceAtItsTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		passed bool
		want   []string
	}{
		{false, []string{"announced", "reminded 336", "grace", "reminded 168", "reminded 24", "reminded 3", "enforced"}},
		{true, []string{"announced", "grace", "enforced"}},
	} {
		l := listening{place: rollout.Place{Wave: new(month())}, who: rollout.Listener{Passed: c.passed}}
		l.hourly(day0.Add(-3*day), 60)
		if got := l.names(); !slices.Equal(got, c.want) {
			t.Errorf("passed %v: %q, want %q", c.passed, got, c.want)
		}
		for i, s := range l.told {
			if !s.Date.Equal(month().EnforceAt) || s.Number != i+1 {
				t.Errorf("told %+v", s)
			}
		}
	}
}

// A run that was missed tells the newest, not all that were missed; the first thing that anybody hears is the announcement.
func TestDue_AScheduler_ThatStoodStillTellsTheNewest(t *testing.T) {
	t.Parallel()
	for at, want := range map[time.Duration]string{
		19 * day: "announced", 21 * day: "grace", 29*day + time.Hour: "grace", 31 * day: "enforced", 38 * day: "",
	} {
		l := listening{place: rollout.Place{Wave: new(month())}}
		l.ask(day0.Add(at))
		l.ask(day0.Add(at + time.Minute))
		if got := fmt.Sprint(l.names()); got != fmt.Sprint([]string{want}) && want != "" || want == "" && len(l.told) > 0 {
			t.Errorf("after %v: %s, want %s once", at, got, want)
		}
	}
	l := listening{place: rollout.Place{Wave: new(month())}}
	l.ask(day0)
	l.hourly(day0.Add(24*day), 1) // It missed two reminders and the beginning of grace.
	l.hourly(day0.Add(28*day), 1)
	if got := l.names(); !slices.Equal(got, []string{"announced", "reminded 168"}) {
		t.Errorf("%q", got)
	}
	l.who.Passed = true // What came due before the reminder is not told after it.
	l.hourly(day0.Add(28*day), 2)
	if len(l.told) != 2 {
		t.Errorf("%q", l.names())
	}
}

// Edge case 9: the date is withdrawn by a notice, and the new one is told.
func TestDue_APauseWithdrawsTheDate(t *testing.T) {
	t.Parallel()
	w := month()
	l := listening{place: rollout.Place{Wave: &w}}
	quiet := listening{place: rollout.Place{Wave: &w}} // told of nothing yet
	l.ask(day0.Add(day))
	var err error
	w, err = w.Pause(day0.Add(5*day), "mail bounces")
	if err != nil {
		t.Fatal(err)
	}
	l.hourly(day0.Add(5*day), 20)
	quiet.hourly(day0.Add(5*day), 20)
	if got := l.names(); !slices.Equal(got, []string{"announced", "withdrawn"}) || len(quiet.told) > 0 {
		t.Errorf("%q, and %q was told to whoever knew no date", got, quiet.names())
	}
	w, err = w.Resume(day0.Add(25 * day))
	if err != nil {
		t.Fatal(err)
	}
	l.hourly(day0.Add(25*day), 1)
	if got := l.names(); !slices.Equal(got, []string{"announced", "withdrawn", "moved"}) || !l.told[2].Date.Equal(day0.Add(50*day)) {
		t.Errorf("%q", got)
	}
	l.hourly(day0.Add(25*day), 30)
	if got := l.names()[3:]; !slices.Equal(got, []string{"reminded 336", "grace", "reminded 168", "reminded 24", "reminded 3", "enforced"}) {
		t.Errorf("after the pause %q", got)
	}
	w = month()
	late := listening{place: rollout.Place{Wave: &w}} // It is paused minutes before the date, and goes on minutes later.
	late.ask(day0.Add(29*day + 22*time.Hour))
	w, err = w.Pause(day0.Add(30*day-10*time.Minute), "a gate")
	if err != nil {
		t.Fatal(err)
	}
	late.ask(day0.Add(30*day - 9*time.Minute))
	w, err = w.Resume(day0.Add(30*day - 5*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	late.ask(day0.Add(30*day - 4*time.Minute))
	if got := late.names(); !slices.Equal(got, []string{"grace", "withdrawn", "moved"}) {
		t.Errorf("a pause of minutes: %q", got)
	}
	w = month()
	brief := listening{place: rollout.Place{Wave: &w}}
	brief.ask(day0.Add(day))
	w.EnforceAt = w.EnforceAt.Add(time.Minute)
	brief.ask(day0.Add(2 * day))
	w.EnforceAt = w.EnforceAt.Add(time.Hour)
	brief.ask(day0.Add(3 * day))
	if got := brief.names(); !slices.Equal(got, []string{"announced", "moved"}) || !brief.told[1].Date.Equal(w.EnforceAt) {
		t.Errorf("a minute and an hour later: %q", got)
	}
}

func TestDue_TellsNothingWhereNothingIsKnownOrNobodyIsConcerned(t *testing.T) {
	t.Parallel()
	w := month()
	exempt := exemption()
	exempt.Since, exempt.Until = day0, day0.Add(60*day)
	for name, p := range map[string]rollout.Place{
		"nowhere": {}, "without dates": {Wave: &rollout.Wave{ID: "x"}}, "exempt": {Wave: &w, Exemption: &exempt},
	} {
		l := listening{place: p}
		l.hourly(day0, 40)
		if len(l.told) > 0 {
			t.Errorf("%s: %q", name, l.names())
		}
	}
	late := listening{place: rollout.Place{Wave: &w, JoinedAt: day0.Add(-day)}, who: rollout.Listener{MadeAt: day0.Add(31 * day)}}
	late.hourly(day0.Add(31*day), 3)
	if len(late.told) > 0 {
		t.Errorf("somebody who came after the date: %q", late.names())
	}
}

// A gate that holds a wave withdraws its date as a pause does (product.md, edge case 9).
func TestDue_AHeldWaveWithdrawsItsDate(t *testing.T) {
	t.Parallel()
	held := month()
	l := listening{place: rollout.Place{Wave: &held}}
	l.hourly(day0, 2)
	held.HeldAt = day0.Add(3 * day)
	l.hourly(held.HeldAt, 40)
	if got := l.names(); len(got) != 2 || l.told[1].Notice != rollout.NoticeWithdrawn || !l.place.Holds(l.told[1], held.HeldAt.Add(day)) {
		t.Errorf("told: %q", got)
	}
}

func TestPostpone_IsForAWorkspaceThatWaitsForItsDateAndOnce(t *testing.T) {
	t.Parallel()
	paused, held := month(), month()
	paused.PausedAt, held.HeldAt = day0.Add(day), day0.Add(day)
	for _, c := range []struct {
		place rollout.Place
		at    time.Duration
		want  error
		grace time.Duration // what is promised, after day0
	}{
		{rollout.Place{Wave: new(month())}, -time.Second, rollout.ErrNotPostponing, 0},
		{rollout.Place{Wave: new(month())}, 0, nil, 27 * day},
		{rollout.Place{Wave: new(month())}, 20 * day, nil, 20 * day},
		{rollout.Place{Wave: new(month())}, 30 * day, rollout.ErrNotPostponing, 0},
		{rollout.Place{Wave: new(paused)}, 10 * day, rollout.ErrPaused, 0},
		{rollout.Place{Wave: new(held)}, 10 * day, rollout.ErrPaused, 0},
		{rollout.Place{}, 0, rollout.ErrNotPostponing, 0},
	} {
		q, err := c.place.Postpone(day0.Add(c.at), "anna")
		if !errors.Is(err, c.want) || err == nil && (!q.GraceAt.Equal(day0.Add(c.grace)) || !q.EnforceAt.Equal(day0.Add(37*day)) || q.Login != "anna" || q.Wave != "one") {
			t.Errorf("after %v: %+v, %v", c.at, q, err)
		}
		if err != nil {
			continue
		}
		c.place.Postponement = &q
		_, err = c.place.Postpone(day0.Add(c.at), "anna")
		if !errors.Is(err, rollout.ErrPostponed) || c.place.StageAt(day0.Add(37*day-1)) != rollout.Grace || c.place.StageAt(day0.Add(37*day)) != rollout.Enforced {
			t.Errorf("after %v again: %v", c.at, err)
		}
	}
}

// Edge case 28: the later date wins, whatever the wave does and whatever the row says; nothing is asked for sooner than
// without a postponement, or more than a week later. It shows SEC-61 of deploy/SECURITY.md.
func TestPostponement_NeverAsksSoonerAndNeverGivesMoreThanItsWeek(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := month()
		at := func(name string) time.Time {
			return day0.Add(time.Duration(rapid.IntRange(-100, 100).Draw(t, name)) * 12 * time.Hour)
		}
		q := &rollout.Postponement{Wave: rapid.SampledFrom([]string{"one", "two"}).Draw(t, "wave"), GraceAt: at("grace"), EnforceAt: at("enforce")}
		if rapid.Bool().Draw(t, "as it was promised") {
			honest, err := rollout.Place{Wave: &w}.Postpone(day0.Add(time.Duration(rapid.IntRange(0, 29).Draw(t, "day"))*day), "anna")
			if err != nil {
				t.Fatal(err)
			}
			q = &honest
			later := time.Duration(rapid.IntRange(0, 20).Draw(t, "later")) * day
			w.GraceAt, w.EnforceAt = w.GraceAt.Add(later), w.EnforceAt.Add(later)
			want := honest.EnforceAt
			if w.EnforceAt.After(want) {
				want = w.EnforceAt
			}
			if got := (rollout.Place{Wave: &w, Postponement: q}).Dated().EnforceAt; !got.Equal(want) {
				t.Fatalf("%v, and not the later date %v", got, want)
			}
		}
		p := rollout.Place{Wave: &w, Postponement: q}
		got := p.Dated()
		if got.Validate() != nil || got.EnforceAt.Before(w.EnforceAt) || got.GraceAt.Before(w.GraceAt) || got.EnforceAt.After(w.EnforceAt.Add(rollout.PostponedBy)) {
			t.Fatalf("%+v of %+v", got, w)
		}
		now, order := at("now"), func(s rollout.Stage) int { return slices.Index(rollout.Stages(), s) }
		if order(p.StageAt(now)) > order(w.StageAt(now)) || p.StageAt(w.EnforceAt.Add(rollout.PostponedBy)) != rollout.Enforced {
			t.Fatalf("%s where the wave is %s", p.StageAt(now), w.StageAt(now))
		}
	})
}

// Whatever happens to a wave, nobody is told the same twice, and the last date told to somebody is the one that holds.
func TestDue_NobodyIsToldTwiceAndTheLastDateHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, now := month(), day0.Add(-day)
		l := listening{place: rollout.Place{Wave: &w}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			next, err := w, error(nil)
			now = now.Add(time.Second)
			switch rapid.SampledFrom([]string{"wait", "move", "pause", "resume", "postpone", "pass"}).Draw(t, "act") {
			case "wait":
				now = now.Add(time.Duration(rapid.IntRange(1, 200).Draw(t, "hours")) * time.Hour)
			case "move":
				next.EnforceAt = w.EnforceAt.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "days")) * day)
				next, err = w.Move(next, now)
			case "pause":
				next, err = w.Pause(now, "a gate")
			case "resume":
				next, err = w.Resume(now)
			case "postpone":
				var q rollout.Postponement
				q, err = l.place.Postpone(now, "anna")
				if err == nil {
					l.place.Postponement = &q
				}
			case "pass":
				l.who.Passed = true
			}
			if err == nil {
				w = next
			}
			if rapid.Bool().Draw(t, "the scheduler stands still") {
				continue
			}
			l.ask(now)
			l.ask(now)
			dated := l.place.Dated()
			last := l.who.Last
			if last != nil && last.Notice != rollout.NoticeWithdrawn && w.PausedAt.IsZero() && last.Date.Sub(dated.EnforceAt).Abs() >= time.Hour {
				t.Fatalf("told %+v, and it is %v", last, dated.EnforceAt)
			}
		}
		seen := map[string]bool{}
		for i, s := range l.told {
			name := fmt.Sprint(s.Notice, s.Date, s.DueAt)
			if seen[name] || i > 0 && s.DueAt.Before(l.told[i-1].DueAt) {
				t.Fatalf("%q twice or out of order in %+v", name, l.told)
			}
			seen[name] = true
		}
	})
}
