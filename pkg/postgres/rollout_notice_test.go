package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// many is more notices than these tests order.
const many = 1000

// staffed makes a told workspace with the owner anna, the administrator ada and the member mia, in a wave of 14 days.
func (r rollingOut) staffed(t *testing.T, id string) {
	t.Helper()
	r.workspaces(t, id)
	for login, role := range map[string]account.Role{"ada": account.Administrator, "mia": account.Member} {
		_, err := r.directory.PutLogin(t.Context(), by(), account.Login{Workspace: id, ID: login, Email: login + "@" + id + ".example", Role: role})
		if err != nil {
			t.Fatal(err)
		}
	}
	r.db.Exec(t, `UPDATE logins SET created_at = '2020-01-01' WHERE workspace = $1`, id)
}

// order orders all that is due, and returns how many notices that were.
func (r rollingOut) order(t *testing.T) int {
	t.Helper()
	all := 0
	for after, first := "", true; first || after != ""; first = false {
		pass, err := r.directory.OrderNotices(t.Context(), after, many)
		if err != nil || pass.Busy || pass.Full {
			t.Fatalf("%+v, %v", pass, err)
		}
		all, after = all+pass.Ordered, pass.After
	}
	return all
}

// ordered lists the notices of a workspace in the order of their recipients: who, number, what.
func (r rollingOut) ordered(t *testing.T, workspace string) (all []string) {
	t.Helper()
	r.db.Scan(t, `SELECT coalesce(array_agg(login || ' ' || number || ' ' || notice ORDER BY login, number), '{}') FROM rollout_notices WHERE workspace = $1`,
		[]any{workspace}, &all)
	return all
}

// wants compares the notices of a workspace.
func (r rollingOut) wants(t *testing.T, workspace string, want ...string) {
	t.Helper()
	if got := r.ordered(t, workspace); !slices.Equal(got, want) {
		t.Errorf("%s is told %q, want %q", workspace, got, want)
	}
}

// R4.6, R4.7: the owner and every administrator are told, and whoever has used a code is not reminded; each notice leaves one
// record and one event.
func TestOrderNotices_TellsWhoRunsAWorkspaceAndRemindsWhoHasUsedNoCode(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.put(t, "later")
	r.staffed(t, "acme")
	r.workspaces(t, "globex")
	r.join(t, "one", "acme")
	r.join(t, "later", "globex")
	if n := r.order(t); n != 0 {
		t.Errorf("%d are told before the announcement", n)
	}
	r.age(t, "one", 7*day+time.Hour)
	if n := r.order(t) + r.order(t); n != 2 {
		t.Errorf("%d notices, and not that of the owner and of the administrator, once", n)
	}
	r.wants(t, "acme", "ada 1 announced", "anna 1 announced")
	r.wants(t, "globex")
	r.db.Exec(t, `INSERT INTO sign_ins (workspace, login, ended_at, challenge_id, started_at, channel, outcome)
	              VALUES ('acme', 'anna', now(), 'c', now(), 'email', 'approved'), ('acme', 'ada', now(), 'd', now(), 'email', 'expired')`)
	r.age(t, "one", 6*day+23*time.Hour) // Grace begins together with the reminder of a week.
	r.order(t)
	r.age(t, "one", 6*day)
	r.order(t)
	r.age(t, "one", day)
	r.order(t)
	r.wants(t, "acme", "ada 1 announced", "ada 2 grace", "ada 3 reminded", "ada 4 enforced", "anna 1 announced", "anna 2 grace", "anna 3 enforced")
	var ids, kinds []string
	r.db.Scan(t, `SELECT array_agg(o.id ORDER BY o.id), array_agg(o.data->>'kind' ORDER BY o.id) FROM outbox o JOIN audit a ON a.id = o.id AND a.detail = o.data
	               JOIN rollout_notices n ON 'rollout.' || n.id = o.id AND n.id = o.data->>'about' AND n.login = o.data->>'login'
	              WHERE o.type = $1`, []any{string(event.RolloutOrdered)}, &ids, &kinds)
	if len(ids) != 7 || r.count(t, `SELECT count(*) FROM outbox WHERE type = $1`, string(event.RolloutOrdered)) != 7 {
		t.Errorf("events %q of %q", ids, kinds)
	}
	var data []byte
	r.db.Scan(t, `SELECT data FROM outbox WHERE type = $1 LIMIT 1`, []any{string(event.RolloutOrdered)}, &data)
	eventtest.ValidateData(t, event.RolloutOrdered, data)
}

