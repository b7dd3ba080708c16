package app_test

import (
	"context"
	"slices"
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
	"doorcode/pkg/seal"
)

// everywhere puts workspace w with the owner anna, who has an address and a phone of her own.
func (h *harness) everywhere(t testing.TB) {
	t.Helper()
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w", body: fields{"name": "Lanternbird", "main_email": "office@example.com"}})
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/anna", body: fields{
		"role": "owner", "email": "anna@example.com", "phone": "+12025550148", "channel": "sms", "locale": "nl-BE",
	}})
}

// lock is the event that a login of w was locked. The number names the lock.
func lock(t testing.TB, login, number string, at time.Time) event.Event {
	t.Helper()
	e, err := event.New(event.LoginLocked, "AAECAwQFBgcICQoLDA0ODw.locked."+number, "doorcode/verifier", at, "w", event.Directory{
		Workspace: "w", Login: login, Version: 1, By: "doorcode/verifier", At: at,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// locked puts a login of w under a lock from now on, as a check does, and returns its event.
func (h *harness) locked(t testing.TB, login, number string) event.Event {
	t.Helper()
	at := time.Now().UTC().Truncate(time.Microsecond)
	h.db.Exec(t, `UPDATE login_budgets SET locked_at = $2 WHERE workspace = 'w' AND login = $1`, login, at)
	return lock(t, login, number, at)
}

// say publishes a change of the directory as the verifier does, under an id of the test's.
func (h *harness) say(t testing.TB, id string, e event.Event) {
	t.Helper()
	subject, err := event.SubjectOf(e.Type, "")
	if err != nil {
		t.Fatal(err)
	}
	h.publishAsVerifier(t, bus.Message{Subject: subject, ID: id, Header: e.Header(), Data: e.Data})
}

func (h *harness) publishAsVerifier(t testing.TB, m bus.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limitOfTest)
	defer cancel()
	_, err := h.bus.Connect(t, "verifier").Publish(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
}

// told is one ordered notice with what its dispatcher reads.
type told struct {
	Order   event.Notice
	Content seal.Content
	ID      string
	Time    time.Time
}

// notices reads all notices on the bus, holds each against its schema and opens it.
func (h *harness) notices(t testing.TB) []told {
	t.Helper()
	var all []told
	for _, m := range h.bus.Messages(t, event.StreamChallenges) {
		e, err := event.Parse(m.Subject, m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if e.Type != event.NoticeRequested {
			continue
		}
		eventtest.Validate(t, m.Subject, e)
		n := told{ID: m.ID, Time: e.Time}
		err = e.Decode(&n.Order)
		if err != nil {
			t.Fatal(err)
		}
		n.Content, err = seal.Open(h.ring(t, strings.ToUpper(n.Order.Channel)+"_CHANNEL"), seal.Context{
			Challenge: n.Order.Notice, Channel: n.Order.Channel, NotAfter: n.Order.NotAfter, Notice: n.Order.Kind,
		}, n.Order.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		if m.ID != n.Order.Notice || e.ID != m.ID || e.Subject != m.ID || e.Source != "doorcode/auth" {
			t.Errorf("a notice is named %s and %s", m.ID, e.ID)
		}
		all = append(all, n)
	}
	return all
}

// recipients lists whom notices go to, in order.
func recipients(all []told) []string {
	var to []string
	for _, n := range all {
		to = append(to, n.Content.Recipient)
	}
	slices.Sort(to)
	return to
}

// handled waits until auth has answered to every lock and removal among the events of the directory.
func (h *harness) handled(t testing.TB) {
	t.Helper()
	h.answered(t, event.StreamDirectory, "doorcode.directory.login_locked", "doorcode.directory.login_removed")
}

// answered waits until the consumer of notices of a stream has answered to every message on these subjects.
func (h *harness) answered(t testing.TB, stream string, subjects ...string) {
	t.Helper()
	var last uint64
	for _, m := range h.bus.Messages(t, stream) {
		if slices.Contains(subjects, m.Subject) {
			last = m.Sequence
		}
	}
	bustest.Wait(t, "all that may be told is handled", func() bool {
		consumer, err := h.bus.Admin().Backlog(t.Context(), stream, bus.Notices)
		if err != nil {
			t.Fatal(err)
		}
		return consumer.Settled >= last
	})
}

func TestSEC17_ALockIsToldToEveryProvenAddress(t *testing.T) {
	t.Parallel()
	h := start(t, texting(100))
	h.everywhere(t)
	e := h.locked(t, "anna", "3")
	at := e.Time
	h.say(t, "1", e)
	h.handled(t)
	all := h.notices(t)
	if diff := cmp.Diff([]string{"+12025550148", "anna@example.com", "office@example.com"}, recipients(all)); diff != "" {
		t.Fatalf("recipients (-want +got):\n%s", diff)
	}
	for _, n := range all {
		o, c := n.Order, n.Content
		if o.Kind != event.NoticeLoginLocked || o.Cause != "AAECAwQFBgcICQoLDA0ODw.locked.3" || o.Workspace != "w" || o.Login != "anna" {
			t.Errorf("notice %+v", o)
		}
		if c.Code != "" || c.Label != "" || !c.CreatedAt.Equal(at) || c.Locale != "nl-BE" || c.Workspace != "Lanternbird" {
			t.Errorf("content without its recipient: locale %s, at %s, code of %d digits", c.Locale, c.CreatedAt, len(c.Code))
		}
		if !n.Time.Equal(at) || !o.NotAfter.Equal(at.Add(24*time.Hour)) || c.Reference != o.SupportReference || o.SupportReference != all[0].Order.SupportReference {
			t.Errorf("notice of %s until %s with the reference %s", n.Time, o.NotAfter, o.SupportReference)
		}
		if c.Owner != (c.Recipient == "office@example.com") {
			t.Errorf("to the %s of %s the login is the owner's: %t", o.Channel, c.Workspace, c.Owner)
		}
		if strings.Contains(h.logs.String(), c.Recipient) || strings.Contains(o.Destination, c.Recipient) || !strings.Contains(o.Destination, "•••") {
			t.Errorf("a recipient is in the log, or shown as %s", o.Destination)
		}
	}
	if got := h.metric(t, "doorcode_notices_total", "requested") + h.metric(t, "doorcode_notices_total", "repeated"); got < 3 {
		t.Errorf("%v notices are counted", got)
	}
	// Notices count against nobody's codes.
	if n := h.count(t, `SELECT count(*) FROM limits`); n != 0 {
		t.Errorf("%d rows of limits", n)
	}
}

// The relay publishes an event again when it died before it deleted the row, and the stream forgets its id after an
// hour; a second lock is another event.
func TestP5_ALockIsToldOnceHoweverOftenItsEventComes(t *testing.T) {
	t.Parallel()
	h := start(t, texting(100))
	h.everywhere(t)
	second := h.replica(t)
	first := h.locked(t, "anna", "3")
	for _, id := range []string{"1", "2", "3", "4"} {
		h.say(t, id, first)
	}
	h.handled(t)
	if n := len(h.notices(t)); n != 3 {
		t.Errorf("%d notices of one lock", n)
	}
	h.say(t, "5", h.locked(t, "anna", "4"))
	h.handled(t)
	all := h.notices(t)
	causes := map[string]int{}
	for _, n := range all {
		causes[n.Order.Cause]++
	}
	if diff := cmp.Diff(map[string]int{"AAECAwQFBgcICQoLDA0ODw.locked.3": 3, "AAECAwQFBgcICQoLDA0ODw.locked.4": 3}, causes); diff != "" {
		t.Errorf("notices by cause (-want +got):\n%s", diff)
	}
	requested := h.metric(t, "doorcode_notices_total", "requested") + second.metric(t, "doorcode_notices_total", "requested")
	repeated := h.metric(t, "doorcode_notices_total", "repeated") + second.metric(t, "doorcode_notices_total", "repeated")
	if requested > 6 || requested+repeated < 15 { // An order whose answer was lost is repeated, too.
		t.Errorf("%v notices requested, %v repeated", requested, repeated)
	}
}

// SEC-09: nothing is sent on the word of a row that auth did not write. What stands in another row is told nevertheless.
func TestSEC17_AnAddressEditedInTheDatabaseIsNotTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, edit, table string
		want              []string
	}{
		{"the login's address", `UPDATE logins SET email = 'thief@evil.example'`, "logins", []string{"office@example.com"}},
		{"the login's phone", `UPDATE logins SET phone = '+12025550199'`, "logins", []string{"office@example.com"}},
		{"the main address", `UPDATE workspaces SET main_email = 'thief@evil.example'`, "workspaces", []string{"+12025550148", "anna@example.com"}},
		{"the owner", `UPDATE workspaces SET owner = 'mallory'`, "workspaces", []string{"+12025550148", "anna@example.com"}},
		{"both", `WITH w AS (UPDATE workspaces SET main_email = 'thief@evil.example') UPDATE logins SET email = 'thief@evil.example'`, "logins", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, texting(100))
			h.everywhere(t)
			h.db.Exec(t, c.edit)
			h.say(t, "1", h.locked(t, "anna", "3"))
			h.handled(t)
			if diff := cmp.Diff(c.want, recipients(h.notices(t))); diff != "" {
				t.Errorf("recipients (-want +got):\n%s", diff)
			}
			if h.metric(t, "doorcode_directory_mac_failures_total", c.table) == 0 || !strings.Contains(h.logs.String(), "directory row is not as it was written") {
				t.Error("there is no alarm")
			}
		})
	}
}

func TestNotice_WhoeverCannotBeToldIsPassedOverInTheLog(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, result, login string
		at                  time.Duration
		prepare             func(h *harness)
	}{
		{"a login that was removed", "removed", "bert", 0, func(h *harness) {
			h.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w/logins/bert"})
		}},
		{"a workspace that was removed", "removed", "bert", 0, func(h *harness) {
			h.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w"})
		}},
		{"a login that never was", "removed", "nobody", 0, nil},
		{"a login without an address", "no_address", "carl", 0, func(h *harness) {
			h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/carl", body: fields{"role": "member"}})
		}},
		{"a phone of a stopped country", "no_address", "carl", 0, func(h *harness) {
			h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/carl", body: fields{"role": "member", "phone": "+12025550148", "channel": "sms"}})
			h.db.Exec(t, `INSERT INTO sms_countries (region) VALUES ('US')`)
		}},
		{"a lock of yesterday", "too_late", "bert", -24 * time.Hour, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, texting(100))
			h.settle(t)
			if c.prepare != nil {
				c.prepare(h)
			}
			e := h.locked(t, c.login, "3")
			h.say(t, "1", lock(t, c.login, "3", e.Time.Add(c.at)))
			h.handled(t)
			if n := len(h.notices(t)); n != 0 {
				t.Errorf("%d notices", n)
			}
			if h.metric(t, "doorcode_notices_total", c.result) == 0 || !strings.Contains(h.logs.String(), `"nobody is told"`) || len(h.bus.Messages(t, bus.DeadLetter)) != 0 {
				t.Errorf("it is not passed over as %s:\n%s", c.result, h.logs.String())
			}
		})
	}
}

func TestNotice_WhatIsNotUnderstoodBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	good := h.locked(t, "bert", "3")
	foreign := lock(t, "a b", "4", time.Now())
	other := lock(t, "bert", "5", time.Now())
	other.Subject = "v"
	early := lock(t, "bert", "7", time.Now().Add(time.Hour)) // no clock is an hour ahead
	nowhere, err := event.New(event.LoginLocked, "x.locked.6", "doorcode/verifier", time.Now(), "a b", event.Directory{Workspace: "a b", Login: "bert", By: "v", At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	h.publishAsVerifier(t, bus.Message{Subject: "doorcode.directory.login_locked", ID: "1", Data: []byte("{}")})
	put := good
	put.Type = event.LoginPut
	h.publishAsVerifier(t, bus.Message{Subject: "doorcode.directory.login_locked", ID: "2", Header: put.Header(), Data: put.Data})
	h.say(t, "3", foreign)
	h.say(t, "4", other)
	h.say(t, "5", nowhere)
	h.say(t, "6", early)
	h.say(t, "7", good)
	h.handled(t)
	if got := recipients(h.notices(t)); !slices.Equal(got, []string{"bert@example.com"}) {
		t.Errorf("recipients %q", got)
	}
	letters := h.bus.Messages(t, bus.DeadLetter)
	for _, l := range letters {
		if l.Subject != "doorcode.dlq.notices" || !strings.HasPrefix(l.Header["doorcode-subject"], "doorcode.directory.") || l.Header["doorcode-reason"] == "" {
			t.Errorf("dead letter on %s with the headers %v", l.Subject, l.Header)
		}
	}
	if len(letters) != 6 || h.metric(t, "doorcode_dead_letters_total", "notices") < 6 {
		t.Errorf("%d dead letters", len(letters))
	}
}

// Most changes are told to nobody, and reach nobody: a kind that only a newer auth knows is no dead letter of an older one.
func TestNotice_NobodyIsToldOfOtherChanges(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	for i, typ := range event.Types() {
		if !strings.HasPrefix(string(typ), "directory.") || typ == event.LoginLocked {
			continue
		}
		e := lock(t, "bert", "3", time.Now())
		e.Type = typ
		h.say(t, "other "+string(rune('a'+i)), e)
	}
	h.publishAsVerifier(t, bus.Message{Subject: "doorcode.directory.something_newer", ID: "newer", Data: []byte("{}")})
	h.say(t, "last", h.locked(t, "bert", "4"))
	h.handled(t)
	if n := len(h.notices(t)); n != 1 || len(h.bus.Messages(t, bus.DeadLetter)) != 0 {
		t.Errorf("%d notices, %d dead letters", n, len(h.bus.Messages(t, bus.DeadLetter)))
	}
}

// P7: what cannot be asked is asked again later; nothing is lost.
func TestP1_ALockIsToldWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	e := h.locked(t, "bert", "3")
	h.db.Exec(t, `ALTER TABLE logins RENAME TO elsewhere`)
	h.say(t, "1", e)
	bustest.Wait(t, "the notice waits", func() bool { return h.metric(t, "doorcode_notices_back_offs_total", "rest") > 0 })
	if len(h.notices(t)) != 0 {
		t.Error("told without the directory")
	}
	h.db.Exec(t, `ALTER TABLE elsewhere RENAME TO logins`)
	h.handled(t)
	if got := recipients(h.notices(t)); !slices.Equal(got, []string{"bert@example.com"}) {
		t.Errorf("recipients %q", got)
	}
}

