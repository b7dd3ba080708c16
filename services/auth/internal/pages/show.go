package pages

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"strconv"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
)

// page is what every template has.
type page struct {
	hosted.Page
	ReturnTo string
}

// codePage is what the code prompt and the help page show.
type codePage struct {
	page
	front.View
	Left     int       // seconds until the code dies, by our clock: the browser's may be wrong
	Again    int       // seconds until one more message may be asked for; 0 for now
	Once     string    // names the message that the forms would order, so that a double click or a reload orders it once
	Messages []message // newest first
	Live     bool      // the script follows what happens
	Checks   string    // the kind of things to check
}

// message is what is known about one message.
type message struct {
	event.DeliveryState
	Words  string
	Advice string
}

// page returns what every template has.
func (h *Handler) page(a asked, title string) page {
	p := page{Page: h.cfg.Site.Page(title), ReturnTo: a.session.ReturnURL}
	p.Path, p.Form = a.path(""), a.session.Form()
	return p
}

// state reads where the challenge stands. When it returns false the request is answered: the challenge has ended, or
// cannot be looked at.
func (h *Handler) state(a asked) (front.View, bool) {
	view, err := h.cfg.Front.State(a.r.Context(), a.call(), a.session.Handle)
	if err != nil {
		h.failed(a, err)
		return view, false
	}
	if view.State != string(challenge.Pending) {
		// The answer to a right code may have been lost: it is given again to whoever types the code again.
		h.ended(a, http.StatusOK, end{kind: view.State, view: view, again: view.State == string(challenge.Approved)})
		return view, false
	}
	return view, true
}

// showCode is the code prompt.
func (h *Handler) showCode(a asked) {
	h.code(a, http.StatusOK, "", func(front.View) string { return "" })
}

// The parts of the prompt that something can be wrong with; they are ids in the page.
const (
	aboutCode = "code"
	aboutWays = "ways"
)

// code writes the code prompt with what went wrong with a part of it, if anything did.
func (h *Handler) code(a asked, status int, about string, wrong func(front.View) string) {
	view, ok := h.state(a)
	if !ok {
		return
	}
	p := h.describe(a, view, a.face.Text("code.title."+view.Channel))
	p.Problem, p.About = wrong(view), about
	h.cfg.Site.Render(a.w, a.face.Face, status, hosted.FormsHere, "code", p)
}

// describe says in words where a challenge stands.
func (h *Handler) describe(a asked, view front.View, title string) codePage {
	now := h.cfg.Clock()
	p := codePage{page: h.page(a, title), View: view, Left: seconds(view.ExpiresAt.Sub(now)), Once: rand.Text(), Live: true, Checks: "way"}
	if view.ResendAt != nil {
		p.Again = seconds(view.ResendAt.Sub(now))
	}
	for i := len(view.Deliveries) - 1; i >= 0; i-- {
		p.Messages = append(p.Messages, a.face.message(view.Deliveries[i], len(view.Routes) > 0))
	}
	if len(p.Messages) > 0 {
		p.Checks = checksFor(p.Messages[0].Channel, p.Messages[0].Status)
	}
	return p
}

// seconds is a wait in whole seconds, rounded up; one that is over is 0.
func seconds(d time.Duration) int { return int((max(d, 0) + time.Second - 1) / time.Second) }

// face is the pages in one language.
type face struct{ *hosted.Face }

// tries is the sentence about a wrong code.
func (f face) tries(left int, label string) string {
	key := "problem.wrong.other"
	if left == 1 {
		key = "problem.wrong.one"
	}
	return f.Text(key, "label", label, "left", strconv.Itoa(left))
}

// message puts the state of a delivery into words, with the best that a person can do in it.
func (f face) message(d event.DeliveryState, others bool) message {
	m := message{DeliveryState: d, Words: d.Text, Advice: f.Text("advice." + d.Status)}
	own := f.Text(hosted.StatusWords + d.Status + "." + d.Channel)
	if own != "" {
		m.Words = own
	}
	better := f.Text("advice." + d.Status + ".other")
	if others && better != "" {
		m.Advice = better
	}
	return m
}

// checksFor returns the kind of things to check in a state.
func checksFor(channel, status string) string {
	switch {
	case channel == "sms":
		return "text"
	case status == "accepted", status == "delivered":
		return "there"
	case status == "deferred":
		return "later"
	case status == "failed":
		return "refused"
	case status == "unknown", status == "abandoned":
		return "unsure"
	}
	return "way"
}

// part is one of the parts of the prompt that change by themselves: news or why.
func (f face) part(name string, p codePage) (string, error) {
	var b bytes.Buffer
	err := f.Execute(&b, name, p)
	return b.String(), err
}

