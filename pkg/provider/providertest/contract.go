package providertest

import (
	"context"
	"errors"
	"regexp"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
)

// patience is how long a suite waits for what must happen at once.
const patience = 30 * time.Second

// NewProvider makes a provider and its other end for one test, and cleans both
// up when the test ends.
type NewProvider func(t *testing.T) (provider.Provider, Backend)

// RunContract proves what every provider promises, for one that carries e-mail.
func RunContract(t *testing.T, newProvider NewProvider) {
	t.Helper()
	Suite{}.RunContract(t, newProvider)
}

// RunContract proves what every provider promises.
func (s Suite) RunContract(t *testing.T, newProvider NewProvider) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, provider.Provider, Backend){
		"has a name fit for a label":                     checkName,
		"takes one message with one call":                s.checkTaken,
		"says that a recipient is bad":                   s.checkRefused,
		"says that nothing was taken and when to repeat": s.checkBusy,
		"does not know after a cancel":                   s.checkCanceled,
		"does not know after the deadline":               s.checkDeadline,
		"gives up at the caller's deadline":              s.checkCallerDeadline,
		"makes no call for a caller who gave up":         s.checkGaveUp,
		"makes no call after the deadline":               s.checkTooLate,
		"makes no call for a malformed message":          s.checkMalformed,
		"sends each of many messages once":               s.checkParallel,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, b := newProvider(t)
			check(t, p, b)
		})
	}
}

// MustFail returns the Failure of one send and proves that it is one, with the
// result and the reason that are wanted.
func MustFail(t *testing.T, err error, result delivery.Result, reason delivery.Reason) provider.Failure {
	t.Helper()
	var f *provider.Failure
	if !errors.As(err, &f) {
		t.Fatalf("the error is no *Failure: %v", err)
	}
	if f.Result != result || f.Reason != reason {
		t.Fatalf("got %s, %s; want %s, %s (%v)", f.Result, f.Reason, result, reason, err)
	}
	return *f
}

// mustReceive proves that exactly these calls arrived.
func mustReceive(t *testing.T, b Backend, messages ...provider.Message) {
	t.Helper()
	got := b.Received()
	if len(got) != len(messages) {
		t.Fatalf("%d calls arrived, want %d: %v", len(got), len(messages), got)
	}
	for i, m := range messages {
		want := Call{Reference: m.Reference, Recipient: m.Recipient}
		if got[i] != want {
			t.Errorf("call %d is %v, want %v", i, got[i], want)
		}
	}
}

// mustArrive waits until n calls are at the other end.
func mustArrive(t *testing.T, b Backend, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := b.Await(ctx, n)
	if err != nil {
		t.Error(err)
	}
}

func checkName(t *testing.T, p provider.Provider, _ Backend) {
	t.Helper()
	if !regexp.MustCompile(`^[a-z][a-z0-9_]{1,30}$`).MatchString(p.Name()) {
		t.Errorf("name %q is not fit for a label", p.Name())
	}
}

func (s Suite) checkTaken(t *testing.T, p provider.Provider, b Backend) {
	t.Helper()
	m := s.sample(1)
	accepted, err := p.Send(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if accepted.ProviderID == "" {
		t.Error("the acceptance has no id")
	}
	mustReceive(t, b, m)
}

func (s Suite) checkRefused(t *testing.T, p provider.Provider, b Backend) {
	t.Helper()
	b.Behave(Refusing)
	m := s.sample(1)
	_, err := p.Send(t.Context(), m)
	f := MustFail(t, err, delivery.Permanent, delivery.ReasonInvalidRecipient)
	if f.Breaks || f.NotCalled || f.RetryAfter != 0 {
		t.Errorf("a bad recipient is nobody else's affair and never mends: %+v", f)
	}
	mustReceive(t, b, m)
}

func (s Suite) checkBusy(t *testing.T, p provider.Provider, b Backend) {
	t.Helper()
	b.Behave(Busy)
	m := s.sample(1)
	_, err := p.Send(t.Context(), m)
	f := MustFail(t, err, delivery.Temporary, delivery.ReasonRateLimited)
	if f.Breaks || f.NotCalled || f.RetryAfter < provider.MinRetryAfter || f.RetryAfter > provider.MaxRetryAfter {
		t.Errorf("a busy provider names a pause within bounds: %+v", f)
	}
	mustReceive(t, b, m)
}

func (s Suite) checkCanceled(t *testing.T, p provider.Provider, b Backend) {
	t.Helper()
	b.Behave(Silent)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		mustArrive(t, b, 1)
		cancel()
	}()
	m := s.sample(1)
	_, err := p.Send(ctx, m)
	MustFail(t, err, delivery.Unknown, delivery.ReasonCanceled)
	mustReceive(t, b, m)
}

