package postgres_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
)

// issuedRow puts on record that a challenge was issued some days ago, as the recorder does; its own row is long gone.
func (s *stage) issuedRow(id, workspace, reference string, ago time.Duration) {
	s.t.Helper()
	at := s.now().Add(-ago)
	detail, err := json.Marshal(map[string]any{"channel": "email", "label": "KTM", "support_reference": reference, "expires_at": at.Add(10 * time.Minute)})
	if err != nil {
		s.t.Fatal(err)
	}
	err = s.db.Record(s.t.Context(), postgres.Batch{Audit: []postgres.Audit{{
		ID: id + ".issued", At: at, Kind: event.ChallengeIssued, Workspace: workspace, Login: "anna", Challenge: id, Actor: "web", Detail: detail,
	}}})
	if err != nil {
		s.t.Fatal(err)
	}
}

// searched returns what the console finds in the last 31 days.
func (s *stage) searched(db *postgres.DB, q postgres.SearchQuery) []postgres.Found {
	s.t.Helper()
	q.To = s.now().Add(time.Minute)
	q.From = q.To.Add(-postgres.MaxSpan)
	found, err := db.SearchChallenges(s.t.Context(), "sue", q)
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// names are the ids of what was found, in its order.
func names(found []postgres.Found) string {
	var all []string
	for _, f := range found {
		all = append(all, f.ID[:1])
	}
	return strings.Join(all, "")
}

func TestSearchChallenges_FindsWhatPeopleKnowOfThemForThirtyDays(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	console := s.pg.Console(t)
	id := func(letter string) string { return strings.Repeat(letter, 22) }
	s.issuedRow(id("A"), "acme", "4F72KQ9R", 29*24*time.Hour)
	s.issuedRow(id("B"), "acme", "00000000", 7*24*time.Hour)
	s.issuedRow(id("C"), "other", "4F72KQ9R", time.Hour)
	s.row(id("A")+".1", -29*24*time.Hour, event.DeliveryAttempted, id("A"), `{"send": 1, "provider_id": "msg-1", "result": "accepted"}`)
	s.row(id("A")+".2", -29*24*time.Hour, event.ChallengeApproved, id("A"), `{}`)
	for _, c := range []struct {
		what string
		q    postgres.SearchQuery
		want string
	}{
		{"everything", postgres.SearchQuery{}, "CBA"},
		{"a challenge", postgres.SearchQuery{Challenge: id("B")}, "B"},
		{"a reference that two share", postgres.SearchQuery{Reference: "4F72KQ9R"}, "CA"},
		{"a workspace", postgres.SearchQuery{Workspace: "acme"}, "BA"},
		{"a provider's id", postgres.SearchQuery{ProviderID: "msg-1"}, "A"},
		{"whatever it may be", postgres.SearchQuery{Workspace: "acme", Reference: "4F72KQ9R"}, "CBA"},
		{"nothing there", postgres.SearchQuery{ProviderID: "msg-2"}, ""},
		{"the only ones they see", postgres.SearchQuery{Workspaces: []string{"other"}}, "C"},
		{"a reference in what they see", postgres.SearchQuery{Reference: "4F72KQ9R", Workspaces: []string{"acme"}}, "A"},
		{"a workspace they do not see", postgres.SearchQuery{Workspace: "acme", Workspaces: []string{"other"}}, ""},
		{"a provider's id that they do not see", postgres.SearchQuery{ProviderID: "msg-1", Workspaces: []string{"other"}}, ""},
		{"no workspace at all", postgres.SearchQuery{Workspaces: []string{}, Challenge: id("B")}, ""},
	} {
		if got := names(s.searched(console, c.q)); got != c.want {
			t.Errorf("%s finds %q, want %q", c.what, got, c.want)
		}
	}
	a := s.searched(console, postgres.SearchQuery{Challenge: id("A")})[0]
	if a.State != challenge.Approved || a.Workspace != "acme" || a.Login != "anna" || a.FrontEnd != "web" || a.Label != "KTM" ||
		a.Reference != "4F72KQ9R" || a.Channel != "email" || a.ExpiresAt.Sub(a.At).Round(time.Second) != 10*time.Minute {
		t.Errorf("%+v", a)
	}
	if b := s.searched(console, postgres.SearchQuery{Challenge: id("B")})[0]; b.State != challenge.Pending {
		t.Errorf("one without an end is %s", b.State)
	}
	now := s.now()
	for _, span := range [][2]time.Time{{now, now}, {now.Add(-postgres.MaxSpan - time.Second), now}} {
		_, err := console.SearchChallenges(t.Context(), "sue", postgres.SearchQuery{From: span[0], To: span[1]})
		if !errors.Is(err, postgres.ErrSearchSpan) {
			t.Errorf("a span of %s: %v", span[1].Sub(span[0]), err)
		}
	}
}

// A support reference is good for thirty days, and a challenge's row for one (product.md R11.3).
func TestStories_AReferenceFindsWhatIsInTheAuditAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	console := s.pg.Console(t)
	id := strings.Repeat("A", 22)
	s.issuedRow(id, "acme", "4F72KQ9R", 29*24*time.Hour)
	s.issuedRow(strings.Repeat("B", 22), "acme", "00000000", 31*24*time.Hour)
	told := s.stories(console, postgres.StoryQuery{Reference: "4F72KQ9R"})
	if len(told) != 1 || told[0].Challenge.ID != id || !told[0].Challenge.Gone || told[0].Challenge.Label != "KTM" {
		t.Errorf("%+v", told)
	}
	if old := s.stories(console, postgres.StoryQuery{Reference: "00000000"}); len(old) != 0 {
		t.Errorf("one of 31 days ago: %+v", old)
	}
	if hidden := s.stories(console, postgres.StoryQuery{Challenge: id, Workspaces: []string{"other"}}); len(hidden) != 0 {
		t.Errorf("shown to who does not see acme: %+v", hidden)
	}
	var actors []string
	s.pg.Scan(t, `SELECT array_agg(actor || ' ' || coalesce(challenge_id, '-') ORDER BY at) FROM audit WHERE kind = 'challenge.v1.shown' AND detail ->> 'role' = 'doorcode_console'`, nil, &actors)
	if want := []string{"sue " + id, "sue -", "sue " + id}; !slices.Equal(actors, want) {
		t.Errorf("the record is %q, want %q", actors, want)
	}
}

// The console is told masks, and nothing to check or send with.
func TestStories_TheConsoleIsToldAsTheOwnerIs(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge()
	s.row("1", time.Second, event.DeliveryAttempted, id, `{"send": 1, "result": "accepted"}`)
	told := s.stories(s.pg.Console(t), postgres.StoryQuery{Challenge: id})
	if len(told) != 1 || told[0].Challenge.State != challenge.Pending || len(told[0].Challenge.Routes) != 1 ||
		told[0].Challenge.Routes[0].Recipient != "a•••@example.com" || len(told[0].Rows) != 1 {
		t.Errorf("%+v", told)
	}
	var routes string
	s.pg.Scan(t, `SELECT routes::text FROM told_challenges`, nil, &routes)
	if routes != `[{"channel": "email", "recipient": "a•••@example.com"}]` {
		t.Errorf("the view shows %s", routes)
	}
}
