package telemetry_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"doorcode/pkg/telemetry"
)

func TestExport_IsOffWithoutAnEndpoint(t *testing.T) {
	t.Parallel()
	tel, err := telemetry.New("auth", "info", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	same, end, err := tel.Export(t.Context(), "auth", "")
	if err != nil || same.Traces != nil || end(t.Context()) != nil {
		t.Errorf("something is exported: %v", err)
	}
	_, span := same.Tracer().Start(t.Context(), "anything")
	if span.IsRecording() {
		t.Error("a span is recorded")
	}
}

func TestExport_SendsSpansAtTheEnd(t *testing.T) {
	t.Parallel()
	var posts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/traces" {
			posts.Add(1)
		}
	}))
	defer server.Close()
	tel, err := telemetry.New("auth", "info", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	tel, end, err := tel.Export(t.Context(), "auth", server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.For("verifier").Tracer().Start(t.Context(), "anything")
	span.End()
	err = end(t.Context())
	if err != nil || posts.Load() != 1 {
		t.Errorf("%d exports: %v", posts.Load(), err)
	}
}

func TestExport_ACollectorThatIsAwayIsLoggedAndNothingElse(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Close()
	var out bytes.Buffer
	tel, err := telemetry.New("auth", "info", &out)
	if err != nil {
		t.Fatal(err)
	}
	tel, end, err := tel.Export(t.Context(), "auth", server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer().Start(t.Context(), "anything")
	span.End()
	err = end(t.Context())
	if err != nil || !strings.Contains(out.String(), "traces not exported") {
		t.Errorf("%v, logged %s", err, out.String())
	}
}

func TestExport_RefusesWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"collector", "ftp://collector", "http://", "http://user:password@collector", "http://%"} {
		_, _, err := telemetry.Telemetry{}.Export(t.Context(), "auth", endpoint)
		if err == nil || strings.Contains(err.Error(), "password@") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}
