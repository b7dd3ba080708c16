package e2e

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// traceID is that of the traces which a front-end sends along.
const traceID = "0af7651916cd43dd8448eb211c80319c"

// receiver is a collector of OTLP over HTTP.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*otlp.Span
	raw   bytes.Buffer
	err   error
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(r.take))
	t.Cleanup(r.Close)
	return r
}

// take keeps the spans of one export.
func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var export collector.ExportTraceServiceRequest
	err = errors.Join(err, proto.Unmarshal(body, &export))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, err)
	if req.URL.Path != "/v1/traces" {
		r.err = errors.New("export to another path")
	}
	r.raw.Write(body)
	for _, resource := range export.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// of returns the spans of a name.
func (r *receiver) of(name string) []*otlp.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.spans), func(s *otlp.Span) bool { return s.GetName() != name })
}

// traced is a front-end that sends a trace along.
type traced struct{ http.RoundTripper }

func (t traced) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Traceparent", "00-"+traceID+"-b7ad6b7169203331-01")
	return t.RoundTripper.RoundTrip(r)
}

// It shows SEC-33 of deploy/SECURITY.md.
func TestTraces_ASignInIsOneTraceAndShowsNoSecret(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	s, err := newStandalone(folder(t))
	if err != nil {
		t.Fatal(err)
	}
	s.settings["DOORCODE_OTLP_ENDPOINT"] = r.URL
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	s.http.Transport = traced{transport}
	err = s.start()
	if err != nil {
		t.Fatal(err)
	}
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	code := s.code(t, email, 1)
	s.passWait(t, ch)
	err = s.front.Resend(t.Context(), ch.Handle)
	if err != nil {
		t.Fatal(err)
	}
	s.code(t, email, 2)
	_, err = s.front.Check(t.Context(), ch.Handle, code)
	if err != nil {
		t.Fatal(err)
	}
	err = s.signal(syscall.SIGTERM) // What waits is exported at the end.
	if err != nil {
		t.Fatal(err)
	}
	r.Close() // Every export has been taken.
	if r.err != nil {
		t.Fatal(r.err)
	}
	parents := map[string]string{
		"POST /v1/challenges": "", "POST /v1/challenges/{handle}/checks": "",
		"ask doorcode.verifier.check": "POST /v1/challenges/{handle}/checks",
		"doorcode.verifier.check":     "ask doorcode.verifier.check",
	}
	for name, parent := range parents {
		r.connected(t, name, parent)
	}
	// Each attempt is linked to what asked for it: the create, and the resend.
	attempts, causes := r.of("delivery attempt"), []string{"POST /v1/challenges", "doorcode.verifier.resend"}
	if len(attempts) != len(causes) {
		t.Fatalf("%d attempts", len(attempts))
	}
	for i, cause := range causes {
		links, spans := attempts[i].GetLinks(), r.of(cause)
		if len(links) != 1 || len(spans) != 1 || !bytes.Equal(links[0].GetSpanId(), spans[0].GetSpanId()) {
			t.Errorf("attempt %d is not linked to %s: %v", i+1, cause, links)
		}
	}
	for _, secret := range []string{code, email, ch.Handle, s.key, workspace, ch.SupportReference} {
		if strings.Contains(r.raw.String(), secret) {
			t.Errorf("%q is in a trace", secret)
		}
	}
}

// connected fails the test unless the one span of a name belongs to the front-end's trace, under the one of parent.
func (r *receiver) connected(t *testing.T, name, parent string) {
	t.Helper()
	spans := r.of(name)
	if len(spans) != 1 || hex.EncodeToString(spans[0].GetTraceId()) != traceID {
		t.Errorf("%s: %d spans, or of another trace: %v", name, len(spans), spans)
		return
	}
	if parent != "" && !bytes.Equal(spans[0].GetParentSpanId(), r.of(parent)[0].GetSpanId()) {
		t.Errorf("%s is not under %s", name, parent)
	}
}
