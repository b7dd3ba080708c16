package desk

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
)

// maxRows is how many rows of the audit are shown: who needs more exports them.
const maxRows = 100

// auditBody is what the page of the audit shows.
type auditBody struct {
	Kind, Workspace, Challenge string
	From, To                   string   // as formTime has it
	Only                       []string // the visitor's workspaces; nil: all
	Asked                      bool
	Rows                       []auditRow
	Most                       int
	Command                    string // that exports the same, all of it
}

// auditRow is a row of the record as it may be shown.
type auditRow struct {
	postgres.Audit
	Text string // the detail
}

// audit shows the newest rows of the record. That they were shown is on record before they are.
func (s *Site) audit(w http.ResponseWriter, r *http.Request, v visit) {
	now := s.cfg.Clock().UTC()
	field := func(name string) string { return strings.TrimSpace(r.URL.Query().Get(name)) }
	from, errFrom := timeOf(r, "from", now.Add(-24*time.Hour))
	to, errTo := timeOf(r, "to", now.Add(time.Minute))
	body := auditBody{
		Kind: field("kind"), Workspace: field("workspace"), Challenge: field("challenge"), From: from.Format(formTime), To: to.Format(formTime),
		Only: v.workspaces(), Asked: r.URL.Query().Has("kind"), Most: maxRows,
	}
	show := func(status int, problem string) {
		p := v.of("Audit", auditPath, body)
		p.Problem = problem
		s.render(w, status, "audit", p)
	}
	if !body.Asked {
		show(http.StatusOK, "")
		return
	}
	problem := body.wrong(errors.Join(errFrom, errTo))
	if problem != "" {
		show(http.StatusBadRequest, problem)
		return
	}
	q := postgres.AuditQuery{From: from, To: to, Workspace: body.Workspace, Challenge: body.Challenge, Kind: body.Kind}
	rows, err := s.cfg.Record.NewestAudit(r.Context(), q, v.operator.ID, maxRows)
	if errors.Is(err, postgres.ErrSpan) {
		show(http.StatusBadRequest, "The time has to end after it begins, and to begin before now.")
		return
	}
	if err != nil {
		s.unavailable(w, err)
		return
	}
	for _, row := range rows {
		row.Login, row.Actor = s.masks.Text(row.Login), s.masks.Text(row.Actor)
		body.Rows = append(body.Rows, auditRow{Audit: row, Text: s.masks.Text(string(row.Detail))})
	}
	body.Command = exportCommand(q, v.operator.ID)
	show(http.StatusOK, "")
}

// wrong says what cannot be asked for, or nothing. Who sees some workspaces alone has to name one of them.
func (b auditBody) wrong(times error) string {
	switch {
	case times != nil:
		return "That is no time."
	case b.Only != nil && !slices.Contains(b.Only, b.Workspace):
		return "Please name one of your workspaces: " + strings.Join(b.Only, ", ") + "."
	case b.Workspace != "" && account.ValidateID(b.Workspace) != nil, b.Challenge != "" && account.ValidateID(b.Challenge) != nil:
		return "That is no id of a workspace or a challenge."
	case b.Kind != "" && !regexp.MustCompile(`^[a-z_]{1,40}\.v[0-9]{1,3}\.[a-z_]{1,40}$`).MatchString(b.Kind):
		return "A kind is whole, such as challenge.v1.approved."
	}
	return ""
}

// exportCommand is the command that exports what a query asks for. Every value in it was checked: none needs quotes.
func exportCommand(q postgres.AuditQuery, operator string) string {
	words := []string{
		"doorcodectl audit export -operator", operator, "-from", q.From.UTC().Format(time.RFC3339), "-to", q.To.UTC().Format(time.RFC3339),
	}
	for _, f := range []struct{ flag, value string }{{"-workspace", q.Workspace}, {"-challenge", q.Challenge}, {"-kind", q.Kind}} {
		if f.value != "" {
			words = append(words, f.flag, f.value)
		}
	}
	return strings.Join(append(words, "-out audit.ndjson"), " ")
}
