package app_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"doorcode/pkg/challenge"
	"doorcode/pkg/chromium/browsertest"
	"doorcode/pkg/event"
	"doorcode/pkg/frontend"
	"doorcode/pkg/provider/sandbox"
)

// told waits for the message of a subject to an address.
func (w *world) told(t testing.TB, to, subject string) sandbox.Message {
	t.Helper()
	for n := 1; ; n++ {
		for _, m := range w.Messages(t, to, n) {
			if strings.Contains(m.Subject, subject) {
				return m
			}
		}
	}
}

// readyLink is the one link of a notice of the roll-out, and the field of its query.
func readyLink(t testing.TB, m sandbox.Message) (address, field string) {
	t.Helper()
	link := regexp.MustCompile(`https://[^/\s]+/get-ready\?of=([A-Za-z0-9_-]+)`).FindStringSubmatch(m.Text)
	if link == nil || strings.Count(m.Text, "://") != 1 || regexp.MustCompile(`\b[0-9]{6}\b`).MatchString(m.Text) {
		t.Fatalf("the notice has no link, or more, or a code beside it:\n%s", m.Text)
	}
	return link[0], link[1]
}

// TestReady_TheOwnerGetsReadyFromTheAnnouncementToTheNewDate walks product.md journey 2.2, without scripts: the announcement,
// the page, a practice code, and a week more, which everybody hears of. Each page is judged as those of a sign-in.
func TestReady_TheOwnerGetsReadyFromTheAnnouncementToTheNewDate(t *testing.T) {
	t.Parallel()
	s, around := enact(t)
	w := &world{harness: s.harness, World: around}
	w.must(t, 201, put("/logins/ada", fields{"role": "administrator", "email": "ada@example.com"}))
	w.announce(t)
	b := browsertest.Open(t, browsertest.Options{NoScript: true, Insecure: true})
	link, _ := readyLink(t, w.told(t, office, "asks for a code"))
	b.Visit(link)
	b.See("Get ready for codes")
	b.See("That is in 19 days.")
	b.See("0 of 3 people have used a code")
	s.judgePage(t, b, "ready")
	b.Leave(func() { b.Press("#send button") })
	b.See("Type the practice code")
	s.judgePage(t, b, "practising")
	code := w.Code(t, office, 1)
	wrong := "111111"
	if code == wrong {
		wrong = "222222"
	}
	b.Type("#code", wrong)
	b.Leave(func() { b.Press("form.code button") })
	b.See("4 tries left")
	s.judgePage(t, b, "practising-wrong")
	b.Type("#code", code)
	b.Leave(func() { b.Press("form.code button") })
	b.See("You are ready for codes.")
	b.See("1 of 3 people have used a code")
	s.judgePage(t, b, "ready-practised")
	b.Leave(func() { b.Press("#postpone button") })
	b.See("The date was moved by a week.")
	b.See("That is in 26 days.")
	s.judgePage(t, b, "ready-postponed")
	b.Visit(link)
	b.See("You have moved the date by a week.")
	w.told(t, "ada@example.com", "New date")
	w.told(t, office, "New date")
	w.db.Exec(t, `ALTER TABLE rollout_places RENAME TO gone`)
	b.Visit(link)
	b.See("Not possible at the moment")
	s.judgePage(t, b, "ready-unavailable")
	w.db.Exec(t, `ALTER TABLE gone RENAME TO rollout_places`)
	b.Visit(link[:len(link)-4])
	b.See("This link is over")
	s.judgePage(t, b, "ready-over")
}

// practices are the handles of the practice codes of a login, as auth makes them for itself.
func (w *world) practices(t testing.TB, login string) []string {
	t.Helper()
	var all []string
	for _, m := range w.bus.Messages(t, event.StreamChallenges) {
		var p event.Issued
		err := json.Unmarshal(m.Data, &p)
		if err != nil {
			t.Fatal(err)
		}
		if p.Purpose == challenge.Practice && p.Login == login && p.FrontEnd == frontend.Own {
			handle, err := challenge.Handle{Challenge: p.Challenge, Stream: 7, Sequence: m.Sequence}.Encode(w.ring(t, "HANDLE"))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, handle)
		}
	}
	return all
}

