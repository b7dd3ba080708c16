package desk

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/postgres"
)

// formTime is what a browser's field of date and time sends; here it is in UTC.
const formTime = "2006-01-02T15:04"

// maxQuery bounds what is looked for, in bytes: a provider's id is the longest.
const maxQuery = 200

// searchBody is what the search page shows.
type searchBody struct {
	Query    string
	From, To string // as formTime has it
	Asked    bool
	Found    []result
	Most     int // how many are shown at most
}

// result is a challenge in the list.
type result struct {
	postgres.Found
	Outcome string
}

// search finds challenges by one box, which takes whatever people know of one, and by time.
func (s *Site) search(w http.ResponseWriter, r *http.Request, v visit) {
	now := s.cfg.Clock().UTC()
	text := strings.TrimSpace(r.URL.Query().Get("q"))
	body := searchBody{Query: text, Asked: r.URL.Query().Has("q"), Most: postgres.MaxFound}
	from, errFrom := timeOf(r, "from", now.Add(-30*24*time.Hour))
	to, errTo := timeOf(r, "to", now.Add(time.Minute))
	body.From, body.To = from.Format(formTime), to.Format(formTime)
	p := v.of("Search", "/", nil)
	show := func(status int, problem string) {
		p.Problem, p.Body = problem, body
		s.render(w, status, "search", p)
	}
	if !body.Asked {
		show(http.StatusOK, "")
		return
	}
	if len(text) > maxQuery || errFrom != nil || errTo != nil {
		show(http.StatusBadRequest, "That is too long, or no time.")
		return
	}
	q, mistyped := queryOf(text)
	q.From, q.To, q.Workspaces = from, to, v.workspaces()
	found, err := s.cfg.Record.SearchChallenges(r.Context(), v.operator.ID, q)
	if errors.Is(err, postgres.ErrSearchSpan) {
		show(http.StatusBadRequest, "The time has to end after it begins, and within 31 days.")
		return
	}
	if err != nil {
		s.unavailable(w, err)
		return
	}
	for _, f := range found {
		body.Found = append(body.Found, result{Found: f, Outcome: outcome(f.State, f.ExpiresAt, now)})
	}
	if mistyped != nil && len(found) == 0 {
		show(http.StatusOK, "If that is a support reference: "+mistyped.Error()+".")
		return
	}
	show(http.StatusOK, "")
}

// timeOf reads a time of the form, or takes the default.
func timeOf(r *http.Request, name string, otherwise time.Time) (time.Time, error) {
	value := r.URL.Query().Get(name)
	if value == "" {
		return otherwise, nil
	}
	return time.Parse(formTime, value)
}

// queryOf reads what people know of a challenge: each reading of it is looked for. The error says why it is no support
// reference although it has the size of one.
func queryOf(text string) (postgres.SearchQuery, error) {
	var q postgres.SearchQuery
	if text == "" {
		return q, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil && len(raw) == challenge.IDSize {
		q.Challenge = text
	}
	if account.ValidateID(text) == nil {
		q.Workspace = text
	}
	if !strings.ContainsFunc(text, unicode.IsSpace) {
		q.ProviderID = text
	}
	q.Reference, err = challenge.ParseReference(text)
	if q.Challenge+q.Workspace+q.ProviderID+q.Reference == "" {
		q.ProviderID = text // It is looked for as it stands, so that a mistake never finds everything.
	}
	if errors.Is(err, challenge.ErrReferenceMistyped) {
		return q, challenge.ErrReferenceMistyped
	}
	return q, nil
}

// outcome says in a word how a challenge ended.
func outcome(state challenge.State, expires, now time.Time) string {
	switch state {
	case challenge.Approved:
		return "verified"
	case challenge.Exhausted:
		return "too many wrong codes"
	case challenge.Expired, challenge.Canceled, challenge.Waived:
		return string(state)
	case challenge.Pending:
		if expires.After(now) {
			return "open"
		}
	}
	return "no end on record"
}
