package postgres_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

const day = 24 * time.Hour

// rollingOut is a directory of auth and one of the operator over the same database.
type rollingOut struct {
	keeping
	owner *postgres.Directory
}

func rollOut(t *testing.T) rollingOut {
	t.Helper()
	k := keep(t)
	return rollingOut{keeping: k, owner: postgres.NewDirectory(k.db.Owner(t), k.rows)}
}

// robin is who orders things in these tests.
func robin() postgres.RolloutOrder {
	return postgres.RolloutOrder{Operator: "robin", Reason: "as planned"}
}

// dated wishes for a wave that is announced after a week, and then goes a stage each week.
func dated(first time.Time) func(rollout.Wave) (rollout.Wave, error) {
	return func(w rollout.Wave) (rollout.Wave, error) {
		w.AnnounceAt, w.GraceAt, w.EnforceAt, w.Skips = first, first.Add(7*day), first.Add(14*day), 3
		return w, nil
	}
}

// put makes a wave that is announced in a week, and returns it.
func (r rollingOut) put(t *testing.T, id string) rollout.Wave {
	t.Helper()
	c, err := r.owner.PutWave(t.Context(), robin(), id, dated(time.Now().Add(7*day)))
	if err != nil || !c.Made {
		t.Fatalf("%+v, %v", c, err)
	}
	return c.Wave
}

// workspaces makes workspaces with an owner each, as if they had been there before any wave.
func (r rollingOut) workspaces(t *testing.T, ids ...string) {
	t.Helper()
	r.young(t, ids...)
	r.db.Exec(t, `UPDATE workspaces SET created_at = '2020-01-01' WHERE id = ANY($1)`, ids)
}

