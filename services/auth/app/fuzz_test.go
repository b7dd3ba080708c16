package app_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// fuzzed runs one auth for all inputs of a fuzz test, with a workspace to hit and a budget that no run uses up.
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
