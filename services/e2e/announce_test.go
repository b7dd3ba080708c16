package e2e

import (
	"strings"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// announced puts a workspace into a wave of which the announcement comes due at once.
func (s *apart) announced(t *testing.T, workspace string) {
	t.Helper()
	rows, err := keyring.Read(s.settings["DOORCODE_AUTH_ROW_KEY_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	owner := postgres.NewDirectory(s.db.Owner(t), rows)
	order := postgres.RolloutOrder{Operator: "robin"}
	put := func(in time.Duration) time.Time {
		change, err := owner.PutWave(t.Context(), order, "first", func(w rollout.Wave) (rollout.Wave, error) {
			at := time.Now().Add(in)
			w.AnnounceAt, w.GraceAt, w.EnforceAt = at, at.Add(20*24*time.Hour), at.Add(30*24*time.Hour)
			return w, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return change.Wave.AnnounceAt
	}
	s.db.Exec(t, `UPDATE workspaces SET created_at = '2020-01-01'`)
	put(time.Hour)
	_, err = owner.Join(t.Context(), order, "first", postgres.Pick{Workspaces: []string{workspace}})
	if err != nil {
		t.Fatal(err)
	}
	at := put(2 * time.Second)
	eventually(t, "the announcement is due", func() bool { return time.Now().After(at.Add(time.Second)) })
}

// announcements counts those among the messages to an address.
func (s *apart) announcements(t *testing.T, to string) int {
	t.Helper()
	n := 0
	for _, m := range s.inbox(t, to) {
		if strings.Contains(m.Subject, "asks for a code") {
			n++
		}
	}
	return n
}

// P1, P5: a scheduler that is killed when it has just ordered, and a teller that is killed when it has just told, lose no
// notice of the roll-out and send none twice; and a scheduler that comes back finds nothing due any more.
func TestP5_AnAnnouncementIsToldOnceThoughAuthDiesOnTheWay(t *testing.T) {
	t.Parallel()
	err := armedBinaries()
	if err != nil {
		t.Fatal(err)
	}
	s := newApart(t)
	auth := s.named("auth")[0]
	s.start(t, "auth")
	workspace, office := s.workspace(t)
	s.stop(t, "auth")
	s.announced(t, workspace)
	s.start(t, "verifier")
	for _, point := range []string{"rollout.ordered:1", "notice.ordered:1"} {
		err = s.launchArmed(t.Context(), auth, point)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-auth.done:
		case <-time.After(patience):
			t.Fatalf("auth never came to %s", point)
		}
		if !auth.killed() {
			t.Fatalf("auth ended at %s with %v\n%s", point, auth.err, auth.tail())
		}
		var rows int
		s.db.Scan(t, `SELECT count(*) FROM rollout_notices`, nil, &rows)
		if rows != 1 {
			t.Fatalf("%d notices are ordered at %s", rows, point)
		}
	}
	s.start(t, "auth", "email-dispatcher", "sandbox")
	eventually(t, "the announcement arrives", func() bool { return s.announcements(t, office) > 0 })
	settledOf(t, s.bus.Admin(), event.RolloutOrdered)
	var rows, requested int
	s.db.Scan(t, `SELECT (SELECT count(*) FROM rollout_notices), (SELECT count(*) FROM audit WHERE kind = 'notice.v1.requested')`, nil, &rows, &requested)
	if rows != 1 || requested != 1 || s.announcements(t, office) != 1 {
		t.Errorf("%d notices, %d orders and %d mails", rows, requested, s.announcements(t, office))
	}
}
