package pages

import (
	"net/http"
	"strings"
	"time"

	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
	"doorcode/services/auth/internal/ticket"
)

// undos adds the page on which a change of a factor is undone. Looking at it changes nothing, because programs follow
// links as well; the button does.
func (h *Handler) undos() {
	own := ticket.LinkUndo.Path()
	h.cfg.Site.Handle("GET", own, h.undoing(h.showUndo))
	h.cfg.Site.Handle("POST", own, h.undoing(h.undo))
}

// undoPage is what the page of a change shows.
type undoPage struct {
	page
	front.FactorChange
	Link  string // the value of the field that names it
	Since time.Time
}

// undoing serves whoever has the link of a change, in the address or in the form of its own page (SEC-58).
func (h *Handler) undoing(f func(http.ResponseWriter, *http.Request, ticket.Link)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		field := r.URL.Query().Get(ticket.LinkUndo.Field())
		if r.Method == http.MethodPost {
			if !h.formOf(w, r) {
				h.refused(w, r)
				return
			}
			field = r.PostFormValue(ticket.LinkUndo.Field())
		}
		link, err := ticket.LinkUndo.Decode(h.cfg.Ring, field)
		if err != nil {
			h.plain(w, r, http.StatusGone, "undo.over")
			return
		}
		f(w, r, link)
	}
}

// showUndo shows a change with the button that undoes it.
func (h *Handler) showUndo(w http.ResponseWriter, r *http.Request, link ticket.Link) {
	change, err := h.cfg.Front.Undoable(r.Context(), link)
	if err != nil {
		h.failedUndo(w, r, err)
		return
	}
	h.undoPage(w, r, link, change, "undo")
}

// undo undoes a change.
func (h *Handler) undo(w http.ResponseWriter, r *http.Request, link ticket.Link) {
	change, err := h.cfg.Front.Undo(r.Context(), link)
	if err != nil {
		h.failedUndo(w, r, err)
		return
	}
	h.undoPage(w, r, link, change, "undone")
}

// undoPage writes the page of a change before or after it is undone.
func (h *Handler) undoPage(w http.ResponseWriter, r *http.Request, link ticket.Link, change front.FactorChange, name string) {
	f := h.faces.Choose("", r.Header.Get("Accept-Language"))
	_, field, _ := strings.Cut(link.Address(h.cfg.Ring), "=")
	p := undoPage{page: page{Page: h.cfg.Site.Page(f.Text(name + ".title"))}, FactorChange: change, Link: field}
	if change.AppliedAt != nil {
		p.Since = *change.AppliedAt
	}
	h.cfg.Site.Render(w, f, http.StatusOK, hosted.FormsHere, name, p)
}

// failedUndo writes the page that fits a refusal: one for all changes that cannot be undone, whatever the reason.
func (h *Handler) failedUndo(w http.ResponseWriter, r *http.Request, err error) {
	p := problem.Of(err)
	if p.Status < http.StatusInternalServerError {
		h.plain(w, r, http.StatusGone, "undo.over")
		return
	}
	if p.Code == problem.CodeInternal {
		h.cfg.Log.ErrorContext(r.Context(), "page failed", "route", r.Pattern, "error", err.Error())
	}
	w.Header().Set("Retry-After", "1")
	h.plain(w, r, p.Status, "undo.unavailable")
}
