package pages

import (
	"net/http"
	"strings"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
	"doorcode/services/auth/internal/ticket"
)

// readies adds the page on which a workspace gets ready for codes (product.md 4.5). Looking at it changes nothing, because
// programs follow links as well: one button sends a practice code to where the reader's codes go, another moves the date.
func (h *Handler) readies() {
	own := ticket.LinkReady.Path()
	h.cfg.Site.Handle("GET", own, h.readyLinked(h.showReady))
	h.cfg.Site.Handle("POST", own, h.readyLinked(h.sendPractice))
	h.cfg.Site.Handle("POST", own+"/postpone", h.readyLinked(h.postpone))
	h.cfg.Site.Handle("GET", own+"/{page}", h.readyVisiting(h.showPractising))
	h.cfg.Site.Handle("POST", own+"/{page}/code", h.readyPosted(h.practise))
	h.cfg.Site.Handle("POST", own+"/{page}/messages", h.readyPosted(h.repeatPractice))
	for _, form := range []string{"code", "messages"} {
		h.cfg.Site.Handle("GET", own+"/{page}/"+form, h.readyVisiting(h.toPractice))
	}
}

// readyPage is what the pages about a workspace on its way show.
type readyPage struct {
	page
	front.Ready
	Link  string // the value of the field that names it
	Again string // the address of the page
	Label string
	Ends  time.Time // of the code
	Done  string    // the key of what was just done; empty: nothing
}

// readyVisit returns the visit of the page in the address. It ends a while after its code.
func (h *Handler) readyVisit(r *http.Request) (ticket.Visit, bool) {
	page := r.PathValue("page")
	c, err := r.Cookie(h.readyCookie(page))
	if err != nil {
		return ticket.Visit{}, false
	}
	v, err := ticket.LinkReady.DecodeVisit(h.cfg.Ring, c.Value)
	return v, err == nil && v.Link.Page() == page && !h.cfg.Clock().After(v.ExpiresAt.Add(afterEnd))
}

// readyCookie is the name of the cookie of a visit.
func (h *Handler) readyCookie(page string) string { return h.cfg.Site.Cookie("ready-" + page) }

// readyPath is the address of the page of a visit, or of something below it.
func readyPath(v visitor, below string) string {
	return ticket.LinkReady.Path() + "/" + v.link.Page() + below
}

// readyLinked serves whoever has the link of a notice, in the address or in the form of its own page (SEC-58).
func (h *Handler) readyLinked(f func(visitor)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		field := r.URL.Query().Get(ticket.LinkReady.Field())
		if r.Method == http.MethodPost {
			if !h.formOf(w, r) {
				h.refused(w, r)
				return
			}
			field = r.PostFormValue(ticket.LinkReady.Field())
		}
		link, err := ticket.LinkReady.Decode(h.cfg.Ring, field)
		if err != nil {
			h.plain(w, r, http.StatusGone, "ready.over")
			return
		}
		r.SetPathValue("page", link.Page())
		v := visitor{link: link, face: face{h.faces.Choose("", r.Header.Get("Accept-Language"))}, w: w, r: r}
		v.visit, _ = h.readyVisit(r)
		f(v)
	}
}

// readyVisiting serves whoever has asked for a practice code in this browser.
func (h *Handler) readyVisiting(f func(visitor)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, ok := h.readyVisit(r)
		if !ok {
			h.plain(w, r, http.StatusNotFound, "ready.stray")
			return
		}
		f(visitor{link: v.Link, visit: v, face: face{h.faces.Choose("", r.Header.Get("Accept-Language"))}, w: w, r: r})
	}
}

// readyPosted is readyVisiting for the page's own forms (SEC-58).
func (h *Handler) readyPosted(f func(visitor)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !h.formOf(w, r) {
			h.refused(w, r)
			return
		}
		v, ok := h.readyVisit(r)
		if !ok || !v.Posted(r.PostFormValue("form")) {
			h.refused(w, r)
			return
		}
		f(visitor{link: v.Link, visit: v, face: face{h.faces.Choose("", r.Header.Get("Accept-Language"))}, w: w, r: r})
	}
}

// showReady shows how far the workspace is.
func (h *Handler) showReady(v visitor) { h.ready(v, http.StatusOK, "", "") }

// ready writes the page of a workspace with what went wrong.
func (h *Handler) ready(v visitor, status int, about, wrong string) {
	r, err := h.cfg.Front.Ready(v.r.Context(), v.link)
	if err != nil {
		h.failedReady(v, err)
		return
	}
	p := h.readyPage(&v, r)
	p.About = about
	if wrong != "" {
		p.Problem = v.face.Text(wrong)
	}
	h.cfg.Site.Render(v.w, v.face.Face, status, hosted.FormsHere, "ready", p)
}

// did writes the page of a workspace with what was just done.
func (h *Handler) did(v visitor, r front.Ready, key string) {
	p := h.readyPage(&v, r)
	p.Done = key
	h.cfg.Site.Render(v.w, v.face.Face, http.StatusOK, hosted.FormsHere, "ready", p)
}

// readyPage puts a workspace into words, in the language of the reader.
func (h *Handler) readyPage(v *visitor, r front.Ready) readyPage {
	v.face = face{h.faces.Choose(r.Locale, v.r.Header.Get("Accept-Language"))}
	address := v.link.Address(h.cfg.Ring)
	_, link, _ := strings.Cut(address, "=")
	p := readyPage{
		page: page{Page: h.cfg.Site.Page(v.face.Text("ready.title"))}, Ready: r, Link: link, Again: address,
		Label: v.visit.Label, Ends: v.visit.ExpiresAt,
	}
	p.Path = readyPath(*v, "")
	return p
}

