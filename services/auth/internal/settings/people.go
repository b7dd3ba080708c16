package settings

import (
	"net/http"
	"time"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/problem"
	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/hosted"
)

// people adds the addresses of the page "People", which is the owner's alone. Whatever it changes needs a code that was
// typed in the session within five minutes (SEC-36).
func (h *Handler) people() {
	s := h.cfg.Site
	s.Handle("GET", "/settings/{page}/people", h.within(h.owned(h.showPeople)))
	s.Handle("GET", "/settings/{page}/people/remove", h.within(h.owned(h.askRemove)))
	s.Handle("GET", "/settings/{page}/people/group/{test}", h.within(h.owned(h.showGroup)))
	for path, f := range map[string]func(asked){
		"/approval": h.sendApproval, "/approval/code": h.approve, "/approval/messages": h.repeatApproval, "/approval/cancel": h.cancelApproval,
	} {
		h.form("/people"+path, h.owned(f), h.owned(h.toPeople))
	}
	for path, f := range map[string]func(asked){
		"/invite": h.invite, "/invitations/again": h.inviteAgain, "/invitations/withdraw": h.withdraw, "/requests/invite": h.inviteRequest,
		"/requests/decline": h.decline, "/group": h.startGroup,
	} {
		h.form("/people"+path, h.owned(h.fresh(f)), h.owned(h.toPeople))
	}
	s.Handle("POST", "/settings/{page}/people/remove", h.posted(h.owned(h.fresh(h.remove))))
	h.form("/people/group/{test}/codes", h.owned(h.fresh(h.confirmGroup)), h.owned(h.toPeople))
}

// owned serves the owner of the workspace; all others are led to their own settings.
func (h *Handler) owned(f func(asked)) func(asked) {
	return func(a asked) {
		if a.Login.Role != account.Owner {
			h.back(a)
			return
		}
		f(a)
	}
}

// fresh serves who has typed a code within five minutes; for all others nothing is done.
func (h *Handler) fresh(f func(asked)) func(asked) {
	return func(a asked) {
		if !a.Fresh() {
			h.peoplePage(a, http.StatusForbidden, trouble{aboutPeople, a.face.Text("approval.needed")})
			return
		}
		f(a)
	}
}

// peoplePage is the page "People".
type peoplePage struct {
	page
	Open     bool // a fresh code was typed: changes can be made
	Until    time.Time
	Code     *codeBox // of the code that is asked for; nil: none is
	Members  []front.Member
	Others   bool        // there is somebody who can be removed
	Primary  account.Use // of the owner's login
	Requests []front.JoinRequest
	Invited  []front.Invitation
	Main     string   // main address, masked
	Group    bool     // it is a group address
	Answers  []answer // to each of several addresses that were invited just now
	Typed    string
	Name     string
}

// toPeople leads to the page, so that a reload posts nothing again.
func (h *Handler) toPeople(a asked) { h.cfg.Site.Lead(a.w, a.path("/people")) }

// showPeople is the page "People".
func (h *Handler) showPeople(a asked) { h.peoplePage(a, http.StatusOK, trouble{}) }

// keeper is what the owner changes people by.
func (h *Handler) keeper(a asked) *front.People {
	return h.cfg.Front.PeopleFor(a.Row.FrontEnd, a.Row.Workspace)
}

// peoplePage writes the page "People" with what went wrong, if anything did, and what became of several addresses.
func (h *Handler) peoplePage(a asked, status int, t trouble, answers ...answer) {
	ctx, keeper := a.r.Context(), h.keeper(a)
	p := peoplePage{
		page: h.page(a, a.face.Text("people.title")), Open: a.Fresh(), Until: a.FreshUntil(),
		Main: account.Mask(a.Workspace.MainEmail), Group: a.Workspace.GroupAddress,
	}
	var err error
	p.Members, err = keeper.Members(ctx)
	var requests []front.JoinRequest
	if err == nil {
		requests, err = keeper.JoinRequests(ctx)
	}
	if err == nil {
		p.Invited, err = keeper.Invitations(ctx)
	}
	if err == nil && !p.Open {
		p.Code, err = h.approvalBox(a, t)
	}
	if err != nil {
		h.failed(a.w, a.r, err)
		return
	}
	for _, m := range p.Members {
		if m.Role == account.Owner {
			p.Primary = m.Use
			continue
		}
		p.Others = true
	}
	for _, r := range requests {
		if r.State == string(account.JoinOpen) {
			p.Requests = append(p.Requests, r)
		}
	}
	if !p.Open {
		p.mask()
	}
	p.Problem, p.About = t.text, t.about
	if t.about == aboutInvite {
		p.Typed, p.Name = a.r.PostFormValue("email"), a.r.PostFormValue("name")
	}
	if len(answers) > 0 {
		p.Answers, p.Typed = answers, refused(answers)
	}
	h.cfg.Site.Render(a.w, a.face, status, hosted.FormsHere, "people", p)
}

// mask hides whose address is which until a fresh code was typed: a session alone reads no whole address (SEC-25).
func (p *peoplePage) mask() {
	for i := range p.Members {
		p.Members[i].Email = masked(p.Members[i].Email)
	}
	for i := range p.Requests {
		p.Requests[i].Email = masked(p.Requests[i].Email)
	}
	for i := range p.Invited {
		p.Invited[i].Email = masked(p.Invited[i].Email)
	}
}

// masked is account.Mask, and nothing for no address.
func masked(address string) string {
	if address == "" {
		return ""
	}
	return account.Mask(address)
}

