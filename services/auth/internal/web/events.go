package web

import (
	"encoding/json"
	"net/http"

	"doorcode/services/auth/internal/front"
	"doorcode/services/auth/internal/live"
)

// events streams the state of a challenge; the data of an event is the body of the read.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	call, ok := h.begin(w, r, nil)
	if !ok {
		return
	}
	following, view, err := h.front.Follow(r.Context(), call, r.PathValue("handle"))
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	defer following.Close()
	err = live.Serve(w, r, following, view, func(v front.View) ([]byte, error) { return json.Marshal(v) })
	if err != nil {
		h.refuse(w, r, err)
	}
}
