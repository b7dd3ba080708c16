package app_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorcode/pkg/assertion"
	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/services/doorcodectl/app"
)

// It shows SEC-63 of deploy/SECURITY.md.
func TestAuditVerify_TellsWhatIsWrongByNameAndExitCode(t *testing.T) {
	t.Parallel()
	o, db := atAudit(t)
	b := bustest.Start(t)
	o.useBus(t, b)
	o.do(t, "keys")
	keys, err := assertion.Read(app.KeyFile(filepath.Join(o.dir, "keys"), app.SealKeys))
	if err != nil {
		t.Fatal(err)
	}
	verifier, stream, file := db.Verifier(t), b.Connect(t, "verifier"), filepath.Join(o.dir, "seals.jsonl")
	var lines []byte
	for _, id := range []string{"one", "two", "three"} {
		db.Exec(t, `INSERT INTO audit (id, at, kind, actor, detail) VALUES ($1, clock_timestamp(), 'country.v1.stopped', 'a', '{}')`, id)
		bustest.Wait(t, "the row is sealed", func() bool {
			head, _, err := verifier.SealAudit(t.Context(), keys)
			return err == nil && head.Rows > 0
		})
	}
	heads, err := verifier.AuditHeads(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, head := range heads {
		line, err := json.Marshal(head)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, line...), '\n')
		_, err = stream.Publish(t.Context(), bus.Message{Subject: "doorcode.seal.made", ID: head.Root.String() + head.At.String(), Data: line, Header: map[string]string{"ce-type": string(event.SealMade)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	err = os.WriteFile(file, append(lines, `{"seal":`...), 0o600) // The last one is being written.
	if err != nil {
		t.Fatal(err)
	}
	verify := []string{"audit", "verify", "-operator", "anna", "-anchor", file, "-stream"}
	out := o.do(t, verify...)
	contains(t, out, "rows compared: 3", "nothing was found", "last seal: ")
	contains(t, o.do(t, "audit", "verify", "-operator", "anna"), "no head from outside")

	db.Exec(t, `UPDATE audit SET actor = 'x' WHERE id = 'one'`)
	db.Exec(t, `DELETE FROM audit WHERE id = 'two'`)
	contains(t, tampered(t, o, verify), `edited  seal`, `"one"  "country.v1.stopped"`, "missing  seal", `"two"  "country.v1.stopped"`, "found: 1 edited", "found: 1 missing")

	db.Exec(t, `DELETE FROM audit_leaves WHERE seal = $1`, heads[len(heads)-1].Number)
	db.Exec(t, `DELETE FROM audit_seals WHERE n = $1`, heads[len(heads)-1].Number)
	contains(t, tampered(t, o, verify), "the seal is not in the database", "found: 2 head")

	db.Exec(t, `UPDATE audit SET actor = 'a' WHERE id = 'one'`)
	o.refused(t, 1, "no such file", "audit", "verify", "-operator", "anna", "-anchor", file+".other")
	o.refused(t, 1, "no such file", "audit", "verify", "-operator", "anna", "-keys", file+".other")
	o.refused(t, 2, "-operator", "audit", "verify")
	o.refused(t, 2, "before", "audit", "verify", "-operator", "anna", "-from", "2026-01-02", "-to", "2026-01-02")
}

func TestAuditRetention_IsChangedByName(t *testing.T) {
	t.Parallel()
	o, _ := atAudit(t)
	out := o.do(t, "audit", "retention", "-days", "500", "-operator", "anna")
	if !strings.Contains(out, "500 days; it was 400") {
		t.Errorf("it says %q", out)
	}
	o.refused(t, 1, "30 to 36500", "audit", "retention", "-days", "29", "-operator", "anna")
	o.refused(t, 2, "-operator", "audit", "retention", "-days", "500")
}

// tampered runs a verification that has to find something, and returns what it shows.
func tampered(t *testing.T, o *operator, args []string) string {
	t.Helper()
	a := o.run(t, args...)
	if a.code != 1 || !strings.Contains(a.complaint, "not what was sealed") {
		t.Errorf("%v ended with %d: %s", args, a.code, a.complaint)
	}
	return a.out
}
