package app_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/frontend"
	"doorcode/pkg/postgres/pgtest"
	"doorcode/services/auth/app"
	"doorcode/services/auth/internal/authtest"
)

// world is auth with the real verifier, the dispatchers and the sandbox.
type world struct {
	*harness
	*authtest.World
}

// The numbers and addresses of the tests.
const (
	office  = "office@example.com"
	bertAt  = "bert@example.com"
	phoneA  = "+12025550148"
	phoneB  = "+12025550149"
	publicO = "https://sign-in.lanternbird.example"
)

// startWorld runs all of it with the people of settle. Text messages go to two countries.
func startWorld(t *testing.T) *world {
	t.Helper()
	h := &harness{db: pgtest.Open(t), bus: bustest.Start(t), logs: &lines{}, dir: t.TempDir(), spec: document(t)}
	h.cfg = h.config(t)
	authtest.Keys(t, h.dir)
	texting(200)(&h.cfg)
	h.cfg.PublicURL = publicO
	h.run(t)
	w := &world{harness: h, World: authtest.Start(t, h.bus, h.db, h.dir)}
	h.key = h.frontEnd(t, frontend.FrontEnd{
		ID: "front", Scopes: []frontend.Scope{frontend.Challenges, frontend.Directory}, AllWorkspaces: true,
		ReturnOrigins: []string{"https://app.example"},
	})
	h.settle(t)
	return w
}

// change is a change of a factor as the API shows it.
type change struct {
	ID, Kind, State, Channel, Recipient string
	Challenge                           *struct{ Label, Channel, Recipient string }
	CreatedAt                           time.Time  `json:"created_at"`
	ExpiresAt                           time.Time  `json:"expires_at"`
	AppliedAt                           *time.Time `json:"applied_at"`
}

// changes is the address of the changes of a login of w.
func changes(login string) string { return "/v1/workspaces/w/logins/" + login + "/factor-changes" }

// begin begins a change.
func (w *world) begin(t testing.TB, login string, body fields) change {
	t.Helper()
	var c change
	w.must(t, 201, request{method: "POST", path: changes(login), body: body}).into(t, &c)
	return c
}

// confirmation is the request of a confirm.
func confirmation(login string, c change, code string) request {
	return request{method: "POST", path: changes(login) + "/" + c.ID + "/confirm", body: fields{"code": code}}
}

// confirm takes a change on.
func (w *world) confirm(t testing.TB, login string, c change, code string) change {
	t.Helper()
	var next change
	w.must(t, 200, confirmation(login, c, code)).into(t, &next)
	return next
}

// listed returns the changes of bert.
func (w *world) listed(t testing.TB) []change {
	t.Helper()
	var list struct{ Changes []change }
	w.must(t, 200, request{method: "GET", path: changes("bert")}).into(t, &list)
	return list.Changes
}

// reach is where codes of a login go, as the directory has it.
func (w *world) reach(t testing.TB, login string) string {
	t.Helper()
	var l struct{ Channel, Phone, Email string }
	w.must(t, 200, request{method: "GET", path: "/v1/workspaces/w/logins/" + login}).into(t, &l)
	return l.Channel + " " + l.Phone
}

// recorded counts the rows of the audit of a kind.
func (w *world) recorded(t testing.TB, kind event.Type) int {
	t.Helper()
	return w.count(t, `SELECT count(*) FROM audit WHERE kind = $1`, string(kind))
}

// switched switches bert to a phone.
func (w *world) switched(t testing.TB, number string) change {
	t.Helper()
	texts, mails := w.Codes(number), w.Codes(bertAt)
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": number})
	c = w.confirm(t, "bert", c, w.Code(t, bertAt, mails+1))
	c = w.confirm(t, "bert", c, w.Code(t, number, texts+1))
	if c.State != "applied" || w.reach(t, "bert") != "sms "+number {
		t.Fatalf("the switch ended as %+v, codes go by %s", c, w.reach(t, "bert"))
	}
	return c
}

