package dispatch

import (
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"doorcode/pkg/delivery"
	"doorcode/pkg/tracing"
)

func TestTrace_EveryAttemptIsASpanLinkedToItsCauseInClosedWords(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	exporter := tracetest.NewInMemoryExporter()
	b.tracer = tracing.Of(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)))
	for range 2 {
		j := b.job()
		j.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		err := b.send(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
	}
	j := b.job()
	j.Attempt = Attempt{Result: delivery.Permanent, Reason: delivery.ReasonInvalidRecipient, Detail: recipient, At: b.now}
	b.trace(t.Context(), j)
	spans := exporter.GetSpans()
	if len(spans) != 3 {
		t.Fatalf("%d spans", len(spans))
	}
	for _, span := range spans[:2] {
		if len(span.Links) != 1 || span.Links[0].SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" ||
			span.SpanContext.TraceID() == span.Links[0].SpanContext.TraceID() {
			t.Errorf("links %v", span.Links)
		}
	}
	want := attribute.NewSet(attribute.String("channel", "email"), attribute.String("provider", "fake"),
		attribute.String("result", "permanent"), attribute.String("reason", delivery.ReasonInvalidRecipient.String()))
	if got := attribute.NewSet(spans[2].Attributes...); !got.Equals(&want) || len(spans[2].Links) != 0 {
		t.Errorf("attributes %v, links %v", spans[2].Attributes, spans[2].Links)
	}
}
