package lookup_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
	"doorcode/services/verifier/internal/lookup"
	"doorcode/services/verifier/internal/verifiertest"
)

// unknown wants the one answer to what is not there.
func unknown(t *testing.T, what string, err error) {
	t.Helper()
	var p *problem.Problem
	if !errors.As(err, &p) || p.Status != 404 || p.Code != "unknown_challenge" {
		t.Errorf("%s: %v", what, err)
	}
}

func TestFind_RecordsWhatTheHandlePointsAt(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	db := r.DB()
	f := lookup.New(db, r.Bus.Connect(t, "verifier"), r.Handles)
	c := r.Issue()
	verifiertest.Parallel(16, func(int) {
		found, err := f.Find(t.Context(), c.Request())
		if err != nil || found.Unrecorded || found.Facts.Login != "anna" || found.Facts.Routes[0].Envelope != c.Event.Routes[0].Envelope {
			t.Errorf("%+v: %v", found, err)
		}
	})
	r.Want(1, `SELECT count(*) FROM challenges WHERE stream_number = 7`)
}

// What comes from the event is what comes from the row.
func TestFind_KnowsTheSameFactsFromEventAndRow(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	f := lookup.New(r.DB(), r.Bus.Connect(t, "verifier"), r.Handles)
	c := r.Issue()
	fromEvent, err := f.Find(t.Context(), c.Request())
	if err != nil {
		t.Fatal(err)
	}
	fromRow, err := f.Find(t.Context(), c.Request())
	if diff := cmp.Diff(fromRow, fromEvent, cmpopts.EquateApproxTime(0)); err != nil || diff != "" {
		t.Errorf("%v (-row +event):\n%s", err, diff)
	}
}

// renumbered is a bus whose stream may be made anew, under another number.
type renumbered struct {
	*bus.Conn
	number uint16
	asked  int
}

func (r *renumbered) StreamNumber(context.Context, string) (uint16, error) {
	r.asked++
	return r.number, nil
}

func TestFind_AsksForTheNumberOfTheStreamWhenAHandleHasAnother(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	stream := &renumbered{Conn: r.Bus.Connect(t, "verifier"), number: bustest.Number}
	f := lookup.New(r.DB(), stream, r.Handles)
	find := func(number uint16) error {
		c := r.Issue()
		handle, err := challenge.Handle{Challenge: c.ID(), Stream: number, Sequence: c.Sequence}.Encode(r.Handles)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Find(t.Context(), event.HandleRequest{Handle: handle, FrontEnd: verifiertest.FrontEnd})
		return err
	}
	for range 3 {
		err := find(bustest.Number)
		if err != nil {
			t.Fatal(err)
		}
	}
	if stream.asked != 1 {
		t.Errorf("asked %d times for a number that stayed", stream.asked)
	}
	stream.number++
	err := find(stream.number)
	if err != nil {
		t.Errorf("the first handle of a new stream: %v", err)
	}
	unknown(t, "a handle of the former stream", find(bustest.Number))
}

// No stream has the number 0, also not for a finder that does not know yet which it has.
func TestFind_KnowsNoStreamWithoutANumber(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	f := lookup.New(r.DB(), r.Bus.Connect(t, "verifier"), r.Handles)
	c := r.Issue()
	handle, err := challenge.Handle{Challenge: c.ID(), Sequence: c.Sequence}.Encode(r.Handles)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Find(t.Context(), event.HandleRequest{Handle: handle, FrontEnd: verifiertest.FrontEnd})
	unknown(t, "a handle of stream 0", err)
	r.Want(0, `SELECT count(*) FROM challenges`)
}

// It shows SEC-23 and SEC-24 of deploy/SECURITY.md.
func TestFind_HasOneAnswerToWhatIsNotThere(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	f := lookup.New(r.DB(), r.Bus.Connect(t, "verifier"), r.Handles)
	c, other := r.Issue(), r.Issue()
	foreign, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	h := challenge.Handle{Challenge: c.ID(), Stream: bustest.Number, Sequence: c.Sequence}
	handle := func(ring *keyring.Ring, h challenge.Handle) event.HandleRequest {
		text, err := h.Encode(ring)
		if err != nil {
			t.Fatal(err)
		}
		return event.HandleRequest{Handle: text, FrontEnd: verifiertest.FrontEnd}
	}
	swapped, late, stream := h, h, h
	swapped.Sequence = other.Sequence
	late.Sequence = 99
	stream.Stream = 8
	requests := map[string]event.HandleRequest{
		"empty":             {FrontEnd: verifiertest.FrontEnd},
		"other key":         handle(foreign, h),
		"other challenge":   handle(r.Handles, swapped),
		"no such sequence":  handle(r.Handles, late),
		"other stream":      handle(r.Handles, stream),
		"other front-end":   {Handle: c.Handle, FrontEnd: "other"},
		"without front-end": {Handle: c.Handle},
	}
	for what, request := range requests {
		_, err := f.Find(t.Context(), request)
		unknown(t, what, err)
	}
	arrive(f, c)
	arrive(f, other)
	for what, request := range requests {
		_, err := f.Find(t.Context(), request)
		unknown(t, what+" while it is at hand", err)
	}
	r.Want(0, `SELECT count(*) FROM challenges`)
}

func TestFind_AMessageThatIsNoChallengeIsUnknown(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	f := lookup.New(r.DB(), r.Bus.Connect(t, "verifier"), r.Handles)
	c := r.Issue()
	for _, m := range []bus.Message{
		{Subject: "doorcode.challenge.email", ID: "no event", Data: []byte(`{}`)},
		func() bus.Message { // A policy above its ceiling.
			bad := c
			bad.Event.Policy.WrongPerChallenge = 50
			m := r.Envelope(bad)
			m.ID = "bad policy"
			return m
		}(),
	} {
		ack, err := r.Auth.Publish(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		text, err := challenge.Handle{Challenge: c.ID(), Stream: bustest.Number, Sequence: ack.Sequence}.Encode(r.Handles)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Find(t.Context(), event.HandleRequest{Handle: text, FrontEnd: verifiertest.FrontEnd})
		unknown(t, m.ID, err)
		r.Want(0, `SELECT count(*) FROM challenges`)
	}
}

func TestP7_FindTellsABusThatIsAwayFromAChallengeThatIsNotThere(t *testing.T) {
	t.Parallel()
	r := verifiertest.New(t)
	f := lookup.New(r.DB(), r.Bus.Connect(t, "verifier"), r.Handles)
	c := r.Issue()
	r.Bus.Stop(t)
	_, err := f.Find(t.Context(), c.Request())
	if !errors.Is(err, bus.ErrUnavailable) || postgres.IsRejected(err) {
		t.Errorf("unexpected error: %v", err)
	}
	r.Bus.Resume(t)
	bustest.Wait(t, "the bus is back", func() bool {
		_, err = f.Find(t.Context(), c.Request())
		return err == nil
	})
}
