package tracing_test

import (
	"regexp"
	"testing"

	"doorcode/pkg/tracing"
)

// FuzzUnder holds that a trace context from outside is one that we could have written, or none: nothing else of it goes
// on (P4).
func FuzzUnder(f *testing.F) {
	for _, seed := range []string{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "", "00", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-jo@acme.example", "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nx: y",
	} {
		f.Add(seed)
	}
	written := regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-9a-f]$`)
	f.Fuzz(func(t *testing.T, traceparent string) {
		parent := tracing.Parent(tracing.Under(t.Context(), traceparent))
		if parent != "" && !written.MatchString(parent) {
			t.Errorf("%q goes on as %q", traceparent, parent)
		}
		if again := tracing.Parent(tracing.Under(t.Context(), parent)); again != parent {
			t.Errorf("%q goes on as %q and then as %q", traceparent, parent, again)
		}
		if link := tracing.Link(t.Context(), traceparent); link.SpanContext.IsValid() != (parent != "") {
			t.Errorf("%q is %v to a link and %q to a span", traceparent, link.SpanContext, parent)
		}
	})
}