// SEC-36, SEC-37: a fresh code on the present route, a code to the new one, and nothing before both.
func TestSEC37_ANewNumberCountsOnceItIsProved(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	version := w.version(t, "bert")
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": "+1 202 555 0148", "client": fields{"user_agent": "Mozilla/5.0 (Windows NT 10.0; rv:128.0) Gecko/20100101 Firefox/128.0"}})
	if c.State != "approval" || c.Channel != "sms" || c.Recipient != "•••48" || c.Challenge == nil || c.Challenge.Recipient != "b•••@example.com" ||
		c.ExpiresAt.Sub(c.CreatedAt) != 30*time.Minute || c.AppliedAt != nil {
		t.Fatalf("begun: %+v", c)
	}
	first := w.Messages(t, bertAt, 1)[0]
	if !strings.Contains(first.Text, "It approves a switch to text messages.") || !strings.Contains(first.Text, "Firefox on Windows") || !strings.Contains(first.Text, c.Challenge.Label) {
		t.Errorf("the first message is\n%s", first.Text)
	}
	w.refused(t, 422, "wrong_code", confirmation("bert", c, authtest.Wrong(w.Code(t, bertAt, 1))))
	w.refused(t, 400, "invalid_request", confirmation("bert", c, "12345"))
	if n := w.failures(t); n != 1 { // It counts on the login as a wrong code of a sign-in does.
		t.Errorf("%d wrong codes are charged", n)
	}
	c = w.confirm(t, "bert", c, w.Code(t, bertAt, 1))
	if c.State != "proof" || c.Challenge == nil || c.Challenge.Recipient != "•••48" {
		t.Fatalf("approved: %+v", c)
	}
	second := w.Messages(t, phoneA, 1)[0]
	if !strings.Contains(second.Text, "confirms this number for Lanternbird sign-in codes.") {
		t.Errorf("the second message is\n%s", second.Text)
	}
	if got := w.listed(t); len(got) != 1 || got[0].State != "proof" || got[0].Challenge == nil {
		t.Errorf("the change on its way is shown as %+v", got)
	}
	// Until it is proved the old route is the one in use, and nothing has changed.
	var signIn created
	w.must(t, 201, create("bert")).into(t, &signIn)
	if signIn.Recipient != "b•••@example.com" || w.reach(t, "bert") != "email " || w.version(t, "bert") != version {
		t.Errorf("half-way a sign-in goes to %s, and codes by %s", signIn.Recipient, w.reach(t, "bert"))
	}
	open := w.Code(t, bertAt, 2)
	c = w.confirm(t, "bert", c, w.Code(t, phoneA, 1))
	if c.State != "applied" || c.AppliedAt == nil || c.Challenge != nil || w.reach(t, "bert") != "sms "+phoneA || w.version(t, "bert") != version+1 {
		t.Errorf("proved: %+v, codes go by %s", c, w.reach(t, "bert"))
	}
	// SEC-39: the sign-in that was open ended, and the next one goes to the phone.
	w.refused(t, 422, "closed", request{method: "POST", path: "/v1/challenges/" + signIn.Handle + "/checks", body: fields{"code": open}})
	w.must(t, 201, create("bert")).into(t, &signIn)
	if signIn.Recipient != "•••48" {
		t.Errorf("afterwards a sign-in goes to %s", signIn.Recipient)
	}
	for kind, n := range map[event.Type]int{event.FactorRequested: 1, event.FactorChanged: 1, event.FactorCanceled: 0} {
		if got := w.recorded(t, kind); got != n {
			t.Errorf("%s is on record %d times", kind, got)
		}
	}
	bustest.Wait(t, "the change is told on the bus", func() bool {
		for _, m := range w.bus.Messages(t, event.StreamDirectory) {
			if m.Subject == "doorcode.directory.factor_changed" {
				eventtest.ValidateData(t, event.FactorChanged, m.Data)
				return !strings.Contains(string(m.Data), "2025550148")
			}
		}
		return false
	})
	if strings.Contains(w.logs.String(), "2025550148") {
		t.Error("a number is in the log")
	}
}

