package sandbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQueue_LosesWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	q := newQueue()
	for range maxWaiting + 2 {
		q.add(&parcel{load: &receipt{}})
	}
	if c := q.report(); c.Waiting != maxWaiting || c.Lost != 2 {
		t.Errorf("counts = %+v", c)
	}
}

func TestQueue_KeepsTheOrderOfTimes(t *testing.T) {
	t.Parallel()
	q := newQueue()
	for i, second := range []int{3, 1, 2, 1, 9} {
		q.add(&parcel{due: noon().Add(time.Duration(second) * time.Second), load: &receipt{to: fmt.Sprint(i)}})
	}
	due, next := q.take(noon().Add(3*time.Second), false, 1)
	var got []string
	for _, p := range due {
		got = append(got, p.load.(*receipt).to)
	}
	diff := cmp.Diff([]string{"1", "3", "2", "0"}, got)
	if diff != "" || !next.Equal(noon().Add(9*time.Second)) {
		t.Errorf("next %v, order differs (-want +got):\n%s", next, diff)
	}
	due, next = q.take(noon(), true, 1)
	if len(due) != 1 || !next.IsZero() {
		t.Errorf("took %d, next %v", len(due), next)
	}
}

// eventOf is a batch of one event to a webhook, about 100 bytes long.
func eventOf(hook string) *parcel {
	return &parcel{due: noon(), load: &batch{hook: hook, events: []mailEvent{{Kind: "processed", at: noon(), id: strings.Repeat("x", 20)}}}}
}

func TestQueue_JoinsEventsOfOneWebhookUpToTheSize(t *testing.T) {
	t.Parallel()
	q := newQueue()
	one := eventOf("a").load.(*batch).size()
	for range 5 {
		q.add(eventOf("a"))
		q.add(eventOf("b"))
	}
	tried := eventOf("a")
	tried.tries = 1
	q.add(tried)
	due, _ := q.take(noon(), false, 2*one+4)
	sizes := map[string]int{}
	for _, p := range due {
		b := p.load.(*batch)
		sizes[fmt.Sprint(b.hook, len(b.events))]++
	}
	diff := cmp.Diff(map[string]int{"a2": 2, "a1": 2, "b2": 2, "b1": 1}, sizes)
	if diff != "" {
		t.Errorf("batches differ (-want +got):\n%s", diff)
	}
}

func TestQueue_IdleWaitsForTheLanding(t *testing.T) {
	t.Parallel()
	q := newQueue()
	q.add(&parcel{due: noon(), until: noon(), load: &receipt{}})
	due, _ := q.take(noon(), true, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := q.idle(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("idle = %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- q.idle(t.Context()) }()
	q.back(due[0])
	err = <-done
	if err != nil || q.report().Waiting != 1 {
		t.Errorf("idle = %v, counts %+v", err, q.report())
	}
	due, _ = q.take(noon(), true, 1)
	q.land(due[0], again, noon())
	if c := q.report(); c != (WebhookCounts{GivenUp: 1}) {
		t.Errorf("counts = %+v", c)
	}
}
