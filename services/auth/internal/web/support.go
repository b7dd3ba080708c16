package web

import (
	"net/http"

	"doorcode/services/auth/internal/front"
)

// supportResend answers 202 as resend does.
func (h *Handler) supportResend(w http.ResponseWriter, r *http.Request) {
	var body front.SupportResendRequest
	call, ok := h.begin(w, r, &body)
	if !ok {
		return
	}
	ordered, err := h.front.SupportResend(r.Context(), call, r.PathValue("challenge"), body)
	h.answer(w, r, http.StatusAccepted, ordered, err)
}

// supportUnlock ends a lock, which never ends by time (DESIGN 7).
func (h *Handler) supportUnlock(w http.ResponseWriter, r *http.Request) {
	var body front.SupportRequest
	call, ok := h.begin(w, r, &body)
	if !ok {
		return
	}
	h.done(w, r, h.front.SupportUnlock(r.Context(), call, r.PathValue("challenge"), body))
}