// young makes workspaces with an owner each.
func (r rollingOut) young(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, err := r.directory.PutWorkspace(t.Context(), by(), account.Workspace{ID: id, Name: id, MainEmail: "office@" + id + ".example", Owner: "anna"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.directory.PutLogin(t.Context(), by(), account.Login{Workspace: id, ID: "anna", Role: account.Owner})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// join has workspaces join a wave.
func (r rollingOut) join(t *testing.T, wave string, ids ...string) {
	t.Helper()
	m, err := r.owner.Join(t.Context(), robin(), wave, postgres.Pick{Workspaces: ids})
	if err != nil || len(m.Workspaces) != len(ids) {
		t.Fatalf("%v joined, %v", m.Workspaces, err)
	}
}

// age makes a wave older.
func (r rollingOut) age(t *testing.T, wave string, by time.Duration) {
	t.Helper()
	err := r.owner.AgeWave(t.Context(), wave, by)
	if err != nil {
		t.Fatal(err)
	}
}

// facts are what auth reads of a login.
func (r rollingOut) facts(t *testing.T, workspace, login string) (rollout.Facts, error) {
	t.Helper()
	return r.directory.RolloutFacts(t.Context(), workspace, login, nil)
}

// records lists the audit of the roll-out: kind, workspace, login.
func (r rollingOut) records(t *testing.T) []string {
	t.Helper()
	var all []string
	r.db.Scan(t, `SELECT coalesce(array_agg(concat_ws(' ', substr(kind, 12), workspace, login) ORDER BY at, kind DESC, workspace), '{}')
	                FROM audit WHERE kind LIKE 'rollout.v1.%' AND actor = 'doorcodectl' AND detail->>'operator' = 'robin'`, nil, &all)
	return all
}

func TestWaves_AreMadeMovedPausedAndResumedOnRecord(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	w := r.put(t, "one")
	r.workspaces(t, "acme")
	r.join(t, "one", "acme")
	f, err := r.facts(t, "acme", "anna")
	if err != nil || f.Home.Place.Wave == nil || *f.Home.Place.Wave != w || f.Home.Place.StageAt(f.Now) != rollout.Scheduled {
		t.Fatalf("auth reads %+v, %v", f, err)
	}
	moved, err := r.owner.PutWave(t.Context(), robin(), "one", dated(w.AnnounceAt.Add(day)))
	if err != nil || moved.Made || !moved.Wave.EnforceAt.Equal(w.EnforceAt.Add(day)) {
		t.Fatalf("moved %+v, %v", moved, err)
	}
	same, err := r.owner.PutWave(t.Context(), robin(), "one", dated(moved.Wave.AnnounceAt)) // leaves no record
	if err != nil || same.Wave != moved.Wave {
		t.Errorf("the same again: %+v, %v", same, err)
	}
	r.age(t, "one", 9*day)
	paused, err := r.owner.PauseWave(t.Context(), postgres.RolloutOrder{Operator: "robin", Reason: "mail bounces"}, "one")
	if err != nil || paused.Wave.PausedAt != paused.At || paused.Wave.Reason != "mail bounces" || paused.Wave.StageAt(paused.At) != rollout.Announced {
		t.Errorf("paused %+v, %v", paused, err)
	}
	f, err = r.facts(t, "acme", "anna")
	if err != nil || *f.Home.Place.Wave != paused.Wave {
		t.Errorf("auth reads %+v, %v", f, err)
	}
	_, err = r.owner.PutWave(t.Context(), robin(), "one", dated(w.AnnounceAt.Add(100*day)))
	if !errors.Is(err, rollout.ErrPaused) {
		t.Errorf("moved in a pause: %v", err)
	}
	resumed, err := r.owner.ResumeWave(t.Context(), robin(), "one")
	if err != nil || !resumed.Wave.EnforceAt.After(paused.Wave.EnforceAt) || !resumed.Wave.PausedAt.IsZero() || resumed.Wave.Reason != "" {
		t.Errorf("resumed %+v, %v", resumed, err)
	}
	want := []string{"wave_made", "workspaces_joined", "joined acme", "wave_moved", "wave_paused", "wave_resumed"}
	if got := r.records(t); !slices.Equal(got, want) {
		t.Errorf("the record is %q, not %q", got, want)
	}
	var detail string
	r.db.Scan(t, `SELECT concat_ws(' ', (detail->>'enforce_at')::timestamptz - (detail->'before'->>'enforce_at')::timestamptz, detail->>'reason')
	                FROM audit WHERE kind = 'rollout.v1.wave_moved'`, nil, &detail)
	if detail != "1 day as planned" {
		t.Errorf("the record of the move says %q", detail)
	}
}

func TestWaves_RefuseWhatTheRulesForbid(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	for name, wish := range map[string]struct {
		wish func(rollout.Wave) (rollout.Wave, error)
		want error
	}{
		"in the past":   {dated(time.Now().Add(-day)), rollout.ErrPast},
		"without dates": {func(w rollout.Wave) (rollout.Wave, error) { return w, nil }, rollout.ErrWave},
		"unwished":      {func(w rollout.Wave) (rollout.Wave, error) { return w, account.ErrID }, account.ErrID},
	} {
		_, err := r.owner.PutWave(t.Context(), robin(), "one", wish.wish)
		if !errors.Is(err, wish.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := r.owner.PauseWave(t.Context(), robin(), "one")
	if !errors.Is(err, postgres.ErrNoWave) {
		t.Errorf("an unknown one is paused: %v", err)
	}
	_, err = r.owner.PutWave(t.Context(), postgres.RolloutOrder{Operator: " "}, "one", dated(time.Now().Add(day)))
	if !errors.Is(err, postgres.ErrNoOperator) {
		t.Errorf("ordered by nobody: %v", err)
	}
	w := r.put(t, "one")
	_, err = r.owner.ResumeWave(t.Context(), robin(), "one")
	if !errors.Is(err, rollout.ErrRunning) {
		t.Errorf("resumed without a pause: %v", err)
	}
	r.age(t, "one", 8*day)
	_, err = r.owner.PutWave(t.Context(), robin(), "one", func(w rollout.Wave) (rollout.Wave, error) {
		w.EnforceAt = w.EnforceAt.Add(-time.Hour)
		return w, nil
	})
	if !errors.Is(err, rollout.ErrTold) {
		t.Errorf("it comes earlier though its people were told: %v", err)
	}
	r.age(t, "one", 14*day)
	_, err = r.owner.PauseWave(t.Context(), robin(), "one")
	if !errors.Is(err, rollout.ErrEnforced) {
		t.Errorf("an enforced one of %v is paused: %v", w, err)
	}
	if got := r.records(t); !slices.Equal(got, []string{"wave_made"}) {
		t.Errorf("the record is %q", got)
	}
}

// Of two operators who make the same wave one makes it, and the other moves what the first has made.
func TestWaves_AreMadeOnce(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	at := time.Now().Add(7 * day)
	made := 0
	results := make(chan postgres.WaveChange, 8)
	good := together(t, cap(results), nil, func(i int) error {
		return patiently(func() error {
			c, err := r.owner.PutWave(t.Context(), robin(), "one", dated(at.Add(time.Duration(i)*day)))
			if err == nil {
				results <- c
			}
			return err
		})
	})
	for range good {
		if (<-results).Made {
			made++
		}
	}
	if good != cap(results) || made != 1 || r.count(t, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.wave_made'`) != 1 {
		t.Errorf("%d of %d made it", made, good)
	}
	last, err := r.owner.Rollout(t.Context())
	if err != nil || len(last.Waves) != 1 || last.Waves[0].Broken {
		t.Errorf("the waves are %+v, %v", last.Waves, err)
	}
}

// Of several who turn a wave at once each sees what the one before has made of it.
func TestWaves_ArePausedOnce(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	for range 4 {
		good := together(t, 6, rollout.ErrPaused, func(int) error {
			return patiently(func() error { return second(r.owner.PauseWave(t.Context(), robin(), "one")) })
		})
		resumed := together(t, 6, rollout.ErrRunning, func(int) error {
			return patiently(func() error { return second(r.owner.ResumeWave(t.Context(), robin(), "one")) })
		})
		if good != 1 || resumed != 1 {
			t.Errorf("%d paused it, and %d had it go on", good, resumed)
		}
	}
	if n := r.count(t, `SELECT count(*) FROM audit WHERE kind IN ('rollout.v1.wave_paused', 'rollout.v1.wave_resumed')`); n != 8 {
		t.Errorf("%d are on record", n)
	}
}

// patiently tries again while another holds the rows: an operator would.
func patiently(fn func() error) error {
	for range 200 {
		err := fn()
		if !postgres.IsUnavailable(err) {
			return err
		}
	}
	return fn()
}

// It shows that every column of the three tables is under the MAC: a row that somebody edited lets nobody in.
// It shows SEC-61 of deploy/SECURITY.md.
func TestRolloutFacts_ARowThatWasEditedIsAnIntegrityError(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.put(t, "two")
	r.workspaces(t, "acme", "globex")
	_, err := r.directory.PutLogin(t.Context(), by(), account.Login{Workspace: "acme", ID: "bert", Email: "bert@acme.example", Role: account.Member})
	if err != nil {
		t.Fatal(err)
	}
	r.join(t, "one", "acme")
	for _, login := range []string{"", "anna"} {
		_, err := r.owner.Exempt(t.Context(), robin(), "acme", login, exemption(), day)
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = r.owner.PauseWave(t.Context(), robin(), "one")
	if err != nil {
		t.Fatal(err)
	}
	tables := []string{postgres.TableWaves, postgres.TablePlaces, postgres.TableExemptions}
	for _, table := range tables {
		r.db.Exec(t, "CREATE TABLE kept_"+table+" AS SELECT * FROM "+table)
	}
	for table, sets := range edits() {
		for _, set := range sets {
			r.db.Exec(t, "UPDATE "+table+" SET "+set)
			if got := r.broken(t); got != table {
				t.Errorf("%s with %s: %q is broken", table, set, got)
			}
			for _, table := range []string{postgres.TableExemptions, postgres.TablePlaces, postgres.TableWaves} {
				r.db.Exec(t, "DELETE FROM "+table)
			}
			for _, table := range tables {
				r.db.Exec(t, "INSERT INTO "+table+" SELECT * FROM kept_"+table)
			}
			f, err := r.facts(t, "acme", "anna")
			if err != nil || f.Home.Place.Exemption == nil || f.Exemption == nil || f.Home.Place.Wave == nil {
				t.Fatalf("as it was: %+v, %v", f, err)
			}
		}
	}
}

// edits are what somebody may do to the rows of acme by hand.
func edits() map[string][]string {
	all := map[string][]string{
		postgres.TableWaves: {
			"announce_at = announce_at - interval '1 day' WHERE id = 'one'", "grace_at = grace_at + interval '1 day' WHERE id = 'one'",
			"enforce_at = enforce_at + interval '1 day' WHERE id = 'one'", "skips = 100 WHERE id = 'one'", "paused_at = NULL WHERE id = 'one'",
			"paused_at = paused_at - interval '1 day' WHERE id = 'one'", "reason = 'another' WHERE id = 'one'",
			"mac_key = mac_key + 1 WHERE id = 'one'",
			"announce_at = o.announce_at, grace_at = o.grace_at, enforce_at = o.enforce_at, skips = o.skips, paused_at = o.paused_at, " +
				"reason = o.reason, mac_key = o.mac_key, mac = o.mac FROM rollout_waves o WHERE o.id = 'two' AND rollout_waves.id = 'one'",
		},
		postgres.TablePlaces: {"wave = 'two'", "joined_at = joined_at + interval '1 day'", "workspace = 'globex'", "mac = ''"},
	}
	for _, set := range []string{
		"workspace = 'globex'", "login = 'bert'", "reason = 'automation'", "requested_by = 'x'", "approved_by = 'x'",
		"since = since - interval '1 hour'", "until = until + interval '1 hour'", "mac = ''",
	} {
		for _, login := range []string{"", "anna"} {
			all[postgres.TableExemptions] = append(all[postgres.TableExemptions], set+" WHERE login = '"+login+"'")
		}
	}
	return all
}

// broken names the table that a sign-in to one of the logins finds broken.
func (r rollingOut) broken(t *testing.T) string {
	t.Helper()
	for _, who := range [][2]string{{"acme", "anna"}, {"acme", "bert"}, {"globex", "anna"}} {
		_, err := r.facts(t, who[0], who[1])
		var broken *postgres.IntegrityError
		if errors.As(err, &broken) {
			return broken.Table
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return ""
}

// exemption is one that two people stand for.
func exemption() rollout.Exemption {
	return rollout.Exemption{Reason: rollout.Contract, RequestedBy: "kim", ApprovedBy: "robin"}
}
