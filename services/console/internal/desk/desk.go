// Package desk is the pages of the console: sign-in, search, the story of a challenge, and
// what support may do about it.
//
// Every request reads the operator's row anew, so that whoever is removed or changed loses their session at once; what a
// role may see and do is asked of pkg/operator alone, for every address. Nothing here knows a code, a key or a full address.
// Everything works without JavaScript: there is none.
package desk

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/client"
	"doorcode/pkg/keyring"
	"doorcode/pkg/mask"
	"doorcode/pkg/operator"
	"doorcode/pkg/postgres"
	"doorcode/pkg/telemetry"
	"doorcode/services/console/internal/board"
	"doorcode/services/console/internal/session"
)

// record is what the pages read. Each puts on record who read.
type record interface {
	Stories(ctx context.Context, operator string, q postgres.StoryQuery) ([]postgres.Story, error)
	SearchChallenges(ctx context.Context, operator string, q postgres.SearchQuery) ([]postgres.Found, error)
	NewestAudit(ctx context.Context, q postgres.AuditQuery, operator string, limit int) ([]postgres.Audit, error)
}

// figures are the pages that show what happened in all workspaces together, and nobody's name but operators'.
type figures interface {
	Health(ctx context.Context) (board.Page, error)
	Rollout(ctx context.Context) (board.Page, error)
}

// roster is who may sign in.
type roster interface {
	Operator(ctx context.Context, id, session string, began time.Time) (postgres.ListedOperator, error)
	BeginSession(ctx context.Context, session, id string) (time.Time, error)
	EndSession(ctx context.Context, session, id string) error
}

// codes is doorcode itself, asked as any login page asks it.
type codes interface {
	Create(ctx context.Context, r client.Request) (client.Challenge, error)
	Check(ctx context.Context, handle, code string) (client.Person, error)
	Resend(ctx context.Context, handle string) error
}

// Config is what the pages work with; every part is required.
type Config struct {
	PublicURL string // the origin at which browsers reach them
	Record    record
	Figures   figures
	Operators roster
	Codes     codes
	Help      helper
	Keys      *keyring.Ring
	Clock     func() time.Time
	Telemetry telemetry.Telemetry
}

// Site serves the pages.
type Site struct {
	cfg     Config
	log     *slog.Logger
	origin  *http.CrossOriginProtection
	pages   map[string]*template.Template
	policy  string
	masks   mask.Masks
	signIns *prometheus.CounterVec
}

// The bounds of a request.
const (
	longest = 12 * time.Second
	maxForm = 8 << 10
)

// New returns the site, or an error when a part is missing.
func New(cfg Config) (*Site, error) {
	if cfg.PublicURL == "" || cfg.Record == nil || cfg.Figures == nil || cfg.Operators == nil || cfg.Codes == nil || cfg.Help == nil || cfg.Keys == nil ||
		cfg.Clock == nil {
		return nil, errors.New("desk: a part of the configuration is missing")
	}
	s := &Site{cfg: cfg, log: cfg.Telemetry.Log, origin: http.NewCrossOriginProtection(), masks: mask.New()}
	// A proxy may change the Host header; the origin of the pages is known anyway.
	err := s.origin.AddTrustedOrigin(cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("desk: %w", err)
	}
	err = s.readPages()
	if err != nil {
		return nil, err
	}
	s.count()
	return s, nil
}

// The ways in which a sign-in to the console goes on; they are the metric's label.
const (
	refused  = "refused"  // unknown, removed or a wrong secret
	asked    = "asked"    // the secret was right, a code was asked for
	admitted = "admitted" // the code was right
	failed   = "failed"   // no code could be asked for
)

// count makes the metrics, with every label value from the start.
func (s *Site) count() {
	s.signIns = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doorcode_console_sign_ins_total", Help: "Steps of sign-ins to the console by what became of them.",
	}, []string{"result"})
	for _, result := range []string{refused, asked, admitted, failed} {
		s.signIns.WithLabelValues(result)
	}
	if s.cfg.Telemetry.Registry != nil {
		s.cfg.Telemetry.Registry.MustRegister(s.signIns)
	}
}

