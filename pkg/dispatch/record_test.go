package dispatch

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
)

// result makes the attempt of a job.
func result(r delivery.Result, reason delivery.Reason, retryAfter time.Duration) Attempt {
	return Attempt{Result: r, Reason: reason, RetryAfter: retryAfter, At: noon(), Duration: 40 * time.Millisecond}
}

func TestConclude_TellsFirstAndAnswersTheBrokerAfter(t *testing.T) {
	t.Parallel()
	const other, busy = delivery.ReasonOther, delivery.ReasonProviderError
	for name, c := range map[string]struct {
		attempt Attempt
		err     error
		number  int
		left    time.Duration // until the deadline
		events  []string
		broker  []string
		wait    time.Duration
	}{
		"accepted":  {attempt: result(delivery.Accepted, other, 0), events: []string{"attempted accepted"}, broker: []string{"ack"}},
		"permanent": {attempt: result(delivery.Permanent, delivery.ReasonUnreachable, 0), events: []string{"attempted permanent unreachable"}, broker: []string{"ack"}},
		"temporary": {attempt: result(delivery.Temporary, busy, 0), events: []string{"attempted temporary provider_error"}, broker: []string{"nak"}, wait: time.Second},
		"unknown":   {attempt: result(delivery.Unknown, busy, 0), number: 3, events: []string{"attempted unknown provider_error"}, broker: []string{"nak"}, wait: 8 * time.Second},
		"provider asks for more": {
			attempt: result(delivery.Temporary, busy, time.Minute), events: []string{"attempted temporary provider_error"}, broker: []string{"nak"}, wait: time.Minute,
		},
		"provider asks for less": {
			attempt: result(delivery.Temporary, busy, time.Second), number: 5, events: []string{"attempted temporary provider_error"}, broker: []string{"nak"}, wait: 45 * time.Second,
		},
		"last time": {
			attempt: result(delivery.Temporary, busy, 0), number: 6, events: []string{"attempted temporary provider_error", "abandoned provider_error"}, broker: []string{"term provider_error"},
		},
		"no time left": {
			attempt: result(delivery.Unknown, busy, 0), number: 5, left: 45 * time.Second, events: []string{"attempted unknown provider_error", "abandoned too_late"}, broker: []string{"term too_late"},
		},
		"postponed":              {err: postpone(delivery.ReasonRateLimited, 0, "later"), events: []string{"postponed rate_limited"}, broker: []string{"nak"}, wait: time.Second},
		"postponed for long":     {err: postpone(delivery.ReasonRejected, time.Minute, ""), events: []string{"postponed rejected"}, broker: []string{"nak"}, wait: time.Minute},
		"given back":             {err: giveBack(delivery.ReasonCanceled, ""), events: []string{"postponed canceled"}, broker: []string{"nak"}},
		"postponed at the last":  {err: postpone(delivery.ReasonRejected, 0, ""), number: 6, events: []string{"abandoned rejected"}, broker: []string{"term rejected"}},
		"postponed for too long": {err: postpone(delivery.ReasonRejected, 10*time.Minute, ""), events: []string{"abandoned too_late"}, broker: []string{"term too_late"}},
		"abandoned":              {err: abandon(delivery.ReasonCanceled, ""), events: []string{"abandoned canceled"}, broker: []string{"term canceled"}},
		"ended before":           {err: errDone, broker: []string{"ack"}},
		"discarded":              {err: discard("envelope does not open"), events: []string{"dead letter", "abandoned other"}, broker: []string{"term other"}},
	} {
		b := newBench(t)
		j := b.job()
		j.Attempt, j.Number = c.attempt, max(c.number, 1)
		if c.left > 0 {
			j.NotAfter = b.now.Add(c.left)
		}
		events, broker := b.end(t, j, c.err)
		if diff := cmp.Diff(c.events, events); diff != "" {
			t.Errorf("%s: events (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(c.broker, broker); diff != "" || b.broker.wait != c.wait {
			t.Errorf("%s: the broker waits %v, want %v; it heard (-want +got):\n%s", name, b.broker.wait, c.wait, diff)
		}
	}
}

func TestConclude_NamesEachEventOfAHandOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	j := b.job()
	j.Number, j.Attempt = 6, result(delivery.Temporary, delivery.ReasonTimeout, 0)
	b.end(t, j, nil)
	reference := j.Reference.String()
	for i, want := range []string{reference, reference + ".abandoned"} {
		if m := b.stored.messages[i]; m.ID != want || m.Header["ce-id"] != want {
			t.Errorf("event %d has the id %s", i, m.ID)
		}
	}
}

