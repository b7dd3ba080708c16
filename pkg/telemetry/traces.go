package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"doorcode/pkg/tracing"
)

// exportTimeout bounds one export, also the last one at a stop. Spans that cannot leave are dropped: a collector that is
// away delays nothing.
const exportTimeout = 3 * time.Second

// Tracer returns what begins the spans of this process; without Traces it traces nothing.
func (t Telemetry) Tracer() trace.Tracer { return tracing.Of(t.Traces) }

// Export returns the telemetry with traces that are sent by OTLP over HTTP to a collector, such as
// http://127.0.0.1:4318. An empty endpoint changes nothing and starts nothing. The returned function sends what is left
// and ends the export.
func (t Telemetry) Export(ctx context.Context, process, endpoint string) (Telemetry, func(context.Context) error, error) {
	if endpoint == "" {
		return t, func(context.Context) error { return nil }, nil
	}
	at, err := url.Parse(endpoint)
	if err != nil || at.Host == "" || (at.Scheme != "http" && at.Scheme != "https") || at.User != nil {
		return t, nil, fmt.Errorf("the OTLP endpoint is no http or https address without a password")
	}
	exporter, err := otlptracehttp.New(ctx,
		otlptracehttp.WithEndpointURL(at.JoinPath("v1", "traces").String()),
		otlptracehttp.WithTimeout(exportTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}))
	if err != nil {
		return t, nil, fmt.Errorf("open the export of traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(quiet{SpanExporter: exporter, log: t.Log}, sdktrace.WithExportTimeout(exportTimeout)),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "doorcode/"+process))),
	)
	t.Traces = provider
	return t, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, exportTimeout)
		defer cancel()
		err := provider.Shutdown(ctx)
		if err != nil {
			t.Log.WarnContext(ctx, "traces not exported", "error", err.Error())
		}
		return nil
	}, nil
}

// quiet logs what an exporter cannot send, instead of the library's global handler.
type quiet struct {
	sdktrace.SpanExporter
	log *slog.Logger
}

// ExportSpans sends spans or drops them.
func (q quiet) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := q.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		q.log.WarnContext(ctx, "traces not exported", "error", err.Error())
	}
	return nil
}
