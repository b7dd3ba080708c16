package postgres_test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
)

// attempted is the audit row and the hand-over of one attempt.
func attempted(t *testing.T, id string, send, number int, at time.Time, result delivery.Result) postgres.Batch {
	t.Helper()
	detail, err := json.Marshal(event.Delivery{
		Challenge: id, Send: send, Channel: "email", Number: number, RequestedAt: at, Attempt: fmt.Sprintf("attempt-%03d", number),
		Provider: "sendgrid", Result: string(result),
	})
	if err != nil {
		t.Fatal(err)
	}
	return postgres.Batch{
		Audit: []postgres.Audit{{
			ID: fmt.Sprintf("%s.%d.attempt-%03d", id, send, number), At: at.Add(time.Duration(number) * time.Second),
			Kind: event.DeliveryAttempted, Challenge: id, Actor: "doorcode/email-dispatcher", Detail: detail,
		}},
		Handed: []postgres.Handed{{Challenge: id, Send: send, Number: number, Channel: "email", RequestedAt: at}},
	}
}

// record writes batches as one.
func (s *stage) record(batches ...postgres.Batch) {
	s.t.Helper()
	var all postgres.Batch
	for _, b := range batches {
		all.Challenges = append(all.Challenges, b.Challenges...)
		all.Audit = append(all.Audit, b.Audit...)
		all.Handed = append(all.Handed, b.Handed...)
	}
	err := s.db.Record(s.t.Context(), all)
	if err != nil {
		s.t.Fatal(err)
	}
}

// It shows SEC-62 of deploy/SECURITY.md.
func TestRecord_OrderAndRepetitionChangeNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	c := s.issue()
	id, at := c.Event.Challenge, s.now()
	one := attempted(t, id, 1, 1, at, delivery.Temporary)
	two := attempted(t, id, 1, 2, at, delivery.Accepted)
	issued := postgres.Batch{Challenges: []postgres.Issued{c}}
	s.record(two, one, issued, two)
	s.record(issued, one)
	parallel(4, func(int) { s.record(issued, one, two) })
	s.wantCount(2, `SELECT count(*) FROM audit WHERE challenge_id = $1`, id)
	s.wantCount(1, `SELECT count(*) FROM challenges`)
	s.check(id, mac(1), "wrong")
	s.record(issued)
	s.wantCount(1, `SELECT wrong FROM challenges`)
}

func TestP5_AGapOfHandOversIsUnknownOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	id, at := s.challenge(), s.now()
	four := attempted(t, id, 1, 4, at, delivery.Accepted)
	two := attempted(t, id, 1, 2, at, delivery.Temporary)
	other := attempted(t, id, 2, 1, at, delivery.Accepted)
	parallel(4, func(int) { s.record(four, two, other) })
	s.record(four)
	for number, want := range map[int]int{1: 1, 2: 0, 3: 1, 4: 0} {
		s.wantCount(want, `SELECT count(*) FROM audit WHERE id = $1 AND at = $2 AND kind = 'delivery.v1.attempted'
			AND detail ->> 'result' = 'unknown'`, delivery.UnknownID(id, 1, number), at)
	}
	s.wantCount(5, `SELECT count(*) FROM audit WHERE challenge_id = $1`, id)
	ended, accepted, err := s.db.Delivery(t.Context(), id, 1)
	if err != nil || ended || !accepted {
		t.Errorf("%v %v %v", ended, accepted, err)
	}
}

// row is an audit row of that content.
func row(id string, at time.Time, detail string) postgres.Audit {
	return postgres.Audit{ID: id, At: at, Kind: "k", Actor: "a", Detail: json.RawMessage(detail)}
}

// longText is a text that compression does not make short.
func longText(t *testing.T) string {
	t.Helper()
	raw := make([]byte, 4096)
	_, err := rand.Read(raw)
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(raw)
}

