package pages

import (
	"net/http"

	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
)

// helpPage is the page for whoever cannot get the code. On a shared login it has the form that asks the owner.
type helpPage struct {
	codePage
	MayAsk      bool
	Name, Email string // as they were typed
}

// aboutAsk is the part of the help page that asks the owner; its fields are the others that something can be wrong with.
const aboutAsk = "ask"

// showHelp is the page for whoever cannot get the code.
func (h *Handler) showHelp(a asked) { h.help(a, http.StatusOK, "", "") }

// help writes the help page with what went wrong with a part of it, if anything did. It is shown without the form, too,
// when nobody can say whether the login is shared.
func (h *Handler) help(a asked, status int, about, wrong string) {
	view, ok := h.state(a)
	if !ok {
		return
	}
	may, err := h.cfg.Front.MayAskOwner(a.r.Context(), a.call(), a.session.Handle)
	if err != nil {
		h.cfg.Log.WarnContext(a.r.Context(), "form for the owner not offered", "error", err.Error())
	}
	p := helpPage{codePage: h.describe(a, view, a.face.Text("help.title")), MayAsk: may && err == nil}
	p.Live, p.Problem, p.About = false, wrong, about
	if about != "" {
		p.Name, p.Email = a.r.PostFormValue("name"), a.r.PostFormValue("email")
	}
	h.cfg.Site.Render(a.w, a.face.Face, status, hosted.FormsHere, "help", p)
}

// askOwner has the owner of a shared login asked for a login of one's own (R8.2). Who asks has typed the right password;
// nothing is granted by it.
func (h *Handler) askOwner(a asked) {
	err := h.cfg.Front.AskOwner(a.r.Context(), a.call(), a.session.Handle, front.Joining{
		Name: a.r.PostFormValue("name"), Email: a.r.PostFormValue("email"), UserAgent: a.r.UserAgent(),
	})
	if err == nil {
		h.ended(a, http.StatusOK, end{kind: ownerAsked})
		return
	}
	p := problem.Of(err)
	switch {
	case p.Code == problem.CodeInvalidRequest && (p.Field == "name" || p.Field == "email"):
		h.help(a, p.Status, p.Field, a.face.Text("problem."+p.Field))
	case p.Code == front.CodeTooManyRequests:
		h.help(a, p.Status, aboutAsk, a.face.Text("problem.asked", "left", hosted.Left(p.RetryAfter)))
	case p.Code == front.CodeNotShared: // It has become one with codes of its own meanwhile: the page shows no form.
		h.help(a, p.Status, "", "")
	default:
		h.failed(a, err)
	}
}

// toHelp leads to the help page, so that a reload posts nothing again.
func (h *Handler) toHelp(a asked) { h.cfg.Site.Lead(a.w, a.path("/help")) }
