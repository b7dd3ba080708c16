package intake_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/services/verifier/internal/intake"
)

// SEC-14: the figures travel in the challenge, so the verifier takes none that switch counting off, whoever made them.
func TestSEC14_NoEventSwitchesCountingOff(t *testing.T) {
	t.Parallel()
	vector := eventtest.Accepted(t, event.ChallengeIssued)
	rapid.Check(t, func(t *rapid.T) {
		var p event.Issued
		err := vector.Decode(&p)
		if err != nil {
			t.Fatal(err)
		}
		figure := func(ceiling int, label string) int {
			return rapid.OneOf(rapid.IntRange(1, ceiling), rapid.IntRange(1, ceiling), rapid.IntRange(-1, ceiling+1), rapid.Int()).Draw(t, label)
		}
		p.Policy = challenge.Policy{
			WrongPerChallenge: figure(5, "per challenge"), WrongPerHour: figure(10, "per hour"), WrongPerDay: figure(20, "per day"),
			LockAfter: figure(100, "lock after"), Sends: figure(5, "sends"),
		}
		life := rapid.OneOf(rapid.IntRange(1, 600), rapid.IntRange(-1, 601)).Draw(t, "life")
		p.ExpiresAt = p.CreatedAt.Add(time.Duration(life) * time.Second)
		within := func(value, ceiling int) bool { return value >= 1 && value <= ceiling }
		fine := within(p.Policy.WrongPerChallenge, 5) && within(p.Policy.WrongPerHour, 10) && within(p.Policy.WrongPerDay, 20) &&
			within(p.Policy.LockAfter, 100) && within(p.Policy.Sends, 5) && within(life, 600)
		e, err := event.New(event.ChallengeIssued, vector.ID, vector.Source, vector.Time, p.Challenge, p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := intake.Issued(e)
		if (err == nil) != fine || err == nil && got.Policy != p.Policy {
			t.Fatalf("%+v for %d s: %v", p.Policy, life, err)
		}
	})
}
