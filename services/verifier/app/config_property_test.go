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
		c := Config{Workers: rapid.OneOf(rapid.IntRange(-1, 1025), rapid.Int()).Draw(t, "workers"), Issuer: "doorcode", GateMedian: time.Second, GateP95: time.Second, GateLeast: 1}
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
