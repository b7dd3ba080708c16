package tracing_test

import (
	"context"
	"errors"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"doorcode/pkg/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestStart_CostsNothingWithoutASpan(t *testing.T) { //nolint:paralleltest // It counts allocations.
	ctx := t.Context()
	allocations := testing.AllocsPerRun(100, func() {
		under, span := tracing.Start(ctx, "anything", trace.SpanKindClient)
		if under != ctx || tracing.Parent(under) != "" {
			t.Error("a span without a provider")
		}
		tracing.End(span, nil)
	})
	if allocations > 1 {
		t.Errorf("%v allocations", allocations)
	}
}

func TestSpans_AreConnectedOverALineOfText(t *testing.T) {
	t.Parallel()
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	ctx, outer := tracing.Of(provider).Start(tracing.Under(t.Context(), parent), "outer")
	inner, span := tracing.Start(ctx, "inner", trace.SpanKindClient)
	line := tracing.Parent(inner)
	tracing.End(span, errors.New("a secret"))
	tracing.End(outer, nil)
	spans := exporter.GetSpans()
	if len(spans) != 2 || spans[1].Parent.TraceID() != spans[0].SpanContext.TraceID() ||
		spans[0].Parent.SpanID() != spans[1].SpanContext.SpanID() || spans[0].Status.Description != "" {
		t.Fatalf("spans %v", spans)
	}
	if link := tracing.Link(t.Context(), line); link.SpanContext.SpanID() != spans[0].SpanContext.SpanID() {
		t.Error("the line does not link to its span")
	}
	for _, wrong := range []string{"", "x", parent[1:]} {
		if tracing.Link(t.Context(), wrong).SpanContext.IsValid() || tracing.Under(t.Context(), wrong) == nil {
			t.Errorf("%q is a trace context", wrong)
		}
	}
}

func TestOf_NilTracesNothing(t *testing.T) {
	t.Parallel()
	_, span := tracing.Of(nil).Start(context.Background(), "anything")
	if span.IsRecording() {
		t.Error("it records")
	}
}

func TestFrom_IgnoresTheCaseOfTheName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"traceparent", "Traceparent", "TRACEPARENT"} {
		if tracing.From(map[string]string{"other": "x", name: parent}) != parent {
			t.Errorf("%s is not read", name)
		}
	}
	if tracing.From(nil) != "" {
		t.Error("something from nothing")
	}
}
