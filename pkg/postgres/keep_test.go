package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/postgres"
)

// aged returns a rig with two old days, of three rows each, and three rows of today. All are sealed.
func aged(t *testing.T) *sealRig {
	t.Helper()
	r := newSealRig(t)
	for id, ago := range map[string]int{"old": 500, "older": 501} {
		day := time.Now().UTC().AddDate(0, 0, -ago)
		r.Exec(t, `CREATE TABLE audit_`+day.Format("20060102")+` PARTITION OF audit FOR VALUES FROM ('`+
			day.Format(time.DateOnly)+` 00:00:00+00') TO ('`+day.AddDate(0, 0, 1).Format(time.DateOnly)+` 00:00:00+00')`)
		r.Exec(t, `INSERT INTO audit (id, at, kind, actor, detail) SELECT $1 || i, date_trunc('day', $2::timestamptz) + i * interval '1 hour', 'k', 'a', '{}'
			FROM generate_series(1, 3) i`, id, day)
	}
	r.seal(t)
	r.Exec(t, `INSERT INTO audit (id, at, kind, actor, detail) SELECT 'new' || i, now(), 'k', 'a', '{}' FROM generate_series(1, 3) i`)
	r.seal(t)
	return r
}

// left counts rows by the words that their ids begin with.
func (r *sealRig) left(t *testing.T) map[string]int {
	t.Helper()
	left := map[string]int{}
	for _, word := range []string{"older", "old", "new"} {
		var n int
		r.Scan(t, `SELECT count(*) FROM audit WHERE id ~ ('^' || $1 || '[0-9]$')`, []any{word}, &n)
		left[word] = n
	}
	return left
}

// It shows SEC-63 and SEC-64 of deploy/SECURITY.md.
func TestDropAuditDays_DropsWhatIsOldAndSealedAndNeverASeal(t *testing.T) {
	t.Parallel()
	r := aged(t)
	var seals, after, lists int
	r.Scan(t, `SELECT count(*) FROM audit_seals`, nil, &seals)
	n, err := r.db.DropAuditDays(t.Context())
	if err != nil || n != 2 {
		t.Fatalf("%d days were dropped: %v", n, err)
	}
	if diff := cmp.Diff(map[string]int{"older": 0, "old": 0, "new": 3}, r.left(t)); diff != "" {
		t.Error(diff)
	}
	r.Scan(t, `SELECT (SELECT count(*) FROM audit_seals), (SELECT count(*) FROM audit_leaves WHERE seal IN (SELECT n FROM audit_seals WHERE newest < now() - interval '100 days'))`, nil, &after, &lists)
	if after != seals || lists != 0 {
		t.Errorf("%d of %d seals are left, %d lists of rows that are gone", after, seals, lists)
	}
	var recorded int
	r.Scan(t, `SELECT count(*) FROM audit WHERE kind = 'audit_retention.v1.dropped' AND (detail ->> 'rows')::int = 3`, nil, &recorded)
	r.seal(t)
	v, found := r.verify(t, time.Time{}, time.Time{})
	if recorded != 2 || len(found) > 0 || v.Dropped != 6 {
		t.Errorf("%d drops are on record, %d rows went, found %v", recorded, v.Dropped, found)
	}
	n, err = r.db.DropAuditDays(t.Context())
	if err != nil || n != 0 {
		t.Errorf("%d more: %v", n, err)
	}
}

func TestDropAuditDays_KeepsADayWithARowWithoutASeal(t *testing.T) {
	t.Parallel()
	r := aged(t)
	r.Exec(t, `INSERT INTO audit (id, at, kind, actor, detail) SELECT 'late', at, 'k', 'a', '{}' FROM audit WHERE id = 'older1'`)
	n, err := r.db.DropAuditDays(t.Context())
	if diff := cmp.Diff(map[string]int{"older": 3, "old": 0, "new": 3}, r.left(t)); err != nil || n != 1 || diff != "" {
		t.Errorf("%d days were dropped, %v: %s", n, err, diff)
	}
	// A list that has a row of a day that is left stays, and what went with the other day is not missing.
	v, found := r.verify(t, time.Time{}, time.Time{})
	if len(found) > 0 || v.Dropped != 3 {
		t.Errorf("found %v, %d rows went", found, v.Dropped)
	}
}

// It shows SEC-63 of deploy/SECURITY.md.
func TestVerifyAudit_ADayThatSomebodyElseDroppedIsMissing(t *testing.T) {
	t.Parallel()
	r := aged(t)
	day := time.Now().UTC().AddDate(0, 0, -500)
	r.Exec(t, `DROP TABLE audit_`+day.Format("20060102"))
	missing := []string{"missing old1 k", "missing old2 k", "missing old3 k"}
	_, found := r.verify(t, time.Time{}, time.Time{})
	if diff := cmp.Diff(missing, found); diff != "" {
		t.Error(diff)
	}
	r.Exec(t, `INSERT INTO audit_drops (day, at, rows) VALUES ($1, now(), 3)`, day)
	_, found = r.verify(t, time.Time{}, time.Time{})
	if diff := cmp.Diff(append([]string{"drop"}, missing...), found); diff != "" {
		t.Error(diff)
	}
	young := aged(t)
	today := time.Now().UTC()
	young.Exec(t, `DELETE FROM audit WHERE id = 'new1'`)
	young.Exec(t, `INSERT INTO audit_drops (day, at, rows) VALUES ($1, $2, 3)`, today, today)
	young.Exec(t, `INSERT INTO audit (id, at, kind, actor, detail) VALUES ('audit-retention.' || $1, $2, 'audit_retention.v1.dropped', 'a', '{}')`, today.Format(time.DateOnly), today)
	_, found = young.verify(t, time.Time{}, time.Time{})
	if diff := cmp.Diff([]string{"drop", "missing new1 k"}, found); diff != "" {
		t.Error(diff)
	}
}

func TestKeepAudit_IsTheOwnersAndOnRecordAndHasAFloor(t *testing.T) {
	t.Parallel()
	r := aged(t)
	owner := r.Owner(t)
	for _, days := range []int{-1, 0, 29, 36501} {
		_, err := owner.KeepAudit(t.Context(), days, "anna")
		if !errors.Is(err, postgres.ErrAuditDays) {
			t.Errorf("%d days: %v", days, err)
		}
	}
	before, err := owner.KeepAudit(t.Context(), 501, "anna")
	if err != nil || before != 400 {
		t.Errorf("it was %d: %v", before, err)
	}
	n, err := r.db.DropAuditDays(t.Context())
	if err != nil || n != 0 {
		t.Errorf("%d days were dropped that are kept: %v", n, err)
	}
	var recorded int
	r.Scan(t, `SELECT count(*) FROM audit WHERE kind = 'audit_retention.v1.changed' AND actor = 'anna' AND detail @> '{"days": 501, "before": 400}'`, nil, &recorded)
	if recorded != 1 {
		t.Errorf("%d changes are on record", recorded)
	}
	// The floor holds against whoever writes the table, too.
	r.Exec(t, `ALTER TABLE audit_keep DROP CONSTRAINT audit_keep_days_check`)
	r.Exec(t, `UPDATE audit_keep SET days = -10`)
	_, err = r.db.DropAuditDays(t.Context())
	if diff := cmp.Diff(map[string]int{"older": 0, "old": 0, "new": 3}, r.left(t)); err != nil || diff != "" {
		t.Errorf("%v: %s", err, diff)
	}
}
