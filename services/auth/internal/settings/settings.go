// Package settings serves the hosted Security settings: where the codes of a login go and why, and its recent sign-ins.
//
// A page is opened by a link that a front-end has asked for and that is good once; from then on the browser's cookie
// counts, which only that opening sets, with a secret that is in no address and no page (CWE-384). Every page works
// without JavaScript and takes posts of its own forms alone (SEC-58). A session shows masked recipients, and by itself
// it changes nothing: that needs a fresh code (SEC-36).
package settings

import (
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
)

//go:embed templates texts
var files embed.FS

// Config lists what the pages work with.
type Config struct {
	Site  *hosted.Site
	Front *front.Front
	Log   *slog.Logger
}

// Handler serves the pages.
type Handler struct {
	cfg   Config
	faces *hosted.Faces
}

// Add reads texts and templates and adds the pages to the site.
func Add(cfg Config) error {
	if cfg.Site == nil || cfg.Front == nil || cfg.Log == nil {
		return errors.New("settings: a part of the configuration is missing")
	}
	faces, err := cfg.Site.Faces(files, template.FuncMap{"phone": phoneOf})
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	h := &Handler{cfg: cfg, faces: faces}
	s := cfg.Site
	s.Handle("GET", "/settings", h.open)
	s.Handle("GET", "/settings/{page}", h.within(h.show))
	h.form("/end", h.end, h.back)
	h.changes()
	h.people()
	return nil
}

// asked is one request of a browser that has the session of the page.
type asked struct {
	front.Session
	cookie string
	face   *hosted.Face
	w      http.ResponseWriter
	r      *http.Request
}

// path is the address of the page, or of something below it.
func (a asked) path(below string) string { return "/settings/" + pageOf(a.cookie) + below }

// form is the value that every form of the session's pages carries. It follows from the secret in the cookie, which no
// page shows.
func (a asked) form() string { return derived("form", a.cookie)[:32] }

// pageOf names a session in its address and in the name of its cookie. It tells nothing of the cookie.
func pageOf(cookie string) string {
	id, _, _ := strings.Cut(cookie, ".")
	return derived("page", id)[:16]
}

// derived is a text that follows from another and does not show it.
func derived(what, from string) string {
	sum := sha256.Sum256([]byte("doorcode settings " + what + " v1\x00" + from))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// cookie is the name of the cookie of a page; each has one of its own, so that two tabs do not meet.
func (h *Handler) cookie(page string) string { return h.cfg.Site.Cookie("settings-" + page) }

// open opens a link: the cookie is set, and the browser goes on to an address that holds nothing.
func (h *Handler) open(w http.ResponseWriter, r *http.Request) {
	cookie, s, err := h.cfg.Front.OpenSettings(r.Context(), r.URL.Query().Get("link"))
	if err != nil {
		h.failed(w, r, err)
		return
	}
	page := pageOf(cookie)
	for _, old := range r.Cookies() { // Those of other pages may have ended; who opens a third has no use for the first.
		if strings.HasPrefix(old.Name, h.cookie("")) && old.Name != h.cookie(page) && len(r.Cookies()) > maxCookies {
			h.cfg.Site.SetCookie(w, old.Name, "", -1)
		}
	}
	h.cfg.Site.SetCookie(w, h.cookie(page), cookie, int(s.Row.ExpiresAt.Sub(s.Now)/time.Second))
	h.cfg.Site.Open(w, "/settings/"+page)
}

// maxCookies is how many a browser may bring before the other settings pages' are taken away.
const maxCookies = 8

// session returns the request's session. When it returns false the request is answered, and so that nobody sees whether
// there is anything at the address (SEC-23).
func (h *Handler) session(w http.ResponseWriter, r *http.Request) (asked, bool) {
	page := r.PathValue("page")
	c, err := r.Cookie(h.cookie(page))
	if err != nil || subtle.ConstantTimeCompare([]byte(pageOf(c.Value)), []byte(page)) != 1 {
		h.plain(w, r, http.StatusNotFound, "lost")
		return asked{}, false
	}
	s, err := h.cfg.Front.Session(r.Context(), c.Value)
	if err != nil {
		h.failed(w, r, err)
		return asked{}, false
	}
	return asked{Session: s, cookie: c.Value, face: h.face(s, r), w: w, r: r}, true
}

// face is the language of a session: that which the front-end asked for, else the login's, else the browser's.
func (h *Handler) face(s front.Session, r *http.Request) *hosted.Face {
	locale := s.Row.Locale
	if locale == "" {
		locale = s.Login.Locale
	}
	return h.faces.Choose(locale, r.Header.Get("Accept-Language"))
}

// within serves whoever has the session of the page in the address.
func (h *Handler) within(f func(asked)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, ok := h.session(w, r)
		if ok {
			f(a)
		}
	}
}

// posted is within for the page's own forms. A post of another origin, from another browser, or without the value that
// only the page shows, is refused before anything is done (SEC-58).
func (h *Handler) posted(f func(asked)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !h.cfg.Site.Own(w, r) {
			h.plain(w, r, http.StatusForbidden, "refused")
			return
		}
		a, ok := h.session(w, r)
		if !ok {
			return
		}
		if !hosted.ReadForm(r) || subtle.ConstantTimeCompare([]byte(r.PostFormValue("form")), []byte(a.form())) != 1 {
			h.plain(w, r, http.StatusForbidden, "refused")
			return
		}
		f(a)
	}
}

// back leads to the page itself: the address of a post stays in the browser after an answer to it.
func (h *Handler) back(a asked) { h.cfg.Site.Lead(a.w, a.path("")) }

// end ends the session and leads back to the front-end.
func (h *Handler) end(a asked) {
	err := h.cfg.Front.EndSettings(a.r.Context(), a.Session)
	if err != nil {
		h.failed(a.w, a.r, err)
		return
	}
	h.cfg.Site.SetCookie(a.w, h.cookie(pageOf(a.cookie)), "", -1)
	h.cfg.Site.Lead(a.w, a.Row.ReturnURL)
}

// failed answers a request that nothing can be shown for. What a person cannot see of it is logged.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	p := problem.Of(err)
	switch {
	case p.Code == front.CodeUnknownSettings:
		h.plain(w, r, http.StatusNotFound, "lost")
	case p.Status < http.StatusInternalServerError:
		h.plain(w, r, p.Status, "lost")
	default:
		h.note(r, err)
		w.Header().Set("Retry-After", "1")
		h.plain(w, r, p.Status, "unavailable")
	}
}

// note logs what a person cannot see of an error.
func (h *Handler) note(r *http.Request, err error) {
	if problem.Of(err).Code == problem.CodeInternal {
		h.cfg.Log.ErrorContext(r.Context(), "page failed", "route", r.Pattern, "error", err.Error())
	}
}

// plainPage is a page that knows of no login.
type plainPage struct {
	hosted.Page
	Text  string
	Retry bool // it is worth trying again here
}

// plain writes a page that knows of no login.
func (h *Handler) plain(w http.ResponseWriter, r *http.Request, status int, kind string) {
	f := h.faces.Choose("", r.Header.Get("Accept-Language"))
	p := plainPage{Page: h.cfg.Site.Page(f.Text(kind + ".title")), Text: f.Text(kind + ".text"), Retry: kind == "unavailable" && r.Method == http.MethodGet}
	h.cfg.Site.Render(w, f, status, hosted.FormsNowhere, "plain", p)
}
