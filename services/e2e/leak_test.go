package e2e

import (
	"encoding/base64"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/client"
)

// P4 over everything that doorcode says, sends and keeps. People sign in by e-mail and SMS, mistype, resend, cancel and
// come too late, over HTTP, NATS and the demo's pages; providers refuse, cut, throttle, bounce and quote what they were
// sent; front-ends and strangers put codes and addresses where none belong. Then every log, metric, trace, stream, dump,
// WAL record and data file is searched for every code and every address.
//
// What has to hold: no code is anywhere, whoever put it wherever. Addresses and numbers are in the tables workspaces and
// logins (their rows in the WAL and in files, their statistics) and nowhere else. Left out are the sandbox's messages,
// for it stands for the recipient's mailbox, and what is named after its content by whoever names it: ids of workspaces
// and logins, trace ids, subjects. A trace id or the id of a workspace that is made of a code would be seen.
// It shows SEC-27, SEC-32 and SEC-33 of deploy/SECURITY.md.
func TestP4_NoCodeAndNoAddressLeaksAnywhere(t *testing.T) {
	t.Parallel()
	w := newLoud(t)
	for range 3000 {
		w.search.hide(controlCode, drawCode(t))
	}
	w.peopleSignIn(t)
	w.frontEndsOnTheBus(t)
	w.peopleUseTheDemo(t)
	w.codesInOddPlaces(t)
	w.webhooksInOddForms(t)
	w.providersMisbehave(t)
	challenges := w.issued(t)
	w.settled(t, challenges)
	planted := w.plant(t)
	operated := w.operated(t)
	documents := append(w.halt(t), operated)
	documents = append(documents, w.archive.documents(t)...)
	w.plantInLog(t, documents, planted)
	for _, d := range documents {
		w.search.read(d)
	}
	w.report(t, documents, challenges)
	w.judge(t, planted)
}

// peopleSignIn is the plain life of codes, each line for two people: what leaks by a mistake leaks twice.
func (w *loud) peopleSignIn(t *testing.T) {
	t.Helper()
	for range 2 {
		for _, p := range []somebody{w.person(t, ""), w.caller(t, "48")} {
			ch, right := w.asks(t, p, 1)
			w.refused(t, ch, w.mistype(t), "wrong_code")
			w.approved(t, ch, right[:3]+" "+right[3:])
			w.refused(t, ch, right, "used")

			ch, right = w.asks(t, p, 2)
			w.pass(t, ch, "resend_at")
			err := w.front.Resend(t.Context(), ch.Handle)
			if err != nil {
				t.Fatal(err)
			}
			to := p.address
			if p.phone != "" {
				to = p.phone
			}
			if w.read(t, to, 3) != right {
				t.Error("another code")
			}
			for range 5 {
				w.refused(t, ch, w.mistype(t), "wrong_code")
			}
			w.refused(t, ch, right, "closed")
		}
		p := w.person(t, "")
		ch, right := w.asks(t, p, 1)
		err := w.front.Cancel(t.Context(), ch.Handle)
		if err != nil {
			t.Fatal(err)
		}
		w.refused(t, ch, right, "closed")
		ch, right = w.asks(t, p, 2)
		w.pass(t, ch, "expires_at")
		w.refused(t, ch, right, "expired")
		ch, right = w.asks(t, p, 3)
		w.move(t, p.workspace, w.stem()+"@acme.example") // ends the challenge
		w.refused(t, ch, right, "closed")
	}
}

// approved and refused have a code judged.
func (w *loud) approved(t *testing.T, ch client.Challenge, code string) {
	t.Helper()
	_, err := w.front.Check(t.Context(), ch.Handle, code)
	if err != nil {
		t.Fatal(err)
	}
}

func (w *loud) refused(t *testing.T, ch client.Challenge, code, want string) {
	t.Helper()
	_, err := w.front.Check(t.Context(), ch.Handle, code)
	if e := refusal(t, err); e.Code != want {
		t.Fatalf("%s, not %s", e.Code, want)
	}
}