// A code of one half confirms not the other, whichever is open.
func TestSEC37_TheCodeOfOneRouteDoesNotConfirmTheOther(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": phoneA})
	old := w.Code(t, bertAt, 1)
	var signIn created
	w.must(t, 201, create("bert")).into(t, &signIn)
	entry := w.Code(t, bertAt, 2)
	if entry != old { // The code of a sign-in approves nothing.
		w.refused(t, 422, "wrong_code", confirmation("bert", c, entry))
	}
	c = w.confirm(t, "bert", c, old)
	fresh := w.Code(t, phoneA, 1)
	if again := w.confirm(t, "bert", c, old); again.State != "proof" { // It is known as the approval for a minute, and does no more.
		t.Errorf("the old route's code leads to %+v", again)
	}
	bustest.Wait(t, "the minute is over", func() bool {
		return w.db.Exec(t, `UPDATE challenges SET ended_at = ended_at - interval '2 minutes' WHERE state = 'approved'`) == 1
	})
	for _, code := range []string{old, entry} {
		if code != fresh {
			w.refused(t, 422, "wrong_code", confirmation("bert", c, code))
		}
	}
	if w.reach(t, "bert") != "email " {
		t.Fatalf("codes go by %s", w.reach(t, "bert"))
	}
	// The new route's code is no code of a sign-in, and the other way round.
	if fresh != entry {
		w.refused(t, 422, "wrong_code", request{method: "POST", path: "/v1/challenges/" + signIn.Handle + "/checks", body: fields{"code": fresh}})
	}
	w.confirm(t, "bert", c, fresh)
}

func TestFactor_EveryKindTakesItsWay(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	w.refused(t, 409, "nothing_to_change", request{method: "POST", path: changes("bert"), body: fields{"kind": "email"}})
	w.refused(t, 409, "nothing_to_change", request{method: "POST", path: changes("bert"), body: fields{"kind": "number", "phone": phoneB}})
	w.refused(t, 409, "no_route", request{method: "POST", path: changes("bert"), body: fields{"kind": "sms"}})
	w.switched(t, phoneA)
	w.refused(t, 409, "nothing_to_change", request{method: "POST", path: changes("bert"), body: fields{"kind": "sms", "phone": phoneB}})
	w.refused(t, 409, "nothing_to_change", request{method: "POST", path: changes("bert"), body: fields{"kind": "number", "phone": phoneA}})

	c := w.begin(t, "bert", fields{"kind": "number", "phone": phoneB})
	c = w.confirm(t, "bert", c, w.Code(t, phoneA, 2))
	c = w.confirm(t, "bert", c, w.Code(t, phoneB, 1))
	if c.State != "applied" || w.reach(t, "bert") != "sms "+phoneB {
		t.Errorf("another number: %+v, %s", c, w.reach(t, "bert"))
	}
	mails := w.Codes(bertAt)
	c = w.begin(t, "bert", fields{"kind": "email"})
	c = w.confirm(t, "bert", c, w.Code(t, phoneB, 2))
	if c.Channel != "email" || c.Recipient != "b•••@example.com" {
		t.Errorf("back to e-mail: %+v", c)
	}
	c = w.confirm(t, "bert", c, w.Code(t, bertAt, mails+1))
	if c.State != "applied" || w.reach(t, "bert") != "email "+phoneB {
		t.Errorf("back to e-mail: %+v, %s", c, w.reach(t, "bert"))
	}
	c = w.begin(t, "bert", fields{"kind": "sms"}) // the number that is there
	if c.Recipient != "•••49" {
		t.Errorf("to the phone again: %+v", c)
	}
	for _, b := range []fields{
		{"kind": "pigeon"},
		{"kind": "number", "phone": "0151"},
		{"kind": "sms", "email": office},
		{"kind": "email", "phone": phoneA},
		{"kind": "main_email", "email": "a@b@c"},
		{"kind": "main_email", "phone": phoneA},
		{"kind": "email", "email": office},
		{"kind": "sms", "phone": phoneA, "client": fields{"address": "x"}},
		{"kind": "sms", "phone": phoneA, "locale": "???"},
	} {
		w.refused(t, 400, "invalid_request", request{method: "POST", path: changes("bert"), body: b})
	}
}

