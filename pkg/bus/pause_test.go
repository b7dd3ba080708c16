package bus_test

import (
	"errors"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

// asRefusal finds a refusal as somebody does who does not know this package.
func asRefusal(err error) (interface{ Refusal() (int, []byte) }, bool) {
	return errors.AsType[interface {
		error
		Refusal() (int, []byte)
	}](err)
}

func TestPause_KeepsMessagesBackUntilResumed(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	admin, auth, dispatcher := b.Admin(), b.Connect(t, "auth"), b.Connect(t, "email-dispatcher")
	publish(t, auth, "one")
	until := time.Now().Add(time.Hour)
	err := admin.Pause(patience(t), bus.Challenges, bus.EmailDispatcher, until)
	if err != nil {
		t.Fatal(err)
	}
	backlog, err := admin.Backlog(patience(t), bus.Challenges, bus.EmailDispatcher)
	if err != nil || !backlog.PausedUntil.Equal(until) || backlog.Waiting != 1 || backlog.Unanswered != 0 {
		t.Errorf("backlog %+v, %v", backlog, err)
	}
	// A paused consumer is the same consumer: its dispatcher may start, and streams apply changes nothing.
	consumer, err := dispatcher.Consumer(patience(t), bus.Challenges, bus.EmailDispatcher)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := bus.Plan(patience(t), admin, nil)
	if err != nil || !plan.Empty() {
		t.Errorf("a pause is a difference: %s, %v", plan, err)
	}
	got, err := consumer.Fetch(patience(t), 1, 50*time.Millisecond)
	if err != nil || len(got) != 0 {
		t.Errorf("a paused consumer delivered %d, %v", len(got), err)
	}
	b.Restart(t)
	ctx := patience(t)
	bustest.Wait(t, "the bus is back", func() bool { return admin.Ready(ctx) == nil && dispatcher.Ready(ctx) == nil })
	backlog, err = admin.Backlog(ctx, bus.Challenges, bus.EmailDispatcher)
	if err != nil || backlog.PausedUntil.IsZero() {
		t.Errorf("after a restart: %+v, %v", backlog, err)
	}
	for range 2 {
		err = admin.Resume(ctx, bus.Challenges, bus.EmailDispatcher)
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err = consumer.Fetch(ctx, 1, 10*time.Second)
	if err != nil || len(got) != 1 {
		t.Fatalf("a resumed consumer delivered %d, %v", len(got), err)
	}
	backlog, err = admin.Backlog(ctx, bus.Challenges, bus.EmailDispatcher)
	if err != nil || !backlog.PausedUntil.IsZero() || backlog.Waiting != 0 || backlog.Unanswered != 1 {
		t.Errorf("backlog %+v, %v", backlog, err)
	}
	err = got[0].DoubleAck(ctx)
	if err != nil {
		t.Error(err)
	}
}

func TestPause_OfAConsumerThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	b := bustest.StartEmpty(t)
	_, err := b.Admin().Backlog(patience(t), bus.Challenges, bus.SMSDispatcher)
	for _, err := range []error{
		err, b.Admin().Pause(patience(t), bus.Challenges, bus.SMSDispatcher, time.Now().Add(time.Hour)),
		b.Admin().Resume(patience(t), bus.Challenges, bus.SMSDispatcher),
	} {
		if err == nil || errors.Is(err, bus.ErrUnavailable) {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestList_ReturnsTheNewestOldestFirst(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	none, err := b.Admin().List(patience(t), bus.Challenges, 10)
	if err != nil || len(none) != 0 {
		t.Errorf("an empty stream holds %d, %v", len(none), err)
	}
	auth := b.Connect(t, "auth")
	for _, id := range []string{"one", "two", "three"} {
		publish(t, auth, id)
	}
	for limit, want := range map[uint64][]string{0: nil, 1: {"three"}, 2: {"two", "three"}, 3: {"one", "two", "three"}, 9: {"one", "two", "three"}} {
		got, err := b.Admin().List(patience(t), bus.Challenges, limit)
		if err != nil || len(got) != len(want) {
			t.Fatalf("limit %d: %d messages, %v", limit, len(got), err)
		}
		for i, m := range got {
			if m.ID != want[i] || m.Time.IsZero() || m.Sequence != uint64(3-len(want)+i+1) {
				t.Errorf("limit %d: message %d is %+v", limit, i, m)
			}
		}
	}
}
