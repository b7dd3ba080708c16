package app_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/services/doorcodectl/app"
)

// atAudit returns an operator and a database.
func atAudit(t *testing.T) (*operator, *pgtest.Database) {
	t.Helper()
	o, db := newOperator(t), pgtest.Open(t)
	o.useDatabase(t, db.OwnerURL())
	return o, db
}

// trailerOf reads a trailer.
func trailerOf(t *testing.T, line string) postgres.AuditExport {
	t.Helper()
	var trailer struct {
		Trailer postgres.AuditExport `json:"trailer"`
	}
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&trailer)
	if err != nil || trailer.Trailer.ID == "" || !strings.HasSuffix(line, "}\n") {
		t.Fatalf("the trailer is %q, %v", line, err)
	}
	return trailer.Trailer
}

// cut parts NDJSON into what stands before the trailer and the trailer, which sums that up.
func cut(t *testing.T, out string) (string, postgres.AuditExport) {
	t.Helper()
	end := strings.LastIndexByte(strings.TrimSuffix(out, "\n"), '\n') + 1
	trailer := trailerOf(t, out[end:])
	sums(t, trailer, out[:end])
	if trailer.Rows != int64(strings.Count(out[:end], "\n")) {
		t.Errorf("the trailer counts %d rows of %d", trailer.Rows, strings.Count(out[:end], "\n"))
	}
	return out[:end], trailer
}

// sums fails the test unless a trailer has the SHA-256 of some bytes.
func sums(t *testing.T, trailer postgres.AuditExport, text string) {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	if trailer.SHA256 != hex.EncodeToString(sum[:]) {
		t.Error("the trailer has another SHA-256")
	}
}

// asked is an export of a day that ends at 22:00 UTC.
func asked(more ...string) []string {
	return append([]string{"audit", "export", "-operator", "anna", "-from", "2026-03-02", "-to", "2026-03-02T23:00:00+01:00"}, more...)
}

// putRows writes what a spreadsheet, a terminal or a careless reader could trip over.
func putRows(t *testing.T, db *pgtest.Database) {
	t.Helper()
	db.Exec(t, `
		INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail) VALUES
		('-1+1', '2026-03-02 12:00:00.5Z', 'challenge.v1.issued', '-2+3', '=jo', '@c1', E'\tweb', '{"n": 1.50, "list": ["<a>", null, true]}'),
		('b', '2026-03-02 12:00:00Z', 'country.v1.stopped', NULL, NULL, NULL, 'doorcodectl', '{"region": "NL", "reason": "=HYPERLINK(\"x\"), asked by anna@acme.example\nand +31 6 1234 5678"}'),
		('c', '2026-03-02 21:59:59.999999Z', 'directory.v1.login_put', 'acme', 'jo', NULL, E'\rx', '{"recipient": "j•••@acme.example", "bob@acme.example": {"at": "2026-03-02T12:00:00+02:00", "list": ["+31612345678"]}}')`)
}

// The bytes of an export are fixed: two of them can be compared, and so can an export and its sum. What somebody typed
// into a reason leaves no more than a mask of an address. It shows SEC-64 of deploy/SECURITY.md.
func TestAuditExport_WritesALineARowAndATrailer(t *testing.T) {
	t.Parallel()
	o, db := atAudit(t)
	putRows(t, db)
	rows, trailer := cut(t, o.do(t, asked()...))
	want := `{"at":"2026-03-02T12:00:00.000000Z","id":"b","kind":"country.v1.stopped","workspace":null,"login":null,"challenge":null,"actor":"doorcodectl","detail":{"reason":"=HYPERLINK(\"x\"), asked by a•••@acme.example\nand •••78","region":"NL"}}
{"at":"2026-03-02T12:00:00.500000Z","id":"-1+1","kind":"challenge.v1.issued","workspace":"-2+3","login":"=jo","challenge":"@c1","actor":"\tweb","detail":{"list":["<a>",null,true],"n":1.50}}
{"at":"2026-03-02T21:59:59.999999Z","id":"c","kind":"directory.v1.login_put","workspace":"acme","login":"jo","challenge":null,"actor":"\rx","detail":{"b•••@acme.example":{"at":"2026-03-02T12:00:00+02:00","list":["•••78"]},"recipient":"j•••@acme.example"}}
`
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if trailer.Operator != "anna" || trailer.Format != "ndjson" || trailer.Query.From.String() != "2026-03-02 00:00:00 +0000 UTC" || trailer.Query.To.String() != "2026-03-02 22:00:00 +0000 UTC" {
		t.Errorf("the trailer is %+v", trailer)
	}
	narrow, trailer := cut(t, o.do(t, asked("-workspace", "acme", "-kind", "directory.v1.login_put")...))
	if !strings.HasSuffix(want, narrow) || trailer.Rows != 1 || trailer.Query.Workspace != "acme" || trailer.Query.Kind != "directory.v1.login_put" {
		t.Errorf("of acme it gives %+v and %s", trailer, narrow)
	}
}

