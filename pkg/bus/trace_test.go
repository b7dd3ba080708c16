package bus_test

import (
	"context"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/pkg/tracing"
)

func TestRequest_TakesItsTraceAlong(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	exporter := tracetest.NewInMemoryExporter()
	tracer := tracing.Of(sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)))
	var under string
	service, err := b.Connect(t, "verifier").Serve(patience(t), bus.ServiceConfig{
		Name: "verifier", Version: "1.0.0", Workers: 1, Tracer: tracer,
		Endpoints: []bus.Endpoint{{Name: "state", Subject: event.VerbState, Handle: func(ctx context.Context, r bus.Request) ([]byte, error) {
			under = tracing.From(r.Header)
			return []byte(tracing.Parent(ctx)), nil
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := tracer.Start(patience(t), "root")
	answer, err := b.Connect(t, "auth").Request(ctx, event.VerbState, nil)
	root.End()
	if err != nil {
		t.Fatal(err)
	}
	err = service.Stop(patience(t))
	if err != nil {
		t.Fatal(err)
	}
	spans := map[string]tracetest.SpanStub{}
	for _, s := range exporter.GetSpans() {
		spans[s.Name] = s
	}
	ask, served := spans["ask "+event.VerbState], spans[event.VerbState]
	if len(spans) != 3 || served.Parent.SpanID() != ask.SpanContext.SpanID() || ask.Parent.SpanID() != root.SpanContext().SpanID() {
		t.Errorf("spans %v", spans)
	}
	if tracing.Link(t.Context(), string(answer)).SpanContext.SpanID() != served.SpanContext.SpanID() ||
		tracing.Link(t.Context(), under).SpanContext.SpanID() != ask.SpanContext.SpanID() {
		t.Error("the trace context on the wire is another")
	}
}
