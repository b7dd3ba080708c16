package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/event"
	"doorcode/pkg/event/eventtest"
	"doorcode/pkg/problem"
	"doorcode/pkg/telemetry"
	"doorcode/services/verifier/internal/verifiertest"
)

// house is a rig with key files, in which verifiers run.
type house struct {
	*verifiertest.Rig
	t   testing.TB
	cfg Config
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{Rig: verifiertest.New(t), t: t}
	dir := t.TempDir()
	write := func(name string, marshal func() ([]byte, error)) string {
		data, err := marshal()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		err = os.WriteFile(path, data, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	pg := h.PG.VerifierConfig()
	password := pg.Password.Reveal()
	if password == "" {
		password = "none"
	}
	cfg, err := config.Load[Config](Prefix, []string{
		"DOORCODE_NATS_URL=" + h.Bus.URL(), "DOORCODE_DATABASE_URL=" + pg.URL,
		Prefix + "DATABASE_USER=" + pg.User,
		Prefix + "DATABASE_PASSWORD_FILE=" + write("password", func() ([]byte, error) { return []byte(password), nil }),
		Prefix + "NATS_KEY_FILE=" + h.Bus.KeyFile("verifier"),
		Prefix + "DIGEST_KEY_FILE=" + write("digest.json", h.Digests.Marshal),
		Prefix + "HANDLE_KEY_FILE=" + write("handle.json", h.Handles.Marshal),
		Prefix + "CHECK_ID_KEY_FILE=" + write("check-id.json", h.CheckIDs.Marshal),
		Prefix + "ASSERTION_KEY_FILE=" + write("assertion.json", h.Keys.Marshal),
		Prefix + "SEAL_KEY_FILE=" + write("seal.json", h.Seals.Marshal),
		Prefix + "SEAL_FILE=" + filepath.Join(dir, "seals.jsonl"),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.cfg = cfg
	return h
}

// start runs a verifier; the returned function stops it.
func (h *house) start(change func(*App)) (*App, func()) {
	h.t.Helper()
	tel, err := telemetry.New("verifier", "error", h.t.Output())
	if err != nil {
		h.t.Fatal(err)
	}
	a, err := New(h.cfg, tel)
	if err != nil {
		h.t.Fatal(err)
	}
	if change != nil {
		change(a)
	}
	err = a.Start(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.WithoutCancel(h.t.Context()), time.Minute)
		defer cancel()
		err := a.Stop(ctx)
		if err != nil {
			h.t.Error(err)
		}
	}
	h.t.Cleanup(stop)
	return a, stop
}

// ask sends a request as a user of the bus does.
func ask[A any](t *testing.T, conn *bus.Conn, subject string, request any) (A, *problem.Problem) {
	t.Helper()
	var answer A
	data, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := conn.Request(t.Context(), subject, data)
	var refused *bus.ServiceError
	if errors.As(err, &refused) {
		p := &problem.Problem{Status: refused.Code}
		if len(refused.Body) == 0 { // From the bus itself: no worker was free.
			return answer, p
		}
		err = json.Unmarshal(refused.Body, p)
		if err != nil || p.Status != refused.Code {
			t.Errorf("status %d with the body %s: %v", refused.Code, refused.Body, err)
		}
		return answer, p
	}
	if err == nil {
		err = json.Unmarshal(reply, &answer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return answer, nil
}

func TestP8_ChecksWorkWithoutARecorder(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start(func(a *App) { a.idleRecorder = true })
	c := h.Issue()
	_, p := ask[event.CheckReply](t, h.Auth, event.VerbCheck, h.Wrong(c, "one"))
	if p == nil || p.Code != "wrong_code" || *p.ChecksLeft != 4 {
		t.Errorf("%+v", p)
	}
	reply, p := ask[event.CheckReply](t, h.Auth, event.VerbCheck, h.Right(c, "two"))
	if p != nil || strings.Count(reply.Assertion, ".") != 2 {
		t.Errorf("%+v %+v", reply, p)
	}
	bustest.Wait(t, "the outcome is told", func() bool { return len(h.Bus.Messages(t, event.StreamOutcomes)) == 2 })
}

func TestVerifier_TellsTheStoryOfAChallenge(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start(nil)
	dispatcher := h.Bus.Connect(t, "email-dispatcher")
	c := h.Issue()
	d := event.Delivery{
		Challenge: c.ID(), Send: 1, Channel: "email", Number: 1, RequestedAt: c.Event.CreatedAt, Attempt: "attempt_001",
		Provider: "sendgrid", Result: string(delivery.Accepted),
	}
	e, err := event.New(event.DeliveryAttempted, c.ID()+".1.attempt_001", "doorcode/email-dispatcher", time.Now(), c.ID(), d)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dispatcher.Publish(t.Context(), bus.Message{Subject: "doorcode.delivery.email.attempted", ID: e.ID, Header: e.Header(), Data: e.Data})
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "the delivery is on record", func() bool {
		s, p := ask[event.StateReply](t, h.Auth, event.VerbState, c.Request())
		return p == nil && s.State == "pending" && s.Deliveries[0].Status == "accepted"
	})
	asked, _ := ask[event.DeliveryReply](t, dispatcher, event.VerbDelivery, event.DeliveryRequest{Challenge: c.ID(), Send: 1})
	if asked.Ended || !asked.Accepted {
		t.Errorf("%+v", asked)
	}
	_, p := ask[event.ResendReply](t, h.Auth, event.VerbResend, event.ResendRequest{HandleRequest: c.Request(), Key: verifiertest.Key(1)})
	if p == nil || p.Code != "resend_too_early" || p.RetryAfter <= 0 {
		t.Errorf("%+v", p)
	}
	h.PG.Exec(t, `UPDATE challenges SET resend_at = clock_timestamp()`)
	sent, p := ask[event.ResendReply](t, h.Auth, event.VerbResend, event.ResendRequest{HandleRequest: c.Request(), Key: verifiertest.Key(1)})
	if p != nil || sent.Send != 2 {
		t.Errorf("%+v %+v", sent, p)
	}
	bustest.Wait(t, "the resend is on the bus", func() bool { return len(h.Bus.Messages(t, event.StreamChallenges)) == 2 })
	s, p := ask[event.StateReply](t, h.Auth, event.VerbCancel, c.Request())
	if p != nil || s.State != "canceled" || len(s.Deliveries) != 2 {
		t.Errorf("%+v %+v", s, p)
	}
	_, p = ask[event.CheckReply](t, h.Auth, event.VerbCheck, h.Right(c, "late"))
	if p == nil || p.Code != "closed" {
		t.Errorf("%+v", p)
	}
	h.PG.Exec(t, `UPDATE login_budgets SET locked_at = clock_timestamp()`)
	_, p = ask[struct{}](t, h.Auth, event.VerbUnlock, event.UnlockRequest{Workspace: "acme", Login: "anna", By: "web"})
	if p != nil {
		t.Errorf("%+v", p)
	}
	h.Want(0, `SELECT count(*) FROM login_budgets WHERE locked_at IS NOT NULL`)
	for _, stream := range []string{event.StreamChallenges, event.StreamOutcomes, event.StreamDirectory} {
		for _, m := range h.Bus.Messages(t, stream) {
			back, err := event.Parse(m.Subject, m.Header, m.Data)
			if err != nil {
				t.Fatal(err)
			}
			eventtest.Validate(t, m.Subject, back)
		}
	}
}

// receive publishes what a provider reports about the first send, as its process does.
func receive(t *testing.T, conn *bus.Conn, c verifiertest.Challenge, status delivery.Status, at time.Time) {
	t.Helper()
	at = at.Truncate(time.Second)
	p := event.Receipt{
		Channel: "email", Provider: "sendgrid", Challenge: c.ID(), Send: 1, Attempt: "AAECAwQFBgc", Status: string(status), At: at,
	}
	e, err := event.New(event.ReceiptRecorded, event.ReceiptID(p.Provider, c.ID(), p.Status, at.String()), "doorcode/receipts", at, c.ID(), p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conn.Publish(t.Context(), bus.Message{Subject: "doorcode.receipt.email", ID: rand.Text(), Header: e.Header(), Data: e.Data})
	if err != nil {
		t.Fatal(err)
	}
}

// P9, SEC-57: whatever a provider reports, in whatever order and however often, changes the words about the delivery and
// no outcome: nothing is approved by it, and nothing is kept from being approved. product.md edge case 10: a bad report comes
// after the code was verified.
func TestP9_ReceiptsChangeADeliveryAndNoOutcome(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start(nil)
	receipts := h.Bus.Connect(t, "receipts")
	order := delivery.Reportable()
	for shift := range order {
		c := h.Issue()
		highest := delivery.StatusFailed
		for i := range 2 * len(order) { // Each comes twice, every time in another order.
			receive(t, receipts, c, order[(i*(shift+1)+shift)%len(order)], c.Event.CreatedAt.Add(time.Second))
		}
		receive(t, receipts, c, highest, c.Event.CreatedAt.Add(time.Second))
		bustest.Wait(t, "the last word is on record", func() bool {
			s, p := ask[event.StateReply](t, h.Auth, event.VerbState, c.Request())
			return p == nil && s.State == "pending" && s.ChecksLeft == 5 && s.Deliveries[0].Status == "failed"
		})
		_, p := ask[event.CheckReply](t, h.Auth, event.VerbCheck, h.Right(c, "one"))
		if p != nil {
			t.Errorf("%+v", p)
		}
		receive(t, receipts, c, delivery.StatusFailed, c.Event.CreatedAt.Add(2*time.Second))
		bustest.Wait(t, "it is on record", func() bool {
			return h.Count(`SELECT count(*) FROM audit WHERE challenge_id = $1 AND kind = 'receipt.v1.recorded' AND at > $2`, c.ID(), c.Event.CreatedAt.Add(time.Second).Truncate(time.Second)) == 1
		})
		s, p := ask[event.StateReply](t, h.Auth, event.VerbState, c.Request())
		if p != nil || s.State != "approved" {
			t.Errorf("%+v %+v", s, p)
		}
	}
	h.Want(len(order), `SELECT count(*) FROM audit WHERE kind = 'challenge.v1.approved'`)
}

// Every commit that changes a challenge is announced to auth: recorded events, checks, cancels and sweeps.
func TestVerifier_AnnouncesWhatChanged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var mu sync.Mutex
	told := map[string]int{}
	_, err := h.Auth.Subscribe(t.Context(), event.SubjectChanged, func(data []byte) {
		var c event.Changed
		err := json.Unmarshal(data, &c)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, id := range c.Challenges {
			told[id]++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	count := func(c verifiertest.Challenge) int {
		mu.Lock()
		defer mu.Unlock()
		return told[c.ID()]
	}
	h.start(nil)
	receipts := h.Bus.Connect(t, "receipts")
	for name, change := range map[string]func(verifiertest.Challenge){
		"a receipt": func(c verifiertest.Challenge) { receive(t, receipts, c, delivery.StatusDelivered, c.Event.CreatedAt) },
		"a wrong code": func(c verifiertest.Challenge) {
			_, _ = ask[event.CheckReply](t, h.Auth, event.VerbCheck, h.Wrong(c, "one"))
		},
		"a right code": func(c verifiertest.Challenge) {
			_, _ = ask[event.CheckReply](t, h.Auth, event.VerbCheck, h.Right(c, "one"))
		},
		"a cancel": func(c verifiertest.Challenge) { _, _ = ask[event.StateReply](t, h.Auth, event.VerbCancel, c.Request()) },
		"a resend": func(c verifiertest.Challenge) {
			h.PG.Exec(t, `UPDATE challenges SET resend_at = clock_timestamp() WHERE id = $1`, c.ID())
			_, _ = ask[event.ResendReply](t, h.Auth, event.VerbResend, event.ResendRequest{HandleRequest: c.Request(), Key: verifiertest.Key(1)})
		},
		"a sweep": func(c verifiertest.Challenge) {
			h.PG.Exec(t, `UPDATE challenges SET expires_at = clock_timestamp() WHERE id = $1`, c.ID())
		},
	} {
		c := h.Issue()
		bustest.Wait(t, "that it was recorded is told", func() bool { return count(c) > 0 })
		before := count(c)
		change(c)
		bustest.Wait(t, name+" is told", func() bool { return count(c) > before })
	}
}

func TestVerifier_StopsInOrderAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, stop := h.start(nil)
	err := a.Ready(t.Context())
	if err != nil {
		t.Error(err)
	}
	c := h.Issue()
	_, p := ask[event.CheckReply](t, h.Auth, event.VerbCheck, h.Right(c, "one"))
	if p != nil {
		t.Errorf("%+v", p)
	}
	stop()
	h.Want(0, `SELECT count(*) FROM outbox`)
	_, err = h.Auth.Request(t.Context(), event.VerbCheck, []byte(`{}`))
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("a stopped verifier answers: %v", err)
	}
	// Another one takes over where it stopped.
	h.start(nil)
	again, p := ask[event.CheckReply](t, h.Auth, event.VerbCheck, h.Right(c, "one"))
	if p != nil || again.Assertion == "" {
		t.Errorf("%+v", p)
	}
}

// It shows SEC-67 of deploy/SECURITY.md.
func TestP7_ReadyAndAnswersNameWhatIsAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, _ := h.start(nil)
	_, p := ask[event.StateReply](t, h.Auth, event.VerbState, []string{"not a request"})
	if p == nil || p.Status != 400 {
		t.Errorf("%+v", p)
	}
	c := h.Issue()
	a.requests.Close()
	_, p = ask[event.CheckReply](t, h.Auth, event.VerbCheck, h.Right(c, "one"))
	if p == nil || p.Status < 500 {
		t.Errorf("%+v", p)
	}
	err := a.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "postgres") {
		t.Errorf("unexpected error: %v", err)
	}
}

// It shows SEC-19 of deploy/SECURITY.md.
func TestP2_TwoVerifiersApproveOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start(nil)
	h.start(nil)
	c := h.Issue()
	answers := make([]string, 64)
	verifiertest.Parallel(64, func(i int) {
		reply, p := ask[event.CheckReply](t, h.Auth, event.VerbCheck, h.Right(c, "same"))
		if p != nil && p.Status != 503 {
			t.Errorf("%+v", p)
		}
		answers[i] = reply.Assertion
	})
	seen := map[string]bool{}
	for _, a := range answers {
		if a != "" {
			seen[a] = true
		}
	}
	if len(seen) != 1 {
		t.Errorf("%d different assertions", len(seen))
	}
	h.Want(1, `SELECT count(*) FROM audit WHERE kind = 'challenge.v1.approved'`)
}

func TestConfig_RefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"no worker":        {Workers: 0, Issuer: "doorcode", SealEvery: time.Minute},
		"too many":         {Workers: 2000, Issuer: "doorcode", SealEvery: time.Minute},
		"nobody as issuer": {Workers: 1, SealEvery: time.Minute},
	} {
		err := cfg.Validate()
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	_, err := New(Config{DigestKeyFile: "/nowhere"}, telemetry.Telemetry{})
	if err == nil {
		t.Error("a missing key file was taken")
	}
}
