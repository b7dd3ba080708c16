// Package site is the fictitious dashboard "Lanternbird": a login page with a
// password, a code page, and a page behind them. The code is asked for in one of
// two ways: by a code page of its own over the API, or by doorcode's hosted page,
// which sends the browser back with an assertion. Everything works without
// JavaScript.
package site

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"doorcode/pkg/client"
)

// The one login of the demo. Its password is shown on the page.
const (
	Workspace = "lanternbird"
	Login     = "jo"
	Email     = "jo@lanternbird.example"
	Password  = "lantern"
)

//go:embed templates/*.html
var files embed.FS

// Config lists what the pages need.
type Config struct {
	Doorcode     *client.Client
	PublicURL    string // where browsers reach the site
	PromptOrigin string // of doorcode's hosted pages; empty: there are none
	InboxURL     string
	Log          *slog.Logger
}

// Site serves the pages.
type Site struct {
	doorcode   *client.Client
	public     string
	prompt     string
	protection *http.CrossOriginProtection
	inbox      string
	log        *slog.Logger
	pages      map[string]*template.Template
	sessions   *sessions
}

// Seed puts the demo's workspace and login into doorcode's directory, as a host
// application keeps it in step. A main address that its owner has changed on the
// settings page stays.
func Seed(ctx context.Context, c *client.Client) error {
	err := c.PutWorkspace(ctx, Workspace, client.Workspace{Name: "Lanternbird", MainEmail: Email, Owner: Login})
	var refused *client.Error
	if errors.As(err, &refused) && refused.Code == "main_email_differs" {
		err = nil
	}
	if err != nil {
		return err
	}
	return c.PutLogin(ctx, Workspace, Login, client.Login{Role: "owner", Locale: "en"})
}

// New returns the site.
func New(cfg Config) (*Site, error) {
	s := &Site{
		doorcode: cfg.Doorcode, public: strings.TrimSuffix(cfg.PublicURL, "/"), prompt: strings.TrimSuffix(cfg.PromptOrigin, "/"),
		inbox: cfg.InboxURL, log: cfg.Log, sessions: newSessions(time.Now), pages: map[string]*template.Template{},
		protection: http.NewCrossOriginProtection(),
	}
	if s.prompt != "" {
		err := s.protection.AddTrustedOrigin(s.prompt)
		if err != nil {
			return nil, fmt.Errorf("trust the origin of the code page: %w", err)
		}
	}
	for _, name := range []string{"login", "code", "home"} {
		page, err := template.ParseFS(files, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("read page %s: %w", name, err)
		}
		s.pages[name] = page
	}
	return s, nil
}

// Handler returns the site's routes. Posts from other origins are refused, but
// for those of doorcode's page: what protects the one that it sends is the
// assertion for the handle of this browser's own pending sign-in.
func (s *Site) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.showLogin)
	mux.HandleFunc("POST /sign-in", s.signIn)
	mux.HandleFunc("GET /code", s.showCode)
	mux.HandleFunc("POST /code", s.checkCode)
	mux.HandleFunc("POST /code/resend", s.resend)
	mux.HandleFunc("POST /code/skip", s.skip)
	mux.HandleFunc("POST /code/cancel", s.cancel)
	mux.HandleFunc("POST "+returnPath, s.comeBack)
	mux.HandleFunc("GET "+returnPath, s.startAgain)
	mux.HandleFunc("GET /home", s.showHome)
	mux.HandleFunc("POST /settings", s.settings)
	mux.HandleFunc("POST /sign-out", s.signOut)
	return s.protection.Handler(s.secured(s.oneHost(mux)))
}

// oneHost leads whoever opens the site under another name of the machine itself
// to the one at which doorcode's page leads back: a session belongs to a host.
func (s *Site) oneHost(next http.Handler) http.Handler {
	public, err := url.Parse(s.public)
	if err != nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (r.Method != http.MethodGet && r.Method != http.MethodHead) || !alias(r.Host, public) {
			next.ServeHTTP(w, r)
			return
		}
		there := url.URL{Scheme: public.Scheme, Host: public.Host, Path: r.URL.Path, RawQuery: r.URL.RawQuery}
		http.Redirect(w, r, there.String(), http.StatusTemporaryRedirect)
	})
}

