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

// handled waits until auth has answered to every event of the directory.
func (h *harness) handled(t testing.TB) {
	t.Helper()
	bustest.Wait(t, "every change of the directory is handled", func() bool {
		stream, err := h.bus.Admin().StreamState(t.Context(), event.StreamDirectory)
		if err != nil {
			t.Fatal(err)
		}
		consumer, err := h.bus.Admin().Backlog(t.Context(), event.StreamDirectory, bus.Notices)
		if err != nil {
			t.Fatal(err)
		}
		return consumer.Settled == stream.Last
	})
}

func TestSEC17_ALockIsToldToEveryProvenAddress(t *testing.T) {
	t.Parallel()
	h := start(t, texting(100))
	h.everywhere(t)
	at := time.Now().UTC().Add(-time.Minute).Truncate(time.Microsecond)
	h.say(t, "1", lock(t, "anna", "3", at))
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
	at := time.Now().UTC()
	for _, id := range []string{"1", "2", "3", "4"} {
		h.say(t, id, lock(t, "anna", "3", at))
	}
	h.handled(t)
	if n := len(h.notices(t)); n != 3 {
		t.Errorf("%d notices of one lock", n)
	}
	h.say(t, "5", lock(t, "anna", "4", at))
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
			h.say(t, "1", lock(t, "anna", "3", time.Now()))
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
			h.say(t, "1", lock(t, c.login, "3", time.Now().Add(c.at)))
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
	good := lock(t, "bert", "3", time.Now())
	foreign := lock(t, "a b", "4", time.Now())
	other := lock(t, "bert", "5", time.Now())
	other.Subject = "v"
	nowhere, err := event.New(event.LoginLocked, "x.locked.6", "doorcode/verifier", time.Now(), "a b", event.Directory{Workspace: "a b", Login: "bert", By: "v", At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	h.publishAsVerifier(t, bus.Message{Subject: "doorcode.directory.login_locked", ID: "1", Data: []byte("{}")})
	h.publishAsVerifier(t, bus.Message{Subject: "doorcode.directory.login_put", ID: "2", Header: good.Header(), Data: good.Data})
	h.say(t, "3", foreign)
	h.say(t, "4", other)
	h.say(t, "5", nowhere)
	h.say(t, "6", good)
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
	if len(letters) != 5 || h.metric(t, "doorcode_dead_letters_total", "notices") < 5 {
		t.Errorf("%d dead letters", len(letters))
	}
}

// Most changes are told to nobody, and cost nothing.
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
	h.handled(t)
	if n := len(h.notices(t)); n != 0 || len(h.bus.Messages(t, bus.DeadLetter)) != 0 {
		t.Errorf("%d notices", n)
	}
}

// P7: what cannot be asked is asked again later; nothing is lost.
func TestP1_ALockIsToldWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.db.Exec(t, `ALTER TABLE logins RENAME TO elsewhere`)
	h.say(t, "1", lock(t, "bert", "3", time.Now()))
	bustest.Wait(t, "the notice waits", func() bool { return strings.Contains(h.logs.String(), "notices back off") })
	if len(h.notices(t)) != 0 {
		t.Error("told without the directory")
	}
	h.db.Exec(t, `ALTER TABLE elsewhere RENAME TO logins`)
	h.handled(t)
	if got := recipients(h.notices(t)); !slices.Equal(got, []string{"bert@example.com"}) {
		t.Errorf("recipients %q", got)
	}
}
