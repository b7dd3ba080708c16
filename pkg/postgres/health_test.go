package postgres_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/health"
	"doorcode/pkg/postgres"
)

// sentMessage is a message of a challenge, as the record has it.
type sentMessage struct {
	way  health.Way
	fact health.Fact
	send int
}

// rows are the audit rows of a message, each with what another copy of it would be.
func (m sentMessage) rows(t *rapid.T, id string) []postgres.Audit {
	attempt := fmt.Sprintf("attempt-%03d", m.send)
	detail := event.Delivery{
		Challenge: id, Send: m.send, Channel: string(m.way.Channel), Number: 1, RequestedAt: m.fact.RequestedAt, Attempt: attempt,
		Provider: m.way.Provider, Destination: m.way.Destination, Result: string(delivery.Permanent),
	}
	if m.fact.Accepted {
		detail.Result = string(delivery.Accepted)
	}
	if m.fact.Notice {
		detail.Notice = "locked"
	}
	rows := []postgres.Audit{auditRow(t, fmt.Sprintf("%s.%d.%s", id, m.send, attempt), event.DeliveryAttempted, m.fact.At, id, detail)}
	receipt := func(at time.Time, status delivery.Status, copies string) {
		rows = append(rows, auditRow(t, fmt.Sprintf("%s.%d.%s.%s", id, m.send, status, copies), event.ReceiptRecorded, at, id, event.Receipt{
			Channel: detail.Channel, Provider: detail.Provider, Challenge: id, Send: m.send, Attempt: attempt, Status: string(status), At: at,
		}))
	}
	if !m.fact.DeliveredAt.IsZero() {
		receipt(m.fact.DeliveredAt, delivery.StatusDelivered, "a")
		receipt(m.fact.DeliveredAt.Add(time.Second), delivery.StatusDelivered, "b")
		receipt(m.fact.DeliveredAt, delivery.StatusDeferred, "c")
	}
	if m.fact.Failed {
		receipt(m.fact.At.Add(time.Hour), delivery.StatusFailed, "d")
	}
	return rows
}

func auditRow(t interface{ Fatal(args ...any) }, id string, kind event.Type, at time.Time, about string, detail any) postgres.Audit {
	data, err := json.Marshal(detail)
	if err != nil {
		t.Fatal(err)
	}
	return postgres.Audit{ID: id, At: at, Kind: kind, Challenge: about, Actor: "doorcode/test", Detail: data}
}

// drawChallenge draws the messages of a challenge or notice, all of whose calls ended in one minute.
func drawChallenge(t *rapid.T, minute time.Time) []sentMessage {
	var all []sentMessage
	notice := rapid.Bool().Draw(t, "notice")
	var approved time.Time
	if !notice && rapid.Bool().Draw(t, "approved") {
		approved = minute.Add(time.Duration(rapid.IntRange(0, 120).Draw(t, "approved after")) * time.Second)
	}
	at := minute
	for send := 1; send <= rapid.IntRange(1, 3).Draw(t, "sends") && (send == 1 || !notice); send++ {
		at = at.Add(time.Duration(rapid.IntRange(1, 15).Draw(t, "pause")) * time.Second)
		m := sentMessage{send: send, fact: health.Fact{
			RequestedAt: at.Add(-time.Duration(rapid.IntRange(0, 700).Draw(t, "queued")) * time.Second), At: at,
			Accepted: rapid.Bool().Draw(t, "accepted"), Notice: notice, ApprovedAt: approved,
		}}
		m.way = rapid.SampledFrom([]health.Way{
			{Channel: delivery.SMS, Provider: "vonage", Destination: "ES"},
			{Channel: delivery.SMS, Provider: "vonage", Destination: "FR"},
			{Channel: delivery.Email, Provider: "sendgrid", Destination: "other"},
			{Channel: delivery.Email, Provider: "sendgrid"},
		}).Draw(t, "way")
		if m.fact.Accepted {
			m.fact.Failed = rapid.Bool().Draw(t, "failed")
			if rapid.Bool().Draw(t, "delivered") {
				m.fact.DeliveredAt = at.Add(time.Duration(rapid.IntRange(0, 700).Draw(t, "delivered after")) * time.Second)
			}
		}
		all = append(all, m)
	}
	for i := range all { // The next one that was accepted.
		for _, later := range all[i+1:] {
			if later.fact.Accepted && all[i].fact.NextAt.IsZero() {
				all[i].fact.NextAt = later.fact.At
			}
		}
	}
	return all
}