// Handler returns the addresses of the console.
//
// A page is added by one line here with the act of pkg/operator that it is, and one in tabs when it stands in the menu.
func (s *Site) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sign-in", s.showSignIn)
	mux.HandleFunc("POST /sign-in", s.signIn)
	mux.HandleFunc("GET /code", s.showCode)
	mux.HandleFunc("POST /code", s.checkCode)
	mux.HandleFunc("POST /code/resend", s.resendCode)
	mux.HandleFunc("POST /sign-out", s.signOut)
	mux.HandleFunc("GET /{$}", s.guard(operator.Search, s.search))
	mux.HandleFunc("GET /challenges/{id}", s.guard(operator.Timeline, s.timeline))
	mux.HandleFunc("GET "+healthPath, s.guard(operator.Health, s.showFigures(healthPath, s.cfg.Figures.Health)))
	mux.HandleFunc("GET "+rolloutPath, s.guard(operator.Rollout, s.showFigures(rolloutPath, s.cfg.Figures.Rollout)))
	mux.HandleFunc("GET "+auditPath, s.guard(operator.Audit, s.audit))
	mux.HandleFunc("POST /challenges/{id}/send-again", s.guard(operator.SendAgain, s.order(operator.SendAgain)))
	mux.HandleFunc("POST /challenges/{id}/unlock", s.guard(operator.Unlock, s.order(operator.Unlock)))
	// Whose act it is that waits for its code, waiting asks again.
	mux.HandleFunc("GET /confirm", s.guard(operator.Timeline, s.showConfirm))
	mux.HandleFunc("POST /confirm", s.guard(operator.Timeline, s.confirm))
	return s.secured(s.origin.Handler(mux))
}

// tab is an entry of the menu.
type tab struct {
	Act  operator.Act
	Path string
	Name string
	Here bool
}

// tabs is the menu, in its order.
func tabs() []tab {
	return []tab{
		{Act: operator.Search, Path: "/", Name: "Search"},
		{Act: operator.Health, Path: healthPath, Name: "Channel health"},
		{Act: operator.Rollout, Path: rolloutPath, Name: "Roll-out"},
		{Act: operator.Audit, Path: auditPath, Name: "Audit"},
	}
}

// secured bounds a request and sets the headers that every answer has.
func (s *Site) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", s.policy)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if s.https() {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		ctx, cancel := context.WithTimeout(r.Context(), longest)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// https reports whether browsers reach the pages over TLS.
func (s *Site) https() bool { return strings.HasPrefix(s.cfg.PublicURL, "https:") }

// The cookies.
const (
	sessionCookie = "doorcode-console"
	pendingCookie = "doorcode-console-code"
)

// cookie is the name of a cookie. `__Host-` binds it to this very host and to https (RFC 6265bis §4.1.3); browsers do not
// take it over plain http, where pages are served on a loopback host for development alone.
func (s *Site) cookie(name string) string {
	if s.https() {
		return "__Host-" + name
	}
	return name
}

// setCookie sets a cookie that ends with the browser's own session, or takes it away when it is empty. No script can read
// it, and no other site sends it.
func (s *Site) setCookie(w http.ResponseWriter, name, value string) {
	c := &http.Cookie{Name: s.cookie(name), Value: value, Path: "/", HttpOnly: true, Secure: s.https(), SameSite: http.SameSiteStrictMode} //nolint:gosec // It is Secure wherever browsers come over TLS, see cookie.
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// visit is a request of somebody who is signed in.
type visit struct {
	session  session.Session
	operator postgres.ListedOperator
}

// workspaces are the only ones that the visitor sees; nil: all.
func (v visit) workspaces() []string {
	if v.operator.AllWorkspaces {
		return nil
	}
	return append([]string{}, v.operator.Workspaces...)
}

// errSignedOut says that nobody is signed in at this browser.
var errSignedOut = errors.New("nobody is signed in")

// visitor returns who is signed in at a browser, as the list has them now, or errSignedOut.
func (s *Site) visitor(r *http.Request) (visit, error) {
	c, err := r.Cookie(s.cookie(sessionCookie))
	if err != nil {
		return visit{}, errSignedOut
	}
	v := visit{}
	v.session, err = session.Decode(s.cfg.Keys, c.Value)
	if err != nil || !v.session.Live(s.cfg.Clock()) {
		return visit{}, errSignedOut
	}
	v.operator, err = s.cfg.Operators.Operator(r.Context(), v.session.Operator, v.session.ID, v.session.Began)
	if errors.Is(err, postgres.ErrNoOperatorRow) {
		return visit{}, errSignedOut
	}
	if err == nil && (v.operator.Over || v.operator.Version != v.session.Version) {
		return visit{}, errSignedOut
	}
	return v, err
}

// guard lets those in who are signed in and whose role has the act.
func (s *Site) guard(act operator.Act, serve func(http.ResponseWriter, *http.Request, visit)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := s.visitor(r)
		switch {
		case errors.Is(err, errSignedOut):
			s.setCookie(w, sessionCookie, "")
			http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
			return
		case err != nil:
			s.unavailable(w, err)
			return
		case !v.may(act):
			s.refuse(w, v, http.StatusForbidden, "Your role does not have this page.")
			return
		}
		if !r.URL.Query().Has(byItself) { // Somebody is there.
			v.session.Seen = s.cfg.Clock()
			value, err := v.session.Encode(s.cfg.Keys)
			if err != nil {
				s.unavailable(w, err)
				return
			}
			s.setCookie(w, sessionCookie, value)
		}
		serve(w, r, v)
	}
}
