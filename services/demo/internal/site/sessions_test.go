package site

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// visit is a request of a browser with the cookie that an answer has set, if any.
func visit(t *testing.T, answer *httptest.ResponseRecorder) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	if answer != nil {
		for _, c := range answer.Result().Cookies() {
			r.AddCookie(c)
		}
	}
	return r
}

// It shows SEC-06, SEC-08, SEC-40 and SEC-51 of deploy/SECURITY.md.
func TestSessions_APendingSignInIsFinishedOnceAndUnderAFreshID(t *testing.T) {
	t.Parallel()
	s := newSessions(time.Now)
	begun, finished := httptest.NewRecorder(), httptest.NewRecorder()
	s.begin(begun, visit(t, nil), pending{Handle: "one"})
	if s.person(visit(t, begun)) != nil || s.pending(visit(t, begun)) == nil {
		t.Fatal("a password alone signs in, or leads nowhere")
	}
	if s.finish(httptest.NewRecorder(), visit(t, begun), "another", client.Person{Login: "jo"}) {
		t.Error("an assertion for another handle ends this sign-in")
	}
	if !s.finish(finished, visit(t, begun), "one", client.Person{Login: "jo"}) {
		t.Fatal("the sign-in does not end")
	}
	if p := s.person(visit(t, finished)); p == nil || p.Login != "jo" {
		t.Errorf("signed in is %+v", p)
	}
	if s.person(visit(t, begun)) != nil || s.pending(visit(t, begun)) != nil {
		t.Error("the id from before the code still counts")
	}
	for _, answer := range []*httptest.ResponseRecorder{begun, finished} {
		if s.finish(httptest.NewRecorder(), visit(t, answer), "one", client.Person{Login: "jo"}) {
			t.Error("one assertion ends a sign-in twice")
		}
	}
	s.end(httptest.NewRecorder(), visit(t, finished))
	if s.person(visit(t, finished)) != nil {
		t.Error("the sign-out ends nothing")
	}
}

func TestSessions_EndByTimeAndAreForgotten(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 6, 3, 8, 0, 0, 0, time.UTC)
	s := newSessions(func() time.Time { return now })
	old := httptest.NewRecorder()
	s.begin(old, visit(t, nil), pending{Handle: "old"})
	now = now.Add(sessionLife + time.Second)
	if s.pending(visit(t, old)) != nil {
		t.Error("a session outlives its time")
	}
	s.begin(httptest.NewRecorder(), visit(t, nil), pending{Handle: "new"})
	if len(s.all) != 1 {
		t.Errorf("%d sessions are kept", len(s.all))
	}
}

func TestSentence_NeverShowsAnInnerError(t *testing.T) {
	t.Parallel()
	left := 3
	for want, e := range map[string]*client.Error{
		"That is not the code for this sign-in. Tries left: 3.":                        {Code: "wrong_code", ChecksLeft: &left},
		"You can ask for another message in 30 seconds. The one you have still works.": {Code: "resend_too_early", RetryAfter: 30 * time.Second},
		"This login is locked. Please ask support to open it again.":                   {Code: "login_locked"},
		"Sign-in is not available right now. Please try again in a moment.":            {Code: "internal", Detail: "inner"},
		"A code has six digits or more. Type it as it stands in the message.":          {Code: "invalid_request"},
		"This sign-in is closed. Please start again.":                                  {Code: "used"},
		"No further message can be sent for this sign-in. Please start again.":         {Code: "no_more_sends"},
		"That was not the code, and no try is left. Please start again.":               {Code: "wrong_code"},
		"Too many tries. Please wait a while and start again.":                         {Code: "too_many_live"},
		"This code ran out. Please start again.":                                       {Code: "expired"},
	} {
		if got := sentence(e); got != want {
			t.Errorf("%s: %q", e.Code, got)
		}
	}
}
