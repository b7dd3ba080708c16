package settings

import (
	"net/http"

	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
)

// groupPage is the test of a group address: two messages, and the two codes in them (product.md R10.2).
type groupPage struct {
	page
	front.GroupTest
	Place string // of the code that was wrong: 0 or 1
}

// startGroup sends the two messages of a test to the main address.
func (h *Handler) startGroup(a asked) {
	g, err := h.keeper(a).TestGroup(a.r.Context(), front.GroupTestRequest{By: a.Login.ID, Locale: a.Row.Locale})
	if err != nil {
		h.finish(a, err, aboutGroup)
		return
	}
	h.cfg.Site.Lead(a.w, a.path("/people/group/"+g.ID))
}

// showGroup is the page of a test.
func (h *Handler) showGroup(a asked) { h.group(a, http.StatusOK, trouble{}, "") }

// group writes the page of a test with what went wrong, if anything did.
func (h *Handler) group(a asked, status int, t trouble, place string) {
	g, err := h.keeper(a).GroupTest(a.r.Context(), a.r.PathValue("test"))
	if err != nil {
		h.finish(a, err, aboutGroup)
		return
	}
	p := groupPage{page: h.page(a, a.face.Text("group.title")), GroupTest: g, Place: place}
	p.Problem, p.About = t.text, t.about
	h.cfg.Site.Render(a.w, a.face, status, hosted.FormsHere, "group", p)
}

// confirmGroup has both codes of a test judged.
func (h *Handler) confirmGroup(a asked) {
	id := a.r.PathValue("test")
	_, err := h.keeper(a).ConfirmGroup(a.r.Context(), id, front.GroupCodes{
		Codes: []string{hosted.Digits(a.r.PostFormValue("code0")), hosted.Digits(a.r.PostFormValue("code1"))},
	})
	if err == nil {
		h.cfg.Site.Lead(a.w, a.path("/people/group/"+id))
		return
	}
	p := problem.Of(err)
	place := map[string]string{"codes.0": "0", "codes.1": "1"}[p.Field]
	_, known := codeTrouble(a.face, "", err)
	if place == "" || !known {
		h.finish(a, err, aboutGroup)
		return
	}
	t := trouble{"code" + place, a.face.Text("group.problem.wrong")}
	if p.Code == "too_many" {
		t.text = a.face.Text("problem.toomany", "left", hosted.Left(p.RetryAfter))
	}
	h.group(a, p.Status, t, place)
}
