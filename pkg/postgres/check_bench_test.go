package postgres_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
)

// BenchmarkCheck measures the one statement that judges a code, alone on its connection, and reports the median.
func BenchmarkCheck(b *testing.B) {
	s := newStage(b)
	s.pg.Exec(b, `INSERT INTO login_budgets (workspace, login) SELECT 'acme', 'l' || i FROM generate_series(1, $1::int) i`, b.N)
	challenges := make([]postgres.Issued, b.N)
	for i := range challenges {
		challenges[i] = s.issue(func(e *event.Issued) { e.Login = "l" + strconv.Itoa(i+1) })
	}
	for chunk := range slices.Chunk(challenges, 200) {
		err := s.db.Record(b.Context(), postgres.Batch{Challenges: chunk})
		if err != nil {
			b.Fatal(err)
		}
	}
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for i, c := range challenges {
		start := time.Now()
		_, counted, err := s.db.Check(b.Context(), postgres.Check{Challenge: c.Event.Challenge, MACs: mac(i), Digest: digest("right")})
		if err != nil || !counted {
			b.Fatal(counted, err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
}
