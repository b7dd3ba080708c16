package desk_test

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/health"
	"doorcode/pkg/operator"
)

// A screen on a wall that reloads itself is no person: the session ends as if nobody were there.
// It shows SEC-59 of deploy/SECURITY.md.
func TestFigures_ThatReloadThemselvesKeepNoSessionAlive(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	b.signIn("kim", h.list(operator.Operator{ID: "kim", Role: operator.Operations, AllWorkspaces: true}))
	a := b.get("/health")
	if a.status != http.StatusOK || a.header.Get("Refresh") != "60; url=/health?reload" {
		t.Fatalf("%d, reloads by %q", a.status, a.header.Get("Refresh"))
	}
	for range 14 {
		h.wait(time.Minute)
		if a = b.get("/health?reload"); a.path != "/health" {
			t.Fatal("the session ended early")
		}
	}
	h.wait(time.Minute + time.Second)
	if a = b.get("/health?reload"); a.path != "/sign-in" {
		t.Error("a page that reloads itself keeps the session alive")
	}
}

// Figures of all workspaces are for those who see all.
func TestFigures_AreForThoseWhoSeeEverything(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	b.signIn("sue", h.list(operator.Operator{ID: "sue", Role: operator.Support, Workspaces: []string{"acme"}}))
	for _, path := range []string{"/health", "/rollout"} {
		if a := b.get(path); a.status != http.StatusForbidden {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if home := b.get("/").text; strings.Contains(home, "/health") || strings.Contains(home, "/rollout") {
		t.Error("the menu has pages that are refused")
	}
}

// It shows SEC-62 of deploy/SECURITY.md.
func TestAudit_ShowsTheRecordAndTheCommandThatExportsIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id := h.issued("acme", reference())
	b := h.browser()
	b.signIn("ann", h.list(operator.Operator{ID: "ann", Role: operator.Auditor, AllWorkspaces: true}))
	if a := b.get("/audit"); a.status != http.StatusOK || strings.Contains(a.text, id) {
		t.Errorf("rows are shown that nobody asked for: %d", a.status)
	}
	a := b.get("/audit?kind=&challenge=" + id)
	contains(t, a.text, "3 rows", "receipt.v1.recorded", "/challenges/"+id, "doorcodectl audit export -operator ann -from ", "-challenge "+id+" -out audit.ndjson")
	for _, secret := range []string{"jo@acme.example", "+31612345678", "<script>alert"} {
		if strings.Contains(html.UnescapeString(a.text), secret) && secret != "<script>alert" || strings.Contains(a.text, secret) {
			t.Errorf("the page shows %s", secret)
		}
	}
	contains(t, b.get("/audit?kind=challenge.v1.issued&challenge="+id).text, "1 rows", "-kind challenge.v1.issued")
	contains(t, b.get("/audit?kind=audit.v1.shown").text, "2 rows") // The two looks before this one.
	for _, wrong := range []string{"kind=x", "kind=&workspace=a%20b", "kind=&challenge=%27%3B", "kind=&from=never", "kind=&from=2026-01-02T00:00&to=2026-01-01T00:00"} {
		if a := b.get("/audit?" + wrong); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d", wrong, a.status)
		}
	}
}

func TestAudit_ShowsAnOwnerTheirWorkspacesAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	mine, other := h.issued("acme", reference()), h.issued("other", reference())
	b := h.browser()
	b.signIn("olga", h.list(operator.Operator{ID: "olga", Role: operator.Owner, Workspaces: []string{"acme"}}))
	for _, q := range []string{"", "&workspace=other", "&challenge=" + other, "&workspace=other&challenge=" + other, "&workspace=" + url.QueryEscape("acme other")} {
		if a := b.get("/audit?kind=" + q); a.status != http.StatusBadRequest || strings.Contains(a.text, "/challenges/") {
			t.Errorf("%q: %d", q, a.status)
		}
	}
	if a := b.get("/audit?kind=&workspace=acme&challenge=" + other); strings.Contains(a.text, "/challenges/") {
		t.Error("the other's rows are shown")
	}
	contains(t, b.get("/audit?kind=&workspace=acme").text, "/challenges/"+mine)
}

