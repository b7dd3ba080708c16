package postgres_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/event"
)

// put writes n events to the outbox, as auth does.
func (s *stage) put(n int) {
	s.t.Helper()
	s.pg.Exec(s.t, `INSERT INTO outbox (id, type, source, subject, at, data)
		SELECT 'e' || i, 'directory.v1.login_put', 'doorcode/auth', 'acme', clock_timestamp(), jsonb_build_object('login', i)
		  FROM generate_series(1, $1) i`, n)
}

func TestRelay_HandsEachEventToOneRelayAtATime(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.put(100)
	var mu sync.Mutex
	var seen []string
	parallel(6, func(int) {
		for {
			done, failed, err := s.db.Relay(t.Context(), 7, func(_ context.Context, events []event.Event) []error {
				mu.Lock()
				defer mu.Unlock()
				for _, e := range events {
					seen = append(seen, e.ID)
				}
				return make([]error, len(events))
			})
			if err != nil || failed != 0 {
				t.Errorf("%d failed: %v", failed, err)
				return
			}
			if done == 0 {
				return
			}
		}
	})
	slices.Sort(seen)
	if len(seen) != 100 || len(slices.Compact(seen)) != 100 {
		t.Errorf("%d events handed over", len(seen))
	}
	n, oldest, err := s.db.OutboxPending(t.Context())
	if err != nil || n != 0 || oldest != 0 {
		t.Errorf("%d left, the oldest for %s: %v", n, oldest, err)
	}
}

func TestRelay_KeepsWhatWasNotPublished(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.put(3)
	refused := errors.New("refused")
	done, failed, err := s.db.Relay(t.Context(), 10, func(_ context.Context, events []event.Event) []error {
		if len(events) != 3 || events[0].Source != "doorcode/auth" || events[0].Type != event.LoginPut ||
			events[0].Subject != "acme" || events[0].Time.IsZero() {
			t.Errorf("%+v", events)
		}
		return []error{nil, refused, nil}
	})
	if err != nil || done != 2 || failed != 1 {
		t.Errorf("%d done, %d failed: %v", done, failed, err)
	}
	s.wantCount(1, `SELECT count(*) FROM outbox WHERE id = 'e2'`)
	s.pg.Exec(t, `UPDATE outbox SET at = clock_timestamp() - interval '90 minutes'`)
	n, oldest, err := s.db.OutboxPending(t.Context())
	if err != nil || n != 1 || oldest < 90*time.Minute || oldest > 24*time.Hour {
		t.Errorf("%d left, the oldest for %s: %v", n, oldest, err)
	}
}

func TestRelay_LosesNothingWhenItsCommitFails(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.put(2)
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err := s.db.Relay(ctx, 10, func(_ context.Context, events []event.Event) []error {
		cancel()
		return make([]error, len(events))
	})
	if err == nil {
		t.Error("the commit did not fail")
	}
	s.wantCount(2, `SELECT count(*) FROM outbox`)
}

func TestP1_WhatCannotGoHoldsUpNothingBehindIt(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.put(20)
	var placed []string
	stuck := func(_ context.Context, events []event.Event) []error {
		errs := make([]error, len(events))
		for i, e := range events {
			if e.ID == "e20" {
				placed = append(placed, e.ID)
				continue
			}
			errs[i] = errors.New("the stream is full")
		}
		return errs
	}
	for range 4 { // Twenty rows in batches of five: the last one has had its turn.
		_, _, err := s.db.Relay(t.Context(), 5, stuck)
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(placed, []string{"e20"}) {
		t.Errorf("placed %v behind rows that cannot go", placed)
	}
	s.wantCount(19, `SELECT count(*) FROM outbox`)
}
