package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/seal"
	"doorcode/services/auth/app"
)

// texting lets text messages go to two countries.
func texting(ceiling int) func(*app.Config) {
	return func(c *app.Config) {
		c.SMSCountries, c.SMSDailyCap = []string{"US", "NL"}, ceiling
	}
}

// phoned puts a member with a phone who switched to it.
func (h *harness) phoned(t testing.TB, login, phone, email string) {
	t.Helper()
	body := fields{"role": "member", "phone": phone, "channel": "sms"}
	if email != "" {
		body["email"] = email
	}
	h.must(t, 201, put("/logins/"+login, body))
}

// It shows SEC-25 and SEC-28 of deploy/SECURITY.md.
func TestCreate_SealsEachRouteForItsChannelAlone(t *testing.T) {
	t.Parallel()
	h := start(t, texting(200))
	h.settle(t)
	h.phoned(t, "kim", "+1 (202) 555-0148", "kim@example.com")
	var answered struct {
		Channel, Recipient string
		Routes             []struct{ Channel, Recipient string }
		ExpiresAt          time.Time `json:"expires_at"`
		ResendAt           time.Time `json:"resend_at"`
	}
	a := h.must(t, 201, create("kim"))
	a.into(t, &answered)
	if answered.Channel != "sms" || answered.Recipient != "•••48" || len(answered.Routes) != 1 ||
		answered.Routes[0].Channel != "email" || answered.Routes[0].Recipient != "k•••@example.com" ||
		answered.ExpiresAt.Sub(answered.ResendAt) != 4*time.Minute+30*time.Second {
		t.Fatalf("the answer is %s", a.Body)
	}
	stored := h.bus.Messages(t, event.StreamChallenges)
	if len(stored) != 1 || stored[0].Subject != "doorcode.challenge.sms" {
		t.Fatalf("the bus holds %+v", stored)
	}
	eventtest.ValidateData(t, event.ChallengeIssued, stored[0].Data)
	p := h.issued(t)[0]
	if p.Channel != "sms" || len(p.Routes) != 2 || p.Routes[0].Cap != 200 || p.Routes[0].PerHour != 5 || p.Routes[0].PerDay != 10 || p.Routes[1].Cap != 0 {
		t.Fatalf("the event is %+v", p)
	}
	var contents [2]seal.Content
	for i, r := range p.Routes {
		at := seal.Context{Challenge: p.Challenge, Route: i, Channel: r.Channel, NotAfter: p.ExpiresAt.Add(-time.Minute)}
		own, other := "SMS_CHANNEL", "EMAIL_CHANNEL"
		if i == 1 {
			own, other = other, own
		}
		var err error
		contents[i], err = seal.Open(h.ring(t, own), at, r.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		_, err = seal.Open(h.ring(t, other), at, r.Envelope)
		if err == nil {
			t.Errorf("the envelope of %s opens with the ring of the other channel", r.Channel)
		}
	}
	if contents[0].Code != contents[1].Code || contents[0].Label != contents[1].Label ||
		contents[0].Recipient != "+12025550148" || contents[1].Recipient != "kim@example.com" {
		t.Error("the two messages are not of one code to the two recipients")
	}
	if strings.Contains(h.logs.String(), "2025550148") || strings.Contains(string(stored[0].Data), "2025550148") || strings.Contains(string(a.Body), "2025550148") {
		t.Error("a number is in the log, the event or the answer")
	}
}

// It shows SEC-43 and SEC-65 of deploy/SECURITY.md.
func TestCreate_ANumberGetsFiveAnHour(t *testing.T) {
	t.Parallel()
	h := start(t, texting(200))
	h.settle(t)
	for i := range 3 { // One number for all, however it is written.
		h.phoned(t, fmt.Sprintf("l%d", i), []string{"+12025550148", "+1 202 555 0148", "+1-202-555-0148"}[i], "")
	}
	counts := map[int]int{}
	for _, a := range together(t, h, 12, func(i int) request { return create(fmt.Sprintf("l%d", i%3)) }) {
		counts[a.Status]++
		if a.Status == 429 && a.problem(t).Code != "too_many_messages" {
			t.Errorf("refused with %s", a.Body)
		}
	}
	if diff := cmp.Diff(map[int]int{201: 5, 429: 7}, counts); diff != "" {
		t.Error(diff)
	}
	if n := h.count(t, `SELECT cardinality(times) FROM limits WHERE dimension = 'sms_spend'`); n != 5 {
		t.Errorf("%d text messages are counted: a refused create took one", n)
	}
}

// It shows SEC-42 and SEC-66 of deploy/SECURITY.md.
func TestCreate_ACapThatIsReachedMovesNobodyToAnotherChannel(t *testing.T) {
	t.Parallel()
	h := start(t, texting(3))
	h.settle(t)
	for i := range 6 {
		h.phoned(t, fmt.Sprintf("l%d", i), fmt.Sprintf("+1202555014%d", i), fmt.Sprintf("l%d@example.com", i))
	}
	counts := map[int]int{}
	for _, a := range together(t, h, 6, func(i int) request { return create(fmt.Sprintf("l%d", i)) }) {
		counts[a.Status]++
		if a.Status == 429 && (a.problem(t).Code != "too_many_messages" || a.problem(t).RetryAfter < 86000) {
			t.Errorf("refused with %s", a.Body)
		}
	}
	if diff := cmp.Diff(map[int]int{201: 3, 429: 3}, counts); diff != "" {
		t.Error(diff)
	}
	for _, p := range h.issued(t) {
		if p.Channel != "sms" {
			t.Errorf("a challenge went by %s", p.Channel)
		}
	}
	if n := h.count(t, `SELECT coalesce(sum(cardinality(times)), 0) FROM limits WHERE dimension = 'recipient'`); n != 3 {
		t.Errorf("%d messages of recipients are counted: a refused create took one", n)
	}
	if n := h.metric(t, "doorcode_limits_reached_total", "sms_spend"); n != 3 {
		t.Errorf("the cap is counted %v times", n)
	}
	h.must(t, 201, create("bert")) // E-mail knows no cap.
}

// It shows SEC-41 and SEC-66 of deploy/SECURITY.md.
func TestCreate_AStoppedCountryIsNoRoute(t *testing.T) {
	t.Parallel()
	h := start(t, texting(200))
	h.settle(t)
	h.phoned(t, "kim", "+12025550148", "kim@example.com")
	h.phoned(t, "sam", "+12025550149", "")
	h.phoned(t, "pat", "+18765551234", "") // Jamaica shares the calling code and is not allowed.
	h.refused(t, 409, "no_route", create("pat"))
	h.must(t, 201, create("sam"))
	h.db.Exec(t, `INSERT INTO sms_countries (region, reason) VALUES ('US', 'pumping')`)
	h.refused(t, 409, "no_route", create("sam"))
	var c created
	h.must(t, 201, create("kim")).into(t, &c)
	if c.Recipient != "k•••@example.com" || c.ExpiresAt.IsZero() {
		t.Errorf("the code went to %s", c.Recipient)
	}
	if n := h.gauge(t, "doorcode_sms_countries_stopped"); n != 1 {
		t.Errorf("%v countries are shown as stopped", n)
	}
	h.db.Exec(t, `DELETE FROM sms_countries`)
	h.must(t, 201, create("kim")).into(t, &c)
	if c.Recipient != "•••48" {
		t.Errorf("after the stop the code went to %s", c.Recipient)
	}
	if n := h.gauge(t, "doorcode_sms_countries_stopped"); n != 0 {
		t.Errorf("after the stop %v countries are shown as stopped", n)
	}
}

// It shows SEC-42 and SEC-65 of deploy/SECURITY.md.
func TestCreate_SendsNoTextMessagesByDefault(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.phoned(t, "kim", "+12025550148", "kim@example.com")
	h.must(t, 201, create("kim"))
	if p := h.issued(t)[0]; p.Channel != "email" || len(p.Routes) != 1 {
		t.Errorf("the event is %+v", p)
	}
}

// It shows SEC-65 of deploy/SECURITY.md.
func TestDirectory_TakesPhonesThatCanGetACode(t *testing.T) {
	t.Parallel()
	h := start(t, nil)
	h.settle(t)
	h.phoned(t, "kim", "+1 (202) 555-0148", "")
	want := map[string]any{"workspace": "w", "id": "kim", "role": "member", "phone": "+12025550148", "channel": "sms"}
	if diff := cmp.Diff(want, h.shown(t, "/logins/kim")); diff != "" {
		t.Error(diff)
	}
	// Another way to write the number is the same number.
	h.must(t, 200, put("/logins/kim", fields{"role": "member", "phone": "+12025550148", "channel": "sms"}))
	for i, c := range []struct {
		body    fields
		version int64
	}{
		{fields{"role": "member", "phone": "+12025550148", "channel": "sms"}, 1},
		{fields{"role": "member", "phone": "+12025550149", "channel": "sms"}, 1}, // It keeps its own.
		{fields{"role": "member"}, 1},
		{fields{"role": "administrator"}, 2},
	} {
		h.must(t, 200, put("/logins/kim", c.body))
		if got := h.version(t, "kim"); got != c.version {
			t.Errorf("after put %d the version is %d", i, got)
		}
	}
	for name, c := range map[string]struct {
		body  fields
		field string
	}{
		"premium":         {fields{"role": "member", "phone": "+19005551234"}, "phone"},
		"personal":        {fields{"role": "member", "phone": "+447012345678"}, "phone"},
		"of no plan":      {fields{"role": "member", "phone": "+447700900123"}, "phone"},
		"national":        {fields{"role": "member", "phone": "2025550148"}, "phone"},
		"sms, no phone":   {fields{"role": "member", "channel": "sms"}, "channel"},
		"unknown channel": {fields{"role": "member", "phone": "+12025550148", "channel": "voice"}, "channel"},
	} {
		a := h.do(t, put("/logins/kim", c.body))
		if p := a.problem(t); a.Status != 400 || p.Code != "invalid_request" || p.Field != c.field {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
		if phone, said := c.body["phone"].(string); said && strings.Contains(string(a.Body), phone) {
			t.Errorf("%s: the number is in the answer", name)
		}
	}
}
