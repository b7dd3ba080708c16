package e2e

import (
	"net/http"
	"net/url"
	"syscall"
	"testing"

	"doorcode/pkg/bus"
	"doorcode/pkg/client"
)

// behindProxy puts a wire between auth and the database.
func (s *apart) behindProxy(t *testing.T) *proxy {
	t.Helper()
	u, err := url.Parse(s.settings["DOORCODE_DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	wire := newProxy(t, u.Host)
	u.Host = wire.address
	for _, r := range s.named("auth") {
		r.settings["DOORCODE_DATABASE_URL"] = u.String()
	}
	return wire
}

// check has a code judged under a check id, once.
func (s *installation) check(t *testing.T, ch client.Challenge, code, id string) answer {
	t.Helper()
	return s.raw(t, http.MethodPost, "/v1/challenges/"+ch.Handle+"/checks", map[string]string{"code": code, "check_id": id})
}

// tryCreate asks for a challenge once.
func (s *installation) tryCreate(t *testing.T, workspace string) answer {
	t.Helper()
	return s.raw(t, http.MethodPost, "/v1/challenges", map[string]string{"workspace": workspace, "login": "kim"})
}

// wantRetry fails unless an answer is 503 and says when to come again.
func wantRetry(t *testing.T, what string, a answer) {
	t.Helper()
	if a.status != http.StatusServiceUnavailable || a.retryAfter == "" || a.Code != "unavailable" || a.Outcome != "" {
		t.Errorf("%s is answered %d %s with Retry-After %q", what, a.status, a.Code, a.retryAfter)
	}
}

// wantWrong fails unless a code is wrong with that many checks left.
func wantWrong(t *testing.T, a answer, left int) {
	t.Helper()
	if a.Code != "wrong_code" || a.ChecksLeft == nil || *a.ChecksLeft != left {
		t.Errorf("not a wrong code with %d left: %d %s", left, a.status, a.Code)
	}
}

// It shows SEC-67 of deploy/SECURITY.md.
func TestP7_WithoutPostgresOrVerifiersNothingIsSkippedOrCountedTwice(t *testing.T) {
	t.Parallel()
	s := newApart(t)
	wire := s.behindProxy(t)
	s.start(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	code := s.code(t, email, 1)
	wrong := wrongFor(code)

	wire.cut()
	wantRetry(t, "a create", s.tryCreate(t, workspace))
	wantRetry(t, "a wrong code", s.check(t, ch, wrong, "one"))
	wantRetry(t, "a right code", s.check(t, ch, code, "never-asked-again"))
	s.wantDown(t, "database", "auth")
	wire.mend(t)
	s.backUp(t)
	wantWrong(t, s.check(t, ch, wrong, "one"), 4)
	wantWrong(t, s.check(t, ch, wrong, "one"), 4)

	for _, r := range s.named("verifier") {
		err := r.signal(syscall.SIGKILL)
		if err != nil {
			t.Fatal(err)
		}
	}
	wantRetry(t, "a wrong code", s.check(t, ch, wrong, "two"))
	s.start(t, "verifier")
	wantWrong(t, s.check(t, ch, wrong, "two"), 3)
	wantWrong(t, s.check(t, ch, wrong, "two"), 3)
	wantWrong(t, s.check(t, ch, wrong, "one"), 4)
	for range 2 {
		if a := s.check(t, ch, code, "three"); a.status != http.StatusOK || a.Outcome != "approved" {
			t.Errorf("the right code is answered %d %s", a.status, a.Code)
		}
	}
	if n := len(s.bus.Messages(t, bus.Challenges)); n != 1 {
		t.Errorf("%d challenges were issued", n)
	}
}

// It shows SEC-67 of deploy/SECURITY.md.
func TestP7_WithoutNATSNothingLeavesNowOrLater(t *testing.T) {
	t.Parallel()
	s := newApart(t)
	s.start(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	code := s.code(t, email, 1)
	s.put(t, "refused", "refused@acme.example")

	s.bus.Stop(t)
	s.wantDown(t, "bus", "auth", "verifier", "email-dispatcher")
	for range 3 {
		wantRetry(t, "a create", s.tryCreate(t, "refused"))
	}
	wantRetry(t, "a check", s.check(t, ch, code, "one"))
	s.bus.Resume(t)
	s.backUp(t)

	if a := s.check(t, ch, code, "one"); a.Outcome != "approved" {
		t.Errorf("the right code is answered %d %s", a.status, a.Code)
	}
	// The message of a later create comes after whatever was held back.
	s.create(t, workspace)
	s.code(t, email, 2)
	if n := len(s.bus.Messages(t, bus.Challenges)); n != 2 {
		t.Errorf("%d challenges are in the stream, two were answered", n)
	}
	if n := len(s.inbox(t, "refused@acme.example")); n != 0 {
		t.Errorf("%d messages of refused creates", n)
	}
	s.create(t, "refused")
	s.code(t, "refused@acme.example", 1)
}
