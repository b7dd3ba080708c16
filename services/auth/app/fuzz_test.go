package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode"

	"doorcode/pkg/bus"
)

// fuzzed is a harness with a workspace and a login.
func fuzzed(f *testing.F) *harness {
	f.Helper()
	h := start(f, nil)
	h.settle(f)
	return h
}

// status answers a request and returns the status.
func (h *harness) status(req *http.Request) int {
	rec := httptest.NewRecorder()
	h.app.Handler().ServeHTTP(rec, req)
	return rec.Code
}

// FuzzHeaders holds that no header is answered with a 5xx, and that nobody gets in by an odd one.
func FuzzHeaders(f *testing.F) {
	h := fuzzed(f)
	for _, seed := range []string{
		"", "*", `"x"`, `W/"x"`, `"x", "y"`, `"`, "application/json; charset=utf-8", "application/json;q", "text/plain", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"Bearer " + h.key, "bearer  " + h.key, "Bearer dck__", "Basic Og==", "\x00", "é", strings.Repeat("x", 300),
	} {
		for _, name := range []string{"Authorization", "If-Match", "Content-Type", "Idempotency-Key", "Traceparent", "Tracestate", "Accept", "Content-Length", "Transfer-Encoding"} {
			f.Add(name, seed)
		}
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		for _, one := range []struct{ method, path, body string }{
			{"GET", "/v1/workspaces/w", ""},
			{"PUT", "/v1/workspaces/w", `{"name": "Acme", "main_email": "info@example.com"}`},
			{"POST", "/v1/challenges", `{"workspace": "w", "login": "nobody"}`},
			{"GET", "/v1/challenges/AQEAAA/events", ""},
		} {
			req := (&http.Request{
				Method: one.method, URL: &url.URL{Path: one.path}, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(one.body)),
			}).WithContext(t.Context())
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+h.key)
			req.Header.Set(name, value)
			status := h.status(req)
			if status >= 500 {
				t.Errorf("%s with %s: %q is answered %d", one.path, name, value, status)
			}
			if http.CanonicalHeaderKey(name) == "Authorization" && !strings.Contains(value, h.key) && status != http.StatusUnauthorized {
				t.Errorf("%s with %q is answered %d", one.path, value, status)
			}
		}
	})
}

// FuzzNATS holds of the challenge requests on the bus what FuzzAPI holds of those on HTTP, and that a refusal is a
// problem document with the same status.
func FuzzNATS(f *testing.F) {
	h := fuzzed(f)
	conn := h.bus.Connect(f, "front-end")
	for _, verb := range []string{"create", "read", "check", "resend", "cancel"} {
		for _, body := range []string{
			``, `null`, `{}`, `[]`, `{"workspace": "w", "login": "anna"}`, `{"handle": "AQEAAA"}`, `{"handle": "AQEAAA", "code": "123456", "check_id": "\u0000"}`, `{"handle": 1}`, `{"handle": "x", "handle": "y"}`, "\xff",
		} {
			f.Add(verb, []byte(body), "Idempotency-Key", "k")
		}
	}
	f.Add("check", []byte(`{"handle": "x", "code": "١٢٣٤٥٦"}`), "Authorization", "Bearer x")
	f.Add("create", []byte(`{"workspace": "w", "login": "anna"}`), "traceparent", "\x00")
	f.Fuzz(func(t *testing.T, verb string, body []byte, name, value string) {
		if strings.Trim(verb, "abcdefghijklmnopqrstuvwxyz") != "" || verb == "" || len(body) > 60_000 {
			return
		}
		if name == "" || strings.ContainsAny(value, "\r\n") || strings.HasPrefix(strings.ToLower(name), "nats-") ||
			strings.ContainsFunc(name, func(r rune) bool {
				return r != '-' && !unicode.IsDigit(r) && !unicode.IsLetter(r) || r > unicode.MaxASCII
			}) {
			return // The client does not send it.
		}
		ctx, cancel := context.WithTimeout(t.Context(), limitOfTest)
		defer cancel()
		answer, err := conn.Ask(ctx, "doorcode.api.challenges."+verb, map[string]string{"Authorization": "Bearer " + h.key, name: value}, body)
		var refused *bus.ServiceError
		switch {
		case err == nil:
			if !json.Valid(answer) {
				t.Errorf("%s %q is answered with no JSON: %q", verb, body, answer)
			}
		case errors.As(err, &refused):
			var document struct {
				Status int
				Code   string
			}
			unreadable := json.Unmarshal(refused.Body, &document)
			if refused.Code >= 500 || unreadable != nil || document.Status != refused.Code || document.Code == "" {
				t.Errorf("%s %q is refused with %d %s", verb, body, refused.Code, refused.Body)
			}
		case !errors.Is(err, bus.ErrUnavailable) || strings.Contains(" create read check resend cancel ", " "+verb+" "):
			t.Errorf("%s %q with %s: %q is not answered: %v", verb, body, name, value, err)
		}
	})
}
