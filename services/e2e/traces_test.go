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

	"google.golang.org/protobuf/encoding/protowire"
)

// traceID is that of the traces which a front-end sends along.
const traceID = "0af7651916cd43dd8448eb211c80319c"

// span is what the test reads of a span.
type span struct {
	name              string
	trace, id, parent []byte
	links             [][]byte // the ids of the spans that it is linked to
}

// inside gives the content of each field of a number in a message, for bytes, texts and messages in it alone.
func inside(message []byte, number protowire.Number) ([][]byte, error) {
	var found [][]byte
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		size := protowire.ConsumeFieldValue(field, kind, message[n:])
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		if field == number && kind == protowire.BytesType {
			content, _ := protowire.ConsumeBytes(message[n:])
			found = append(found, content)
		}
		message = message[n+size:]
	}
	return found, nil
}

// along follows fields from message to message.
func along(message []byte, path ...protowire.Number) ([][]byte, error) {
	at := [][]byte{message}
	for _, number := range path {
		var next [][]byte
		for _, m := range at {
			found, err := inside(m, number)
			if err != nil {
				return nil, err
			}
			next = append(next, found...)
		}
		at = next
	}
	return at, nil
}

// spansOf reads the spans of an export: opentelemetry/proto/collector/trace/v1 and opentelemetry/proto/trace/v1 have the
// numbers of the fields.
func spansOf(export []byte) ([]span, error) {
	raw, err := along(export, 1, 2, 2) // resource_spans, scope_spans, spans
	if err != nil {
		return nil, err
	}
	var spans []span
	for _, r := range raw {
		var s span
		s.links, err = along(r, 13, 2) // links, span_id
		if err != nil {
			return nil, err
		}
		var name []byte
		for number, to := range map[protowire.Number]*[]byte{1: &s.trace, 2: &s.id, 4: &s.parent, 5: &name} {
			found, err := inside(r, number)
			if err != nil {
				return nil, err
			}
			if len(found) > 0 {
				*to = found[len(found)-1]
			}
		}
		s.name = string(name)
		spans = append(spans, s)
	}
	return spans, nil
}

// receiver is a collector of OTLP over HTTP.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []span
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
	spans, unread := spansOf(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, err, unread)
	if req.URL.Path != "/v1/traces" {
		r.err = errors.New("export to another path")
	}
	r.raw.Write(body)
	r.spans = append(r.spans, spans...)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// of returns the spans of a name.
func (r *receiver) of(name string) []span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.spans), func(s span) bool { return s.name != name })
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
		links, spans := attempts[i].links, r.of(cause)
		if len(links) != 1 || len(spans) != 1 || !bytes.Equal(links[0], spans[0].id) {
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
	if len(spans) != 1 || hex.EncodeToString(spans[0].trace) != traceID {
		t.Errorf("%s: %d spans, or of another trace: %v", name, len(spans), spans)
		return
	}
	if parent != "" && !bytes.Equal(spans[0].parent, r.of(parent)[0].id) {
		t.Errorf("%s is not under %s", name, parent)
	}
}