func TestRecord_TellsContentThatIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	good := s.issue()
	for name, bad := range map[string]postgres.Batch{
		"limit above its ceiling": {Challenges: []postgres.Issued{s.issue(func(e *event.Issued) { e.Policy.WrongPerChallenge = 6 })}},
		"nul in a text":           {Audit: []postgres.Audit{row("x", s.now(), `{"a":"\u0000"}`)}},
		"id above an index row":   {Audit: []postgres.Audit{row(longText(t), s.now(), `{}`)}},
		"year above four digits":  {Audit: []postgres.Audit{row("x", time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("west", -12*3600)), `{}`)}},
		"detail that is no JSON":  {Audit: []postgres.Audit{row("x", s.now(), `{`)}},
	} {
		bad.Challenges = append(bad.Challenges, good)
		err := s.db.Record(t.Context(), bad)
		if !postgres.IsRejected(err) || postgres.IsUnavailable(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.wantCount(0, `SELECT count(*) FROM challenges`)
}

func TestP8_64ChecksAndARecorderMakeOneRow(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for range 5 {
		s.pg.Exec(t, `UPDATE login_budgets SET failures = '{}'`)
		c := s.issue()
		var approved atomic.Int32
		parallel(65, func(i int) {
			if i == 64 {
				s.record(postgres.Batch{Challenges: []postgres.Issued{c}})
				return
			}
			expired, err := s.db.Materialise(t.Context(), c)
			if err != nil || expired {
				t.Errorf("expired %v: %v", expired, err)
			}
			if j, _ := s.check(c.Event.Challenge, mac(i), "right"); j.Approved {
				approved.Add(1)
			}
		})
		if approved.Load() != 1 {
			t.Errorf("%d approved", approved.Load())
		}
	}
}

// It shows SEC-03 of deploy/SECURITY.md.
func TestMaterialise_NeverAnExpiredChallenge(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	c := s.issue(func(e *event.Issued) { e.ExpiresAt = e.CreatedAt })
	expired, err := s.db.Materialise(t.Context(), c)
	if err != nil || !expired {
		t.Errorf("expired %v: %v", expired, err)
	}
	s.wantCount(0, `SELECT count(*) FROM challenges`)
	// The recorder writes it all the same, and then it is there.
	s.record(postgres.Batch{Challenges: []postgres.Issued{c}})
	expired, err = s.db.Materialise(t.Context(), c)
	if err != nil || expired {
		t.Errorf("expired %v: %v", expired, err)
	}
}

func TestRecord_MarksTheLoginsThatChangedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.login("ben")
	s.pg.Exec(t, `UPDATE login_budgets SET version = 3, swept_version = 3 WHERE login = 'anna'`)
	s.challenge(func(e *event.Issued) { e.Login = "ben" })
	expired, err := s.db.Materialise(t.Context(), s.issue())
	if err != nil || expired {
		t.Fatalf("expired %v: %v", expired, err)
	}
	s.wantCount(1, `SELECT count(*) FROM login_budgets WHERE version <> swept_version AND login = 'anna'`)
	s.pg.Exec(t, `UPDATE login_budgets SET swept_version = version`)
	s.challenge()
	s.wantCount(1, `SELECT count(*) FROM login_budgets WHERE version <> swept_version AND login = 'anna'`)
	s.wantCount(1, `SELECT count(*) FROM login_budgets WHERE version = swept_version AND login = 'ben'`)
	ended, err := s.db.EndOutdated(t.Context(), 10)
	if err != nil || len(ended) != 2 {
		t.Errorf("%v %v", ended, err)
	}
}

func TestLive_TellsStateAndMessages(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	c := s.issue()
	id := c.Event.Challenge
	_, err := s.db.Live(t.Context(), id)
	if err != postgres.ErrNoChallenge { //nolint:errorlint // The error itself is promised.
		t.Errorf("unexpected error: %v", err)
	}
	s.record(postgres.Batch{Challenges: []postgres.Issued{c}}, attempted(t, id, 1, 1, s.now(), delivery.Accepted))
	s.waited()
	s.resend(id, 1)
	s.check(id, mac(1), "wrong")
	l, err := s.db.Live(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if l.State != challenge.Pending || l.Wrong != 1 || l.WrongMax != 5 || l.Sends != 2 || len(l.Delivered) != 2 {
		t.Errorf("%+v", l)
	}
	if got := delivery.StatusOf(1, l.Delivered).Status; got != delivery.StatusAccepted {
		t.Errorf("send 1: %s", got)
	}
	if got := delivery.StatusOf(2, l.Delivered).Status; got != delivery.StatusQueued {
		t.Errorf("send 2: %s", got)
	}
	s.pg.Exec(t, `UPDATE challenges SET expires_at = clock_timestamp()`)
	l, err = s.db.Live(t.Context(), id)
	if err != nil || l.State != challenge.Expired {
		t.Errorf("state %s: %v", l.State, err)
	}
	ended, accepted, err := s.db.Delivery(t.Context(), id, 2)
	if err != nil || !ended || accepted {
		t.Errorf("%v %v %v", ended, accepted, err)
	}
	ended, accepted, err = s.db.Delivery(t.Context(), "nothing", 1)
	if err != nil || ended || accepted {
		t.Errorf("%v %v %v", ended, accepted, err)
	}
}