func TestConclude_KeepsADeadLetterThatNamesNoSend(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	j := b.job()
	j.Reference, j.Send = delivery.Reference{}, event.Send{}
	j.Message = bus.Message{Subject: "doorcode.challenge.email", Data: []byte("\x00 no json")}
	events, broker := b.end(t, j, discard("malformed event"))
	if !slices.Equal(events, []string{"dead letter"}) || !slices.Equal(broker, []string{"term malformed event"}) {
		t.Errorf("events %q, broker %q", events, broker)
	}
	want := bus.Message{
		Subject: "doorcode.dlq.email", ID: "DOORCODE_CHALLENGES.7", Data: j.Message.Data,
		Header: map[string]string{"doorcode-subject": "doorcode.challenge.email", "doorcode-reason": "malformed event"},
	}
	if diff := cmp.Diff(want, b.stored.messages[0]); diff != "" {
		t.Errorf("dead letter (-want +got):\n%s", diff)
	}
}

func TestConclude_BoundsWhatAProviderSays(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	j := b.job()
	j.Attempt = Attempt{
		Result: delivery.Permanent, At: noon(), Duration: -time.Second, // a clock may step back
		ProviderID: strings.Repeat("x", maxProviderID+1), Detail: strings.Repeat("é", maxDetail),
	}
	b.end(t, j, nil) // checks the event against its schema
	if !strings.Contains(string(b.stored.messages[0].Data), `"detail":"é`) {
		t.Error("a long detail is lost altogether")
	}
}

func TestConclude_AnswersNothingThatItCouldNotTell(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"attempt": nil, "postponed": postpone(delivery.ReasonOther, 0, ""), "abandoned": abandon(delivery.ReasonOther, ""), "discarded": discard("x"),
	} {
		b := newBench(t)
		b.stored.failures = 1
		j := b.job()
		j.Attempt = result(delivery.Accepted, delivery.ReasonOther, 0)
		ctx, cancel := ctxEnded(t)
		h := &handOver{Job: j, answer: b.broker}
		b.conclude(ctx, h, err)
		cancel()
		if len(b.broker.said) != 0 || len(b.stored.messages) != 0 {
			t.Errorf("%s: the broker heard %q", name, b.broker.said)
		}
	}
}

// It shows SEC-62 of deploy/SECURITY.md.
func TestConclude_LogsTheWholeStoryInOneLine(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var log bytes.Buffer
	b.log = slog.New(slog.NewTextHandler(&log, nil))
	j := b.job()
	j.Attempt = result(delivery.Temporary, delivery.ReasonTimeout, 0)
	b.end(t, j, nil)
	_, line, _ := strings.Cut(strings.TrimSpace(log.String()), " ")
	want := `level=INFO msg="delivery attempted" challenge=AAAAAAAAAAAAAAAAAAAAAA send=1 number=1 attempt=BBBBBBBBBBB ` +
		`provider=fake result=temporary reason=timeout duration_ms=40 retry_in_ms=1000`
	if line != want {
		t.Errorf("the line is\n%s\nwant\n%s", line, want)
	}
}

func TestFinish_RemembersWhatTheBrokerDidNotConfirm(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	j := b.job()
	j.Attempt = result(delivery.Accepted, delivery.ReasonOther, 0)
	b.broker.err = errors.New("no answer")
	b.end(t, j, nil)
	err := b.gate(t.Context(), j)
	if !errors.Is(err, errDone) {
		t.Errorf("handed over again it is %v", err)
	}
	b.broker.err = nil
	b.end(t, j, err)
	if b.ended.has(j.Send) || len(b.fake.Received()) != 0 {
		t.Error("a confirmed end is remembered, or the provider was called")
	}
	b.broker.err = errors.New("no answer")
	b.end(t, j, errDone)
	b.now = j.NotAfter.Add(time.Second)
	other := b.job()
	other.Send.Challenge = strings.Repeat("C", 22)
	b.end(t, other, errDone)
	if b.ended.has(j.Send) || !b.ended.has(other.Send) {
		t.Error("a send past its deadline is remembered for ever")
	}
}

