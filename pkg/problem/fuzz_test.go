package problem_test

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/problem"
)

// FuzzUnmarshal holds that a document that is read reads the same when it is written again, and that any can be answered
// with.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		`{"type": "about:blank", "title": "Unprocessable Entity", "status": 422, "detail": "d", "code": "wrong_code", "checks_left": 3}`, `{"status": 503, "retry_after": 30}`,
		`{"status": -1, "retry_after": -9223372036854775808}`, `{"retry_after": 9223372036854775807}`, `{}`, `null`, `[]`, `{"status": 1e9}`, `{"field": "client.address"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p, again problem.Problem
		if json.Unmarshal(data, &p) != nil {
			return
		}
		if p.RetryAfter < 0 {
			t.Errorf("waits for %s", p.RetryAfter)
		}
		written, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		err = json.Unmarshal(written, &again)
		if err != nil || !cmp.Equal(p, again) {
			t.Errorf("%s reads differently when it is written again: %s, %v", data, written, err)
		}
		rec := httptest.NewRecorder()
		problem.Write(rec, &p)
		if rec.Code < 400 || rec.Code > 599 {
			t.Errorf("%s is answered %d", data, rec.Code)
		}
	})
}
