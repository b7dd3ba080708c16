package app_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/pkg/provider/sandbox"
)

// visit asks for a page as a browser does; with a form it posts, from that origin.
func (w *world) visit(t testing.TB, address string, form url.Values, origin string) (int, string) {
	t.Helper()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r := httptest.NewRequestWithContext(t.Context(), method, address, bytes.NewReader([]byte(body)))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", origin)
		r.Header.Set("Sec-Fetch-Site", map[bool]string{true: "same-origin", false: "cross-site"}[origin == publicO])
	}
	answer := httptest.NewRecorder()
	w.app.Handler().ServeHTTP(answer, r)
	if answer.Header().Get("Content-Security-Policy") == "" || answer.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%s %s has no policy, or may be kept", method, r.URL.Path)
	}
	return answer.Code, answer.Body.String()
}

// notice waits for the message to an address that tells of a change, and for as many as there are to be.
func (w *world) notice(t testing.TB, to string, n int) sandbox.Message {
	t.Helper()
	for all := n; ; all++ {
		var found []sandbox.Message
		for _, m := range w.Messages(t, to, all) {
			if strings.Contains(m.Subject+m.Text, "sign-in codes go") {
				found = append(found, m)
			}
		}
		if len(found) >= n {
			return found[n-1]
		}
	}
}

// undoLink is the one link of a notice, without the origin.
func undoLink(t testing.TB, m sandbox.Message) (address, field string) {
	t.Helper()
	link := regexp.MustCompile(`https://sign-in\.lanternbird\.example(/undo\?of=([A-Za-z0-9_-]+))`).FindStringSubmatch(m.Text)
	if link == nil || strings.Count(m.Text, "://") != 1 {
		t.Fatalf("the notice has no link, or more:\n%s", m.Text)
	}
	return link[1], link[2]
}

// SEC-38: the old address is told and can object. A link alone does nothing; its button works once.
func TestSEC38_TheOldAddressIsToldAndUndoesTheChange(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	w.switched(t, phoneA)
	m := w.notice(t, bertAt, 1)
	if !strings.Contains(m.Text, "a phone ending 48") || strings.Contains(m.Text, "2025550148") {
		t.Errorf("the notice is\n%s", m.Text)
	}
	address, field := undoLink(t, m)
	for range 2 { // Mail programs follow links.
		status, body := w.visit(t, address, nil, "")
		if status != 200 || !strings.Contains(body, "•••48") || !strings.Contains(body, `<form method="post" action="/undo">`) {
			t.Fatalf("the page is %d:\n%s", status, body)
		}
	}
	form := url.Values{"of": {field}}
	for name, try := range map[string]func() (int, string){
		"another site": func() (int, string) { return w.visit(t, "/undo", form, "https://evil.example") },
		"no link":      func() (int, string) { return w.visit(t, "/undo", url.Values{}, publicO) },
		"another link": func() (int, string) { return w.visit(t, "/undo", url.Values{"of": {"B" + field[1:]}}, publicO) },
		"an edited link": func() (int, string) {
			return w.visit(t, "/undo", url.Values{"of": {field[:len(field)-4] + "AAAA"}}, publicO)
		},
		"a link to press": func() (int, string) { return w.visit(t, "/undo?of="+field, url.Values{}, publicO) },
	} {
		status, _ := try()
		if status != 403 && status != 410 || w.reach(t, "bert") != "sms "+phoneA {
			t.Errorf("%s is answered %d, codes go by %s", name, status, w.reach(t, "bert"))
		}
	}
	version := w.version(t, "bert")
	status, body := w.visit(t, "/undo", form, publicO)
	if status != 200 || !strings.Contains(body, "The change is undone") || w.reach(t, "bert") != "email " || w.version(t, "bert") != version+1 {
		t.Errorf("pressed: %d, codes go by %s\n%s", status, w.reach(t, "bert"), body)
	}
	for _, f := range []url.Values{form, nil} {
		status, _ = w.visit(t, address, f, publicO)
		if status != 410 {
			t.Errorf("once more it is answered %d", status)
		}
	}
	if got := w.listed(t); got[0].State != "reverted" || w.recorded(t, event.FactorReverted) != 1 {
		t.Errorf("it is shown as %+v", got[0])
	}
	if told := w.notice(t, phoneA, 1); !strings.Contains(told.Text, "an e-mail address") || strings.Contains(told.Text, "://") {
		t.Errorf("the phone is told\n%s", told.Text)
	}
}

