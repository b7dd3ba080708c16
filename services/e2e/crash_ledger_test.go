package e2e

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/provider/sandbox"
)

// ledger is all that can be counted after a campaign: what people were told, what
// is on record, what the streams hold, and what reached the sandbox. The laws
// (crash_laws_test.go) are about it alone.
type ledger struct {
	people      []*traveller
	challenges  map[string]challengeRow
	failures    map[string]int // wrong codes in the budget of each login
	audit       []auditRow
	outbox      int
	issued      []event.Issued
	outcomes    []event.Event
	told        []event.Event // deliveries and receipts
	messages    []letter
	references  map[string]int // how often each came to the sandbox
	logs        map[string]string
	unavailable int64
	woke        time.Time // when a dispatcher went on that was stopped with a send in its hands that others ended
	late        string    // the challenge whose first send could be handed over too late alone
	changes     []string  // that receipts made when they came again
}

// challengeRow is a challenge as Postgres has it.
type challengeRow struct {
	ID      string   `json:"id"`
	State   string   `json:"state"`
	Login   string   `json:"login"`
	Wrong   int      `json:"wrong"`
	Sends   int      `json:"sends"`
	Answers []string `json:"check_answers"`
}

// auditRow is a row of the record with the parts of its detail that are counted.
type auditRow struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"`
	Kind      string    `json:"kind"`
	Challenge string    `json:"challenge_id"`
	Detail    struct {
		Send    int    `json:"send"`
		Number  int    `json:"number"`
		Attempt string `json:"attempt"`
		Result  string `json:"result"`
		Reason  string `json:"reason"`
		Detail  string `json:"detail"`
		Status  string `json:"status"`
	} `json:"detail"`
}

// endsSend reports whether a dispatcher said by it that a send has ended.
func (a auditRow) endsSend() bool {
	return a.Kind == string(event.DeliveryAbandoned) ||
		a.Kind == string(event.DeliveryAttempted) && (a.Detail.Result == "accepted" || a.Detail.Result == "permanent")
}

// letter is a message at the sandbox with what it says of itself.
type letter struct {
	sandbox.Message
	reference delivery.Reference
	code      string
}

// count settles the campaign, replays its receipts and gathers the ledger.
func (c *campaign) count(t *testing.T) *ledger {
	t.Helper()
	if trouble := c.troubles(); trouble != "" {
		t.Fatalf("people did not come to the end of their sign-in:\n%s", trouble)
	}
	c.settle(t)
	l := &ledger{people: c.people, logs: map[string]string{}, unavailable: c.unavailable.Load(), references: c.box.References()}
	before := c.record(t)
	c.replayReceipts(t)
	c.settle(t)
	after := c.record(t)
	if before != after {
		l.changes = append(l.changes, "the record before and after the receipts came again:\n"+before+"\n"+after)
	}
	c.fromPostgres(t, l)
	c.fromStreams(t, l)
	for _, m := range c.box.Messages("") {
		ref, err := delivery.ParseReference(m.CustomArgs["dlv"])
		if err != nil {
			t.Fatalf("a message to %s has no reference: %v", m.To, err)
		}
		code, found := findCode(message{Text: m.Text})
		if !found {
			t.Fatalf("a message to %s has no code", m.To)
		}
		l.messages = append(l.messages, letter{Message: m, reference: ref, code: code})
	}
	for _, r := range c.processes() {
		l.logs[r.name] = r.printed()
	}
	return l
}

// rows reads what a query selects, as JSON.
func (c *campaign) rows(t *testing.T, query string, into any) {
	t.Helper()
	var text string
	c.db.Scan(t, `SELECT coalesce(jsonb_agg(to_jsonb(q)), '[]')::text FROM (`+query+`) AS q`, nil, &text)
	err := json.Unmarshal([]byte(text), into)
	if err != nil {
		t.Fatal(err)
	}
}

