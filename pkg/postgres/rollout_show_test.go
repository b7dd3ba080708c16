package postgres_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// product.md R4.11: two people, a reason and an end, and what was said stays on record.
func TestExempt_LetsInForATimeOnRecord(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.workspaces(t, "acme")
	given, err := r.owner.Exempt(t.Context(), robin(), "acme", "anna", rollout.Exemption{Reason: rollout.Unreachable, RequestedBy: " kim ", ApprovedBy: "sam"}, 72*time.Hour)
	if err != nil || given.Until.Sub(given.Since) != 72*time.Hour || given.RequestedBy != "kim" {
		t.Fatalf("given %+v, %v", given, err)
	}
	f, err := r.facts(t, "acme", "anna")
	if err != nil || f.Exemption == nil || *f.Exemption != given || rollout.Decide(f).Why != rollout.WhyExemptedLogin {
		t.Errorf("auth reads %+v, %v", f, err)
	}
	longer, err := r.owner.Exempt(t.Context(), robin(), "acme", "", exemption(), 90*day)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.owner.Exempt(t.Context(), robin(), "acme", "", exemption(), day)
	if err != nil || !again.Until.Before(longer.Until) {
		t.Errorf("given again %+v, %v", again, err)
	}
	s, err := r.owner.StageOf(t.Context(), "acme")
	if err != nil || s.Stage != rollout.Exempt || *s.Place.Exemption != again || len(s.Logins) != 1 || s.Logins[0].Login != "anna" || s.Logins[0].Exemption != given {
		t.Errorf("it stands at %+v, %v", s, err)
	}
	for _, login := range []string{"", "anna"} {
		err = r.owner.EndExemption(t.Context(), robin(), "acme", login)
		if err != nil {
			t.Error(err)
		}
		err = r.owner.EndExemption(t.Context(), robin(), "acme", login)
		if !errors.Is(err, postgres.ErrNotExempt) {
			t.Errorf("ended twice: %v", err)
		}
	}
	f, err = r.facts(t, "acme", "anna")
	if err != nil || rollout.Decide(f).Kind != rollout.Required {
		t.Errorf("ended, auth reads %+v, %v", f, err)
	}
	want := []string{"exempted acme anna", "exempted acme", "exempted acme", "exemption_ended acme", "exemption_ended acme anna"}
	if got := r.records(t); !slices.Equal(got, want) {
		t.Errorf("the record is %q", got)
	}
	if n := r.count(t, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.exempted' AND detail->>'requested_by' = 'kim' AND detail->>'approved_by' = 'robin'
	                       AND (detail->'before'->>'until')::timestamptz = $1 AND detail->>'exempt_for' = 'contract' AND detail ? 'until'`, longer.Until); n != 1 {
		t.Errorf("%d records say what it was before", n)
	}
}

func TestExempt_RefusesWhatIsNoExemption(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.workspaces(t, "acme")
	alone, unnamed := exemption(), exemption()
	alone.ApprovedBy, unnamed.Reason = "Kim ", "holidays"
	for name, c := range map[string]struct {
		workspace, login string
		exemption        rollout.Exemption
		lasts            time.Duration
		want             error
	}{
		"one person":            {"acme", "", alone, day, rollout.ErrExemption},
		"another reason":        {"acme", "", unnamed, day, rollout.ErrExemption},
		"for ever":              {"acme", "", exemption(), 0, rollout.ErrExemption},
		"91 days":               {"acme", "", exemption(), 91 * day, rollout.ErrExemption},
		"a login for four days": {"acme", "anna", exemption(), 4 * day, rollout.ErrExemption},
		"an unknown login":      {"acme", "bert", exemption(), day, postgres.ErrNoLogin},
		"an unknown workspace":  {"hooli", "", exemption(), day, postgres.ErrNoWorkspace},
		"a login of another":    {"hooli", "anna", exemption(), day, postgres.ErrNoWorkspace},
	} {
		_, err := r.owner.Exempt(t.Context(), robin(), c.workspace, c.login, c.exemption, c.lasts)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := r.count(t, `SELECT (SELECT count(*) FROM rollout_exemptions) + (SELECT count(*) FROM audit WHERE kind LIKE 'rollout.%')`); n != 0 {
		t.Errorf("what was refused left %d rows", n)
	}
}

func TestExempt_MendsAndEndsOneThatWasEdited(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.workspaces(t, "acme")
	edit := func() {
		r.db.Exec(t, `INSERT INTO rollout_exemptions (workspace, login, reason, requested_by, approved_by, since, until, mac_key, mac)
			VALUES ('acme', '', 'contract', 'a', 'b', now(), now() + interval '1 day', 1, 'x'),
			       ('acme', 'anna', 'contract', 'a', 'b', now(), now() + interval '1 day', 1, 'x')
			ON CONFLICT (workspace, login) DO UPDATE SET mac = 'x'`)
	}
	edit()
	s, err := r.owner.StageOf(t.Context(), "acme")
	if err != nil || s.Stage != rollout.Enforced || s.Broken != postgres.TableExemptions || len(s.Logins) != 1 || !s.Logins[0].Broken {
		t.Errorf("it stands at %+v, %v", s, err)
	}
	for _, login := range []string{"", "anna"} {
		_, err = r.owner.Exempt(t.Context(), robin(), "acme", login, exemption(), day)
		if err != nil {
			t.Error(err)
		}
	}
	s, err = r.owner.StageOf(t.Context(), "acme")
	if err != nil || s.Stage != rollout.Exempt || s.Broken != "" || s.Logins[0].Broken {
		t.Errorf("mended, it stands at %+v, %v", s, err)
	}
	edit()
	err = r.owner.EndExemption(t.Context(), robin(), "acme", "")
	if err != nil {
		t.Error(err)
	}
	if n := r.count(t, `SELECT count(*) FROM audit WHERE detail->'before'->>'requested_by' = 'a'`); n != 0 {
		t.Error("what nobody of us wrote is on record as if it had been given")
	}
}

// rolloutMachine does what operators, auth and thieves may do to a roll-out.
type rolloutMachine struct {
	rollingOut
	t *testing.T
}

var (
	machineWaves  = []string{"one", "two", "three"}             //nolint:gochecknoglobals // a constant in all but type
	machinePlaces = []string{"acme", "globex", "hooli", "prim"} //nolint:gochecknoglobals // a constant in all but type
)

// begin makes the same start for every run: all workspaces, in waves that are still to come.
func (m rolloutMachine) begin() {
	for _, table := range []string{postgres.TableExemptions, postgres.TablePlaces, postgres.TableWaves} {
		m.db.Exec(m.t, "DELETE FROM "+table)
	}
	m.workspaces(m.t, machinePlaces...)
	for i, wave := range machineWaves {
		m.put(m.t, wave)
		m.join(m.t, wave, machinePlaces[i])
	}
}

// step does one thing. What is refused is refused: the counts must be right all the same.
func (m rolloutMachine) step(t *rapid.T) {
	ctx, o := m.t.Context(), robin()
	wave, workspace := rapid.SampledFrom(machineWaves).Draw(t, "wave"), rapid.SampledFrom(machinePlaces).Draw(t, "workspace")
	days := time.Duration(rapid.IntRange(1, 12).Draw(t, "days")) * day
	switch rapid.SampledFrom([]string{"put", "age", "pause", "hold", "resume", "join", "share", "leave", "exempt", "end", "edit", "remove", "make"}).Draw(t, "act") {
	case "put":
		_, _ = m.owner.PutWave(ctx, o, wave, dated(time.Now().Add(days)))
	case "age":
		_ = m.owner.AgeWave(ctx, wave, days)
	case "pause":
		_, _ = m.owner.PauseWave(ctx, o, wave)
	case "hold":
		m.db.Exec(m.t, `SELECT hold_waves(ARRAY[$1], '{bounce}', 'a gate failed', '{}')`, wave)
	case "resume":
		_, _ = m.owner.ResumeWave(ctx, o, wave)
	case "join":
		_, _ = m.owner.Join(ctx, o, wave, postgres.Pick{Workspaces: []string{workspace}})
	case "share":
		_, _ = m.owner.Join(ctx, o, wave, postgres.Pick{Percent: 50})
	case "leave":
		_, _ = m.owner.Leave(ctx, o, wave, []string{workspace})
	case "exempt":
		_, _ = m.owner.Exempt(ctx, o, workspace, rapid.SampledFrom([]string{"", "anna"}).Draw(t, "login"), exemption(), days)
	case "end":
		_ = m.owner.EndExemption(ctx, o, workspace, "")
	case "edit":
		m.db.Exec(m.t, rapid.SampledFrom([]string{
			`UPDATE rollout_places SET joined_at = joined_at + interval '1 second' WHERE workspace = $1`,
			`UPDATE rollout_exemptions SET until = until + interval '1 second' WHERE workspace = $1`,
		}).Draw(t, "edit"), workspace)
	case "remove":
		_ = m.directory.RemoveWorkspace(ctx, by(), workspace)
	case "make":
		m.workspaces(m.t, workspace)
	}
}

// product.md S4: the sum over all stages equals the number of workspaces, whatever happened.
func TestRollout_TheStagesAddUpToAllWorkspaces(t *testing.T) {
	t.Parallel()
	m := rolloutMachine{rollingOut: rollOut(t), t: t}
	m.workspaces(t, machinePlaces...)
	rapid.Check(t, func(rt *rapid.T) {
		m.begin()
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			m.step(rt)
		}
		got, err := m.owner.Rollout(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		sum, inWaves := 0, 0
		for stage, n := range got.Stages {
			sum += n
			if !slices.Contains(rollout.Stages(), stage) {
				rt.Fatalf("there is no stage %q", stage)
			}
		}
		for _, w := range got.Waves {
			inWaves += w.Workspaces
		}
		if all := m.count(t, `SELECT count(*) FROM workspaces`); sum != all || got.Workspaces != all {
			rt.Fatalf("%v of %d workspaces, of which there are %d", got.Stages, got.Workspaces, all)
		}
		if placed := m.count(t, `SELECT count(*) FROM rollout_places`); inWaves != placed {
			rt.Fatalf("%d of %d places are counted", inWaves, placed)
		}
		m.each(rt, got)
	})
}

// each compares the counts with every workspace as the command and as auth see it.
func (m rolloutMachine) each(t *rapid.T, got postgres.Rollout) {
	stages, broken := map[rollout.Stage]int{}, 0
	for _, id := range append([]string{"w"}, machinePlaces...) {
		s, err := m.owner.StageOf(m.t.Context(), id)
		if errors.Is(err, postgres.ErrNoWorkspace) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		stages[s.Stage]++
		if s.Broken != "" {
			broken++
		}
		f, err := m.directory.RolloutFacts(m.t.Context(), id, "anna", nil)
		var edited *postgres.IntegrityError
		switch {
		case errors.As(err, &edited):
			continue // Its own exemption may be the edited one.
		case err != nil:
			t.Fatal(err)
		case f.Home.Place.StageAt(f.Now) != s.Stage || s.Broken != "":
			t.Fatalf("%s stands in %s, and auth has it in %s", id, s.Stage, f.Home.Place.StageAt(f.Now))
		}
	}
	if fmt.Sprint(stages) != fmt.Sprint(got.Stages) || broken != got.Broken {
		t.Fatalf("one by one %v and %d edited, together %v and %d", stages, broken, got.Stages, got.Broken)
	}
}

func TestRollout_CountsEachStage(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.workspaces(t, "a", "b", "c", "d", "e", "f")
	r.put(t, "later")
	r.put(t, "edited")
	r.join(t, "later", "a", "b", "c")
	r.join(t, "edited", "f")
	for i, wave := range []string{"told", "asked", "done"} {
		r.put(t, wave)
		r.join(t, wave, []string{"d", "e", "w"}[i])
		r.age(t, wave, time.Duration(8+7*i)*day)
	}
	for _, id := range []string{"b", "c"} {
		_, err := r.owner.Exempt(t.Context(), robin(), id, "", exemption(), day)
		if err != nil {
			t.Fatal(err)
		}
	}
	r.db.Exec(t, `UPDATE rollout_waves SET skips = 100 WHERE id = 'edited'`)
	r.db.Exec(t, `UPDATE rollout_exemptions SET until = until + interval '1 day' WHERE workspace = 'b'`)
	got, err := r.owner.Rollout(t.Context())
	want := map[rollout.Stage]int{rollout.Scheduled: 1, rollout.Announced: 1, rollout.Grace: 1, rollout.Enforced: 3, rollout.Exempt: 1}
	if err != nil || !maps.Equal(got.Stages, want) || got.Workspaces != 7 || got.Broken != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	var waves []string
	for _, w := range got.Waves {
		waves = append(waves, fmt.Sprint(w.Wave.ID, " ", w.Workspaces, " ", w.Broken))
	}
	if !slices.Equal(waves, []string{"done 1 false", "asked 1 false", "told 1 false", "later 3 false", "edited 1 true"}) {
		t.Errorf("the waves are %q", waves)
	}
}

func TestStageOf_NamesAnUnknownWorkspace(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	_, err := r.owner.StageOf(t.Context(), "hooli")
	if !errors.Is(err, postgres.ErrNoWorkspace) {
		t.Error(err)
	}
	_, err = r.directory.PutLogin(t.Context(), by(), account.Login{Workspace: "w", ID: "bert", Email: "bert@example.com", Role: account.Member})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.owner.StageOf(t.Context(), "w")
	if err != nil || s.Stage != rollout.Enforced || s.Place.Wave != nil || len(s.Logins) != 0 {
		t.Errorf("in no wave it stands at %+v, %v", s, err)
	}
}
