// Package pages serves the hosted code prompt: the page on which a person types the code, the page for whoever cannot get
// it, and the way back to the front-end with the assertion.
//
// A page asks the same use cases as the API, on behalf of the front-end that created the challenge. Every page works
// without JavaScript, is one document with its style and script in it, under a policy that names both by hash, and takes
// posts of its own forms alone (SEC-58). What a browser needs to post a code is the session of package ticket, a cookie
// that only the opening of a ticket sets (SEC-06). No page can create a challenge, name a recipient or show more of one
// than its mask.
package pages

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"doorcode/pkg/keyring"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
	"doorcode/services/auth/internal/ticket"
)

//go:embed templates texts
var files embed.FS

// Config lists what the pages work with.
type Config struct {
	Site  *hosted.Site
	Front *front.Front
	// Ring is that of the handles; tickets and sessions are MAC'd under it.
	Ring  *keyring.Ring
	Clock func() time.Time
	Log   *slog.Logger
}

// Handler serves the pages.
type Handler struct {
	cfg   Config
	faces *hosted.Faces
	pace  *pace
}

// Add reads texts and templates and adds the pages to the site.
func Add(cfg Config) error {
	if cfg.Site == nil || cfg.Front == nil || cfg.Ring == nil || cfg.Clock == nil || cfg.Log == nil {
		return errors.New("pages: a part of the configuration is missing")
	}
	faces, err := cfg.Site.Faces(files, template.FuncMap{"spell": spell})
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	h := &Handler{cfg: cfg, faces: faces, pace: newPace(cfg.Clock)}
	s := cfg.Site
	s.Handle("GET", "/prompt", h.open)
	s.Handle("GET", "/prompt/{page}", h.within(h.showCode))
	s.Handle("GET", "/prompt/{page}/help", h.within(h.showHelp))
	// The address of a post stays in the browser after an answer to it, and may be loaded again.
	for _, form := range []string{"code", "messages", "cancel", "skip"} {
		s.Handle("GET", "/prompt/{page}/"+form, h.within(h.back))
	}
	s.Handle("GET", "/prompt/{page}/owner", h.within(h.toHelp))
	s.Handle("POST", "/prompt/{page}/owner", h.posted(h.askOwner))
	s.Handle("POST", "/prompt/{page}/code", h.posted(h.check))
	s.Handle("POST", "/prompt/{page}/messages", h.posted(h.resend))
	s.Handle("POST", "/prompt/{page}/skip", h.posted(h.skip))
	s.Handle("POST", "/prompt/{page}/cancel", h.posted(h.cancel))
	s.Add("GET", "/prompt/{page}/events", h.within(h.events)) // It lasts as long as the challenge.
	h.invitations()
	h.undos()
	h.readies()
	return nil
}

// asked is one request of a browser that has the session of the page.
type asked struct {
	session ticket.Session
	face    face
	w       http.ResponseWriter
	r       *http.Request
}

// call is on behalf of the front-end that created the challenge, as long as the page may lead back to it.
func (a asked) call() front.Call {
	return front.Call{Page: a.session.FrontEnd, ReturnURL: a.session.ReturnURL}
}

// path is the address of the page, or of something below it.
func (a asked) path(below string) string { return "/prompt/" + a.session.Page() + below }

// within serves whoever has the session of the page in the address; all others get one and the same answer, whatever
// there is at that address (SEC-23).
func (h *Handler) within(f func(asked)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, ok := h.session(r)
		if !ok {
			h.lost(w, r, http.StatusNotFound)
			return
		}
		f(asked{session: s, face: face{h.faces.Choose(s.Locale, r.Header.Get("Accept-Language"))}, w: w, r: r})
	}
}

