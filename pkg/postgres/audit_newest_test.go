package postgres_test

import (
	"errors"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
)

// It shows SEC-62 of deploy/SECURITY.md: a look at the audit is on record, too.
func TestNewestAudit_ReadsBackwardsAndIsOnRecord(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	owner := s.pg.Owner(t)
	for id, ago := range map[string]time.Duration{"a": time.Second, "b": 5 * time.Minute, "c": 3 * time.Hour, "d": 50 * time.Hour, "e": 7 * 24 * time.Hour} {
		s.row(id, -ago, event.DeliveryAttempted, "challenge-"+id, `{"send": 1}`)
	}
	s.row("x", -2*time.Minute, event.ChallengeApproved, "challenge-b", `{}`)
	ids := func(q postgres.AuditQuery, limit int) string {
		t.Helper()
		rows, err := owner.NewestAudit(t.Context(), q, "anna", limit)
		if err != nil {
			t.Fatal(err)
		}
		var all string
		for _, r := range rows {
			if r.Kind != "audit.v1.shown" {
				all += r.ID
			}
		}
		return all
	}
	from := s.now().Add(-30 * 24 * time.Hour)
	for want, q := range map[string]postgres.AuditQuery{
		"abcde": {From: from, Kind: string(event.DeliveryAttempted)},
		"xb":    {From: from, Challenge: "challenge-b"},
		"axbc":  {From: s.now().Add(-4 * time.Hour)},
		"bc":    {From: from, To: s.now().Add(-4 * time.Minute).Add(-time.Millisecond), Kind: string(event.DeliveryAttempted)},
		"":      {From: from, Workspace: "other"},
	} {
		limit := 100
		if want == "bc" {
			limit = 2
		}
		if got := ids(q, limit); got != want {
			t.Errorf("%+v: %q, not %q", q, got, want)
		}
	}
	s.wantCount(5, `SELECT count(*) FROM audit WHERE kind = 'audit.v1.shown' AND actor = 'anna' AND detail ? 'from'`)
	s.wantCount(1, `SELECT count(*) FROM audit WHERE kind = 'audit.v1.shown' AND workspace = 'other'`)
	_, err := owner.NewestAudit(t.Context(), postgres.AuditQuery{From: s.now().Add(time.Hour)}, "anna", 1)
	if !errors.Is(err, postgres.ErrSpan) {
		t.Errorf("of the future: %v", err)
	}
	_, err = owner.NewestAudit(t.Context(), postgres.AuditQuery{From: from}, "no name", 1)
	if err == nil {
		t.Error("somebody without a name looked")
	}
}
