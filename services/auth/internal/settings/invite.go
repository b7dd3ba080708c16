package settings

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"doorcode/pkg/account"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
)

// maxInvited is how many people one form invites (product.md 2.2: one form, several lines). The bounds of a workspace, a
// day and an address hold for each of them as for one alone.
const maxInvited = 10

// answer is what became of one of several addresses.
type answer struct {
	Email, Words string
	Done         bool
}

// addresses reads what was typed into the form of an invitation: one address per line, or with commas or semicolons
// between. A space parts none, so that half of an address that was mistyped is invited nowhere. Each stands there once,
// in its order; one more than maxInvited is enough to know that they are too many.
func addresses(typed string) []string {
	var all, seen []string
	for part := range strings.FieldsFuncSeq(typed, func(r rune) bool { return strings.ContainsRune("\r\n,;", r) }) {
		email := strings.TrimSpace(part)
		if email == "" || slices.Contains(seen, account.CompareForm(email)) {
			continue
		}
		all, seen = append(all, email), append(seen, account.CompareForm(email))
		if len(all) > maxInvited {
			break
		}
	}
	return all
}

// invite invites whom the owner has typed.
func (h *Handler) invite(a asked) {
	all := addresses(a.r.PostFormValue("email"))
	switch {
	case len(all) > maxInvited:
		text := a.face.Text("invite.problem.several", "most", strconv.Itoa(maxInvited))
		h.peoplePage(a, http.StatusUnprocessableEntity, trouble{aboutInvite, text})
	case len(all) > 1:
		h.inviteEach(a, all)
	default:
		_, err := h.inviteOne(a, strings.Join(all, ""), a.r.PostFormValue("name"))
		h.finish(a, err, aboutInvite)
	}
}

// inviteOne invites one person; created is false for one who is invited already.
func (h *Handler) inviteOne(a asked, email, name string) (created bool, err error) {
	_, created, err = h.keeper(a).Invite(a.r.Context(), front.InviteRequest{Email: email, Name: name, Locale: a.Row.Locale, By: a.Login.ID})
	return created, err
}

// inviteEach invites several people one by one and answers each with a sentence. Who is refused keeps nobody else from
// being invited; when nothing can be done at the moment, the rest is not tried. The same form once more invites nobody
// twice.
func (h *Handler) inviteEach(a asked, all []string) {
	status, t := http.StatusOK, trouble{}
	var answers []answer
	for i, email := range all {
		created, err := h.inviteOne(a, email, "")
		if err == nil {
			words := a.face.Text("invite.there")
			if created {
				words = a.face.Text("invite.sent")
			}
			answers = append(answers, answer{Email: email, Words: words, Done: true})
			continue
		}
		if t.text == "" {
			status, t = problem.Of(err).Status, trouble{aboutInvite, a.face.Text("invite.some")}
		}
		said, known := h.peopleTrouble(a, err, aboutInvite)
		if known {
			answers = append(answers, answer{Email: email, Words: said.text})
			continue
		}
		h.note(a.r, err)
		for _, left := range all[i:] {
			answers = append(answers, answer{Email: left, Words: a.face.Text("invite.problem.now")})
		}
		break
	}
	h.peoplePage(a, status, t, answers...)
}

// refused lists the addresses of answers that have to be typed anew, one per line.
func refused(answers []answer) string {
	var all []string
	for _, one := range answers {
		if !one.Done {
			all = append(all, one.Email)
		}
	}
	return strings.Join(all, "\n")
}