func (s Suite) checkDeadline(t *testing.T, p provider.Provider, b Backend) {
	t.Helper()
	b.Behave(Silent)
	m := s.sample(1)
	m.NotAfter = time.Now().Add(500 * time.Millisecond)
	_, err := p.Send(t.Context(), m)
	MustFail(t, err, delivery.Unknown, delivery.ReasonTimeout)
	mustReceive(t, b, m)
}

func (s Suite) checkCallerDeadline(t *testing.T, p provider.Provider, b Backend) {
	t.Helper()
	b.Behave(Silent)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	m := s.sample(1)
	_, err := p.Send(ctx, m)
	MustFail(t, err, delivery.Unknown, delivery.ReasonTimeout)
	mustReceive(t, b, m)
}

func (s Suite) checkGaveUp(t *testing.T, p provider.Provider, b Backend) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Send(ctx, s.sample(1))
	MustFail(t, err, delivery.Temporary, delivery.ReasonCanceled)
	mustReceive(t, b)
}

func (s Suite) checkTooLate(t *testing.T, p provider.Provider, b Backend) {
	t.Helper()
	for _, notAfter := range []time.Time{{}, time.Now().Add(-time.Nanosecond)} {
		m := s.sample(1)
		m.NotAfter = notAfter
		_, err := p.Send(t.Context(), m)
		f := MustFail(t, err, delivery.Permanent, delivery.ReasonTooLate)
		if !f.NotCalled {
			t.Error("the failure does not say that there was no call")
		}
	}
	mustReceive(t, b)
}

func (s Suite) checkMalformed(t *testing.T, p provider.Provider, b Backend) {
	t.Helper()
	for name, spoil := range map[string]func(*provider.Message){
		"no recipient":           func(m *provider.Message) { m.Recipient = "" },
		"a second header":        func(m *provider.Message) { m.Recipient += "\r\nBcc: eve@example.net" },
		"a header in a subject":  func(m *provider.Message) { m.Subject = "Code\r\nBcc: eve@example.net" },
		"no text":                func(m *provider.Message) { m.Text = "" },
		"no reference":           func(m *provider.Message) { m.Reference = "" },
		"an address for its ref": func(m *provider.Message) { m.Reference = m.Recipient },
	} {
		m := s.sample(1)
		spoil(&m)
		_, err := p.Send(t.Context(), m)
		var f *provider.Failure
		if !errors.As(err, &f) || f.Result != delivery.Permanent || !f.NotCalled || f.Status != 0 || f.Breaks {
			t.Errorf("%s: got %v, want a refusal without a call", name, err)
		}
	}
	mustReceive(t, b)
}

func (s Suite) checkParallel(t *testing.T, p provider.Provider, b Backend) {
	t.Helper()
	const people = 200
	var group sync.WaitGroup
	for n := range people {
		group.Go(func() {
			_, err := p.Send(t.Context(), s.sample(n))
			if err != nil {
				t.Errorf("person %d: %v", n, err)
			}
		})
	}
	group.Wait()
	times := map[Call]int{}
	for _, call := range b.Received() {
		times[call]++
	}
	for n := range people {
		m := s.sample(n)
		got := times[Call{Reference: m.Reference, Recipient: m.Recipient}]
		if got != 1 {
			t.Errorf("person %d got %d messages", n, got)
		}
	}
}
