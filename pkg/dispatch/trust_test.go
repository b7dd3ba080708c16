package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/providertest"
	"doorcode/pkg/seal"
)

// rogue is a provider that breaks its contract: its errors are no failures,
// and they quote what they were given.
type rogue struct{}

func (rogue) Name() string { return "rogue" }

func (rogue) Send(_ context.Context, m provider.Message) (provider.Acceptance, error) {
	return provider.Acceptance{}, fmt.Errorf("cannot send %s to %s", m.Text, m.Recipient)
}

// It shows SEC-32 of deploy/SECURITY.md.
func TestP4_AnErrorThatIsNoFailureIsUnknownAndNotRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, func(c *Config) {
		c.Provider = rogue{}
		c.Schedule = []time.Duration{}
	})
	w.issue(t, order{})
	w.terminated(t, 1)
	d.stop(t)
	all := w.events(t)
	if diff := cmp.Diff([]string{"attempted unknown other", "abandoned other"}, kinds(all)); diff != "" {
		t.Error(diff)
	}
	for _, e := range all {
		if strings.Contains(string(e.Data), code) || strings.Contains(string(e.Data), recipient) {
			t.Errorf("the event %s quotes the error", e.Type)
		}
	}
}

// It shows SEC-32 of deploy/SECURITY.md.
func TestP4_AnErrorOfTheRendererIsNotQuoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // fails the test when the log shows a secret
	d := w.start(t, func(c *Config) {
		c.Render = func(_ string, content seal.Content) (provider.Message, error) {
			return provider.Message{}, fmt.Errorf("cannot write %s for %s", content.Code, content.Recipient)
		}
	})
	w.issue(t, order{})
	letters := w.letters(t, 1)
	w.terminated(t, 1)
	d.stop(t)
	if got := letters[0].Header["doorcode-reason"]; got != "content cannot be rendered" {
		t.Errorf("the dead letter says %q", got)
	}
}

func TestRun_StopsAtOnceWithItsContextAndStillTellsOfItsCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn := w.Connect(t, "email-dispatcher")
	source, err := conn.Consumer(w.context(t), event.StreamChallenges, bus.EmailDispatcher)
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(w.config(source, conn, prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	w.fake.Behave(providertest.Silent)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	w.issueMany(t, 3)
	w.calls(t, 3)
	cancel()
	err = <-ended
	if err != nil {
		t.Error(err)
	}
	all := w.events(t)
	checkRecord(t, w.fake.Received(), all)
	for _, k := range kinds(all) {
		if k != "attempted unknown canceled" && k != "postponed canceled" {
			t.Errorf("record is %q", k)
		}
	}
}

func TestDrain_MayBeAskedForByMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(t, nil)
	w.fake.Behave(providertest.Silent)
	w.issue(t, order{})
	w.calls(t, 1)
	drained := make(chan error, 4)
	for range cap(drained) {
		go func() { drained <- d.Drain(w.context(t)) }()
	}
	<-d.draining
	w.fake.Behave(providertest.Taking)
	for range cap(drained) {
		err := <-drained
		if err != nil {
			t.Errorf("drain: %v", err)
		}
	}
	if got := kinds(w.events(t)); len(got) != 1 || got[0] != "attempted accepted" {
		t.Errorf("record is %q", got)
	}
}

func TestEngine_TakesUpWorkAfterABrokerRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(t, nil)
	w.issue(t, order{})
	w.await(t, 1)
	for n := 2; n <= 3; n++ {
		w.Stop(t)
		w.resume(t)
		w.issue(t, order{})
		w.await(t, n)
	}
	all := w.events(t)
	checkRecord(t, w.fake.Received(), all)
	if diff := cmp.Diff([]string{"attempted accepted", "attempted accepted", "attempted accepted"}, kinds(all)); diff != "" {
		t.Error(diff)
	}
}

func FuzzDecode_UnderstandsOrDiscards(f *testing.F) {
	for _, v := range eventtest.Vectors(f) {
		f.Add(v.Subject, v.Header["ce-type"], v.Header["ce-id"], v.Header["ce-time"], []byte(v.Data))
	}
	e := &Engine{channel: delivery.Email, log: slog.New(slog.DiscardHandler)}
	f.Fuzz(func(t *testing.T, subject, kind, id, at string, data []byte) {
		j := &Job{Message: bus.Message{Subject: subject, Data: data, Header: map[string]string{
			"ce-specversion": "1.0", "ce-datacontenttype": "application/json", "ce-source": "doorcode/auth",
			"ce-type": kind, "ce-id": id, "ce-time": at,
		}}}
		err := e.decode(t.Context(), j)
		var discarded *discardError
		if err != nil && !errors.As(err, &discarded) {
			t.Fatalf("decode answers %v", err)
		}
		if (err == nil) != j.understood() {
			t.Fatalf("understood is %v with error %v", j.understood(), err)
		}
		if err != nil {
			return
		}
		if subject != "doorcode.challenge.email" || j.Send.Channel != "email" {
			t.Errorf("a send of channel %q on %q is taken", j.Send.Channel, subject)
		}
		_, err = delivery.ParseReference(j.Reference.String())
		if err != nil || !j.NotAfter.Before(j.Send.ExpiresAt) {
			t.Errorf("reference %q, not after %v of %v: %v", j.Reference, j.NotAfter, j.Send.ExpiresAt, err)
		}
	})
}
