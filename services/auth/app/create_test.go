package app_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/otp"
	"doorcode/services/auth/app"
)

// It shows SEC-25, SEC-27, SEC-32 and SEC-48 of deploy/SECURITY.md.
func TestCreate_StoresOneEventThatHoldsAllAndShowsNothing(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	r := create("anna")
	r.body = fields{
		"workspace": "w", "login": "anna", "locale": "nl-BE", "return_url": "https://app.example/in",
		"client": fields{"address": "203.0.113.9", "user_agent": "Firefox/\u00071 (Linux)", "browser_id": "b1"},
	}
	r.header = map[string]string{"Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	a := h.must(t, 201, r)
	var c created
	a.into(t, &c)
	if c.Recipient != "o•••@example.com" || a.Header.Get("Location") != "/v1/challenges/"+c.Handle {
		t.Errorf("the answer is %s", a.Body)
	}
	stored := h.bus.Messages(t, event.StreamChallenges)
	if len(stored) != 1 || stored[0].Header["traceparent"] == "" || stored[0].Subject != "doorcode.challenge.email" {
		t.Fatalf("the bus holds %+v", stored)
	}
	produced(t, event.ChallengeIssued, stored[0].Data)
	p := h.issued(t)[0]
	content := h.open(t, p)
	if content.Recipient != "office@example.com" || content.Workspace != "Lanternbird" || content.Locale != "nl-BE" ||
		content.UserAgent != "Firefox/1 (Linux)" || p.Agent != "Firefox on Linux" || content.Label != c.Label || p.Network != "203.0.113.0/24" {
		t.Errorf("the envelope or the event is not what was asked for: %+v", p)
	}
	handle, err := challenge.DecodeHandle(h.ring(t, "HANDLE"), c.Handle)
	if err != nil || handle != (challenge.Handle{Challenge: p.Challenge, Stream: 7, Sequence: stored[0].Sequence}) {
		t.Errorf("the handle is %+v, %v", handle, err)
	}
	code, err := otp.Parse(content.Code)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := otp.DigestWith(h.ring(t, "DIGEST"), p.DigestKey, otp.Binding{
		Challenge: p.Challenge, Workspace: "w", Login: "anna", LoginVersion: h.version(t, "anna"), FrontEnd: "front", Purpose: "sign_in",
	}, otp.Tags(h.ring(t, "TAG"), p.Challenge, code)[p.TagKey])
	if err != nil || !cmp.Equal(digest, p.Digest) {
		t.Error("the digest is not that of the code in the envelope")
	}
	for _, secret := range []string{content.Code, "office@example.com", h.key} {
		if strings.Contains(h.logs.String(), secret) || strings.Contains(string(stored[0].Data), `"`+secret) || strings.Contains(string(a.Body), `"`+secret) {
			t.Error("a code, a recipient or a key is in the log, the event or the answer")
		}
	}
}

// produced holds an event that auth made against the schema of its type and against the vector that its consumers are
// tested with: it has the same members, so that the two sides cannot drift apart.
func produced(t *testing.T, kind event.Type, data []byte) {
	t.Helper()
	eventtest.ValidateData(t, kind, data)
	if diff := cmp.Diff(members(t, eventtest.Accepted(t, kind).Data), members(t, data)); diff != "" {
		t.Errorf("%s has not the members of its vector (-vector +event):\n%s", kind, diff)
	}
}

// members lists the paths of all members of a JSON object, sorted; the items of a list share one path.
func members(t *testing.T, data []byte) []string {
	t.Helper()
	var value any
	err := json.Unmarshal(data, &value)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, inner := range v {
				found[path+"."+name] = true
				walk(path+"."+name, inner)
			}
		case []any:
			for _, inner := range v {
				walk(path+"[]", inner)
			}
		}
	}
	walk("", value)
	return slices.Sorted(maps.Keys(found))
}

// together sends n requests at the same moment.
func together(t *testing.T, h *harness, n int, r func(i int) request) []answer {
	t.Helper()
	answers := make([]answer, n)
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-gate
			answers[i] = h.do(t, r(i))
		})
	}
	close(gate)
	wg.Wait()
	return answers
}

