package pgtest_test

import (
	"os"
	"testing"
	"time"

	"doorcode/pkg/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestDatabase_IsCompleteAndTheTestsOwn(t *testing.T) {
	t.Parallel()
	one, two := pgtest.Open(t), pgtest.Open(t)
	one.Exec(t, `INSERT INTO limits (dimension, key) VALUES ('client', 'x')`)
	var mine, theirs, partitions int
	one.Scan(t, `SELECT count(*) FROM limits`, nil, &mine)
	two.Scan(t, `SELECT count(*) FROM limits`, nil, &theirs)
	two.Scan(t, `SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit'::regclass`, nil, &partitions)
	if mine != 1 || theirs != 0 {
		t.Errorf("rows: %d in the first, %d in the second database, want 1 and 0", mine, theirs)
	}
	if partitions < 2 {
		t.Errorf("the audit has %d partitions, want those of the days ahead", partitions)
	}
}

func TestDatabase_OpensWithTheRealRoles(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	err := db.Auth(t).Ping(t.Context())
	if err != nil {
		t.Error("auth:", err)
	}
	err = db.Verifier(t).Ping(t.Context())
	if err != nil {
		t.Error("verifier:", err)
	}
	err = db.Owner(t).Ping(t.Context())
	if err != nil {
		t.Error("owner:", err)
	}
	var roles int
	db.Scan(t, `SELECT count(DISTINCT usename) FROM pg_stat_activity WHERE datname = current_database() AND usename = ANY ($1)`,
		[]any{[]string{"doorcode_auth", "doorcode_verifier"}}, &roles)
	if roles != 2 {
		t.Errorf("%d of the two roles are connected", roles)
	}
	if db.AuthConfig().Password.IsZero() || db.AuthConfig().User != "doorcode_auth" || db.VerifierConfig().User != "doorcode_verifier" {
		t.Error("the configurations do not name the roles")
	}
}

func TestDatabase_IsDroppedWithItsTest(t *testing.T) { //nolint:tparallel // the inner test has to end first
	t.Parallel()
	outer := pgtest.Open(t)
	var name string
	t.Run("inner", func(t *testing.T) { // the outer test looks at what it leaves
		inner := pgtest.Open(t)
		inner.Scan(t, `SELECT current_database()`, nil, &name)
		inner.Auth(t)
	})
	var there bool
	outer.Scan(t, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, []any{name}, &there)
	if name == "" || there {
		t.Errorf("database %q is still there", name)
	}
}

func TestOpen_TellsItsTime(t *testing.T) {
	t.Parallel()
	from := time.Now()
	pgtest.Open(t)
	t.Log("one database cloned in", time.Since(from).Round(time.Millisecond))
}
