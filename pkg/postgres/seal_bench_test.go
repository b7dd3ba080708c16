package postgres_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"doorcode/pkg/assertion"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// auditRows is how many rows BenchmarkAudit fills in.
var auditRows = flag.Int("audit-rows", 200_000, "rows of the audit in BenchmarkAudit") //nolint:gochecknoglobals // a flag of the test binary

// Figures of the benchmark.
const (
	fillRows    = 100_000 // in one seal
	recordRows  = 200     // in one batch of the recorder
	recordTimes = 300
)

// BenchmarkAudit measures the record with many rows in it: `go test -run '^$' -bench BenchmarkAudit -benchtime 1x
// -audit-rows 10000000 -timeout 2h` beside a cluster. It fills them in over ten days, a seal for each hundred thousand, and
// prints how many rows a second are sealed and verified, the largest memory of this process, and how the rate of the
// recorder compares with that over an empty audit, without the sealing and with it.
func BenchmarkAudit(b *testing.B) {
	for range b.N {
		own := pgtest.Open(b)
		db, auditor := longer(b, own.VerifierConfig()), longer(b, own.AuditorConfig())
		keys, err := assertion.New()
		if err != nil {
			b.Fatal(err)
		}
		empty := recorderRate(b, db, "empty")
		seal(b, db, keys)
		var sealing time.Duration
		for done := 0; done < *auditRows; done += fillRows {
			fill(b, own, done)
			began := time.Now()
			seal(b, db, keys)
			sealing += time.Since(began)
		}
		full := recorderRate(b, db, "full")
		seal(b, db, keys)
		set, err := keys.JWKS()
		if err != nil {
			b.Fatal(err)
		}
		public, err := assertion.ParseJWKS(set)
		if err != nil {
			b.Fatal(err)
		}
		before, began := residentPeak(b), time.Now()
		v, err := auditor.VerifyAudit(b.Context(), "bench", public, time.Time{}, time.Time{}, func(f postgres.AuditFinding) { b.Errorf("%+v", f) })
		took := time.Since(began)
		if err != nil || v.Rows < int64(*auditRows) {
			b.Fatalf("%d rows: %v", v.Rows, err)
		}
		b.ReportMetric(float64(*auditRows)/sealing.Seconds(), "sealed/s")
		b.ReportMetric(float64(v.Rows)/took.Seconds(), "verified/s")
		b.ReportMetric(took.Seconds(), "verify-s")
		b.ReportMetric(before, "before-MiB")
		b.ReportMetric(residentPeak(b), "peak-MiB")
		b.ReportMetric(empty, "recorded/s-empty")
		b.ReportMetric(full, "recorded/s-full")
		b.ReportMetric(full/empty, "full/empty")
	}
}

// longer opens a database with time for long statements.
func longer(b *testing.B, cfg postgres.Config) *postgres.DB {
	b.Helper()
	cfg.MaxConns, cfg.Params = 8, map[string]string{"statement_timeout": "10min"}
	db, err := postgres.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	return db
}

// fill writes rows as an outcome and a delivery leave them, spread over ten days.
func fill(b *testing.B, own *pgtest.Database, first int) {
	b.Helper()
	own.Exec(b, `INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
		SELECT substr(md5(i::text), 1, 22) || '.approved', date_trunc('day', now()) - interval '8 days' + i * interval '10 days' / $3::int,
		       CASE i % 3 WHEN 0 THEN 'challenge.v1.approved' WHEN 1 THEN 'delivery.v1.attempted' ELSE 'challenge.v1.issued' END,
		       'w' || i % 1000, 'l' || i % 100000, substr(md5((i / 3)::text), 1, 22), 'web',
		       jsonb_build_object('challenge', substr(md5((i / 3)::text), 1, 22), 'workspace', 'w' || i % 1000, 'login', 'l' || i % 100000,
		           'front_end', 'web', 'channel', 'email', 'at', now(), 'send', 1, 'result', 'accepted')
		  FROM generate_series($1::int, $2::int) i`, first, first+fillRows-1, *auditRows)
}

// seal seals all that is there.
func seal(b *testing.B, db *postgres.DB, keys *assertion.Keys) {
	b.Helper()
	for more := true; more; {
		var err error
		_, more, err = db.SealAudit(b.Context(), keys)
		if err != nil {
			b.Fatal(err)
		}
	}
}

// recorderRate records batches, and returns how many rows a second that were.
func recorderRate(b *testing.B, db *postgres.DB, name string) float64 {
	b.Helper()
	detail, err := json.Marshal(map[string]any{"challenge": "AAECAwQFBgcICQoLDA0ODw", "send": 1, "result": "accepted", "channel": "email", "number": 1})
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	for i := range recordTimes {
		var batch postgres.Batch
		for j := range recordRows {
			batch.Audit = append(batch.Audit, postgres.Audit{
				ID: fmt.Sprintf("%s.%d.%d", name, i, j), At: time.Now(), Kind: event.DeliveryAttempted, Challenge: fmt.Sprintf("%s.%d.%d", name, i, j),
				Actor: "doorcode/email-dispatcher", Detail: detail,
			})
		}
		err := db.Record(context.WithoutCancel(b.Context()), batch)
		if err != nil {
			b.Fatal(err)
		}
	}
	return recordTimes * recordRows / time.Since(began).Seconds()
}

// residentPeak is the largest memory that this process has had, in MiB.
func residentPeak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	parts := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if parts == nil {
		b.Fatal("the system does not tell the memory of a process")
	}
	kib, err := strconv.Atoi(string(parts[1]))
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}
