package app_test

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"doorcode/pkg/chromium/browsertest"
	"doorcode/pkg/provider/sandbox"
)

// undoAddress is the one link of a notice.
func undoAddress(t testing.TB, s *scene, m sandbox.Message) string {
	t.Helper()
	link := regexp.MustCompile(regexp.QuoteMeta(s.pages.URL) + `/undo\?of=[A-Za-z0-9_-]+`).FindString(m.Text)
	if link == "" {
		t.Fatalf("the notice has no link:\n%s", m.Text)
	}
	return link
}

// TestUndo_EveryStateIsAccessibleAndFits walks from the notice of a change to its end, without scripts, and judges each
// page on the way as those of a sign-in. The link alone does nothing; the button in the browser does.
func TestUndo_EveryStateIsAccessibleAndFits(t *testing.T) {
	t.Parallel()
	s, around := enact(t)
	w := &world{harness: s.harness, World: around}
	b := browsertest.Open(t, browsertest.Options{NoScript: true, Insecure: true})
	w.switched(t, phoneA)
	link := undoAddress(t, s, w.notice(t, bertAt, 1))
	b.Visit(link)
	b.See("Undo this change?")
	b.See("•••48")
	if !regexp.MustCompile(`Since 20\d\d-\d\d-\d\d \d\d:\d\d UTC`).MatchString(b.Text()) { // The link lives for three days.
		t.Errorf("the page does not say on which day:\n%s", b.Text())
	}
	s.judgePage(t, b, "undo")
	if w.reach(t, "bert") != "sms "+phoneA {
		t.Errorf("looking undid it: codes go by %s", w.reach(t, "bert"))
	}
	b.Leave(func() { b.Press("form button") })
	b.See("The change is undone")
	if w.reach(t, "bert") != "email " {
		t.Errorf("pressed, codes go by %s", w.reach(t, "bert"))
	}
	s.judgePage(t, b, "undone")
	b.Visit(link)
	b.See("This change cannot be undone here")
	s.judgePage(t, b, "undo-over")

	c := w.begin(t, "anna", fields{"kind": "main_email", "email": "a-rather-long-address.indeed@a-rather-long-domain.example.org"})
	c = w.confirm(t, "anna", c, w.Code(t, office, 1))
	w.confirm(t, "anna", c, w.Code(t, "a-rather-long-address.indeed@a-rather-long-domain.example.org", 1))
	link = undoAddress(t, s, w.notice(t, office, 1))
	b.Visit(link)
	b.See("the main address that it had before")
	s.judgePage(t, b, "undo-main")
	s.db.Exec(t, `ALTER TABLE factor_changes RENAME TO gone`)
	b.Leave(func() { b.Press("form button") })
	b.See("Nothing was changed.")
	s.judgePage(t, b, "undo-unavailable")
	s.db.Exec(t, `ALTER TABLE gone RENAME TO factor_changes`)
	b.Visit(link)
	b.See("Undo this change?") // It is still as it was.
}

// TestPrompt_TooMuchAtOnceIsAccessibleAndFits judges the page of whoever posts more than a person does. All browsers that
// opened a page count together, so the one that only reads it sees it, too.
func TestPrompt_TooMuchAtOnceIsAccessibleAndFits(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	b := browsertest.Open(t, browsertest.Options{NoScript: true, Insecure: true})
	s.refuse(422, "wrong_code", 4, 0)
	address, _ := s.prompt(t)
	b.Visit(address)
	hasty := s.person(t)
	hasty.open(address)
	form := url.Values{"form": {hasty.form}, "code": {"none"}}
	exhaust := func() {
		for range 1000 {
			res := hasty.ask(http.MethodPost, hasty.page+"/code", form, nil)
			if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") != "" {
				return
			}
		}
		t.Fatal("posts without end are let through")
	}
	for range 20 { // A post is let through every two seconds: on a slow machine perhaps the browser's.
		b.Type("#code", "111111")
		b.Leave(func() {
			exhaust()
			b.Press("form.code button")
		})
		if !b.Is("#code") {
			break
		}
	}
	b.See("That was a lot at once")
	s.judgePage(t, b, "hurried")
	b.Leave(func() { b.Press("main a.button") })
	b.See("Code from the message")
}
