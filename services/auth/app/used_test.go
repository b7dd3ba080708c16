package app_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/frontend"
	"doorcode/pkg/postgres/pgtest"
)

// chrome is a browser of somebody who shares a mailbox.
const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"

// sharing puts workspace w, whose main address is a group address, with the owner anna on it.
func (h *harness) sharing(t testing.TB) {
	t.Helper()
	h.must(t, 201, put("", fields{"name": "Lanternbird", "main_email": "office@example.com", "group_address": true}))
	h.must(t, 201, put("/logins/anna", fields{"role": "owner", "locale": "nl"}))
}

// typed asks for a challenge of a login of w and puts it on record as one that a right code has ended, as the verifier
// does. It returns the challenge and the event.
func (h *harness) typed(t testing.TB, login string) (event.Issued, event.Event) {
	t.Helper()
	h.must(t, 201, request{method: "POST", path: "/v1/challenges", body: fields{
		"workspace": "w", "login": login, "client": fields{"address": "203.0.113.9", "user_agent": chrome},
	}})
	all := h.issued(t)
	c := all[len(all)-1]
	h.record(t, []event.Issued{c})
	return c, h.approve(t, c)
}

// approve ends a recorded challenge by a right code.
func (h *harness) approve(t testing.TB, c event.Issued) event.Event {
	t.Helper()
	at := time.Now().UTC().Truncate(time.Microsecond)
	h.db.Exec(t, `UPDATE challenges SET state = 'approved', ended_at = $2, digest = NULL WHERE id = $1`, c.Challenge, at)
	return approved(t, c, at)
}

// approved is the event of a right code.
func approved(t testing.TB, c event.Issued, at time.Time) event.Event {
	t.Helper()
	e, err := event.New(event.ChallengeApproved, c.Challenge+".approved", "doorcode/verifier", at, c.Challenge, event.Outcome{
		Challenge: c.Challenge, Workspace: c.Workspace, Login: c.Login, FrontEnd: c.FrontEnd, SupportReference: c.SupportReference,
		Channel: c.Channel, At: at,
	})
	if err != nil {
		t.Fatal(err)
	}
	eventtest.ValidateData(t, e.Type, e.Data)
	return e
}

// heard waits until auth has answered to every outcome that it is handed.
func (h *harness) heard(t testing.TB) {
	t.Helper()
	h.answered(t, event.StreamOutcomes, "doorcode.outcome.approved")
}

