package rollout_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/rollout"
)

// well are figures with which every gate is open, each exactly at its bound.
func well() rollout.Figures {
	return rollout.Figures{
		At: day0, SignIns: 1000, Verified: 970, Mails: 1000, Bounced: 10, TimedMails: 200, Median: 15 * time.Second, P95: 120 * time.Second,
		Logins: 1000, Stuck: 5, Texts: 200, ByMail: 10,
	}
}

// lights are those of figures, in the order of the gates.
func lights(f rollout.Figures) []rollout.Light {
	var all []rollout.Light
	for _, v := range rollout.Judge(f, rollout.StartingLimits()) {
		all = append(all, v.Light)
	}
	return all
}

// The table of product.md S4: each gate is open at its bound and fails beyond it, alone.
func TestJudge_EachGateFailsBeyondItsBoundAlone(t *testing.T) {
	t.Parallel()
	open := []rollout.Light{rollout.Open, rollout.Open, rollout.Open, rollout.Open, rollout.Open}
	if got := lights(well()); !slices.Equal(got, open) {
		t.Fatalf("at the bounds: %v", got)
	}
	for name, one := range map[string]struct {
		gate   int
		change func(*rollout.Figures)
		light  rollout.Light
		says   string
	}{
		"a sign-in less":  {0, func(f *rollout.Figures) { f.Verified = 969 }, rollout.Failed, "verified share 96.9 % of 1000 sign-ins in 24 h, at least 97 % is needed"},
		"a slow half":     {1, func(f *rollout.Figures) { f.Median += time.Second }, rollout.Failed, "median 16.0 s and 95th percentile 120.0 s of 200 mails in 24 h, at most 15.0 s and 120.0 s"},
		"a slow tail":     {1, func(f *rollout.Figures) { f.P95 += time.Second }, rollout.Failed, "95th percentile 121.0 s"},
		"one more stuck":  {2, func(f *rollout.Figures) { f.Stuck = 6 }, rollout.Failed, "stuck logins 0.6 % of 1000"},
		"one more bounce": {3, func(f *rollout.Figures) { f.Bounced = 11 }, rollout.Failed, "bounces 1.1 % of 1000 mails in 24 h, at most 1 %"},
		"one more mail":   {4, func(f *rollout.Figures) { f.ByMail = 11 }, rollout.Failed, "5.5 % of 200 sign-ins by text message ended on e-mail"},
		"few sign-ins":    {0, func(f *rollout.Figures) { f.SignIns, f.Verified = 199, 0 }, rollout.TooFew, "199 sign-ins that needed a code in 24 h, at least 200 are needed"},
		"few timed":       {1, func(f *rollout.Figures) { f.TimedMails, f.P95 = 199, time.Hour }, rollout.TooFew, "199 mails with a report"},
		"few logins":      {2, func(f *rollout.Figures) { f.Logins, f.Stuck = 199, 199 }, rollout.TooFew, "199 logins"},
		"few mails":       {3, func(f *rollout.Figures) { f.Mails, f.Bounced = 199, 199 }, rollout.TooFew, "199 mails"},
		"few texts":       {4, func(f *rollout.Figures) { f.Texts, f.ByMail = 0, 0 }, rollout.TooFew, "0 sign-ins by text message"},
		"the newest alone": {
			0, func(f *rollout.Figures) { f.Since, f.Verified = f.At.Add(-90*time.Minute), 0 }, rollout.Failed,
			"verified share 0 % of 1000 sign-ins in 1h30m0s",
		},
	} {
		f := well()
		one.change(&f)
		want := slices.Clone(open)
		want[one.gate] = one.light
		verdicts := rollout.Judge(f, rollout.StartingLimits())
		if got := lights(f); !slices.Equal(got, want) {
			t.Errorf("%s: %v, not %v", name, got, want)
		}
		if !strings.Contains(verdicts[one.gate].Sentence, one.says) || verdicts[one.gate].Gate != rollout.Gates()[one.gate] {
			t.Errorf("%s: %+v", name, verdicts[one.gate])
		}
		gates, why := rollout.FailedGates(verdicts)
		if failed := one.light == rollout.Failed; failed != (len(gates) == 1 && why == verdicts[one.gate].Sentence) || failed == (len(gates) == 0) {
			t.Errorf("%s: %v failed: %q", name, gates, why)
		}
	}
}

