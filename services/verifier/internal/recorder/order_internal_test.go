package recorder

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/bus"
	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/services/verifier/internal/verifiertest"
)

// told is a message of the bus with its place.
type told struct {
	message bus.Message
	place   postgres.Issued
	issued  *verifiertest.Challenge // of which it is the first event
}

// story writes what happened to a few challenges, in the order in which it did.
type story struct {
	*verifiertest.Rig
	t          *testing.T
	db         *postgres.DB
	challenges []verifiertest.Challenge
	events     []told
}

// add appends an event about a send.
func (s *story) add(t *rapid.T, typ event.Type, id string, at time.Time, challengeID string, payload any) {
	e, err := event.New(typ, id, "doorcode/somebody", at, challengeID, payload)
	if err != nil {
		t.Fatal(err)
	}
	subject, err := event.SubjectOf(typ, "email")
	if err != nil {
		t.Fatal(err)
	}
	s.events = append(s.events, told{message: bus.Message{Subject: subject, ID: id, Header: e.Header(), Data: e.Data}})
}

// begin issues a challenge and draws what becomes of its sends: attempts, honest ends, hand-overs of which nothing is
// ever told, and what the provider reports.
func (s *story) begin(t *rapid.T) {
	c := s.Issue()
	s.challenges = append(s.challenges, c)
	s.events = append(s.events, told{message: s.Envelope(c), place: postgres.Issued{Stream: 7, Sequence: c.Sequence}, issued: &c})
	for earlier := range rapid.IntRange(1, 3).Draw(t, "sends") {
		send := earlier + 1
		for before := range rapid.IntRange(1, 4).Draw(t, "hand-overs") {
			s.handOver(t, c, send, before+1)
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "receipts") {
			at := c.Event.CreatedAt.Add(time.Duration(rapid.IntRange(1, 4).Draw(t, "at")) * time.Minute).Truncate(time.Second)
			status := string(rapid.SampledFrom(delivery.Reportable()).Draw(t, "status"))
			s.add(t, event.ReceiptRecorded, event.ReceiptID("sendgrid", c.ID(), fmt.Sprint(send, i)), at, c.ID(), event.Receipt{
				Channel: "email", Provider: "sendgrid", Challenge: c.ID(), Send: send, Attempt: "AAECAwQFBgc", Status: status, At: at,
			})
		}
	}
}

// handOver draws what came of one hand-over of a send.
func (s *story) handOver(t *rapid.T, c verifiertest.Challenge, send, number int) {
	d := event.Delivery{Challenge: c.ID(), Send: send, Channel: "email", Number: number, RequestedAt: c.Event.CreatedAt.Add(time.Duration(send) * time.Second)}
	at := d.RequestedAt.Add(time.Duration(number) * 10 * time.Second)
	id := fmt.Sprintf("%s.%d.%d", c.ID(), send, number)
	switch rapid.SampledFrom([]string{"attempt", "attempt", "twice", "postponed", "abandoned", "gap"}).Draw(t, "came of it") {
	case "gap":
	case "postponed":
		s.add(t, event.DeliveryPostponed, id+".postponed", at, c.ID(), d)
	case "abandoned":
		d.Reason = delivery.ReasonTooLate.String()
		s.add(t, event.DeliveryAbandoned, id+".abandoned", at, c.ID(), d)
	case "twice": // The broker was killed and counted from the start again.
		s.attempt(t, d, at, "again")
		s.attempt(t, d, at.Add(time.Second), "first")
	case "attempt":
		s.attempt(t, d, at, "first")
	}
}

// attempt is one call to the provider.
func (s *story) attempt(t *rapid.T, d event.Delivery, at time.Time, name string) {
	d.Attempt, d.Provider = fmt.Sprintf("%s-%d-%d", name, d.Send, d.Number), "sendgrid"
	d.Result = string(rapid.SampledFrom(delivery.Results()).Draw(t, "result"))
	s.add(t, event.DeliveryAttempted, d.Challenge+"."+d.Attempt, at, d.Challenge, d)
}

// record feeds messages to the recorder as one batch.
func (s *story) record(t *rapid.T, batch ...told) {
	all := make([]whole, len(batch))
	for i, e := range batch {
		var err error
		all[i].rows, err = rowsOf(e.message, e.place)
		if err != nil {
			t.Fatal(err)
		}
	}
	err := s.db.Record(s.t.Context(), join(all))
	if err != nil {
		t.Fatal(err)
	}
}

// record is what is known at the end of a run.
type record struct {
	audit, challenges, statuses string
	unknown                     []string // hand-overs that nobody told of, as far as the recorder knew
}

