package postgres_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
)

// BenchmarkCheck measures judging a code, from one check at a time to 256 that wait together, each by itself and sharing
// statements as the verifier does. It reports median and 99th percentile of what a check took, and checks per second.
func BenchmarkCheck(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		for name, form := range forms() {
			b.Run(fmt.Sprintf("%s/%d", name, callers), func(b *testing.B) {
				s := newStage(b)
				checkAll(b, form(s.db), s.crowdOf(b.N), callers)
			})
		}
	}
}

// forms are the ways in which checks meet Postgres.
func forms() map[string]func(*postgres.DB) *postgres.DB {
	return map[string]func(*postgres.DB) *postgres.DB{
		"alone":  (*postgres.DB).Alone,
		"shared": func(db *postgres.DB) *postgres.DB { return db },
	}
}

// crowdOf records n challenges, each of another login, and returns their ids.
func (s *stage) crowdOf(n int) []string {
	s.t.Helper()
	s.pg.Exec(s.t, `INSERT INTO login_budgets (workspace, login) SELECT 'acme', 'l' || i FROM generate_series(1, $1::int) i`, n)
	ids := make([]string, n)
	issued := make([]postgres.Issued, n)
	for i := range issued {
		issued[i] = s.issue(func(e *event.Issued) { e.Login = "l" + strconv.Itoa(i+1) })
		ids[i] = issued[i].Event.Challenge
	}
	for chunk := range slices.Chunk(issued, 200) {
		err := s.db.Record(s.t.Context(), postgres.Batch{Challenges: chunk})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return ids
}

// checkAll judges a right code for each challenge, some at a time.
func checkAll(b *testing.B, db *postgres.DB, ids []string, callers int) {
	b.Helper()
	took := make([]time.Duration, len(ids))
	var next atomic.Int64
	var running sync.WaitGroup
	b.ResetTimer()
	for range callers {
		running.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(ids)); i = next.Add(1) - 1 {
				start := time.Now()
				_, counted, err := db.Check(b.Context(), postgres.Check{
					Challenge: ids[i], Workspace: "acme", Login: "l" + strconv.FormatInt(i+1, 10), MACs: mac(int(i)), Digest: digest("right"),
				})
				if err != nil || !counted {
					b.Error(counted, err)
				}
				took[i] = time.Since(start)
			}
		})
	}
	running.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(len(ids))/b.Elapsed().Seconds(), "checks/s")
}
