package postgres_test

import (
	"testing"
	"time"

	"doorcode/pkg/health"
	"doorcode/pkg/rollout"
)

func TestSeeRollout_CountsAsTheOneThatChecksDoes(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.put(t, "one")
	r.put(t, "two")
	r.workspaces(t, "acme", "globex", "hooli", "prim", "zeta")
	r.join(t, "one", "acme", "globex")
	r.join(t, "two", "hooli")
	r.age(t, "two", 14*day)
	_, err := r.owner.Exempt(t.Context(), robin(), "prim", "", exemption(), 10*day)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.owner.Exempt(t.Context(), robin(), "zeta", "anna", rollout.Exemption{Reason: rollout.Unreachable, RequestedBy: "kim", ApprovedBy: "sam"}, day)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.owner.Exempt(t.Context(), robin(), "acme", "", exemption(), 30*day)
	if err != nil {
		t.Fatal(err)
	}
	for i, outcome := range []string{"approved", "approved", "expired", "waived", "approved"} {
		r.db.Exec(t, `INSERT INTO sign_ins (workspace, login, ended_at, challenge_id, started_at, channel, outcome)
			VALUES ('hooli', 'anna', now() - $1::interval, $2, now(), 'email', $3)`, time.Duration(i)*7*time.Hour, outcome+string(rune('a'+i)), outcome)
	}
	want, err := r.owner.Rollout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.db.Owner(t).SeeRollout(t.Context(), 14*day)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, stage := range rollout.Stages() {
		sum += got.Stages[stage]
		if got.Stages[stage] != want.Stages[stage] {
			t.Errorf("%s: %d, not %d", stage, got.Stages[stage], want.Stages[stage])
		}
	}
	if sum != got.Workspaces || sum != want.Workspaces {
		t.Errorf("the stages add up to %d of %d", sum, got.Workspaces)
	}
	if len(got.Waves) != 2 || got.Waves[0].Wave.ID != "two" || got.Waves[0].Workspaces != 1 || got.Waves[1].Workspaces != 2 ||
		got.Waves[0].Verified != (health.Share{Part: 2, Of: 3}) || got.Waves[1].Verified != (health.Share{}) {
		t.Errorf("%+v", got.Waves)
	}
	if len(got.Ending) != 2 || got.Ending[0].Workspace != "zeta" || got.Ending[0].Login != "anna" || got.Ending[1].Workspace != "prim" ||
		got.Ending[1].Exemption.ApprovedBy == "" {
		t.Errorf("%+v", got.Ending)
	}
	_, err = r.owner.PauseWave(t.Context(), robin(), "one")
	if err != nil {
		t.Fatal(err)
	}
	got, err = r.db.Owner(t).SeeRollout(t.Context(), 14*day)
	if err != nil || got.Waves[1].Wave.PausedAt.IsZero() || got.Waves[1].Wave.Reason != "as planned" {
		t.Errorf("%+v, %v", got.Waves, err)
	}
}