// alias reports whether a Host header is another name of the machine itself
// than that of an address, with the same port.
func alias(host string, there *url.URL) bool {
	here, err := url.Parse("//" + host)
	if err != nil {
		return false
	}
	names := []string{"localhost", "127.0.0.1", "::1"}
	return here.Port() == there.Port() && here.Hostname() != there.Hostname() &&
		slices.Contains(names, here.Hostname()) && slices.Contains(names, there.Hostname())
}

// secured adds the headers that every page has. Browsers hold the answer to a
// form against form-action too, so doorcode's pages stand in it.
func (s *Site) secured(next http.Handler) http.Handler {
	forms := strings.TrimSpace("'self' " + s.prompt)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action "+forms+"; frame-ancestors 'none'; base-uri 'none'")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
		next.ServeHTTP(w, r)
	})
}

// view is what the pages show.
type view struct {
	Title    string
	Email    string
	Password string
	Inbox    string
	Hosted   bool   // doorcode's own page can ask for the code
	Message  string // what went wrong or happened, in one sentence
	Pending  *pending
	State    *client.State
	Person   *client.Person
}

// render writes a page.
func (s *Site) render(w http.ResponseWriter, name string, status int, v view) {
	v.Inbox, v.Email, v.Password, v.Hosted = s.inbox, Email, Password, s.prompt != ""
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	err := s.pages[name].ExecuteTemplate(w, "layout", v)
	if err != nil {
		s.log.Warn("page not written", "page", name, "error", err)
	}
}

// showLogin is the login page.
func (s *Site) showLogin(w http.ResponseWriter, r *http.Request) {
	if s.sessions.person(r) != nil {
		http.Redirect(w, r, "/home", http.StatusSeeOther)
		return
	}
	s.render(w, "login", http.StatusOK, view{Title: "Sign in"})
}

// signIn checks the password and asks doorcode for a challenge. Nothing is sent
// before the password was right.
func (s *Site) signIn(w http.ResponseWriter, r *http.Request) {
	email, password := r.PostFormValue("email"), r.PostFormValue("password")
	right := subtle.ConstantTimeCompare([]byte(email), []byte(Email)) & subtle.ConstantTimeCompare([]byte(password), []byte(Password))
	if right != 1 {
		s.render(w, "login", http.StatusUnauthorized, view{Title: "Sign in", Message: "That e-mail address and password do not go together."})
		return
	}
	wanted := client.Request{Workspace: Workspace, Login: Login, Visitor: visitor(w, r)}
	if r.PostFormValue("way") == "hosted" {
		wanted.ReturnURL = s.public + returnPath
	}
	ch, err := s.doorcode.Create(r.Context(), wanted)
	if err != nil {
		s.log.Warn("challenge not created", "error", err)
		s.render(w, "login", http.StatusServiceUnavailable, view{Title: "Sign in", Message: sentence(err)})
		return
	}
	if ch.Decision == client.NotRequired {
		s.enterWithoutCode(w, r, ch)
		return
	}
	s.sessions.begin(w, r, pending{
		Handle: ch.Handle, Label: ch.Label, Recipient: ch.Recipient, Reference: ch.SupportReference, ExpiresAt: ch.ExpiresAt,
	})
	if ch.PromptURL != "" {
		http.Redirect(w, r, ch.PromptURL, http.StatusSeeOther) // doorcode's page asks for the code.
		return
	}
	http.Redirect(w, r, "/code", http.StatusSeeOther)
}

// returnPath is where doorcode's page posts the assertion, and where it leads
// whoever has to start again.
const returnPath = "/signed-in"

