package web

import (
	"net/http"

	"doorcode/services/auth/internal/front"
)

// postFactor begins a change of a factor: 201, though nothing has changed before it is confirmed twice.
func (h *Handler) postFactor(w http.ResponseWriter, r *http.Request) {
	var body front.FactorRequest
	call, ok := h.begin(w, r, &body)
	if !ok {
		return
	}
	change, err := h.front.PostFactor(r.Context(), call, r.PathValue("workspace"), r.PathValue("login"), body)
	h.answer(w, r, http.StatusCreated, change, err)
}

// factors lists the changes of a login.
func (h *Handler) factors(w http.ResponseWriter, r *http.Request) {
	call, ok := h.begin(w, r, nil)
	if !ok {
		return
	}
	list, err := h.front.GetFactors(r.Context(), call, r.PathValue("workspace"), r.PathValue("login"))
	h.answer(w, r, http.StatusOK, list, err)
}

// confirmFactor takes a change on with a typed code.
func (h *Handler) confirmFactor(w http.ResponseWriter, r *http.Request) {
	var body front.FactorConfirmation
	call, ok := h.begin(w, r, &body)
	if !ok {
		return
	}
	change, err := h.front.PostConfirmation(r.Context(), call, factorOf(r), body)
	h.answer(w, r, http.StatusOK, change, err)
}

// repeatFactor answers 202: the message is ordered, and no dispatcher has seen it yet.
func (h *Handler) repeatFactor(w http.ResponseWriter, r *http.Request) {
	var body front.ResendRequest
	call, ok := h.begin(w, r, &body)
	if !ok {
		return
	}
	change, err := h.front.PostDelivery(r.Context(), call, factorOf(r), body)
	h.answer(w, r, http.StatusAccepted, change, err)
}

// cancelFactor ends a change on its way.
func (h *Handler) cancelFactor(w http.ResponseWriter, r *http.Request) {
	call, ok := h.begin(w, r, nil)
	if !ok {
		return
	}
	h.done(w, r, h.front.DeleteFactor(r.Context(), call, factorOf(r)))
}

// factorOf names the change in the address.
func factorOf(r *http.Request) front.FactorRef {
	return front.FactorRef{Workspace: r.PathValue("workspace"), Login: r.PathValue("login"), Change: r.PathValue("change")}
}
