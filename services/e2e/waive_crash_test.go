package e2e

import (
	"errors"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/client"
)

// dies waits until the replica was killed at its fault point.
func (r *replica) dies(t *testing.T) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		t.Fatalf("%s never came to its fault point", r.name)
	}
	if !r.killed() {
		t.Fatalf("%s ended with %v\n%s", r.name, r.err, r.tail())
	}
}

// P1, P3: a sign-in without a code whose answer died with the verifier is asked for again and gets the one that is on record;
// a skip is counted once.
func TestP1_AWaiverIsRecordedOnceThoughTheVerifierDiesBeforeItAnswers(t *testing.T) {
	t.Parallel()
	err := armedBinaries()
	if err != nil {
		t.Fatal(err)
	}
	s := newApart(t)
	s.start(t, "auth")
	workspace, _ := s.workspace(t)
	begins := func(at time.Time) {
		s.operate(t, "rollout", "wave", "-id", "first", "-operator", "kim", "-skips", "1", "-announce", at.Format(time.RFC3339Nano),
			"-grace", at.Format(time.RFC3339Nano), "-enforce", at.Add(7*24*time.Hour).Format(time.RFC3339Nano))
	}
	begins(time.Now().Add(time.Hour))
	s.operate(t, "rollout", "join", "-wave", "first", "-operator", "kim", "-percent", "100")
	verifier := s.named("verifier-1")[0]
	dying := func(point string, ask func() error) {
		t.Helper()
		err := s.launchArmed(t.Context(), verifier, point)
		if err != nil {
			t.Fatal(err)
		}
		err = verifier.ready(verifier.ops)
		if err != nil {
			t.Fatal(err)
		}
		err = ask()
		var refused *client.Error
		if !errors.As(err, &refused) || refused.Code != "unavailable" {
			t.Fatalf("%s: the answer of a verifier that died is %v", point, err)
		}
		verifier.dies(t)
		s.start(t, "verifier-1")
	}
	count := func(sql string) (n int) {
		s.db.Scan(t, sql, nil, &n)
		return n
	}
	request := client.Request{
		Workspace: workspace, Login: "kim", Key: "the-same-sign-in", Visitor: &client.Visitor{BrowserID: "browser-of-kim-0123456789"},
	}

	dying("waive.committed:1", func() error {
		_, err := s.front.Create(t.Context(), request)
		return err
	})
	ch, err := s.front.Create(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	person, err := s.front.Waived(t.Context(), ch)
	if err != nil || ch.Decision != client.NotRequired || person.Reason != "not_yet" {
		t.Errorf("%+v, decided %s: %v", person, ch.Decision, err)
	}
	if n := count(`SELECT count(*) FROM audit WHERE kind = 'challenge.v1.waived'`); n != 1 {
		t.Errorf("%d waivers are on record", n)
	}

	begins(time.Now().Add(20 * time.Second)) // as long as the command may take
	eventually(t, "the workspace is in grace", func() bool {
		return strings.HasPrefix(s.operate(t, "rollout", "show", "-workspace", workspace), workspace+": grace")
	})
	eventually(t, "the browser is known", func() bool { return count(`SELECT count(*) FROM sign_ins WHERE browser IS NOT NULL`) == 1 })
	request.Key = "another-sign-in"
	ch, err = s.front.Create(t.Context(), request)
	if err != nil || ch.Decision != client.Skippable {
		t.Fatalf("decided %s: %v", ch.Decision, err)
	}
	s.stop(t, "verifier-1")
	dying("skip.committed:1", func() error {
		_, err := s.front.Skip(t.Context(), ch.Handle)
		return err
	})
	person, err = s.front.Skip(t.Context(), ch.Handle)
	if err != nil || person.Reason != "grace" {
		t.Errorf("%+v: %v", person, err)
	}
	if n := count(`SELECT sum(skips) FROM login_budgets`); n != 1 {
		t.Errorf("%d skips are counted", n)
	}
	if n := count(`SELECT count(*) FROM audit WHERE kind = 'challenge.v1.waived'`); n != 2 {
		t.Errorf("%d waivers are on record", n)
	}
	request.Key = "one-skip-too-many"
	ch, err = s.front.Create(t.Context(), request)
	if err != nil || ch.Decision != client.Required {
		t.Errorf("decided %s: %v", ch.Decision, err)
	}
}
