package notice_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"doorcode/pkg/account"
	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/event"
	"doorcode/pkg/keyring"
	"doorcode/pkg/postgres"
	"doorcode/services/auth/internal/notice"
	"doorcode/services/auth/internal/ticket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// directory knows one login, whose first route is its phone.
type directory struct {
	*postgres.Directory // of nothing else is asked

	locked time.Time
}

func (d directory) Addressee(context.Context, string, string) (postgres.Addressee, error) {
	return postgres.Addressee{
		Workspace: account.Workspace{ID: "w", Name: "Lanternbird", MainEmail: "office@example.com", Owner: "anna"},
		Login:     account.Login{Workspace: "w", ID: "anna", Email: "anna@example.com", Phone: "+12025550148", Channel: account.SMS},
		LockedAt:  d.locked,
	}, nil
}

func (d directory) OrderNotices(context.Context, string, int) (postgres.NoticePass, error) {
	return postgres.NoticePass{Busy: true}, nil
}

// broken is a bus on which one subject cannot be published for now.
type broken struct {
	*bus.Conn
	subject string
	mended  atomic.Bool
}

func (b *broken) Publish(ctx context.Context, m bus.Message) (bus.Ack, error) {
	if m.Subject == b.subject && !b.mended.Load() {
		return bus.Ack{}, errors.New("not now")
	}
	return b.Conn.Publish(ctx, m)
}

// consumer opens the consumer of a stream.
func consumer(b *broken, stream string) notice.Opener {
	return func(ctx context.Context) (notice.Source, error) { return b.Consumer(ctx, stream, bus.Notices) }
}

// run starts a teller on the bus for a login that is locked since then.
func run(t *testing.T, publisher *broken, locked time.Time) {
	t.Helper()
	ring, err := keyring.New()
	if err != nil {
		t.Fatal(err)
	}
	teller, err := notice.New(notice.Config{
		Changes: consumer(publisher, event.StreamDirectory), Codes: consumer(publisher, event.StreamOutcomes),
		Publisher: publisher, Directory: directory{locked: locked}, Address: ring,
		Channels: map[string]*keyring.Ring{account.SMS: ring, account.Email: ring},
		MayText:  func(account.Login, []string) bool { return true }, Alarm: func(context.Context, string) {},
		Link:      func(l ticket.Link) string { return "https://sign-in.example.com" + l.Address(ring) },
		PerMinute: 1, Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { teller.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// ordered counts the notices on the bus by their channel.
func ordered(t *testing.T, b *bustest.Bus) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, m := range b.Messages(t, event.StreamChallenges) {
		all[strings.TrimPrefix(m.Subject, "doorcode.challenge.")]++
	}
	return all
}

func TestTeller_ARouteThatFailsKeepsNoOtherFromBeingTold(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	at := time.Now().UTC().Truncate(time.Microsecond)
	publisher := &broken{Conn: b.Connect(t, "auth"), subject: "doorcode.challenge.sms"}
	run(t, publisher, at)
	e, err := event.New(event.LoginLocked, "x.locked.3", "doorcode/verifier", at, "w", event.Directory{
		Workspace: "w", Login: "anna", Version: 1, By: "doorcode/verifier", At: at,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Connect(t, "verifier").Publish(t.Context(), bus.Message{Subject: "doorcode.directory.login_locked", ID: e.ID, Header: e.Header(), Data: e.Data})
	if err != nil {
		t.Fatal(err)
	}
	bustest.Wait(t, "the mails are ordered", func() bool { return ordered(t, b)["email"] == 2 })
	if n := ordered(t, b)["sms"]; n != 0 {
		t.Fatalf("%d text messages", n)
	}
	publisher.mended.Store(true)
	bustest.Wait(t, "the text message is ordered", func() bool { return ordered(t, b)["sms"] == 1 })
	if diff := cmp.Diff(map[string]int{"email": 2, "sms": 1}, ordered(t, b)); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
}
