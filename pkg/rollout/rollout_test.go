package rollout_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/rollout"
)

var day0 = time.Date(2026, time.September, 1, 9, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant in all but type

const day = 24 * time.Hour

// wave is one of three steps of a week each.
func wave() rollout.Wave {
	return rollout.Wave{ID: "one", AnnounceAt: day0, GraceAt: day0.Add(7 * day), EnforceAt: day0.Add(14 * day), Skips: 3}
}

func TestStageAt_GoesThroughTheStagesAtTheirDates(t *testing.T) {
	t.Parallel()
	for at, want := range map[time.Duration]rollout.Stage{
		-time.Second: rollout.Scheduled, 0: rollout.Announced, 7*day - time.Second: rollout.Announced, 7 * day: rollout.Grace,
		14*day - time.Second: rollout.Grace, 14 * day: rollout.Enforced, 1000 * day: rollout.Enforced,
	} {
		if got := wave().StageAt(day0.Add(at)); got != want {
			t.Errorf("after %v: %s, want %s", at, got, want)
		}
	}
	if got := (rollout.Wave{ID: "none"}).StageAt(day0); got != rollout.Enforced {
		t.Errorf("a wave without dates is %s", got)
	}
	if got := (rollout.Place{}).StageAt(day0); got != rollout.Enforced {
		t.Errorf("a workspace of which nothing is known is %s", got)
	}
}

// R4.2: whatever is done to a wave, once its people were told no date comes earlier, and no workspace goes back a stage.
// It shows SEC-61 of deploy/SECURITY.md.
func TestWave_NeverComesEarlierOnceToldAndNeverGoesBack(t *testing.T) {
	t.Parallel()
	order := func(s rollout.Stage) int { return slices.Index(rollout.Stages(), s) }
	rapid.Check(t, func(t *rapid.T) {
		w, now := wave(), day0.Add(-30*day)
		span := func(name string) time.Duration { return time.Duration(rapid.IntRange(0, 20).Draw(t, name)) * day }
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			before, told := w, w.Told(now)
			stage := w.StageAt(now)
			var err error
			switch rapid.SampledFrom([]string{"move", "pause", "resume", "wait"}).Draw(t, "act") {
			case "move":
				to := w
				to.AnnounceAt, to.Skips = w.AnnounceAt.Add(span("announce")-10*day), rapid.IntRange(0, 5).Draw(t, "skips")
				to.GraceAt = to.AnnounceAt.Add(span("grace"))
				to.EnforceAt = to.GraceAt.Add(span("enforce"))
				if rapid.Bool().Draw(t, "later alone") {
					to = w
					to.EnforceAt = w.EnforceAt.Add(span("later"))
				}
				w, err = w.Move(to, now)
			case "pause":
				w, err = w.Pause(now, "a gate")
			case "resume":
				w, err = w.Resume(now)
			case "wait":
				now = now.Add(span("wait"))
				if w.StageAt(now) != stage && !w.PausedAt.IsZero() {
					t.Fatalf("paused in %s, it is %s", stage, w.StageAt(now))
				}
				continue
			}
			if err != nil {
				w = before
				continue
			}
			if w.Validate() != nil {
				t.Fatalf("%+v", w)
			}
			if !told {
				continue
			}
			if w.AnnounceAt.Before(before.AnnounceAt) || w.GraceAt.Before(before.GraceAt) || w.EnforceAt.Before(before.EnforceAt) || w.Skips < before.Skips {
				t.Fatalf("told %+v, it became %+v", before, w)
			}
			if order(w.StageAt(now)) != order(stage) {
				t.Fatalf("in %s, it went to %s", stage, w.StageAt(now))
			}
		}
	})
}

// A wave whose announcement has passed already would take nobody in, or have people told by nobody.
func TestWave_IsAnnouncedInTheFutureAlone(t *testing.T) {
	t.Parallel()
	for at, want := range map[time.Duration]error{-day: nil, 0: rollout.ErrPast, day: rollout.ErrPast, 100 * day: rollout.ErrPast} {
		w := wave()
		w.PausedAt, w.Reason = day0.Add(-2*day), "of another one"
		made, err := w.Make(day0.Add(at))
		if !errors.Is(err, want) || want == nil && made != wave() {
			t.Errorf("made after %v: %+v, %v", at, made, err)
		}
	}
	_, err := rollout.Wave{ID: "one"}.Make(day0)
	if !errors.Is(err, rollout.ErrWave) {
		t.Errorf("without dates: %v", err)
	}
	early := wave()
	early.AnnounceAt = day0.Add(-8 * day)
	_, err = wave().Move(early, day0.Add(-7*day))
	if !errors.Is(err, rollout.ErrPast) {
		t.Errorf("moved into the past: %v", err)
	}
	early.AnnounceAt = day0.Add(-6 * day)
	got, err := wave().Move(early, day0.Add(-7*day))
	if err != nil || got != early {
		t.Errorf("moved earlier before anybody was told: %+v, %v", got, err)
	}
}

