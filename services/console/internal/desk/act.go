package desk

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"doorcode/pkg/challenge"
	"doorcode/pkg/client"
	"doorcode/pkg/frontend"
	"doorcode/pkg/operator"
	"doorcode/pkg/postgres"
	"doorcode/services/console/internal/session"
)

// helper is what support may have auth do (product.md R11.6, the acts of low risk).
type helper interface {
	SupportResend(ctx context.Context, act client.SupportAct, channel string) error
	SupportUnlock(ctx context.Context, act client.SupportAct) error
}

// maxReason is the longest reason in characters, as auth has it.
const maxReason = 200

// doing says an act, for a person.
func doing(a operator.Act) string {
	switch a { //nolint:exhaustive // the others change nothing
	case operator.SendAgain:
		return "Send the code again"
	case operator.Unlock:
		return "Unlock the login"
	}
	return string(a)
}

// order begins an act: it asks for a fresh code for this very act, and nothing is done before that was right.
func (s *Site) order(act operator.Act) func(http.ResponseWriter, *http.Request, visit) {
	return func(w http.ResponseWriter, r *http.Request, v visit) {
		id, reason := r.PathValue("id"), strings.TrimSpace(r.PostFormValue("reason"))
		odd := strings.ContainsFunc(reason, func(c rune) bool { return !unicode.IsPrint(c) })
		if reason == "" || utf8.RuneCountInString(reason) > maxReason || odd {
			s.refuse(w, v, http.StatusBadRequest, "A reason has 1 to 200 characters on one line; it stays on record.")
			return
		}
		told, err := s.cfg.Record.Stories(r.Context(), v.operator.ID, postgres.StoryQuery{Challenge: id, Workspaces: v.workspaces()})
		if err != nil {
			s.unavailable(w, err)
			return
		}
		if len(told) == 0 {
			s.refuse(w, v, http.StatusNotFound, "Nothing is on record about that challenge.")
			return
		}
		p, err := s.ask(r, v.operator)
		if err != nil {
			s.log.Warn("no code for an act", "operator", v.operator.ID, "error", err)
			s.refuse(w, v, http.StatusServiceUnavailable, "No code can be sent to you at the moment. "+sentence(err))
			return
		}
		p.Session, p.Act, p.Challenge, p.Channel, p.Reason = v.session.ID, act, id, r.PostFormValue("channel"), reason
		s.keep(w, p, "/confirm", r)
	}
}

// confirmBody is what the page that asks for the code of an act shows.
type confirmBody struct {
	session.Pending
	Doing string
}

// waiting returns the act that waits for a code at this browser, if it is fresh, of this session, and still the role's.
func (s *Site) waiting(r *http.Request, v visit) (session.Pending, bool) {
	p, ok := s.pending(r)
	return p, ok && p.Act.Writes() && p.Session == v.session.ID && p.Operator == v.operator.ID && p.Version == v.operator.Version && v.operator.May(p.Act)
}

// showConfirm is the page that asks for the code of an act.
func (s *Site) showConfirm(w http.ResponseWriter, r *http.Request, v visit) {
	p, ok := s.waiting(r, v)
	if !ok {
		s.refuse(w, v, http.StatusForbidden, "Nothing waits for a code here, or its five minutes are over. Please start again.")
		return
	}
	s.confirmPage(w, v, p, http.StatusOK, "")
}

func (s *Site) confirmPage(w http.ResponseWriter, v visit, p session.Pending, status int, problem string) {
	page := v.of("A fresh code", "", confirmBody{Pending: p, Doing: doing(p.Act)})
	page.Problem = problem
	s.render(w, status, "confirm", page)
}

// confirm does what was asked for, once the fresh code was right. The code is good for that act alone, and for five minutes
// (SEC-59).
func (s *Site) confirm(w http.ResponseWriter, r *http.Request, v visit) {
	p, ok := s.waiting(r, v)
	if !ok {
		s.setCookie(w, pendingCookie, "")
		s.refuse(w, v, http.StatusForbidden, "Nothing waits for a code here, or its five minutes are over. Please start again.")
		return
	}
	person, err := s.cfg.Codes.Check(r.Context(), p.Handle, r.PostFormValue("code"))
	if err != nil {
		s.confirmPage(w, v, p, status(err), sentence(err))
		return
	}
	s.setCookie(w, pendingCookie, "")
	if person.Workspace != frontend.Operators || person.Login != v.operator.ID {
		s.refuse(w, v, http.StatusForbidden, "That code was somebody else's.")
		return
	}
	err = s.carryOut(r.Context(), p)
	if err != nil {
		s.log.Warn("an act was not carried out", "operator", v.operator.ID, "act", string(p.Act), "error", err)
		s.refuse(w, v, status(err), doing(p.Act)+": "+actSentence(err))
		return
	}
	s.log.Info("an act was carried out", "operator", v.operator.ID, "act", string(p.Act), "challenge", p.Challenge)
	http.Redirect(w, r, "/challenges/"+url.PathEscape(p.Challenge)+"?done="+url.QueryEscape(string(p.Act)), http.StatusSeeOther)
}

// carryOut has auth do an act, which puts it on record in the operator's name.
func (s *Site) carryOut(ctx context.Context, p session.Pending) error {
	act := client.SupportAct{Challenge: p.Challenge, Operator: p.Operator, Reason: p.Reason}
	if p.Act == operator.Unlock {
		return s.cfg.Help.SupportUnlock(ctx, act)
	}
	return s.cfg.Help.SupportResend(ctx, act, p.Channel)
}

// actSentence says why auth did not carry out an act.
func actSentence(err error) string {
	var e *client.Error
	if !errors.As(err, &e) {
		return "that cannot be done at the moment."
	}
	switch e.Code {
	case "no_route":
		return "the challenge has no such route."
	case "no_more_sends":
		return "all its messages were sent, or too little time is left."
	case "resend_too_early":
		return "it is too early; the person can ask for another message soon."
	case "too_many_messages":
		return "too many messages were sent to this recipient."
	case "expired", "used", "closed":
		return "the sign-in has ended; the person has to sign in again."
	case "unknown_challenge":
		return "the challenge's own row is gone, so that nothing can be done any more."
	}
	return "that cannot be done at the moment."
}

// channels are those of a story's routes, each once.
func channels(told postgres.Story) []string {
	var all []string
	seen := map[string]bool{}
	for _, route := range told.Challenge.Routes {
		if !seen[route.Channel] {
			seen[route.Channel] = true
			all = append(all, route.Channel)
		}
	}
	return all
}

// offers are the acts that a role is offered on the page of a challenge.
type offers struct {
	SendAgain bool
	Unlock    bool
	Channels  []string
}

// offer says which acts make sense now.
func (s *Site) offer(told postgres.Story, v visit) offers {
	c := told.Challenge
	open := c.State == challenge.Pending && c.ExpiresAt.After(s.cfg.Clock())
	return offers{
		SendAgain: open && !c.Gone && v.operator.May(operator.SendAgain),
		Unlock:    c.State == challenge.Exhausted && !c.Gone && v.operator.May(operator.Unlock),
		Channels:  channels(told),
	}
}
