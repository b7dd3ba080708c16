package settings

import (
	"net/http"

	"doorcode/pkg/account"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
)

// changes adds the addresses of changes of where codes go.
func (h *Handler) changes() {
	for path, f := range map[string]func(asked){
		"/change": h.begin, "/change/code": h.confirm, "/change/messages": h.repeat, "/change/cancel": h.cancel,
	} {
		h.form(path, f, h.back)
	}
}

// form adds a post of a page's own form, and what a GET of its address leads to: that stays in the browser.
func (h *Handler) form(path string, f, back func(asked)) {
	h.cfg.Site.Handle("POST", "/settings/{page}"+path, h.posted(f))
	h.cfg.Site.Handle("GET", "/settings/{page}"+path, h.within(back))
}

// changePart is what the page shows of a change that is on its way, and of those that can be begun.
type changePart struct {
	Waiting *front.FactorChange
	Code    *codeBox // of the challenge that it waits for; nil: its code has to be sent again
	// What can be begun.
	SMS, Number, Email, Main bool
	HasPhone                 bool // a number is there already
	Typed                    string
	TypedFor                 string // the kind of the form that Typed belongs to
}

// part returns what the page shows of changes.
func (h *Handler) part(a asked, o front.Overview, t trouble) (changePart, error) {
	var c changePart
	var err error
	c.Waiting, err = h.cfg.Front.Waiting(a.r.Context(), a.Session)
	if err != nil {
		return c, err
	}
	if w := c.Waiting; w != nil {
		if w.Challenge != nil {
			c.Code = &codeBox{
				Action: a.path("/change"), Form: a.form(), Label: w.Challenge.Label, Channel: w.Challenge.Channel,
				Recipient: w.Challenge.Recipient, Routes: w.Challenge.Routes, ExpiresAt: w.Challenge.ExpiresAt, Again: w.Challenge.ResendAt != nil,
				About: t.about, Problem: t.text,
			}
		}
		return c, nil
	}
	texting := len(o.Routes) > 0 && o.Routes[0].Channel == account.SMS
	c.SMS = !texting && len(o.Routes) > 0 && h.cfg.Front.Texts()
	c.Number = texting && h.cfg.Front.Texts()
	c.Email = texting && len(o.Routes) > 1
	c.Main = a.Login.Role == account.Owner && len(o.Routes) > 0
	c.HasPhone = c.SMS && len(o.Routes) > 1
	return c, nil
}

// begin begins a change: nothing is different before what is new is proved (SEC-37).
func (h *Handler) begin(a asked) {
	kind := account.FactorKind(a.r.PostFormValue("kind"))
	phone, email := a.r.PostFormValue("phone"), a.r.PostFormValue("email")
	if kind == account.FactorSMS || kind == account.FactorNumber {
		uses, err := h.cfg.Front.Overview(a.r.Context(), a.Session)
		if err != nil {
			h.failed(a.w, a.r, err)
			return
		}
		// A phone has one holder: whoever shares the login would be shut out (product.md R7.4, SEC-41).
		if uses.Use.Shared() && a.r.PostFormValue("understood") == "" {
			h.security(a, http.StatusUnprocessableEntity, trouble{aboutChange, a.face.Text("change.problem.shared")})
			return
		}
	}
	_, err := h.cfg.Front.StartFactor(a.r.Context(), a.Begin(kind, phone, email))
	if err != nil {
		h.refuseChange(a, err)
		return
	}
	h.back(a)
}

// confirm has the code judged that a change waits for.
func (h *Handler) confirm(a asked) {
	w, ok := h.waiting(a)
	if !ok {
		return
	}
	c, err := h.cfg.Front.ConfirmFactor(a.r.Context(), a.Change(w.ID), hosted.Digits(a.r.PostFormValue("code")))
	if err != nil {
		h.refuseChange(a, err)
		return
	}
	if c.State == string(postgres.FactorApplied) {
		err = h.cfg.Front.GoOn(a.r.Context(), a.Session)
		if err != nil {
			h.failed(a.w, a.r, err)
			return
		}
	}
	h.back(a)
}

// repeat sends the code that a change waits for once more, by the route that was chosen.
func (h *Handler) repeat(a asked) {
	w, ok := h.waiting(a)
	if !ok {
		return
	}
	_, err := h.cfg.Front.RepeatFactor(a.r.Context(), a.Change(w.ID), a.r.PostFormValue("channel"))
	if err != nil {
		h.refuseChange(a, err)
		return
	}
	h.back(a)
}

// cancel ends a change on its way.
func (h *Handler) cancel(a asked) {
	w, ok := h.waiting(a)
	if !ok {
		return
	}
	err := h.cfg.Front.CancelFactor(a.r.Context(), a.Change(w.ID))
	if err != nil && problem.Of(err).Code != front.CodeChangeOver {
		h.failed(a.w, a.r, err)
		return
	}
	h.back(a)
}

// waiting returns the change on its way. When it returns false the request is answered.
func (h *Handler) waiting(a asked) (*front.FactorChange, bool) {
	w, err := h.cfg.Front.Waiting(a.r.Context(), a.Session)
	switch {
	case err != nil:
		h.failed(a.w, a.r, err)
	case w == nil:
		h.back(a)
	default:
		return w, true
	}
	return nil, false
}

// refuseChange shows the page with why a change does not go on.
func (h *Handler) refuseChange(a asked, err error) {
	p := problem.Of(err)
	label := ""
	w, lost := h.cfg.Front.Waiting(a.r.Context(), a.Session)
	if lost == nil && w != nil && w.Challenge != nil {
		label = w.Challenge.Label
	}
	if w != nil {
		t, ok := codeTrouble(a.face, label, err)
		if ok {
			h.security(a, p.Status, t)
			return
		}
	}
	sentences := map[string]string{
		front.CodeChangePending: "change.problem.pending", front.CodeChangeOver: "change.problem.over", front.CodeNothingToChange: "change.problem.nothing",
		front.CodeNumberNotAllowed: "change.problem.country", front.CodeNumberInUse: "change.problem.inuse", front.CodeNotOwner: "change.problem.owner", front.CodeNotFresh: "change.problem.over",
		"no_route": "change.problem.noroute", "login_locked": "change.problem.locked",
	}
	key := sentences[p.Code]
	if p.Code == problem.CodeInvalidRequest {
		key = map[string]string{"phone": "change.problem.phone", "email": "change.problem.email"}[p.Field]
	}
	if p.Status == http.StatusTooManyRequests {
		h.security(a, p.Status, trouble{aboutChange, a.face.Text("problem.wait", "left", hosted.Left(p.RetryAfter))})
		return
	}
	if key == "" {
		h.failed(a.w, a.r, err)
		return
	}
	h.security(a, p.Status, trouble{aboutChange, a.face.Text(key)})
}
