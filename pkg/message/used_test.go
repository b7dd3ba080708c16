package message

import (
	"strings"
	"testing"

	"doorcode/pkg/event"
)

// product.md R10.8: those who share a mailbox see in a list of mails which code was used, and read when and where. A
// browser that is not known is left out.
func TestRenderNotice_TellsWhichCodeWasUsedWhenAndWhere(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]struct{ known, unknown, sentence string }{
		"en": {"KTM was used on 3 June at 08:02 (UTC) in Firefox on Windows, to sign in to Acme.", "KTM was used on 3 June at 08:02 (UTC), to sign in to Acme.", "reads this mailbox"},
		"nl": {"KTM is op 3 juni om 08:02 (UTC) gebruikt in Firefox op Windows, om in te loggen bij Acme.", "KTM is op 3 juni om 08:02 (UTC) gebruikt, om in te loggen bij Acme.", "deze mailbox leest"},
	} {
		n := sample(event.NoticeCodeUsed, tag)
		m := notify(t, n)
		preview, visible := words(t, m.HTML)
		if !strings.HasPrefix(m.Subject, "KTM ") || !strings.Contains(preview, "08:02 UTC") || !strings.Contains(preview, "Firefox") {
			t.Errorf("%s: a list of mails shows %q and %q", tag, m.Subject, preview)
		}
		if !strings.Contains(m.Text, want.known) || !strings.Contains(visible, want.known) || !strings.Contains(m.Text, want.sentence) {
			t.Errorf("%s says\n%s", tag, m.Text)
		}
		n.Browser, n.System = "", ""
		m = notify(t, n)
		if preview, _ = words(t, m.HTML); !strings.Contains(m.Text, want.unknown) || !strings.Contains(preview, "08:02 UTC.") {
			t.Errorf("%s says of an unknown browser\n%s\n%s", tag, preview, m.Text)
		}
	}
}

// What is on record of a browser comes out as Describe has it, and nothing else does.
func TestApart_KnowsTheClosedTablesAlone(t *testing.T) {
	t.Parallel()
	for _, b := range browsers() {
		for _, s := range systems() {
			browser, system := Apart(b.name + " on " + s.name)
			if browser != b.name || system != s.name {
				t.Errorf("%s on %s is taken for %q on %q", b.name, s.name, browser, system)
			}
		}
	}
	for _, agent := range []string{
		"", " on ", "Firefox", "Firefox on ", " on Windows", "evil.example on Windows", "Firefox on evil.example", "Firefox on Windows on Linux", "firefox on windows",
	} {
		browser, system := Apart(agent)
		if browser+system != "" {
			t.Errorf("%q is taken for %q on %q", agent, browser, system)
		}
	}
}