// CWE-1236: what begins like a formula does so behind an apostrophe.
func TestAuditExport_ASpreadsheetFindsNoFormulaInACSV(t *testing.T) {
	t.Parallel()
	o, db := atAudit(t)
	putRows(t, db)
	a := o.run(t, asked("-format", "csv")...)
	if a.code != 0 {
		t.Fatal(a.complaint)
	}
	trailer := trailerOf(t, a.complaint)
	sums(t, trailer, a.out)
	got, err := csv.NewReader(strings.NewReader(a.out)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"at", "id", "kind", "workspace", "login", "challenge", "actor", "detail"},
		{"2026-03-02T12:00:00.000000Z", "b", "country.v1.stopped", "", "", "", "doorcodectl", `{"reason":"=HYPERLINK(\"x\"), asked by a•••@acme.example\nand •••78","region":"NL"}`},
		{"2026-03-02T12:00:00.500000Z", "'-1+1", "challenge.v1.issued", "'-2+3", "'=jo", "'@c1", "'\tweb", `{"list":["<a>",null,true],"n":1.50}`},
		{"2026-03-02T21:59:59.999999Z", "c", "directory.v1.login_put", "acme", "jo", "", "'\rx", `{"b•••@acme.example":{"at":"2026-03-02T12:00:00+02:00","list":["•••78"]},"recipient":"j•••@acme.example"}`},
	}
	if diff := cmp.Diff(want, got); diff != "" || trailer.Rows != 3 || trailer.Format != "csv" {
		t.Errorf("trailer %+v (-want +got):\n%s", trailer, diff)
	}
}

func TestAuditExport_OfNothingIsATrailer(t *testing.T) {
	t.Parallel()
	o, _ := atAudit(t)
	rows, trailer := cut(t, o.do(t, asked()...))
	if rows != "" || trailer.Rows != 0 {
		t.Errorf("it gives %q and %+v", rows, trailer)
	}
	a := o.run(t, asked("-format", "csv")...)
	sums(t, trailerOf(t, a.complaint), a.out)
	if a.out != "at,id,kind,workspace,login,challenge,actor,detail\n" {
		t.Errorf("it gives %q", a.out)
	}
}

