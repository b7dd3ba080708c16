package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/client"
)

// person is somebody who signs in once.
type person struct{ workspace, email string }

// signIn creates a challenge, waits for its message and types the code.
func (s *installation) signIn(ctx context.Context, p person) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ch, err := s.front.Create(ctx, client.Request{Workspace: p.workspace, Login: "kim"})
	if err != nil {
		return err
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		all, err := s.messages(ctx, p.email)
		if err != nil {
			return err
		}
		if len(all) > 0 {
			code, _ := findCode(all[0])
			_, err = s.front.Check(ctx, ch.Handle, code)
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("no message to %s: %w", p.email, ctx.Err())
		}
	}
}

// queue is how many messages wait for a dispatcher or for its ack.
func (s *apart) queue(t *testing.T) int {
	t.Helper()
	n, err := s.unacknowledged(t.Context(), bus.Challenges, bus.EmailDispatcher)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// unacknowledged is how many messages of a stream wait for a consumer or for its
// ack.
func (s *apart) unacknowledged(ctx context.Context, stream, durable string) (int, error) {
	data, err := s.bus.Admin().Request(ctx, "doorcode.jetstream.CONSUMER.INFO."+stream+"."+durable, nil)
	if err != nil {
		return 0, err
	}
	var info struct {
		Waiting int `json:"num_pending"`
		Handed  int `json:"num_ack_pending"`
	}
	err = json.Unmarshal(data, &info)
	return info.Waiting + info.Handed, err
}

// recorded counts the audit's rows of a kind, and the challenges that they are
// about.
func (s *apart) recorded(t *testing.T, kind string) (rows, challenges int) {
	t.Helper()
	s.db.Scan(t, `SELECT count(*), count(DISTINCT challenge_id) FROM audit WHERE kind = $1`, []any{kind}, &rows, &challenges)
	return rows, challenges
}

// P1 and P5 in a roll-out: replicas leave while people sign in.
func TestDrain_TwoDispatchersUnderSIGTERMLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	const count, atOnce = 120, 24
	s := newApart(t)
	s.start(t)
	s.fault(t, `{"kind":"latency","delay_ms":150}`) // so that a signal meets sends in flight
	var people []person
	for i := range count {
		p := person{fmt.Sprintf("acme-%d", i), fmt.Sprintf("kim-%d@acme.example", i)}
		s.put(t, p.workspace, p.email)
		people = append(people, p)
	}
	queue := make(chan person, count)
	for _, p := range people {
		queue <- p
	}
	close(queue)
	var done atomic.Int64
	var signing sync.WaitGroup
	for range atOnce {
		signing.Go(func() {
			for p := range queue {
				err := s.signIn(t.Context(), p)
				if err != nil {
					t.Errorf("%s: %v", p.workspace, err)
				}
				done.Add(1)
			}
		})
	}
	defer signing.Wait() // also when the test ends early
	eventually(t, "a third has signed in", func() bool { return done.Load() >= count/3 })
	s.stop(t, "email-dispatcher-1")
	eventually(t, "two thirds have signed in", func() bool { return done.Load() >= 2*count/3 })
	s.stop(t, "verifier-1")
	signing.Wait()
	eventually(t, "the queue is empty", func() bool { return s.queue(t) == 0 })
	for _, kind := range []string{"challenge.v1.issued", "delivery.v1.attempted", "challenge.v1.approved"} {
		eventually(t, "all is on record", func() bool { rows, _ := s.recorded(t, kind); return rows >= count })
		if rows, challenges := s.recorded(t, kind); rows != count || challenges != count {
			var twice []string
			s.db.Scan(t, `SELECT array_agg(id || ' ' || actor || ' ' || detail::text ORDER BY challenge_id, at) FROM audit
				WHERE kind = $1 AND challenge_id IN (SELECT challenge_id FROM audit WHERE kind = $1 GROUP BY challenge_id HAVING count(*) > 1)`,
				[]any{kind}, &twice)
			t.Errorf("%d rows of %s about %d challenges:\n%s", rows, kind, challenges, strings.Join(twice, "\n"))
		}
	}
	accepted := func() (n int) {
		s.db.Scan(t, `SELECT count(*) FROM audit WHERE detail ->> 'result' = 'accepted'`, nil, &n)
		return n
	}
	eventually(t, "every message was accepted", func() bool { return accepted() >= count })
	if n := accepted(); n != count {
		t.Errorf("%d accepted attempts", n)
	}
	for _, p := range people {
		if n := len(s.inbox(t, p.email)); n != 1 {
			t.Errorf("%d messages to %s", n, p.email)
		}
	}
	for _, r := range s.named("email-dispatcher") {
		if !strings.Contains(r.printed(), `"delivery attempted"`) {
			t.Errorf("%s took no part", r.name)
		}
	}
}
