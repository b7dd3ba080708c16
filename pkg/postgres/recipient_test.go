package postgres_test

import (
	"slices"
	"testing"
	"time"

	"doorcode/pkg/event"
)

// labelled is a challenge with that label for a login of a workspace, whose first route leads to an address and whose
// second, if there is one, to another.
func labelled(label, workspace, login string, addresses ...string) func(*event.Issued) {
	return func(e *event.Issued) {
		e.Label, e.Workspace, e.Login = label, workspace, login
		first := e.Routes[0]
		e.Routes = nil
		for _, address := range addresses {
			first.Address = digest(address)
			e.Routes = append(e.Routes, first)
		}
	}
}

// taken returns the labels that a create for a recipient must avoid.
func (s *stage) taken(recipient, entry string) []string {
	s.t.Helper()
	got, err := s.db.TakeCreate(s.t.Context(), wanting("anna", recipient, entry, 50, 50))
	if err != nil || got.Refused != "" {
		s.t.Fatalf("%+v, %v", got, err)
	}
	return slices.Sorted(slices.Values(got.Labels))
}

// R10.3: labels never repeat among the live challenges of one destination, whoever's they are.
func TestTakeCreate_TellsTheLabelsThatAreLiveAtTheRecipient(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.login("ben")
	s.challenge(labelled("BCD", "acme", "anna", "office"))
	s.challenge(labelled("FGH", "acme", "ben", "office", "ben"))
	s.challenge(labelled("JKL", "other", "carl", "office"))
	s.challenge(labelled("MNP", "acme", "anna", "ben", "office")) // Its messages go elsewhere, unless it is asked otherwise.
	ended := s.challenge(labelled("RST", "acme", "ben", "office"))
	_, _, err := s.db.Cancel(t.Context(), ended)
	if err != nil {
		t.Fatal(err)
	}
	expired := s.challenge(labelled("VWX", "acme", "ben", "office"))
	s.pg.Exec(t, `UPDATE challenges SET expires_at = now() WHERE id = $1`, expired)
	for recipient, want := range map[string][]string{"office": {"BCD", "FGH", "JKL"}, "ben": {"MNP"}, "nobody": nil} {
		if got := s.taken(recipient, recipient); !slices.Equal(got, want) {
			t.Errorf("%s: %v, not %v", recipient, got, want)
		}
	}
	// Those that share a transaction are told each their own.
	got := s.db.TakeTogether(t.Context(), wanting("anna", "ben", "1", 50, 50), wanting("ben", "office", "2", 50, 50), wanting("ben", "ben", "3", 50, 50))
	for i, want := range []int{1, 3, 1} {
		if got[i].Err != nil || len(got[i].Value.Labels) != want {
			t.Errorf("take %d: %+v", i, got[i])
		}
	}
}

func TestLive_CountsTheSignInsThatWaitAtTheRecipient(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.login("ben")
	one := s.challenge(labelled("BCD", "acme", "anna", "office"))
	two := s.challenge(labelled("FGH", "acme", "ben", "office", "ben"))
	three := s.challenge(labelled("JKL", "acme", "ben", "ben"))
	s.challenge(labelled("MNP", "acme", "ben", "office"), func(e *event.Issued) { e.Purpose = "another" })
	waiting := func(id string, want int) {
		t.Helper()
		l, err := s.db.Live(t.Context(), id)
		if err != nil || l.Waiting != want {
			t.Errorf("%d wait (%v), not %d", l.Waiting, err, want)
		}
	}
	waiting(one, 2)
	waiting(two, 2)
	waiting(three, 1)
	// A right code or a cancel takes a place, and so does the clock, before the sweep came.
	_, _, err := s.db.Cancel(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	waiting(one, 1)
	waiting(two, 0)
	s.pg.Exec(t, `UPDATE challenges SET expires_at = $2 WHERE id = $1`, one, s.now().Add(-time.Second))
	waiting(one, 0)
	// A row of before the migration has no address and waits alone.
	s.pg.Exec(t, `UPDATE challenges SET address = NULL WHERE id = $1`, three)
	waiting(three, 1)
}
