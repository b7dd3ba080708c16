// Package tracing is the little of OpenTelemetry that every part of a process needs: spans under the one that a context
// carries, and the W3C trace context as one line of text.
//
// It exports nothing and keeps no global: a context without a span that is recorded traces nothing and costs next to
// nothing. Names and attributes are closed words; none is ever an id, an address, a number, a code or a key (P4).
package tracing

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Header is the name under which a trace context travels: lower case, as other brokers and libraries write it.
// Whoever reads it ignores case (nats-postgres.md 9).
const Header = "traceparent"

// scope names the instrumentation in every span.
const scope = "doorcode"

// Of returns the tracer of a provider, or one that traces nothing for nil.
func Of(provider trace.TracerProvider) trace.Tracer {
	if provider == nil {
		provider = noop.NewTracerProvider()
	}
	return provider.Tracer(scope)
}

// Start begins a span under the context's own, by the same provider. Without one that is recorded it returns the
// context as it is and a span that does nothing.
func Start(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, trace.SpanFromContext(context.Background())
	}
	return parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind))
}

// End ends a span; an error marks it as failed and is not quoted.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// Parent returns the trace context of a context's span as one line, or nothing.
func Parent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[Header]
}

// Under returns a context whose next span is a child of a trace context from elsewhere. What is none changes nothing.
func Under(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{Header: traceparent})
}

// Link returns a link to a trace context, for work whose cause is over. What is none gives an empty link, which is
// dropped.
func Link(ctx context.Context, traceparent string) trace.Link {
	alone := trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	return trace.Link{SpanContext: trace.SpanContextFromContext(Under(alone, traceparent))}
}

// From returns the trace context among headers, whatever the case of its name.
func From(header map[string]string) string {
	for name, value := range header {
		if strings.EqualFold(name, Header) {
			return value
		}
	}
	return ""
}