// product.md, edge case 4: the main address changed between send and entry.
func TestFactor_AMainAddressThatChangedClosesWhatWaitsAtTheOldOne(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	w.refused(t, 409, "not_owner", request{method: "POST", path: changes("bert"), body: fields{"kind": "main_email", "email": "new@example.org"}})
	w.refused(t, 409, "nothing_to_change", request{method: "POST", path: changes("anna"), body: fields{"kind": "main_email", "email": "Office@example.com"}})
	c := w.begin(t, "anna", fields{"kind": "main_email", "email": "new@example.org"})
	c = w.confirm(t, "anna", c, w.Code(t, office, 1))
	var signIn created
	w.must(t, 201, create("anna")).into(t, &signIn)
	code := w.Code(t, office, 2)
	c = w.confirm(t, "anna", c, w.Code(t, "new@example.org", 1))
	if c.State != "applied" {
		t.Fatalf("applied: %+v", c)
	}
	w.refused(t, 422, "closed", request{method: "POST", path: "/v1/challenges/" + signIn.Handle + "/checks", body: fields{"code": code}})
	w.must(t, 201, create("anna")).into(t, &signIn)
	if signIn.Recipient != "n•••@example.org" {
		t.Errorf("afterwards a sign-in goes to %s", signIn.Recipient)
	}
}

// product.md, edge case 15: two people prove one number. Each gets codes of their own, and neither moves the other.
func TestFactor_ANumberThatAnotherLoginHasIsProvedByItsOwnCode(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	w.must(t, 201, put("/logins/kim", fields{"role": "member", "email": "kim@example.com"}))
	w.switched(t, phoneA)
	kim := w.begin(t, "kim", fields{"kind": "sms", "phone": phoneA})
	kim = w.confirm(t, "kim", kim, w.Code(t, "kim@example.com", 1))
	var signIn created
	w.must(t, 201, create("bert")).into(t, &signIn)
	texts := w.Messages(t, phoneA, 3)
	proof, entry := w.Code(t, phoneA, 2), w.Code(t, phoneA, 3)
	if !strings.Contains(texts[1].Text, "confirms this number") {
		proof, entry = entry, proof
	}
	if proof != entry {
		w.refused(t, 422, "wrong_code", confirmation("kim", kim, entry))
	}
	w.confirm(t, "kim", kim, proof)
	if w.reach(t, "bert") != "sms "+phoneA || w.reach(t, "kim") != "sms "+phoneA {
		t.Errorf("codes go by %s and %s", w.reach(t, "bert"), w.reach(t, "kim"))
	}
	w.must(t, 200, request{method: "POST", path: "/v1/challenges/" + signIn.Handle + "/checks", body: fields{"code": entry}})
}

// product.md R7.3: a number serves three logins, of whatever workspaces.
func TestFactor_AFourthLoginDoesNotGetANumber(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	w.must(t, 201, request{method: "PUT", path: "/v1/workspaces/v", body: fields{"name": "Other", "main_email": "v@example.com"}})
	third := request{method: "PUT", path: "/v1/workspaces/v/logins/third", body: fields{"role": "member", "phone": phoneA}}
	for _, r := range []request{put("/logins/first", fields{"role": "member", "phone": phoneA}), put("/logins/second", fields{"role": "member", "phone": phoneA})} {
		w.must(t, 201, r)
	}
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": phoneA})
	c = w.confirm(t, "bert", c, w.Code(t, bertAt, 1))
	w.must(t, 201, third)
	w.refused(t, 409, "number_in_use", confirmation("bert", c, w.Code(t, phoneA, 1))) // It went to another one meanwhile.
	if got := w.listed(t); got[0].State != "canceled" || w.reach(t, "bert") != "email " {
		t.Errorf("it stands at %+v, codes go by %s", got[0], w.reach(t, "bert"))
	}
	w.refused(t, 409, "number_in_use", request{method: "POST", path: changes("bert"), body: fields{"kind": "sms", "phone": phoneA}})
	w.refused(t, 409, "number_in_use", put("/logins/fourth", fields{"role": "member", "phone": phoneA}))
	if strings.Contains(w.logs.String(), "2025550148") {
		t.Error("the number is in the log")
	}
	w.must(t, 201, put("/logins/fourth", fields{"role": "member"}))
}

