package app_test

import (
	"testing"

	"doorcode/pkg/chromium/browsertest"
	"doorcode/services/auth/app"
)

// settingsLook is one state of the settings pages and how to come there.
type settingsLook struct {
	name, login string
	more        fields
	act         func(*browsertest.Tab)
}

// TestSettings_EveryStateIsAccessibleAndFits judges each state by axe-core on a small phone and on a desktop, in light
// and dark, without scripts.
func TestSettings_EveryStateIsAccessibleAndFits(t *testing.T) {
	t.Parallel()
	s := play(t, func(c *app.Config) { c.SMSCountries, c.SMSDailyCap = []string{"NL"}, 100 })
	s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/sam", body: fields{"role": "member"}})
	s.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/kim", body: fields{"role": "member", "email": "kim@example.com", "phone": "+31612345648", "channel": "sms"}})
	s.signedIn(t, "anna", "approved", "Firefox on Windows", "Chrome on Android", "Edge on Windows", "Safari on iPhone", "Safari on macOS")
	s.signedIn(t, "bert", "approved", "Firefox on Windows", "")
	s.signedIn(t, "bert", "expired", "Samsung Internet on Android")
	s.signedIn(t, "bert", "exhausted", "Chrome on Linux")
	b := browsertest.Open(t, browsertest.Options{NoScript: true, Insecure: true})
	for _, l := range []settingsLook{
		{name: "settings", login: "bert"},
		{name: "settings-shared", login: "anna"},
		{name: "settings-sms", login: "kim", more: fields{"locale": "nl"}},
		{name: "settings-nowhere", login: "sam"},
	} {
		b.Visit(s.settings(t, l.login, l.more))
		if l.act != nil {
			b.Leave(func() { l.act(b) })
		}
		s.judgePage(t, b, l.name)
	}
	b.Visit(s.pages.URL + "/settings?link=x")
	s.judgePage(t, b, "settings-lost")
}
