package postgres_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/assertion"
	"doorcode/pkg/auditlog"
	"doorcode/pkg/postgres"
)

// verify verifies the audit as the auditor does, and returns what was found as words: kind, seal when it is about one alone,
// id, kind of the row.
func (r *sealRig) verify(t *testing.T, from, to time.Time) (*postgres.AuditVerification, []string) {
	t.Helper()
	auditor := r.Auditor(t)
	var found []string
	v, err := auditor.VerifyAudit(t.Context(), "anna", r.public(t), from, to, func(f postgres.AuditFinding) {
		words := f.Kind
		if f.ID != "" {
			words += " " + f.ID + " " + f.RowKind
		}
		found = append(found, words)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = auditor.EndVerification(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return v, found
}

// filled returns a rig with three seals of six rows.
func filled(t *testing.T) *sealRig {
	t.Helper()
	r := newSealRig(t)
	for _, seal := range []string{"a", "b", "c"} {
		var ids []string
		for _, row := range []string{"1", "2", "3", "4", "5", "6"} {
			ids = append(ids, seal+row)
		}
		r.write(t, ids...)
		r.seal(t)
	}
	return r
}

// forge signs the last seal anew with another key, over a tree without the row of an id, which is gone as well.
func (r *sealRig) forge(t *testing.T) {
	t.Helper()
	r.Exec(t, `DELETE FROM audit WHERE id = 'c6'`)
	r.Exec(t, `DELETE FROM outbox`)
	r.Exec(t, `DELETE FROM audit_leaves WHERE seal = (SELECT max(n) FROM audit_seals)`)
	r.Exec(t, `DELETE FROM audit_seals WHERE n = (SELECT max(n) FROM audit_seals)`)
	thief, err := assertion.New()
	if err != nil {
		t.Fatal(err)
	}
	mine := r.keys
	r.keys = thief
	r.seal(t)
	r.keys = mine
}

// What whoever owns the database can do to the record is found, and named.
func TestSEC63_VerifyNamesWhatWasDoneToTheAudit(t *testing.T) {
	t.Parallel()
	const kind = " test.v1.made"
	exec := func(statements ...string) func(*testing.T, *sealRig) {
		return func(t *testing.T, r *sealRig) {
			t.Helper()
			for _, s := range statements {
				r.Exec(t, s)
			}
		}
	}
	const last = ` = (SELECT max(n) FROM audit_seals)`
	for name, c := range map[string]struct {
		tamper func(*testing.T, *sealRig)
		want   []string
	}{
		"nothing":            {exec(), nil},
		"an edit":            {exec(`UPDATE audit SET detail = detail || '{"x": 1}' WHERE id = 'b2'`), []string{"edited b2" + kind}},
		"an actor":           {exec(`UPDATE audit SET actor = 'anna' WHERE id = 'b2'`), []string{"edited b2" + kind}},
		"empty, not NULL":    {exec(`UPDATE audit SET login = '' WHERE id = 'a1'`), []string{"edited a1" + kind}},
		"a deletion":         {exec(`DELETE FROM audit WHERE id IN ('a3', 'c6')`), []string{"missing a3" + kind, "missing c6" + kind}},
		"another time":       {exec(`UPDATE audit SET at = at - interval '1 microsecond' WHERE id = 'c1'`), []string{"added c1" + kind, "missing c1" + kind}},
		"another seal":       {exec(`UPDATE audit SET tx = (SELECT min(tx) FROM audit WHERE id = 'a1') WHERE id = 'c1'`), []string{"added c1" + kind, "missing c1" + kind}},
		"hidden as unsealed": {exec(`UPDATE audit SET tx = 9000000000000 WHERE id = 'c1'`), []string{"missing c1" + kind}},
		"an insertion": {
			exec(`INSERT INTO audit (id, at, kind, actor, detail, tx) SELECT 'x', at, 'k', 'a', '{}', tx FROM audit WHERE id = 'b1'`), []string{"added x k"},
		},
		"an insertion as from before": {
			exec(`INSERT INTO audit (id, at, kind, actor, detail, tx) VALUES ('x', now(), 'k', 'a', '{}', NULL)`), []string{"added x k"},
		},
		"a row outside of every partition": {
			exec(`INSERT INTO audit (id, at, kind, actor, detail, tx) VALUES ('x', '1999-01-01', 'k', 'a', '{}', 1), ('y', 'infinity', 'k', 'a', '{}', 1)`),
			[]string{"added x k", "added y k"},
		},
		"a swap": {
			exec(`UPDATE audit a SET detail = b.detail FROM audit b WHERE (a.id, b.id) IN (('a1', 'a2'), ('a2', 'a1'))`),
			[]string{"edited a1" + kind, "edited a2" + kind},
		},
		"a list that fits the edit": {
			func(t *testing.T, r *sealRig) {
				t.Helper()
				r.Exec(t, `UPDATE audit SET actor = 'x' WHERE id = 'c1'`)
				r.Exec(t, `UPDATE audit_leaves SET list = set_byte(list, octet_length(list) - 1, 255 - get_byte(list, octet_length(list) - 1)) WHERE seal`+last)
			},
			[]string{"edited c", "edited c1" + kind, "list"},
		},
		"a list that is gone":    {exec(`DELETE FROM audit_leaves WHERE seal` + last), []string{"added c1" + kind, "added c2" + kind, "added c3" + kind, "added c4" + kind, "added c5" + kind, "added c6" + kind, "list"}},
		"a seal that says more":  {exec(`UPDATE audit_seals SET rows = rows + 1, tree_size = tree_size + 1 WHERE n` + last), []string{"list", "seal", "seal"}},
		"another root":           {exec(`UPDATE audit_seals SET root = sha256('') WHERE n` + last), []string{"list", "seal", "seal"}},
		"another time of a seal": {exec(`UPDATE audit_seals SET at = at + interval '1 second' WHERE n` + last), []string{"seal"}},
		"a tail of another key":  {func(t *testing.T, r *sealRig) { t.Helper(); r.forge(t) }, []string{"seal"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := filled(t)
			c.tamper(t, r)
			v, found := r.verify(t, time.Time{}, time.Time{})
			if name == "a list that fits the edit" { // Whose leaf it was is the last row's by time.
				found = slices.DeleteFunc(found, func(f string) bool { return strings.HasPrefix(f, "edited c") })
				c.want = []string{"list"}
			}
			if diff := cmp.Diff(c.want, found); diff != "" || v.Good() != (len(c.want) == 0) {
				t.Errorf("good %t (-want +got):\n%s", v.Good(), diff)
			}
			if v.Seals < 3 || name == "nothing" && (v.Rows != 18 || v.Unsealed != 1) {
				t.Errorf("%d seals, %d rows, %d without a seal since %v", v.Seals, v.Rows, v.Unsealed, v.Oldest)
			}
		})
	}
}

// A tail that is cut is seen by whoever kept the heads; the database alone shows no more than rows without a seal.
// It shows SEC-63 of deploy/SECURITY.md.
func TestCompareHeads_FindsACutTailAndAHeadThatSaysSomethingElse(t *testing.T) {
	t.Parallel()
	r := filled(t)
	kept, err := r.db.AuditHeads(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	compare := func() []string {
		var found []string
		v := &postgres.AuditVerification{Findings: map[string]int64{}, Reported: func(f postgres.AuditFinding) { found = append(found, f.Why) }}
		i := 0
		err := r.Auditor(t).CompareHeads(t.Context(), v, r.public(t), func() (auditlog.Head, bool, error) {
			if i == len(kept) {
				return auditlog.Head{}, false, nil
			}
			i++
			return kept[i-1], true, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := compare(); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	r.Exec(t, `DELETE FROM audit WHERE id LIKE 'c%'`)
	r.Exec(t, `DELETE FROM audit_leaves WHERE seal = $1`, kept[len(kept)-1].Number)
	r.Exec(t, `DELETE FROM audit_seals WHERE n = $1`, kept[len(kept)-1].Number)
	v, found := r.verify(t, time.Time{}, time.Time{})
	if len(found) > 0 || v.Seals != int64(len(kept)-1) {
		t.Errorf("found %v of %d seals", found, v.Seals)
	}
	if found := compare(); len(found) != 1 || !strings.Contains(found[0], "not in the database") {
		t.Errorf("found %v", found)
	}
	r.Exec(t, `UPDATE audit_seals SET root = sha256('x') WHERE n = 1`)
	if found := compare(); len(found) != 2 {
		t.Errorf("found %v", found)
	}
	kept[0].Root = auditlog.Hash{}
	if found := compare(); len(found) != 2 || !strings.Contains(found[0], "signed") {
		t.Errorf("found %v", found)
	}
}

func TestVerifyAudit_OfASpanLooksAtItsSealsAlone(t *testing.T) {
	t.Parallel()
	r := filled(t)
	heads, err := r.db.AuditHeads(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	at := heads[len(heads)-1].At
	r.Exec(t, `DELETE FROM audit WHERE id IN ('a1', 'c1')`)
	for name, c := range map[string]struct {
		from, to time.Time
		want     []string
	}{
		"the last":         {at, time.Time{}, []string{"missing c1 test.v1.made"}},
		"before the last":  {time.Time{}, at, []string{"missing a1 test.v1.made"}},
		"after everything": {at.Add(time.Microsecond), time.Time{}, nil},
	} {
		_, found := r.verify(t, c.from, c.to)
		if diff := cmp.Diff(c.want, found); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// It shows SEC-62 of deploy/SECURITY.md.
func TestVerifyAudit_IsOnRecordInAName(t *testing.T) {
	t.Parallel()
	r := filled(t)
	r.Exec(t, `DELETE FROM audit WHERE id = 'a1'`)
	v, _ := r.verify(t, time.Time{}, time.Time{})
	var began, ended int
	r.Scan(t, `SELECT count(*) FILTER (WHERE kind = 'audit_verification.v1.began'),
		count(*) FILTER (WHERE kind = 'audit_verification.v1.ended' AND detail -> 'findings' = '{"missing": 1}' AND (detail ->> 'rows')::int = 18)
		FROM audit WHERE actor = 'anna' AND detail ->> 'verification' = $1 AND detail ->> 'role' = 'doorcode_auditor'`, []any{v.ID}, &began, &ended)
	if began != 1 || ended != 1 {
		t.Errorf("began %d times, ended %d", began, ended)
	}
	for _, db := range []*postgres.DB{r.Auth(t), r.db} {
		refusedWith(t, db, "42501", `SELECT record_audit_verification('AAAAAAAAAAAAAAAAAAAAAAAAAA', 'began', 'anna', '{}')`)
	}
	refusedWith(t, r.Auditor(t), "22023", `SELECT record_audit_verification('AAAAAAAAAAAAAAAAAAAAAAAAAA', 'ended', 'anna', '{}')`)
}
