package postgres_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// listing is a sink that keeps what it is given.
type listing struct {
	rows []postgres.Audit
	row  func(n int) error // called after each row with the number so far
	sum  error
}

// Row keeps a row.
func (l *listing) Row(a postgres.Audit) error {
	l.rows = append(l.rows, a)
	if l.row == nil {
		return nil
	}
	return l.row(len(l.rows))
}

// Sum returns what a SHA-256 looks like.
func (l *listing) Sum() (string, error) { return strings.Repeat("ab", 32), l.sum }

// ids are those of the rows, in their order.
func (l *listing) ids() []string {
	var ids []string
	for _, row := range l.rows {
		ids = append(ids, row.ID)
	}
	return ids
}

// noon is a day that has partitions neither before nor after it.
func noon() time.Time { return time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC) }

// putAudit writes rows as they may be on record, in an order that is not that of an export.
func putAudit(t *testing.T, db *pgtest.Database) {
	t.Helper()
	at := noon()
	db.Exec(t, `
		INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail) VALUES
		('c', $1::timestamptz + interval '1 microsecond', 'challenge.v1.approved', 'acme', 'jo', 'c1', 'verifier', '{"wrong": 1}'),
		('b', $1, 'challenge.v1.issued', 'acme', 'jo', 'c1', 'web', '{}'),
		('B', $1, 'challenge.v1.issued', 'globex', 'al', 'c2', 'web', '{}'),
		('-', $1, 'delivery.v1.attempted', NULL, NULL, 'c1', 'email-dispatcher', '{}'),
		('e', $1::timestamptz - interval '1 microsecond', 'country.v1.stopped', NULL, NULL, NULL, 'doorcodectl', '{}'),
		('d', $1::timestamptz + interval '1 day', 'challenge.v1.expired', 'globex', 'al', 'c2', 'verifier', '{}')`, at)
}

// export runs an export that has to succeed.
func export(t *testing.T, db *postgres.DB, q postgres.AuditQuery) ([]string, postgres.AuditExport) {
	t.Helper()
	var sink listing
	e, err := db.ExportAudit(t.Context(), q, "anna", "ndjson", &sink)
	if err != nil {
		t.Fatal(err)
	}
	if e.Rows != int64(len(sink.rows)) {
		t.Errorf("%d rows are said to be %d", len(sink.rows), e.Rows)
	}
	return sink.ids(), e
}

func TestExportAudit_GivesTheRowsOfAQueryByTimeAndID(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	// A database whose texts are sorted as in a dictionary.
	db.Exec(t, `ALTER TABLE audit ALTER COLUMN id TYPE text COLLATE "und-x-icu"`)
	putAudit(t, db)
	auditor := db.Auditor(t)
	day := postgres.AuditQuery{From: noon(), To: noon().Add(24 * time.Hour)}
	with := func(narrow func(*postgres.AuditQuery)) postgres.AuditQuery {
		q := day
		narrow(&q)
		return q
	}
	for name, c := range map[string]struct {
		query postgres.AuditQuery
		want  []string
	}{
		"a day, its first moment and not its last": {day, []string{"-", "B", "b", "c"}},
		"a microsecond": {with(func(q *postgres.AuditQuery) { q.To = noon().Add(time.Microsecond) }), []string{"-", "B", "b"}},
		"all":           {postgres.AuditQuery{}, []string{"e", "-", "B", "b", "c", "d"}},
		"a workspace":   {with(func(q *postgres.AuditQuery) { q.Workspace = "acme" }), []string{"b", "c"}},
		"a challenge":   {with(func(q *postgres.AuditQuery) { q.Challenge = "c1" }), []string{"-", "b", "c"}},
		"a kind":        {with(func(q *postgres.AuditQuery) { q.Kind = "challenge.v1.issued" }), []string{"B", "b"}},
		"all three": {with(func(q *postgres.AuditQuery) {
			q.Workspace, q.Challenge, q.Kind = "acme", "c1", "challenge.v1.issued"
		}), []string{"b"}},
		"nothing": {with(func(q *postgres.AuditQuery) { q.Workspace = "other" }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, e := export(t, auditor, c.query)
			if name == "all" { // The others are exports, too.
				got = slices.DeleteFunc(got, func(id string) bool { return strings.HasPrefix(id, "audit-export.") })
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("of %+v (-want +got):\n%s", e.Query, diff)
			}
		})
	}
}