// What the database counts is what pkg/health counts from the same facts, in whatever order and however often they came.
func TestCountMinutes_CountsAsTheDefinitionsSay(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	minute := s.now().Truncate(time.Minute).Add(-20 * time.Minute)
	rapid.Check(t, func(t *rapid.T) {
		s.pg.Exec(s.t, `TRUNCATE audit, channel_minutes, channel_rounds`)
		want := map[health.Way][]health.Fact{}
		var batch postgres.Batch
		for range rapid.IntRange(1, 6).Draw(t, "challenges") {
			id, err := challenge.NewID()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range drawChallenge(t, minute) {
				want[m.way] = append(want[m.way], m.fact)
				batch.Audit = append(batch.Audit, m.rows(t, id)...)
				if !m.fact.ApprovedAt.IsZero() && m.send == 1 {
					batch.Audit = append(batch.Audit, auditRow(t, id+".approved", event.ChallengeApproved, m.fact.ApprovedAt, id, struct{}{}))
				}
			}
		}
		// Beside them: a hand-over of which nothing is known, and a call of another minute.
		batch.Audit = append(batch.Audit, auditRow(t, "gap", event.DeliveryAttempted, minute, "gap", map[string]any{"channel": "sms", "result": "unknown"}),
			auditRow(t, "next", event.DeliveryAttempted, minute.Add(time.Minute), "next", event.Delivery{Channel: "sms", Provider: "vonage", Result: "accepted"}))
		half := len(batch.Audit) / 2
		s.record(postgres.Batch{Audit: rapid.Permutation(batch.Audit).Draw(t, "order")[:half]})
		s.countOnly(t, minute)
		s.record(batch, batch)
		s.countOnly(t, minute)
		got, err := s.db.HealthOver(s.t.Context(), postgres.Span{From: minute, To: minute.Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Errorf("%d ways, not %d", len(got), len(want))
		}
		for _, w := range got {
			if counts := health.Count(want[w.Way]); w.Counts != counts {
				t.Errorf("%+v:\n%+v, not\n%+v of\n%+v", w.Way, w.Counts, counts, want[w.Way])
			}
		}
	})
}

// countOnly counts one minute.
func (s *stage) countOnly(t interface {
	Fatalf(format string, args ...any)
}, minute time.Time,
) {
	s.pg.Exec(s.t, `TRUNCATE channel_rounds`)
	s.pg.Exec(s.t, `INSERT INTO channel_rounds (minute, next_at) VALUES ($1, now()), (date_trunc('minute', now()) + interval '1 hour', NULL)`, minute)
	n, err := s.db.CountMinutes(s.t.Context(), 60)
	if n != 1 || err != nil {
		t.Fatalf("%d minutes counted, %v", n, err)
	}
}

func TestCountMinutes_CountsAMinuteAgainAsItAges(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	n, err := s.db.CountMinutes(t.Context(), 60)
	if n != 16 && n != 17 || err != nil { // A minute may have begun meanwhile.
		t.Fatalf("the first round counted %d minutes, %v", n, err)
	}
	for age, next := range map[string]string{"30 seconds": "1 minute", "90 seconds": "2 minutes", "8 minutes": "10 minutes", "20 minutes": "1 hour", "2 days": "3 days"} {
		s.pg.Exec(t, `TRUNCATE channel_rounds`)
		s.pg.Exec(t, `INSERT INTO channel_rounds (minute, next_at) VALUES (now() - $1::interval, now()), (now() + interval '1 hour', NULL)`, age)
		n, err = s.db.CountMinutes(t.Context(), 60)
		if n != 1 || err != nil {
			t.Errorf("%s: %d counted, %v", age, n, err)
		}
		s.wantCount(1, `SELECT count(*) FROM channel_rounds WHERE next_at = minute + $1::interval AND counted_at > minute`, next)
	}
	s.pg.Exec(t, `UPDATE channel_rounds SET minute = now() - interval '4 days', next_at = now() WHERE next_at IS NOT NULL`)
	n, err = s.db.CountMinutes(t.Context(), 60)
	if n != 1 || err != nil {
		t.Errorf("%d counted, %v", n, err)
	}
	s.wantCount(0, `SELECT count(*) FROM channel_rounds WHERE next_at IS NOT NULL`)
}

func TestCountMinutes_CatchesUpADayAtMostTheNewestFirst(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.pg.Exec(t, `INSERT INTO channel_rounds (minute) VALUES (date_trunc('minute', now()) - interval '3 days')`)
	n, err := s.db.CountMinutes(t.Context(), 5)
	if n != 5 || err != nil {
		t.Fatalf("%d counted, %v", n, err)
	}
	if counted := s.count(`SELECT count(*) FROM channel_rounds WHERE counted_at IS NOT NULL AND minute > now() - interval '8 minutes'`); counted < 4 {
		t.Errorf("%d of the newest minutes are counted", counted) // One is counted twice when the next begins meanwhile.
	}
	if open := s.count(`SELECT count(*) FROM channel_rounds WHERE counted_at IS NULL`); open < 1430 || open > 1440 {
		t.Errorf("%d minutes are left", open)
	}
	at, err := s.db.HealthAt(t.Context())
	if err != nil || s.now().Sub(at) > 3*time.Minute {
		t.Errorf("counted up to %v, %v", at, err)
	}
}

// Two verifiers count at the same time: neither waits for the other, and nothing is counted twice.
func TestCountMinutes_LeavesToOthersWhatTheyCount(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.pg.Exec(t, `INSERT INTO channel_rounds (minute, next_at)
		VALUES (now() - interval '2 minutes', now()), (now() - interval '1 minute', now()), (now() + interval '1 hour', NULL)`)
	_, release := s.hold(`SELECT * FROM channel_rounds WHERE minute BETWEEN now() - interval '90 seconds' AND now() FOR UPDATE`)
	defer release()
	n, err := s.db.CountMinutes(t.Context(), 60)
	if n != 1 || err != nil {
		t.Errorf("%d counted, %v", n, err)
	}
}

func TestHealthOver_SumsSpansByWay(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	now := s.now().Truncate(time.Minute)
	bins := func(first int) string { return "{" + strconv.Itoa(first) + ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,7}" }
	for i, destination := range []string{"ES", "ES", "ES", "FR", "ES"} {
		s.pg.Exec(t, `INSERT INTO channel_minutes VALUES ($1, 'sms', 'vonage', $2, $3, 9, 8, 1, 7, 6, $4::int[], $5::int[])`,
			now.Add(-time.Duration(i)*time.Minute), destination, 10+i, bins(i), bins(1))
	}
	got, err := s.db.HealthOver(t.Context(), postgres.Span{From: now.Add(-time.Minute), To: now.Add(time.Minute)}, postgres.Span{From: now.Add(-4 * time.Minute), To: now.Add(-2 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Way != (health.Way{Channel: delivery.SMS, Provider: "vonage", Destination: "ES"}) || got[1].Way.Destination != "FR" {
		t.Fatalf("%+v", got)
	}
	es := got[0].Counts
	if es.Sent != 10+11+14 || es.Accepted != 27 || es.Delivered != 24 || es.Failed != 3 || es.Codes != 21 || es.Verified != 18 ||
		es.AcceptedIn[0] != 0+1+4 || es.AcceptedIn[16] != 21 || es.DeliveredIn[0] != 3 || es.DeliveredIn[1] != 0 {
		t.Errorf("%+v", es)
	}
}

func TestCountQueues_ShowsWhatWaitsForItsFirstCall(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sms := func(e *event.Issued) { e.Channel, e.Routes[0].Channel = "sms", "sms" }
	old := s.challenge(sms, func(e *event.Issued) { e.CreatedAt = e.CreatedAt.Add(-2 * time.Minute) })
	young, ended, given := s.challenge(sms), s.challenge(sms), s.challenge()
	again := s.challenge()
	s.check(ended, mac(1), "right")
	s.row("1", time.Second, event.DeliveryAbandoned, given, `{"send": 1}`)
	s.row("2", time.Second, event.DeliveryAttempted, again, `{"send": 1, "result": "accepted"}`)
	queues := func() []postgres.Queue {
		err := s.db.CountQueues(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all, err := s.db.Queues(t.Context())
		if err != nil || len(all) != 2 || all[0].Channel != delivery.Email || all[1].Channel != delivery.SMS {
			t.Fatalf("%+v, %v", all, err)
		}
		return all
	}
	all := queues()
	if all[0].Waiting != 0 || !all[0].Oldest.IsZero() {
		t.Errorf("of e-mail: %+v", all[0])
	}
	if age := all[1].At.Sub(all[1].Oldest); all[1].Waiting != 2 || age < 2*time.Minute || age > 5*time.Minute {
		t.Errorf("of text messages: %+v", all[1])
	}
	s.row("3", time.Second, event.DeliveryAttempted, old, `{"send": 1, "result": "temporary"}`)
	s.row("4", time.Second, event.DeliveryAttempted, young, `{"send": 1, "result": "accepted"}`)
	s.pg.Exec(t, `UPDATE challenges SET sends = 2, send_routes = '{0,0}' WHERE id = $1`, again)
	s.row("5", -time.Second, "delivery.v1.requested", again, `{"send": 2}`)
	all = queues()
	if age := all[0].At.Sub(all[0].Oldest); all[0].Waiting != 1 || age > time.Minute || all[1].Waiting != 0 {
		t.Errorf("after the calls: %+v", all)
	}
	if slices.ContainsFunc(all, func(q postgres.Queue) bool { return q.At.IsZero() }) {
		t.Error("a queue has no time")
	}
}

// A minute is read by the times of the rows and not with the whole day, and what became of each message by its challenge.
func TestCountMinutes_ReadsItsMinuteAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	noon := s.now().Truncate(24 * time.Hour).Add(36 * time.Hour) // of tomorrow: one partition, whatever the hour is
	s.pg.Exec(t, `INSERT INTO audit (id, at, kind, challenge_id, actor, detail)
		SELECT i || k, $1::timestamptz - interval '10 hours' + i * interval '1 second', k, 'c' || i, 'd',
		       jsonb_build_object('provider', 'vonage', 'channel', 'sms', 'attempt', i, 'result', 'accepted', 'status', 'delivered', 'requested_at', $1::timestamptz)
		  FROM generate_series(1, 36000) AS i, unnest('{delivery.v1.attempted,receipt.v1.recorded,challenge.v1.approved}'::text[]) AS k
		 ORDER BY i, k`, noon)
	s.pg.Exec(t, `ANALYZE audit`)
	conn, err := pgx.Connect(t.Context(), s.pg.OwnerURL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	plan := s.plan(conn, postgres.CountMinute(noon.Add(-5*time.Hour)))
	for _, step := range regexp.MustCompile(`(?:actual time=\S+ rows=|Rows Removed by [A-Za-z ]+: )(\d+)`).FindAllStringSubmatch(plan, -1) {
		if len(step[1]) > 4 {
			t.Errorf("it reads %s rows:\n%s", step[1], plan)
		}
	}
	s.wantCount(60, `SELECT sum(verified) FROM channel_minutes`)
}

func TestHealthSteps_AreSharesByStep(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	begin := s.now().Truncate(time.Minute).Add(-time.Hour)
	zeros := make([]int, health.Bins)
	for minute, codes := range map[int]int{-1: 5, 0: 10, 9: 20, 10: 40, 25: 0, 60: 7} {
		s.pg.Exec(t, `INSERT INTO channel_minutes VALUES ($1, 'sms', 'vonage', 'ES', 100, 90, 80, 1, $2, $2 / 2, $3, $3)`,
			begin.Add(time.Duration(minute)*time.Minute), codes, zeros)
	}
	got, err := s.db.HealthSteps(t.Context(), postgres.Span{From: begin, To: begin.Add(time.Hour)}, 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || !got[0].At.Equal(begin) || got[0].Verified != (health.Share{Part: 15, Of: 30}) ||
		!got[1].At.Equal(begin.Add(10*time.Minute)) || got[1].Verified != (health.Share{Part: 20, Of: 40}) || got[1].Way.Destination != "ES" {
		t.Errorf("%+v", got)
	}
}