// product.md R10.8: the mailbox is told which code was used, when and in which browser, once for each sign-in, however often
// the event comes and however many replicas hear of it.
func TestNotice_AUsedCodeIsToldToTheGroupAddressOnce(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.sharing(t)
	h.must(t, 201, put("/logins/bert", fields{"role": "member", "email": "Office@Example.com", "locale": "en"}))
	second := h.replica(t)
	want := map[string]string{}
	for _, login := range []string{"anna", "bert", "anna"} {
		c, e := h.typed(t, login)
		want[c.Label] = map[string]string{"anna": "nl ", "bert": "en "}[login] + c.SupportReference
		for i := range 3 {
			h.say(t, fmt.Sprint(c.Challenge, i), e)
		}
	}
	h.heard(t)
	got := map[string]string{}
	for _, n := range h.notices(t) {
		o, c := n.Order, n.Content
		got[c.Label] = c.Locale + " " + c.Reference
		if o.Kind != event.NoticeCodeUsed || o.Channel != "email" || o.SupportReference != c.Reference || !o.NotAfter.Equal(n.Time.Add(time.Hour)) {
			t.Errorf("a notice %s by %s with the reference %s until %s", o.Kind, o.Channel, o.SupportReference, o.NotAfter)
		}
		if c.Recipient != "office@example.com" || c.Browser != "Chrome" || c.System != "Windows" || c.Workspace != "Lanternbird" || !c.CreatedAt.Equal(n.Time) {
			t.Errorf("it is told of %s on %s at %s", c.Browser, c.System, c.CreatedAt)
		}
		if c.Code != "" || c.Link != "" || c.Owner || c.UserAgent != "" {
			t.Error("a notice holds a code, a link or what a browser says of itself")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(h.notices(t)) != 3 {
		t.Errorf("%d notices (-want +got):\n%s", len(h.notices(t)), diff)
	}
	if n := h.count(t, `SELECT sum(cardinality(times)) FROM limits WHERE dimension = 'recipient'`); n != 3 {
		t.Errorf("%d messages are charged for 3 codes", n)
	}
	if strings.Contains(h.logs.String()+second.logs.String(), "office@example.com") {
		t.Error("the address is in a log")
	}
}

// The verifier judges, the relay tells, auth orders and the dispatcher sends: a colleague finds in the mailbox which of two
// codes was used, and the answer to who typed it does not wait for that.
func TestNotice_ColleaguesReadWhichOfTwoCodesWasUsed(t *testing.T) {
	t.Parallel()
	town := settled(t)
	town.must(t, 200, town.asRead(t, fields{"name": "Acme", "main_email": "office@example.com", "group_address": true, "owner": "anna"}))
	ask := func(n int) (c created, code string) {
		town.must(t, 201, request{method: "POST", path: "/v1/challenges", body: fields{
			"workspace": "w", "login": "anna", "client": fields{"address": "203.0.113.9", "user_agent": chrome},
		}}).into(t, &c)
		return c, town.Code(t, "office@example.com", n)
	}
	mine, code := ask(1)
	hers, _ := ask(2)
	town.must(t, 200, request{method: "POST", path: "/v1/challenges/" + mine.Handle + "/checks", body: fields{"code": code}})
	told := town.Messages(t, "office@example.com", 3)[2]
	if !strings.HasPrefix(told.Subject, mine.Label+" – ") || !strings.Contains(told.Text, "Code "+mine.Label+" was used on ") || !strings.Contains(told.Text, "in Chrome on Windows, to sign in to Acme.") {
		t.Errorf("the mailbox reads\n%s\n%s", told.Subject, told.Text)
	}
	if strings.Contains(told.Subject+told.Text+told.HTML, code) || strings.Contains(told.Text, hers.Label) || strings.Contains(told.Text+told.HTML, "http") {
		t.Errorf("it holds a code, another label or a link:\n%s", told.Text)
	}
}

// Most sign-ins are told to nobody, and leave no line in the log.
func TestNotice_AUsedCodeOfNoGroupIsToldToNobody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, login string
		prepare     func(t *testing.T, h *harness)
		change      string // between code and event
	}{
		{"a main address of one person", "anna", func(t *testing.T, h *harness) {
			t.Helper()
			h.must(t, 200, h.asRead(t, fields{"name": "Lanternbird", "main_email": "office@example.com", "group_address": false, "owner": "anna"}))
		}, ""},
		{"an address of one's own", "carl", func(t *testing.T, h *harness) {
			t.Helper()
			h.must(t, 201, put("/logins/carl", fields{"role": "member", "email": "carl@example.com"}))
		}, ""},
		{"a phone", "carl", func(t *testing.T, h *harness) {
			t.Helper()
			h.must(t, 201, put("/logins/carl", fields{"role": "member", "email": "office@example.com", "phone": "+12025550148", "channel": "sms"}))
		}, ""},
		{"an approval", "anna", nil, `UPDATE challenges SET purpose = 'approval'`},
		{"a proof", "anna", nil, `UPDATE challenges SET purpose = 'proof'`},
		{"a record of before", "anna", nil, `UPDATE challenges SET address = NULL`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, texting(100))
			h.sharing(t)
			if c.prepare != nil {
				c.prepare(t, h)
			}
			_, e := h.typed(t, c.login)
			if c.change != "" {
				h.db.Exec(t, c.change)
			}
			h.say(t, "1", e)
			h.heard(t)
			if n := len(h.notices(t)); n != 0 || h.metric(t, "doorcode_notices_total", "no_group") == 0 || strings.Contains(h.logs.String(), `"nobody is told"`) {
				t.Errorf("%d notices, or it is not passed over without a word:\n%s", n, h.logs.String())
			}
		})
	}
}