// posted is within for the page's own forms. A post of another origin, from another browser, or without the value that
// only the page shows, is refused before anything is asked (SEC-58), and so is one of too many.
func (h *Handler) posted(f func(asked)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !h.cfg.Site.Own(w, r) {
			h.refused(w, r)
			return
		}
		s, ok := h.session(r)
		if !ok {
			h.lost(w, r, http.StatusForbidden)
			return
		}
		if !hosted.ReadForm(r) || !s.Posted(r.PostFormValue("form")) {
			h.refused(w, r)
			return
		}
		a := asked{session: s, face: face{h.faces.Choose(s.Locale, r.Header.Get("Accept-Language"))}, w: w, r: r}
		wait := h.pace.take(s.Page())
		if wait > 0 {
			h.ended(a, http.StatusTooManyRequests, end{kind: hurried, retry: wait})
			return
		}
		f(a)
	}
}

// open turns a ticket into a session: the cookie is set, and the browser goes on to an address that holds nothing. A
// ticket past its time leads to the end of the page, without a session.
func (h *Handler) open(w http.ResponseWriter, r *http.Request) {
	t, err := ticket.Decode(h.cfg.Ring, r.URL.Query().Get("ticket"))
	if err != nil {
		h.lost(w, r, http.StatusNotFound)
		return
	}
	a := asked{session: t.Open(), face: face{h.faces.Choose(t.Locale, r.Header.Get("Accept-Language"))}, w: w, r: r}
	if !h.cfg.Clock().Before(t.ExpiresAt) {
		h.ended(a, http.StatusGone, end{kind: "expired"})
		return
	}
	h.keep(w, r, a.session)
	h.cfg.Site.Open(w, a.path(""))
}

// The life of a cookie, and the room for all of them.
const (
	afterEnd   = 15 * time.Minute // how long the end of a challenge can be shown
	maxCookies = 6 << 10
)

// prefix begins the names of the cookies; each page has one of its own, so that two tabs do not meet.
func (h *Handler) prefix() string { return h.cfg.Site.Cookie("doorcode-") }

// session returns the session of the page in the address. It ends a while after the challenge.
func (h *Handler) session(r *http.Request) (ticket.Session, bool) {
	page := r.PathValue("page")
	c, err := r.Cookie(h.prefix() + page)
	if err != nil {
		return ticket.Session{}, false
	}
	s, err := ticket.DecodeSession(h.cfg.Ring, c.Value)
	if err != nil || s.Page() != page || h.cfg.Clock().After(s.ExpiresAt.Add(afterEnd)) {
		return ticket.Session{}, false
	}
	return s, true
}

// keep sets the cookie of a session and takes away those of other pages that have ended, and more when their room is
// short: a request has only so much for all of them.
func (h *Handler) keep(w http.ResponseWriter, r *http.Request, s ticket.Session) {
	value := s.Encode(h.cfg.Ring)
	room := maxCookies - len(value)
	for _, c := range slices.Backward(r.Cookies()) { // Browsers send the oldest first.
		if !strings.HasPrefix(c.Name, h.prefix()) || c.Name == h.prefix()+s.Page() {
			continue
		}
		other, err := ticket.DecodeSession(h.cfg.Ring, c.Value)
		room -= len(c.Value)
		if err != nil || room < 0 || h.cfg.Clock().After(other.ExpiresAt) {
			h.cfg.Site.SetCookie(w, c.Name, "", -1)
		}
	}
	life := s.ExpiresAt.Add(afterEnd).Sub(h.cfg.Clock())
	h.cfg.Site.SetCookie(w, h.prefix()+s.Page(), value, int(life.Seconds()))
}

// ParsePublicURL checks the address at which browsers reach the pages and returns it as an origin, as browsers write it:
// without the port that the scheme has anyway (RFC 6454 §6.1).
func ParsePublicURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("it is not an origin such as https://sign-in.example.com")
	}
	host := u.Hostname()
	if u.Scheme != "https" && (u.Scheme != "http" || (host != "127.0.0.1" && host != "::1" && host != "localhost")) {
		return nil, errors.New("it is https; http is for 127.0.0.1, [::1] and localhost")
	}
	host = strings.ToLower(u.Host)
	if port := u.Port(); port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return &url.URL{Scheme: u.Scheme, Host: host}, nil
}
