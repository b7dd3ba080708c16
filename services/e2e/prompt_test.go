package e2e

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"doorcode/pkg/chromium/browsertest"
)

// TestPrompt_Journeys walks the demo's redirect way in a real browser, over the real processes: journey 2.1 of the
// product. The demo has one login, so the stories follow one another: together they stay under its limits.
func TestPrompt_Journeys(t *testing.T) {
	t.Parallel()
	s := ownStandalone(t)
	signsInAfterAWrongCode(t, s)
	withoutJavaScript(t, s)
	fiveWrongCodes(t, s)
	notMe(t, s)
	runsOut(t, s)
}

// TestPrompt_TwoPeopleAtOneMailbox walks journey 2.4 with edge cases 1 and 3: two people with one login and one mailbox ask
// at the same moment, each is told which message is theirs, and who takes the other's harms nobody.
func TestPrompt_TwoPeopleAtOneMailbox(t *testing.T) {
	t.Parallel()
	s := ownStandalone(t)
	kim, robin := browsertest.Open(t, browsertest.Options{}), browsertest.Open(t, browsertest.Options{NoScript: true})
	one, two := toPrompt(t, s, kim), toPrompt(t, s, robin)
	if one == two {
		t.Fatalf("both have the label %s", one)
	}
	first, second := codeFor(t, s, one), codeFor(t, s, two)
	// Kim's page learns of Robin's sign-in by itself. Without a script a page says it when it is loaded.
	kim.See("2 sign-ins are waiting at this address; yours is " + one + ".")
	kim.Accessible("two sign-ins wait")
	eventually(t, "both are on record", func() bool {
		robin.Visit(robin.URL())
		return strings.Contains(robin.Text(), "2 sign-ins are waiting at this address; yours is "+two+".")
	})
	// Robin takes Kim's message: that is a wrong code here, and Kim's sign-in is unharmed.
	typeCode(robin, first)
	robin.See("That is not the code for " + two + ". 4 tries left. Check that the message says " + two + ".")
	kim.Type("#code", first)
	kim.Press("form.code button")
	kim.At("http://" + s.demo + "/home")
	// Now nobody else waits there.
	eventually(t, "one is left", func() bool {
		robin.Visit(robin.URL())
		return strings.Contains(robin.Text(), "Several people may sign in") && !strings.Contains(robin.Text(), "are waiting")
	})
	typeCode(robin, second)
	robin.See("The code was right")
	robin.Leave(func() { robin.Press("main button") })
	robin.At("http://" + s.demo + "/home")
}

// toPrompt passes the password step of the demo and waits for doorcode's page; it returns the label.
func toPrompt(t *testing.T, s *standalone, b *browsertest.Tab) (label string) {
	t.Helper()
	b.Visit("http://" + s.demo + "/")
	b.Type("#password", "lantern")
	b.Leave(func() { b.Press("button[value=hosted]") })
	b.At("http://" + s.auth + "/prompt/")
	if strings.Contains(b.URL(), "ticket") {
		t.Errorf("the ticket stays in the address %s", b.URL())
	}
	return labelOn(t, b)
}

// labelOn reads the letters that the page asks for a message with.
func labelOn(t *testing.T, b *browsertest.Tab) string {
	t.Helper()
	found := regexp.MustCompile(`\n([B-DF-HJ-NP-TV-XZ]{3})\n`).FindStringSubmatch(b.Text())
	if found == nil {
		t.Fatalf("no label on the page\n%s", b.Text())
	}
	return found[1]
}

// typeCode types a code and waits for what comes.
func typeCode(b *browsertest.Tab, code string) {
	b.Leave(func() {
		b.Type("#code", code)
		b.Press("form.code button")
	})
}

// signsInAfterAWrongCode: a person signs in, after one wrong code.
func signsInAfterAWrongCode(t *testing.T, s *standalone) {
	t.Helper()
	b := browsertest.Open(t, browsertest.Options{})
	label := toPrompt(t, s, b)
	code := codeFor(t, s, label)
	b.See("j•••@lanternbird.example")
	b.See("Time left: ") // The script counts down,
	// and the line about the message changes by itself, with what the sandbox's provider reports.
	b.See("Accepted by lanternbird.example")
	b.Accessible("code prompt with its script")
	typeCode(b, wrongFor(code))
	b.See("That is not the code for " + label + ". 4 tries left. Check that the message says " + label + ".")
	// Pasted with a space. The script takes the browser back without another press.
	b.Type("#code", code[:3]+" "+code[3:])
	b.Press("form.code button")
	b.At("http://" + s.demo + "/home")
	b.See("You are signed in.")
}

// withoutJavaScript: the same without JavaScript, on a small phone.
func withoutJavaScript(t *testing.T, s *standalone) {
	t.Helper()
	b := browsertest.Open(t, browsertest.Options{NoScript: true})
	b.Show(320, browsertest.Dark)
	label := toPrompt(t, s, b)
	code := codeFor(t, s, label)
	typeCode(b, wrongFor(code))
	b.See("4 tries left")
	// Too early for another message: the page says when, and sends nothing.
	eventually(t, "the challenge is recorded", func() bool {
		return s.database(t).Exec(t, `UPDATE challenges SET resend_at = now() + interval '5 minutes' WHERE label = $1`, label) == 1
	})
	b.Leave(func() { b.Press(".ways button") })
	b.See("You can ask for another message in ")
	// When the wait is over the same code comes once more.
	s.database(t).Exec(t, `UPDATE challenges SET resend_at = now() WHERE label = $1`, label)
	b.Leave(func() { b.Press(".ways button") })
	eventually(t, "a second message with the same code", func() bool {
		n := 0
		for _, m := range s.inbox(t, "jo@lanternbird.example") {
			if strings.HasPrefix(m.Subject, label) && codeIn(t, m) == code {
				n++
			}
		}
		return n == 2
	})
	b.Leave(func() { b.Press("a[href$='/help']") })
	b.See("Three things to check")
	b.Leave(func() { b.Press("main a") })
	typeCode(b, code)
	b.See("The code was right")
	b.Leave(func() { b.Press("main button") })
	b.At("http://" + s.demo + "/home")
}

