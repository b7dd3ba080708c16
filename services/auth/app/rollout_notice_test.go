package app_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
	"doorcode/services/auth/app"
)

// operator is who orders things in these tests.
func operator() postgres.RolloutOrder {
	return postgres.RolloutOrder{Operator: "kim", Reason: "as planned"}
}

// roll puts workspace w with the owner anna, the administrator ada and the member mia into a wave; see announce.
func (h *harness) roll(t testing.TB) *postgres.Directory {
	t.Helper()
	h.must(t, 201, put("", fields{"name": "Lanternbird", "main_email": "office@example.com"}))
	h.must(t, 201, put("/logins/anna", fields{"role": "owner", "email": "anna@example.com", "locale": "nl"}))
	h.must(t, 201, put("/logins/ada", fields{"role": "administrator", "email": "ada@example.com", "phone": "+12025550148"}))
	h.must(t, 201, put("/logins/mia", fields{"role": "member", "email": "mia@example.com"}))
	return h.announce(t)
}

// announce puts workspace w into a wave that is announced at once, asks for codes after 10 days and requires them after 20. It
// returns the directory of the operator.
func (h *harness) announce(t testing.TB) *postgres.Directory {
	t.Helper()
	h.db.Exec(t, `UPDATE workspaces SET created_at = '2020-01-01'`)
	h.db.Exec(t, `UPDATE logins SET created_at = '2020-01-01'`)
	owner := postgres.NewDirectory(h.db.Owner(t), h.ring(t, "ROW"))
	day := 24 * time.Hour
	_, err := owner.PutWave(t.Context(), operator(), "first", func(w rollout.Wave) (rollout.Wave, error) {
		at := time.Now().Add(day)
		w.AnnounceAt, w.GraceAt, w.EnforceAt, w.Skips = at, at.Add(10*day), at.Add(20*day), 3
		return w, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = owner.Join(t.Context(), operator(), "first", postgres.Pick{Workspaces: []string{"w"}})
	if err != nil {
		t.Fatal(err)
	}
	change, err := owner.PutWave(t.Context(), operator(), "first", func(w rollout.Wave) (rollout.Wave, error) {
		at := time.Now().Add(2 * time.Second)
		w.AnnounceAt, w.GraceAt, w.EnforceAt = at, at.Add(10*day), at.Add(20*day)
		return w, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "the wave is announced", func() bool { return time.Now().After(change.Wave.AnnounceAt.Add(time.Second)) })
	return owner
}

// due waits until as many notices are ordered and returns their events as they wait in the outbox.
func (h *harness) due(t testing.TB, n int) []event.Event {
	t.Helper()
	bustest.Wait(t, "what is due is ordered", func() bool {
		var ordered int
		h.db.Scan(t, `SELECT count(*) FROM rollout_notices`, nil, &ordered)
		return ordered >= n
	})
	var ids []string
	h.db.Scan(t, `SELECT array_agg(id ORDER BY at, id) FROM outbox WHERE type = $1`, []any{string(event.RolloutOrdered)}, &ids)
	var all []event.Event
	for _, id := range ids {
		e := event.Event{ID: id, Type: event.RolloutOrdered}
		h.db.Scan(t, `SELECT source, subject, at, data FROM outbox WHERE id = $1`, []any{id}, &e.Source, &e.Subject, &e.Time, &e.Data)
		e.Time = e.Time.UTC()
		eventtest.ValidateData(t, e.Type, e.Data)
		all = append(all, e)
	}
	return all
}

// R4.6: the announcement goes to the main address, the owner and every administrator, by mail alone and once, with a button
// to the page of the workspace and without a code.
func TestRollout_TheAnnouncementIsToldOnceToWhoRunsTheWorkspace(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *app.Config) {
		texting(100)(c)
		c.PublicURL = publicO
	})
	h.roll(t)
	h.replica(t)
	events := h.due(t, 2)
	for _, id := range []string{"1", "2"} {
		for _, e := range events {
			h.say(t, e.ID+id, e)
		}
	}
	h.answered(t, event.StreamDirectory, "doorcode.directory.rollout_notice_ordered")
	var date time.Time
	h.db.Scan(t, `SELECT enforce_at FROM rollout_waves`, nil, &date)
	told := map[string]string{}
	for _, n := range h.notices(t) {
		if n.Order.Kind != event.NoticeRolloutAnnounced || n.Content.Code != "" || !n.Content.Date.Equal(date) || n.Content.Workspace != "Lanternbird" ||
			!strings.Contains(n.Content.Link, "/get-ready?of=") || n.Content.Until.Before(date) {
			t.Errorf("told %+v %+v", n.Order, n.Content)
		}
		told[n.Content.Recipient] += n.Order.Locale + n.Order.Login
	}
	if diff := cmp.Diff(map[string]string{"anna@example.com": "nlanna", "office@example.com": "nlanna", "ada@example.com": "ada"}, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// What does not hold any more, or was invented, is told to nobody; a pause is.
func TestRollout_NobodyIsToldWhatDoesNotHold(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	owner := h.roll(t)
	announced := h.due(t, 2)
	_, err := owner.PauseWave(t.Context(), operator(), "first")
	if err != nil {
		t.Fatal(err)
	}
	all := h.due(t, 4)
	for i, e := range all {
		h.say(t, e.ID, e)
		invented := e
		invented.ID += "x"
		h.say(t, invented.ID, invented)
		other := e
		other.ID, other.Data = e.ID+"y", []byte(strings.Replace(string(e.Data), "rollout_", "enforced_", 1))
		h.say(t, other.ID, other)
		if i < 2 && !slices.ContainsFunc(announced, func(a event.Event) bool { return a.ID == e.ID }) {
			t.Errorf("%s came before the announcements", e.ID)
		}
	}
	h.answered(t, event.StreamDirectory, "doorcode.directory.rollout_notice_ordered")
	for _, n := range h.notices(t) {
		if n.Order.Kind != event.NoticeRolloutWithdrawn {
			t.Errorf("told %+v", n.Order)
		}
	}
	if n := len(h.notices(t)); n != 3 {
		t.Errorf("%d are told that the date does not hold", n)
	}
}