// It shows SEC-21 of deploy/SECURITY.md.
func TestP5_ParallelCreatesWithOneKeySendOneMessage(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	answers := together(t, h, 16, func(int) request { return create("bert").with("one") })
	for _, a := range answers {
		if a.Status != 201 || string(a.Body) != string(answers[0].Body) {
			t.Errorf("answered %d: %s", a.Status, a.Body)
		}
	}
	if got := len(h.issued(t)); got != 1 {
		t.Errorf("%d challenges were issued", got)
	}
	if got := h.count(t, `SELECT cardinality(live_ids) FROM login_budgets WHERE login = 'bert'`); got != 1 {
		t.Errorf("%d places are taken", got)
	}
	if got := h.count(t, `SELECT cardinality(times) FROM limits WHERE dimension = 'recipient'`); got != 1 {
		t.Errorf("%d messages are counted", got)
	}
	if h.metric(t, "doorcode_creates_total", "required") != 1 || h.metric(t, "doorcode_creates_total", "repeated") != 15 {
		t.Error("the repeats are not counted as such")
	}
}

// It shows SEC-21 of deploy/SECURITY.md.
func TestCreate_RefusesAKeyThatNamedAnotherRequest(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.must(t, 201, create("bert").with("one"))
	h.refused(t, 422, "idempotency_mismatch", create("anna").with("one"))
	other := h.frontEnd(t, allOf("other"))
	r := create("anna").with("one")
	r.key = other
	h.must(t, 201, r)
}

func TestCreate_KeepsAtMostFiveChallengesOfALoginLive(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	counts := map[int]int{}
	for _, a := range together(t, h, 24, func(int) request { return create("bert") }) {
		counts[a.Status]++
		if a.Status == 429 && a.problem(t).Code != "too_many_live" {
			t.Errorf("refused with %s", a.Body)
		}
	}
	if counts[201] != 5 || counts[429] != 19 || len(h.issued(t)) != 5 {
		t.Errorf("the answers are %v and %d were issued", counts, len(h.issued(t)))
	}
	p := h.refused(t, 429, "too_many_live", create("bert"))
	if p.RetryAfter < 1 || p.RetryAfter > 600 {
		t.Errorf("the wait is %d s", p.RetryAfter)
	}
}

// It shows SEC-43 of deploy/SECURITY.md.
func TestCreate_CountsExactlyUnderParallelRequests(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *app.Config) { c.PerHour = 7; c.CreatesPerClient = 600 })
	h.settle(t)
	for i := range 16 { // One address for all: the limit is the recipient's.
		h.must(t, 201, request{method: "PUT", path: fmt.Sprintf("/v1/workspaces/w/logins/l%d", i), body: fields{"role": "member", "email": "Shared@example.com"}})
	}
	counts := map[int]int{}
	for _, a := range together(t, h, 64, func(i int) request { return create(fmt.Sprintf("l%d", i%16)) }) {
		counts[a.Status]++
		if a.Status == 429 && a.problem(t).Code != "too_many_messages" {
			t.Errorf("refused with %s", a.Body)
		}
	}
	if counts[201] != 7 || counts[429] != 57 || len(h.issued(t)) != 7 {
		t.Errorf("the answers are %v and %d were issued", counts, len(h.issued(t)))
	}
	if got := h.count(t, `SELECT sum(cardinality(live_ids)) FROM login_budgets`); got != 7 {
		t.Errorf("%d places are taken: a refused create took one", got)
	}
}

// It shows SEC-15 of deploy/SECURITY.md.
func TestCreate_LimitsAClientAddress(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *app.Config) { c.CreatesPerClient = 2 })
	h.settle(t)
	from := func(login, address string) request {
		r := create(login)
		r.body = fields{"workspace": "w", "login": login, "client": fields{"address": address}}
		r.header = map[string]string{"X-Forwarded-For": "198.51.100." + address[len(address)-1:], "Forwarded": "for=198.51.100.1"}
		return r
	}
	h.must(t, 201, from("bert", "2001:db8:1:2::1"))
	h.must(t, 201, from("anna", "2001:db8:1:2::2"))
	p := h.refused(t, 429, "too_many_requests", from("bert", "2001:db8:1:2:ffff::3"))
	if p.RetryAfter < 1 || p.RetryAfter > 60 {
		t.Errorf("the wait is %d s", p.RetryAfter)
	}
	h.must(t, 201, from("bert", "2001:db8:1:3::1"))
	h.must(t, 201, create("bert")) // The host application tells no address: the other limits hold.
}

