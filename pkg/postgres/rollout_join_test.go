package postgres_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

func TestJoin_TakesWhoIsNamedOnRecordAndPreviewsThem(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.put(t, "two")
	r.workspaces(t, "acme", "globex", "initech")
	pick := postgres.Pick{Workspaces: []string{"globex", "acme", "globex"}}
	preview, err := r.owner.PreviewJoin(t.Context(), "one", pick)
	if err != nil || !slices.Equal(preview.Workspaces, []string{"acme", "globex"}) {
		t.Fatalf("the preview is %v, %v", preview.Workspaces, err)
	}
	if n := r.count(t, `SELECT count(*) FROM rollout_places`); n != 0 {
		t.Fatalf("the preview made %d places", n)
	}
	joined, err := r.owner.Join(t.Context(), robin(), "one", pick)
	if err != nil || !slices.Equal(joined.Workspaces, preview.Workspaces) {
		t.Fatalf("%v joined, %v", joined.Workspaces, err)
	}
	r.join(t, "two", "initech")
	again, err := r.owner.Join(t.Context(), robin(), "one", pick)
	if err != nil || len(again.Workspaces) != 0 {
		t.Errorf("those who are there: %v, %v", again.Workspaces, err)
	}
	f, err := r.facts(t, "acme", "anna")
	if err != nil || f.Home.Place.Wave == nil || !f.Home.Place.JoinedAt.Equal(joined.At) {
		t.Errorf("auth reads %+v, %v", f.Home, err)
	}
	if got := r.records(t); !slices.Equal(got, []string{"wave_made", "wave_made", "workspaces_joined", "joined acme", "joined globex", "workspaces_joined", "joined initech"}) {
		t.Errorf("the record is %q", got)
	}
	sum := sha256.Sum256([]byte("acme\nglobex\n"))
	if joined.Sum() != hex.EncodeToString(sum[:]) ||
		r.count(t, `SELECT count(*) FROM audit WHERE detail->>'sha256' = $1 AND detail->>'workspaces' = '2' AND detail->>'wave' = 'one'`, joined.Sum()) != 1 {
		t.Errorf("the sum %s is not on record", joined.Sum())
	}
}

// All or none: one that cannot join is named, and nobody joins.
func TestJoin_NamesWhoCannotJoin(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.put(t, "two")
	r.workspaces(t, "acme", "globex", "initech")
	r.join(t, "two", "globex")
	for name, c := range map[string]struct {
		pick  postgres.Pick
		want  error
		names []string
	}{
		"unknown":       {postgres.Pick{Workspaces: []string{"acme", "umbrella", "hooli"}}, postgres.ErrNoWorkspace, []string{"hooli", "umbrella"}},
		"in another":    {postgres.Pick{Workspaces: []string{"acme", "globex"}}, postgres.ErrPlaced, []string{"globex"}},
		"not an id":     {postgres.Pick{Workspaces: []string{"acme", "a b"}}, account.ErrID, []string{`"a b"`}},
		"nobody":        {postgres.Pick{}, rollout.ErrPercent, nil},
		"a share above": {postgres.Pick{Percent: 101}, rollout.ErrPercent, nil},
	} {
		_, err := r.owner.Join(t.Context(), robin(), "one", c.pick)
		_, previewed := r.owner.PreviewJoin(t.Context(), "one", c.pick)
		if !errors.Is(err, c.want) || !errors.Is(previewed, c.want) {
			t.Errorf("%s: %v, previewed %v", name, err, previewed)
		}
		var named *postgres.WorkspacesError
		if errors.As(err, &named) != (c.names != nil) || c.names != nil && !slices.Equal(named.Workspaces, c.names) {
			t.Errorf("%s names %v", name, err)
		}
	}
	_, err := r.owner.Join(t.Context(), robin(), "three", postgres.Pick{Workspaces: []string{"acme"}})
	if !errors.Is(err, postgres.ErrNoWave) {
		t.Errorf("an unknown wave: %v", err)
	}
	if n := r.count(t, `SELECT count(*) FROM rollout_places`); n != 1 {
		t.Errorf("%d places", n)
	}
	many := &postgres.WorkspacesError{Reason: postgres.ErrNoWorkspace, Workspaces: strings.Fields("a b c d e f g h i j k l")}
	if many.Error() != "unknown workspace: a, b, c, d, e, f, g, h, i, j and 2 more" {
		t.Error(many)
	}
}