// Whoever has left the group's mailbox behind is told nothing, nothing is told on the word of an event that no row bears out
// (SEC-09), and yesterday's sign-ins are no news.
func TestNotice_AUsedCodeThatDoesNotHoldIsToldToNobody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, result string
		change       func(t *testing.T, h *harness, c event.Issued, e *event.Event)
	}{
		{"another main address since", "no_group", func(t *testing.T, h *harness, _ event.Issued, _ *event.Event) {
			t.Helper()
			h.must(t, 200, h.asRead(t, fields{"name": "Lanternbird", "main_email": "new@example.com", "group_address": true, "owner": "anna"}))
		}},
		{"a main address edited in the database", "broken", func(t *testing.T, h *harness, _ event.Issued, _ *event.Event) {
			t.Helper()
			h.db.Exec(t, `UPDATE workspaces SET main_email = 'thief@evil.example'`)
		}},
		{"a mark taken away in the database", "broken", func(t *testing.T, h *harness, _ event.Issued, _ *event.Event) {
			t.Helper()
			h.db.Exec(t, `UPDATE workspaces SET group_address = false`)
		}},
		{"a code that nobody typed", "removed", func(t *testing.T, h *harness, c event.Issued, _ *event.Event) {
			t.Helper()
			h.db.Exec(t, `UPDATE challenges SET state = 'canceled' WHERE id = $1`, c.Challenge)
		}},
		{"a challenge of nobody", "removed", func(t *testing.T, h *harness, _ event.Issued, _ *event.Event) {
			t.Helper()
			h.db.Exec(t, `DELETE FROM challenges`)
		}},
		{"a workspace that is gone", "removed", func(t *testing.T, h *harness, _ event.Issued, _ *event.Event) {
			t.Helper()
			h.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w"})
		}},
		{"another moment", "ended", func(t *testing.T, _ *harness, c event.Issued, e *event.Event) {
			t.Helper()
			*e = approved(t, c, e.Time.Add(-time.Microsecond))
		}},
		{"another login", "ended", func(t *testing.T, _ *harness, c event.Issued, e *event.Event) {
			t.Helper()
			c.Login = "bert"
			*e = approved(t, c, e.Time)
		}},
		{"another id", "ended", func(_ *testing.T, _ *harness, _ event.Issued, e *event.Event) { e.ID += ".again" }},
		{"an hour ago", "too_late", func(t *testing.T, h *harness, c event.Issued, e *event.Event) {
			t.Helper()
			h.db.Exec(t, `UPDATE challenges SET ended_at = ended_at - interval '1 hour'`)
			*e = approved(t, c, e.Time.Add(-time.Hour))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, nil)
			h.sharing(t)
			issued, e := h.typed(t, "anna")
			c.change(t, h, issued, &e)
			h.say(t, "1", e)
			h.heard(t)
			if n := len(h.notices(t)); n != 0 || h.metric(t, "doorcode_notices_total", c.result) == 0 || len(h.bus.Messages(t, bus.DeadLetter)) != 0 {
				t.Errorf("%d notices, it is not passed over as %s:\n%s", n, c.result, h.logs.String())
			}
			if c.result == "broken" && h.metric(t, "doorcode_directory_mac_failures_total", "workspaces") == 0 {
				t.Error("there is no alarm")
			}
		})
	}
}