func TestResume_GivesBackThePause(t *testing.T) {
	t.Parallel()
	paused, err := wave().Pause(day0.Add(5*day), "the bounce gate failed")
	if err != nil {
		t.Fatal(err)
	}
	if got := paused.StageAt(day0.Add(100 * day)); got != rollout.Announced {
		t.Errorf("paused as announced, it is %s", got)
	}
	_, err = paused.Pause(day0.Add(6*day), "again")
	if !errors.Is(err, rollout.ErrPaused) {
		t.Errorf("paused twice: %v", err)
	}
	_, err = paused.Move(wave(), day0.Add(6*day))
	if !errors.Is(err, rollout.ErrPaused) {
		t.Errorf("moved in a pause: %v", err)
	}
	w, err := paused.Resume(day0.Add(15 * day))
	if err != nil {
		t.Fatal(err)
	}
	if !w.AnnounceAt.Equal(day0) || !w.GraceAt.Equal(day0.Add(17*day)) || !w.EnforceAt.Equal(day0.Add(24*day)) || w.Reason != "" {
		t.Errorf("%+v", w)
	}
	_, err = w.Resume(day0.Add(16 * day))
	if !errors.Is(err, rollout.ErrRunning) {
		t.Errorf("resumed twice: %v", err)
	}
	// What is enforced stays so: a pause takes no code back.
	_, err = w.Pause(day0.Add(24*day), "too late")
	if !errors.Is(err, rollout.ErrEnforced) {
		t.Errorf("an enforced wave is paused: %v", err)
	}
	_, err = w.Move(w, day0.Add(24*day))
	if !errors.Is(err, rollout.ErrEnforced) {
		t.Errorf("an enforced wave is moved: %v", err)
	}
}

func exemption() rollout.Exemption {
	return rollout.Exemption{
		Reason: rollout.Contract, RequestedBy: "kim", ApprovedBy: "robin", Since: day0, Until: day0.Add(3 * day),
	}
}

// R4.11: an exemption has a reason of the list, two people and an end.
// It shows SEC-49 of deploy/SECURITY.md.
func TestExemption_CountsAsItWasGivenAlone(t *testing.T) {
	t.Parallel()
	good := exemption()
	if good.Validate(false) != nil || good.Validate(true) != nil {
		t.Fatal("a good one is refused")
	}
	for name, change := range map[string]func(*rollout.Exemption){
		"one person":       func(e *rollout.Exemption) { e.ApprovedBy = e.RequestedBy },
		"one person twice": func(e *rollout.Exemption) { e.ApprovedBy = " Kim" },
		"a blank":          func(e *rollout.Exemption) { e.ApprovedBy = " " },
		"nobody approved":  func(e *rollout.Exemption) { e.ApprovedBy = "" },
		"nobody asked":     func(e *rollout.Exemption) { e.RequestedBy = "" },
		"another reason":   func(e *rollout.Exemption) { e.Reason = "emergency_account" },
		"without an end":   func(e *rollout.Exemption) { e.Until = time.Time{} },
		"91 days":          func(e *rollout.Exemption) { e.Until = e.Since.Add(91 * day) },
		"ended before":     func(e *rollout.Exemption) { e.Until = e.Since },
		"without a start":  func(e *rollout.Exemption) { e.Since = time.Time{} },
		"of whoever knows": func(e *rollout.Exemption) { e.Reason = "" },
	} {
		e := exemption()
		change(&e)
		if !errors.Is(e.Validate(false), rollout.ErrExemption) {
			t.Errorf("%s is taken", name)
		}
		if got := (rollout.Place{Exemption: &e}).StageAt(day0.Add(time.Hour)); got != rollout.Enforced {
			t.Errorf("%s: %s", name, got)
		}
	}
	long := exemption()
	long.Until = long.Since.Add(73 * time.Hour)
	if !errors.Is(long.Validate(true), rollout.ErrExemption) || long.Validate(false) != nil {
		t.Error("73 hours are for a workspace and not for a login")
	}
	p := rollout.Place{Exemption: &good}
	for at, want := range map[time.Duration]rollout.Stage{
		-time.Second: rollout.Enforced, 0: rollout.Exempt, 3*day - time.Second: rollout.Exempt, 3 * day: rollout.Enforced,
	} {
		if got := p.StageAt(day0.Add(at)); got != want {
			t.Errorf("after %v: %s, want %s", at, got, want)
		}
	}
}
