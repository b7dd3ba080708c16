package e2e

import (
	"strings"
	"testing"

	ctl "doorcode/services/doorcodectl/app"
)

func TestRotation_EveryRingWithChallengesOpen(t *testing.T) {
	t.Parallel()
	s := newApart(t)
	s.start(t)
	workspace, email := s.workspace(t)
	open := s.create(t, workspace)
	code := s.code(t, email, 1)
	s.stop(t, "email-dispatcher")
	s.put(t, "waiting", "waiting@acme.example")
	waiting := s.create(t, "waiting") // sealed under the former key, opened after the rotation
	for _, ring := range ctl.KeyRings() {
		s.operate(t, "keys", "-rotate", ring)
	}
	for _, kind := range []string{"verifier", "auth"} {
		s.stop(t, kind)
		s.start(t, kind)
	}
	s.start(t, "email-dispatcher")

	jwks := get(t, s.http, "http://"+s.auth+"/.well-known/jwks.json")
	if n := strings.Count(jwks, `"kid"`); n != 2 {
		t.Errorf("%d public keys", n)
	}
	_, err := s.front.Check(t.Context(), open.Handle, code)
	if err != nil {
		t.Errorf("a code from before the rotation: %v", err)
	}
	_, err = s.front.Check(t.Context(), waiting.Handle, s.code(t, "waiting@acme.example", 1))
	if err != nil {
		t.Errorf("a message from before the rotation: %v", err)
	}
	s.put(t, "later", "later@acme.example")
	err = s.signIn(t.Context(), person{"later", "later@acme.example"})
	if err != nil {
		t.Errorf("a sign-in after the rotation: %v", err)
	}
	for id, key := range map[string]int{workspace: 1, "waiting": 1, "later": 2} {
		var tag, digest int
		s.db.Scan(t, `SELECT tag_key, digest_key FROM challenges WHERE workspace = $1 AND state = 'approved'`, []any{id}, &tag, &digest)
		if tag != key || digest != key {
			t.Errorf("%s: tag key %d, digest key %d", id, tag, digest)
		}
	}
}