// product.md R4.2: who is in a wave is fixed when its people are told.
func TestJoin_EndsWithTheAnnouncement(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.workspaces(t, "acme", "globex")
	r.join(t, "one", "acme")
	_, err := r.owner.Leave(t.Context(), robin(), "one", []string{"acme", "globex"})
	var named *postgres.WorkspacesError
	if !errors.Is(err, postgres.ErrNotHere) || !errors.As(err, &named) || !slices.Equal(named.Workspaces, []string{"globex"}) {
		t.Errorf("who is not in the wave leaves it: %v", err)
	}
	left, err := r.owner.Leave(t.Context(), robin(), "one", []string{"acme"})
	if err != nil || !slices.Equal(left.Workspaces, []string{"acme"}) {
		t.Errorf("%v left, %v", left, err)
	}
	f, err := r.facts(t, "acme", "anna")
	if err != nil || rollout.Decide(f).Kind != rollout.Required {
		t.Errorf("who left needs no code: %+v, %v", f, err)
	}
	r.join(t, "one", "acme")
	r.age(t, "one", 8*day)
	for name, err := range map[string]error{
		"join":    second(r.owner.Join(t.Context(), robin(), "one", postgres.Pick{Workspaces: []string{"globex"}})),
		"share":   second(r.owner.Join(t.Context(), robin(), "one", postgres.Pick{Percent: 100})),
		"preview": second(r.owner.PreviewJoin(t.Context(), "one", postgres.Pick{Percent: 100})),
		"leave":   second(r.owner.Leave(t.Context(), robin(), "one", []string{"acme"})),
	} {
		if !errors.Is(err, rollout.ErrTold) {
			t.Errorf("%s after the announcement: %v", name, err)
		}
	}
	want := []string{"wave_made", "workspaces_joined", "joined acme", "workspaces_left", "left acme", "workspaces_joined", "joined acme"}
	if got := r.records(t); !slices.Equal(got, want) {
		t.Errorf("the record is %q", got)
	}
}

// second is the error of two.
func second[T any](_ T, err error) error { return err }

// A place that somebody edited lets nobody in, and leaving takes it away.
func TestLeave_TakesAnEditedPlaceAlong(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.workspaces(t, "acme")
	r.join(t, "one", "acme")
	r.db.Exec(t, `UPDATE rollout_places SET joined_at = joined_at + interval '1 day'`)
	_, err := r.owner.Leave(t.Context(), robin(), "one", []string{"acme"})
	if err != nil {
		t.Error(err)
	}
	r.join(t, "one", "acme")
	r.db.Exec(t, `UPDATE rollout_waves SET skips = 50`)
	for name, err := range map[string]error{
		"join":   second(r.owner.Join(t.Context(), robin(), "one", postgres.Pick{Percent: 50})),
		"leave":  second(r.owner.Leave(t.Context(), robin(), "one", []string{"acme"})),
		"put":    second(r.owner.PutWave(t.Context(), robin(), "one", dated(time.Now().Add(day)))),
		"pause":  second(r.owner.PauseWave(t.Context(), robin(), "one")),
		"resume": second(r.owner.ResumeWave(t.Context(), robin(), "one")),
	} {
		var broken *postgres.IntegrityError
		if !errors.As(err, &broken) || broken.Table != postgres.TableWaves {
			t.Errorf("%s of an edited wave: %v", name, err)
		}
	}
}

// More workspaces than one statement is about, and each of them at its own place.
func TestJoin_TakesAShareOfThoseInNoWave(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.put(t, "five")
	r.put(t, "rest")
	const all = 2345
	r.db.Exec(t, `INSERT INTO workspaces (id, name, main_email, mac_key, mac, created_at) SELECT 'ws-' || n, '', 'x@example.com', 0, '', '2020-01-01' FROM generate_series(2, $1) n`, all)
	ids := []string{"w"}
	for i := 2; i <= all; i++ {
		ids = append(ids, fmt.Sprint("ws-", i))
	}
	slices.Sort(ids)
	taken := map[string]bool{}
	for _, step := range []struct {
		wave    string
		percent float64
	}{{"one", 1}, {"five", 5}, {"rest", 100}} {
		var want []string
		for _, id := range ids {
			if !taken[id] && rollout.InPercent(id, step.percent) {
				want, taken[id] = append(want, id), true
			}
		}
		preview, err := r.owner.PreviewJoin(t.Context(), step.wave, postgres.Pick{Percent: step.percent})
		if err != nil || !slices.Equal(preview.Workspaces, want) {
			t.Fatalf("the preview of %v %% is %d workspaces, not %d, %v", step.percent, len(preview.Workspaces), len(want), err)
		}
		joined, err := r.owner.Join(t.Context(), robin(), step.wave, postgres.Pick{Percent: step.percent})
		if err != nil || !slices.Equal(joined.Workspaces, want) || len(want) == 0 {
			t.Fatalf("%v %% is %d workspaces, not %d, %v", step.percent, len(joined.Workspaces), len(want), err)
		}
		if n := r.count(t, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.joined' AND detail->>'wave' = $1`, step.wave); n != len(want) {
			t.Errorf("%d of %d are on record", n, len(want))
		}
	}
	now, err := r.owner.Rollout(t.Context())
	if err != nil || now.Workspaces != all || now.Stages[rollout.Scheduled] != all || now.Broken != 0 {
		t.Errorf("the roll-out is %+v, %v", now, err)
	}
	nobody, err := r.owner.Join(t.Context(), robin(), "one", postgres.Pick{Percent: 100})
	if err != nil || len(nobody.Workspaces) != 0 {
		t.Errorf("when all are in waves: %v, %v", nobody, err)
	}
}

