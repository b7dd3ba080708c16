package postgres_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/keyring"
	"doorcode/pkg/operator"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// staff is a database whose operators the owner writes and the console reads.
func staff(t *testing.T) (db *pgtest.Database, owner, console *postgres.Operators, ring *keyring.Ring) {
	t.Helper()
	db = pgtest.Open(t)
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	return db, postgres.NewOperators(db.Owner(t), ring), postgres.NewOperators(db.Console(t), ring), ring
}

// list puts an operator on the list.
func list(t *testing.T, s *postgres.Operators, ring *keyring.Ring, o operator.Operator) string {
	t.Helper()
	o, secret := o.WithNewSecret(ring)
	err := s.Put(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// It shows SEC-59 of deploy/SECURITY.md: nobody is listed until the operator's command lists them.
func TestOperators_AreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	db, owner, console, ring := staff(t)
	all, err := console.All(t.Context())
	if err != nil || len(all) != 0 {
		t.Fatalf("a fresh database lists %+v: %v", all, err)
	}
	_, err = console.Operator(t.Context(), "sue", "", time.Now())
	if !errors.Is(err, postgres.ErrNoOperatorRow) {
		t.Fatalf("nobody is %v", err)
	}
	secret := list(t, owner, ring, operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true})
	list(t, owner, ring, operator.Operator{ID: "olga", Role: operator.Owner, Workspaces: []string{"acme", "other"}})
	sue, err := console.Operator(t.Context(), "sue", "", time.Now())
	if err != nil || sue.Role != operator.Support || !sue.AllWorkspaces || sue.Over || !sue.Holds(ring, "sue", secret) {
		t.Errorf("%+v: %v", sue, err)
	}
	olga, err := console.Operator(t.Context(), "olga", "", time.Now())
	if err != nil || !slices.Equal(olga.Workspaces, []string{"acme", "other"}) || olga.AllWorkspaces {
		t.Errorf("%+v: %v", olga, err)
	}
	list(t, owner, ring, operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true})
	again, err := console.Operator(t.Context(), "sue", "", time.Now())
	if err != nil || again.Version == sue.Version || again.Holds(ring, "sue", secret) {
		t.Errorf("a new secret leaves the old one or its sessions: %v", err)
	}
	db.Exec(t, `UPDATE operators SET workspaces = NULL, role = 'operator' WHERE id = 'olga'`)
	var broken *postgres.IntegrityError
	_, err = console.Operator(t.Context(), "olga", "", time.Now())
	if !errors.As(err, &broken) {
		t.Errorf("a row that somebody else wrote: %v", err)
	}
	err = owner.Remove(t.Context(), "sue")
	if err != nil {
		t.Fatal(err)
	}
	_, err = console.Operator(t.Context(), "sue", "", time.Now())
	if !errors.Is(err, postgres.ErrNoOperatorRow) || !errors.Is(owner.Remove(t.Context(), "sue"), postgres.ErrNoOperatorRow) {
		t.Errorf("a removed one: %v", err)
	}
	var kinds []string
	db.Scan(t, `SELECT array_agg(kind || ' ' || (detail ->> 'operator') ORDER BY at) FROM audit`, nil, &kinds)
	if want := []string{"operator.v1.put sue", "operator.v1.put olga", "operator.v1.put sue", "operator.v1.removed sue"}; !slices.Equal(kinds, want) {
		t.Errorf("the record is %q", kinds)
	}
}

func TestOperators_ASessionBeginsOnceAndEndsForGood(t *testing.T) {
	t.Parallel()
	db, owner, console, ring := staff(t)
	list(t, owner, ring, operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true})
	list(t, owner, ring, operator.Operator{ID: "bob", Role: operator.Support, AllWorkspaces: true})
	session := strings.Repeat("A", 22)
	began, err := console.BeginSession(t.Context(), session, "sue")
	if err != nil {
		t.Fatal(err)
	}
	for what, refused := range map[string]func() error{
		"a second begin":         func() error { _, err := console.BeginSession(t.Context(), session, "sue"); return err },
		"a begin by another":     func() error { _, err := console.BeginSession(t.Context(), session, "bob"); return err },
		"a begin by nobody":      func() error { _, err := console.BeginSession(t.Context(), strings.Repeat("B", 22), "eve"); return err },
		"no session":             func() error { _, err := console.BeginSession(t.Context(), "x", "sue"); return err },
		"an end by another":      func() error { return console.EndSession(t.Context(), session, "bob") },
		"an end without a begin": func() error { return console.EndSession(t.Context(), strings.Repeat("C", 22), "sue") },
	} {
		if err := refused(); !errors.Is(err, postgres.ErrSession) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, over := range []bool{false, true, true} {
		sue, err := console.Operator(t.Context(), "sue", session, began)
		if err != nil || sue.Over != over {
			t.Errorf("the session is over: %v, want %v: %v", sue.Over, over, err)
		}
		err = console.EndSession(t.Context(), session, "sue")
		if err != nil {
			t.Error(err)
		}
	}
	var kinds []string
	db.Scan(t, `SELECT array_agg(kind ORDER BY at) FROM audit WHERE actor = 'sue'`, nil, &kinds)
	if want := []string{postgres.OperatorSessionBegan, postgres.OperatorSessionEnded}; !slices.Equal(kinds, want) {
		t.Errorf("the record is %q", kinds)
	}
}
