package lookup_test

import (
	"context"
	"testing"
	"time"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/postgres"
	"doorcode/services/verifier/internal/lookup"
	"doorcode/services/verifier/internal/verifiertest"
)

// arrive has a challenge at hand, as the recorder does.
func arrive(f *lookup.Finder, c verifiertest.Challenge) {
	f.Came(postgres.Issued{Event: c.Event, Stream: bustest.Number, Sequence: c.Sequence})
}

// P8: what the recorder has at hand is found without the bus, and the first question has all of it recorded.
func TestP8_FindRecordsWhatIsAtHandTogetherAndAsksNoBus(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	f := lookup.New(r.DB(), r.Bus.Connect(t, "verifier"), r.Handles)
	all := []verifiertest.Challenge{r.Issue(), r.Issue(), r.Issue()}
	for _, c := range all {
		arrive(f, c)
	}
	r.Bus.Stop(t)
	verifiertest.Parallel(16, func(n int) {
		c := all[n%2]
		found, err := f.Find(t.Context(), c.Request())
		if err != nil || found.Unrecorded || found.Facts.ID != c.ID() || found.Facts.Routes[0].Envelope != c.Event.Routes[0].Envelope {
			t.Errorf("%+v: %v", found, err)
		}
	})
	r.Want(3, `SELECT count(*) FROM challenges WHERE stream_number = 7`)
	f.Gone(all[0].ID())
	found, err := f.Find(t.Context(), all[0].Request())
	if err != nil || found.Facts.ID != all[0].ID() {
		t.Errorf("of the row %+v: %v", found, err)
	}
}

func TestFind_WhatExpiredAtHandIsNotRecorded(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	f := lookup.New(r.DB(), r.Bus.Connect(t, "verifier"), r.Handles)
	good, late := r.Issue(), r.Issue()
	late.Event.CreatedAt = late.Event.CreatedAt.Add(-time.Hour)
	late.Event.ExpiresAt = late.Event.CreatedAt.Add(time.Minute)
	arrive(f, good)
	arrive(f, late)
	for _, c := range []verifiertest.Challenge{late, good} {
		found, err := f.Find(t.Context(), c.Request())
		if err != nil || found.Facts.ID != c.ID() || found.Unrecorded != (c.ID() == late.ID()) {
			t.Errorf("%+v: %v", found, err)
		}
	}
	r.Want(1, `SELECT count(*) FROM challenges`)
}

// A row that Postgres refuses keeps nobody else from being found.
func TestFind_WhatIsAtHandAndRefusedFailsNobodyElse(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	f := lookup.New(r.DB(), r.Bus.Connect(t, "verifier"), r.Handles)
	good, refused := r.Issue(), r.Issue()
	refused.Event.Label = "a\u0000b"
	arrive(f, good)
	arrive(f, refused)
	for range 2 {
		found, err := f.Find(t.Context(), good.Request())
		if err != nil || found.Facts.ID != good.ID() {
			t.Errorf("%+v: %v", found, err)
		}
	}
	r.Want(1, `SELECT count(*) FROM challenges WHERE id = $1`, good.ID())
}

// held is a store whose common statement waits until it is told to go on.
type held struct {
	*postgres.DB
	begun, proceed chan struct{}
}

func (h *held) MaterialiseAll(ctx context.Context, all []postgres.Issued) ([]bool, error) {
	close(h.begun)
	select {
	case <-h.proceed:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return h.DB.MaterialiseAll(ctx, all)
}

// Whoever makes the statement for all may give up; the others get their answers all the same.
func TestFind_TheOneWhoRecordsForAllMayGiveUp(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	store := &held{DB: r.DB(), begun: make(chan struct{}), proceed: make(chan struct{})}
	f := lookup.New(store, r.Bus.Connect(t, "verifier"), r.Handles)
	first, second := r.Issue(), r.Issue()
	arrive(f, first)
	arrive(f, second)
	r.Bus.Stop(t)
	leaving, leave := context.WithCancel(t.Context())
	callers := []context.Context{leaving, t.Context()}
	verifiertest.Parallel(2, func(n int) {
		if n == 1 {
			<-store.begun
			leave()
			close(store.proceed)
		}
		c := []verifiertest.Challenge{first, second}[n]
		found, err := f.Find(callers[n], c.Request())
		if n == 1 && (err != nil || found.Facts.ID != c.ID()) { // The first one is gone, whatever it gets.
			t.Errorf("%+v: %v", found, err)
		}
	})
	r.Want(2, `SELECT count(*) FROM challenges`)
}
