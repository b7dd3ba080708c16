package postgres_test

import (
	"strings"
	"testing"

	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// No service changes, removes or hides what is on record: neither in the audit nor in one of its partitions, and no seal
// of it.
func TestSEC63_NoServiceRewritesTheAudit(t *testing.T) {
	t.Parallel()
	own := pgtest.Open(t)
	var partition string
	own.Scan(t, `SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'audit'::regclass AND inhrelid <> 'audit_default'::regclass`, nil, &partition)
	for role, cfg := range map[string]postgres.Config{"auth": own.AuthConfig(), "verifier": own.VerifierConfig(), "auditor": own.AuditorConfig()} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			db, err := postgres.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(db.Close)
			err = db.InTx(t.Context(), execute(t, `INSERT INTO audit (id, at, kind, actor, detail) VALUES ('`+role+`', now(), 'k', 'a', '{}')`))
			if err != nil && role != "auditor" {
				t.Fatalf("it cannot put anything on record: %v", err)
			}
			for _, table := range []string{"audit", "audit_default", partition, "audit_seals", "audit_leaves"} {
				for _, statement := range []string{
					"UPDATE " + table + " SET " + column(table) + " = 'x'", "DELETE FROM " + table, "TRUNCATE " + table, "DROP TABLE " + table,
					"ALTER TABLE " + table + " DISABLE TRIGGER ALL", "ALTER TABLE " + table + " RENAME TO other",
				} {
					err = db.InTx(t.Context(), execute(t, statement))
					if err == nil || !strings.Contains(err.Error(), "42501") {
						t.Errorf("%s: %v, want 42501", statement, err)
					}
				}
			}
			if role != "verifier" {
				for _, statement := range []string{
					"INSERT INTO audit_seals (n) VALUES (9)", "INSERT INTO audit_leaves (seal, part, list) VALUES (9, 0, '')",
				} {
					refusedWith(t, db, "42501", statement)
				}
			}
		})
	}
}

// column is a column of a table of the audit that holds anything.
func column(table string) string {
	switch table {
	case "audit_seals":
		return "key_id"
	case "audit_leaves":
		return "list"
	}
	return "actor"
}