// Whoever exports needs no more than the auditor's role, and is on record with what they took.
// It shows SEC-62 of deploy/SECURITY.md.
func TestAuditExport_IsTheAuditorsAndOnRecord(t *testing.T) {
	t.Parallel()
	o, db := atAudit(t)
	putRows(t, db)
	u, err := url.Parse(db.OwnerURL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(db.AuditorConfig().User, db.AuditorConfig().Password.Reveal())
	o.useDatabase(t, u.String())
	file := filepath.Join(o.dir, "march.csv")
	a := o.run(t, asked("-format", "csv", "-out", file)...)
	if a.code != 0 || a.out != file+": 3 rows\n" {
		t.Fatalf("it ends with %d and says %q, %q", a.code, a.out, a.complaint)
	}
	trailer := trailerOf(t, a.complaint)
	sums(t, trailer, string(read(t, file)))
	var kinds []string
	var role, sum string
	var rows int64
	db.Scan(t, `SELECT array_agg(kind ORDER BY at) FROM audit WHERE actor = 'anna' AND detail ->> 'export' = $1`, []any{trailer.ID}, &kinds)
	db.Scan(t, `SELECT detail ->> 'role', (detail ->> 'rows')::bigint, detail ->> 'sha256' FROM audit WHERE kind = 'audit_export.v1.ended'`, nil, &role, &rows, &sum)
	if !slices.Equal(kinds, []string{"audit_export.v1.began", "audit_export.v1.ended"}) || role != "doorcode_auditor" || rows != 3 || sum != trailer.SHA256 {
		t.Errorf("on record: %v, role %s, %d rows, sum %s", kinds, role, rows, sum)
	}
	o.refused(t, 1, "permission denied", "country", "list")
}

func TestAuditExport_AFileIsThereWhenItIsWholeAndForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	o, db := atAudit(t)
	putRows(t, db)
	file := filepath.Join(o.dir, "out", "march.ndjson")
	o.refused(t, 1, "no such file", asked("-out", file)...)
	err := os.Mkdir(filepath.Dir(file), 0o700)
	if err != nil {
		t.Fatal(err)
	}
	// What cannot go on record is not exported.
	db.Exec(t, `ALTER FUNCTION record_audit_export RENAME TO other`)
	o.refused(t, 1, "record_audit_export", asked("-out", file)...)
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 0 {
		t.Errorf("a failed export leaves %v, %v", entries, err)
	}
	db.Exec(t, `ALTER FUNCTION other RENAME TO record_audit_export`)
	if out := o.do(t, asked("-out", file)...); out != file+": 3 rows\n" {
		t.Errorf("it says %q", out)
	}
	rows, _ := cut(t, string(read(t, file)))
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 || rows == "" {
		t.Errorf("the file is %v, %v", info, err)
	}
	o.refused(t, 1, "is there already", asked("-out", file)...)
	entries, err = os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the file lie %v, %v", entries, err)
	}
}

// many is how many rows a long span has.
const many = 200_000

// counting is a standard output that keeps nothing.
type counting struct {
	bytes, lines int
	last         []byte       // the last line, as far as it was written
	first        func() error // called at the first byte
}

// Write counts.
func (c *counting) Write(p []byte) (int, error) {
	if c.first != nil && c.bytes == 0 {
		err := c.first()
		if err != nil {
			return 0, err
		}
	}
	c.bytes += len(p)
	c.lines += bytes.Count(p, []byte("\n"))
	c.last = append(c.last, p...)
	trimmed := bytes.TrimSuffix(c.last, []byte("\n"))
	c.last = slices.Clone(c.last[bytes.LastIndexByte(trimmed, '\n')+1:])
	return len(p), nil
}

// A long span goes through in pieces: what has been written when the database goes is a piece, not the whole and not
// nothing.
func TestAuditExport_StreamsALongSpan(t *testing.T) {
	t.Parallel()
	o, db := atAudit(t)
	db.Exec(t, `
		INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
		SELECT 'm' || i, '2026-03-02Z'::timestamptz + i * interval '100 ms', 'challenge.v1.issued', 'acme', 'jo', 'c' || i, 'web', jsonb_build_object('n', i)
		  FROM generate_series(0, $1::int - 1) AS i`, many)
	var environ []string
	for name, value := range o.env {
		environ = append(environ, name+"="+value)
	}
	var whole, broken counting
	var complaint bytes.Buffer
	code := app.Run(t.Context(), asked(), environ, &whole, &complaint)
	if code != 0 || whole.lines != many+1 {
		t.Fatalf("it ends with %d after %d lines: %s", code, whole.lines, &complaint)
	}
	if trailer := trailerOf(t, string(whole.last)); trailer.Rows != many {
		t.Errorf("the trailer counts %d rows", trailer.Rows)
	}
	broken.first = func() error {
		db.Exec(t, `SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'doorcodectl'`)
		return nil
	}
	code = app.Run(t.Context(), asked(), environ, &broken, &complaint)
	if code != 1 || broken.bytes == 0 || broken.bytes > whole.bytes/20 {
		t.Errorf("without a database it ends with %d after %d of %d bytes", code, broken.bytes, whole.bytes)
	}
	var records string
	db.Scan(t, `SELECT string_agg(kind, ' ' ORDER BY at) FROM audit WHERE actor = 'anna'`, nil, &records)
	if records != "audit_export.v1.began audit_export.v1.ended audit_export.v1.began" {
		t.Errorf("on record: %s", records)
	}
}