// It shows SEC-21 of deploy/SECURITY.md.
func TestCreate_RepeatNeitherCountsNorIsRefused(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *app.Config) { c.PerHour = 1; c.CreatesPerClient = 1; c.LivePerLogin = 1 })
	h.settle(t)
	first := h.must(t, 201, create("bert").with("one"))
	h.refused(t, 429, "too_many_live", create("bert").with("two"))
	again := h.must(t, 201, create("bert").with("one"))
	if string(first.Body) != string(again.Body) {
		t.Error("the repeat has another answer")
	}
	// The challenge ends: its place is free, and the repeat does not take it again.
	h.db.Exec(t, `UPDATE login_budgets SET live_ids = '{}', live_until = '{}', live_entries = '{}'`)
	again = h.must(t, 201, create("bert").with("one"))
	if string(first.Body) != string(again.Body) {
		t.Error("the repeat after the end has another answer")
	}
	if got := h.count(t, `SELECT cardinality(live_ids) FROM login_budgets WHERE login = 'bert'`); got != 0 {
		t.Error("the repeat took a place for a challenge that ended")
	}
	h.refused(t, 429, "too_many_messages", create("bert").with("two"))
}

// It shows SEC-13 and SEC-16 of deploy/SECURITY.md.
func TestCreate_RefusesASpentOrLockedLogin(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.db.Exec(t, `UPDATE login_budgets SET failures = array_fill(clock_timestamp() - interval '10 minutes', ARRAY[10]) WHERE login = 'bert'`)
	p := h.refused(t, 429, "too_many", create("bert"))
	if p.RetryAfter < 2990 || p.RetryAfter > 3000 {
		t.Errorf("the wait is %d s", p.RetryAfter)
	}
	h.db.Exec(t, `UPDATE login_budgets SET locked_at = now() WHERE login = 'bert'`)
	h.refused(t, 409, "login_locked", create("bert"))
	h.must(t, 200, request{method: "PUT", path: "/v1/workspaces/w/logins/anna", body: fields{"role": "member"}})
	h.refused(t, 409, "no_route", create("anna"))
	h.refused(t, 404, "unknown_login", create("nobody"))
	if got := len(h.issued(t)); got != 0 {
		t.Errorf("%d challenges were issued", got)
	}
}

func TestCreate_AvoidsTheLabelsOfLiveChallenges(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	seen := map[string]bool{}
	for range 5 {
		var c created
		h.must(t, 201, create("bert")).into(t, &c)
		seen[c.Label] = true
	}
	if len(seen) < 4 { // Nothing is recorded here; a clash stays possible and rare.
		t.Errorf("the labels are %v", seen)
	}
}

func TestSEC09_AnAddressChangedInTheDatabaseSendsNothing(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	for _, c := range []struct{ table, edit string }{
		{"logins", `UPDATE logins SET email = 'thief@example.org' WHERE id = 'bert'`},
		{"workspaces", `UPDATE workspaces SET main_email = 'thief@example.org'`},
		{"workspaces", `UPDATE workspaces SET group_address = true`},
		{"workspaces", `UPDATE workspaces SET owner = 'bert'`},
		{"login_budgets", `DELETE FROM login_budgets WHERE login = 'bert'`},
		{"front_ends", `UPDATE front_ends SET scopes = '{directory,challenges}' WHERE id = 'front'`},
	} {
		h.settleAgain(t)
		before := h.metric(t, "doorcode_directory_mac_failures_total", c.table)
		if h.db.Exec(t, c.edit) == 0 {
			t.Fatalf("%s changed nothing", c.edit)
		}
		h.refused(t, 503, "directory_integrity", create("bert"))
		if h.metric(t, "doorcode_directory_mac_failures_total", c.table) != before+1 {
			t.Errorf("%s raised no alarm", c.edit)
		}
	}
	if got := len(h.issued(t)); got != 0 {
		t.Errorf("%d challenges were issued", got)
	}
	if !strings.Contains(h.logs.String(), "directory row is not as it was written") {
		t.Error("nothing stands in the log")
	}
}