// However many replicas look at once, and however often one is stopped in the middle, everything is ordered once.
func TestOrderNotices_ReplicasOrderEachOnce(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	for i := range 10 {
		r.staffed(t, fmt.Sprint("w", i))
		r.join(t, "one", fmt.Sprint("w", i))
	}
	r.age(t, "one", 8*day)
	var replicas sync.WaitGroup
	for range 6 {
		replicas.Go(func() {
			for range 50 {
				pass, err := r.directory.OrderNotices(t.Context(), "", 7) // Seven a minute: the rest waits.
				if err != nil && !postgres.IsUnavailable(err) && !postgres.IsContended(err) {
					t.Error(err)
				}
				if pass.Full {
					return
				}
			}
		})
	}
	replicas.Wait()
	if n := r.count(t, `SELECT count(*) FROM rollout_notices`); n != 7 {
		t.Errorf("%d were ordered within a minute, and not seven", n)
	}
	r.db.Exec(t, `UPDATE rollout_notices SET ordered_at = ordered_at - interval '2 minutes'`)
	if n := r.order(t); n != 13 || r.count(t, `SELECT count(DISTINCT (workspace, login)) FROM rollout_notices WHERE number = 1`) != 20 {
		t.Errorf("%d further ones", n)
	}
}

// Edge case 9, and what is told of a postponement: everybody hears the date that holds.
func TestOrderNotices_WithdrawsADateAndTellsTheNewOne(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.staffed(t, "acme")
	r.join(t, "one", "acme")
	r.age(t, "one", 8*day)
	r.order(t)
	_, err := r.owner.PauseWave(t.Context(), robin(), "one")
	if err != nil {
		t.Fatal(err)
	}
	r.order(t)
	r.order(t)
	_, err = r.owner.ResumeWave(t.Context(), robin(), "one")
	if err != nil {
		t.Fatal(err)
	}
	r.order(t)
	place, err := r.directory.Postpone(t.Context(), by(), "acme", "anna")
	if err != nil {
		t.Fatal(err)
	}
	r.order(t)
	r.wants(t, "acme", "ada 1 announced", "ada 2 withdrawn", "ada 3 moved", "ada 4 moved", "anna 1 announced", "anna 2 withdrawn", "anna 3 moved", "anna 4 moved")
	var id string
	var date time.Time
	r.db.Scan(t, `SELECT id, date FROM rollout_notices WHERE login = 'ada' AND number = 4`, nil, &id, &date)
	n, err := r.directory.RolloutNotice(t.Context(), "acme", id)
	if err != nil || !n.Holds() || !date.Equal(place.Dated().EnforceAt) || n.Login != "ada" || n.People != 3 || n.Used != 0 {
		t.Errorf("%+v, %v", n, err)
	}
	var former string
	r.db.Scan(t, `SELECT id FROM rollout_notices WHERE login = 'ada' AND number = 3`, nil, &former)
	n, err = r.directory.RolloutNotice(t.Context(), "acme", former)
	if err != nil || n.Holds() {
		t.Errorf("the former date holds: %+v, %v", n, err)
	}
	_, err = r.directory.RolloutNotice(t.Context(), "w", id)
	if !errors.Is(err, postgres.ErrNoRolloutNotice) {
		t.Errorf("a notice of another workspace: %v", err)
	}
}

// SEC-09 in its spirit: nobody is told on the word of a row that was not written by us, and the others are told.
func TestOrderNotices_OfABrokenRowNobodyIsTold(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.put(t, "two")
	r.workspaces(t, "acme", "globex")
	r.join(t, "one", "acme")
	r.join(t, "two", "globex")
	r.age(t, "two", 8*day)
	r.db.Exec(t, `UPDATE rollout_waves SET announce_at = now() - interval '1 day' WHERE id = 'one'`)
	pass, err := r.directory.OrderNotices(t.Context(), "", many)
	if err != nil || pass.Ordered != 1 || !slices.Equal(pass.Broken, []string{postgres.TableWaves}) {
		t.Errorf("%+v, %v", pass, err)
	}
	r.wants(t, "acme")
}

// A login that is made again is another one: what the former was told is forgotten, and its notices have other names.
func TestOrderNotices_AReMadeLoginIsToldAnew(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.staffed(t, "acme")
	r.join(t, "one", "acme")
	r.age(t, "one", 8*day)
	r.order(t)
	err := r.directory.RemoveLogin(t.Context(), by(), "acme", "ada")
	if err != nil {
		t.Fatal(err)
	}
	r.wants(t, "acme", "anna 1 announced")
	_, err = r.directory.PutLogin(t.Context(), by(), account.Login{Workspace: "acme", ID: "ada", Email: "ada@acme.example", Role: account.Administrator})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.order(t); n != 1 || r.count(t, `SELECT count(*) FROM outbox WHERE type = $1 AND data->>'login' = 'ada'`, string(event.RolloutOrdered)) != 2 {
		t.Errorf("%d notices", n)
	}
}

