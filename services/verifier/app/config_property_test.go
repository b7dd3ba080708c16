package app

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// SEC-14: whatever number is set, a verifier works on at least one request at a time and on no more than its ceiling.
func TestSEC14_NoSettingSwitchesTheWorkersOff(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := Config{
			Workers: rapid.OneOf(rapid.IntRange(-1, 1025), rapid.Int()).Draw(t, "workers"), Issuer: "doorcode", SealEvery: time.Minute,
			GateMedian: time.Second, GateP95: time.Second, GateLeast: 1,
		}
		wrong := c
		wrong.GateStuck = 101
		if wrong.Validate() == nil {
			t.Fatal("a gate is open beyond all that there is")
		}
		if fine := c.Workers >= 1 && c.Workers <= 1024; (c.Validate() == nil) != fine {
			t.Fatalf("%d workers: %v", c.Workers, c.Validate())
		}
	})
}

// SEC-63: whatever is set, the audit is sealed at least twice an hour.
func TestSEC63_NoSettingStopsTheSeals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		every := time.Duration(rapid.OneOf(rapid.Int64Range(29, 31), rapid.Int64Range(1799, 1801), rapid.Int64Range(-1, 10_000)).Draw(t, "seconds")) * time.Second
		c := Config{Workers: 1, Issuer: "doorcode", SealEvery: every, GateMedian: time.Second, GateP95: time.Second, GateLeast: 1}
		if fine := every >= 30*time.Second && every <= 30*time.Minute; (c.Validate() == nil) != fine {
			t.Fatalf("every %v: %v", every, c.Validate())
		}
	})
}
