package pages

import (
	"net/http"
	"strings"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/ticket"
)

// invitations adds the pages on which an invitation is accepted. Looking at one changes nothing, because programs follow
// links as well; a button sends the code, to the address of the invitation alone.
func (h *Handler) invitations() {
	own := ticket.LinkInvitation.Path()
	h.handle("GET", own, h.linked(h.showOffer))
	h.handle("POST", own, h.linked(h.sendOffer))
	h.handle("GET", own+"/{page}", h.visiting(h.showAccepting))
	h.handle("POST", own+"/{page}/code", h.postedVisit(h.accept))
	h.handle("POST", own+"/{page}/messages", h.postedVisit(h.repeatOffer))
	for _, form := range []string{"code", "messages"} {
		h.handle("GET", own+"/{page}/"+form, h.visiting(h.toVisit))
	}
}

// visitCookie begins the names of the cookies of visits; they are none of the prompt's, which takes away those that it
// does not know.
func (h *Handler) visitCookie(page string) string {
	if h.secure() {
		return "__Host-invitation-" + page
	}
	return "invitation-" + page
}

// visitor is one request about an invitation.
type visitor struct {
	link  ticket.Link
	visit ticket.Visit // empty before a code was asked for in this browser
	face  *face
	w     http.ResponseWriter
	r     *http.Request
}

// path is the address of the page of a visit, or of something below it.
func (v visitor) path(below string) string {
	return ticket.LinkInvitation.Path() + "/" + v.link.Page() + below
}

// offerPage is what the pages about an invitation show.
type offerPage struct {
	page
	front.Offer
	Link  string // the value of the field that names it
	Label string
	Until string // of the invitation, a date and a time with its zone
	Ends  time.Time
	Again string // where another code is asked for
}

// visiting serves whoever has asked for a code of the invitation in this browser.
func (h *Handler) visiting(f func(visitor)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, ok := h.visit(r)
		if !ok {
			h.plain(w, r, http.StatusNotFound, "stray")
			return
		}
		f(visitor{link: v.Link, visit: v, face: choose(h.faces, "", r.Header.Get("Accept-Language")), w: w, r: r})
	}
}

// postedVisit is visiting for the page's own forms (SEC-58).
func (h *Handler) postedVisit(f func(visitor)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !h.formOf(w, r) {
			h.refused(w, r)
			return
		}
		v, ok := h.visit(r)
		if !ok || !v.Posted(r.PostFormValue("form")) {
			h.refused(w, r)
			return
		}
		f(visitor{link: v.Link, visit: v, face: choose(h.faces, "", r.Header.Get("Accept-Language")), w: w, r: r})
	}
}

// formOf reads the form of a post and reports whether it comes from a page of ours.
func (h *Handler) formOf(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if h.origin.Check(r) != nil {
		return false
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return r.ParseForm() == nil && strings.TrimSpace(kind) == "application/x-www-form-urlencoded"
}

// visit returns the visit of the page in the address. It ends a while after its code.
func (h *Handler) visit(r *http.Request) (ticket.Visit, bool) {
	page := r.PathValue("page")
	c, err := r.Cookie(h.visitCookie(page))
	if err != nil {
		return ticket.Visit{}, false
	}
	v, err := ticket.LinkInvitation.DecodeVisit(h.cfg.Ring, c.Value)
	return v, err == nil && v.Link.Page() == page && !h.cfg.Clock().After(v.ExpiresAt.Add(afterEnd))
}

// linked serves whoever has the link of an invitation, in the address or in the form of its own page.
func (h *Handler) linked(f func(visitor)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		field := r.URL.Query().Get(ticket.LinkInvitation.Field())
		if r.Method == http.MethodPost {
			if !h.formOf(w, r) {
				h.refused(w, r)
				return
			}
			field = r.PostFormValue(ticket.LinkInvitation.Field())
		}
		link, err := ticket.LinkInvitation.Decode(h.cfg.Ring, field)
		v := visitor{link: link, face: choose(h.faces, "", r.Header.Get("Accept-Language")), w: w, r: r}
		if err != nil || !h.cfg.Clock().Before(link.Until) {
			h.closed(v)
			return
		}
		r.SetPathValue("page", link.Page())
		v.visit, _ = h.visit(r)
		f(v)
	}
}

// showOffer shows an invitation with the button that sends a code.
func (h *Handler) showOffer(v visitor) {
	h.offer(v, http.StatusOK, func(*face) string { return "" })
}

// offer writes the invitation with what went wrong, if anything did.
func (h *Handler) offer(v visitor, status int, wrong func(*face) string) {
	o, err := h.cfg.Front.Offer(v.r.Context(), v.link)
	if err != nil {
		h.failedVisit(v, err)
		return
	}
	p := h.offerPage(&v, o)
	p.Title = v.face.text("invitation.title", "workspace", o.Workspace)
	p.Problem, p.About = wrong(v.face), "send"
	h.render(v.w, v.face, status, "'self'", "invitation", p)
}

// offerPage puts an invitation into words, in its language.
func (h *Handler) offerPage(v *visitor, o front.Offer) offerPage {
	v.face = choose(h.faces, o.Locale, v.r.Header.Get("Accept-Language"))
	address := v.link.Address(h.cfg.Ring)
	_, link, _ := strings.Cut(address, "=")
	return offerPage{
		page: page{Brand: h.cfg.Brand, Path: v.path(""), Support: h.cfg.SupportURL}, Offer: o, Link: link, Again: address,
		Until: o.ExpiresAt.UTC().Format("2006-01-02 15:04 UTC"), Label: v.visit.Label, Ends: v.visit.ExpiresAt,
	}
}

