package web

import (
	"context"
	"net/http"

	"doorcode/services/auth/internal/front"
)

// people adds the operations on who is to belong to a workspace.
func (h *Handler) people(workspace string) {
	const one, request, test = "/invitations/{invitation}", "/join-requests/{request}", "/group-tests/{test}"
	h.handle("POST", workspace+"/invitations", h.invite)
	h.handle("GET", workspace+"/invitations", h.invitations)
	h.handle("GET", workspace+one, h.invitation)
	h.handle("DELETE", workspace+one, h.withdrawInvitation)
	h.handle("POST", workspace+one+"/deliveries", h.repeatInvitation)
	h.handle("GET", workspace+"/join-requests", h.joinRequests)
	h.handle("DELETE", workspace+request, h.declineJoin)
	h.handle("POST", workspace+"/group-tests", h.testGroup)
	h.handle("GET", workspace+test, h.groupTest)
	h.handle("POST", workspace+test+"/confirm", h.confirmGroup)
}

// peopleOf reads the request and returns the people of the workspace in its path. When it returns false the request is
// answered.
func (h *Handler) peopleOf(w http.ResponseWriter, r *http.Request, body any) (*front.People, bool) {
	call, ok := h.begin(w, r, body)
	if !ok {
		return nil, false
	}
	p, err := h.front.People(r.Context(), call, r.PathValue("workspace"))
	if err != nil {
		h.refuse(w, r, err)
		return nil, false
	}
	return p, true
}

// invite answers 201 when it made one, and 200 with the one that waits at that address.
func (h *Handler) invite(w http.ResponseWriter, r *http.Request) {
	var body front.InviteRequest
	p, ok := h.peopleOf(w, r, &body)
	if !ok {
		return
	}
	i, created, err := p.Invite(r.Context(), body)
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	h.answer(w, r, status, i, err)
}

// invitations lists those of the last month.
func (h *Handler) invitations(w http.ResponseWriter, r *http.Request) {
	p, ok := h.peopleOf(w, r, nil)
	if !ok {
		return
	}
	all, err := p.Invitations(r.Context())
	h.answer(w, r, http.StatusOK, map[string]any{"invitations": all}, err)
}

// invitation shows one.
func (h *Handler) invitation(w http.ResponseWriter, r *http.Request) {
	about(h, w, r, http.StatusOK, "invitation", (*front.People).Invitation)
}

// repeatInvitation answers 202: the mail is ordered, and no dispatcher has seen it yet.
func (h *Handler) repeatInvitation(w http.ResponseWriter, r *http.Request) {
	about(h, w, r, http.StatusAccepted, "invitation", (*front.People).RepeatInvitation)
}

// withdrawInvitation may come again.
func (h *Handler) withdrawInvitation(w http.ResponseWriter, r *http.Request) {
	p, ok := h.peopleOf(w, r, nil)
	if !ok {
		return
	}
	h.done(w, r, p.WithdrawInvitation(r.Context(), r.PathValue("invitation")))
}

// joinRequests lists those of the last month.
func (h *Handler) joinRequests(w http.ResponseWriter, r *http.Request) {
	p, ok := h.peopleOf(w, r, nil)
	if !ok {
		return
	}
	all, err := p.JoinRequests(r.Context())
	h.answer(w, r, http.StatusOK, map[string]any{"join_requests": all}, err)
}

// declineJoin may come again.
func (h *Handler) declineJoin(w http.ResponseWriter, r *http.Request) {
	p, ok := h.peopleOf(w, r, nil)
	if !ok {
		return
	}
	h.done(w, r, p.DeclineJoin(r.Context(), r.PathValue("request")))
}

// testGroup answers 201 when both messages are ordered.
func (h *Handler) testGroup(w http.ResponseWriter, r *http.Request) {
	var body front.GroupTestRequest
	p, ok := h.peopleOf(w, r, &body)
	if !ok {
		return
	}
	g, err := p.TestGroup(r.Context(), body)
	h.answer(w, r, http.StatusCreated, g, err)
}

// groupTest shows one.
func (h *Handler) groupTest(w http.ResponseWriter, r *http.Request) {
	about(h, w, r, http.StatusOK, "test", (*front.People).GroupTest)
}

// confirmGroup answers 200 as long as no code was refused; the state says whether the test is passed.
func (h *Handler) confirmGroup(w http.ResponseWriter, r *http.Request) {
	var body front.GroupCodes
	p, ok := h.peopleOf(w, r, &body)
	if !ok {
		return
	}
	g, err := p.ConfirmGroup(r.Context(), r.PathValue("test"), body)
	h.answer(w, r, http.StatusOK, g, err)
}

// about answers with what one thing in the path looks like after the request.
func about[T any](
	h *Handler, w http.ResponseWriter, r *http.Request, status int, name string, ask func(*front.People, context.Context, string) (T, error),
) {
	p, ok := h.peopleOf(w, r, nil)
	if !ok {
		return
	}
	shown, err := ask(p, r.Context(), r.PathValue(name))
	h.answer(w, r, status, shown, err)
}