// sendPractice sends a practice code and leads on to where it is typed. A browser that has one waiting gets no second one.
func (h *Handler) sendPractice(v visitor) {
	if h.cfg.Clock().Before(v.visit.ExpiresAt) && v.r.PostFormValue("again") == "" {
		h.toPractice(v)
		return
	}
	agent := v.r.UserAgent()
	created, err := h.cfg.Front.AskPractice(v.r.Context(), v.link, &front.Client{UserAgent: agent[:min(len(agent), 1000)]})
	if err != nil {
		h.failedReady(v, err)
		return
	}
	v.visit = v.link.Visit(created.Handle, created.Label, created.Recipient, created.ExpiresAt)
	life := created.ExpiresAt.Add(afterEnd).Sub(h.cfg.Clock())
	h.cfg.Site.SetCookie(v.w, h.readyCookie(v.link.Page()), v.visit.Encode(h.cfg.Ring), int(life.Seconds()))
	h.toPractice(v)
}

// toPractice leads to where the code is typed, so that a reload posts nothing again.
func (h *Handler) toPractice(v visitor) { h.cfg.Site.Lead(v.w, readyPath(v, "")) }

// showPractising is the page on which a practice code is typed.
func (h *Handler) showPractising(v visitor) { h.practising(v, http.StatusOK, "", "") }

// practising writes the page on which a practice code is typed, with what went wrong with a part of it.
func (h *Handler) practising(v visitor, status int, about, wrong string) {
	r, err := h.cfg.Front.Ready(v.r.Context(), v.link)
	if err != nil {
		h.failedReady(v, err)
		return
	}
	p := h.readyPage(&v, r)
	p.Title, p.Form, p.About, p.Problem = v.face.Text("ready.typing"), v.visit.Form(), about, wrong
	p.Recipient = v.visit.Recipient
	h.cfg.Site.Render(v.w, v.face.Face, status, hosted.FormsHere, "practising", p)
}

// practise has the typed code judged. One that is typed again in the same browser is the same check, whose answer may have
// been lost (P7).
func (h *Handler) practise(v visitor) {
	r, err := h.cfg.Front.Practise(v.r.Context(), v.link, v.visit.Handle, hosted.Digits(v.r.PostFormValue("code")), v.visit.Form())
	if err == nil {
		h.did(v, r, "ready.practised")
		return
	}
	p := problem.Of(err)
	switch {
	case p.Code == string(challenge.RefusedWrong) && p.ChecksLeft != nil && *p.ChecksLeft > 0:
		h.practising(v, p.Status, aboutCode, v.face.tries(*p.ChecksLeft, v.visit.Label))
	case p.Code == problem.CodeInvalidRequest:
		h.practising(v, p.Status, aboutCode, v.face.Text("problem.malformed", "label", v.visit.Label))
	default:
		h.failedReady(v, err)
	}
}

// repeatPractice sends the same code once more.
func (h *Handler) repeatPractice(v visitor) {
	_, err := h.cfg.Front.Repeat(v.r.Context(), v.visit.Handle, "")
	if err == nil {
		h.toPractice(v)
		return
	}
	p := problem.Of(err)
	sentences := map[string]string{
		"resend_too_early": "problem.early", front.CodeTooManyMessages: "problem.messages", "no_more_sends": "ready.nomore",
	}
	key, known := sentences[p.Code]
	if !known {
		h.failedReady(v, err)
		return
	}
	h.practising(v, p.Status, aboutWays, v.face.Text(key, "left", hosted.Left(p.RetryAfter)))
}

// postpone moves the date of the workspace.
func (h *Handler) postpone(v visitor) {
	r, err := h.cfg.Front.Postpone(v.r.Context(), v.link)
	if err != nil {
		h.failedReady(v, err)
		return
	}
	h.did(v, r, "ready.postponed")
}

// failedReady writes the page that fits a refusal. What a person cannot see of it is logged.
func (h *Handler) failedReady(v visitor, err error) {
	p := problem.Of(err)
	switch p.Code {
	case front.CodeReadyOver:
		h.plain(v.w, v.r, http.StatusGone, "ready.over")
	case front.CodeNotPostponed:
		h.ready(v, p.Status, "postpone", "ready.fixed")
	case string(challenge.RefusedWrong), string(challenge.RefusedExpired), string(challenge.RefusedUsed), string(challenge.RefusedClosed),
		front.CodeUnknownChallenge:
		h.ready(v, p.Status, "send", "ready.another")
	case "no_route":
		h.ready(v, p.Status, "send", "ready.noroute")
	case string(challenge.RefusedTooMany), front.CodeTooManyLive, front.CodeTooManyMessages, front.CodeTooManyRequests:
		h.stopReady(v, p.Status, "ready.wait", p.RetryAfter)
	default:
		if p.Code == problem.CodeInternal {
			h.cfg.Log.ErrorContext(v.r.Context(), "page failed", "route", v.r.Pattern, "error", err.Error())
		}
		h.stopReady(v, max(p.Status, http.StatusInternalServerError), "ready.unavailable", p.RetryAfter)
	}
}

// stopReady writes a page that says to come back later, with the way there.
func (h *Handler) stopReady(v visitor, status int, key string, wait time.Duration) {
	p := endPage{
		page: page{Page: h.cfg.Site.Page(v.face.Text(key + ".title"))}, Text: v.face.Text(key+".text", "left", hosted.Left(wait)), Retry: "ended.retry",
	}
	p.Path = v.link.Address(h.cfg.Ring)
	h.cfg.Site.Render(v.w, v.face.Face, status, hosted.FormsNowhere, "ended", p)
}