// comeBack lets in whoever comes back with an assertion for this browser's own
// pending sign-in. The handle is the one of the session, not of the post.
func (s *Site) comeBack(w http.ResponseWriter, r *http.Request) {
	p := s.sessions.pending(r)
	switch {
	case p == nil && s.sessions.person(r) != nil: // Sent twice: the first has signed in.
		http.Redirect(w, r, "/home", http.StatusSeeOther)
		return
	case p == nil:
		s.notIn(w, http.StatusForbidden, "No sign-in is waiting in this browser. Please start again.")
		return
	}
	person, err := s.doorcode.Verify(r.Context(), p.Handle, r.PostFormValue("assertion"))
	if err != nil {
		s.log.Warn("assertion not accepted", "error", err)
	}
	switch {
	case errors.Is(err, client.ErrAssertion):
		s.notIn(w, http.StatusForbidden, "What came back proves nothing for this sign-in, so you are not signed in. Please start again.")
	case err != nil:
		s.notIn(w, http.StatusServiceUnavailable, "Your code was right, but we cannot check that at the moment. Load this page again to try once more, or start again.")
	default:
		s.enter(w, r, p, person)
	}
}

// notIn is the login page with a sentence that says why nobody was let in.
func (s *Site) notIn(w http.ResponseWriter, status int, why string) {
	s.render(w, "login", status, view{Title: "Sign in", Message: why})
}

// enter turns the pending sign-in into a session, once.
func (s *Site) enter(w http.ResponseWriter, r *http.Request, p *pending, person client.Person) {
	if person.Workspace != Workspace || person.Login != Login || !s.sessions.finish(w, r, p.Handle, person) {
		s.notIn(w, http.StatusForbidden, "That was somebody else's sign-in, or one that has ended. Please start again.")
		return
	}
	http.Redirect(w, r, "/home", http.StatusSeeOther)
}

// enterWithoutCode lets in whoever needs no code yet: on an assertion too, and
// on the one that came with this very answer.
func (s *Site) enterWithoutCode(w http.ResponseWriter, r *http.Request, ch client.Challenge) {
	person, err := s.doorcode.Waived(r.Context(), ch)
	switch {
	case err != nil:
		s.log.Warn("waiver not accepted", "error", err)
		s.notIn(w, http.StatusServiceUnavailable, sentence(err))
	case person.Workspace != Workspace || person.Login != Login:
		s.notIn(w, http.StatusForbidden, "That was somebody else's sign-in. Please start again.")
	default:
		s.sessions.admit(w, r, person)
		http.Redirect(w, r, "/home", http.StatusSeeOther)
	}
}

