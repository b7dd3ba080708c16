package app

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"doorcode/pkg/bus/bustest"
)

// SEC-14: a dispatcher takes no more at a time than its consumer hands out, and sends no faster than it was told to; no
// setting switches either off.
func TestSEC14_NoSettingSwitchesTheRateOff(t *testing.T) {
	t.Parallel()
	s := newSet(t, bustest.Start(t))
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SampledFrom([]string{"", "0", "-1", "NaN", "Inf", "+Inf", "-Inf", "1e400", "1e-9", "0x1p-2", "off", "none"})
		number := rapid.OneOf(words, rapid.Map(rapid.IntRange(-1, 513), strconv.Itoa), rapid.Map(rapid.Float64(), func(f float64) string {
			return strconv.FormatFloat(f, 'g', -1, 64)
		}))
		mine := set{env: map[string]string{}}
		for name, value := range s.env {
			mine.env[name] = value
		}
		mine.env[prefix+"WORKERS"] = number.Draw(t, "workers")
		mine.env[prefix+"RATE_PER_SECOND"] = number.Draw(t, "rate")
		cfg, err := mine.load()
		if err == nil && !(cfg.Workers >= 1 && cfg.Workers <= 512 && cfg.RatePerSecond >= 1 && cfg.RatePerSecond <= 10_000) {
			t.Fatalf("%v starts with %d workers and %g a second", mine.env, cfg.Workers, cfg.RatePerSecond)
		}
	})
}
