package message

import (
	"strings"
	"testing"
	"time"

	"doorcode/pkg/event"
)

// product.md 5.3, 5.4: a notice of the roll-out says the date, the announcement also where to try a code, and with a button it
// holds no code. Without pages it does without the button.
func TestRenderNotice_TellsTheDateAndWhoHasUsedACode(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]struct{ date, used, all string }{
		"en": {"17 June 2026 at 08:02 (UTC)", "4 of 5 people have used one; the others", "5 of 5 people have used one."},
		"nl": {"17 juni 2026 om 08:02 (UTC)", "4 van de 5 mensen hebben er een gebruikt; de anderen", "5 van de 5 mensen hebben er een gebruikt."},
	} {
		for _, kind := range event.RolloutNotices() {
			n := sample(kind, tag)
			m := notify(t, n)
			if !strings.Contains(m.Text, want.date) || strings.Count(m.Text, "://") != 1 {
				t.Errorf("%s of %s:\n%s", kind, tag, m.Text)
			}
			n.Link, n.Until = "", time.Time{}
			if m = notify(t, n); strings.Contains(m.Text+m.HTML, "://sign-in") || strings.Contains(m.Text, "link ") {
				t.Errorf("%s of %s speaks of a link that is not there:\n%s", kind, tag, m.Text)
			}
		}
		n := sample(event.NoticeRolloutEnforced, tag)
		some := notify(t, n).Text
		n.Used = 5
		all := notify(t, n).Text
		n.Used, n.People = 0, 0
		none := notify(t, n).Text
		if !strings.Contains(some, want.used) || !strings.Contains(all, want.all) || strings.Contains(none, " 0 ") {
			t.Errorf("%s:\n%s\n%s\n%s", tag, some, all, none)
		}
	}
}
