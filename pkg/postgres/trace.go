package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"

	"doorcode/pkg/tracing"
)

// tracer makes a span of every statement under a span that is recorded. The span is named by the statement's first word;
// neither text nor arguments are in it (P4).
type tracer struct{}

// TraceQueryStart begins a span.
func (tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	ctx, _ = tracing.Start(ctx, "postgres "+verb(data.SQL), trace.SpanKindClient)
	return ctx
}

// TraceQueryEnd ends the span that TraceQueryStart began. Without one the context's span is not recorded, and ending it
// means nothing.
func (tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	tracing.End(trace.SpanFromContext(ctx), data.Err)
}

// verb returns the first word of a statement, one of a closed set.
func verb(sql string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(sql), " ")
	first = strings.ToLower(strings.TrimSpace(first))
	switch first {
	case "select", "insert", "update", "delete", "with", "begin", "commit", "rollback", "set":
		return first
	}
	return "other"
}
