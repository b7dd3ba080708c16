package desk_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"doorcode/pkg/operator"
)

// asks orders an act and returns where the browser ends.
func (b *browser) asks(id, act string) answer {
	b.h.t.Helper()
	return b.do(http.MethodPost, "/challenges/"+id+"/"+act, url.Values{"reason": {"it bounced"}, "channel": {"email"}})
}

// confirms types the code of the act that waits.
func (b *browser) confirms(code string) answer {
	b.h.t.Helper()
	return b.do(http.MethodPost, "/confirm", url.Values{"code": {code}})
}

// It shows SEC-59 of deploy/SECURITY.md: whatever changes something needs a fresh code, for that very act.
func TestAct_NeedsAFreshCodeOfItsOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.issued("acme", reference())
	b := h.browser()
	b.signIn("sue", h.list(operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true}))
	contains(t, b.get("/challenges/"+id).text, "What you can do", `<option value="email">`)
	nothing := func(what string) {
		t.Helper()
		if len(h.doorcode.done) != 0 {
			t.Errorf("%s: %q was done", what, h.doorcode.done)
		}
	}
	a := b.asks(id, "send-again")
	contains(t, a.text, "Send the code again", "it bounced", "s•••@example.com")
	nothing("without a code")
	if a = b.confirms("654321"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong code is answered %d", a.status)
	}
	nothing("with a wrong code")
	h.wait(5*time.Minute + time.Second)
	if a = b.confirms(rightCode); a.status != http.StatusForbidden {
		t.Errorf("a code of five minutes ago is answered %d", a.status)
	}
	nothing("with an old code")

	b.asks(id, "send-again")
	a = b.confirms(rightCode)
	contains(t, a.text, "Another message with the same code is on its way")
	if want := []string{"resend " + id + " sue it bounced email"}; !slices.Equal(h.doorcode.done, want) {
		t.Errorf("done was %q", h.doorcode.done)
	}
	if a = b.confirms(rightCode); a.status != http.StatusForbidden || len(h.doorcode.done) != 1 {
		t.Errorf("a code did two acts: %d", a.status)
	}
	b.asks(id, "unlock")
	b.confirms(rightCode)
	if want := "unlock " + id + " sue it bounced"; len(h.doorcode.done) != 2 || h.doorcode.done[1] != want {
		t.Errorf("done was %q", h.doorcode.done)
	}
	for _, reason := range []string{"", "  ", "a\nb", string(make([]byte, 201))} {
		a = b.do(http.MethodPost, "/challenges/"+id+"/unlock", url.Values{"reason": {reason}})
		if a.status != http.StatusBadRequest {
			t.Errorf("the reason %q is answered %d", reason, a.status)
		}
	}
}

// A code that was asked for a sign-in does no act, and one of an act begins no session; nor does another session's.
// It shows SEC-59 of deploy/SECURITY.md.
func TestAct_IsOfTheSessionThatAskedForIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.issued("acme", reference())
	secret := h.list(operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true})
	first, second := h.browser(), h.browser()
	first.signIn("sue", secret)
	second.signIn("sue", secret)
	first.asks(id, "send-again")
	home, err := url.Parse(h.site.URL)
	h.must(err)
	for _, c := range first.http.Jar.Cookies(home) {
		if c.Name == "doorcode-console-code" {
			second.http.Jar.SetCookies(home, []*http.Cookie{c})
		}
	}
	if a := second.confirms(rightCode); a.status != http.StatusForbidden {
		t.Errorf("another session's act is answered %d", a.status)
	}
	first.do(http.MethodPost, "/sign-in", url.Values{"operator": {"sue"}, "secret": {secret}})
	if a := first.confirms(rightCode); a.status != http.StatusForbidden {
		t.Errorf("a sign-in's code for an act is answered %d", a.status)
	}
	first.asks(id, "send-again")
	if a := first.do(http.MethodPost, "/code", url.Values{"code": {rightCode}}); a.status != http.StatusUnauthorized {
		t.Errorf("an act's code for a sign-in is answered %d at %s", a.status, a.path)
	}
	if len(h.doorcode.done) != 0 {
		t.Errorf("done was %q", h.doorcode.done)
	}
}

// It shows SEC-59 of deploy/SECURITY.md: the matrix of roles and acts, at the addresses.
func TestAct_IsThoseOfTheRoleAndOfTheirWorkspaces(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.issued("acme", reference())
	for _, role := range operator.Roles() {
		for act, path := range map[operator.Act]string{operator.SendAgain: "send-again", operator.Unlock: "unlock"} {
			o := operator.Operator{ID: "x", Role: role, Workspaces: []string{"acme"}}
			b := h.browser()
			b.signIn("x", h.list(o))
			a := b.asks(id, path)
			if (a.status == http.StatusOK && a.path == "/confirm") != o.May(act) {
				t.Errorf("%s: %s: %d at %s", role, act, a.status, a.path)
			}
		}
	}
	b := h.browser()
	b.signIn("far", h.list(operator.Operator{ID: "far", Role: operator.Support, Workspaces: []string{"other"}}))
	if a := b.asks(id, "send-again"); a.status != http.StatusNotFound {
		t.Errorf("one of another workspace: %d", a.status)
	}
	// A role that is taken away between order and code does nothing.
	secret := h.list(operator.Operator{ID: "sue", Role: operator.Support, AllWorkspaces: true})
	b = h.browser()
	b.signIn("sue", secret)
	b.asks(id, "send-again")
	h.list(operator.Operator{ID: "sue", Role: operator.Auditor, AllWorkspaces: true})
	b.confirms(rightCode)
	if len(h.doorcode.done) != 0 {
		t.Errorf("done was %q", h.doorcode.done)
	}
}