// The link of the first of two changes takes both back, says so before, and all who got codes are told. The link of the
// second one is dead then.
func TestSEC38_AnUndoTakesLaterChangesAlong(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	w.switched(t, phoneA)
	first, field := undoLink(t, w.notice(t, bertAt, 1))
	c := w.begin(t, "bert", fields{"kind": "number", "phone": phoneB})
	c = w.confirm(t, "bert", c, w.Code(t, phoneA, 2))
	w.confirm(t, "bert", c, w.Code(t, phoneB, 1))
	if told := w.notice(t, phoneA, 1); !strings.Contains(told.Text, "a phone ending 49") {
		t.Errorf("the old number is told\n%s", told.Text)
	}
	_, second := undoLink(t, w.notice(t, bertAt, 2))
	status, body := w.visit(t, first, nil, "")
	if status != 200 || !strings.Contains(body, "All of it is undone together.") || !strings.Contains(body, "•••48") {
		t.Errorf("the page is %d:\n%s", status, body)
	}
	pressed, _ := w.visit(t, "/undo", url.Values{"of": {field}}, publicO)
	if pressed != 200 || w.reach(t, "bert") != "email " {
		t.Errorf("answered %d, codes go by %s", pressed, w.reach(t, "bert"))
	}
	pressed, _ = w.visit(t, "/undo", url.Values{"of": {second}}, publicO)
	if pressed != 410 || w.reach(t, "bert") != "email " {
		t.Errorf("the other link is answered %d, codes go by %s", pressed, w.reach(t, "bert"))
	}
	for number, n := range map[string]int{phoneA: 2, phoneB: 1} {
		if m := w.notice(t, number, n); !strings.Contains(m.Text, "an e-mail address") {
			t.Errorf("told is\n%s", m.Text)
		}
	}
}

// Codes that went away and came back by a second change go where they went all along: that address is not told of a loss.
func TestSEC38_AnUndoOfTwoChangesTellsNobodyOfTheWayBack(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	w.switched(t, phoneA)
	_, field := undoLink(t, w.notice(t, bertAt, 1))
	mails := w.Codes(bertAt)
	c := w.begin(t, "bert", fields{"kind": "email"})
	c = w.confirm(t, "bert", c, w.Code(t, phoneA, 2))
	w.confirm(t, "bert", c, w.Code(t, bertAt, mails+1))
	w.notice(t, phoneA, 1) // of the way back
	pressed, _ := w.visit(t, "/undo", url.Values{"of": {field}}, publicO)
	if pressed != 200 || w.reach(t, "bert") != "email " {
		t.Errorf("answered %d, codes go by %s", pressed, w.reach(t, "bert"))
	}
	w.notice(t, phoneA, 2) // The phone has lost them once more.
	bustest.Wait(t, "the second undone change is told to nobody", func() bool { return w.metric(t, "doorcode_notices_total", "ended") == 1 })
	told := 0
	for _, m := range w.Messages(t, bertAt, mails+2) {
		if strings.Contains(m.Subject+m.Text, "sign-in codes go") {
			told++
		}
	}
	if told != 1 || w.recorded(t, event.FactorReverted) != 2 {
		t.Errorf("the address is told %d times, %d changes were undone", told, w.recorded(t, event.FactorReverted))
	}
}

// product.md R5.3: the old main address is told, and can have the change undone.
func TestSEC38_TheOldMainAddressGetsItsPlaceBack(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	c := w.begin(t, "anna", fields{"kind": "main_email", "email": "new@example.org"})
	c = w.confirm(t, "anna", c, w.Code(t, office, 1))
	w.confirm(t, "anna", c, w.Code(t, "new@example.org", 1))
	_, field := undoLink(t, w.notice(t, office, 1))
	pressed, _ := w.visit(t, "/undo", url.Values{"of": {field}}, publicO)
	var signIn created
	w.must(t, 201, create("anna")).into(t, &signIn)
	if pressed != 200 || signIn.Recipient != "o•••@example.com" {
		t.Errorf("answered %d, a sign-in goes to %s", pressed, signIn.Recipient)
	}
	w.notice(t, "new@example.org", 1)
}
