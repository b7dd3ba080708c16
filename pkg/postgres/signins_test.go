package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
)

// carried runs the relay until the outbox is empty; publish takes everything.
func (s *stage) carried() {
	s.t.Helper()
	for {
		done, _, err := s.db.Relay(s.t.Context(), 10, func(_ context.Context, events []event.Event) []error { return make([]error, len(events)) })
		if err != nil {
			s.t.Fatal(err)
		}
		if done == 0 {
			return
		}
	}
}

// from says which browser and network a challenge was asked from.
func from(browser, network string) func(*event.Issued) {
	return func(e *event.Issued) {
		e.Browser, e.Network, e.Agent = digest(browser)[:16], network, "Firefox on Windows"
	}
}

// The relay notes the end of each sign-in once, with what the front-end said about the browser; and of codes for another
// purpose nothing.
func TestRelay_NotesEachSignInThatEndedOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.check(s.challenge(from("one", "192.0.2.0/24")), mac(1), "right")
	s.check(s.challenge(from("two", "198.51.100.0/24")), mac(2), "right")
	s.check(s.challenge(from("two", "198.51.100.0/24")), mac(3), "right")
	id := s.challenge()
	_, _, err := s.db.Cancel(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	s.challenge(from("three", "203.0.113.0/24")) // It has not ended.
	s.check(s.challenge(from("four", "203.0.113.0/24"), func(e *event.Issued) { e.Purpose = "approval" }), mac(4), "right")
	// A sign-in that needed no code is one as well, and stopped nobody.
	_, waived, err := s.db.Waive(t.Context(), event.WaiveRequest{
		Challenge: "waived", Workspace: "acme", Login: "anna", LoginVersion: 1, FrontEnd: "web", SupportReference: "4F72KQ99", CreatedAt: time.Now(),
		Network: "203.0.113.0/24", Browser: digest("five")[:16], Agent: "Firefox on Windows", Fingerprint: []byte("request"),
		Waiver: event.Waiver{Why: "not_yet", Until: time.Now().Add(time.Minute)},
	})
	if err != nil || !waived {
		t.Fatalf("not waived: %v", err)
	}
	s.wantCount(0, `SELECT count(*) FROM sign_ins`)
	ended := s.outbox("challenge.v1.canceled")
	s.carried()
	// The deletion of an outbox row may be lost: it comes once more.
	s.pg.Exec(t, `INSERT INTO outbox (id, type, source, subject, at, data) VALUES ($1, $2, 'x', $3, $4, $5)`,
		ended[0].ID, string(ended[0].Type), id, ended[0].Time, string(ended[0].Data))
	s.carried()
	directory := postgres.NewDirectory(s.pg.Auth(t), nil)
	all, err := directory.SignIns(t.Context(), "acme", "anna", 20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if time.Since(all[i].At) > time.Hour {
			t.Errorf("it ended at %s", all[i].At)
		}
		all[i].At = time.Time{}
	}
	approved := func(network string) postgres.SignIn {
		return postgres.SignIn{Channel: "email", Outcome: "approved", Agent: "Firefox on Windows", Network: network}
	}
	want := []postgres.SignIn{
		{Outcome: "waived", Reason: "not_yet", Agent: "Firefox on Windows", Network: "203.0.113.0/24"},
		{Channel: "email", Outcome: "canceled", Reason: "request"},
		approved("198.51.100.0/24"), approved("198.51.100.0/24"), approved("192.0.2.0/24"),
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	last, err := directory.SignIns(t.Context(), "acme", "anna", 1)
	if err != nil || len(last) != 1 || last[0].Outcome != "waived" {
		t.Errorf("the last one is %+v: %v", last, err)
	}
	uses, err := directory.Uses(t.Context(), "acme", "")
	used := uses["anna"]
	if used.LastAt.IsZero() || time.Since(used.LastAt) > time.Hour {
		t.Errorf("last used at %s", used.LastAt)
	}
	used.LastAt = time.Time{}
	uses["anna"] = used
	if diff := cmp.Diff(map[string]account.Use{"anna": {Browsers: 3, Networks: 3, Stopped: 1}}, uses); diff != "" || err != nil {
		t.Error(diff, err)
	}
	other, err := directory.Uses(t.Context(), "acme", "bert")
	if err != nil || len(other) != 0 {
		t.Errorf("of another login: %v, %v", other, err)
	}
	s.pg.Exec(t, `UPDATE sign_ins SET ended_at = ended_at - interval '31 days' WHERE outcome = 'canceled'`)
	gone, err := s.db.Clean(t.Context(), postgres.Retention{
		Challenges: 8 * 24 * time.Hour, Budgets: 24 * time.Hour, Limits: 24 * time.Hour, SignIns: 30 * 24 * time.Hour,
	}, 100)
	if err != nil || gone != 1 {
		t.Errorf("%d rows removed: %v", gone, err)
	}
	s.wantCount(4, `SELECT count(*) FROM sign_ins`)
}
