package process

import (
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/dispatch/dispatchtest"
	"doorcode/pkg/event"
	"doorcode/pkg/provider/sandbox"
	"doorcode/pkg/provider/sendgrid"
	"doorcode/pkg/provider/vonage"
)

// shifted is a clock that a test can put forward.
type shifted struct{ by atomic.Int64 }

func (s *shifted) now() time.Time          { return time.Now().Add(time.Duration(s.by.Load())) }
func (s *shifted) forward(d time.Duration) { s.by.Add(int64(d)) }

// pair is both dispatchers on one bus, each with its real adapter, before one
// stand-in for both companies.
type pair struct {
	*dispatchtest.World
	box   *sandbox.Sandbox
	clock *shifted // of the SMS dispatcher
}

// smsWorkers are few, so that three hanging calls are all that it can do.
const smsWorkers = 3

// startPair runs both. The repeats of SMS come at once.
func startPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{World: dispatchtest.Start(t), box: sandbox.New(sandbox.Config{}), clock: &shifted{}}
	server := httptest.NewServer(p.box.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(p.box.ClearFaults)

	email := sample(t, p.World, delivery.Email)
	mails, err := sendgrid.New(sendgrid.Config{
		BaseURL: server.URL, Key: config.NewSecret(sandbox.DefaultSendGridKey),
		From: "codes@doorcode.example", FromName: "Doorcode", Clock: email.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	email.Provider = mails
	start(t, email)

	sms := sample(t, p.World, delivery.SMS)
	sms.Clock, sms.Workers = p.clock.now, smsWorkers
	texts, err := vonage.New(vonage.Config{
		BaseURL: server.URL, Key: config.NewSecret(sandbox.DefaultVonageKey), Secret: config.NewSecret(sandbox.DefaultVonageSecret),
		Senders: map[string]string{"US": "12025550100"}, Clock: sms.Clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	sms.Provider = texts
	const soon = time.Millisecond
	sms.Schedule = []time.Duration{soon, soon, soon, soon, soon}
	start(t, sms)
	return p
}

// told is what the delivery events say of one challenge.
type told struct {
	attempts, accepted int
	late               bool // abandoned as too late
	numbers            []int
}

// record reads the delivery events by challenge.
func (p *pair) record(t *testing.T) map[string]told {
	t.Helper()
	all := map[string]told{}
	for _, m := range p.Messages(t, event.StreamDeliveries) {
		e, err := event.Parse(m.Subject, m.Header, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		var d event.Delivery
		err = e.Decode(&d)
		if err != nil {
			t.Fatal(err)
		}
		one := all[d.Challenge]
		one.numbers = append(one.numbers, d.Number)
		if e.Type == event.DeliveryAttempted {
			one.attempts++
		}
		if d.Result == string(delivery.Accepted) {
			one.accepted++
		}
		if e.Type == event.DeliveryAbandoned && d.Reason == delivery.ReasonTooLate.String() {
			one.late = true
		}
		all[d.Challenge] = one
	}
	return all
}

// await waits until all these challenges are accepted, or have ended as too
// late.
func (p *pair) await(t *testing.T, what string, done func(told) bool, ids ...string) {
	t.Helper()
	bustest.Wait(t, what, func() bool {
		record := p.record(t)
		for _, id := range ids {
			if !done(record[id]) {
				return false
			}
		}
		return true
	})
}

// number is the n-th number of a person; the sandbox takes messages to it.
func number(n int) string { return "+120255501" + strconv.Itoa(40+n) }

// TestP6_AStoppedProviderHoldsBackItsOwnChannelAlone stops the company for SMS
// in every way but refusing: calls that hang, connections that are reset. While
// it is away, mail leaves as ever. When it is back, what is still worth
// something leaves once (P5), and what is not does not leave.
// It shows SEC-68 of deploy/SECURITY.md.
func TestP6_AStoppedProviderHoldsBackItsOwnChannelAlone(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	auth := p.Connect(t, "auth")
	const resets = 3
	for _, f := range []sandbox.Fault{
		{Kind: sandbox.ResetBefore, To: number(0)[1:], Count: resets},
		{Kind: sandbox.Hang, To: "120255501*"},
	} {
		err := p.box.AddFault(f)
		if err != nil {
			t.Fatal(err)
		}
	}
	// The code of a short life may leave for ten seconds from now.
	const short = time.Minute + 10*time.Second
	sms := func(n int, life time.Duration) string {
		return p.Issue(t, auth, dispatchtest.Order{Channel: delivery.SMS, Recipient: number(n), Life: life})
	}
	reset, lives, dies := sms(0, 0), sms(1, 0), sms(2, short)
	bustest.Wait(t, "every worker of SMS in a call that hangs", func() bool { return p.box.Faults()[1].Hits >= smsWorkers })
	waitsAndLives, waitsAndDies := sms(3, 0), sms(4, short)

	var mails []string
	for n := range 20 {
		mails = append(mails, p.Issue(t, auth, dispatchtest.Order{Channel: delivery.Email, Recipient: "p" + strconv.Itoa(n) + "@acme.example"}))
	}
	p.await(t, "mail while SMS is stopped", func(d told) bool { return d.accepted == 1 }, mails...)
	if n := p.box.CountOf(delivery.SMS); n != 0 {
		t.Fatalf("%d text messages while their provider is stopped", n)
	}

	p.clock.forward(11 * time.Second) // less than the engine's patience with one hand-over
	p.box.ClearFaults()
	p.await(t, "what is worth something", func(d told) bool { return d.accepted > 0 }, reset, lives, waitsAndLives)
	p.await(t, "the end of what is late", func(d told) bool { return d.late }, dies, waitsAndDies)

	record := p.record(t)
	for _, id := range mails {
		if d := record[id]; d.attempts != 1 || d.accepted != 1 || d.numbers[0] != 1 {
			t.Errorf("a mail was handed over as %+v", d)
		}
	}
	for n, want := range []int{1, 1, 0, 1, 0} {
		if got := len(p.box.Messages(number(n))); got != want {
			t.Errorf("%d messages to person %d, want %d", got, n, want)
		}
	}
	if d := record[reset]; d.attempts <= resets {
		t.Errorf("%d attempts after %d resets", d.attempts, resets)
	}
	for reference, n := range p.box.References() {
		if n != 1 {
			t.Errorf("the attempt %s reached a provider %d times", reference, n)
		}
	}
	if p.box.CountOf(delivery.Email) != len(mails) || p.box.CountOf(delivery.SMS) != 3 {
		t.Errorf("%d mails and %d text messages", p.box.CountOf(delivery.Email), p.box.CountOf(delivery.SMS))
	}
}
