package postgres_test

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/event"
	"doorcode/pkg/limit"
	"doorcode/pkg/postgres"
)

// byText makes the first route of a challenge the phone of its own number n, under a cap for all.
func byText(n byte, ceiling int) func(*event.Issued) {
	return func(e *event.Issued) {
		text := event.Route{
			Channel: "sms", Recipient: "•••48", Address: []byte{n}, PerHour: 5, PerDay: 10, Cap: ceiling,
			Envelope: strings.Repeat("textpart", 20),
		}
		e.Channel, e.Routes = "sms", append([]event.Route{text}, e.Routes...)
	}
}

// by asks for one more message by a route.
func (s *stage) by(id string, key, route int) bool {
	s.t.Helper()
	f, err := s.db.Facts(s.t.Context(), id)
	if err != nil {
		s.t.Error(err)
		return false
	}
	for {
		_, ok, err := s.db.Resend(s.t.Context(), postgres.Resend{Challenge: id, Key: mac(key)[0], Index: route, Route: f.Routes[route]})
		if postgres.IsContended(err) {
			continue
		}
		if err != nil {
			s.t.Error(err)
		}
		return ok
	}
}

// It shows SEC-66 of deploy/SECURITY.md.
func TestResend_TheCapOfTextMessagesIsExactOverAllNumbers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const ceiling, asked = 7, 12
	ids := make([]string, asked)
	for i := range ids {
		ids[i] = s.challenge(byText(byte(i), ceiling))
	}
	s.waited()
	var taken atomic.Int32
	parallel(asked, func(i int) {
		if s.by(ids[i], i, 0) {
			taken.Add(1)
		}
	})
	if taken.Load() != ceiling {
		t.Errorf("%d text messages were taken", taken.Load())
	}
	s.wantCount(ceiling, `SELECT cardinality(times) FROM limits WHERE dimension = 'sms_spend' AND cardinality(times) = cardinality(entries)`)
	// Who was refused by the cap took nothing of the recipient's limit either.
	s.wantCount(ceiling, `SELECT coalesce(sum(cardinality(times)), 0) FROM limits WHERE dimension = 'recipient'`)
	s.wantCount(ceiling, `SELECT count(*) FROM outbox`)
	s.wantCount(ceiling, `SELECT count(*) FROM challenges WHERE sends = 2`)
}

func TestResend_AFullNumberTakesNothingOfTheCap(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge(byText(1, 3))
	s.waited()
	s.pg.Exec(t, `INSERT INTO limits (dimension, key, times, entries) SELECT 'recipient', '\x01',
		array_agg(clock_timestamp() - interval '59 minutes'), array_agg(n::bigint) FROM generate_series(1, 5) n`)
	if s.by(id, 1, 0) {
		t.Error("a sixth message within an hour was taken")
	}
	s.wantCount(0, `SELECT coalesce(sum(cardinality(times)), 0) FROM limits WHERE dimension = 'sms_spend'`)
}

func TestResend_EMailKnowsNoCap(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id := s.challenge(byText(1, 1))
	s.waited()
	if !s.by(id, 1, 0) {
		t.Fatal("the first text message was refused")
	}
	s.waited()
	if s.by(id, 2, 0) {
		t.Error("the cap was not obeyed")
	}
	if !s.by(id, 3, 1) {
		t.Error("an e-mail was refused although the cap is one of text messages")
	}
	events := s.outbox(event.DeliveryRequested)
	if len(events) != 2 {
		t.Fatalf("%d events", len(events))
	}
	for _, e := range events {
		validate(t, e)
		send, err := event.SendOf(e)
		if err != nil {
			t.Fatal(err)
		}
		if (send.Number == 2) != (send.Channel == "sms") || (send.Channel == "sms") != strings.HasPrefix(send.Envelope, "textpart") {
			t.Errorf("%+v", send)
		}
	}
	// The entry is that of the send, and what is older than a day is dropped.
	sum := sha256.Sum256([]byte(id + ".send.2"))
	s.wantCount(1, `SELECT count(*) FROM limits WHERE dimension = 'sms_spend' AND entries = ARRAY[$1::bigint]`,
		int64(binary.BigEndian.Uint64(sum[:])))
	s.pg.Exec(t, `UPDATE limits SET times = ARRAY[clock_timestamp() - interval '25 hours'] WHERE dimension = 'sms_spend'`)
	s.waited()
	if !s.by(id, 4, 0) {
		t.Error("a message of yesterday fills the cap")
	}
	times, now, err := s.db.Taken(t.Context(), limit.Spend, limit.SpendKey())
	if err != nil || len(times) != 1 || now.Sub(times[0]) > time.Hour {
		t.Errorf("%d times: %v", len(times), err)
	}
}
