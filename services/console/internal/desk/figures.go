package desk

import (
	"context"
	"net/http"
	"strconv"

	"doorcode/pkg/operator"
	"doorcode/services/console/internal/board"
)

// The addresses of the pages of figures and of the audit.
const (
	healthPath  = "/health"
	rolloutPath = "/rollout"
	auditPath   = "/audit"
)

// byItself is the query of a page that the browser asks for by itself. It keeps no session alive: a screen on a wall signs
// out like any other, fifteen minutes after somebody touched it (SEC-59).
const byItself = "reload"

// may reports whether the visitor's role has an act, and whether they see all that it shows.
func (v visit) may(act operator.Act) bool {
	return v.operator.May(act) && (v.operator.AllWorkspaces || !act.Everywhere())
}

// showFigures serves a page of figures, which asks for itself again after a while.
func (s *Site) showFigures(path string, read func(context.Context) (board.Page, error)) func(http.ResponseWriter, *http.Request, visit) {
	return func(w http.ResponseWriter, r *http.Request, v visit) {
		p, err := read(r.Context())
		if err != nil {
			s.unavailable(w, err)
			return
		}
		w.Header().Set("Refresh", strconv.Itoa(p.Reload)+"; url="+path+"?"+byItself)
		s.render(w, http.StatusOK, "figures", v.of(p.Title, path, p.Body))
	}
}