// SEC-41: text messages go to allowed countries alone, and a number is refused before a code is asked for.
func TestSEC41_ANumberOfAnotherCountryIsRefused(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	w.refused(t, 409, "number_not_allowed", request{method: "POST", path: changes("bert"), body: fields{"kind": "sms", "phone": "+4915112345678"}})
	w.db.Exec(t, `INSERT INTO sms_countries (region) VALUES ('US')`)
	w.refused(t, 409, "number_not_allowed", request{method: "POST", path: changes("bert"), body: fields{"kind": "sms", "phone": phoneA}})
	w.db.Exec(t, `DELETE FROM sms_countries`)
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": phoneA})
	w.db.Exec(t, `INSERT INTO sms_countries (region) VALUES ('US')`) // It was stopped meanwhile.
	w.refused(t, 409, "no_route", confirmation("bert", c, w.Code(t, bertAt, 1)))
	if w.Box.Count() != 1 || w.reach(t, "bert") != "email " {
		t.Errorf("%d messages were sent, codes go by %s", w.Box.Count(), w.reach(t, "bert"))
	}
}

func TestFactor_OnlyOneIsOnItsWayAndItCanBeCanceled(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": phoneA})
	w.refused(t, 409, "change_pending", request{method: "POST", path: changes("bert"), body: fields{"kind": "sms", "phone": phoneB}})
	code := w.Code(t, bertAt, 1)
	w.must(t, 204, request{method: "DELETE", path: changes("bert") + "/" + c.ID})
	w.must(t, 204, request{method: "DELETE", path: changes("bert") + "/" + c.ID})
	w.refused(t, 409, "change_over", confirmation("bert", c, code))
	if got := w.listed(t); len(got) != 1 || got[0].State != "canceled" || got[0].Challenge != nil {
		t.Errorf("it is shown as %+v", got)
	}
	c = w.switched(t, phoneB)
	w.refused(t, 409, "change_over", request{method: "DELETE", path: changes("bert") + "/" + c.ID})
	if len(w.Box.Messages(phoneA)) != 0 || w.recorded(t, event.FactorCanceled) != 1 {
		t.Error("a canceled change went on, or is not on record once")
	}
}

// SEC-09: what a row says that auth did not write so is not sent to, and the alarm is raised.
func TestSEC09_AChangeThatWasEditedIsNotSentTo(t *testing.T) {
	t.Parallel()
	for _, edit := range []string{
		`destination = '+12025550100'`, `state = 'proof'`, `next = '{"phone":"+12025550100","channel":"sms"}'`, `expires_at = expires_at + interval '1 day'`,
		`login = 'anna'`, `handle = ''`, `kind = 'number'`, `version = version + 1`, `former = '{"phone":"+12025550100"}'`, `approved_at = now()`,
	} {
		t.Run(edit, func(t *testing.T) {
			t.Parallel()
			w := startWorld(t)
			c := w.begin(t, "bert", fields{"kind": "sms", "phone": phoneA})
			code := w.Code(t, bertAt, 1)
			w.db.Exec(t, `UPDATE factor_changes SET `+edit)
			login := "bert"
			if strings.HasPrefix(edit, "login") {
				login = "anna"
			}
			w.refused(t, 503, "directory_integrity", confirmation(login, c, code))
			w.refused(t, 503, "directory_integrity", request{method: "POST", path: changes(login) + "/" + c.ID + "/deliveries", body: fields{}})
			w.refused(t, 503, "directory_integrity", request{method: "DELETE", path: changes(login) + "/" + c.ID})
			if w.Box.Count() != 1 || w.reach(t, "bert") != "email " {
				t.Errorf("%d messages were sent, codes go by %s", w.Box.Count(), w.reach(t, "bert"))
			}
			if n := w.metric(t, "doorcode_directory_mac_failures_total", "factor_changes"); n < 3 {
				t.Errorf("the alarm was raised %v times", n)
			}
		})
	}
}

func TestFactor_ConfirmsAtTheSameTimeApplyOnce(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	version := w.version(t, "bert")
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": phoneA})
	w.confirmTogether(t, c, w.Code(t, bertAt, 1), "proof")
	if n := len(w.Messages(t, phoneA, 1)); n != 1 {
		t.Errorf("%d proofs were sent", n)
	}
	w.confirmTogether(t, c, w.Code(t, phoneA, 1), "applied")
	if w.recorded(t, event.FactorChanged) != 1 || w.version(t, "bert") != version+1 || w.Box.CountOf("sms") != 1 {
		t.Errorf("applied %d times, the version is %d and was %d", w.recorded(t, event.FactorChanged), w.version(t, "bert"), version)
	}
}