// R4.10: the owner, once, and nobody else; of several presses at once one moves the date.
func TestPostpone_IsTheOwnersAndOnce(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	w := r.put(t, "one")
	r.staffed(t, "acme")
	r.join(t, "one", "acme")
	_, err := r.directory.Postpone(t.Context(), by(), "acme", "anna")
	if !errors.Is(err, rollout.ErrNotPostponing) {
		t.Errorf("before the announcement: %v", err)
	}
	r.age(t, "one", 8*day)
	for _, login := range []string{"ada", "mia", "", "nobody"} {
		_, err = r.directory.Postpone(t.Context(), by(), "acme", login)
		if !errors.Is(err, postgres.ErrNotOwner) {
			t.Errorf("%q: %v", login, err)
		}
	}
	good := together(t, 8, rollout.ErrPostponed, func(int) error {
		_, err := r.directory.Postpone(t.Context(), by(), "acme", "anna")
		return err
	})
	if good != 1 || r.count(t, `SELECT count(*) FROM audit WHERE kind = $1 AND workspace = 'acme' AND login = 'anna'`, string(event.RolloutPostponed)) != 1 {
		t.Errorf("it was moved %d times", good)
	}
	r.age(t, "one", 13*day+time.Hour) // The wave is enforced a week before the workspace is.
	f, err := r.facts(t, "acme", "anna")
	if err != nil || f.Home.Place.StageAt(f.Now) != rollout.Grace || !f.Home.Place.Dated().EnforceAt.Equal(w.EnforceAt.Add(7*day-21*day-time.Hour)) {
		t.Errorf("%+v, %v", f.Home, err)
	}
	s, err := r.owner.Rollout(t.Context())
	if err != nil || s.Stages[rollout.Grace] != 1 || s.Stages[rollout.Enforced] != 1 || s.Workspaces != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	ready, err := r.directory.Readiness(t.Context(), "acme", 2)
	if err != nil || ready.All != 3 || len(ready.People) != 2 || ready.People[0].Login.ID != "anna" || ready.People[1].Login.ID != "ada" || ready.Stage != rollout.Grace {
		t.Errorf("%+v, %v", ready, err)
	}
}

// It shows SEC-61 of deploy/SECURITY.md: a postponement that was not written by us asks for codes at once.
func TestPostponement_ARowThatWasEditedGivesNoTime(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.staffed(t, "acme")
	r.staffed(t, "globex")
	r.join(t, "one", "acme", "globex")
	r.age(t, "one", 8*day)
	_, err := r.directory.Postpone(t.Context(), by(), "acme", "anna")
	if err != nil {
		t.Fatal(err)
	}
	r.db.Exec(t, `CREATE TABLE kept AS SELECT * FROM rollout_postponements`)
	for _, set := range []string{
		"workspace = 'globex'", "wave = 'two'", "grace_at = grace_at + interval '1 day'", "enforce_at = enforce_at + interval '1 year'",
		"login = 'ada'", "at = at + interval '1 hour'", "mac = ''", "mac_key = mac_key + 1",
	} {
		r.db.Exec(t, "UPDATE rollout_postponements SET "+set)
		_, one := r.facts(t, "acme", "anna")
		_, two := r.facts(t, "globex", "anna")
		var broken *postgres.IntegrityError
		if !errors.As(errors.Join(one, two), &broken) || broken.Table != postgres.TablePostponements {
			t.Errorf("%s: %v, %v", set, one, two)
		}
		r.db.Exec(t, `DELETE FROM rollout_postponements`)
		r.db.Exec(t, `INSERT INTO rollout_postponements SELECT * FROM kept`)
	}
	err = r.directory.RemoveWorkspace(t.Context(), by(), "acme")
	if err != nil || r.count(t, `SELECT count(*) FROM rollout_postponements`) != 0 {
		t.Errorf("it outlives its workspace: %v", err)
	}
}

// A practice code counts as one that was used, and is on record once.
func TestPractised_CountsAsPassedAndIsOnRecordOnce(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.staffed(t, "acme")
	r.join(t, "one", "acme")
	r.age(t, "one", 8*day)
	for range 2 {
		err := r.directory.Practised(t.Context(), by(), "acme", "ada", "c1", []byte("hash"))
		if err != nil {
			t.Fatal(err)
		}
	}
	ready, err := r.directory.Readiness(t.Context(), "acme", 9)
	if err != nil || ready.Used != 1 || !ready.People[1].Used || ready.People[0].Used {
		t.Errorf("%+v, %v", ready, err)
	}
	if n := r.count(t, `SELECT count(*) FROM outbox WHERE type = $1`, string(event.RolloutPractised)); n != 1 {
		t.Errorf("%d records", n)
	}
	err = r.directory.Practised(t.Context(), by(), "acme", "nobody", "c1", []byte("hash"))
	if !errors.Is(err, postgres.ErrNoLogin) {
		t.Errorf("nobody's: %v", err)
	}
}