// fiveWrongCodes: they end the sign-in and lead back to the start.
func fiveWrongCodes(t *testing.T, s *standalone) {
	t.Helper()
	b := browsertest.Open(t, browsertest.Options{})
	code := codeFor(t, s, toPrompt(t, s, b))
	for n, wrong := 0, 0; n < 5; wrong++ { // Each another: the same one typed again counts once.
		if text := fmt.Sprintf("%06d", wrong); text != code {
			typeCode(b, text)
			n++
		}
	}
	b.See("There were too many wrong codes")
	b.Leave(func() { b.Press("main a.button") })
	b.At("http://" + s.demo + "/")
	b.See("Sign in")
}

// notMe: whoever did not ask closes the sign-in.
func notMe(t *testing.T, s *standalone) {
	t.Helper()
	b := browsertest.Open(t, browsertest.Options{})
	toPrompt(t, s, b)
	b.Leave(func() { b.Press("footer button") })
	b.See("someone may know your password")
}

// runsOut: the page says by itself that the code ran out, and leads back to the start.
func runsOut(t *testing.T, s *standalone) {
	t.Helper()
	b := browsertest.Open(t, browsertest.Options{})
	label := toPrompt(t, s, b)
	b.See("Time left:")
	eventually(t, "the challenge is recorded", func() bool {
		return s.database(t).Exec(t, `UPDATE challenges SET expires_at = now() WHERE label = $1`, label) == 1
	})
	b.See("This code ran out")
	b.Leave(func() { b.Press("main a.button") })
	b.At("http://" + s.demo + "/")
}

// passing is a person's browser at the demo which takes the redirect way, up to the prompt.
func passing(t *testing.T, s *standalone) (b *browser, page, at string) {
	t.Helper()
	b = newBrowser(t, s)
	page, at = b.post("/sign-in", url.Values{"email": {"jo@lanternbird.example"}, "password": {"lantern"}, "way": {"hosted"}})
	if !strings.HasPrefix(at, "/prompt/") {
		t.Fatalf("after the password: %s\n%s", at, page)
	}
	return b, page, at
}

// SEC-05, SEC-06 and SEC-08: neither the code nor the assertion of one browser's sign-in lets anybody in elsewhere, or
// twice.
func TestSEC05_SEC08_CodeAndAssertionCountForTheirOwnSignInOnce(t *testing.T) {
	t.Parallel()
	s := ownStandalone(t)
	noAssertion(t, s)
	one, page, at := passing(t, s)
	code := codeFor(t, s, regexp.MustCompile(`class="letters">([A-Z]{3})<`).FindStringSubmatch(page)[1])
	field := func(page, name string) string {
		found := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(page)
		if found == nil {
			t.Fatalf("no field %s in\n%s", name, page)
		}
		return found[1]
	}
	hosted := *one
	hosted.base = "http://" + s.auth
	page, _ = hosted.post(at+"/code", url.Values{"form": {field(page, "form")}, "once": {field(page, "once")}, "code": {code}})
	back := url.Values{"assertion": {field(page, "assertion")}, "handle": {field(page, "handle")}}
	two, _, _ := passing(t, s)
	for name, thief := range map[string]*browser{"a browser with a sign-in of its own": two, "a browser without one": newBrowser(t, s)} {
		if _, at := thief.post("/signed-in", back); at != "/" && at != "/signed-in" {
			t.Errorf("%s is at %s", name, at)
		}
		if _, at := thief.open("/home"); at == "/home" {
			t.Errorf("%s is in", name)
		}
	}
	if _, at := one.post("/signed-in", back); at != "/home" {
		t.Fatalf("the browser that began is at %s", at)
	}
	one.post("/sign-out", nil)
	if _, at := one.post("/signed-in", back); at == "/home" {
		t.Error("one assertion signs in twice")
	}
	// SEC-05: the code of this challenge is no code of another.
	three, page, at := passing(t, s)
	hosted = *three
	hosted.base = "http://" + s.auth
	page, _ = hosted.post(at+"/code", url.Values{"form": {field(page, "form")}, "once": {field(page, "once")}, "code": {code}})
	if !strings.Contains(page, "tries left") || strings.Contains(page, "assertion") {
		t.Errorf("the code of another challenge:\n%s", page)
	}
}

// noAssertion: a post to the return page without one lets nobody in.
func noAssertion(t *testing.T, s *standalone) {
	t.Helper()
	b, _, _ := passing(t, s)
	for _, form := range []url.Values{nil, {"assertion": {"approved"}}, {"outcome": {"approved"}, "handle": {"x"}}} {
		b.post("/signed-in", form)
		if _, at := b.open("/home"); at == "/home" {
			t.Fatalf("%v lets somebody in", form)
		}
	}
}
