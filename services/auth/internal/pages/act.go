package pages

import (
	"encoding/json"
	"net/http"

	"doorcode/pkg/challenge"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
	"doorcode/services/auth/internal/live"
)

// donePage leads back to the front-end.
type donePage struct {
	page
	Assertion, Handle string
}

// check has the typed code judged. A right one leads back with the assertion; what is no code is compared with nothing.
// A code that is typed again in the same browser is the same check, whose answer may have been lost: it counts once (P7).
func (h *Handler) check(a asked) {
	approved, err := h.cfg.Front.Check(a.r.Context(), a.call(), a.session.Handle, front.CheckRequest{
		Code: hosted.Digits(a.r.PostFormValue("code")), CheckID: a.session.Form(),
	})
	if err == nil {
		h.lead(a, a.face.Text("done.title"), approved.Assertion)
		return
	}
	p := problem.Of(err)
	switch {
	case p.Code == string(challenge.RefusedWrong) && p.ChecksLeft != nil && *p.ChecksLeft > 0:
		h.code(a, p.Status, aboutCode, func(v front.View) string { return a.face.tries(*p.ChecksLeft, v.Label) })
	case p.Code == string(challenge.RefusedWrong):
		h.over(a, p.Status, challenge.Exhausted)
	case p.Code == string(challenge.RefusedClosed):
		h.over(a, p.Status, challenge.Canceled)
	case p.Code == string(challenge.RefusedExpired):
		h.over(a, p.Status, challenge.Expired)
	case p.Code == string(challenge.RefusedUsed):
		h.over(a, p.Status, challenge.Approved)
	case p.Code == problem.CodeInvalidRequest:
		h.code(a, p.Status, aboutCode, func(v front.View) string { return a.face.Text("problem.malformed", "label", v.Label) })
	default:
		h.failed(a, err)
	}
}

// lead leads back with an assertion, which from here goes to the registered origin alone.
func (h *Handler) lead(a asked, title, assertion string) {
	h.cfg.Site.Render(a.w, a.face.Face, http.StatusOK, hosted.Returning(a.session.ReturnURL), "done", donePage{
		page: h.page(a, title), Assertion: assertion, Handle: a.session.Handle,
	})
}

// skip goes on without the code, where it may be skipped.
func (h *Handler) skip(a asked) {
	waived, err := h.cfg.Front.Skip(a.r.Context(), a.call(), a.session.Handle)
	if err == nil {
		h.lead(a, a.face.Text("skipped.title"), waived.Assertion)
		return
	}
	p := problem.Of(err)
	switch p.Code {
	case "not_skippable":
		h.code(a, p.Status, aboutCode, func(front.View) string { return a.face.Text("problem.required") })
	case string(challenge.RefusedExpired):
		h.over(a, p.Status, challenge.Expired)
	case string(challenge.RefusedUsed):
		h.over(a, p.Status, challenge.Waived)
	default:
		h.failed(a, err)
	}
}

// resend orders one more message by one of the challenge's routes; there is no other recipient to name (SEC-09).
func (h *Handler) resend(a asked) {
	call := a.call()
	call.IdempotencyKey = a.r.PostFormValue("once")
	_, err := h.cfg.Front.Resend(a.r.Context(), call, a.session.Handle, front.ResendRequest{Channel: a.r.PostFormValue("channel")})
	if err == nil {
		h.back(a)
		return
	}
	p := problem.Of(err)
	sentences := map[string]string{
		"resend_too_early":         "problem.early",
		front.CodeTooManyMessages:  "problem.messages",
		"no_more_sends":            "problem.nomore",
		"no_route":                 "problem.noroute",
		problem.CodeInvalidRequest: "problem.noroute",
	}
	key, known := sentences[p.Code]
	if !known {
		h.failed(a, err)
		return
	}
	h.code(a, p.Status, aboutWays, func(front.View) string { return a.face.Text(key, "left", hosted.Left(p.RetryAfter)) })
}

// cancel ends the challenge: "this was not me".
func (h *Handler) cancel(a asked) {
	_, err := h.cfg.Front.Cancel(a.r.Context(), a.call(), a.session.Handle)
	if err != nil {
		h.failed(a, err)
		return
	}
	h.back(a)
}

// back leads to the page itself, so that a reload posts nothing again.
func (h *Handler) back(a asked) {
	h.cfg.Site.Lead(a.w, a.path(""))
}

// update is what the script of a page learns.
type update struct {
	State string `json:"state"`
	News  string `json:"news"`  // HTML, escaped as the page's own
	Why   string `json:"why"`   // HTML as well: why there is a label
	Again *int   `json:"again"` // seconds until one more message may be asked for; null for never
}

// events streams the news to the script of the page.
func (h *Handler) events(a asked) {
	following, view, err := h.cfg.Front.Follow(a.r.Context(), a.call(), a.session.Handle)
	if err != nil {
		h.failed(a, err)
		return
	}
	defer following.Close()
	err = live.Serve(a.w, a.r, following, view, func(v front.View) ([]byte, error) {
		p := h.describe(a, v, "")
		news, err := a.face.part("news", p)
		if err != nil {
			return nil, err
		}
		why, err := a.face.part("why", p)
		if err != nil {
			return nil, err
		}
		u := update{State: v.State, News: news, Why: why}
		if v.ResendAt != nil {
			u.Again = &p.Again
		}
		return json.Marshal(u)
	})
	if err != nil {
		h.failed(a, err)
	}
}