// sendOffer sends a code to the address of the invitation and leads on to where it is typed. Whoever posts this has the
// link of the mail; a browser that has a code waiting gets no second one by it.
func (h *Handler) sendOffer(v visitor) {
	if h.cfg.Clock().Before(v.visit.ExpiresAt) && v.r.PostFormValue("again") == "" {
		h.toVisit(v)
		return
	}
	agent := v.r.UserAgent()
	created, err := h.cfg.Front.AskInvitee(v.r.Context(), v.link, &front.Client{UserAgent: agent[:min(len(agent), 1000)]})
	if err != nil {
		h.failedVisit(v, err)
		return
	}
	v.visit = v.link.Visit(created.Handle, created.Label, created.Recipient, created.ExpiresAt)
	life := created.ExpiresAt.Add(afterEnd).Sub(h.cfg.Clock())
	h.cookie(v.w, h.visitCookie(v.link.Page()), v.visit.Encode(h.cfg.Ring), int(life.Seconds()))
	h.toVisit(v)
}

// toVisit leads to the page of the visit, so that a reload posts nothing again.
func (h *Handler) toVisit(v visitor) {
	h.policy.write(v.w.Header(), "'none'")
	v.w.Header().Set("Location", v.path(""))
	v.w.WriteHeader(http.StatusSeeOther)
}

// showAccepting is the page on which the code is typed.
func (h *Handler) showAccepting(v visitor) { h.accepting(v, http.StatusOK, "", "") }

// accepting writes the page on which the code is typed, with what went wrong with a part of it.
func (h *Handler) accepting(v visitor, status int, about, wrong string) {
	o, err := h.cfg.Front.Offer(v.r.Context(), v.link)
	if err != nil {
		h.failedVisit(v, err)
		return
	}
	p := h.offerPage(&v, o)
	p.Title, p.Form, p.About, p.Problem = v.face.text("code.title.email"), v.visit.Form(), about, wrong
	h.render(v.w, v.face, status, "'self'", "accepting", p)
}

// accept has the typed code judged; a right one accepts the invitation. A code that is typed again in the same browser is
// the same check, whose answer may have been lost (P7).
func (h *Handler) accept(v visitor) {
	o, err := h.cfg.Front.Accept(v.r.Context(), v.link, v.visit.Handle, digits(v.r.PostFormValue("code")), v.visit.Form())
	if err == nil {
		p := h.offerPage(&v, o)
		p.Title = v.face.text("accepted.title")
		h.render(v.w, v.face, http.StatusOK, "'none'", "accepted", p)
		return
	}
	p := problem.Of(err)
	switch {
	case p.Code == string(challenge.RefusedWrong) && p.ChecksLeft != nil && *p.ChecksLeft > 0:
		h.accepting(v, p.Status, aboutCode, v.face.tries(*p.ChecksLeft, v.visit.Label))
	case p.Code == problem.CodeInvalidRequest:
		h.accepting(v, p.Status, aboutCode, v.face.text("problem.malformed", "label", v.visit.Label))
	default:
		h.failedVisit(v, err)
	}
}

// repeatOffer sends the same code once more.
func (h *Handler) repeatOffer(v visitor) {
	_, err := h.cfg.Front.Repeat(v.r.Context(), v.visit.Handle, "")
	if err == nil {
		h.toVisit(v)
		return
	}
	p := problem.Of(err)
	sentences := map[string]string{
		"resend_too_early": "problem.early", front.CodeTooManyMessages: "problem.messages", "no_more_sends": "invitation.nomore",
	}
	key, known := sentences[p.Code]
	if !known {
		h.failedVisit(v, err)
		return
	}
	h.accepting(v, p.Status, aboutWays, v.face.text(key, "left", left(p.RetryAfter)))
}

// closed is the one page for an invitation that cannot be accepted, whatever the reason, and for what is no link of ours.
func (h *Handler) closed(v visitor) { h.plain(v.w, v.r, http.StatusGone, "closed") }

// failedVisit writes the page that fits a refusal. What a person cannot see of it is logged.
func (h *Handler) failedVisit(v visitor, err error) {
	p := problem.Of(err)
	switch p.Code {
	case front.CodeInvitationClosed:
		h.closed(v)
	case string(challenge.RefusedWrong), string(challenge.RefusedExpired), string(challenge.RefusedUsed), string(challenge.RefusedClosed),
		front.CodeUnknownChallenge:
		h.offer(v, p.Status, func(f *face) string { return f.text("invitation.another") })
	case string(challenge.RefusedTooMany), front.CodeTooManyLive, front.CodeTooManyMessages, front.CodeTooManyRequests:
		h.stop(v, p.Status, "invitation.wait", p.RetryAfter)
	default:
		if p.Code == problem.CodeInternal {
			h.cfg.Log.ErrorContext(v.r.Context(), "page failed", "route", v.r.Pattern, "error", err.Error())
		}
		h.stop(v, max(p.Status, http.StatusInternalServerError), "invitation.unavailable", p.RetryAfter)
	}
}

// stop writes a page that says to come back later, with the way there.
func (h *Handler) stop(v visitor, status int, key string, wait time.Duration) {
	p := endPage{page: page{
		Title: v.face.text(key + ".title"), Brand: h.cfg.Brand, Support: h.cfg.SupportURL, Path: v.link.Address(h.cfg.Ring),
	}, Text: v.face.text(key+".text", "left", left(wait)), Retry: true}
	h.render(v.w, v.face, status, "'none'", "ended", p)
}
