// Package web is the HTTP front door: it turns requests into calls of package front and answers into JSON or problem
// documents. It decides nothing. Its routes equal schemas/openapi/doorcode.yaml, which a test proves; the hosted pages
// stand beside them.
package web

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"doorcode/pkg/frontend"
	"doorcode/pkg/httpserver"
	"doorcode/pkg/problem"
	"doorcode/pkg/strictjson"
	"doorcode/pkg/telemetry"
	"doorcode/pkg/tracing"
	"doorcode/services/auth/internal/front"
)

// Handler is the HTTP API.
type Handler struct {
	front  *front.Front
	jwks   []byte // as the operator's file has it
	log    *slog.Logger
	router *httpserver.Router
	routes []httpserver.Route
	served http.Handler // the router, counted and timed
}

// Pages are addresses for people beside the API.
type Pages interface {
	http.Handler
	Routes() []httpserver.Route
}

// New returns the API over front, which serves jwks as the key set of the assertions, with the pages, if there are any,
// and registers its metrics.
func New(f *front.Front, jwks []byte, pages Pages, tel telemetry.Telemetry) (*Handler, error) {
	h := &Handler{front: f, jwks: jwks, log: tel.Log, router: httpserver.NewRouter(tel.Log)}
	h.router.Trace(tel.Tracer())
	const workspace, login = "/v1/workspaces/{workspace}", "/v1/workspaces/{workspace}/logins/{login}"
	h.handle("POST", "/v1/challenges", h.create)
	h.handle("GET", "/v1/challenges/{handle}", h.state)
	h.router.HandleFunc("GET", "/v1/challenges/{handle}/events", h.events) // It lasts as long as the challenge.
	h.handle("DELETE", "/v1/challenges/{handle}", h.cancel)
	h.handle("POST", "/v1/challenges/{handle}/checks", h.check)
	h.handle("POST", "/v1/challenges/{handle}/deliveries", h.resend)
	h.handle("POST", "/v1/challenges/{handle}/skip", h.skip)
	h.handle("POST", "/v1/settings-sessions", h.settings)
	h.handle("GET", workspace, h.workspace)
	h.handle("PUT", workspace, h.putWorkspace)
	h.handle("DELETE", workspace, h.removeWorkspace)
	h.handle("GET", login, h.login)
	h.handle("PUT", login, h.putLogin)
	h.handle("DELETE", login, h.removeLogin)
	h.handle("DELETE", login+"/lock", h.unlock)
	h.people(workspace)
	h.handle("POST", login+"/factor-changes", h.postFactor)
	h.handle("GET", login+"/factor-changes", h.factors)
	h.handle("DELETE", login+"/factor-changes/{change}", h.cancelFactor)
	h.handle("POST", login+"/factor-changes/{change}/confirm", h.confirmFactor)
	h.handle("POST", login+"/factor-changes/{change}/deliveries", h.repeatFactor)
	h.handle("POST", "/v1/support/challenges/{challenge}/deliveries", h.supportResend)
	h.handle("POST", "/v1/support/challenges/{challenge}/unlock", h.supportUnlock)
	h.handle("GET", "/.well-known/jwks.json", h.keys)
	h.routes = h.router.Routes()
	if pages != nil {
		for _, r := range pages.Routes() {
			h.router.Handle(r.Method, r.Pattern, pages)
		}
	}
	served, err := measure(h.router, tel.Registry)
	if err != nil {
		return nil, err
	}
	h.served = served
	return h, nil
}

// Routes lists the operations of the API, for the test against its document.
func (h *Handler) Routes() []httpserver.Route { return h.routes }

// longest bounds the work on a request. It lies under the server's own bound, so that there is an answer.
const longest = 12 * time.Second

// handle adds an operation whose work is bounded in time.
func (h *Handler) handle(method, pattern string, f http.HandlerFunc) {
	h.router.HandleFunc(method, pattern, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), longest)
		defer cancel()
		f(w, r.WithContext(ctx))
	})
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.served.ServeHTTP(w, r) }

// create answers 201 to a repeat as well: the answer is the one to the first request, byte for byte.
func (h *Handler) create(w http.ResponseWriter, r *http.Request) {
	var body front.CreateRequest
	call, ok := h.begin(w, r, &body)
	if !ok {
		return
	}
	created, err := h.front.Create(r.Context(), call, body)
	if err == nil {
		w.Header().Set("Location", "/v1/challenges/"+created.Handle)
	}
	h.answer(w, r, http.StatusCreated, created, err)
}