// Support may have unlocked the login before auth hears of the lock: while auth was away, or by a dead letter that is
// replayed. And whoever invents a lock orders nothing by it.
func TestSEC17_ALockThatHasEndedIsToldToNobody(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"unlocked":              `UPDATE login_budgets SET locked_at = NULL`,
		"unlocked and locked":   `UPDATE login_budgets SET locked_at = locked_at + interval '1 microsecond'`,
		"removed and put again": `UPDATE login_budgets SET removed_at = now()`,
		"without a budget":      `DELETE FROM login_budgets`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := start(t, texting(100))
			h.everywhere(t)
			e := h.locked(t, "anna", "3")
			h.db.Exec(t, change)
			h.say(t, "1", e)
			h.handled(t)
			if n := len(h.notices(t)); n != 0 || h.metric(t, "doorcode_notices_total", "ended") == 0 || len(h.bus.Messages(t, bus.DeadLetter)) != 0 {
				t.Errorf("%d notices of a lock that is over:\n%s", n, h.logs.String())
			}
		})
	}
}

// An installation whose streams are not applied yet signs people in, and tells of the locks when they are.
func TestP7_AMissingConsumerCostsNoticesAndNoSignIns(t *testing.T) {
	t.Parallel()
	h := &harness{db: pgtest.Open(t), bus: bustest.Start(t), logs: &lines{}, dir: t.TempDir(), spec: document(t)}
	h.cfg = h.config(t)
	h.bus.Forget(t, event.StreamDirectory, bus.Notices)
	h.run(t)
	h.key = h.frontEnd(t, frontend.FrontEnd{ID: "front", Scopes: []frontend.Scope{frontend.Challenges, frontend.Directory}, AllWorkspaces: true})
	h.settle(t)
	h.must(t, 201, create("bert"))
	h.say(t, "1", h.locked(t, "bert", "3"))
	bustest.Wait(t, "the notices wait", func() bool { return h.metric(t, "doorcode_notices_back_offs_total", "consumer") > 0 })
	if !strings.Contains(h.logs.String(), "notices back off") || len(h.notices(t)) != 0 {
		t.Error("it is not in the log, or told without a consumer")
	}
	changes, err := bus.Plan(t.Context(), h.bus.Admin(), nil)
	if err != nil || changes.String() != "create consumer notices of DOORCODE_DIRECTORY\n" {
		t.Fatalf("plan %q: %v", changes.String(), err)
	}
	err = bus.Apply(t.Context(), h.bus.Admin(), changes)
	if err != nil {
		t.Fatal(err)
	}
	h.handled(t)
	if got := recipients(h.notices(t)); !slices.Equal(got, []string{"bert@example.com"}) {
		t.Errorf("recipients %q", got)
	}
}
