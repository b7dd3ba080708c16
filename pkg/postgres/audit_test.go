package postgres_test

import (
	"strings"
	"testing"

	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// No service changes, removes or hides what is on record: neither in the audit nor in one of its partitions.
func TestSEC63_NoServiceRewritesTheAudit(t *testing.T) {
	t.Parallel()
	own := pgtest.Open(t)
	var partition string
	own.Scan(t, `SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'audit'::regclass AND inhrelid <> 'audit_default'::regclass`, nil, &partition)
	for role, cfg := range map[string]postgres.Config{"auth": own.AuthConfig(), "verifier": own.VerifierConfig()} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			db, err := postgres.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(db.Close)
			err = db.InTx(t.Context(), execute(t, `INSERT INTO audit (id, at, kind, actor, detail) VALUES ('`+role+`', now(), 'k', 'a', '{}')`))
			if err != nil {
				t.Fatalf("it cannot put anything on record: %v", err)
			}
			for _, table := range []string{"audit", "audit_default", partition} {
				for _, statement := range []string{
					"UPDATE " + table + " SET actor = 'x'", "DELETE FROM " + table, "TRUNCATE " + table, "DROP TABLE " + table,
					"ALTER TABLE " + table + " DISABLE TRIGGER ALL", "ALTER TABLE " + table + " RENAME TO other",
				} {
					err = db.InTx(t.Context(), execute(t, statement))
					if err == nil || !strings.Contains(err.Error(), "42501") {
						t.Errorf("%s: %v, want 42501", statement, err)
					}
				}
			}
		})
	}
}