// record is all that no receipt may change, as one text.
func (c *campaign) record(t *testing.T) string {
	t.Helper()
	var challenges, budgets, audit, deliveries string
	c.db.Scan(t, `SELECT
		(SELECT md5(string_agg(x::text, ' ' ORDER BY id)) FROM challenges x),
		(SELECT md5(string_agg(g::text, ' ' ORDER BY workspace, login)) FROM login_budgets g),
		(SELECT count(*) || ' rows ' || md5(string_agg(a::text, ' ' ORDER BY id, at)) FROM audit a WHERE kind NOT LIKE 'receipt.%'),
		(SELECT count(*) || ' rows ' || md5(string_agg(a::text, ' ' ORDER BY id, at)) FROM audit a WHERE kind LIKE 'receipt.%')`,
		nil, &challenges, &budgets, &audit, &deliveries)
	return strings.Join([]string{"challenges", challenges, "budgets", budgets, "audit", audit, "receipts", deliveries}, " ")
}

// replayReceipts publishes every receipt once more, the last first, under ids that
// the stream does not know: as if the provider had sent them again after hours.
func (c *campaign) replayReceipts(t *testing.T) {
	t.Helper()
	conn := c.bus.Connect(t, "receipts")
	all := c.bus.Messages(t, bus.Deliveries)
	again := 0
	for i := len(all) - 1; i >= 0; i-- {
		m := all[i].Message
		if !strings.HasPrefix(m.Subject, "doorcode.receipt.") {
			continue
		}
		m.ID = "again." + m.ID
		_, err := conn.Publish(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		again++
	}
	if again == 0 {
		t.Error("no receipt came, so none came again")
	}
	bustest.Wait(t, "the copies are in the stream", func() bool { return len(c.bus.Messages(t, bus.Deliveries)) == len(all)+again })
}

// fromPostgres reads what is on record.
func (c *campaign) fromPostgres(t *testing.T, l *ledger) {
	t.Helper()
	var rows []challengeRow
	c.rows(t, `SELECT id, state, login, wrong, sends, check_answers FROM challenges`, &rows)
	l.challenges, l.failures = map[string]challengeRow{}, map[string]int{}
	for _, row := range rows {
		l.challenges[row.ID] = row
	}
	var budgets []struct {
		Login string `json:"login"`
		Wrong int    `json:"wrong"`
	}
	c.rows(t, `SELECT login, cardinality(failures) AS wrong FROM login_budgets`, &budgets)
	for _, b := range budgets {
		l.failures[b.Login] = b.Wrong
	}
	c.rows(t, `SELECT id, at, kind, challenge_id, detail FROM audit ORDER BY at`, &l.audit)
	c.db.Scan(t, `SELECT count(*) FROM outbox`, nil, &l.outbox)
}

// fromStreams reads what the bus holds.
func (c *campaign) fromStreams(t *testing.T, l *ledger) {
	t.Helper()
	for _, m := range c.bus.Messages(t, bus.Challenges) {
		e := parsed(t, m)
		if e.Type != event.ChallengeIssued {
			continue
		}
		var p event.Issued
		err := e.Decode(&p)
		if err != nil {
			t.Fatal(err)
		}
		l.issued = append(l.issued, p)
	}
	for _, m := range c.bus.Messages(t, bus.Deliveries) {
		l.told = append(l.told, parsed(t, m))
	}
	for _, m := range c.bus.Messages(t, bus.Outcomes) {
		l.outcomes = append(l.outcomes, parsed(t, m))
	}
}

// parsed is the event in a stored message.
func parsed(t *testing.T, m bustest.Stored) event.Event {
	t.Helper()
	e, err := event.Parse(m.Subject, m.Header, m.Data)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// challengeIn is the id of the challenge that a handle names.
func challengeIn(handle string) string {
	raw, err := base64.RawURLEncoding.DecodeString(handle)
	if err != nil || len(raw) < 18 {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(raw[2:18])
}

// jti is the id inside an assertion, whose signature others prove.
func jti(assertion string) string {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return ""
	}
	var claims struct {
		ID string `json:"jti"`
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		return ""
	}
	return claims.ID
}
