package web

import (
	"net/http"

	"doorcode/services/auth/internal/front"
)

// workspace shows one with its ETag.
func (h *Handler) workspace(w http.ResponseWriter, r *http.Request) {
	call, ok := h.begin(w, r, nil)
	if !ok {
		return
	}
	entry, err := h.front.Workspace(r.Context(), call, r.PathValue("workspace"))
	show(h, w, r, entry, err)
}

// putWorkspace makes or replaces one; the same put may come again and again.
func (h *Handler) putWorkspace(w http.ResponseWriter, r *http.Request) {
	var body front.WorkspaceRequest
	call, ok := h.begin(w, r, &body)
	if !ok {
		return
	}
	entry, err := h.front.PutWorkspace(r.Context(), call, r.PathValue("workspace"), body)
	show(h, w, r, entry, err)
}

// removeWorkspace takes its logins along.
func (h *Handler) removeWorkspace(w http.ResponseWriter, r *http.Request) {
	call, ok := h.begin(w, r, nil)
	if !ok {
		return
	}
	h.done(w, r, h.front.RemoveWorkspace(r.Context(), call, r.PathValue("workspace")))
}

// login shows one with the role that it has in its workspace.
func (h *Handler) login(w http.ResponseWriter, r *http.Request) {
	call, ok := h.begin(w, r, nil)
	if !ok {
		return
	}
	entry, err := h.front.Login(r.Context(), call, r.PathValue("workspace"), r.PathValue("login"))
	show(h, w, r, entry, err)
}

// putLogin makes or replaces one; an address that is put counts as proven, because the host application is trusted.
func (h *Handler) putLogin(w http.ResponseWriter, r *http.Request) {
	var body front.LoginRequest
	call, ok := h.begin(w, r, &body)
	if !ok {
		return
	}
	entry, err := h.front.PutLogin(r.Context(), call, r.PathValue("workspace"), r.PathValue("login"), body)
	show(h, w, r, entry, err)
}

// removeLogin leaves the budget of wrong codes behind (P3).
func (h *Handler) removeLogin(w http.ResponseWriter, r *http.Request) {
	call, ok := h.begin(w, r, nil)
	if !ok {
		return
	}
	h.done(w, r, h.front.RemoveLogin(r.Context(), call, r.PathValue("workspace"), r.PathValue("login")))
}

// unlock ends a lock, which never ends by time (DESIGN 7).
func (h *Handler) unlock(w http.ResponseWriter, r *http.Request) {
	call, ok := h.begin(w, r, nil)
	if !ok {
		return
	}
	h.done(w, r, h.front.Unlock(r.Context(), call, r.PathValue("workspace"), r.PathValue("login")))
}

// show answers with an entry of the directory and its ETag: 201 when it was made just now.
func show[T any](h *Handler, w http.ResponseWriter, r *http.Request, entry front.Entry[T], err error) {
	status := http.StatusOK
	if entry.Created {
		status = http.StatusCreated
	}
	if err == nil {
		w.Header().Set("ETag", entry.ETag)
	}
	h.answer(w, r, status, entry.Shown, err)
}

// done answers a request that has nothing to show: 204, which has no body and so no content type.
func (h *Handler) done(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}
