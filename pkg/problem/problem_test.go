package problem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"doorcode/pkg/problem"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// It shows SEC-16 of deploy/SECURITY.md.
func TestWrite_AnswersWithTheWholeDocument(t *testing.T) {
	t.Parallel()
	left := 0
	w := httptest.NewRecorder()
	problem.Write(w, &problem.Problem{
		Status: 422, Code: "wrong_code", Detail: "That is not the code.", Field: "code",
		RetryAfter: 1500 * time.Millisecond, ChecksLeft: &left,
	})
	want := `{"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"That is not the code.",` +
		`"code":"wrong_code","field":"code","retry_after":2,"checks_left":0}` + "\n"
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{
		"Content-Type":           "application/problem+json",
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"Retry-After":            "2",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if w.Code != 422 {
		t.Errorf("status %d", w.Code)
	}
}

func TestWrite_LeavesOutWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	problem.Write(w, problem.New(404, problem.CodeNotFound, "There is no such challenge."))
	want := `{"type":"about:blank","title":"Not Found","status":404,"detail":"There is no such challenge.",` +
		`"code":"not_found"}` + "\n"
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Error(diff)
	}
	if _, set := w.Header()["Retry-After"]; set {
		t.Error("Retry-After without a time")
	}
}

// It shows SEC-16 of deploy/SECURITY.md.
func TestWrite_RoundsRetryAfterUp(t *testing.T) {
	t.Parallel()
	for after, want := range map[time.Duration]string{
		-time.Second: "", 0: "", 1: "1", time.Second: "1", time.Second + 1: "2", time.Minute: "60",
		1<<63 - 1: "9223372037",
	} {
		w := httptest.NewRecorder()
		problem.Write(w, &problem.Problem{Status: 429, Code: "too_many", RetryAfter: after})
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("%v: Retry-After is %q, not %q", after, got, want)
		}
	}
}

func TestWrite_RefusesAStatusThatIsNoError(t *testing.T) {
	t.Parallel()
	for _, p := range []*problem.Problem{nil, {}, {Status: 200}, {Status: 399}, {Status: 600}, {Status: -1}} {
		w := httptest.NewRecorder()
		problem.Write(w, p)
		if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), `"code":"internal"`) {
			t.Errorf("%v is answered by %d %s", p, w.Code, w.Body)
		}
	}
}

func TestOf_FindsTheProblemAndHidesTheRest(t *testing.T) {
	t.Parallel()
	p := problem.New(409, "no_route", "Nothing reaches that person.")
	if got := problem.Of(fmt.Errorf("create challenge: %w", p)); got != p {
		t.Errorf("the wrapped problem became %v", got)
	}
	var none *problem.Problem
	for name, err := range map[string]error{
		"plain": errors.New("password of postgres"), "nil": nil, "empty": none,
	} {
		got := problem.Of(err)
		body, marshalErr := json.Marshal(got)
		if marshalErr != nil {
			t.Fatal(marshalErr)
		}
		if got.Status != 500 || got.Code != problem.CodeInternal || strings.Contains(string(body), "postgres") {
			t.Errorf("%s: unexpected problem %s", name, body)
		}
	}
}

func TestProblem_SurvivesItsOwnJSON(t *testing.T) {
	t.Parallel()
	left := 3
	for _, want := range []problem.Problem{
		{Status: 422, Code: "wrong_code", Detail: "No.", Field: "code", ChecksLeft: &left},
		{Status: 429, Code: "too_many", Detail: "Wait.", RetryAfter: 90 * time.Second},
	} {
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got problem.Problem
		err = json.Unmarshal(data, &got)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestProblem_ReadsForeignDocuments(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]problem.Problem{
		`{"status":503,"new_member":{}}`:                   {Status: 503},
		`{"status":503,"retry_after":-4}`:                  {Status: 503},
		`{"status":503,"retry_after":9223372036854775807}`: {Status: 503, RetryAfter: 9223372036 * time.Second},
	} {
		var got problem.Problem
		err := json.Unmarshal([]byte(data), &got)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", data, diff)
		}
	}
	var got problem.Problem
	err := json.Unmarshal([]byte(`{"status":"bad"}`), &got)
	if err == nil || !strings.Contains(err.Error(), "read problem document") {
		t.Errorf("unexpected error: %v", err)
	}
}

func TestProblem_NamesItselfInTheLog(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]*problem.Problem{
		"problem 404 not_found":                                 problem.New(404, "not_found", "x"),
		`problem 400 invalid_request in field "client.address"`: {Status: 400, Code: "invalid_request", Field: "client.address"},
	} {
		if p.Error() != want {
			t.Errorf("%q is not %q", p.Error(), want)
		}
	}
}
