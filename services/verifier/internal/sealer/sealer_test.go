package sealer_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/auditlog"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/services/verifier/internal/sealer"
	"doorcode/services/verifier/internal/upkeep"
	"doorcode/services/verifier/internal/verifiertest"
)

// rig is a sealer with a file over one database and bus.
type rig struct {
	*verifiertest.Rig
	t      *testing.T
	sealer *sealer.Sealer
	file   string
	woken  int
	rows   int64
	sealed time.Time
	failed []string
	rounds int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Rig: verifiertest.New(t), t: t, file: filepath.Join(t.TempDir(), "seals.jsonl")}
	db := r.DB()
	r.sealer = sealer.New(sealer.Config{
		Store: db, Keys: r.Seals, Every: time.Hour, Log: slog.New(slog.DiscardHandler), Wake: func() { r.woken++ },
		Unsealed: func(rows int64, sealed time.Time) { r.rows, r.sealed = rows, sealed },
		Failed:   func(cause string) { r.failed = append(r.failed, cause) },
	})
	r.sealer.Anchor = sealer.NewAnchor(r.file, db)
	r.sealer.Done = func() { r.rounds++ }
	return r
}

// seals makes rounds with a row each until there are three seals. A transaction of another test, in another database of
// the cluster, may hold one up for a while.
func (r *rig) seals() {
	r.t.Helper()
	bustest.Wait(r.t, "the seals are made", func() bool {
		err := r.round()
		if err != nil {
			r.t.Fatal(err)
		}
		r.whole(r.Count(`SELECT count(*) FROM audit_seals`))
		return r.Count(`SELECT count(*) FROM audit_seals`) >= 3
	})
}

// round writes a row and makes a round.
func (r *rig) round() error {
	r.t.Helper()
	r.PG.Exec(r.t, `INSERT INTO audit (id, at, kind, actor, detail) VALUES (gen_random_uuid(), clock_timestamp(), 'k', 'a', '{}')`)
	return r.sealer.Once(r.t.Context())
}

// lines are those of the file.
func (r *rig) lines() []string {
	r.t.Helper()
	data, err := os.ReadFile(r.file)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// whole fails the test unless the file has the seals from 1 to n, each once, as the database has them.
func (r *rig) whole(n int) {
	r.t.Helper()
	lines := r.lines()
	if len(lines) != n {
		r.t.Errorf("%d lines, not %d", len(lines), n)
	}
	for i, line := range lines {
		var head auditlog.Head
		err := json.Unmarshal([]byte(line), &head)
		if err != nil || head.Number != int64(i+1) {
			r.t.Errorf("line %d is %s: %v", i+1, line, err)
		}
		r.Want(1, `SELECT count(*) FROM audit_seals WHERE n = $1 AND root = $2 AND signature = $3`, head.Number, head.Root[:], head.Signature)
	}
}

// It shows SEC-63 of deploy/SECURITY.md.
func TestSealer_TheHeadIsInTheFileAndInAStreamOfItsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.seals()
	n := r.Count(`SELECT count(*) FROM audit_seals`)
	if r.woken != n || r.rounds < n || r.sealed.IsZero() || len(r.failed) > 0 {
		t.Errorf("woken %d, rounds %d, %d rows wait, sealed at %v, failed %v", r.woken, r.rounds, r.rows, r.sealed, r.failed)
	}
	upkeep.NewRelay(r.DB(), r.Bus.Connect(t, "verifier"), slog.New(slog.DiscardHandler), func(int, time.Duration) {}).Drain(t.Context())
	messages := r.Bus.Messages(t, event.StreamSeals)
	if len(messages) != n {
		t.Fatalf("%d heads in the stream", len(messages))
	}
	for i, m := range messages {
		e, err := event.Parse(m.Subject, m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		eventtest.Validate(t, m.Subject, e)
		var head auditlog.Head
		err = e.Decode(&head)
		if err != nil || head.Number != int64(i+1) {
			t.Errorf("%s: %v", e.Data, err)
		}
		r.Want(1, `SELECT count(*) FROM audit_seals WHERE n = $1 AND root = $2 AND signature = $3`, head.Number, head.Root[:], head.Signature)
	}
}

func TestAnchor_WritesWhatIsMissingOnceWhateverACrashLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.seals()
	n := r.Count(`SELECT count(*) FROM audit_seals`)
	good, err := os.ReadFile(r.file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	for name, left := range map[string][]byte{
		"no file": nil, "an empty file": {}, "one head": lines[0], "two": append(bytes.Clone(lines[0]), lines[1]...), "all": good,
		"half a line": good[:len(good)-20], "half the first line": good[:20], "a line without its end": good[:len(good)-1],
	} {
		err := os.Remove(r.file)
		if err == nil && left != nil {
			err = os.WriteFile(r.file, left, 0o600)
		}
		if err == nil {
			err = sealer.NewAnchor(r.file, r.DB()).CatchUp(t.Context())
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(name)
		r.whole(n)
	}
}

// It shows SEC-63 of deploy/SECURITY.md.
func TestAnchor_RefusesADatabaseThatSaysSomethingElse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.seals()
	before := r.lines()
	for name, tamper := range map[string]string{
		"another root":    `UPDATE audit_seals SET root = sha256('') WHERE n = (SELECT max(n) FROM audit_seals)`,
		"the tail is cut": `DELETE FROM audit_seals WHERE n = (SELECT max(n) FROM audit_seals)`,
	} {
		r.failed, r.rounds = nil, 0
		r.PG.Exec(t, `CREATE TABLE kept AS TABLE audit_seals`)
		r.PG.Exec(t, tamper)
		err := sealer.NewAnchor(r.file, r.DB()).CatchUp(t.Context())
		if !errors.Is(err, sealer.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
		r.PG.Exec(t, `DELETE FROM audit_seals`)
		r.PG.Exec(t, `INSERT INTO audit_seals TABLE kept`)
		r.PG.Exec(t, `DROP TABLE kept`)
	}
	r.PG.Exec(t, `UPDATE audit_seals SET root = sha256('') WHERE n = (SELECT max(n) FROM audit_seals)`)
	err := r.sealer.Once(t.Context())
	if !errors.Is(err, sealer.ErrConflict) || len(r.failed) != 1 || r.failed[0] != "conflict" || r.rounds != 0 {
		t.Errorf("failed %v, %d rounds: %v", r.failed, r.rounds, err)
	}
	if strings.Join(r.lines(), "\n") != strings.Join(before, "\n") {
		t.Error("the file was changed")
	}
}

func TestAnchor_RefusesAFileOfSomethingElse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, content := range map[string]string{"words": "hello\n", "another JSON": "{}\n", "one long line": strings.Repeat("x", 20_000)} {
		err := os.WriteFile(r.file, []byte(content), 0o600)
		if err == nil {
			err = r.round()
		}
		if !errors.Is(err, sealer.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(r.failed) != 3 {
		t.Errorf("failed: %v", r.failed)
	}
}

func TestAnchor_TwoProcessesWithOneFileWriteEachHeadOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.seals()
	n, db := r.Count(`SELECT count(*) FROM audit_seals`), r.DB()
	for range 5 {
		err := os.Remove(r.file)
		if err != nil {
			t.Fatal(err)
		}
		verifiertest.Parallel(8, func(int) {
			err := sealer.NewAnchor(r.file, db).CatchUp(t.Context())
			if err != nil {
				t.Error(err)
			}
		})
		r.whole(n)
	}
}