// Whatever the figures are, nobody divides by nothing, and no gate is better for worse figures.
func TestJudge_NoGateIsBetterForWorseFigures(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := func(name string, most int) int { return rapid.IntRange(0, most).Draw(t, name) }
		f := rollout.Figures{At: day0, SignIns: n("sign-ins", 500), Mails: n("mails", 500), TimedMails: n("timed", 500), Logins: n("logins", 500), Texts: n("texts", 500)}
		f.Verified, f.Bounced, f.Stuck, f.ByMail = n("verified", f.SignIns), n("bounced", f.Mails), n("stuck", f.Logins), n("by mail", f.Texts)
		f.Median, f.P95 = time.Duration(n("median", 30))*time.Second, time.Duration(n("p95", 240))*time.Second
		worse := f
		worse.Verified, worse.Bounced, worse.Stuck, worse.ByMail = n("less", f.Verified), f.Bounced+1, f.Stuck+1, f.ByMail+1
		worse.Median, worse.P95 = f.Median+time.Second, f.P95+time.Second
		after := lights(worse)
		for i, light := range lights(f) {
			if light == rollout.Failed && after[i] != rollout.Failed || light == rollout.TooFew && after[i] != rollout.TooFew {
				t.Fatalf("%+v is %s, and the worse %+v is %s", f, light, worse, after[i])
			}
		}
	})
}

func TestLimits_AreChecked(t *testing.T) {
	t.Parallel()
	if err := rollout.StartingLimits().Validate(); err != nil {
		t.Error(err)
	}
	for i, change := range []func(*rollout.Limits){
		func(l *rollout.Limits) { l.LeastShare = 101 }, func(l *rollout.Limits) { l.MostStuck = -1 }, func(l *rollout.Limits) { l.MostBounced = math.NaN() },
		func(l *rollout.Limits) { l.MostFallback = 100.1 }, func(l *rollout.Limits) { l.Median = 0 }, func(l *rollout.Limits) { l.P95 = -1 }, func(l *rollout.Limits) { l.Least = 0 },
	} {
		l := rollout.StartingLimits()
		change(&l)
		if err := l.Validate(); !errors.Is(err, rollout.ErrLimits) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// A gate holds who would move on within a day, each from its own next date, and nobody else.
func TestHeldByGates_HoldsWhoWouldMoveOnWithinADay(t *testing.T) {
	t.Parallel()
	for at, want := range map[time.Duration]bool{
		-day - time.Second: false, -day: true, -time.Second: true, // before the announcement
		0: false, 6*day - time.Second: false, 6 * day: true, 7*day - 1: true, // before grace
		7 * day: false, 13 * day: true, 14*day - 1: true, 14 * day: false, 1000 * day: false, // before enforcement, and after it
	} {
		if got := slices.Contains(rollout.HeldByGates([]rollout.Wave{wave()}, day0.Add(at)), "one"); got != want {
			t.Errorf("after %v it is held: %t", at, got)
		}
	}
	paused, held := wave(), wave()
	paused.PausedAt, held.HeldAt = day0.Add(-2*day), day0.Add(-2*day)
	if got := rollout.HeldByGates([]rollout.Wave{paused, held, {ID: "none"}}, day0.Add(-time.Hour)); len(got) != 0 {
		t.Errorf("%v stand still already, or are enforced, and are held", got)
	}
}

// However waves are held, paused, resumed and moved, and whatever time passes: a hold keeps each in its stage, as a pause does,
// takes no enforced one back, and what it cost is given back.
// It shows SEC-61 of deploy/SECURITY.md.
func TestHold_KeepsAWaveInItsStageAsAPauseDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, now := wave(), day0.Add(-10*day)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			stage, before := w.StageAt(now), w
			act := rapid.SampledFrom([]string{"hold", "pause", "resume", "move", "wait", "wait"}).Draw(t, "act")
			var err error
			switch act {
			case "hold":
				if len(rollout.HeldByGates([]rollout.Wave{w}, now)) == 1 {
					w.HeldAt, w.HeldFor = now, "a gate failed"
				}
			case "pause":
				w, err = w.Pause(now, "by hand")
			case "resume":
				w, err = w.Resume(now)
			case "move":
				later := w
				later.EnforceAt = later.EnforceAt.Add(day)
				w, err = w.Move(later, now)
			case "wait":
				now = now.Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "hours")) * time.Hour)
				if got := w.StageAt(now); got != stage && !w.StoppedAt().IsZero() || slices.Index(rollout.Stages(), got) < slices.Index(rollout.Stages(), stage) {
					t.Fatalf("%+v went from %s to %s", w, stage, got)
				}
				continue
			}
			if err != nil {
				w = before
				continue
			}
			if w.StageAt(now) != stage {
				t.Fatalf("%s: %+v of %s became %+v of %s", act, before, stage, w, w.StageAt(now))
			}
			if act == "resume" && (!w.StoppedAt().IsZero() || w.HeldFor != "" || fmt.Sprint(left(before, before.StoppedAt())) != fmt.Sprint(left(w, now))) {
				t.Fatalf("%+v went on as %+v at %v", before, w, now)
			}
		}
	})
}

// left is how long it is until each date that is to come.
func left(w rollout.Wave, now time.Time) []time.Duration {
	var all []time.Duration
	for _, date := range []time.Time{w.AnnounceAt, w.GraceAt, w.EnforceAt} {
		all = append(all, max(0, date.Sub(now)))
	}
	return all
}
