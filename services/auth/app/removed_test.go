package app_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
)

// leaving puts workspace w with the owner anna and the member carl, who has an address and a phone.
func (h *harness) leaving(t testing.TB) {
	t.Helper()
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w", body: fields{"name": "Lanternbird", "main_email": "office@example.com"}})
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/anna", body: fields{"role": "owner", "email": "anna@example.com", "locale": "en"}})
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/carl", body: fields{
		"role": "member", "email": "carl@example.com", "phone": "+12025550148", "locale": "nl",
	}})
}

// remove removes a login of w and returns the event that its outbox holds of it.
func (h *harness) remove(t testing.TB, login string) event.Event {
	t.Helper()
	h.must(t, 204, request{method: "DELETE", path: "/v1/workspaces/w/logins/" + login})
	e := event.Event{Type: event.LoginRemoved}
	h.db.Scan(t, `SELECT id, source, subject, at, data FROM outbox WHERE type = $1 AND data->>'login' = $2`,
		[]any{string(event.LoginRemoved), login}, &e.ID, &e.Source, &e.Subject, &e.Time, &e.Data)
	e.Time = e.Time.UTC()
	eventtest.ValidateData(t, e.Type, e.Data)
	return e
}

// toldAs are the recipients of notices, with the language and whether it is in the owner's words.
func toldAs(t testing.TB, all []told) map[string]string {
	t.Helper()
	to := map[string]string{}
	for _, n := range all {
		if n.Order.Kind != event.NoticeLoginRemoved || n.Content.Code != "" || n.Content.Workspace != "Lanternbird" || n.Content.Locale != n.Order.Locale {
			t.Errorf("a notice of the kind %s in %s", n.Order.Kind, n.Order.Locale)
		}
		if to[n.Content.Recipient] != "" {
			t.Error("somebody is told twice")
		}
		to[n.Content.Recipient] = n.Order.Locale
		if n.Content.Owner {
			to[n.Content.Recipient] += " owner"
		}
	}
	return to
}

// product.md R9.5: the person and the owner are told, each in their language, and once however often the event comes and
// however many replicas hear of it.
func TestNotice_ARemovalIsToldToThePersonAndTheOwnerOnce(t *testing.T) {
	t.Parallel()
	h := start(t, texting(100))
	h.leaving(t)
	h.replica(t)
	e := h.remove(t, "carl")
	for _, id := range []string{"1", "2", "3"} {
		h.say(t, id, e)
	}
	h.handled(t)
	want := map[string]string{"carl@example.com": "nl", "+12025550148": "nl", "anna@example.com": "en owner"}
	if diff := cmp.Diff(want, toldAs(t, h.notices(t))); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// Whoever owned the workspace is told, and so is its main address, which may be read by others.
func TestNotice_ARemovedOwnerAndTheMainAddressAreTold(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.leaving(t)
	e := h.remove(t, "anna")
	// Who is put in their place is told as the owner.
	h.must(t, 200, request{method: "PUT", path: "/v1/workspaces/w/logins/carl", body: fields{"role": "owner", "email": "carl@example.com", "locale": "nl"}})
	h.say(t, "1", e)
	h.handled(t)
	want := map[string]string{"anna@example.com": "en", "office@example.com": "nl owner", "carl@example.com": "nl owner"}
	if diff := cmp.Diff(want, toldAs(t, h.notices(t))); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// A login that is put again at once, with another address, hides nothing from whom it was taken.
func TestNotice_ALoginThatIsPutAgainElsewhereIsToldOfItsRemoval(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.leaving(t)
	e := h.remove(t, "carl")
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/w/logins/carl", body: fields{"role": "member", "email": "thief@evil.example"}})
	h.say(t, "1", e)
	h.handled(t)
	want := map[string]string{"carl@example.com": "nl", "anna@example.com": "en owner"}
	if diff := cmp.Diff(want, toldAs(t, h.notices(t))); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// SEC-09: nothing is sent on the word of a row that auth did not write, nor of an event that no row bears out.
func TestNotice_ARemovalThatAuthDidNotWriteIsToldToNobody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, edit, result string }{
		{"another address", `UPDATE removed_logins SET email = 'thief@evil.example'`, "broken"},
		{"another phone", `UPDATE removed_logins SET phone = '+12025550199'`, "broken"},
		{"the owner's", `UPDATE removed_logins SET owned = true`, "broken"},
		{"another login", `UPDATE removed_logins SET login = 'bert'`, "broken"},
		{"another time", `UPDATE removed_logins SET removed_at = removed_at + interval '1 hour'`, "broken"},
		{"no row", `DELETE FROM removed_logins`, "removed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, texting(100))
			h.leaving(t)
			e := h.remove(t, "carl")
			h.db.Exec(t, c.edit)
			h.say(t, "1", e)
			h.handled(t)
			if n := len(h.notices(t)); n != 0 || h.metric(t, "doorcode_notices_total", c.result) == 0 {
				t.Errorf("%d notices, it is not passed over as %s", n, c.result)
			}
			if c.result == "broken" && h.metric(t, "doorcode_directory_mac_failures_total", "removed_logins") == 0 {
				t.Error("there is no alarm")
			}
		})
	}
}

// An event of another moment or another login than the row's is invented.
func TestNotice_AnInventedRemovalIsToldToNobody(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.leaving(t)
	e := h.remove(t, "carl")
	var p event.Directory
	err := e.Decode(&p)
	if err != nil {
		t.Fatal(err)
	}
	later, err := event.New(event.LoginRemoved, "x.removed.1", e.Source, e.Time.Add(time.Second), "w", p)
	if err != nil {
		t.Fatal(err)
	}
	p.Login = "anna"
	other, err := event.New(event.LoginRemoved, "x.removed.2", e.Source, e.Time, "w", p)
	if err != nil {
		t.Fatal(err)
	}
	h.say(t, "1", later)
	h.say(t, "2", other)
	h.handled(t)
	if n := len(h.notices(t)); n != 0 || len(h.bus.Messages(t, bus.DeadLetter)) != 0 {
		t.Errorf("%d notices, %d dead letters", n, len(h.bus.Messages(t, bus.DeadLetter)))
	}
}