// bad0310 is what is counted in the night of product.md 2.6: text messages to Spain arrive no more.
func (h *house) bad0310() {
	h.t.Helper()
	now := h.now().Truncate(time.Minute)
	bins := make([]int, health.Bins)
	bins[2] = 100
	put := func(destination, channel, provider string, from, to time.Duration, percent int) {
		h.db.Exec(h.t, `INSERT INTO channel_minutes
			SELECT m, $1, $2, $3, 102, 100, 98, 1, 100, $6::int + (extract(epoch FROM m)::bigint / 600) % 3 - 1, $7::int[], $7::int[]
			  FROM generate_series($4::timestamptz, $5::timestamptz - interval '1 minute', interval '1 minute') AS m`,
			channel, provider, destination, now.Add(-from), now.Add(-to), percent, bins)
	}
	const day = 24 * time.Hour
	for days := time.Duration(1); days <= 7; days++ {
		put("ES", "sms", "vonage", days*day+time.Hour, days*day, 93)
		put("other", "email", "sendgrid", days*day+time.Hour, days*day, 95)
	}
	put("ES", "sms", "vonage", 23*time.Hour, 40*time.Minute, 93)
	put("ES", "sms", "vonage", 40*time.Minute, 0, 41)
	put("FR", "sms", "vonage", 23*time.Hour, 0, 96)
	put("gmail", "email", "sendgrid", 23*time.Hour, 0, 97)
	put("other", "email", "sendgrid", 23*time.Hour, 0, 94)
	h.db.Exec(h.t, `INSERT INTO channel_rounds (minute, counted_at) VALUES ($1, now())`, now)
	h.db.Exec(h.t, `INSERT INTO channel_queues VALUES ('email', $1, 0, NULL), ('sms', $1, 12, $2)`, now, now.Add(-95*time.Second))
	h.db.Exec(h.t, `INSERT INTO workspaces (id, name, main_email, owner, mac_key, mac)
		SELECT 'ws' || i, 'W', 'office' || i || '@example.com', 'anna', 1, 'x' FROM generate_series(1, 400) i`)
	h.db.Exec(h.t, `INSERT INTO rollout_waves (id, announce_at, grace_at, enforce_at, skips, paused_at, reason, mac_key, mac) VALUES
		('staff', now() - interval '40 days', now() - interval '30 days', now() - interval '20 days', 3, NULL, '', 1, 'x'),
		('wave-5', now() - interval '20 days', now() - interval '9 days', now() + interval '2 days', 3, NULL, '', 1, 'x'),
		('wave-6', now() - interval '2 days', now() + interval '5 days', now() + interval '12 days', 3, NULL, '', 1, 'x')`)
	h.db.Exec(h.t, `INSERT INTO rollout_places (workspace, wave, joined_at, mac_key, mac)
		SELECT 'ws' || i, CASE WHEN i <= 20 THEN 'staff' WHEN i <= 150 THEN 'wave-5' ELSE 'wave-6' END, now() - interval '50 days', 1, 'x' FROM generate_series(1, 380) i`)
	h.db.Exec(h.t, `INSERT INTO rollout_holds (wave, held_at, gates, reason) VALUES ('wave-6', now() - interval '6 minutes', '{fallback}', 'fallback 52 % of 310 sign-ins, at most 5 % is allowed')`)
	h.db.Exec(h.t, `INSERT INTO rollout_gates VALUES ('verified_share', 'open', 'verified share 98.1 % of 4120 sign-ins in 24 h, at least 97 % is needed', now()),
		('fallback', 'failed', 'fallback 52 % of 310 sign-ins, at most 5 % is allowed', now())`)
	h.db.Exec(h.t, `INSERT INTO rollout_exemptions VALUES ('ws390', '', 'contract', 'kim', 'sam', now(), now() + interval '5 days', 1, 'x')`)
}
