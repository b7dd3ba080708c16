package httpserver

import (
	"errors"
	"log/slog"
	"net/http"
	"path"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"doorcode/pkg/problem"
	"doorcode/pkg/tracing"
)

// Route is one operation that a Router knows.
type Route struct {
	Method  string
	Pattern string // As http.ServeMux has it, e.g. "/v1/challenges/{handle}".
}

// Router is an http.ServeMux that answers with problem documents wherever the mux would answer in plain text or
// redirect: an unknown path, a wrong method, a path with empty or dot segments, a handler that panics (DESIGN 8).
//
// It is complete before it serves: Handle must not be called later.
type Router struct {
	mux    *http.ServeMux
	log    *slog.Logger
	tracer trace.Tracer // Nil traces nothing.
	routes []Route
}

// NewRouter returns a router without routes.
func NewRouter(log *slog.Logger) *Router {
	return &Router{mux: http.NewServeMux(), log: log}
}

// Trace makes a span of every request that an operation takes, under the trace that came with it. It is named by the
// operation's pattern and tells the status of the answer, no more.
func (r *Router) Trace(tracer trace.Tracer) { r.tracer = tracer }

// span begins the span of a request, or does nothing. The returned function ends it.
func (r *Router) span(rec *recorder, req *http.Request) (*http.Request, func()) {
	if r.tracer == nil {
		return req, func() {}
	}
	_, pattern := r.mux.Handler(req)
	if pattern == "" {
		return req, func() {}
	}
	ctx, span := r.tracer.Start(tracing.Under(req.Context(), req.Header.Get(tracing.Header)), pattern,
		trace.WithSpanKind(trace.SpanKindServer))
	return req.WithContext(ctx), func() {
		span.SetAttributes(attribute.Int("http.response.status_code", rec.status))
		if rec.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Handle adds an operation. As in http.ServeMux, GET serves HEAD too, and a malformed or repeated pattern panics, which
// the first test of a process shows.
func (r *Router) Handle(method, pattern string, h http.Handler) {
	r.mux.Handle(method+" "+pattern, h)
	r.routes = append(r.routes, Route{method, pattern})
}

// HandleFunc is Handle for a function.
func (r *Router) HandleFunc(method, pattern string, h http.HandlerFunc) {
	r.Handle(method, pattern, h)
}

// Routes lists the operations in the order in which they were added.
func (r *Router) Routes() []Route {
	return slices.Clone(r.routes)
}

// ServeHTTP finds the handler, or answers by itself.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	rec := &recorder{ResponseWriter: w, status: http.StatusOK}
	req, end := r.span(rec, req)
	defer end()
	defer r.recover(rec, req)
	if mangled(req) {
		problem.Write(rec, notFound())
		return
	}
	if r.serves(req) {
		r.mux.ServeHTTP(rec, req)
		return
	}
	allowed := r.allowed(req)
	if len(allowed) == 0 {
		problem.Write(rec, notFound())
		return
	}
	rec.Header().Set("Allow", strings.Join(allowed, ", "))
	problem.Write(rec, problem.New(http.StatusMethodNotAllowed, problem.CodeMethodNotAllowed,
		"This address does not take that method."))
}

// notFound is the answer to every address that does not exist.
func notFound() *problem.Problem {
	return problem.New(http.StatusNotFound, problem.CodeNotFound, "There is nothing at this address.")
}

// serves reports whether a handler of ours takes the request. The mux's own redirect to a trailing slash is none.
func (r *Router) serves(req *http.Request) bool {
	_, pattern := r.mux.Handler(req)
	if pattern == "" {
		return false
	}
	redirects := strings.HasSuffix(pattern, "/") &&
		strings.Count(req.URL.EscapedPath(), "/") < strings.Count(pattern, "/")
	return !redirects
}

// allowed lists the methods that the request's path has, sorted.
func (r *Router) allowed(req *http.Request) []string {
	var methods []string
	for _, route := range r.routes {
		methods = append(methods, route.Method)
		if route.Method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
	}
	slices.Sort(methods)
	return slices.DeleteFunc(slices.Compact(methods), func(method string) bool {
		other := *req
		other.Method = method
		return !r.serves(&other)
	})
}

// mangled reports whether the path has an empty or a dot segment, escaped or not. The mux would redirect to a cleaned
// path, but a request that carries a key or a code is never sent on to where nobody addressed it.
func mangled(req *http.Request) bool {
	for _, p := range []string{req.URL.Path, req.URL.EscapedPath()} {
		if !strings.HasPrefix(p, "/") {
			return true
		}
		clean := path.Clean(p)
		if clean != p && (clean == "/" || clean+"/" != p) {
			return true
		}
	}
	return false
}

// recorder notes whether an answer has begun.
type recorder struct {
	http.ResponseWriter
	began  bool
	status int
}

// WriteHeader begins the answer.
func (w *recorder) WriteHeader(status int) {
	if !w.began && status >= http.StatusOK { // 1xx precede the answer.
		w.began, w.status = true, status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write begins the answer, too.
func (w *recorder) Write(data []byte) (int, error) {
	w.began = true
	return w.ResponseWriter.Write(data)
}

// Unwrap lets http.ResponseController reach the connection, for streams.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// recover is deferred: it turns a panic into a plain 500, or breaks off an answer that has begun, so that half of one
// is not taken for the whole. Of what was thrown only errors of the runtime are logged: anything else might quote the
// request.
func (r *Router) recover(w *recorder, req *http.Request) {
	thrown := recover()
	if thrown == nil {
		return
	}
	err, _ := thrown.(error)
	if errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler) // The server's own way to break off an answer.
	}
	cause := "withheld"
	var fault runtime.Error
	if errors.As(err, &fault) {
		cause = fault.Error()
	}
	r.log.ErrorContext(req.Context(), "handler panicked", "method", req.Method, "pattern", req.Pattern,
		"cause", cause, "stack", string(debug.Stack()))
	if w.began {
		panic(http.ErrAbortHandler)
	}
	clear(w.Header())
	problem.Write(w, nil)
}
