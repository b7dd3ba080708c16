package e2e

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"doorcode/pkg/chromium/browsertest"
)

// TestSettings_APersonSwitchesToTheirPhoneAndBack walks journey 2.3 of the product in a real browser, over the real
// processes: Security settings are opened from the demo, and nothing that is typed there counts before both codes.
func TestSettings_APersonSwitchesToTheirPhoneAndBack(t *testing.T) {
	t.Parallel()
	s := ownStandalone(t)
	b, phone := browsertest.Open(t, browsertest.Options{}), browsertest.Open(t, browsertest.Options{})
	const number = "+31612345678"

	entersBy(t, s, b, "Check your e-mail", func(label string) string { return codeFor(t, s, label) })
	opensSettings(t, s, b)
	b.See("j•••@lanternbird.example")
	b.See("workspace’s main e-mail address, because this is its primary login")
	b.Accessible("security settings opened from the demo")

	b.Press("summary")
	b.Type("#phone", "+31 6 12345678")
	b.Leave(func() { b.Press("details[open] form button") })
	b.See("First confirm with a code to where your codes go now.")
	approval := codeFor(t, s, labelOn(t, b))
	typeCode(b, wrongFor(approval))
	b.See("That is not the code for ")
	typeCode(b, approval)
	b.See("Now type the code that we sent to what is new. Nothing has changed yet.")
	typeCode(b, codeOnPhone(t, s, phone, number, labelOn(t, b)))
	b.See("Your codes go to your phone as text messages, because you switched to them.")
	b.See("•••78")
	b.Accessible("codes go to a phone")
	leavesSettings(s, b)
	eventually(t, "the mailbox is told, with the link that undoes it", func() bool {
		for _, m := range s.inbox(t, "jo@lanternbird.example") {
			if strings.Contains(m.Text, "http://"+s.auth+"/undo?of=") && strings.Contains(m.Text, "a phone ending 78") {
				return true
			}
		}
		return false
	})

	entersBy(t, s, b, "Check your phone", func(label string) string { return codeOnPhone(t, s, phone, number, label) })
	b.See("a code by sms")
	opensSettings(t, s, b)
	b.Leave(func() { b.Press("form[action$='/change'] button.plain") })
	b.See("Waiting: codes by e-mail again")
	typeCode(b, codeOnPhone(t, s, phone, number, labelOn(t, b)))
	b.See("Now type the code")
	typeCode(b, codeFor(t, s, labelOn(t, b)))
	b.See("workspace’s main e-mail address, because this is its primary login")
	leavesSettings(s, b)
	entersBy(t, s, b, "Check your e-mail", func(label string) string { return codeFor(t, s, label) })
	b.See("a code by email")
}

// entersBy signs in by the demo, whoever is signed in there; the code is the one of the message with a label.
func entersBy(t *testing.T, s *standalone, b *browsertest.Tab, title string, code func(label string) string) {
	t.Helper()
	b.Visit("http://" + s.demo + "/home")
	if b.Is("form[action='/sign-out']") {
		b.Leave(func() { b.Press("form[action='/sign-out'] button") })
	}
	label := toPrompt(t, s, b)
	b.See(title)
	b.Type("#code", code(label))
	b.Press("form.code button")
	b.At("http://" + s.demo + "/home")
	b.See("You are signed in.")
}

// opensSettings opens Security settings from the demo.
func opensSettings(t *testing.T, s *standalone, b *browsertest.Tab) {
	t.Helper()
	b.Leave(func() { b.Press("form[action='/settings'] button") })
	b.At("http://" + s.auth + "/settings/")
	b.See("Security settings")
	if strings.Contains(b.URL(), "link") {
		t.Errorf("the link stays in the address %s", b.URL())
	}
}

// leavesSettings goes back to the demo.
func leavesSettings(s *standalone, b *browsertest.Tab) {
	b.Leave(func() { b.Press("form[action$='/end'] button") })
	b.At("http://" + s.demo + "/home")
}

// codeOnPhone reads the code of the text message with a label off the screen of the sandbox's phone, as a person does.
func codeOnPhone(t *testing.T, s *standalone, b *browsertest.Tab, number, label string) string {
	t.Helper()
	message := regexp.MustCompile(`\b([0-9]{6})\b[^\n]*\b` + label + `\b`) // Both stand in its first line.
	var code []string
	b.Visit("http://" + s.sandbox + "/?to=" + url.QueryEscape(number))
	eventually(t, "the phone shows the message "+label, func() bool { // The screen loads again by itself.
		code = message.FindStringSubmatch(b.Text())
		return code != nil
	})
	return code[1]
}