// SEC-05 in its spirit: a practice code lets nobody in, whoever asks with it; and the link of an administrator is worth no
// date. It shows SEC-58 of deploy/SECURITY.md.
func TestReady_APracticeCodeLetsNobodyInAndALinkMovesNoDateButTheOwners(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	w.must(t, 201, put("/logins/ada", fields{"role": "administrator", "email": "ada@example.com"}))
	w.announce(t)
	_, field := readyLink(t, w.told(t, "ada@example.com", "asks for a code"))
	form := url.Values{"of": {field}}
	status, _ := w.visit(t, "/get-ready", form, "https://evil.example")
	if status != http.StatusForbidden || w.Codes("ada@example.com") != 0 {
		t.Errorf("a post of another origin is answered %d", status)
	}
	status, body := w.visit(t, "/get-ready?of="+field, nil, "")
	if status != 200 || strings.Contains(body, "/get-ready/postpone") {
		t.Errorf("the page of an administrator is %d:\n%s", status, body)
	}
	status, _ = w.visit(t, "/get-ready/postpone", form, publicO)
	if status != http.StatusConflict {
		t.Errorf("an administrator moves the date: %d", status)
	}
	for range 2 { // Without its cookie no browser types the code.
		status, _ = w.visit(t, "/get-ready", form, publicO)
		if status != http.StatusSeeOther {
			t.Fatalf("no practice code is sent: %d", status)
		}
	}
	code := w.Code(t, "ada@example.com", 1)
	handles := w.practices(t, "ada")
	if len(handles) != 2 {
		t.Errorf("%d practice codes are sent to her", len(handles))
	}
	for _, handle := range handles {
		w.refused(t, 404, "unknown_challenge", request{method: "POST", path: "/v1/challenges/" + handle + "/checks", body: fields{"code": code}})
		w.refused(t, 404, "unknown_challenge", request{method: "GET", path: "/v1/challenges/" + handle})
	}
	var n int
	w.db.Scan(t, `SELECT count(*) FROM audit WHERE kind IN ($1, $2)`, []any{string(event.RolloutPostponed), string(event.RolloutPractised)}, &n)
	if n != 0 {
		t.Errorf("%d are on record", n)
	}
	w.must(t, 200, put("/logins/ada", fields{"role": "member", "email": "ada@example.com"}))
	status, _ = w.visit(t, "/get-ready?of="+field, nil, "")
	if status != http.StatusGone {
		t.Errorf("who does not run the workspace any more sees %d", status)
	}
}

// Whoever runs a workspace on its way comes to that page from the Security settings, too; a member does not.
func TestReady_IsReachedFromTheSecuritySettings(t *testing.T) {
	t.Parallel()
	s := play(t, nil)
	page := func(login string) string {
		p := s.person(t)
		p.open(s.settings(t, login, nil))
		return p.body
	}
	if strings.Contains(page("anna"), "/get-ready?of=") {
		t.Error("a workspace in no wave is on its way")
	}
	s.announce(t)
	shown := page("anna")
	link := regexp.MustCompile(`href="(/get-ready\?of=[A-Za-z0-9_-]+)"`).FindStringSubmatch(shown)
	if link == nil {
		t.Fatalf("there is no way:\n%s", shown)
	}
	p := s.person(t)
	res := p.ask(http.MethodGet, s.pages.URL+link[1], nil, nil)
	if res.StatusCode != 200 || !strings.Contains(p.body, "Get ready for codes") {
		t.Errorf("it leads to %d:\n%s", res.StatusCode, p.body)
	}
	if strings.Contains(page("bert"), "/get-ready?of=") {
		t.Error("a member is shown the way")
	}
}
