package postgres_test

import (
	"context"
	"crypto/sha256"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/pkg/postgres/pgtest"
)

// waitLimit bounds every wait of a test.
const waitLimit = 2 * time.Minute

// stage is a database with one login, `acme` / `anna`, and the verifier's view of it.
type stage struct {
	t       testing.TB
	pg      *pgtest.Database
	db      *postgres.DB
	counter atomic.Int64
}

// newStage opens a database whose locks are waited for long enough to look at the waiting.
func newStage(t testing.TB) *stage {
	t.Helper()
	pg := pgtest.Open(t)
	cfg := pg.VerifierConfig()
	cfg.Params = map[string]string{"lock_timeout": "20s", "statement_timeout": "30s"}
	db, err := postgres.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	s := &stage{t: t, pg: pg, db: inForm(t.Name(), db)}
	s.login("anna")
	return s
}

// login makes the budget of a login.
func (s *stage) login(id string) {
	s.t.Helper()
	s.pg.Exec(s.t, `INSERT INTO login_budgets (workspace, login) VALUES ('acme', $1)`, id)
}

// now is the database clock.
func (s *stage) now() time.Time {
	s.t.Helper()
	var at time.Time
	s.pg.Scan(s.t, `SELECT clock_timestamp()`, nil, &at)
	return at.UTC()
}

// digest is a digest that depends on a word: "right" is the stored one.
func digest(word string) []byte {
	sum := sha256.Sum256([]byte(word))
	return sum[:]
}

// mac names a check.
func mac(n int) [][]byte { return [][]byte{digest("check " + strconv.Itoa(n))} }

// issue makes a challenge of anna that is not recorded yet.
func (s *stage) issue(change ...func(*event.Issued)) postgres.Issued {
	s.t.Helper()
	id, err := challenge.NewID()
	if err != nil {
		s.t.Fatal(err)
	}
	now := s.now()
	e := event.Issued{
		Challenge: id, Workspace: "acme", Login: "anna", LoginVersion: 1, FrontEnd: "web", Purpose: challenge.SignIn,
		Channel: "email", Label: "BCD", SupportReference: "4F72KQ9R", Locale: "en", DigestKey: 1, Digest: digest("right"),
		TagKey: 1, Policy: challenge.DefaultPolicy(), CreatedAt: now, ExpiresAt: now.Add(10 * time.Minute),
		ResendAt: now.Add(30 * time.Second), Fingerprint: digest("request"),
		Routes: []event.Route{{
			Channel: "email", Recipient: "a•••@example.com", Address: digest("anna@example.com"), PerHour: 20, PerDay: 60,
			Envelope: strings.Repeat("envelope", 20),
		}},
	}
	for _, c := range change {
		c(&e)
	}
	return postgres.Issued{Event: e, Stream: 7, Sequence: uint64(s.counter.Add(1))}
}

// challenge records a challenge with its live place and returns its id.
func (s *stage) challenge(change ...func(*event.Issued)) string {
	s.t.Helper()
	c := s.issue(change...)
	err := s.db.Record(s.t.Context(), postgres.Batch{Challenges: []postgres.Issued{c}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.pg.Exec(s.t, `UPDATE login_budgets SET live_ids = live_ids || $3::text, live_until = live_until || $4::timestamptz,
		live_entries = live_entries || 1::bigint WHERE workspace = $1 AND login = $2`,
		c.Event.Workspace, c.Event.Login, c.Event.Challenge, c.Event.ExpiresAt)
	return c.Event.Challenge
}

// check judges one code and goes on when it lost a lock.
func (s *stage) check(id string, macs [][]byte, word string) (postgres.Judgement, bool) {
	s.t.Helper()
	for {
		j, counted, err := s.db.Check(s.t.Context(), postgres.Check{Challenge: id, MACs: macs, Digest: digest(word)})
		if postgres.IsContended(err) {
			continue
		}
		if err != nil {
			s.t.Error(err)
		}
		return j, counted
	}
}

// standing reads where a challenge stands.
func (s *stage) standing(id string) postgres.Standing {
	s.t.Helper()
	st, err := s.db.Standing(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// count returns the figure of a query.
func (s *stage) count(sql string, args ...any) int {
	s.t.Helper()
	var n int
	s.pg.Scan(s.t, sql, args, &n)
	return n
}

// wantCount fails unless a query's figure is the wanted one.
func (s *stage) wantCount(want int, sql string, args ...any) {
	s.t.Helper()
	if got := s.count(sql, args...); got != want {
		s.t.Errorf("%s %v: %d, not %d", sql, args, got, want)
	}
}

// parallel runs f n times at the same moment.
func parallel(n int, f func(i int)) {
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	running.Wait()
}

// hold opens a transaction of the superuser and runs a statement in it; release commits it.
func (s *stage) hold(sql string) (tx pgx.Tx, release func()) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.pg.OwnerURL())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(s.t.Context())) })
	tx, err = conn.Begin(s.t.Context())
	if err == nil {
		_, err = tx.Exec(s.t.Context(), sql)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return tx, func() {
		s.t.Helper()
		err := tx.Commit(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// waiting waits until n statements wait for a lock.
func (s *stage) waiting(n int) {
	s.t.Helper()
	s.until("a statement waits for a lock", func() bool {
		return s.count(`SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`) >= n
	})
}

// until asks again and again until done says yes.
func (s *stage) until(what string, done func() bool) {
	s.t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(waitLimit)
	defer deadline.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			s.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// outbox returns the events of a type that wait, and checks each against its schema.
func (s *stage) outbox(kind event.Type) []event.Event {
	s.t.Helper()
	var all []event.Event
	_, _, err := s.db.Relay(s.t.Context(), 1000, func(_ context.Context, events []event.Event) []error {
		errs := make([]error, len(events))
		for i, e := range events {
			errs[i] = context.Canceled // Everything stays.
			if e.Type == kind {
				all = append(all, e)
			}
		}
		return errs
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}