// confirmTogether confirms many times at once. Whoever is answered with a change sees it in that state or further; whom a
// busy machine cannot serve in time is told so and asks again (P7).
func (w *world) confirmTogether(t *testing.T, c change, code, state string) {
	t.Helper()
	var mu sync.Mutex
	states := map[string]int{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			asked := time.Now()
			a := w.do(t, confirmation("bert", c, code))
			for a.Status == 503 && a.Header.Get("Retry-After") != "" && time.Since(asked) < limitOfTest {
				a = w.do(t, confirmation("bert", c, code))
			}
			var got change
			if a.Status == 200 {
				a.into(t, &got)
			}
			mu.Lock()
			defer mu.Unlock()
			states[got.State]++
			if a.Status >= 500 {
				t.Errorf("answered %d: %s", a.Status, a.Body)
			}
		})
	}
	all.Wait()
	if states[state] == 0 {
		t.Errorf("after it: %v", states)
	}
}

// A process may die after any step: the same request goes on with what is left.
func TestFactor_WhatWasApprovedGoesOn(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": phoneA})
	code := w.Code(t, bertAt, 1)
	// The approval is stored, and its proof cannot be sent: the daily cap of texts is reached.
	w.db.Exec(t, `INSERT INTO limits (dimension, key, times, entries) SELECT 'sms_spend', 'all', array_agg(now()), array_agg(n) FROM generate_series(1, 200) n`)
	w.refused(t, 429, "too_many_messages", confirmation("bert", c, code))
	if got := w.listed(t); got[0].State != "proof" || got[0].Challenge != nil {
		t.Fatalf("it is shown as %+v", got)
	}
	w.db.Exec(t, `DELETE FROM limits WHERE dimension = 'sms_spend'`)
	c = w.confirm(t, "bert", c, code)
	if c.State != "proof" || c.Challenge == nil {
		t.Fatalf("the confirm once more: %+v", c)
	}
	left := w.failures(t)
	if again := w.confirm(t, "bert", c, code); again.State != "proof" || again.Challenge == nil || w.failures(t) != left {
		t.Errorf("an approval whose answer was lost is answered %+v, or charged", again)
	}
	proof := w.Code(t, phoneA, 1)
	w.confirm(t, "bert", c, proof)
	if again := w.confirm(t, "bert", c, proof); again.State != "applied" || w.reach(t, "bert") != "sms "+phoneA {
		t.Errorf("a proof whose answer was lost is answered %+v, codes go by %s", again, w.reach(t, "bert"))
	}
	if w.recorded(t, event.FactorChanged) != 1 || w.Box.CountOf("sms") != 1 {
		t.Error("it took effect, or was asked for, more than once")
	}
}

// failures counts the wrong codes that were charged to bert.
func (w *world) failures(t testing.TB) int {
	t.Helper()
	return w.count(t, `SELECT cardinality(failures) FROM login_budgets WHERE login = 'bert'`)
}

func TestFactor_AnotherDeliveryOfACodeThatEndedIsAnotherCode(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": phoneA})
	delivery := request{method: "POST", path: changes("bert") + "/" + c.ID + "/deliveries", body: fields{}}
	w.refused(t, 429, "resend_too_early", delivery)
	w.Messages(t, bertAt, 1)
	bustest.Wait(t, "the challenge is recorded", func() bool { return w.count(t, `SELECT count(*) FROM challenges`) == 1 })
	w.db.Exec(t, `UPDATE challenges SET resend_at = now() - interval '1 second'`)
	w.must(t, 202, delivery)
	w.refused(t, 429, "resend_too_early", delivery)
	if w.Code(t, bertAt, 2) != w.Code(t, bertAt, 1) {
		t.Error("the second message has another code")
	}
	w.db.Exec(t, `UPDATE challenges SET expires_at = now() - interval '1 second'`)
	var again change
	w.must(t, 202, delivery).into(t, &again)
	if again.Challenge == nil || again.State != "approval" {
		t.Fatalf("after the end: %+v", again)
	}
	c = w.confirm(t, "bert", c, w.Code(t, bertAt, 3))
	if c.State != "proof" {
		t.Errorf("confirmed: %+v", c)
	}
}

