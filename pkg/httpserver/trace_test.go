package httpserver_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"doorcode/pkg/httpserver"
	"doorcode/pkg/tracing"
)

// It shows SEC-33 of deploy/SECURITY.md.
func TestRouter_TracesOperationsByTheirPattern(t *testing.T) {
	t.Parallel()
	exporter := tracetest.NewInMemoryExporter()
	router := httpserver.NewRouter(slog.New(slog.DiscardHandler))
	router.Trace(tracing.Of(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))))
	router.HandleFunc(http.MethodGet, "/things/{id}", func(w http.ResponseWriter, r *http.Request) {
		if tracing.Parent(r.Context()) == "" {
			t.Error("the handler has no span")
		}
		if r.PathValue("id") == "bad" {
			panic("thrown")
		}
		w.WriteHeader(http.StatusNoContent)
	})
	for _, path := range []string{"/things/secret", "/things/bad", "/elsewhere"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		router.ServeHTTP(httptest.NewRecorder(), r)
	}
	spans := exporter.GetSpans()
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	for i, status := range []int64{http.StatusNoContent, http.StatusInternalServerError} {
		s := spans[i]
		if s.Name != "GET /things/{id}" || s.SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" ||
			len(s.Attributes) != 1 || s.Attributes[0].Value.AsInt64() != status {
			t.Errorf("span %s with %v", s.Name, s.Attributes)
		}
	}
	if spans[1].Status.Code != codes.Error {
		t.Error("a panic is no error")
	}
}