// The ends of a page that are no state of its challenge.
const (
	tooMany     = "toomany"
	unavailable = "unavailable"
	hurried     = "hurried"
	ownerAsked  = "asked"
	gone        = "gone" // the front-end may no longer be led back to
)

// end is how a page ends.
type end struct {
	kind  string // the state of the challenge, or one of the above
	view  front.View
	retry time.Duration
	again bool // the code may be typed again
}

// endPage is what the end of a page shows.
type endPage struct {
	page
	Text      string // the sentence without a time
	Key       string // of the sentence with one
	Time      *time.Time
	Retry     string // key of the sentence on the button, when it is worth trying again here; empty when it is not
	Wait      bool   // and starting again is not worth it before the time
	Again     bool   // the code may be typed again
	Skipped   bool   // the answer to a skip may have been lost: asked for again, it is given again for a while
	Reference string
}

// ended writes the end of a page: what happened, and the one thing to do.
func (h *Handler) ended(a asked, status int, e end) {
	p := endPage{
		page: h.page(a, a.face.Text("ended."+e.kind+".title")), Reference: e.view.SupportReference,
		Key: "ended." + e.kind + ".text", Text: a.face.Text("ended." + e.kind + ".text"), Again: e.again,
		Skipped: e.kind == string(challenge.Waived),
	}
	switch {
	case e.kind == tooMany:
		p.Time, p.Wait = new(h.cfg.Clock().Add(e.retry)), true
		if p.Time.Before(a.session.ExpiresAt) { // The page outlives the wait.
			p.Key, p.Retry = "ended.toomany.stay", "help.back"
		}
	case e.kind == ownerAsked:
		p.Retry, p.ReturnTo = "help.back", ""
	case e.kind == unavailable, e.kind == hurried:
		p.Retry = "ended.retry"
	case e.kind == string(challenge.Expired) && e.view.ExpiresAt.IsZero():
		p.Text = a.face.Text("ended.expired.text.plain")
	case e.kind == string(challenge.Expired):
		p.Time = &e.view.ExpiresAt
	}
	if e.retry > 0 {
		a.w.Header().Set("Retry-After", strconv.Itoa(seconds(e.retry)))
	}
	h.cfg.Site.Render(a.w, a.face.Face, status, hosted.FormsHere, "ended", p)
}

// over is ended for a challenge of which only a refusal is known: the state tells more, if it can be read. It may lag.
func (h *Handler) over(a asked, status int, state challenge.State) {
	e := end{kind: string(state)}
	view, err := h.cfg.Front.State(a.r.Context(), a.call(), a.session.Handle)
	if err == nil && view.State != string(challenge.Pending) {
		e = end{kind: view.State, view: view}
	}
	h.ended(a, status, e)
}

// failed writes the end that fits a refusal. What a person cannot see of it is logged.
func (h *Handler) failed(a asked, err error) {
	p := problem.Of(err)
	switch {
	case p.Code == string(challenge.RefusedTooMany):
		h.ended(a, p.Status, end{kind: tooMany, retry: p.RetryAfter})
	case p.Status == http.StatusUnauthorized: // The front-end is gone, or the way back to it: nothing leads there any more.
		a.session.ReturnURL = ""
		h.ended(a, p.Status, end{kind: gone})
	case p.Status < http.StatusInternalServerError: // Closed, or the challenge is gone.
		h.ended(a, p.Status, end{kind: string(challenge.Canceled)})
	default:
		if p.Code == problem.CodeInternal {
			h.cfg.Log.ErrorContext(a.r.Context(), "page failed", "route", a.r.Pattern, "error", err.Error())
		}
		h.ended(a, p.Status, end{kind: unavailable, retry: max(p.RetryAfter, time.Second)})
	}
}

// lost answers a browser that does not have the page's session.
func (h *Handler) lost(w http.ResponseWriter, r *http.Request, status int) {
	h.plain(w, r, status, "lost")
}

// refused answers a post that is none of our forms.
func (h *Handler) refused(w http.ResponseWriter, r *http.Request) {
	h.plain(w, r, http.StatusForbidden, "refused")
}

// plain writes a page that knows of no challenge.
func (h *Handler) plain(w http.ResponseWriter, r *http.Request, status int, kind string) {
	f := h.faces.Choose("", r.Header.Get("Accept-Language"))
	h.cfg.Site.Render(w, f, status, hosted.FormsNowhere, "ended", endPage{
		page: page{Page: h.cfg.Site.Page(f.Text(kind + ".title"))}, Text: f.Text(kind + ".text"),
	})
}