// A workspace is in one wave, however many take it at once.
func TestJoin_OfSeveralAtOnceOneTakesAWorkspace(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.workspaces(t, "acme", "globex", "initech")
	const waves = 6
	for i := range waves {
		r.put(t, fmt.Sprint("wave-", i))
	}
	good := together(t, waves, postgres.ErrPlaced, func(i int) error {
		return patiently(func() error {
			return second(r.owner.Join(t.Context(), robin(), fmt.Sprint("wave-", i), postgres.Pick{Workspaces: []string{"globex", "acme", "initech"}}))
		})
	})
	if good != 1 || r.count(t, `SELECT count(DISTINCT wave) * 10 + count(*) FROM rollout_places`) != 13 ||
		r.count(t, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.joined'`) != 3 {
		t.Errorf("%d took them all", good)
	}
	// Shares that are taken at once divide those who are left.
	r.workspaces(t, "a", "b", "c", "d", "e")
	var took atomic.Int64
	good = together(t, waves, nil, func(i int) error {
		return patiently(func() error {
			m, err := r.owner.Join(t.Context(), robin(), fmt.Sprint("wave-", i), postgres.Pick{Percent: 100})
			took.Add(int64(len(m.Workspaces)))
			return err
		})
	})
	if good != waves || took.Load() != 6 || r.count(t, `SELECT count(*) FROM rollout_places`) != 9 {
		t.Errorf("%d shares took %d", good, took.Load())
	}
}

// A workspace that is removed while it joins or is exempted is forgotten: nothing about it outlives it.
func TestJoin_AndARemovalLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	for i := range 8 {
		id := fmt.Sprint("ws-", i)
		r.workspaces(t, id)
		acts := []func() error{
			func() error { return r.directory.RemoveWorkspace(t.Context(), by(), id) },
			func() error {
				return second(r.owner.Join(t.Context(), robin(), "one", postgres.Pick{Workspaces: []string{id}}))
			},
			func() error { return second(r.owner.Exempt(t.Context(), robin(), id, "anna", exemption(), day)) },
		}
		together(t, len(acts), postgres.ErrNoWorkspace, func(i int) error { return patiently(acts[i]) })
	}
	if n := r.count(t, `SELECT (SELECT count(*) FROM rollout_places) + (SELECT count(*) FROM rollout_exemptions)`); n != 0 {
		t.Errorf("%d rows outlived their workspaces", n)
	}
}

// R2.1: a workspace that was made after the roll-out began has codes from its first sign-in, and no wave takes them away.
// It shows SEC-61 of deploy/SECURITY.md.
func TestJoin_TakesNoWorkspaceThatIsYoungerThanTheRollout(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.workspaces(t, "old")
	r.put(t, "first")
	r.young(t, "young")
	r.put(t, "second")
	var refused *postgres.WorkspacesError
	_, err := r.owner.Join(t.Context(), robin(), "second", postgres.Pick{Workspaces: []string{"old", "young"}})
	if !errors.As(err, &refused) || !errors.Is(err, postgres.ErrNew) || !slices.Equal(refused.Workspaces, []string{"young"}) {
		t.Errorf("got %v", err)
	}
	m, err := r.owner.Join(t.Context(), robin(), "second", postgres.Pick{Percent: 100})
	if err != nil || !slices.Equal(m.Workspaces, []string{"old", "w"}) { // w was there as well
		t.Errorf("%v joined, %v", m.Workspaces, err)
	}
}
