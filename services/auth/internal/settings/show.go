package settings

import (
	"cmp"
	"html/template"
	"net/http"
	"strings"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
)

// page is what every page of a session has.
type page struct {
	hosted.Page
	Workspace string // its name
	Login     string // its id
}

// page returns what every page of a session has.
func (h *Handler) page(a asked, title string) page {
	p := page{Page: h.cfg.Site.Page(title), Workspace: a.Workspace.Name, Login: a.Login.ID}
	p.Path, p.Form = a.path(""), a.form()
	return p
}

// securityPage is the page "Security settings".
type securityPage struct {
	page
	front.Overview
	changePart
	First  *front.ShownRoute // where codes go; nil: nowhere
	Others []front.ShownRoute
	Note   string   // key of the strength note
	Recent []signIn // newest first
	Shared template.HTML
	Owner  bool
}

// phoneForm is what the form of a phone shows, of which a page has at most one.
type phoneForm struct {
	securityPage
	Kind string
}

// phoneOf is a function of the templates.
func phoneOf(p securityPage, kind string) phoneForm { return phoneForm{securityPage: p, Kind: kind} }

// signIn is a sign-in as it is shown.
type signIn struct {
	postgres.SignIn
	Words  string // what became of it
	By     string // browser and channel
	Failed bool
}

// show is the page "Security settings".
func (h *Handler) show(a asked) { h.security(a, http.StatusOK, trouble{}) }

// security writes the page "Security settings" with what went wrong, if anything did.
func (h *Handler) security(a asked, status int, t trouble) {
	o, err := h.cfg.Front.Overview(a.r.Context(), a.Session)
	if err != nil {
		h.failed(a.w, a.r, err)
		return
	}
	p := securityPage{page: h.page(a, a.face.Text("security.title")), Overview: o, Note: "note.email"}
	p.Owner = a.Login.Role == account.Owner
	p.Problem, p.About = t.text, t.about
	p.changePart, err = h.part(a, o, t)
	if err != nil {
		h.failed(a.w, a.r, err)
		return
	}
	if t.about == aboutChange && p.Waiting == nil {
		p.TypedFor, p.Typed = a.r.PostFormValue("kind"), a.r.PostFormValue("phone")+a.r.PostFormValue("email")
	}
	if len(o.Routes) > 0 {
		p.First, p.Others = &o.Routes[0], o.Routes[1:]
		p.Note = "note." + p.First.Channel
	}
	for _, s := range o.SignIns {
		p.Recent = append(p.Recent, shown(a.face, s))
	}
	if o.Use.Shared() {
		p.Shared = a.face.Strong("shared.text", "browsers", o.Use.Browsers, "networks", o.Use.Networks, "people", o.Use.People())
	}
	h.cfg.Site.Render(a.w, a.face, status, forms(a), "security", p)
}

// forms is where the forms of a page may go: to the site, and by an answer of it back to the front-end.
func forms(a asked) string { return hosted.FormsHere + " " + hosted.Returning(a.Row.ReturnURL) }

// agent puts browser and system into the words of a language. The names of products stay as they are.
func agent(f *hosted.Face, name string) string {
	browser, system, found := strings.Cut(name, " on ")
	if !found {
		return f.Text("agent.none")
	}
	return f.Text("agent.on", "browser", browser, "system", system)
}

// shown puts a sign-in into words.
func shown(f *hosted.Face, s postgres.SignIn) signIn {
	key := "signin." + s.Outcome
	switch s.Reason {
	case "directory":
		key = "signin.changed"
	case string(rollout.WhyGrace):
		key = "signin.skipped"
	}
	by := "signin.by." + cmp.Or(s.Channel, "none")
	if s.Outcome == string(challenge.Waived) {
		by = "signin.by.none"
	}
	return signIn{
		SignIn: s, Words: f.Text(key), By: f.Text(by, "agent", agent(f, s.Agent)),
		Failed: s.Outcome != string(challenge.Approved) && s.Outcome != string(challenge.Waived),
	}
}
