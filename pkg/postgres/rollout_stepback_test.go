package postgres_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// order is one of somebody.
func order(name string) postgres.RolloutOrder {
	return postgres.RolloutOrder{Operator: name, Reason: "mail is late"}
}

// enforced makes an enforced wave with acme in it.
func (r rollingOut) enforced(t *testing.T, wave string) {
	t.Helper()
	r.workspaces(t, "acme")
	r.put(t, wave)
	r.join(t, wave, "acme")
	r.age(t, wave, 30*day)
}

// SEC-60 and R4.14: two people have an enforced wave go back to grace for a time, on record; one person does not, in whatever
// spelling, nor does a request that was used, edited or forgotten.
func TestSEC60_AWaveStepsBackInTheNamesOfTwo(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.enforced(t, "one")
	until := time.Now().Add(7 * day)
	approve := func(name string) error {
		_, _, err := r.owner.ApproveStepBack(t.Context(), order(name), "one")
		return err
	}
	stays := func(why string, err, want error) {
		t.Helper()
		f, failure := r.facts(t, "acme", "anna")
		if !errors.Is(err, want) || failure != nil || rollout.Decide(f).Kind != rollout.Required {
			t.Errorf("%s: %v; auth decides %+v, %v", why, err, rollout.Decide(f), failure)
		}
	}
	stays("nobody asked", approve("sam"), postgres.ErrNotAsked)
	asked, err := r.owner.AskStepBack(t.Context(), order(" kim "), "one", until, 5)
	if err != nil || asked.RequestedBy != "kim" || asked.RequestedAs == "" {
		t.Fatalf("%+v, %v", asked, err)
	}
	stays("asked for", nil, nil)
	stays("one person", approve("kim"), rollout.ErrTwoPeople)
	stays("in another spelling", approve(" KIM "), rollout.ErrTwoPeople)
	stays("nobody", approve(" "), postgres.ErrNoOperator)
	r.db.Exec(t, `UPDATE rollout_step_backs SET requested_by = 'pat'`)
	var broken *postgres.IntegrityError
	err = approve("kim")
	if !errors.As(err, &broken) || broken.Table != postgres.TableStepBacks {
		t.Errorf("an edited request: %v", err)
	}
	r.db.Exec(t, `UPDATE rollout_step_backs SET requested_by = 'kim'`)
	c, s, err := r.owner.ApproveStepBack(t.Context(), order("sam"), "one")
	if err != nil || c.Wave.StageAt(c.At) != rollout.Grace || c.Wave.StageAt(until.Add(time.Second)) != rollout.Enforced || c.Wave.Skips != 5 || s.ApprovedBy != "sam" {
		t.Fatalf("%+v, %+v, %v", c, s, err)
	}
	f, err := r.facts(t, "acme", "anna")
	if err != nil || f.Home.Place.StageAt(f.Now) != rollout.Grace || !f.Home.Place.Wave.EnforceAt.Equal(s.Until) {
		t.Errorf("auth reads %+v, %v", f.Home.Place.Wave, err)
	}
	if err = approve("pat"); !errors.Is(err, postgres.ErrNotAsked) {
		t.Errorf("the request is used twice: %v", err)
	}
	shown, err := r.owner.Rollout(t.Context())
	if err != nil || shown.Waves[0].StepBack == nil || *shown.Waves[0].StepBack != s || shown.Stages[rollout.Grace] != 1 || shown.Stages[rollout.Enforced] != 1 {
		t.Errorf("shown %+v, %v", shown, err)
	}
	if n := r.count(t, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.wave_stepped_back' AND detail->>'operator' = 'sam' AND detail->>'approved_by' = 'sam'
		AND detail->>'requested_by' = 'kim' AND detail->>'requested_as' = session_user AND detail->>'reason' = 'mail is late' AND detail->'before'->>'skips' = '3'`); n != 1 {
		t.Errorf("%d on record", n)
	}
	_, err = r.owner.AskStepBack(t.Context(), order("kim"), "one", until, 0)
	if !errors.Is(err, rollout.ErrNotEnforced) {
		t.Errorf("a wave in grace steps back: %v", err)
	}
	var kinds []string
	r.db.Scan(t, `SELECT array_agg(substr(kind, 12) ORDER BY at) FROM audit WHERE kind LIKE 'rollout.v1.%step%'`, nil, &kinds)
	if !slices.Equal(kinds, []string{"step_back_requested", "wave_stepped_back"}) {
		t.Errorf("on record %q", kinds)
	}
}

func TestStepBack_RefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.enforced(t, "one")
	until := time.Now().Add(7 * day)
	for name, one := range map[string]struct {
		order postgres.RolloutOrder
		wave  string
		until time.Time
		want  error
	}{
		"an unknown wave":  {order("kim"), "none", until, postgres.ErrNoWave},
		"without a reason": {postgres.RolloutOrder{Operator: "kim"}, "one", until, rollout.ErrNoReason},
		"for long":         {order("kim"), "one", until.Add(30 * day), rollout.ErrUntil},
		"in the past":      {order("kim"), "one", until.Add(-8 * day), rollout.ErrUntil},
		"by nobody":        {order(""), "one", until, postgres.ErrNoOperator},
	} {
		_, err := r.owner.AskStepBack(t.Context(), one.order, one.wave, one.until, 0)
		if !errors.Is(err, one.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := r.count(t, `SELECT count(*) FROM rollout_step_backs`); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// Of several who approve at once one does.
func TestStepBack_IsApprovedOnce(t *testing.T) {
	t.Parallel()
	r := rollOut(t)
	r.enforced(t, "one")
	_, err := r.owner.AskStepBack(t.Context(), order("kim"), "one", time.Now().Add(day), 0)
	if err != nil {
		t.Fatal(err)
	}
	good := together(t, 6, postgres.ErrNotAsked, func(int) error {
		return patiently(func() error {
			_, _, err := r.owner.ApproveStepBack(t.Context(), order("sam"), "one")
			return err
		})
	})
	if good != 1 || r.count(t, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.wave_stepped_back'`) != 1 {
		t.Errorf("%d approved it", good)
	}
}