// frontEndsOnTheBus is the same over NATS, where a typed code is in a request in clear (P4 says so): it may not get any
// further.
func (w *loud) frontEndsOnTheBus(t *testing.T) {
	t.Helper()
	front, conn := w.overNATS(t)
	for range 2 {
		p := w.person(t, "")
		ch, err := front.Create(t.Context(), client.Request{Workspace: p.workspace, Login: "kim", Key: p.stem})
		if err != nil {
			t.Fatal(err)
		}
		right := w.read(t, p.address, 1)
		_, err = front.Check(t.Context(), ch.Handle, w.mistype(t))
		if e := refusal(t, err); e.Code != "wrong_code" {
			t.Fatal(e)
		}
		key := map[string]string{"Authorization": "Bearer " + w.key}
		askBus(t, conn, "check", `{"handle": "`+right+`", "code": "`+right+`"}`, key)
		askBus(t, conn, "check", `{"handle": "`+ch.Handle+`", "code": "`+right+`", "`+right+`": "`+p.address+`"}`, key)
		askBus(t, conn, "check", right, key)
		askBus(t, conn, "create", `{"workspace": "`+p.address+`", "login": "`+right+`"}`, key)
		askBus(t, conn, "read", `{"handle": "`+ch.Handle+`"}`, map[string]string{
			"Authorization": "Bearer " + right, "Code": right, "Idempotency-Key": p.address, "Traceparent": right, "Tracestate": "code=" + right,
		})
		_, err = front.Check(t.Context(), ch.Handle, right)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// peopleUseTheDemo types codes and addresses into a front-end's forms.
func (w *loud) peopleUseTheDemo(t *testing.T) {
	t.Helper()
	const jo = "jo@lanternbird.example"
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, base: "http://" + w.demo, http: &http.Client{Jar: jar, Timeout: patience}}
	defer b.http.CloseIdleConnections()
	w.search.hide(mailAddress, "jo@lanternbird")
	b.post("/sign-in", url.Values{"email": {w.stem() + "@acme.example"}, "password": {"lantern"}})
	b.signIn()
	right := w.read(t, jo, 1)
	b.post("/code", url.Values{"code": {w.mistype(t)}})
	b.post("/code", url.Values{"code": {w.stem() + "@acme.example"}})
	b.open("/code?code=" + right)
	b.post("/code", url.Values{"code": {right}})
}

// codesInOddPlaces is what mistaken and malicious front-ends send: a good code, an address, where neither belongs.
func (w *loud) codesInOddPlaces(t *testing.T) {
	t.Helper()
	for range 2 {
		p := w.person(t, "")
		ch, c := w.asks(t, p, 1)
		a := p.address
		handle := "/v1/challenges/" + ch.Handle
		good := `{"workspace": "` + p.workspace + `", "login": "kim"`
		for _, one := range []struct{ method, path, body string }{
			{"POST", "/v1/challenges", `{"workspace": "` + a + `", "login": "kim"}`},
			{"POST", "/v1/challenges", `{"workspace": "` + p.workspace + `", "login": "` + c + `"}`},
			{"POST", "/v1/challenges", `{"workspace": "` + p.workspace + `", "login": "` + a + `"}`},
			{"POST", "/v1/challenges", good + `, "locale": "` + c + `"}`},
			{"POST", "/v1/challenges", good + `, "return_url": "https://acme.example/?code=` + c + `&mail=` + a + `"}`},
			{"POST", "/v1/challenges", good + `, "return_url": "` + a + `"}`},
			{"POST", "/v1/challenges", good + `, "client": {"address": "` + c + `"}}`},
			{"POST", "/v1/challenges", good + `, "client": {"browser_id": "` + c + a + `", "user_agent": "Mozilla ` + c + " " + a + `"}}`},
			{"POST", "/v1/challenges", good + `, "code": "` + c + `"}`},
			{"POST", "/v1/challenges", good + `, "` + a + `": 1}`},
			{"POST", "/v1/challenges", good + `, "` + c + `": 1, "` + c + `": 2}`},
			{"POST", "/v1/challenges", c},
			{"POST", "/v1/challenges/" + c, `{"code": "` + c + `"}`},
			{"POST", "/v1/challenges/" + c + "/checks", `{"code": "` + c + `"}`},
			{"POST", handle + "/checks/" + c, ""},
			{"GET", handle + "/checks?code=" + c, ""},
			{"GET", handle + "?code=" + c + "&mail=" + url.QueryEscape(a), ""},
			{"POST", handle + "/checks", `{"code": "` + a + `"}`},
			{"POST", handle + "/checks", `{"code": ` + strings.TrimLeft(c, "0") + `}`},
			{"POST", handle + "/checks", `{"code": "` + c + `x"}`},
			{"POST", handle + "/checks", `{"code": "` + c + `", "check_id": ["` + c + `"]}`},
			{"POST", handle + "/checks", `{"code": "` + c + `", "remember": "` + a + `"}`},
			{"POST", handle + "/checks", "code=" + c},
			{"POST", handle + "/deliveries", `{"channel": "` + c + `"}`},
			{"POST", handle + "/deliveries", `{"channel": "email", "to": "` + a + `"}`},
			{"DELETE", "/v1/challenges/" + a, ""},
			{"PUT", "/v1/workspaces/" + a, `{"name": "Acme", "main_email": "` + a + `"}`},
			{"PUT", "/v1/workspaces/" + p.workspace, `{"name": "Team of ` + a + `", "main_email": "` + a + `", "owner": "kim"}`},
			{"PUT", "/v1/workspaces/" + p.workspace + "/logins/jo", `{"role": "` + c + `", "email": "` + a + `"}`},
			{"PUT", "/v1/workspaces/" + p.workspace + "/logins/jo", `{"role": "member", "locale": "` + a + `"}`},
			{"PUT", "/v1/workspaces/" + p.workspace + "/logins/jo", `{"role": "member", "phone": "` + a + `"}`},
			{"PUT", "/v1/workspaces/" + p.workspace + "/logins/jo", `{"role": "member", "email": "` + c + `"}`},
			{"GET", "/v1/workspaces/" + p.workspace + "/logins/" + a, ""},
			{"DELETE", "/v1/workspaces/" + a + "/logins/" + a + "/lock", ""},
			{"CODE" + c, "/", ""},
			{"GET", "/" + c + "/" + a, ""},
		} {
			status, answer := w.say(t, one.method, "http://"+w.auth+one.path, one.body, map[string]string{
				"Authorization": "Bearer " + w.key, "Content-Type": "application/json", "Idempotency-Key": c + a, "X-Code": c, "User-Agent": c + " " + a,
				"Referer": "https://acme.example/?code=" + c, "Traceparent": c, "Tracestate": "code=" + c, "Baggage": "code=" + c, "Cookie": "code=" + c, "If-Match": `"` + c + `"`,
			})
			if status >= 500 {
				t.Errorf("%s %s is answered %d %s", one.method, one.path, status, answer)
			}
		}
		for _, authorization := range []string{"Bearer " + c, "Basic " + base64.StdEncoding.EncodeToString([]byte(a+":"+c)), a} {
			w.say(t, "GET", "http://"+w.auth+handle, "", map[string]string{"Authorization": authorization})
		}
		ops := w.named("auth")[0].ops
		for _, listener := range []string{w.auth, ops, w.receipts, w.demo, w.sandbox} {
			sayBytes(t, listener, "GET /"+c+" HTTP/1.1\r\nHost: "+a+"\x00\r\n\r\n")
			sayBytes(t, listener, c+" "+a+"\r\n\r\n")
			w.say(t, "GET", "http://"+listener+"/"+c+"?mail="+a, "", nil)
		}
		// A check id and an idempotency key are names, but nobody has to know what is a good one.
		id := w.say1(t, "POST", handle+"/checks", `{"code": "`+w.mistype(t)+`", "check_id": "`+c+`"}`)
		if id != http.StatusUnprocessableEntity {
			t.Errorf("a check whose id is the code is answered %d", id)
		}
	}
}

// say1 asks the API with the front-end's key and returns the status.
func (w *loud) say1(t *testing.T, method, path, body string) int {
	t.Helper()
	status, _ := w.say(t, method, "http://"+w.auth+path, body, map[string]string{"Authorization": "Bearer " + w.key, "Content-Type": "application/json"})
	return status
}

// webhooksInOddForms is what a provider, or who says so, may write into a report.
func (w *loud) webhooksInOddForms(t *testing.T) {
	t.Helper()
	for range 2 {
		p := w.person(t, "")
		_, c := w.asks(t, p, 1)
		a := p.address
		at := time.Now().Unix()
		var reference string
		eventually(t, "the challenge is recorded", func() bool {
			w.db.Scan(t, `SELECT coalesce(max(id), '') FROM challenges WHERE workspace = $1`, []any{p.workspace}, &reference)
			return reference != ""
		})
		reference += ".1.AAECAwQFBgc"
		bounce := func(further map[string]any) map[string]any {
			e := map[string]any{
				"email": a, "event": "bounce", "timestamp": at, "sg_event_id": "e" + reference, "sg_message_id": "m", "dlv": reference,
				"type": "bounce", "status": "5.1.1", "smtp-id": "<" + a + ">",
				"reason": "550 5.1.1 <" + a + ">: no mailbox; the message was " + c + " for " + strings.ToUpper(a),
			}
			at++
			for name, value := range further {
				e[name] = value
			}
			return e
		}
		w.webhook(t,
			bounce(nil), bounce(map[string]any{"sg_message_id": a, "sg_event_id": a}),
			bounce(map[string]any{"dlv": c}), bounce(map[string]any{"dlv": nil, "sg_message_id": nil}),
			bounce(map[string]any{"type": c, "status": a, "bounce_classification": a}),
			bounce(map[string]any{"event": "deferred", "attempt": a, "response": "451 " + a, "reason": nil}),
			bounce(map[string]any{"event": a}), bounce(map[string]any{"timestamp": a}),
		)
		for _, address := range []string{
			"/webhooks/vonage?to=12025550148&text=" + c + "&client-ref=" + a + "&api-key=abcd1234&sig=" + c, "/webhooks/" + c, "/webhooks/sendgrid?mail=" + a,
		} {
			for _, method := range []string{"GET", "POST"} {
				w.say(t, method, "http://"+w.receipts+address, `[{"email": "`+a+`", "code": "`+c+`"}]`, map[string]string{
					"X-Twilio-Email-Event-Webhook-Signature": c, "X-Twilio-Email-Event-Webhook-Timestamp": a,
				})
			}
		}
	}
}

// providersMisbehave sends to the recipients that make trouble. What opens a breaker comes last, and what follows it is
// held back.
func (w *loud) providersMisbehave(t *testing.T) {
	t.Helper()
	for _, suffix := range []string{"+bounce", "+blocked", "+drop-bounce", "+defer-then-deliver", "+async-bounce", "+spam", "+dup"} {
		for range 2 {
			w.asks(t, w.person(t, suffix), 1)
		}
	}
	for _, end := range []string{"70", "72", "76", "95"} {
		for range 2 {
			w.asks(t, w.caller(t, end), 1)
		}
	}
	var tried []string
	for _, suffix := range []string{
		"+cut", "+cut", "+quote400", "+quote400", "+quote500", "+quote500", "+quoteid", "+quoteid", "+429", "+429", "+500", "+500", "+quote302", "+quote302", "+credits",
	} {
		p := w.person(t, suffix)
		w.create(t, p.workspace)
		tried = append(tried, p.workspace)
	}
	for _, end := range []string{"01", "05", "06", "22", "42", "42", "43", "43", "44", "44", "90", "92", "09"} {
		p := w.caller(t, end)
		w.create(t, p.workspace)
		tried = append(tried, p.workspace)
	}
	for _, workspace := range tried {
		eventually(t, "an attempt or a postponement is on record", func() bool {
			var n int
			w.db.Scan(t, `SELECT count(*) FROM audit JOIN challenges c ON c.id = challenge_id WHERE c.workspace = $1 AND kind LIKE 'delivery.v1.%'`, []any{workspace}, &n)
			return n > 0
		})
	}
}

// settled waits until what was said is on record: every challenge, and the reports of bounces without a reference.
func (w *loud) settled(t *testing.T, challenges int) {
	t.Helper()
	eventually(t, "all is on record", func() bool {
		var issued, anonymous, details int
		w.db.Scan(t, `SELECT count(*) FILTER (WHERE kind = 'challenge.v1.issued'), count(*) FILTER (WHERE kind = 'receipt.v1.recorded' AND challenge_id IS NULL),
			count(*) FILTER (WHERE kind = 'receipt.v1.recorded' AND detail->>'detail' LIKE '%no mailbox%') FROM audit`, nil, &issued, &anonymous, &details)
		return issued == challenges && anonymous >= 4 && details >= 2
	})
}

// plants are leaks that the test makes, and where the search has to find each.
type plants map[string][]string

// plant leaks a code and an address of its own in each of the ways that have to be found.
func (w *loud) plant(t *testing.T) plants {
	t.Helper()
	audited, sent, passed := drawCode(t), drawCode(t), drawCode(t)
	for _, c := range []string{audited, sent, passed} {
		w.search.hide(issuedCode, c)
	}
	mail := w.stem()
	w.db.Exec(t, `INSERT INTO audit (id, at, kind, actor, detail) VALUES ('planted', now(), 'planted', 'test', jsonb_build_object('code', $1::text, 'to', $2::text))`, audited, strings.ToUpper(mail)+"@acme.example")
	// One transaction, so that the relay never sees the row: only the WAL and the file do.
	w.db.Exec(t, `BEGIN; INSERT INTO outbox (id, type, source, subject, at, data) VALUES ('planted', 'planted', 'test', 'test', now(), '{"code": "`+passed+`"}');
		DELETE FROM outbox WHERE id = 'planted'; COMMIT`)
	_, err := w.bus.Admin().Publish(t.Context(), bus.Message{Subject: "doorcode.receipt.email", ID: "planted", Data: []byte(base64.StdEncoding.EncodeToString([]byte("code " + sent)))})
	if err != nil {
		t.Fatal(err)
	}
	return plants{
		audited: {"WAL audit", "dump audit", "files audit"}, mail: {"WAL audit", "dump audit", "files audit"},
		passed: {"WAL outbox"}, sent: {"streams"},
	}
}

// plantInLog leaks a code in what a process printed.
func (w *loud) plantInLog(t *testing.T, documents []evidence, p plants) {
	t.Helper()
	c := drawCode(t)
	w.search.hide(issuedCode, c)
	p[c] = []string{"logs auth"}
	i := slices.IndexFunc(documents, func(d evidence) bool { return d.source == "logs" && d.name == "auth" })
	documents[i].data = append(documents[i].data, `{"msg":"checked","code":"`+c+`"}`...)
}

// report tells how much was searched.
func (w *loud) report(t *testing.T, documents []evidence, challenges int) {
	t.Helper()
	volume := map[string]int{}
	for _, d := range documents {
		volume[d.source] += len(d.data)
	}
	for source, size := range volume {
		if size == 0 {
			t.Errorf("there is nothing in %s", source)
		}
		t.Logf("%-10s %9d bytes, %7d windows of digits, %.2g hits of chance expected, %d allowed", source, size, w.search.windows[source], w.search.expected(source), w.search.allowed(source))
	}
	t.Logf("%d challenges; secrets: %v", challenges, w.search.secrets)
}

// judge fails the test for every secret out of place, and for every one that the search did not find where it has to be.
func (w *loud) judge(t *testing.T, planted plants) {
	t.Helper()
	for text, want := range planted {
		got := w.search.places(text)
		for _, place := range want {
			if !slices.ContainsFunc(got, func(have string) bool { return strings.HasPrefix(have, place) }) {
				t.Errorf("what was planted in %s is found in %v alone", place, got)
			}
		}
	}
	for _, f := range w.search.leaks() {
		if _, mine := planted[f.text]; !mine {
			t.Errorf("leak: %v: %s", f, around(f))
		}
	}
	// The search sees the inDirectory: every address that was put is in its table, its WAL and its files.
	for _, place := range []string{"dump workspaces", "WAL workspaces", "files workspaces", "dump logins", "WAL logins", "files logins"} {
		if !slices.ContainsFunc(w.search.found, func(f sighting) bool { return f.document.source+" "+f.document.name == place }) {
			t.Errorf("no address is found in %s, where they are", place)
		}
	}
}

// around quotes the text that a secret stands in, without what cannot be printed.
func around(f sighting) string {
	at := strings.Index(strings.ToLower(string(f.document.data)), strings.ToLower(f.text))
	if at < 0 {
		return "in another form"
	}
	data := f.document.data[max(0, at-100):min(len(f.document.data), at+100)]
	return regexp.MustCompile(`[^ -~]+`).ReplaceAllString(string(data), " ")
}