// startAgain forgets the pending sign-in, whose code cannot be typed any more,
// and leads to the login page. Whoever is signed in stays so.
func (s *Site) startAgain(w http.ResponseWriter, r *http.Request) {
	if s.sessions.pending(r) != nil {
		s.sessions.end(w, r)
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// showCode is the code page with what is known about the message.
func (s *Site) showCode(w http.ResponseWriter, r *http.Request) { s.codePage(w, r, http.StatusOK, "") }

// codePage writes the code page with a sentence on it.
func (s *Site) codePage(w http.ResponseWriter, r *http.Request, status int, message string) {
	p := s.sessions.pending(r)
	if p == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	v := view{Title: "Check your e-mail", Pending: p, Message: message}
	state, err := s.doorcode.Read(r.Context(), p.Handle)
	if err == nil {
		v.State = &state
	}
	s.render(w, "code", status, v)
}

// checkCode has the typed code judged. Only a Person, which is a verified
// assertion for this browser's own pending sign-in, lets anyone in.
func (s *Site) checkCode(w http.ResponseWriter, r *http.Request) {
	p := s.sessions.pending(r)
	if p == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	person, err := s.doorcode.Check(r.Context(), p.Handle, r.PostFormValue("code"))
	if err != nil {
		s.codePage(w, r, http.StatusUnprocessableEntity, sentence(err))
		return
	}
	s.enter(w, r, p, person)
}

// skip goes on without the code, where doorcode allows it.
func (s *Site) skip(w http.ResponseWriter, r *http.Request) {
	p := s.sessions.pending(r)
	if p == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	person, err := s.doorcode.Skip(r.Context(), p.Handle)
	if err != nil {
		s.codePage(w, r, http.StatusUnprocessableEntity, sentence(err))
		return
	}
	s.enter(w, r, p, person)
}

// resend asks for the same code once more.
func (s *Site) resend(w http.ResponseWriter, r *http.Request) {
	p := s.sessions.pending(r)
	if p == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	err := s.doorcode.Resend(r.Context(), p.Handle)
	if err != nil {
		s.codePage(w, r, http.StatusUnprocessableEntity, sentence(err))
		return
	}
	http.Redirect(w, r, "/code", http.StatusSeeOther)
}

// cancel ends the pending sign-in: "this was not me", or another try.
func (s *Site) cancel(w http.ResponseWriter, r *http.Request) {
	if p := s.sessions.pending(r); p != nil {
		err := s.doorcode.Cancel(r.Context(), p.Handle)
		if err != nil {
			s.log.Warn("challenge not canceled", "error", err)
		}
	}
	s.sessions.end(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// showHome is the page behind both steps.
func (s *Site) showHome(w http.ResponseWriter, r *http.Request) {
	person := s.sessions.person(r)
	if person == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s.render(w, "home", http.StatusOK, view{Title: "Dashboard", Person: person})
}

// settings sends whoever is signed in to doorcode's Security settings. It is a
// post, so that no link makes a session there.
func (s *Site) settings(w http.ResponseWriter, r *http.Request) {
	person := s.sessions.person(r)
	if person == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	link, err := s.doorcode.OpenSettings(r.Context(), client.SettingsRequest{
		Workspace: person.Workspace, Login: person.Login, ReturnURL: s.public + "/home", Visitor: visitor(w, r),
	})
	if err != nil {
		s.log.Warn("settings not opened", "error", err)
		s.render(w, "home", http.StatusServiceUnavailable, view{
			Title: "Dashboard", Person: person, Message: "Security settings cannot be opened right now. Please try again in a moment.",
		})
		return
	}
	http.Redirect(w, r, link.URL, http.StatusSeeOther)
}

// browserCookie names the browser for a year, so that doorcode can tell the
// browsers of a login apart. It opens nothing.
const browserCookie = "lanternbird-browser"

// visitor is what doorcode is told about the browser of a request.
func visitor(w http.ResponseWriter, r *http.Request) *client.Visitor {
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	id := rand.Text()
	c, err := r.Cookie(browserCookie)
	if err == nil && len(c.Value) == len(id) {
		id = c.Value
	} else {
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // plain http on one machine, see cookieName
			Name: browserCookie, Value: id, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		})
	}
	return &client.Visitor{Address: address, UserAgent: r.UserAgent(), BrowserID: id}
}

// signOut ends the session.
func (s *Site) signOut(w http.ResponseWriter, r *http.Request) {
	s.sessions.end(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// sentence says to a person what a refusal means and what to do.
func sentence(err error) string {
	var e *client.Error
	if !errors.As(err, &e) {
		return "Sign-in is not available right now. Please try again in a moment."
	}
	switch e.Code {
	case "wrong_code":
		if e.ChecksLeft != nil && *e.ChecksLeft > 0 {
			return fmt.Sprintf("That is not the code for this sign-in. Tries left: %d.", *e.ChecksLeft)
		}
		return "That was not the code, and no try is left. Please start again."
	case "invalid_request":
		return "A code has six digits or more. Type it as it stands in the message."
	case "expired":
		return "This code ran out. Please start again."
	case "used", "closed":
		return "This sign-in is closed. Please start again."
	case "not_skippable":
		return "This sign-in needs its code: it cannot be skipped."
	case "resend_too_early":
		return fmt.Sprintf("You can ask for another message in %d seconds. The one you have still works.", int(e.RetryAfter.Seconds()))
	case "no_more_sends":
		return "No further message can be sent for this sign-in. Please start again."
	case "too_many", "too_many_live", "too_many_messages", "too_many_requests":
		return "Too many tries. Please wait a while and start again."
	case "login_locked":
		return "This login is locked. Please ask support to open it again."
	default:
		return "Sign-in is not available right now. Please try again in a moment."
	}
}
