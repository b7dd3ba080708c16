package strictjson_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"doorcode/pkg/problem"
	"doorcode/pkg/strictjson"
)

// post returns a request with that body and content type.
func post(t *testing.T, kind string, body io.Reader) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
	r.Header.Set("Content-Type", kind)
	return r
}

// ofSize returns a valid body of n bytes.
func ofSize(n int) string {
	const frame = `{"workspace":""}`
	return `{"workspace":"` + strings.Repeat("a", n-len(frame)) + `"}`
}

func TestReadRequest_DecodesJSONUpTo64KiB(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON"} {
		var got request
		err := strictjson.ReadRequest(post(t, kind, strings.NewReader(ofSize(64<<10))), &got)
		if err != nil || len(got.Workspace) < 60_000 {
			t.Errorf("%s: refused with %v", kind, err)
		}
	}
}

// It shows SEC-54 of deploy/SECURITY.md.
func TestReadRequest_RefusesWithAProblem(t *testing.T) {
	t.Parallel()
	// Hiding the length, as a chunked body does.
	chunked := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) }
	const kind = "application/json"
	for name, tc := range map[string]struct {
		request *http.Request
		status  int
		code    string
		field   string
	}{
		"no type":    {post(t, "", strings.NewReader(`{}`)), 415, "unsupported_media_type", ""},
		"form":       {post(t, "application/x-www-form-urlencoded", strings.NewReader(`{}`)), 415, "unsupported_media_type", ""},
		"text":       {post(t, "text/json", strings.NewReader(`{}`)), 415, "unsupported_media_type", ""},
		"mangled":    {post(t, ";;", strings.NewReader(`{}`)), 415, "unsupported_media_type", ""},
		"too large":  {post(t, kind, strings.NewReader(ofSize(64<<10+1))), 413, "body_too_large", ""},
		"chunked":    {post(t, kind, chunked(ofSize(64<<10+1))), 413, "body_too_large", ""},
		"empty":      {post(t, kind, http.NoBody), 400, "invalid_request", ""},
		"broken off": {post(t, kind, iotest.ErrReader(io.ErrUnexpectedEOF)), 400, "invalid_request", ""},
		"unknown":    {post(t, kind, strings.NewReader(`{"client":{"x":1}}`)), 400, "invalid_request", "client.x"},
		"type":       {post(t, kind, strings.NewReader(`{"client":{"port":"1"}}`)), 400, "invalid_request", "client.port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got request
			err := strictjson.ReadRequest(tc.request, &got)
			var p *problem.Problem
			if !errors.As(err, &p) {
				t.Fatalf("unexpected error: %v", err)
			}
			if p.Status != tc.status || p.Code != tc.code || p.Field != tc.field || p.Detail == "" {
				t.Errorf("unexpected problem: %+v", p)
			}
		})
	}
}

func TestReadBody_TellsOurOwnMistakesApart(t *testing.T) {
	t.Parallel()
	err := strictjson.ReadBody([]byte(`{}`), request{})
	if err == nil || problem.Of(err).Status != http.StatusInternalServerError {
		t.Errorf("unexpected error: %v", err)
	}
	err = strictjson.ReadBody([]byte(ofSize(64<<10+1)), &request{})
	if problem.Of(err).Code != problem.CodeBodyTooLarge {
		t.Errorf("unexpected error: %v", err)
	}
}