// Who is gone has signed in all the same, and a browser that the tables do not know is left out.
func TestNotice_AUsedCodeIsToldWhoeverAndWhateverItWas(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, h *harness){
		"a login that is gone": func(t *testing.T, h *harness) {
			t.Helper()
			h.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w/logins/anna"})
			// Without its owner, the workspace's address is the same.
		},
		"a login edited in the database": func(t *testing.T, h *harness) {
			t.Helper()
			h.db.Exec(t, `UPDATE logins SET email = 'thief@evil.example'`)
		},
		"an unknown browser": func(t *testing.T, h *harness) { t.Helper(); h.db.Exec(t, `UPDATE challenges SET agent = NULL`) },
		"a browser edited in database": func(t *testing.T, h *harness) {
			t.Helper()
			h.db.Exec(t, `UPDATE challenges SET agent = 'evil.example on Windows'`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, nil)
			h.sharing(t)
			c, e := h.typed(t, "anna")
			change(t, h)
			h.say(t, "1", e)
			h.heard(t)
			all := h.notices(t)
			if len(all) != 1 || all[0].Content.Recipient != "office@example.com" || all[0].Content.Label != c.Label {
				t.Fatalf("%d notices", len(all))
			}
			if known := all[0].Content.Browser + all[0].Content.System; strings.Contains(name, "browser") && known != "" {
				t.Errorf("the browser is %q", known)
			}
		})
	}
}

// An auth whose address keys were changed while a code was on its way knows the address by the former key.
func TestNotice_AUsedCodeIsToldAcrossANewAddressKey(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.sharing(t)
	_, e := h.typed(t, "anna")
	ring, err := h.ring(t, "ADDRESS").Rotate()
	if err != nil {
		t.Fatal(err)
	}
	data, err := ring.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	err = h.app.Stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "ADDRESS", data)
	next := h.replica(t)
	next.say(t, "1", e)
	next.heard(t)
	if n := len(next.notices(t)); n != 1 {
		t.Errorf("%d notices under a new key:\n%s", n, next.logs.String())
	}
}

// What is said of a right code and cannot be understood is a dead letter, and keeps nothing else from being told.
func TestNotice_ARightCodeThatIsNotUnderstoodBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.sharing(t)
	c, e := h.typed(t, "anna")
	foreign, early, nothing := e, approved(t, c, time.Now().Add(time.Hour)), e
	foreign.Subject = "another"
	nothing.Data = json.RawMessage(`{}`)
	for i, bad := range []event.Event{foreign, early, nothing} {
		h.say(t, fmt.Sprint(i), bad)
	}
	h.say(t, "good", e)
	h.heard(t)
	if n := len(h.notices(t)); n != 1 || len(h.bus.Messages(t, bus.DeadLetter)) != 3 {
		t.Errorf("%d notices, %d dead letters", n, len(h.bus.Messages(t, bus.DeadLetter)))
	}
}

// An installation whose streams are not applied yet tells of locks as before.
func TestP7_AMissingConsumerOfCodesHoldsUpNoOtherNotice(t *testing.T) {
	t.Parallel()
	h := &harness{db: pgtest.Open(t), bus: bustest.Start(t), logs: &lines{}, dir: t.TempDir(), spec: document(t)}
	h.cfg = h.config(t)
	h.bus.Forget(t, event.StreamOutcomes, bus.Notices)
	h.run(t)
	h.key = h.frontEnd(t, frontend.FrontEnd{ID: "front", Scopes: []frontend.Scope{frontend.Challenges, frontend.Directory}, AllWorkspaces: true})
	h.sharing(t)
	_, e := h.typed(t, "anna")
	h.say(t, "1", e)
	h.say(t, "2", h.locked(t, "anna", "3"))
	h.handled(t)
	if n := len(h.notices(t)); n != 1 {
		t.Errorf("%d notices of a lock", n)
	}
	bustest.Wait(t, "the notices wait", func() bool { return h.metric(t, "doorcode_notices_back_offs_total", "consumer") > 0 })
	h.bus.Apply(t)
	bustest.Wait(t, "the used code is told", func() bool { return len(h.notices(t)) == 2 })
}
