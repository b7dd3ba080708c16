package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// It shows SEC-62 of deploy/SECURITY.md.
func TestJudge_PutsOneVerdictOnRecordAfterTheAct(t *testing.T) {
	t.Parallel()
	owner := pgtest.Open(t).Owner(t)
	acted := 0
	act := func(context.Context) error { acted++; return nil }
	failed := errors.New("not now")
	replayed := postgres.Verdict{Kind: postgres.VerdictReplayed, Letter: "1.a"}
	err := owner.Judge(t.Context(), replayed, func(context.Context) error { return failed })
	if !errors.Is(err, failed) {
		t.Errorf("a failed act: %v", err)
	}
	discarded := postgres.Verdict{Kind: postgres.VerdictDiscarded, Letter: "2.b", Reason: "a test"}
	for _, v := range []postgres.Verdict{replayed, discarded} {
		err = owner.Judge(t.Context(), v, act)
		if err != nil {
			t.Error(err)
		}
		err = owner.Judge(t.Context(), postgres.Verdict{Kind: postgres.VerdictDiscarded, Letter: v.Letter, Reason: "other"}, act)
		if !errors.Is(err, postgres.ErrJudged) {
			t.Errorf("a second verdict: %v", err)
		}
	}
	if acted != 2 {
		t.Errorf("acted %d times", acted)
	}
	got, err := owner.Verdicts(t.Context(), []string{"1.a", "2.b", "3.c"})
	want := map[string]postgres.Verdict{"1.a": replayed, "2.b": discarded}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("verdicts %v (-want +got):\n%s", err, diff)
	}
	got, err = owner.Verdicts(t.Context(), nil)
	if err != nil || len(got) != 0 {
		t.Errorf("of no letter: %v, %v", got, err)
	}
}

func TestJudge_OfTwoAtOnceOneActs(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	first, second := db.Owner(t), db.Owner(t)
	var all sync.WaitGroup
	inside, done := make(chan struct{}), make(chan struct{})
	all.Go(func() {
		err := first.Judge(t.Context(), postgres.Verdict{Kind: postgres.VerdictReplayed, Letter: "1.a"}, func(context.Context) error {
			close(inside)
			<-done
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-inside
	err := second.Judge(t.Context(), postgres.Verdict{Kind: postgres.VerdictReplayed, Letter: "1.a"}, func(context.Context) error {
		t.Error("both acted")
		return nil
	})
	close(done)
	all.Wait()
	if !postgres.IsUnavailable(err) { // It waits for the other no longer than a lock is waited for.
		t.Errorf("the second: %v", err)
	}
}

func TestCountry_OnlyTheOwnerStopsOne(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	for name, role := range map[string]*postgres.DB{"auth": db.Auth(t), "verifier": db.Verifier(t)} {
		_, err := role.StopCountry(t.Context(), "NL", "mine")
		if err == nil {
			t.Errorf("%s stopped a country", name)
		}
		_, err = role.AllowCountry(t.Context(), "NL", "mine")
		if err == nil {
			t.Errorf("%s allowed a country", name)
		}
	}
	owner := db.Owner(t)
	for _, want := range []bool{true, false} {
		changed, err := owner.StopCountry(t.Context(), "NL", "pumping")
		if err != nil || changed != want {
			t.Errorf("stop: %t, %v", changed, err)
		}
	}
	got, err := db.Auth(t).StoppedCountries(t.Context())
	if err != nil || len(got) != 1 || got[0].Region != "NL" || got[0].Reason != "pumping" || got[0].At.IsZero() {
		t.Errorf("stopped %+v, %v", got, err)
	}
	for _, want := range []bool{true, false} {
		changed, err := owner.AllowCountry(t.Context(), "NL", "over")
		if err != nil || changed != want {
			t.Errorf("allow: %t, %v", changed, err)
		}
	}
}
