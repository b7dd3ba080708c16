package desk

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/operator"
	"doorcode/pkg/postgres"
	"doorcode/pkg/story"
)

// timelineBody is what the page of a challenge shows.
type timelineBody struct {
	Challenge story.Challenge
	Outcome   string
	Advice    string // empty for roles that give none
	Offers    offers
	Lanes     []string
	Events    []laneEvent
	Text      string // the whole as text, to copy
}

// laneEvent is one line of the story, in its lane.
type laneEvent struct {
	At    time.Time
	Since string // the challenge's begin
	Actor string
	Cells []string // one for each lane, all but one empty
}

// timeline tells one challenge. That it was shown is on record before it is.
func (s *Site) timeline(w http.ResponseWriter, r *http.Request, v visit) {
	stories, err := s.cfg.Record.Stories(r.Context(), v.operator.ID, postgres.StoryQuery{Challenge: r.PathValue("id"), Workspaces: v.workspaces()})
	if err != nil {
		s.unavailable(w, err)
		return
	}
	if len(stories) == 0 {
		s.refuse(w, v, http.StatusNotFound, "Nothing is on record about that challenge. One that was asked for a few seconds ago may not be recorded yet.")
		return
	}
	p := v.of("Challenge "+challenge.ShowReference(stories[0].Challenge.Reference), "", s.body(stories[0], v))
	switch operator.Act(r.URL.Query().Get("done")) { //nolint:exhaustive // the others change nothing
	case operator.SendAgain:
		p.News = "Another message with the same code is on its way; it shows here within some seconds."
	case operator.Unlock:
		p.News = "The login is unlocked; the person can sign in again."
	}
	s.render(w, http.StatusOK, "timeline", p)
}

// body lays a story out in lanes. Whatever came from outside is masked.
func (s *Site) body(told postgres.Story, v visit) timelineBody {
	c := told.Challenge
	b := timelineBody{Challenge: c, Outcome: outcome(cmp.Or(c.State, challenge.Pending), c.ExpiresAt, s.cfg.Clock())}
	lines := story.Tell(c, told.Rows)
	for _, l := range lines {
		if !slices.Contains(b.Lanes, l.Lane) {
			b.Lanes = append(b.Lanes, l.Lane)
		}
	}
	slices.SortStableFunc(b.Lanes, func(x, y string) int { return cmp.Compare(laneRank(x), laneRank(y)) })
	begin := c.CreatedAt
	if begin.IsZero() && len(lines) > 0 {
		begin = lines[0].At
	}
	for _, l := range lines {
		e := laneEvent{At: l.At, Since: since(l.At.Sub(begin)), Actor: s.masks.Text(l.Actor), Cells: make([]string, len(b.Lanes))}
		e.Cells[slices.Index(b.Lanes, l.Lane)] = s.masks.Text(l.Text)
		b.Events = append(b.Events, e)
	}
	if v.operator.May(operator.Advice) {
		b.Advice = s.masks.Text(story.Advice(c, told.Rows))
	}
	b.Offers = s.offer(told, v)
	b.Text = s.asText(b, lines)
	return b
}

// laneRank puts the lane of the sign-in before those of its messages; the others stay in the order of their begin.
func laneRank(lane string) int {
	if lane == story.SignIn {
		return 0
	}
	return 1
}

// asText is the story as somebody pastes it into a ticket.
func (s *Site) asText(b timelineBody, lines []story.Line) string {
	var t strings.Builder
	c := b.Challenge
	fmt.Fprintf(&t, "reference %s, challenge %s, workspace %s, login %s: %s\n", challenge.ShowReference(c.Reference), c.ID, c.Workspace, s.masks.Text(c.Login), b.Outcome)
	for _, l := range lines {
		fmt.Fprintf(&t, "%sZ  %-8s  %s\n", l.At.Format(time.DateTime), l.Lane, s.masks.Text(l.Text))
	}
	return t.String()
}

// since writes how long after the begin something happened.
func since(d time.Duration) string {
	sign := "+"
	if d < 0 {
		sign, d = "-", -d
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%s%.1f s", sign, d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%s%d min %02d s", sign, int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%s%d h %02d min", sign, int(d.Hours()), int(d.Minutes())%60)
}