// take reads what is known and forgets it.
func (s *story) take(t *rapid.T) record {
	var r record
	ids := make([]string, len(s.challenges))
	for i, c := range s.challenges {
		ids[i] = c.ID()
		live, err := s.db.Live(s.t.Context(), c.ID())
		if err != nil {
			t.Fatal(err)
		}
		for send := 1; send <= challenge.MaxSends; send++ {
			ended, accepted, err := s.db.Delivery(s.t.Context(), c.ID(), send)
			if err != nil {
				t.Fatal(err)
			}
			r.statuses += fmt.Sprintf("%s: %+v, ended %v, accepted %v\n", c.ID(), delivery.StatusOf(send, live.Delivered), ended, accepted)
		}
	}
	const gap = `(kind = 'delivery.v1.attempted' AND actor = 'doorcode/verifier')`
	s.PG.Scan(s.t, `SELECT coalesce(string_agg((to_jsonb(a) - 'tx')::text, E'\n' ORDER BY id, at), '') FROM audit a WHERE challenge_id = ANY($1) AND NOT `+gap,
		[]any{ids}, &r.audit)
	s.PG.Scan(s.t, `SELECT coalesce(array_agg(id || ' ' || detail ORDER BY id, at), '{}') FROM audit WHERE challenge_id = ANY($1) AND `+gap,
		[]any{ids}, &r.unknown)
	s.PG.Scan(s.t, `SELECT string_agg(to_jsonb(c)::text, E'\n' ORDER BY id) FROM challenges c WHERE id = ANY($1)`, []any{ids}, &r.challenges)
	s.PG.Exec(s.t, `DELETE FROM audit WHERE challenge_id = ANY($1)`, ids)
	s.PG.Exec(s.t, `DELETE FROM challenges WHERE id = ANY($1)`, ids)
	return r
}

// P1, P9: whatever order events come in, however often and however cut into batches, and whoever asked for a challenge in
// between, the same is on record as if each had come once and in turn. A hand-over whose event is overtaken by a later
// one is unknown for the time being; that row stays, and changes no status.
func TestP9_AnyOrderAndRepetitionLeavesTheSameRecord(t *testing.T) {
	t.Parallel()
	rig := verifiertest.New(t)
	db := rig.DB()
	rapid.Check(t, func(rt *rapid.T) {
		s := &story{Rig: rig, t: t, db: db}
		for range rapid.IntRange(1, 3).Draw(rt, "challenges") {
			s.begin(rt)
		}
		for _, e := range s.events {
			s.record(rt, e)
		}
		want := s.take(rt)

		repeated := rapid.SliceOfN(rapid.SampledFrom(s.events), 0, len(s.events)).Draw(rt, "repeated")
		mixed := rapid.Permutation(slices.Concat(s.events, repeated)).Draw(rt, "mixed")
		for len(mixed) > 0 {
			if rapid.IntRange(0, 4).Draw(rt, "asked for") == 0 {
				s.materialise(rt)
			}
			n := rapid.IntRange(1, len(mixed)).Draw(rt, "batch")
			s.record(rt, mixed[:n]...)
			mixed = mixed[n:]
		}
		got := s.take(rt)

		if got.audit != want.audit || got.challenges != want.challenges || got.statuses != want.statuses {
			rt.Fatalf("on record is\n%+v\nnot\n%+v", got, want)
		}
		for _, u := range want.unknown {
			if !slices.Contains(got.unknown, u) {
				rt.Fatalf("%s is missing", u)
			}
		}
		for _, u := range got.unknown {
			if !slices.Contains(want.unknown, u) && !s.tells(u) {
				rt.Fatalf("%s is on record, and nobody ever handed it over", u)
			}
		}
	})
}

// materialise records a challenge for somebody who asks about it.
func (s *story) materialise(t *rapid.T) {
	c := rapid.SampledFrom(s.challenges).Draw(t, "challenge")
	expired, err := s.db.Materialise(s.t.Context(), postgres.Issued{Event: c.Event, Stream: 7, Sequence: c.Sequence})
	if err != nil || expired {
		t.Fatalf("expired %v: %v", expired, err)
	}
}

// tells reports whether an event of the hand-over of an unknown row came, if only later.
func (s *story) tells(row string) bool {
	id, _, _ := strings.Cut(row, " ")
	return slices.ContainsFunc(s.events, func(e told) bool {
		var d event.Delivery
		parsed, err := event.Parse(e.message.Subject, e.message.Header, e.message.Data)
		if err != nil || !ofDelivery(parsed.Type) || parsed.Decode(&d) != nil {
			return false
		}
		return delivery.UnknownID(d.Challenge, d.Send, d.Number) == id
	})
}
