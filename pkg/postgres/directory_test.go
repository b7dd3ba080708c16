package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/account"
	"doorcode/pkg/frontend"
	"doorcode/pkg/keyring"
	"doorcode/pkg/limit"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// keeping is a directory of its own with a workspace w and a login anna, its owner.
type keeping struct {
	db        *pgtest.Database
	auth      *postgres.DB
	rows      *keyring.Ring
	directory *postgres.Directory
}

func keep(t *testing.T) keeping {
	t.Helper()
	rows, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	k := keeping{db: pgtest.Open(t), rows: rows}
	k.auth = k.db.Auth(t)
	k.directory = postgres.NewDirectory(k.auth, rows)
	by := postgres.Change{By: "front"}
	_, err = k.directory.PutWorkspace(t.Context(), by, account.Workspace{ID: "w", Name: "W", MainEmail: "office@example.com", Owner: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.directory.PutLogin(t.Context(), by, account.Login{Workspace: "w", ID: "anna", Role: account.Owner})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// moveMain gives the workspace another main address, as a host application does that means it.
func (k keeping) moveMain(t *testing.T, email string) error {
	t.Helper()
	w, etag, err := k.directory.Workspace(t.Context(), "w")
	if err != nil {
		return err
	}
	w.MainEmail = email
	_, err = k.directory.PutWorkspace(t.Context(), postgres.Change{By: "front", Match: []string{etag}}, w)
	return err
}

// keyed puts a front-end as the operator and returns it as it was put.
func (k keeping) keyed(t *testing.T, f frontend.FrontEnd) frontend.FrontEnd {
	t.Helper()
	f, _, err := f.WithNewKey(k.rows)
	if err != nil {
		t.Fatal(err)
	}
	err = postgres.NewDirectory(k.db.Owner(t), k.rows).PutFrontEnd(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDirectory_KeepsFrontEndsAsTheyWerePut(t *testing.T) {
	t.Parallel()
	k := keep(t)
	for _, f := range []frontend.FrontEnd{
		{ID: "all", Name: "All", Scopes: []frontend.Scope{frontend.Challenges, frontend.Directory}, AllWorkspaces: true},
		{ID: "some", Scopes: []frontend.Scope{frontend.Challenges}, Workspaces: []string{"w", "v"}},
		{ID: "back", Scopes: []frontend.Scope{frontend.Challenges}, Workspaces: []string{"w"}, ReturnOrigins: []string{"https://a.example", "http://127.0.0.1"}},
		{ID: "none", Scopes: []frontend.Scope{frontend.Challenges}, Workspaces: []string{}},
	} {
		want := k.keyed(t, f)
		got, err := k.directory.FrontEnd(t.Context(), f.ID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" && f.ID != "all" {
			t.Error(diff)
		}
		if got.AllWorkspaces != (f.ID == "all") {
			t.Errorf("%s: all workspaces is %v", f.ID, got.AllWorkspaces)
		}
	}
	owner := postgres.NewDirectory(k.db.Owner(t), k.rows)
	err := owner.RemoveFrontEnd(t.Context(), "some")
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.directory.FrontEnd(t.Context(), "some")
	if !errors.Is(err, postgres.ErrNoFrontEnd) || !errors.Is(owner.RemoveFrontEnd(t.Context(), "some"), postgres.ErrNoFrontEnd) {
		t.Errorf("a removed front-end is still there: %v", err)
	}
}

// A row that an earlier version wrote: it has no return origins and a MAC without them.
func TestDirectory_AFrontEndFromBeforeReturnOriginsIsStillGood(t *testing.T) {
	t.Parallel()
	k := keep(t)
	field := func(s string) []byte { return []byte(s) }
	hash := []byte("hash")
	key, mac := k.rows.MAC("doorcode row front_ends v1", field("id"), field("old"), field("name"), field("Old"), field("key_hash"), hash,
		field("key_id"), field("1"), field("scope"), field("challenges"), field("all_workspaces"), field("true"))
	k.db.Exec(t, `INSERT INTO front_ends (id, name, key_hash, key_id, scopes, workspaces, mac_key, mac)
		VALUES ('old', 'Old', $1, 1, '{challenges}', NULL, $2, $3)`, hash, key, mac)
	f, err := k.directory.FrontEnd(t.Context(), "old")
	if err != nil || f.Name != "Old" || f.ReturnOrigins != nil {
		t.Fatalf("front-end %+v, %v", f, err)
	}
	k.db.Exec(t, `UPDATE front_ends SET return_origins = '{https://evil.example}' WHERE id = 'old'`)
	_, err = k.directory.FrontEnd(t.Context(), "old")
	var broken *postgres.IntegrityError
	if !errors.As(err, &broken) {
		t.Errorf("an origin that the operator did not write: %v", err)
	}
}

func TestSEC09_EveryDecidingColumnIsUnderTheMAC(t *testing.T) {
	t.Parallel()
	k := keep(t)
	k.keyed(t, frontend.FrontEnd{
		ID: "front", Scopes: []frontend.Scope{frontend.Challenges}, Workspaces: []string{"w"}, ReturnOrigins: []string{"https://app.example"},
	})
	for _, c := range []struct{ table, set, back string }{
		{"front_ends", "scopes = '{challenges,directory}'", "scopes = '{challenges}'"},
		{"front_ends", "workspaces = NULL", "workspaces = '{w}'"},
		{"front_ends", "workspaces = '{w,v}'", "workspaces = '{w}'"},
		{"front_ends", "workspaces = '{}'", "workspaces = '{w}'"},
		{"front_ends", "name = 'x'", "name = ''"},
		{"front_ends", "return_origins = '{https://evil.example}'", "return_origins = '{https://app.example}'"},
		{"front_ends", "return_origins = '{https://app.example,https://evil.example}'", "return_origins = '{https://app.example}'"},
		{"front_ends", "return_origins = '{}'", "return_origins = '{https://app.example}'"},
		{"workspaces", "main_email = 'x@example.org'", "main_email = 'office@example.com'"},
		{"workspaces", "owner = NULL", "owner = 'anna'"},
		{"workspaces", "owner = 'bert'", "owner = 'anna'"},
		{"workspaces", "group_address = true", "group_address = false"},
		{"workspaces", "name = 'x'", "name = 'W'"},
		{"logins", "email = 'x@example.org'", "email = NULL"},
		{"logins", "role = 'member'", "role = 'administrator'"},
		{"logins", "locale = 'nl'", "locale = ''"},
		{"logins", "phone = '+12025550148'", "phone = NULL"},
		{"logins", "(phone, channel) = ('+12025550148', 'sms')", "(phone, channel) = (NULL, 'email')"},
	} {
		k.db.Exec(t, "UPDATE "+c.table+" SET "+c.set)
		if got := k.broken(t); got != c.table {
			t.Errorf("%s: the broken table is %q", c.set, got)
		}
		k.db.Exec(t, "UPDATE "+c.table+" SET "+c.back)
		if got := k.broken(t); got != "" {
			t.Errorf("%s: the broken table is %q", c.back, got)
		}
	}
}

// broken returns the table that create finds changed.
func (k keeping) broken(t *testing.T) string {
	t.Helper()
	f, err := k.directory.CreateFacts(t.Context(), "front", "w", "anna")
	var integrity *postgres.IntegrityError
	if errors.As(err, &integrity) {
		return integrity.Table
	}
	if err != nil {
		t.Fatal(err)
	}
	return f.Broken
}

func TestDirectory_ARowOfAnotherPlaceDoesNotFit(t *testing.T) {
	t.Parallel()
	k := keep(t)
	k.keyed(t, frontend.FrontEnd{ID: "front", AllWorkspaces: true})
	by := postgres.Change{By: "front"}
	_, err := k.directory.PutWorkspace(t.Context(), by, account.Workspace{ID: "v", Name: "V", MainEmail: "thief@example.org", Owner: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	k.db.Exec(t, `UPDATE workspaces SET (name, main_email, owner, mac_key, mac) =
		(SELECT name, main_email, owner, mac_key, mac FROM workspaces WHERE id = 'v') WHERE id = 'w'`)
	if got := k.broken(t); got != "workspaces" {
		t.Errorf("the broken table is %q", got)
	}
}

func TestDirectory_VerifiesRowsOfAnOlderKey(t *testing.T) {
	t.Parallel()
	k := keep(t)
	k.keyed(t, frontend.FrontEnd{ID: "front", AllWorkspaces: true})
	rotated, err := k.rows.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	k.directory = postgres.NewDirectory(k.auth, rotated)
	if got := k.broken(t); got != "" {
		t.Errorf("after a rotation the broken table is %q", got)
	}
}

func TestP10_AuthMayNotWriteFrontEndsOrCounters(t *testing.T) {
	t.Parallel()
	k := keep(t)
	err := k.directory.PutFrontEnd(t.Context(), frontend.FrontEnd{ID: "x"})
	if err == nil {
		t.Error("auth made itself a key")
	}
	err = k.directory.RemoveFrontEnd(t.Context(), "x")
	if err == nil || errors.Is(err, postgres.ErrNoFrontEnd) {
		t.Errorf("auth may remove keys: %v", err)
	}
}

func TestCreateFacts_ReadsOneMoment(t *testing.T) {
	t.Parallel()
	k := keep(t)
	k.keyed(t, frontend.FrontEnd{ID: "front", AllWorkspaces: true})
	k.db.Exec(t, `UPDATE login_budgets SET version = 3, failures = ARRAY[clock_timestamp()], locked_at = now()`)
	f, err := k.directory.CreateFacts(t.Context(), "front", "w", "anna")
	if err != nil {
		t.Fatal(err)
	}
	if f.Budget.Version != 3 || len(f.Budget.Failures) != 1 || !f.Budget.Locked || f.Login.Role != account.Owner {
		t.Errorf("the facts are %+v", f)
	}
	if f.Now.Sub(f.Budget.Failures[0]) < 0 || f.Now.Location() != time.UTC {
		t.Errorf("the clock says %s", f.Now)
	}
	f, err = k.directory.CreateFacts(t.Context(), "front", "w", "nobody")
	if err != nil || f.Login != nil || f.Workspace == nil || f.Broken != "" {
		t.Errorf("the facts of an unknown login are %+v, %v", f, err)
	}
	f, err = k.directory.CreateFacts(t.Context(), "front", "v", "anna")
	if err != nil || f.Workspace != nil || f.Login != nil {
		t.Errorf("the facts of an unknown workspace are %+v, %v", f, err)
	}
	_, err = k.directory.CreateFacts(t.Context(), "nobody", "w", "anna")
	if !errors.Is(err, postgres.ErrNoFrontEnd) {
		t.Errorf("an unknown front-end: %v", err)
	}
}

// taking is a create that may be one of three in an hour.
func taking(entry string) postgres.CreateTake {
	return postgres.CreateTake{Workspace: "w", Login: "anna", Create: limit.Create{
		Challenge: "of " + entry, ExpiresAt: time.Now().Add(10 * time.Minute), Entry: limit.Entry(entry), MaxLive: 5,
		Wants: []limit.Want{
			{Dimension: limit.Recipient, Key: []byte("r"), Windows: limit.PerHourAndDay(3, 60)},
			{Dimension: limit.Client, Key: []byte("c"), Windows: limit.PerMinute(30)},
		},
	}}
}

func TestTakeCreate_IsExactUnderParallelTakes(t *testing.T) {
	t.Parallel()
	k := keep(t)
	answers := make([]postgres.Taken, 32)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			var err error
			answers[i], err = k.auth.TakeCreate(t.Context(), taking(fmt.Sprint(i)))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	taken := 0
	for _, a := range answers {
		if a.Refused == "" {
			taken++
			continue
		}
		if a.Refused != limit.Recipient || a.Wait <= 59*time.Minute || a.Wait > time.Hour {
			t.Errorf("refused by %s for %s", a.Refused, a.Wait)
		}
	}
	var live, messages, creates int
	k.db.Scan(t, `SELECT cardinality(live_ids) FROM login_budgets`, nil, &live)
	k.db.Scan(t, `SELECT cardinality(times) FROM limits WHERE dimension = 'recipient'`, nil, &messages)
	k.db.Scan(t, `SELECT cardinality(entries) FROM limits WHERE dimension = 'client'`, nil, &creates)
	if taken != 3 || live != 3 || messages != 3 || creates != 3 {
		t.Errorf("%d were taken; the rows hold %d, %d and %d", taken, live, messages, creates)
	}
}

func TestTakeCreate_IsPutAgainWhenOthersHoldItsRowsForLong(t *testing.T) {
	t.Parallel()
	k := keep(t)
	s := &stage{t: t, pg: k.db}
	_, release := s.hold(`SELECT FROM login_budgets FOR UPDATE`)
	done := make(chan error, 1)
	go func() {
		_, err := k.auth.TakeCreate(t.Context(), taking("a"))
		done <- err
	}()
	begun := map[time.Time]bool{} // the beginnings of transactions that waited
	s.until("a second transaction waits, or the first was all", func() bool {
		for at := range s.begun() {
			begun[at] = true
		}
		return len(begun) > 1 || len(done) > 0
	})
	release()
	err := <-done
	if err != nil || len(begun) < 2 {
		t.Errorf("gave up after %d tries: %v", len(begun), err)
	}
}

// begun returns when the transactions began that wait for a lock.
func (s *stage) begun() map[time.Time]bool {
	s.t.Helper()
	var waiting []time.Time
	s.pg.Scan(s.t, `SELECT coalesce(array_agg(xact_start), '{}') FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock'`, nil, &waiting)
	begun := map[time.Time]bool{}
	for _, at := range waiting {
		begun[at] = true
	}
	return begun
}

func TestTakeCreate_RefusesALoginWithoutABudget(t *testing.T) {
	t.Parallel()
	k := keep(t)
	k.db.Exec(t, `UPDATE login_budgets SET removed_at = now()`)
	_, err := k.auth.TakeCreate(t.Context(), taking("a"))
	var integrity *postgres.IntegrityError
	if !errors.As(err, &integrity) || integrity.Table != postgres.TableBudgets {
		t.Errorf("taken without a budget: %v", err)
	}
}

// It shows SEC-43 of deploy/SECURITY.md.
func TestTakeCreate_MeetsTheEntriesOfResends(t *testing.T) {
	t.Parallel()
	k := keep(t)
	k.db.Exec(t, `INSERT INTO limits (dimension, key, times, entries) VALUES ('recipient', 'r', ARRAY[clock_timestamp(), clock_timestamp()], '{1,2}')`)
	_, err := k.auth.TakeCreate(t.Context(), taking("a"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := k.auth.TakeCreate(t.Context(), taking("b"))
	if err != nil || a.Refused != limit.Recipient {
		t.Errorf("resends do not count: %+v, %v", a, err)
	}
}

func TestTakeCreate_WaitsForNoDisk(t *testing.T) {
	t.Parallel()
	k := keep(t)
	var mode string
	err := k.auth.Loose(t.Context(), &mode)
	if err != nil || mode != "off" {
		t.Errorf("synchronous_commit is %q, %v", mode, err)
	}
	k.db.Scan(t, `SHOW synchronous_commit`, nil, &mode)
	if mode != "on" {
		t.Errorf("outside it is %q", mode)
	}
}

func TestDirectory_KeepsPhoneAndChannelUnderTheMAC(t *testing.T) {
	t.Parallel()
	k := keep(t)
	k.keyed(t, frontend.FrontEnd{ID: "front", AllWorkspaces: true})
	want := account.Login{Workspace: "w", ID: "anna", Role: account.Owner, Phone: "+12025550148", Channel: account.SMS}
	err := k.directory.RemoveLogin(t.Context(), postgres.Change{By: "front"}, "w", "anna") // A new one takes both.
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.directory.PutLogin(t.Context(), postgres.Change{By: "front"}, want)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := k.directory.Login(t.Context(), "w", "anna")
	if err != nil || got != want {
		t.Errorf("the login is %+v, %v", got, err)
	}
	k.db.Exec(t, `INSERT INTO sms_countries (region, reason) VALUES ('NL', 'pumping')`)
	f, err := k.directory.CreateFacts(t.Context(), "front", "w", "anna")
	if err != nil || f.Broken != "" || *f.Login != want || !slices.Equal(f.StoppedCountries, []string{"NL"}) {
		t.Errorf("the facts are %+v, %v", f, err)
	}
	for set, back := range map[string]string{
		"phone = '+12025550149'": "phone = '+12025550148'",
		"channel = 'email'":      "channel = 'sms'",
	} {
		k.db.Exec(t, "UPDATE logins SET "+set)
		if got := k.broken(t); got != "logins" {
			t.Errorf("%s: the broken table is %q", set, got)
		}
		k.db.Exec(t, "UPDATE logins SET "+back)
	}
	if got := k.broken(t); got != "" {
		t.Errorf("the broken table is %q", got)
	}
}
