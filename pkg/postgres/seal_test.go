package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"doorcode/pkg/assertion"
	"doorcode/pkg/auditlog"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// sealRig seals the audit of one database.
type sealRig struct {
	*pgtest.Database
	db   *postgres.DB
	keys *assertion.Keys
}

func newSealRig(t *testing.T) *sealRig {
	t.Helper()
	r := &sealRig{Database: pgtest.Open(t)}
	r.db = r.Verifier(t)
	keys, err := assertion.New()
	if err != nil {
		t.Fatal(err)
	}
	r.keys = keys
	return r
}

// public are the public keys of the seals.
func (r *sealRig) public(t *testing.T) *assertion.Public {
	t.Helper()
	set, err := r.keys.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	public, err := assertion.ParseJWKS(set)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// seal seals until every row has a seal, and returns the last of them. A transaction of another test, in another database
// of the cluster, may hold it up for a while.
func (r *sealRig) seal(t *testing.T) auditlog.Head {
	t.Helper()
	var last auditlog.Head
	bustest.Wait(t, "every row is sealed", func() bool {
		head, _, err := r.db.SealAudit(t.Context(), r.keys)
		if err != nil {
			t.Fatal(err)
		}
		if head.Rows > 0 {
			last = head
		}
		rows, _, err := r.db.Unsealed(t.Context())
		return err == nil && rows == 0
	})
	if last.Number == 0 {
		t.Fatal("nothing was sealed")
	}
	return last
}

// write puts rows on record in a transaction of their own, some with a time of days ago.
func (r *sealRig) write(t *testing.T, ids ...string) {
	t.Helper()
	r.Exec(t, `INSERT INTO audit (id, at, kind, workspace, actor, detail)
		SELECT id, clock_timestamp() - n % 3 * interval '1 day', 'test.v1.made', nullif('w' || n % 2, 'w0'), 'test', jsonb_build_object('n', n)
		  FROM unnest($1::text[]) WITH ORDINALITY AS x(id, n)`, ids)
}

// sealedIDs are the ids in the lists of a seal, of which each is in its order.
func (r *sealRig) sealedIDs(t *testing.T, n int64) []string {
	t.Helper()
	var lists [][]byte
	r.Scan(t, `SELECT coalesce(array_agg(list ORDER BY part), '{}') FROM audit_leaves WHERE seal = $1`, []any{n}, &lists)
	var ids []string
	var before auditlog.Place
	for _, list := range lists {
		reader := auditlog.NewReader(list)
		for p, ok := reader.Next(); ok; p, ok = reader.Next() {
			if p.Compare(before) <= 0 || string(p.Kind) == "" {
				t.Errorf("%s comes after %s", p.ID, before.ID)
			}
			ids, before = append(ids, string(p.ID)), p
		}
		if !reader.Whole() {
			t.Fatal("a list cannot be read")
		}
	}
	return ids
}

// It shows SEC-63 of deploy/SECURITY.md.
func TestP11_EveryRowIsInOneSealWhateverCommitsFirst(t *testing.T) {
	t.Parallel()
	r := newSealRig(t)
	const writers, each = 8, 20
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				r.write(t, fmt.Sprintf("%d.%d.a", w, i), fmt.Sprintf("%d.%d.b", w, i))
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	var sealing sync.WaitGroup
	for range 2 { // Two replicas at once.
		sealing.Go(func() {
			for {
				_, _, err := r.db.SealAudit(t.Context(), r.keys)
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	sealing.Wait()
	r.write(t, "last")
	r.seal(t)
	heads, err := r.db.AuditHeads(t.Context(), 0, 10_000)
	if err != nil || len(heads) < 2 {
		t.Fatalf("%d seals: %v", len(heads), err)
	}
	seen, public := map[string]int{}, r.public(t)
	var previous auditlog.Head
	for _, head := range heads {
		if !head.Signed(public) || !head.Follows(previous) {
			t.Errorf("seal %d is not signed or does not follow", head.Number)
		}
		previous = head
		for _, id := range r.sealedIDs(t, head.Number) {
			seen[id]++
		}
	}
	want := map[string]int{"last": 1}
	for w := range writers {
		for i := range each {
			want[fmt.Sprintf("%d.%d.a", w, i)], want[fmt.Sprintf("%d.%d.b", w, i)] = 1, 1
		}
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
	var events int
	r.Scan(t, `SELECT count(*) FROM outbox WHERE type = 'seal.v1.made' AND id = 'seal.' || subject`, nil, &events)
	if events != len(heads) || previous.Size != 2*writers*each+1 {
		t.Errorf("%d events of %d seals, %d leaves", events, len(heads), previous.Size)
	}
}

func TestSealAudit_WaitsForATransactionThatIsUnderWay(t *testing.T) {
	t.Parallel()
	r := newSealRig(t)
	owner := r.Owner(t)
	err := owner.InTx(t.Context(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO audit (id, at, kind, actor, detail) VALUES ('late', now() - interval '2 days', 'k', 'a', '{}')`)
		if err != nil {
			return err
		}
		r.write(t, "early")
		head, more, err := r.db.SealAudit(t.Context(), r.keys)
		if err != nil || more || len(r.sealedIDs(t, head.Number)) != 0 {
			t.Errorf("seal %d took what came after a transaction that is under way: %v", head.Number, err)
		}
		rows, sealed, err := r.db.Unsealed(t.Context())
		if err != nil || rows != 1 || !sealed.Equal(head.At) {
			t.Errorf("%d rows wait since %v: %v", rows, sealed, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	head := r.seal(t)
	var sealed []string // in one seal, or in two when somebody else's transaction began between theirs
	for n := range head.Number {
		sealed = append(sealed, r.sealedIDs(t, n+1)...)
	}
	if diff := cmp.Diff([]string{"late", "early"}, sealed); diff != "" {
		t.Error(diff)
	}
	again, _, err := r.db.SealAudit(t.Context(), r.keys)
	if err != nil || again.Number != 0 {
		t.Errorf("an empty seal %d comes at once: %v", again.Number, err)
	}
	r.Exec(t, `UPDATE audit_seals SET at = at - interval '31 minutes'`)
	again, _, err = r.db.SealAudit(t.Context(), r.keys)
	if err != nil || again.Number != head.Number+1 || again.Rows != 0 || again.Size != head.Size || again.Root != head.Root {
		t.Errorf("no empty seal comes after half an hour: %+v, %v", again, err)
	}
}

func TestSealAudit_TakesWhatWasThereBeforeIntoItsFirstSeal(t *testing.T) {
	t.Parallel()
	r := newSealRig(t)
	r.write(t, "a", "b")
	r.Exec(t, `UPDATE audit SET tx = NULL`)
	head, _, err := r.db.SealAudit(t.Context(), r.keys)
	if ids := r.sealedIDs(t, 1); err != nil || head.Number != 1 || len(ids) != 2 {
		t.Errorf("seal %d has %v: %v", head.Number, ids, err)
	}
}

func TestSealAudit_RefusesADatabaseThatCountsFromTheBeginningAgain(t *testing.T) {
	t.Parallel()
	r := newSealRig(t)
	r.write(t, "a")
	r.seal(t)
	r.Exec(t, `UPDATE audit_seals SET to_tx = to_tx + 1000000`) // As a dump from a database that has counted further.
	r.write(t, "b")
	_, _, err := r.db.SealAudit(t.Context(), r.keys)
	if !errors.Is(err, postgres.ErrRestored) {
		t.Errorf("unexpected error: %v", err)
	}
}

// It shows SEC-63 of deploy/SECURITY.md.
func TestSealAudit_TheWriterOfARowDoesNotSayItsTransaction(t *testing.T) {
	t.Parallel()
	r := newSealRig(t)
	for role, db := range map[string]*postgres.DB{"auth": r.Auth(t), "verifier": r.db} {
		t.Log(role)
		refusedWith(t, db, "42501", `INSERT INTO audit (id, at, kind, actor, detail, tx) VALUES ('x', now(), 'k', 'a', '{}', 1)`)
	}
}
