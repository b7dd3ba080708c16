package rollout_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/rollout"
)

// asked is a step back that kim has asked for a minute ago.
func asked(now time.Time) rollout.StepBack {
	return rollout.StepBack{RequestedBy: "kim", RequestedAs: "owner", RequestedAt: now.Add(-time.Minute), Until: now.Add(7 * day), Skips: 5, Reason: "mail is late"}
}

// R4.14: an enforced wave goes back to grace, for as long as was said and no longer, and never to anything less.
func TestStepBack_GoesToGraceAndNoFurther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w, now := wave(), day0.Add(14*day+time.Duration(rapid.IntRange(0, 1000).Draw(t, "hours"))*time.Hour)
		if rapid.Bool().Draw(t, "held") {
			w.HeldAt = day0.Add(14*day + 1)
		}
		s := asked(now)
		s.Until, s.Skips = now.Add(time.Duration(rapid.IntRange(1, 30*24).Draw(t, "for"))*time.Hour), rapid.IntRange(0, 10).Draw(t, "skips")
		back, err := w.StepBack(now, s)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 20).Draw(t, "looks") {
			at := now.Add(time.Duration(rapid.IntRange(0, 60*24).Draw(t, "at")) * time.Hour)
			want := rollout.Grace
			if !at.Before(s.Until) {
				want = rollout.Enforced
			}
			if got := back.StageAt(at); got != want {
				t.Fatalf("%v after it, until %v, the wave is %s", at.Sub(now), s.Until.Sub(now), got)
			}
		}
		if back.Validate() != nil || back.Skips < w.Skips || back.Skips < s.Skips || !back.GraceAt.Equal(w.GraceAt) || !back.StoppedAt().IsZero() {
			t.Fatalf("%+v became %+v", w, back)
		}
		later := back
		later.EnforceAt = later.EnforceAt.Add(-time.Minute)
		if _, err := back.Move(later, now); err == nil && !later.EnforceAt.After(back.EnforceAt) {
			t.Fatal("then it comes earlier than was said")
		}
	})
}

func TestStepBack_IsOfAnEnforcedWaveAndEnds(t *testing.T) {
	t.Parallel()
	now := day0.Add(20 * day)
	for name, one := range map[string]struct {
		at     time.Time
		change func(*rollout.StepBack)
		want   error
	}{
		"in grace":       {day0.Add(10 * day), func(*rollout.StepBack) {}, rollout.ErrNotEnforced},
		"scheduled":      {day0.Add(-day), func(*rollout.StepBack) {}, rollout.ErrNotEnforced},
		"for ever":       {now, func(s *rollout.StepBack) { s.Until = now.Add(30*day + time.Second) }, rollout.ErrUntil},
		"until now":      {now, func(s *rollout.StepBack) { s.Until = now }, rollout.ErrUntil},
		"without an end": {now, func(s *rollout.StepBack) { s.Until = time.Time{} }, rollout.ErrUntil},
		"skipping much":  {now, func(s *rollout.StepBack) { s.Skips = 101 }, rollout.ErrWave},
		"skipping less":  {now, func(s *rollout.StepBack) { s.Skips = -1 }, rollout.ErrWave},
	} {
		s := asked(now)
		one.change(&s)
		_, err := wave().StepBack(one.at, s)
		if !errors.Is(err, one.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// SEC-60: one person cannot weaken enforcement, in whatever spelling, and no request is approved after its day.
func TestSEC60_AStepBackNeedsTwoPeople(t *testing.T) {
	t.Parallel()
	now := day0.Add(20 * day)
	for name, one := range map[string]struct {
		by     string
		change func(*rollout.StepBack)
		want   error
	}{
		"another":             {"sam", func(*rollout.StepBack) {}, nil},
		"within the day":      {"sam", func(s *rollout.StepBack) { s.RequestedAt = now.Add(-24 * time.Hour) }, nil},
		"the same":            {"kim", func(*rollout.StepBack) {}, rollout.ErrTwoPeople},
		"in capitals":         {"KIM", func(*rollout.StepBack) {}, rollout.ErrTwoPeople},
		"with blanks":         {" Kim\t", func(*rollout.StepBack) {}, rollout.ErrTwoPeople},
		"nobody":              {" ", func(*rollout.StepBack) {}, rollout.ErrTwoPeople},
		"asked for by nobody": {"sam", func(s *rollout.StepBack) { s.RequestedBy = "" }, rollout.ErrTwoPeople},
		"without a reason":    {"sam", func(s *rollout.StepBack) { s.Reason = " " }, rollout.ErrNoReason},
		"a day later":         {"sam", func(s *rollout.StepBack) { s.RequestedAt = now.Add(-24*time.Hour - 1) }, rollout.ErrTooLate},
		"never asked":         {"sam", func(s *rollout.StepBack) { s.RequestedAt = time.Time{} }, rollout.ErrTooLate},
	} {
		s := asked(now)
		one.change(&s)
		got, err := s.Approve(one.by, "deputy", now)
		if !errors.Is(err, one.want) || (err == nil) != (got.ApprovedBy == "sam" && got.ApprovedAs == "deputy" && got.ApprovedAt.Equal(now)) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestStepBack_IsShownWhileItMatters(t *testing.T) {
	t.Parallel()
	now := day0.Add(20 * day)
	s := asked(now)
	approved, err := s.Approve("sam", "deputy", now)
	if err != nil {
		t.Fatal(err)
	}
	back, err := wave().StepBack(now, approved)
	if err != nil {
		t.Fatal(err)
	}
	got := []bool{
		s.Shown(wave(), now), s.Shown(wave(), now.Add(25*time.Hour)),
		approved.Shown(back, now), approved.Shown(back, now.Add(6*day)), approved.Shown(back, now.Add(7*day)),
	}
	if !slices.Equal(got, []bool{true, false, true, true, false}) {
		t.Errorf("shown %v", got)
	}
}
