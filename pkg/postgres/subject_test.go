package postgres_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/account"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
)

// asked is an order in a name.
func asked() postgres.AddressOrder {
	return postgres.AddressOrder{Operator: "robin", Reason: "request 12"}
}

// putAnna puts the login anna with an address of her own.
func (k keeping) putAnna(t *testing.T, email string) {
	t.Helper()
	_, err := k.directory.PutLogin(t.Context(), postgres.Change{By: "front"}, account.Login{Workspace: "w", ID: "anna", Role: account.Owner, Email: email})
	if err != nil {
		t.Fatal(err)
	}
}

// told reads a history and returns its addresses, and the kinds of its records.
func (k keeping) told(t *testing.T, d *postgres.Directory, login string) (known []postgres.Addresses, kinds []string) {
	t.Helper()
	history, err := d.Addresses(t.Context(), asked(), "w", login)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range history {
		kinds = append(kinds, r.Kind)
		if r.Addresses != nil {
			known = append(known, *r.Addresses)
		}
		if i > 0 && r.At.Before(history[i-1].At) {
			t.Errorf("%s comes before what was earlier", r.Kind)
		}
	}
	return known, kinds
}

func TestAddresses_TellWhereCodesWentSinceWhen(t *testing.T) {
	t.Parallel()
	k := keep(t)
	owner := postgres.NewDirectory(k.db.Owner(t), k.rows)
	k.putAnna(t, "anna@example.com")
	k.putAnna(t, "anna@example.com")
	k.putAnna(t, "a.new@example.com")
	err := k.moveMain(t, "desk@example.com")
	if err != nil {
		t.Fatal(err)
	}
	known, _ := k.told(t, owner, "anna")
	want := []postgres.Addresses{{Channel: "email"}, {Email: "anna@example.com", Channel: "email"}, {Email: "a.new@example.com", Channel: "email"}}
	if diff := cmp.Diff(want, known); diff != "" {
		t.Errorf("of the login is told\n%s", diff)
	}
	known, _ = k.told(t, owner, "")
	if diff := cmp.Diff([]postgres.Addresses{{Email: "office@example.com"}, {Email: "desk@example.com"}}, known); diff != "" {
		t.Errorf("of the workspace is told\n%s", diff)
	}
	// That somebody looked is told to whoever looks next.
	history, err := owner.Addresses(t.Context(), postgres.AddressOrder{Operator: "kim", Reason: "why"}, "w", "anna")
	if err != nil {
		t.Fatal(err)
	}
	last := history[len(history)-1]
	if last.Kind != postgres.AddressesShown || last.Actor != "robin" || last.Reason != "request 12" {
		t.Errorf("the last record is %+v", last)
	}
	for _, o := range []postgres.AddressOrder{{}, {Operator: "robin"}, {Reason: "why"}} {
		_, err := owner.Addresses(t.Context(), o, "w", "anna")
		if err == nil {
			t.Errorf("%+v was shown addresses", o)
		}
	}
	_, err = owner.Addresses(t.Context(), asked(), "w", "nobody")
	if !errors.Is(err, postgres.ErrNothingKept) {
		t.Errorf("of nobody is told: %v", err)
	}
}

// The two halves of the key lie apart: neither the database alone nor the keys with a copy of the audit open anything, and
// a record that was moved to another time or subject tells nothing.
func TestSEC64_AddressesOpenWithBothHalvesOfTheKeyAndInTheirPlaceAlone(t *testing.T) {
	t.Parallel()
	k := keep(t)
	k.putAnna(t, "anna@example.com")
	owner := postgres.NewDirectory(k.db.Owner(t), k.rows)
	other, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	known, _ := k.told(t, postgres.NewDirectory(k.db.Owner(t), other), "anna")
	if len(known) != 0 {
		t.Errorf("without the key outside the database %v is known", known)
	}
	for name, tamper := range map[string]string{
		"time":    `UPDATE audit SET at = at + interval '1 microsecond' WHERE challenge_id = 'addresses/w/anna' AND kind = 'addresses.v1.recorded'`,
		"subject": `UPDATE audit SET challenge_id = 'addresses/w/anna' WHERE challenge_id = 'addresses/w/'`,
	} {
		k.db.Exec(t, tamper)
		known, _ = k.told(t, owner, "anna")
		if name == "time" && len(known) != 0 || strings.Contains(strings.Join(emails(known), " "), "office@") {
			t.Errorf("another %s, and %v is known", name, known)
		}
	}
	// The rotated ring still opens what the former key sealed.
	k = keep(t)
	k.putAnna(t, "anna@example.com")
	rotated, err := k.rows.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	known, _ = k.told(t, postgres.NewDirectory(k.db.Owner(t), rotated), "anna")
	if len(known) != 2 {
		t.Errorf("after a rotation %v is known", known)
	}
}

