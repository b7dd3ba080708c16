package postgres_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/pkg/story"
)

// stories reads what an operator is shown.
func (s *stage) stories(db *postgres.DB, q postgres.StoryQuery) []postgres.Story {
	s.t.Helper()
	all, err := db.Stories(s.t.Context(), "sue", q)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// kinds are the kinds of a story's rows in their alphabet.
func kinds(told postgres.Story) string {
	var all []string
	for _, r := range told.Rows {
		all = append(all, r.Kind)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// row puts something about a challenge or notice on record, some time from now.
func (s *stage) row(id string, in time.Duration, kind event.Type, about, detail string) {
	s.t.Helper()
	err := s.db.Record(s.t.Context(), postgres.Batch{Audit: []postgres.Audit{{
		ID: id, At: s.now().Add(in), Kind: kind, Challenge: about, Actor: "doorcode/test", Detail: json.RawMessage(detail),
	}}})
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestStories_ReadsAllThatHaveTheReferenceWithTheirNotices(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	owner := s.pg.Owner(t)
	shared := func(e *event.Issued) { e.SupportReference = "00000000" }
	older := s.challenge(shared, func(e *event.Issued) { e.CreatedAt = e.CreatedAt.Add(-time.Minute) })
	id := s.challenge(shared, func(e *event.Issued) { e.Label = "KTM" })
	beside := s.challenge()
	s.check(id, mac(1), "wrong")
	s.check(id, mac(2), "right")
	s.row("1", time.Second, event.DeliveryAttempted, id, `{"send": 1, "result": "accepted"}`)
	s.row("2", 72*time.Hour, event.ReceiptRecorded, id, `{"send": 1, "status": "failed"}`)
	s.row("3", -2*time.Hour, "too.v1.old", id, `{}`) // Nothing can be older than its challenge: such partitions are spared.
	s.row("4", time.Second, event.NoticeRequested, "N", `{"cause": "`+id+`.approved"}`)
	s.row("5", time.Minute, event.DeliveryAttempted, "N", `{"send": 1}`)
	s.row("6", time.Second, event.NoticeRequested, "M", `{"cause": "`+beside+`.approved"}`)

	all := s.stories(owner, postgres.StoryQuery{Reference: "00000000"})
	if len(all) != 2 || all[0].Challenge.ID != id || all[1].Challenge.ID != older {
		t.Fatalf("%+v", all)
	}
	c := all[0].Challenge
	if c.State != challenge.Approved || c.Login != "anna" || c.Workspace != "acme" || c.FrontEnd != "web" || c.Label != "KTM" || c.Gone ||
		!slices.Equal(c.Routes, []story.Route{{Channel: "email", Recipient: "a•••@example.com"}}) || !slices.Equal(c.Sent, []int{0}) {
		t.Errorf("%+v", c)
	}
	want := "challenge.v1.approved check.v1.rejected delivery.v1.attempted delivery.v1.attempted notice.v1.requested receipt.v1.recorded"
	if got := kinds(all[0]); got != want {
		t.Errorf("its rows are %s", got)
	}
	one := s.stories(owner, postgres.StoryQuery{Challenge: id})
	if len(one) != 1 || kinds(one[0]) != strings.Replace(want, "check.v1", "challenge.v1.shown check.v1", 1) {
		t.Errorf("by its id: %+v", one)
	}
}

func TestStories_TellsFromTheAuditAloneWhenTheRowIsGone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	owner := s.pg.Owner(t)
	id := s.challenge()
	s.row("1", 0, event.ChallengeIssued, id, `{"front_end": "web", "label": "BCD", "support_reference": "4F72KQ9R"}`)
	s.check(id, mac(1), "right")
	s.row("2", time.Second, event.NoticeRequested, "N", `{"cause": "`+id+`.approved"}`)
	s.pg.Exec(t, `DELETE FROM challenges`)
	all := s.stories(owner, postgres.StoryQuery{Challenge: id})
	if len(all) != 1 || !all[0].Challenge.Gone || all[0].Challenge.State != challenge.Approved || all[0].Challenge.Label != "BCD" || all[0].Challenge.Login != "anna" ||
		kinds(all[0]) != "challenge.v1.approved challenge.v1.issued notice.v1.requested" {
		t.Errorf("%+v", all)
	}
	if all = s.stories(owner, postgres.StoryQuery{Reference: "4F72KQ9R"}); len(all) != 1 || all[0].Challenge.ID != id {
		t.Errorf("by its reference: %+v", all)
	}
}

// R11.9: who looked, and at what, is in the workspace's audit, also when nothing was there. It shows SEC-62 of
// deploy/SECURITY.md.
func TestStories_AreShownToNobodyUnseen(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	owner := s.pg.Owner(t)
	id := s.challenge()
	for _, q := range []postgres.StoryQuery{{Challenge: id}, {Reference: "4F72KQ9R"}, {Challenge: "nothing"}, {Challenge: "nothing"}, {Reference: "ZZZZZZZZ"}} {
		s.stories(owner, q)
	}
	var record string
	s.pg.Scan(t, `SELECT string_agg(concat_ws(' ', actor, workspace, login, CASE challenge_id WHEN $1 THEN 'it' ELSE challenge_id END,
	                                          detail->>'support_reference', detail->>'found'), ', ' ORDER BY at)
	                FROM audit WHERE kind = 'challenge.v1.shown'`, []any{id}, &record)
	if record != "sue acme anna it 4F72KQ9R 1, sue acme anna it 4F72KQ9R 1, sue nothing 0, sue nothing 0, sue ZZZZZZZZ 0" {
		t.Errorf("the record is %s", record)
	}
	_, err := s.db.Stories(t.Context(), "", postgres.StoryQuery{Challenge: id})
	if err == nil {
		t.Error("a story is shown to nobody's name")
	}
}
