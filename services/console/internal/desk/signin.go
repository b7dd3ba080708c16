package desk

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/client"
	"doorcode/pkg/frontend"
	"doorcode/pkg/postgres"
	"doorcode/services/console/internal/session"
)

// unknownOperator is the one answer to an unknown id, to a removed operator and to a wrong secret.
const unknownOperator = "That name and that secret do not go together."

// showSignIn is the first page.
func (s *Site) showSignIn(w http.ResponseWriter, r *http.Request) {
	_, err := s.visitor(r)
	if err == nil {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	s.signInPage(w, http.StatusOK, "")
}

func (s *Site) signInPage(w http.ResponseWriter, status int, problem string) {
	s.render(w, status, "sign-in", page{Title: "Sign in to the console", Problem: problem})
}

// signIn judges the secret and has doorcode ask for a code, as any login page does. Whoever is not known costs the same
// work as whoever typed a wrong secret, and gets the same words.
func (s *Site) signIn(w http.ResponseWriter, r *http.Request) {
	id, secret := strings.TrimSpace(r.PostFormValue("operator")), strings.TrimSpace(r.PostFormValue("secret"))
	o, err := s.cfg.Operators.Operator(r.Context(), id, "", s.cfg.Clock())
	if err != nil && !errors.Is(err, postgres.ErrNoOperatorRow) {
		s.unavailable(w, err)
		return
	}
	if !o.Holds(s.cfg.Keys, id, secret) || account.ValidateID(id) != nil {
		s.signIns.WithLabelValues(refused).Inc()
		s.log.Warn("sign-in to the console refused")
		s.signInPage(w, http.StatusUnauthorized, unknownOperator)
		return
	}
	p, err := s.ask(r, o)
	if err != nil {
		s.signIns.WithLabelValues(failed).Inc()
		s.log.Warn("no code for the console", "operator", id, "error", err)
		s.signInPage(w, http.StatusServiceUnavailable, "No code can be sent at the moment. "+sentence(err))
		return
	}
	s.signIns.WithLabelValues(asked).Inc()
	s.keep(w, p, "/code", r)
}

// errNotAsked says that doorcode would let an operator in without a code, which the console never does (SEC-59).
var errNotAsked = errors.New("no code is required of the operators' workspace, and the console wants one")

// ask has doorcode send a code to an operator.
func (s *Site) ask(r *http.Request, o postgres.ListedOperator) (session.Pending, error) {
	ch, err := s.cfg.Codes.Create(r.Context(), client.Request{
		Workspace: frontend.Operators, Login: o.ID, Locale: "en", Visitor: &client.Visitor{UserAgent: shortAgent(r)},
	})
	if err != nil {
		return session.Pending{}, err
	}
	if ch.Decision != client.Required {
		return session.Pending{}, errNotAsked
	}
	return session.Pending{
		Operator: o.ID, Version: o.Version, Handle: ch.Handle, Label: ch.Label, Recipient: ch.Recipient, Reference: ch.SupportReference,
		Asked: s.cfg.Clock(),
	}, nil
}

// shortAgent is the browser's name, cut to what auth takes.
func shortAgent(r *http.Request) string {
	agent := r.UserAgent()
	return agent[:min(len(agent), 200)]
}

// keep puts what waits for a code into the browser and leads on.
func (s *Site) keep(w http.ResponseWriter, p session.Pending, path string, r *http.Request) {
	value, err := p.Encode(s.cfg.Keys)
	if err != nil {
		s.unavailable(w, err)
		return
	}
	s.setCookie(w, pendingCookie, value)
	http.Redirect(w, r, path, http.StatusSeeOther)
}

// pending returns what waits for a code in a browser, if it is fresh.
func (s *Site) pending(r *http.Request) (session.Pending, bool) {
	c, err := r.Cookie(s.cookie(pendingCookie))
	if err != nil {
		return session.Pending{}, false
	}
	p, err := session.DecodePending(s.cfg.Keys, c.Value)
	return p, err == nil && p.Fresh(s.cfg.Clock())
}

// signingIn is pending for a sign-in alone: a code that was asked for an act begins no session.
func (s *Site) signingIn(r *http.Request) (session.Pending, bool) {
	p, ok := s.pending(r)
	return p, ok && p.Act == ""
}

// showCode is the page that asks for the code.
func (s *Site) showCode(w http.ResponseWriter, r *http.Request) {
	p, ok := s.signingIn(r)
	if !ok {
		http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
		return
	}
	s.codePage(w, p, http.StatusOK, "", "")
}

func (s *Site) codePage(w http.ResponseWriter, p session.Pending, status int, problem, news string) {
	s.render(w, status, "code", page{Title: "Check your e-mail", Problem: problem, News: news, Body: p})
}

// resendCode orders one more message with the same code.
func (s *Site) resendCode(w http.ResponseWriter, r *http.Request) {
	p, ok := s.signingIn(r)
	if !ok {
		http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
		return
	}
	err := s.cfg.Codes.Resend(r.Context(), p.Handle)
	if err != nil {
		s.codePage(w, p, http.StatusConflict, sentence(err), "")
		return
	}
	s.codePage(w, p, http.StatusOK, "", "Another message is on its way.")
}

// checkCode has a typed code judged. Only a verified assertion about this very operator goes on, and only if the list has
// them as it had them when they typed their secret.
func (s *Site) checkCode(w http.ResponseWriter, r *http.Request) {
	p, ok := s.signingIn(r)
	if !ok {
		s.setCookie(w, pendingCookie, "")
		s.signInPage(w, http.StatusUnauthorized, "A code is good for five minutes here. Please start again.")
		return
	}
	person, err := s.cfg.Codes.Check(r.Context(), p.Handle, r.PostFormValue("code"))
	if err != nil {
		s.codePage(w, p, status(err), sentence(err), "")
		return
	}
	s.setCookie(w, pendingCookie, "")
	o, err := s.cfg.Operators.Operator(r.Context(), p.Operator, "", s.cfg.Clock())
	switch {
	case errors.Is(err, postgres.ErrNoOperatorRow):
		s.signInPage(w, http.StatusUnauthorized, unknownOperator)
	case err != nil:
		s.unavailable(w, err)
	case person.Workspace != frontend.Operators || person.Login != p.Operator || o.Version != p.Version:
		s.signInPage(w, http.StatusUnauthorized, unknownOperator)
	default:
		s.enter(w, r, o, person.Challenge)
	}
}

// enter begins a session, once for each code: its begin is on record before anybody is let in.
func (s *Site) enter(w http.ResponseWriter, r *http.Request, o postgres.ListedOperator, proof string) {
	began, err := s.cfg.Operators.BeginSession(r.Context(), proof, o.ID)
	if errors.Is(err, postgres.ErrSession) {
		s.signInPage(w, http.StatusUnauthorized, "That code has begun a session before. Please start again.")
		return
	}
	if err != nil {
		s.unavailable(w, err)
		return
	}
	now := session.Session{ID: proof, Operator: o.ID, Version: o.Version, Began: began, Seen: s.cfg.Clock()}
	value, err := now.Encode(s.cfg.Keys)
	if err != nil {
		s.unavailable(w, err)
		return
	}
	s.signIns.WithLabelValues(admitted).Inc()
	s.log.Info("operator signed in", "operator", o.ID)
	s.setCookie(w, sessionCookie, value)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// signOut ends the session for good: its end is on record, which every later request with a copy of the cookie meets.
func (s *Site) signOut(w http.ResponseWriter, r *http.Request) {
	v, err := s.visitor(r)
	if err == nil {
		err = s.cfg.Operators.EndSession(r.Context(), v.session.ID, v.operator.ID)
	}
	if err != nil && !errors.Is(err, errSignedOut) {
		s.unavailable(w, err)
		return
	}
	s.setCookie(w, sessionCookie, "")
	s.setCookie(w, pendingCookie, "")
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}

// status is the HTTP status of what doorcode answered.
func status(err error) int {
	var e *client.Error
	if errors.As(err, &e) && e.Status >= 400 {
		return e.Status
	}
	return http.StatusServiceUnavailable
}

// sentence says what doorcode answered, for a person.
func sentence(err error) string {
	var e *client.Error
	if !errors.As(err, &e) {
		return "Please try again in a moment."
	}
	switch e.Code {
	case "wrong_code":
		if e.ChecksLeft != nil && *e.ChecksLeft > 0 {
			return fmt.Sprintf("That code is not right. Tries left: %d.", *e.ChecksLeft)
		}
		return "That code is not right, and there are no tries left. Please start again."
	case "expired", "used", "closed":
		return "That code is over. Please start again."
	case "invalid_request":
		return "A code has six digits."
	case "resend_too_early":
		return fmt.Sprintf("You can ask for another message in %d seconds. The one you have still works.", int(e.RetryAfter/time.Second))
	case "no_more_sends":
		return "No further message can be sent. Please start again."
	case "login_locked":
		return "Your login is locked after too many wrong codes; ask whoever runs doorcode to unlock it."
	}
	return "Please try again in a while."
}