func TestFactor_ALoginThatIsRemovedTakesItsChangesAlong(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": phoneA})
	code := w.Code(t, bertAt, 1)
	w.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w/logins/bert"})
	w.refused(t, 404, "unknown_login", confirmation("bert", c, code))
	w.refused(t, 404, "unknown_login", request{method: "GET", path: changes("bert")})
	w.must(t, 201, put("/logins/bert", fields{"role": "member", "email": bertAt}))
	w.refused(t, 404, "unknown_change", confirmation("bert", c, code)) // Whoever is put again starts from zero.
	if got := w.listed(t); len(got) != 0 {
		t.Errorf("the new login has %+v", got)
	}
}

func TestFactor_AChangeBelongsToItsLogin(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": phoneA})
	code := w.Code(t, bertAt, 1)
	elsewhere := w.frontEnd(t, frontend.FrontEnd{ID: "elsewhere", Scopes: []frontend.Scope{frontend.Directory}, Workspaces: []string{"v"}})
	page := w.frontEnd(t, frontend.FrontEnd{ID: "page", Scopes: []frontend.Scope{frontend.Challenges}, AllWorkspaces: true})
	for _, r := range []request{
		confirmation("anna", c, code),
		{method: "DELETE", path: changes("anna") + "/" + c.ID},
		{method: "POST", path: changes("anna") + "/" + c.ID + "/deliveries", body: fields{}},
		confirmation("bert", change{ID: "AAECAwQFBgcICQoLDA0ODw"}, code), confirmation("bert", change{ID: "x"}, code),
		confirmation("bert", change{ID: "%00"}, code),
	} {
		w.refused(t, 404, "unknown_change", r)
		for _, r.key = range []string{elsewhere, page} {
			w.refused(t, 404, "unknown_workspace", r)
		}
	}
	for _, r := range []request{{method: "GET", path: changes("bert")}, {method: "POST", path: changes("bert"), body: fields{"kind": "email"}}} {
		for _, r.key = range []string{elsewhere, page} {
			w.refused(t, 404, "unknown_workspace", r)
		}
	}
	w.refused(t, 404, "unknown_login", request{method: "POST", path: changes("nobody"), body: fields{"kind": "email"}})
	w.confirm(t, "bert", c, code) // for control
}

// What the login is changed to by others ends a change on its way, whichever half it is in.
func TestFactor_AnotherChangeOfTheLoginEndsIt(t *testing.T) {
	t.Parallel()
	w := startWorld(t)
	c := w.begin(t, "bert", fields{"kind": "sms", "phone": phoneA})
	c = w.confirm(t, "bert", c, w.Code(t, bertAt, 1))
	code := w.Code(t, phoneA, 1)
	w.must(t, 200, put("/logins/bert", fields{"role": "administrator", "email": bertAt}))
	w.refused(t, 409, "change_over", confirmation("bert", c, code))
	w.refused(t, 409, "change_over", request{method: "POST", path: changes("bert") + "/" + c.ID + "/deliveries", body: fields{}})
	if w.reach(t, "bert") != "email " || len(w.Box.Messages(phoneA)) != 1 {
		t.Errorf("codes go by %s", w.reach(t, "bert"))
	}
}

// A put of the host application leaves the reach of a login that is there as it is.
func TestPutLogin_SetsPhoneAndChannelOnlyWhenItIsMade(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *app.Config) { texting(200)(c) })
	h.settle(t)
	h.phoned(t, "kim", phoneA, "kim@example.com")
	var l struct{ Phone, Channel, Email, Role string }
	version := h.version(t, "kim")
	h.must(t, 200, put("/logins/kim", fields{"role": "member", "email": "kim@example.com", "phone": phoneB, "channel": "email"})).into(t, &l)
	if l.Phone != phoneA || l.Channel != "sms" || h.version(t, "kim") != version {
		t.Errorf("a put of another reach: %+v", l)
	}
	h.must(t, 200, put("/logins/kim", fields{"role": "administrator", "email": "k@example.com"})).into(t, &l)
	if l.Phone != phoneA || l.Channel != "sms" || l.Email != "k@example.com" || l.Role != "administrator" || h.version(t, "kim") != version+1 {
		t.Errorf("a put of another address: %+v", l)
	}
}