func TestP5_PublishingGoesOnUntilItWorksAndKeepsTheSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		start := time.Now()
		b.clock = func() time.Time { return noon().Add(time.Since(start)) }
		b.stored.failures = 60
		h := &handOver{Job: b.job(), answer: b.broker}
		h.Attempt = result(delivery.Accepted, delivery.ReasonOther, 0)
		b.conclude(t.Context(), h, nil)
		if !h.held {
			t.Error("nothing held the engine back")
		}
		select {
		case <-b.unpublished.cleared():
			t.Error("fetching goes on before the hand-over has ended")
		default:
		}
		b.release(h)
		<-b.unpublished.cleared()
		if len(b.stored.messages) != 1 || b.broker.said[len(b.broker.said)-1] != "ack" {
			t.Errorf("%d messages, broker %q", len(b.stored.messages), b.broker.said)
		}
		// 60 pauses of 0.75 s on average: kept every 10 s.
		if kept := len(b.broker.said) - 1; kept < 3 || kept > 6 {
			t.Errorf("kept in progress %d times in %v", kept, time.Since(start))
		}
	})
}

func TestSchedule_JittersByAFifthAndEndsWithTheBroker(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i, step := range DefaultSchedule() {
		for r, want := range map[float64]time.Duration{0: step * 4 / 5, 0.5: step, 0.999999: step * 6 / 5} {
			b.random = func() float64 { return r }
			if got := b.delay(i+1, 0); (got - want).Abs() > step/1000 {
				t.Errorf("delay after hand-over %d with %v is %v, want %v", i+1, r, got, want)
			}
		}
	}
	b.schedule = []time.Duration{}
	if !b.isLast(b.job()) || b.delay(1, time.Second) != time.Second {
		t.Error("without a schedule there is a repeat")
	}
}

func TestBackoff_GrowsToASecondAndBeginsAgain(t *testing.T) {
	t.Parallel()
	b := backoff{random: func() float64 { return 1 }}
	var steps []time.Duration
	for range 8 {
		steps = append(steps, b.next())
	}
	ms := time.Millisecond
	want := []time.Duration{25 * ms, 50 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, time.Second, time.Second}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Error(diff)
	}
	b.reset()
	b.random = func() float64 { return 0 }
	if b.next() != 12500*time.Microsecond {
		t.Error("reset does not begin again, or the jitter is not a half")
	}
}

// It shows SEC-33 of deploy/SECURITY.md.
func TestMetrics_ShowEveryLabelFromTheStart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bad := len(delivery.Results()) - 1
	reasons := len(delivery.Reasons())
	for name, c := range map[string]struct {
		vec  prometheus.Collector
		want int
	}{
		"attempts":     {b.metrics.attempts, 1 + bad*reasons},
		"postponed":    {b.metrics.postponed, reasons},
		"abandoned":    {b.metrics.abandoned, reasons},
		"dead letters": {b.metrics.deadLetters, 1},
	} {
		if got := testutil.CollectAndCount(c.vec); got != c.want {
			t.Errorf("%s has %d series from the start, want %d", name, got, c.want)
		}
	}
}

func TestMetrics_ShareDeadLettersWithOtherOwners(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	for _, channel := range []delivery.Channel{"email", "sms"} {
		_, err := newMetrics(registry, channel, "fake")
		if err != nil {
			t.Errorf("channel %s: %v", channel, err)
		}
	}
	n, err := testutil.GatherAndCount(registry, "doorcode_dead_letters_total")
	if err != nil || n != 2 {
		t.Errorf("%d owners, %v", n, err)
	}
}

func TestVerbs_QuoteNothing(t *testing.T) {
	t.Parallel()
	for _, err := range []error{discard("malformed event"), abandon(delivery.ReasonTooLate, code), postpone(delivery.ReasonOther, 0, code)} {
		if strings.Contains(fmt.Sprint(err), code) {
			t.Errorf("%v", err)
		}
	}
}