// state shows where a challenge stands; it changes nothing.
func (h *Handler) state(w http.ResponseWriter, r *http.Request) { h.view(w, r, h.front.State) }

// cancel ends a challenge and shows where it stands then, also when it had ended before.
func (h *Handler) cancel(w http.ResponseWriter, r *http.Request) { h.view(w, r, h.front.Cancel) }

// view answers with the state of a challenge that ask returns.
func (h *Handler) view(w http.ResponseWriter, r *http.Request, ask func(context.Context, front.Call, string) (front.View, error)) {
	call, ok := h.begin(w, r, nil)
	if !ok {
		return
	}
	view, err := ask(r.Context(), call, r.PathValue("handle"))
	h.answer(w, r, http.StatusOK, view, err)
}

// check answers 200 to a right code alone; whatever else the verifier says is a problem (DESIGN 8).
func (h *Handler) check(w http.ResponseWriter, r *http.Request) {
	var body front.CheckRequest
	call, ok := h.begin(w, r, &body)
	if !ok {
		return
	}
	approved, err := h.front.Check(r.Context(), call, r.PathValue("handle"), body)
	h.answer(w, r, http.StatusOK, approved, err)
}

// skip answers with the way on without the code.
func (h *Handler) skip(w http.ResponseWriter, r *http.Request) {
	call, ok := h.begin(w, r, nil)
	if !ok {
		return
	}
	waived, err := h.front.Skip(r.Context(), call, r.PathValue("handle"))
	h.answer(w, r, http.StatusOK, waived, err)
}

// resend answers 202: the message is ordered, and no dispatcher has seen it yet.
func (h *Handler) resend(w http.ResponseWriter, r *http.Request) {
	var body front.ResendRequest
	call, ok := h.begin(w, r, &body)
	if !ok {
		return
	}
	ordered, err := h.front.Resend(r.Context(), call, r.PathValue("handle"), body)
	h.answer(w, r, http.StatusAccepted, ordered, err)
}

// settings answers 201 with a link that is good once.
func (h *Handler) settings(w http.ResponseWriter, r *http.Request) {
	var body front.SettingsRequest
	call, ok := h.begin(w, r, &body)
	if !ok {
		return
	}
	link, err := h.front.StartSettings(r.Context(), call, body)
	h.answer(w, r, http.StatusCreated, link, err)
}

// keys serves the public keys of the assertions to everybody.
func (h *Handler) keys(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, "application/jwk-set+json", h.jwks)
}

// begin reads what every request has in common and, unless body is nil, the body. When it returns false the request is
// answered. Who brings no key is told nothing about the rest.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, body any) (front.Call, bool) {
	key, ok := frontend.ParseAuthorization(r.Header.Get("Authorization"))
	if !ok {
		h.refuse(w, r, front.Unauthenticated())
		return front.Call{}, false
	}
	call := front.Call{
		Key: key, Traceparent: cmp.Or(tracing.Parent(r.Context()), r.Header.Get("Traceparent")), Match: etags(r.Header.Values("If-Match")),
		IdempotencyKey: r.Header.Get("Idempotency-Key"),
	}
	if len(r.Header.Values("Idempotency-Key")) > 0 && call.IdempotencyKey == "" {
		call.IdempotencyKey = " " // It is there and empty: package front refuses it by name.
	}
	if body != nil {
		err := strictjson.ReadRequest(r, body)
		if err != nil {
			h.refuse(w, r, err)
			return front.Call{}, false
		}
	}
	return call, true
}

// answer writes what a use case returned.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, status int, body any, err error) {
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	data, err := json.Marshal(body)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	write(w, status, "application/json", append(data, '\n'))
}

// refuse writes a problem; what the caller may not see of it is logged.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problem.Of(err)
	if p.Code == problem.CodeInternal {
		h.log.ErrorContext(r.Context(), "request failed", "route", r.Pattern, "error", err.Error())
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="doorcode"`)
	}
	problem.Write(w, p)
}

// write sends an answer that no cache may keep.
func write(w http.ResponseWriter, status int, kind string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // The caller is gone when it fails: there is nobody to tell.
}

// etags lists the ETags of an If-Match header (RFC 9110 §13.1.1). One that is empty or nonsense matches no row.
func etags(values []string) []string {
	var tags []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			tags = append(tags, strings.TrimSpace(part))
		}
	}
	return tags
}