// settleAgain removes everything, however it looks, and puts it afresh.
func (h *harness) settleAgain(t *testing.T) {
	t.Helper()
	for _, table := range []string{"workspaces", "logins", "login_budgets", "front_ends"} {
		h.db.Exec(t, "DELETE FROM "+table)
	}
	h.key = h.frontEnd(t, allOf("front"))
	h.settle(t)
}

// It shows SEC-67 of deploy/SECURITY.md.
func TestP7_WithoutTheBusNothingIsIssuedNorLater(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.bus.Stop(t)
	h.refused(t, 503, "unavailable", create("bert").with("one"))
	// A person who tries again and again while the bus is away, each time under another key.
	for range challenge.MaxLive + 1 {
		h.refused(t, 503, "unavailable", create("bert"))
	}
	h.bus.Resume(t)
	bustestReady(t, h)
	if got := len(h.issued(t)); got != 0 {
		t.Fatalf("%d challenges left after their caller was told they did not", got)
	}
	h.must(t, 201, create("bert").with("one"))
	if got := h.count(t, `SELECT cardinality(live_ids) FROM login_budgets WHERE login = 'bert'`); got != 1 {
		t.Errorf("%d places are taken", got)
	}
	if got := h.issued(t); len(got) != 1 {
		t.Errorf("%d challenges were issued", len(got))
	}
}

// It shows SEC-67 of deploy/SECURITY.md.
func TestP7_WithoutTheDatabaseNothingIsIssued(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.db.Exec(t, `REVOKE CONNECT ON DATABASE `+database(t, h)+` FROM PUBLIC`)
	h.db.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'doorcode_auth'`)
	a := h.do(t, create("bert"))
	if a.Status != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("answered %d: %s", a.Status, a.Body)
	}
	if got := len(h.issued(t)); got != 0 {
		t.Errorf("%d challenges were issued", got)
	}
}

// It shows SEC-68 of deploy/SECURITY.md.
func TestCreate_TakesInNoMoreThanItCanServe(t *testing.T) {
	t.Parallel()
	h := start(t, func(c *app.Config) { c.CreatesPerSecond = 1 })
	h.settle(t)
	h.must(t, 201, create("bert"))
	counts := map[int]int{}
	for _, a := range together(t, h, 20, func(int) request { return create("bert") }) {
		counts[a.Status]++
		if a.Status == 503 && a.problem(t).Code != "overloaded" {
			t.Errorf("refused with %s", a.Body)
		}
	}
	if counts[503] == 0 {
		t.Errorf("the answers are %v", counts)
	}
}

func TestCreate_LongestRequestFitsItsEvent(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	id := strings.Repeat("~", 64)
	email := strings.Repeat("&", 64) + "@" + strings.Repeat(strings.Repeat("a", 61)+".", 3) + "ab"
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/" + id, body: fields{"name": strings.Repeat("<", 100), "main_email": email}})
	h.must(t, 201, request{method: "PUT", path: "/v1/workspaces/" + id + "/logins/" + id, body: fields{"role": "owner", "email": email, "locale": "nl-" + strings.Repeat("abcdefgh-", 3) + "abcde"}})
	h.must(t, 201, request{method: "POST", path: "/v1/challenges", body: fields{
		"workspace": id, "login": id, "client": fields{"address": "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "user_agent": strings.Repeat("<", 1024)},
	}}.with(strings.Repeat("~", 255)))
	content := h.open(t, h.issued(t)[0])
	if len(content.UserAgent) != 200 || content.Recipient != email {
		t.Errorf("the envelope holds %d bytes of user agent", len(content.UserAgent))
	}
}

func TestCreate_AnswersOfAnEventAreTheSameForEver(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	a := h.must(t, 201, create("bert").with("k"))
	var shown map[string]json.RawMessage
	a.into(t, &shown)
	p := h.issued(t)[0]
	if string(shown["expires_at"]) != `"`+p.ExpiresAt.UTC().Format(time.RFC3339Nano)+`"` {
		t.Errorf("the answer is not made of the event: %s", shown["expires_at"])
	}
	stored := h.bus.Messages(t, event.StreamChallenges)[0]
	raw, err := base64.RawURLEncoding.DecodeString(stored.ID)
	if err != nil || len(raw) != 32 || stored.Header["ce-id"] != stored.ID || stored.Header["ce-source"] != "doorcode/auth" {
		t.Errorf("the event is named %q", stored.ID)
	}
}
