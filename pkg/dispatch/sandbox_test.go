package dispatch

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/provider"
	"doorcode/pkg/provider/sandbox"
	"doorcode/pkg/provider/sendgrid"
	"doorcode/pkg/seal"
)

// mailbox serves a sandbox and returns the real adapter for it.
func mailbox(t *testing.T) (*sandbox.Sandbox, *sendgrid.Client) {
	t.Helper()
	box := sandbox.New(sandbox.Config{})
	server := httptest.NewServer(box.Handler())
	t.Cleanup(server.Close)
	client, err := sendgrid.New(sendgrid.Config{
		BaseURL: server.URL, Key: config.NewSecret(sandbox.DefaultSendGridKey),
		From: "codes@doorcode.example", FromName: "Doorcode", Clock: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return box, client
}

func TestEngine_SendsThroughTheRealAdapter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	box, client := mailbox(t)
	w.start(t, func(c *Config) {
		c.Provider = client
		c.Render = func(notice string, content seal.Content) (provider.Message, error) {
			m, err := renderPlain(notice, content)
			m.HTML = "<p>" + m.Text + "</p>"
			return m, err
		}
	})
	w.issue(t, order{})
	all := w.await(t, 1)
	mails := box.Messages(recipient)
	if len(mails) != 1 {
		t.Fatalf("%d mails", len(mails))
	}
	m := mails[0]
	if m.CustomArgs["dlv"] != all[0].ID || m.ProviderID != all[0].ProviderID || m.Text != "Your code: "+code || m.HTML == "" {
		t.Errorf("mail %s of %s does not fit the event %s of %s", m.CustomArgs["dlv"], m.ProviderID, all[0].ID, all[0].ProviderID)
	}
	if diff := cmp.Diff([]string{"attempted accepted"}, kinds(all)); diff != "" {
		t.Error(diff)
	}
}

func TestP5_EachReferenceReachesTheProviderOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answer(t, event.DeliveryReply{})
	box, client := mailbox(t)
	for _, f := range []sandbox.Fault{
		{Kind: sandbox.ResetAfter, Count: 3}, {Kind: sandbox.Status, Status: 503, Count: 3}, {Kind: sandbox.Truncate, Count: 3},
	} {
		err := box.AddFault(f)
		if err != nil {
			t.Fatal(err)
		}
	}
	w.start(t, func(c *Config) { c.Provider = client })
	ids := w.issueMany(t, 10)
	count := func() (n int) {
		for _, e := range w.events(t) {
			if e.Result == string(delivery.Accepted) {
				n++
			}
		}
		return n
	}
	bustest.Wait(t, "ten acceptances", func() bool { return count() == len(ids) })
	for reference, n := range box.References() {
		if n != 1 {
			t.Errorf("the attempt %s reached the provider %d times", reference, n)
		}
	}
	results := map[string]int{}
	for _, e := range w.events(t) {
		results[e.Result]++
	}
	if results["unknown"] != 3 || results["accepted"] != 10 || results["temporary"] != 3 {
		t.Errorf("results are %v", results)
	}
	if box.Count() != 13 { // a reset after the acceptance was stored, too
		t.Errorf("%d mails", box.Count())
	}
}

func TestEngine_PostponesWhileTheBreakerIsOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fake.Script(&provider.Failure{
		Result: delivery.Temporary, Reason: delivery.ReasonAuthentication, Status: 401, Breaks: true,
	})
	d := w.start(t, func(c *Config) {
		c.Provider = provider.WithBreaker(c.Provider, provider.BreakerConfig{Failures: 1})
	})
	w.issue(t, order{})
	w.await(t, 2)
	d.stop(t)
	all := w.events(t)
	if diff := cmp.Diff([]string{"attempted temporary authentication", "postponed rejected"}, kinds(all)); diff != "" {
		t.Fatal(diff)
	}
	wait := all[1].RetryAt.Sub(all[1].Time)
	if wait < 20*time.Second || wait > 31*time.Second {
		t.Errorf("the breaker is asked again after %v", wait)
	}
	checkRecord(t, w.fake.Received(), all)
}

func TestEngine_AbandonsWhatTheAdapterRefusesWithoutACall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	box, client := mailbox(t)
	d := w.start(t, func(c *Config) {
		c.Provider = client
		c.Render = func(_ string, content seal.Content) (provider.Message, error) {
			return provider.Message{Text: "no subject"}, nil
		}
	})
	w.issue(t, order{})
	w.terminated(t, 1)
	d.stop(t)
	if diff := cmp.Diff([]string{"abandoned rejected"}, kinds(w.events(t))); diff != "" {
		t.Error(diff)
	}
	if box.Count() != 0 || d.counted(t, d.metrics.attempts, "permanent", "rejected") != 0 {
		t.Error("a refusal without a call counts as an attempt")
	}
}