// emails are those of some addresses.
func emails(all []postgres.Addresses) []string {
	var found []string
	for _, a := range all {
		found = append(found, a.Email)
	}
	return found
}

// holds counts the rows of all tables, partitions included, that hold a text.
func (k keeping) holds(t *testing.T, text string) int {
	t.Helper()
	var n int
	k.db.Scan(t, `
		SELECT coalesce(sum((xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I x WHERE x::text ILIKE %L',
		       relname, '%' || $1::text || '%'), false, true, '')))[1]::text::int), 0)
		  FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')`, []any{text}, &n)
	return n
}

func TestSEC64_AnErasedPersonIsFoundNowhere(t *testing.T) {
	t.Parallel()
	k := keep(t)
	owner := postgres.NewDirectory(k.db.Owner(t), k.rows)
	k.putAnna(t, "Anna@example.com")
	k.putAnna(t, "annette@example.com")
	_, err := k.directory.PutLogin(t.Context(), postgres.Change{By: "front"}, account.Login{Workspace: "w", ID: "ben", Email: "ben@example.com", Role: account.Member})
	if err != nil {
		t.Fatal(err)
	}
	k.db.Exec(t, `INSERT INTO join_requests (workspace, id, login, name, email, state, created_at, mac_key, mac)
		VALUES ('w', 'r1', 'ben', 'Anna', 'anna@EXAMPLE.com', 'open', now(), 1, ''), ('w', 'r2', 'ben', 'Eve', 'eve@example.com', 'open', now(), 1, '')`)
	_, err = owner.Erase(t.Context(), asked(), "w", "anna")
	if !errors.Is(err, postgres.ErrInUse) {
		t.Fatalf("a login that is there was erased: %v", err)
	}
	err = k.directory.RemoveLogin(t.Context(), postgres.Change{By: "front"}, "w", "anna")
	if err != nil {
		t.Fatal(err)
	}
	if k.holds(t, "annette@") == 0 || k.holds(t, "anna@") == 0 {
		t.Fatal("the search finds nothing, before anything was erased")
	}
	sealed := k.count(t, `SELECT count(*) FROM audit WHERE kind = 'addresses.v1.recorded'`)
	n, err := owner.Erase(t.Context(), asked(), "w", "anna")
	if n != 1 || err != nil {
		t.Fatalf("erased %d: %v", n, err)
	}
	for _, text := range []string{"anna@", "annette@"} {
		if n := k.holds(t, text); n != 0 {
			t.Errorf("%d rows hold %s", n, text)
		}
	}
	known, kinds := k.told(t, owner, "anna")
	if len(known) != 0 || kinds[len(kinds)-1] != postgres.AddressesErased {
		t.Errorf("known is %v, on record are %v", known, kinds)
	}
	if k.count(t, `SELECT count(*) FROM audit WHERE kind = 'addresses.v1.recorded'`) != sealed {
		t.Error("a row of the audit is gone")
	}
	known, _ = k.told(t, owner, "ben")
	if len(known) != 1 || k.holds(t, "eve@") != 1 {
		t.Errorf("of others is known %v", known)
	}
	_, err = owner.Erase(t.Context(), asked(), "w", "anna")
	if !errors.Is(err, postgres.ErrNothingKept) {
		t.Errorf("erased twice: %v", err)
	}
	// Who comes back under the same id is somebody else.
	k.putAnna(t, "new@example.com")
	known, _ = k.told(t, owner, "anna")
	if diff := cmp.Diff([]postgres.Addresses{{Email: "new@example.com", Channel: "email"}}, known); diff != "" {
		t.Errorf("after the erasure is known\n%s", diff)
	}
}

func TestSEC64_AnErasedWorkspaceTakesAllOfItsLoginsAlong(t *testing.T) {
	t.Parallel()
	k := keep(t)
	owner := postgres.NewDirectory(k.db.Owner(t), k.rows)
	k.putAnna(t, "anna@example.com")
	_, err := owner.Erase(t.Context(), asked(), "w", "")
	if !errors.Is(err, postgres.ErrInUse) {
		t.Fatalf("a workspace that is there was erased: %v", err)
	}
	err = k.directory.RemoveWorkspace(t.Context(), postgres.Change{By: "front"}, "w")
	if err != nil {
		t.Fatal(err)
	}
	n, err := owner.Erase(t.Context(), asked(), "w", "")
	if n != 2 || err != nil {
		t.Fatalf("erased %d: %v", n, err)
	}
	for _, text := range []string{"anna@", "office@"} {
		if n := k.holds(t, text); n != 0 {
			t.Errorf("%d rows hold %s", n, text)
		}
	}
}
