package e2e

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/chromium/browsertest"
)

// operate runs a command of doorcodectl on the installation.
func (s *standalone) operate(t *testing.T, args ...string) string {
	t.Helper()
	address, err := url.Parse(s.database(t).OwnerURL())
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.User(address.User.Username())
	out, err := runBinary("doorcodectl", map[string]string{
		"DOORCODE_DATABASE_URL":                       address.String(),
		"DOORCODE_DOORCODECTL_DATABASE_PASSWORD_FILE": filepath.Join(s.dir, "passwords", "owner"),
		"DOORCODE_DOORCODECTL_KEYS_DIR":               filepath.Join(s.dir, "keys"),
	}, args...)
	if err != nil {
		t.Fatalf("doorcodectl %v: %v\n%s", args, err, out)
	}
	return out
}

// TestRollout_FromNotYetToSkippedToRequired walks product.md journey 2.1 while codes are rolled out: a person signs in
// without a code, then skips one in the same browser, and needs it in another. Nobody gets in without an assertion.
func TestRollout_FromNotYetToSkippedToRequired(t *testing.T) {
	t.Parallel()
	s := ownStandalone(t)
	begins := func(at time.Time) {
		s.operate(t, "rollout", "wave", "-id", "first", "-operator", "kim", "-skips", "1",
			"-announce", at.Format(time.RFC3339Nano), "-grace", at.Format(time.RFC3339Nano), "-enforce", at.Add(7*24*time.Hour).Format(time.RFC3339Nano))
	}
	begins(time.Now().Add(time.Hour))
	s.operate(t, "rollout", "join", "-wave", "first", "-operator", "kim", "-percent", "100")

	b := browsertest.Open(t, browsertest.Options{})
	password := func(b *browsertest.Tab) {
		b.Visit("http://" + s.demo + "/")
		b.Type("#password", "lantern")
		b.Leave(func() { b.Press("button[value=hosted]") })
	}
	password(b)
	b.At("http://" + s.demo + "/home")
	b.See("You are signed in.")
	if n := len(s.inbox(t, "jo@lanternbird.example")); n != 0 {
		t.Errorf("%d messages were sent before the announcement", n)
	}
	b.Leave(func() { b.Press("form[action='/sign-out'] button") })

	begins(time.Now().Add(20 * time.Second)) // as long as the command may take
	eventually(t, "the workspace is in grace", func() bool {
		return strings.HasPrefix(s.operate(t, "rollout", "show", "-workspace", "lanternbird"), "lanternbird: grace")
	})
	eventually(t, "the browser is known", func() bool {
		var n int
		s.database(t).Scan(t, `SELECT count(*) FROM sign_ins WHERE outcome = 'waived' AND browser IS NOT NULL`, nil, &n)
		return n == 1
	})
	password(b)
	b.At("http://" + s.auth + "/prompt/")
	b.See("You can go on without it once more.")
	b.Press("form.skip button")
	b.At("http://" + s.demo + "/home")
	b.Leave(func() { b.Press("form[action='/sign-out'] button") })

	for _, again := range []*browsertest.Tab{b, browsertest.Open(t, browsertest.Options{NoScript: true})} {
		label := toPrompt(t, s, again)
		if again.Is("form.skip") {
			t.Error("a skip too many is offered")
		}
		code := codeFor(t, s, label)
		again.Leave(func() {
			again.Type("#code", code)
			again.Press("form.code button")
		})
		if again != b { // Without a script the way back is a press away.
			again.Leave(func() { again.Press("main button") })
		}
		again.At("http://" + s.demo + "/home")
	}
	var outcomes []string
	s.database(t).Scan(t, `SELECT array_agg(kind || coalesce(' ' || (detail ->> 'reason'), '') ORDER BY at) FROM audit WHERE kind LIKE 'challenge.v1.%' AND kind <> 'challenge.v1.issued'`, nil, &outcomes)
	if got := strings.Join(outcomes, ", "); got != "challenge.v1.waived not_yet, challenge.v1.waived grace, challenge.v1.approved, challenge.v1.approved" {
		t.Errorf("on record: %s", got)
	}
}