func TestExportAudit_GivesEachRowWhole(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	putAudit(t, db)
	var sink listing
	_, err := db.Auditor(t).ExportAudit(t.Context(), postgres.AuditQuery{From: noon().Add(-time.Second), To: noon().Add(time.Second)}, "anna", "csv", &sink)
	if err != nil {
		t.Fatal(err)
	}
	first := postgres.Audit{
		ID: "e", At: noon().Add(-time.Microsecond), Kind: "country.v1.stopped", Actor: "doorcodectl", Detail: json.RawMessage(`{}`),
	}
	last := postgres.Audit{
		ID: "c", At: noon().Add(time.Microsecond), Kind: "challenge.v1.approved", Workspace: "acme", Login: "jo", Challenge: "c1",
		Actor: "verifier", Detail: json.RawMessage(`{"wrong": 1}`),
	}
	if diff := cmp.Diff([]postgres.Audit{first, last}, []postgres.Audit{sink.rows[0], sink.rows[len(sink.rows)-1]}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An export claims no time that has not passed: what is on record for later is in a later export.
func TestExportAudit_EndsNowAtTheLatest(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	db.Exec(t, `INSERT INTO audit (id, at, kind, actor, detail) VALUES ('early', now() - interval '1 minute', 'k', 'a', '{}'), ('late', now() + interval '1 day', 'k', 'a', '{}')`)
	var before, after time.Time
	db.Scan(t, `SELECT clock_timestamp()`, nil, &before)
	auditor := db.Auditor(t)
	for _, to := range []time.Time{{}, before.Add(48 * time.Hour)} {
		ids, e := export(t, auditor, postgres.AuditQuery{From: noon(), To: to, Kind: "k"})
		db.Scan(t, `SELECT clock_timestamp()`, nil, &after)
		if !slices.Equal(ids, []string{"early"}) || e.Query.To.Before(before) || e.Query.To.After(after) {
			t.Errorf("to %v: %v up to %v", to, ids, e.Query.To)
		}
	}
	for _, q := range []postgres.AuditQuery{{From: before.Add(time.Hour)}, {From: noon(), To: noon()}, {From: noon(), To: noon().Add(-time.Hour)}} {
		_, err := auditor.ExportAudit(t.Context(), q, "anna", "csv", &listing{})
		if !errors.Is(err, postgres.ErrSpan) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	var exports int
	db.Scan(t, `SELECT count(*) FROM audit WHERE kind LIKE 'audit_export.%'`, nil, &exports)
	if exports != 4 {
		t.Errorf("%d rows of exports are on record", exports)
	}
}

// exportRecord is what is on record of an export.
type exportRecord struct {
	Kind, Workspace, Actor string
	Detail                 map[string]any
}

// exportsOf reads what is on record of exports.
func exportsOf(t *testing.T, db *pgtest.Database) []exportRecord {
	t.Helper()
	var data []byte
	db.Scan(t, `
		SELECT coalesce(json_agg(json_build_object('kind', kind, 'workspace', workspace, 'actor', actor, 'detail', detail) ORDER BY at), '[]')
		  FROM audit WHERE id LIKE 'audit-export.%'`, nil, &data)
	var records []exportRecord
	err := json.Unmarshal(data, &records)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// Nobody exports unseen. It shows SEC-62 of deploy/SECURITY.md.
func TestExportAudit_IsOnRecordBeforeItsFirstRowAndWithItsSum(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	putAudit(t, db)
	var during []exportRecord
	sink := listing{row: func(n int) error {
		if n == 1 {
			during = exportsOf(t, db) // by another connection: it is committed
		}
		return nil
	}}
	q := postgres.AuditQuery{From: noon(), To: noon().Add(time.Hour), Workspace: "acme"}
	e, err := db.Auditor(t).ExportAudit(t.Context(), q, "anna", "csv", &sink)
	if err != nil || e.SHA256 != strings.Repeat("ab", 32) {
		t.Errorf("the export is %+v, %v", e, err)
	}
	query := map[string]any{"from": "2026-03-02T12:00:00Z", "to": "2026-03-02T13:00:00Z", "workspace": "acme"}
	began := exportRecord{Kind: postgres.AuditExportBegan, Workspace: "acme", Actor: "anna", Detail: map[string]any{
		"export": e.ID, "format": "csv", "query": query, "role": "doorcode_auditor",
	}}
	ended := exportRecord{Kind: postgres.AuditExportEnded, Workspace: "acme", Actor: "anna", Detail: map[string]any{
		"export": e.ID, "format": "csv", "query": query, "role": "doorcode_auditor", "rows": 2.0, "sha256": e.SHA256,
	}}
	if diff := cmp.Diff([]exportRecord{began}, during); diff != "" {
		t.Errorf("at the first row (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]exportRecord{began, ended}, exportsOf(t, db)); diff != "" {
		t.Errorf("at the end (-want +got):\n%s", diff)
	}
}

func TestExportAudit_ThatFailsHasBegunAndNotEnded(t *testing.T) {
	t.Parallel()
	full := errors.New("the disk is full")
	for name, sink := range map[string]*listing{"at a row": {row: func(int) error { return full }}, "at its end": {sum: full}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.Open(t)
			putAudit(t, db)
			_, err := db.Owner(t).ExportAudit(t.Context(), postgres.AuditQuery{}, "anna", "csv", sink)
			if !errors.Is(err, full) {
				t.Errorf("it says %v", err)
			}
			records := exportsOf(t, db)
			if len(records) != 1 || records[0].Kind != postgres.AuditExportBegan {
				t.Errorf("on record is %+v", records)
			}
		})
	}
}

// manyAudit writes rows at the same few times, so that pages end between rows of one time.
func manyAudit(t *testing.T, db *pgtest.Database, rows int) {
	t.Helper()
	db.Exec(t, `
		INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
		SELECT 'm' || lpad(i::text, 8, '0'), $1::timestamptz + (i / 700) * interval '1 minute', 'challenge.v1.issued', 'acme', 'jo', 'c' || i, 'web', '{"routes": 1}'
		  FROM generate_series($2::int - 1, 0, -1) AS i`, noon(), rows)
}

// A row that is written meanwhile changes nothing of the pages that follow.
func TestExportAudit_GivesOneSnapshotPageByPage(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	const rows = 3*postgres.AuditPage + 1
	manyAudit(t, db, rows)
	sink := listing{row: func(n int) error {
		if n == 1 {
			db.Exec(t, `INSERT INTO audit (id, at, kind, actor, detail) VALUES ('new', $1, 'k', 'a', '{}')`, noon().Add(4*time.Minute))
			db.Exec(t, `DELETE FROM audit WHERE id = 'm00003000'`)
		}
		return nil
	}}
	_, err := db.Auditor(t).ExportAudit(t.Context(), postgres.AuditQuery{To: noon().Add(48 * time.Hour)}, "anna", "csv", &sink)
	if err != nil || len(sink.rows) != rows {
		t.Fatalf("%d rows, %v", len(sink.rows), err)
	}
	for i, id := range sink.ids() {
		if id != fmt.Sprintf("m%08d", i) {
			t.Fatalf("row %d is %s", i, id)
		}
	}
}

// A database that is gone at the first row has given no more than the page that this row is of.
func TestExportAudit_HoldsAPageOfRowsAndNoMore(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	manyAudit(t, db, 3*postgres.AuditPage)
	sink := listing{row: func(n int) error {
		if n == 1 {
			db.Exec(t, `SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'doorcode_auditor' AND state = 'idle in transaction'`)
		}
		return nil
	}}
	_, err := db.Auditor(t).ExportAudit(t.Context(), postgres.AuditQuery{}, "anna", "csv", &sink)
	if !postgres.IsUnavailable(err) || len(sink.rows) != postgres.AuditPage {
		t.Errorf("%d rows, %v", len(sink.rows), err)
	}
}

// What whoever exports the audit may write is that they did, and the record of it keeps its form.
// It shows SEC-63 of deploy/SECURITY.md.
func TestP10_TheAuditorReadsTheAuditAndNothingElse(t *testing.T) {
	t.Parallel()
	own := pgtest.Open(t)
	auditor := own.Auditor(t)
	for _, table := range []string{
		"workspaces", "logins", "front_ends", "login_budgets", "challenges", "limits", "outbox", "settings_sessions", "sign_ins",
		"invitations", "join_requests", "group_tests", "removed_logins", "audit_default",
	} {
		refusedWith(t, auditor, "42501", "SELECT * FROM "+table)
	}
	for _, statement := range []string{
		"INSERT INTO audit (id, at, kind, actor, detail) VALUES ('x', now(), 'audit_export.v1.began', 'a', '{}')",
		"UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit", "DROP TABLE audit", "SELECT ensure_audit_partitions()",
		"SELECT nextval('stream_numbers')", "CREATE TABLE mine (x int)",
	} {
		refusedWith(t, auditor, "42501", statement)
	}
	for _, db := range []*postgres.DB{own.Auth(t), own.Verifier(t)} {
		refusedWith(t, db, "42501", `SELECT record_audit_export('AAAAAAAAAAAAAAAAAAAAAAAAAA', 'began', 'anna', '{}')`)
	}
	for _, arguments := range []string{
		`'AAAAAAAAAAAAAAAAAAAAAAAAAA', 'ended', 'anna', '{}'`, // it did not begin
		`'AAAAAAAAAAAAAAAAAAAAAAAAAA', 'other', 'anna', '{}'`,
		`'AAAAAAAAAAAAAAAAAAAAAAAAAA', 'began', 'anna@acme.example', '{}'`,
		`'AAAAAAAAAAAAAAAAAAAAAAAAAA', 'began', '', '{}'`,
		`'AAAAAAAAAAAAAAAAAAAAAAAAAA', 'began', NULL, '{}'`,
		`'AAAAAAAAAAAAAAAAAAAAAAAAAA', 'began', 'anna', jsonb_build_object('x', repeat('x', 5000))`,
		`'x.began', 'began', 'anna', '{}'`,
	} {
		refusedWith(t, auditor, "22023", "SELECT record_audit_export("+arguments+")")
	}
	_, e := export(t, auditor, postgres.AuditQuery{})
	refusedWith(t, auditor, "22023", "SELECT record_audit_export('"+e.ID+"', 'began', 'anna', '{}')")
	refusedWith(t, auditor, "22023", "SELECT record_audit_export('"+e.ID+"', 'ended', 'anna', '{}')")
	if n := len(exportsOf(t, own)); n != 2 {
		t.Errorf("%d rows are on record", n)
	}
}

// refusedWith fails the test unless Postgres refuses a statement with a state.
func refusedWith(t *testing.T, db *postgres.DB, state, statement string) {
	t.Helper()
	err := db.InTx(t.Context(), execute(t, statement))
	if err == nil || !strings.Contains(err.Error(), state) {
		t.Errorf("%s: %v, want %s", statement, err, state)
	}
}
