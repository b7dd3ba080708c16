package check

import (
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/postgres"
)

// It shows SEC-24 of deploy/SECURITY.md.
func TestExplain_IsAPureFunctionOfWhereTheChallengeStands(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	mac := []byte("this check")
	live := postgres.Standing{
		Now: now, State: challenge.Pending, ExpiresAt: now.Add(time.Minute), WrongLimit: 5, HourLimit: 2, DayLimit: 3, LoginOpen: true,
	}
	ago := func(ds ...time.Duration) []time.Time {
		var times []time.Time
		for _, d := range ds {
			times = append(times, now.Add(-d))
		}
		return times
	}
	for name, c := range map[string]struct {
		change func(*postgres.Standing)
		want   explanation
	}{
		"live": {func(*postgres.Standing) {}, explanation{kind: again}},
		"approved by another check": {func(s *postgres.Standing) {
			s.State, s.MACs, s.Answers = challenge.Approved, [][]byte{[]byte("other")}, []string{"approved"}
		}, explanation{kind: refused, refusal: challenge.RefusedUsed}},
		"approved by this check": {func(s *postgres.Standing) {
			s.State, s.MACs, s.Answers, s.EndedAt = challenge.Approved, [][]byte{mac}, []string{"approved"}, now.Add(-59*time.Second)
		}, explanation{kind: repeated}},
		"approved by this check a minute ago": {func(s *postgres.Standing) {
			s.State, s.MACs, s.Answers, s.EndedAt = challenge.Approved, [][]byte{mac}, []string{"approved"}, now.Add(-60*time.Second)
		}, explanation{kind: refused, refusal: challenge.RefusedUsed}},
		"this check was wrong, and the login is locked since": {func(s *postgres.Standing) {
			s.MACs, s.Answers, s.LoginOpen = [][]byte{[]byte("other"), mac}, []string{"wrong:4", "wrong:3"}, false
		}, explanation{kind: refused, refusal: challenge.RefusedWrong, left: 3}},
		"unreadable answer": {func(s *postgres.Standing) {
			s.MACs, s.Answers = [][]byte{mac}, []string{"wrong:many"}
		}, explanation{kind: refused, refusal: challenge.RefusedWrong}},
		"expired":     {func(s *postgres.Standing) { s.State = challenge.Expired }, explanation{kind: refused, refusal: challenge.RefusedExpired}},
		"past expiry": {func(s *postgres.Standing) { s.ExpiresAt = now }, explanation{kind: refused, refusal: challenge.RefusedExpired}},
		"canceled":    {func(s *postgres.Standing) { s.State = challenge.Canceled }, explanation{kind: refused, refusal: challenge.RefusedClosed}},
		"exhausted":   {func(s *postgres.Standing) { s.State = challenge.Exhausted }, explanation{kind: refused, refusal: challenge.RefusedClosed}},
		"login":       {func(s *postgres.Standing) { s.LoginOpen = false }, explanation{kind: refused, refusal: challenge.RefusedClosed}},
		"hour is full": {func(s *postgres.Standing) {
			s.Failures = ago(50*time.Minute, 10*time.Minute)
		}, explanation{kind: refused, refusal: challenge.RefusedTooMany, wait: 10 * time.Minute}},
		"hour has room again": {func(s *postgres.Standing) { s.Failures = ago(60*time.Minute, 10*time.Minute) }, explanation{kind: again}},
		"day is full": {func(s *postgres.Standing) {
			s.Failures = ago(20*time.Hour, 10*time.Hour, 2*time.Hour)
		}, explanation{kind: refused, refusal: challenge.RefusedTooMany, wait: 4 * time.Hour}},
		"hour and day are full": {func(s *postgres.Standing) {
			s.Failures = ago(23*time.Hour+30*time.Minute, 10*time.Minute, 5*time.Minute)
		}, explanation{kind: refused, refusal: challenge.RefusedTooMany, wait: 50 * time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := live
			c.change(&s)
			if got := explain(s, [][]byte{[]byte("active key"), mac}); got != c.want {
				t.Errorf("%+v, not %+v", got, c.want)
			}
		})
	}
}

// It shows SEC-24 of deploy/SECURITY.md.
func TestRefusalProblem_TellsTheSameOfRightAndWrong(t *testing.T) {
	t.Parallel()
	for _, r := range challenge.Refusals() {
		p := refusalProblem(explanation{kind: refused, refusal: r, left: 2})
		if p.Code != string(r) || p.Detail == "" {
			t.Errorf("%s: %+v", r, p)
		}
		if many := r == challenge.RefusedTooMany; many != (p.Status == 429) || many != (p.RetryAfter > 0) || many != (p.ChecksLeft == nil) {
			t.Errorf("%s: %+v", r, p)
		}
	}
}