// approvalBox is the part of the page in which the fresh code is typed, or nil when none is asked for.
func (h *Handler) approvalBox(a asked, t trouble) (*codeBox, error) {
	view, is, err := h.cfg.Front.Asked(a.r.Context(), a.Session)
	if err != nil || !is {
		return nil, err
	}
	return &codeBox{
		Action: a.path("/people/approval"), Form: a.form(), Label: view.Label, Channel: view.Channel, Recipient: view.Recipient,
		Routes: view.Routes, ExpiresAt: view.ExpiresAt, Again: view.ResendAt != nil, About: t.about, Problem: t.text,
	}, nil
}

// sendApproval sends the owner a fresh code.
func (h *Handler) sendApproval(a asked) {
	h.finish(a, h.cfg.Front.AskApproval(a.r.Context(), a.Session, challenge.AboutPeople), aboutPeople)
}

// approve has the fresh code judged. The same code again is the same check, whose answer may have been lost (P7).
func (h *Handler) approve(a asked) {
	h.finish(a, h.cfg.Front.Approve(a.r.Context(), a.Session, hosted.Digits(a.r.PostFormValue("code")), a.form()), aboutPeople)
}

// repeatApproval sends the fresh code once more, by the route that was chosen.
func (h *Handler) repeatApproval(a asked) {
	h.finish(a, h.cfg.Front.RepeatApproval(a.r.Context(), a.Session, a.r.PostFormValue("channel")), aboutPeople)
}

// cancelApproval ends the challenge of the fresh code.
func (h *Handler) cancelApproval(a asked) {
	h.finish(a, h.cfg.Front.CancelApproval(a.r.Context(), a.Session), aboutPeople)
}

// inviteAgain mails an invitation once more.
func (h *Handler) inviteAgain(a asked) {
	_, err := h.keeper(a).RepeatInvitation(a.r.Context(), a.r.PostFormValue("id"))
	h.finish(a, err, aboutInvite)
}

// withdraw takes an invitation back.
func (h *Handler) withdraw(a asked) {
	h.finish(a, h.keeper(a).WithdrawInvitation(a.r.Context(), a.r.PostFormValue("id")), aboutInvite)
}

// inviteRequest invites who has asked for it, at the address that they gave.
func (h *Handler) inviteRequest(a asked) {
	all, err := h.keeper(a).JoinRequests(a.r.Context())
	if err != nil {
		h.finish(a, err, aboutInvite)
		return
	}
	for _, r := range all {
		if r.ID == a.r.PostFormValue("id") && r.State == string(account.JoinOpen) {
			_, _, err = h.keeper(a).Invite(a.r.Context(), front.InviteRequest{Email: r.Email, Name: r.Name, By: a.Login.ID})
			h.finish(a, err, aboutInvite)
			return
		}
	}
	h.toPeople(a)
}

// decline answers a request with no.
func (h *Handler) decline(a asked) {
	h.finish(a, h.keeper(a).DeclineJoin(a.r.Context(), a.r.PostFormValue("id")), aboutInvite)
}

// removePage asks whether somebody is to be removed, and says what ends by it.
type removePage struct {
	page
	Who   front.Member
	Open  bool
	Main  string
	Group bool
}

// askRemove asks before somebody is removed.
func (h *Handler) askRemove(a asked) {
	members, err := h.keeper(a).Members(a.r.Context())
	if err != nil {
		h.failed(a.w, a.r, err)
		return
	}
	for _, m := range members {
		if m.ID == a.r.URL.Query().Get("login") && m.Role != account.Owner {
			h.cfg.Site.Render(a.w, a.face, http.StatusOK, hosted.FormsHere, "remove", removePage{
				page: h.page(a, a.face.Text("remove.title", "login", m.ID)), Who: m, Open: a.Fresh(),
				Main: account.Mask(a.Workspace.MainEmail), Group: a.Workspace.GroupAddress,
			})
			return
		}
	}
	h.toPeople(a)
}

// remove removes somebody from the workspace.
func (h *Handler) remove(a asked) {
	h.finish(a, h.keeper(a).Remove(a.r.Context(), a.r.PostFormValue("login")), aboutPeople)
}

// finish leads back to the page when all went well, and else shows it with what went wrong.
func (h *Handler) finish(a asked, err error, about string) {
	if err == nil {
		h.toPeople(a)
		return
	}
	t, ok := h.peopleTrouble(a, err, about)
	if !ok {
		h.failed(a.w, a.r, err)
		return
	}
	h.peoplePage(a, problem.Of(err).Status, t)
}

// peopleTrouble puts a refusal into words. ok is false for one that a person can do nothing about.
func (h *Handler) peopleTrouble(a asked, err error, about string) (trouble, bool) {
	p := problem.Of(err)
	key := map[string]string{
		front.CodeMainAddress: "invite.problem.main", front.CodeAddressInUse: "invite.problem.used", front.CodeTooManyInvitations: "invite.problem.many",
		front.CodeInvitationClosed: "invite.problem.closed", front.CodeUnknownInvitation: "invite.problem.closed",
		front.CodeUnknownRequest: "invite.problem.closed", front.CodeNotOwner: "change.problem.owner", front.CodeTestClosed: "group.problem.over",
		front.CodeUnknownTest: "group.problem.over", "no_route": "change.problem.noroute", "login_locked": "change.problem.locked",
	}[p.Code]
	if p.Code == problem.CodeInvalidRequest && p.Field == "email" {
		key = "change.problem.email"
	}
	if key != "" {
		return trouble{about, a.face.Text(key)}, true
	}
	label := ""
	view, is, lost := h.cfg.Front.Asked(a.r.Context(), a.Session)
	if lost == nil && is {
		label = view.Label
	}
	t, ok := codeTrouble(a.face, label, err)
	if ok && !is {
		t.about = about
	}
	return t, ok
}
