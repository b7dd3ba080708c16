package e2e

import (
	"strconv"
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

// With several replicas a key is known everywhere before the first one makes anything with it. Meanwhile, in every mix of
// restarted and running processes, people sign in.
func TestRotation_WhileReplicasOfBothKindsRun(t *testing.T) {
	t.Parallel()
	s := newApart(t)
	s.start(t)
	s.workspace(t)
	people := 0
	signIn := func(when string) {
		for range 4 { // Each goes to one of two verifiers and one of two dispatchers.
			people++
			id := "person-" + strconv.Itoa(people)
			s.put(t, id, id+"@acme.example")
			err := s.signIn(t.Context(), person{id, id + "@acme.example"})
			if err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	restart := func(names ...string) {
		s.stop(t, names...)
		s.start(t, names...)
	}
	var activate [][]string
	for _, ring := range ctl.KeyRings() {
		_, command, found := strings.Cut(s.operate(t, "keys", "-add", ring), "doorcodectl ")
		if !found {
			t.Fatalf("nobody says how to activate the key of %s", ring)
		}
		activate = append(activate, strings.Fields(command))
	}
	restart("auth", "verifier-1", "email-dispatcher-1")
	signIn("half of the processes know the new keys")
	restart("verifier-2", "email-dispatcher-2")
	for _, command := range activate {
		s.operate(t, command...)
	}
	restart("auth", "verifier-1")
	signIn("half of the processes use the new keys")
	restart("verifier-2", "email-dispatcher")
	signIn("all of them do")
	for _, column := range []string{"tag_key", "digest_key"} {
		var old, fresh int
		s.db.Scan(t, `SELECT count(*) FILTER (WHERE `+column+` = 1), count(*) FILTER (WHERE `+column+` = 2) FROM challenges WHERE state = 'approved'`, nil, &old, &fresh)
		if old != 4 || fresh != 8 {
			t.Errorf("%s: %d challenges of the old key and %d of the new one", column, old, fresh)
		}
	}
}
