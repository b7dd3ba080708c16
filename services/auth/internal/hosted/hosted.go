// Package hosted is what all hosted pages have in common: layout, style and script, the policy that names both by hash,
// languages, cookies, and the checks of a posted form (SEC-58). A set of pages brings its templates and texts and adds
// its addresses to the one Site.
package hosted

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"doorcode/pkg/httpserver"
	"doorcode/pkg/style"
)

// Config says where the pages are and whose they are.
type Config struct {
	// PublicURL is the origin at which browsers reach the pages: https, or http on a loopback host.
	PublicURL string
	// Brand is the product that people sign in to; SupportURL is where they get help, empty for nowhere.
	Brand, SupportURL string
	Log               *slog.Logger
}

// Site serves all hosted pages of a process. Addresses are added before it serves.
type Site struct {
	cfg           Config
	style, script []byte
	policy        policy
	origin        *http.CrossOriginProtection
	mux           *http.ServeMux
	routes        []httpserver.Route
}

// The bounds of a request.
const (
	longest = 12 * time.Second // the work on it, under the server's own bound
	maxForm = 8 << 10
)

// New returns a site without pages.
func New(cfg Config) (*Site, error) {
	if cfg.PublicURL == "" || cfg.Log == nil {
		return nil, errors.New("hosted: a part of the configuration is missing")
	}
	s := &Site{cfg: cfg, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection()}
	// A proxy may change the Host header; the origin of the pages is known anyway.
	err := s.origin.AddTrustedOrigin(cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("hosted: %w", err)
	}
	s.style = style.Sheet()
	s.script, err = files.ReadFile("templates/page.js")
	if err != nil {
		return nil, fmt.Errorf("hosted: read script: %w", err)
	}
	s.policy = policy{style: source(s.style), script: source(s.script)}
	return s, nil
}

// Routes lists the addresses of the pages.
func (s *Site) Routes() []httpserver.Route { return s.routes }

// ServeHTTP answers a request for one of the routes.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Add adds an address whose work lasts as long as it likes.
func (s *Site) Add(method, pattern string, f http.HandlerFunc) {
	s.mux.HandleFunc(method+" "+pattern, f)
	s.routes = append(s.routes, httpserver.Route{Method: method, Pattern: pattern})
}

// Handle adds an address whose work is bounded in time.
func (s *Site) Handle(method, pattern string, f http.HandlerFunc) {
	s.Add(method, pattern, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), longest)
		defer cancel()
		f(w, r.WithContext(ctx))
	})
}

// Own reports whether a post comes from the site's own origin, as far as the browser tells, and bounds its body.
func (s *Site) Own(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	return s.origin.Check(r) == nil
}

// ReadForm reads the form of a post and reports whether it is one that an HTML form sends.
func ReadForm(r *http.Request) bool {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	err := r.ParseForm()
	return err == nil && strings.TrimSpace(kind) == "application/x-www-form-urlencoded"
}

// secure reports whether browsers reach the pages over TLS.
func (s *Site) secure() bool { return strings.HasPrefix(s.cfg.PublicURL, "https:") }

// Cookie is the name of a cookie of a set of pages, or what the names of several begin with. `__Host-` binds a cookie to
// this very host and to https (RFC 6265bis §4.1.3); browsers do not take it over plain http, where pages are served on a
// loopback host for development alone. No set's names may begin as another's do.
func (s *Site) Cookie(name string) string {
	if s.secure() {
		return "__Host-" + name
	}
	return name
}

// SetCookie sets a cookie for so many seconds, or takes it away when they are negative. No script can read it, and other
// sites send it with a plain link alone.
func (s *Site) SetCookie(w http.ResponseWriter, name, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // It is Secure wherever browsers come over TLS, see Cookie.
		Name: name, Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteLaxMode,
	})
}
