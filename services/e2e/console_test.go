package e2e

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorcode/pkg/challenge"
	"doorcode/pkg/chromium/browsertest"
)

var pictures = flag.String("pictures", "", "folder for the picture of the console") //nolint:gochecknoglobals // a flag of the test

// operatorMailbox is where the codes of standalone's first operator go.
const operatorMailbox = "operator@lanternbird.example"

// toConsole signs standalone's first operator in to the console, by secret and code.
func toConsole(t *testing.T, s *standalone, b *browsertest.Tab) {
	t.Helper()
	secret, err := os.ReadFile(filepath.Join(s.dir, "operator.secret"))
	if err != nil {
		t.Fatal(err)
	}
	b.Visit("http://" + s.console + "/")
	b.Accessible("console: sign in")
	b.Type("#operator", "operator")
	b.Type("#secret", string(secret))
	b.Leave(func() { b.Press("main button") })
	b.See("o•••@lanternbird.example")
	b.Accessible("console: code")
	b.Type("#code", s.code(t, operatorMailbox, 1))
	b.Leave(func() { b.Press("main button") })
	b.At("http://" + s.console + "/")
	b.See("operator, operator")
}

// TestConsole_SupportHelpsSomebodyIn walks journey 2.8 of the product in a real browser without scripts, over the real
// processes: somebody reads out their reference, support finds the story and its advice, sends the code again, and sees
// them get in.
func TestConsole_SupportHelpsSomebodyIn(t *testing.T) {
	t.Parallel()
	s := ownStandalone(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	code := s.codeOf(t, email, ch)
	// One whose reference has zeros, which people read as the letter O; and the wait for a further message is over.
	reference, db := challenge.ReferenceOf([]byte{0, 1, 0, 15, 1, 20, 7}), s.database(t)
	eventually(t, "the challenge is on record", func() bool {
		return db.Exec(t, `UPDATE challenges SET support_reference = $2, resend_at = now() WHERE workspace = $1`, workspace, reference) == 1 &&
			db.Exec(t, `UPDATE audit SET detail = jsonb_set(detail, '{support_reference}', to_jsonb($2::text)) WHERE workspace = $1 AND kind = 'challenge.v1.issued'`, workspace, reference) == 1
	})

	b := browsertest.Open(t, browsertest.Options{NoScript: true, Insecure: true})
	toConsole(t, s, b)
	wrong := reference[:7] + map[bool]string{true: "A", false: "B"}[reference[7] == 'B']
	b.Type("#q", wrong)
	b.Leave(func() { b.Press(".find button") })
	b.See("please read it again")
	b.Visit("http://" + s.console + "/")
	b.Type("#q", strings.ToLower(strings.ReplaceAll(reference[:4]+" "+reference[4:], "0", "O")))
	b.Leave(func() { b.Press(".find button") })
	b.See("1 found")
	b.Accessible("console: search")
	b.Leave(func() { b.Press("tbody a") })
	b.See("What to try:")
	b.See(ch.Label)
	if text := b.Text(); strings.Contains(text, email) || strings.Contains(text, code) {
		t.Errorf("the page shows an address or a code\n%s", text)
	}
	b.Accessible("console: challenge")

	b.Type("#reason", "not in the spam folder either")
	b.Leave(func() { b.Press("form[action$='/send-again'] button") })
	b.See("Whatever changes something needs a fresh code.")
	b.Accessible("console: confirm")
	b.Type("#code", s.code(t, operatorMailbox, 2))
	b.Leave(func() { b.Press("form[action='/confirm'] button") })
	b.See("Another message with the same code is on its way")
	if again := s.code(t, email, 2); again != code {
		t.Error("the second message has another code")
	}

	person, err := s.front.Check(t.Context(), ch.Handle, code)
	if err != nil || person.Workspace != workspace {
		t.Fatalf("the person does not get in: %v", err)
	}
	eventually(t, "support sees them in", func() bool {
		b.Visit(strings.TrimSuffix(b.URL(), "?done=send_again"))
		return strings.Contains(b.Text(), "verified")
	})
	b.See("sent again at the wish of operator operator (not in the spam folder either)")
	var acts string
	db.Scan(t, `SELECT string_agg(DISTINCT kind || ' ' || actor, ', ') FROM audit WHERE workspace = $1 AND actor = 'operator'`, []any{workspace}, &acts)
	if acts != "challenge.v1.shown operator, support.v1.resend_asked operator" {
		t.Errorf("on record is %q", acts)
	}
	b.Leave(func() { b.Press(".out button") })
	b.See("Sign in to the console")
	b.Visit("http://" + s.console + "/")
	b.At("http://" + s.console + "/sign-in")
}

// TestConsole_PagesFitAndAreAccessible judges the pages on a small phone and a desktop, in light and dark, and takes the
// README's picture.
func TestConsole_PagesFitAndAreAccessible(t *testing.T) {
	t.Parallel()
	s := ownStandalone(t)
	workspace, email := s.workspace(t)
	ch := s.create(t, workspace)
	s.codeOf(t, email, ch)
	b := browsertest.Open(t, browsertest.Options{NoScript: true, Insecure: true})
	toConsole(t, s, b)
	look := func(name string) {
		t.Helper()
		for _, scheme := range []browsertest.Scheme{browsertest.Light, browsertest.Dark} {
			for _, width := range []int64{320, 1280} {
				b.Show(width, scheme)
				b.Accessible(name)
				b.Fits(name)
			}
		}
	}
	look("console: empty search")
	eventually(t, "the challenge is found", func() bool {
		b.Visit("http://" + s.console + "/?q=" + workspace)
		return strings.Contains(b.Text(), "1 found")
	})
	look("console: found")
	b.Leave(func() { b.Press("tbody a") })
	b.See("What happened")
	look("console: challenge")
	if *pictures != "" {
		b.Show(1280, browsertest.Light)
		b.Picture(filepath.Join(*pictures, "console.png"))
	}
	b.Visit("http://" + s.console + "/challenges/AAAAAAAAAAAAAAAAAAAAAA")
	b.See("Nothing is on record")
	look("console: nothing there")
}
