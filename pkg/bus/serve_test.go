package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/bus/embedded"
)

const checkSubject = "doorcode.verifier.check"

// serveCheck answers checks as the verifier.
func serveCheck(t *testing.T, b *bustest.Bus, workers int, handle func(context.Context, bus.Request) ([]byte, error)) *bus.Service {
	t.Helper()
	service, err := b.Connect(t, "verifier").Serve(patience(t), bus.ServiceConfig{
		Name: "verifier", Version: "1.0.0", Workers: workers,
		Endpoints: []bus.Endpoint{{Name: "check", Subject: checkSubject, Handle: handle}},
	})
	if err != nil {
		t.Fatalf("serve: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err := service.Stop(ctx)
		if err != nil {
			t.Errorf("stop the service: %v", err)
		}
	})
	return service
}

func TestService_Answers(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	serveCheck(t, b, 4, func(ctx context.Context, r bus.Request) ([]byte, error) {
		deadline, ok := ctx.Deadline()
		if !ok || time.Until(deadline) > 10*time.Second {
			return nil, errors.New("no deadline of ten seconds")
		}
		return fmt.Appendf(nil, "%s %s", r.Subject, r.Data), nil
	})
	answer, err := b.Connect(t, "auth").Request(patience(t), checkSubject, []byte("?"))
	if err != nil || string(answer) != checkSubject+" ?" {
		t.Errorf("answer %q, %v", answer, err)
	}
}

// lines is a log that hands on each line while there is room.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

func TestService_OutlivesAnAnswerThatAKilledServerLetItGive(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	fatal, log := make(chan error, 8), make(lines, 1024)
	verifier := b.Open(t, bus.Config{Name: "verifier", Log: slog.New(slog.NewJSONHandler(log, nil)), Fatal: func(err error) { fatal <- err }})
	asked, proceed := make(chan struct{}, 1), make(chan struct{})
	service, err := verifier.Serve(patience(t), bus.ServiceConfig{
		Name: "verifier", Version: "1.0.0", Workers: 4,
		Endpoints: []bus.Endpoint{{Name: "check", Subject: checkSubject, Handle: func(context.Context, bus.Request) ([]byte, error) {
			asked <- struct{}{}
			<-proceed
			return nil, nil
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Stop(context.Background()) })
	auth := b.Connect(t, "auth")
	lost := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := auth.Request(ctx, checkSubject, nil)
		lost <- err
	}()
	<-asked
	b.Restart(t)
	bustest.Wait(t, "the verifier is back", func() bool { return verifier.Ready(t.Context()) == nil })
	close(proceed)
	if err := <-lost; !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("the question of before: %v", err)
	}
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for told := false; !told; {
		select {
		case err := <-fatal:
			t.Fatalf("one lost answer ended the service: %v", err)
		case line := <-log:
			told = strings.Contains(line, "answer not allowed any more")
		case <-deadline.C:
			t.Fatal("the server took an answer to a question that it has forgotten")
		}
	}
	go func() { <-asked }()
	bustest.Wait(t, "auth is back", func() bool { return auth.Ready(t.Context()) == nil })
	_, err = auth.Request(patience(t), checkSubject, nil)
	if err != nil {
		t.Errorf("the next question: %v", err)
	}
}

func TestService_CarriesRefusalsAndHidesFailures(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	serveCheck(t, b, 4, func(_ context.Context, r bus.Request) ([]byte, error) {
		switch string(r.Data) {
		case "refuse":
			return nil, fmt.Errorf("wrapped: %w", &bus.ServiceError{Code: 422, Body: []byte(`{"code":"wrong_code"}`)})
		case "odd":
			return nil, &bus.ServiceError{Code: 799}
		default:
			return []byte("half an answer"), errors.New("the database is on fire")
		}
	})
	auth := b.Connect(t, "auth")
	for question, want := range map[string]*bus.ServiceError{
		"refuse": {Code: 422, Body: []byte(`{"code":"wrong_code"}`)},
		"odd":    {Code: 799, Body: []byte{}},
		"fail":   {Code: http.StatusInternalServerError, Body: []byte{}},
	} {
		_, err := auth.Request(patience(t), checkSubject, []byte(question))
		got, ok := errors.AsType[*bus.ServiceError](err)
		if !ok || errors.Is(err, bus.ErrUnavailable) {
			t.Fatalf("%s: %v", question, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", question, diff)
		}
	}
}

// It shows SEC-68 of deploy/SECURITY.md.
func TestService_RefusesWhatItsPoolCannotTake(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	entered, release := make(chan struct{}), make(chan struct{})
	serveCheck(t, b, 1, func(_ context.Context, r bus.Request) ([]byte, error) {
		if string(r.Data) == "slow" {
			close(entered)
			<-release
		}
		return r.Data, nil
	})
	auth := b.Connect(t, "auth")
	slow := make(chan error, 1)
	go func() {
		_, err := auth.Request(patience(t), checkSubject, []byte("slow"))
		slow <- err
	}()
	<-entered
	_, err := auth.Request(patience(t), checkSubject, []byte("one too many"))
	refusal, ok := errors.AsType[*bus.ServiceError](err)
	if !ok || refusal.Code != http.StatusServiceUnavailable {
		t.Errorf("a request to a full pool: %v", err)
	}
	close(release)
	err = <-slow
	if err != nil {
		t.Errorf("the request that was running: %v", err)
	}
	bustest.Wait(t, "a free worker", func() bool {
		_, err := auth.Request(patience(t), checkSubject, []byte("now"))
		return err == nil
	})
}

func TestService_HasRoomAgainBeforeItsAnswerArrives(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	serveCheck(t, b, 1, func(context.Context, bus.Request) ([]byte, error) { return nil, nil })
	auth := b.Connect(t, "auth")
	for i := range 3000 {
		_, err := auth.Request(patience(t), checkSubject, nil)
		if err != nil {
			t.Fatalf("request %d came after the answer to the one before: %v", i, err)
		}
	}
}

func TestService_FinishesWhatRunsWhenItStops(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	entered, release := make(chan struct{}), make(chan struct{})
	service := serveCheck(t, b, 2, func(_ context.Context, r bus.Request) ([]byte, error) {
		if string(r.Data) != "slow" {
			return nil, nil
		}
		close(entered)
		<-release
		return []byte("late but right"), nil
	})
	auth := b.Connect(t, "auth")
	type result struct {
		answer []byte
		err    error
	}
	asked, stopped := make(chan result, 1), make(chan error, 1)
	go func() {
		answer, err := auth.Request(patience(t), checkSubject, []byte("slow"))
		asked <- result{answer, err}
	}()
	<-entered
	go func() { stopped <- service.Stop(patience(t)) }()
	bustest.Wait(t, "no more responders", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := auth.Request(ctx, checkSubject, nil)
		return errors.Is(err, nats.ErrNoResponders)
	})
	select {
	case err := <-stopped:
		t.Fatalf("stop did not wait for the running request: %v", err)
	default:
	}
	close(release)
	got := <-asked
	if got.err != nil || string(got.answer) != "late but right" {
		t.Errorf("the running request: %q, %v", got.answer, got.err)
	}
	err := <-stopped
	if err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestService_CancelsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	entered := make(chan struct{})
	service := serveCheck(t, b, 1, func(ctx context.Context, _ bus.Request) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	auth := b.Connect(t, "auth")
	asked := make(chan error, 1)
	go func() {
		_, err := auth.Request(patience(t), checkSubject, nil)
		asked <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := service.Stop(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("stop: %v", err)
	}
	if _, ok := errors.AsType[*bus.ServiceError](<-asked); !ok {
		t.Error("the request that was cancelled got no answer")
	}
}

func TestConn_IsUnavailableWhenNobodyAnswers(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	_, err := b.Connect(t, "auth").Request(patience(t), checkSubject, nil)
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("request without a responder: %v", err)
	}
}

func TestConn_RefusesAServiceItCannotRun(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	verifier := b.Connect(t, "verifier")
	for name, cfg := range map[string]bus.ServiceConfig{
		"no worker":   {Name: "verifier", Version: "1.0.0"},
		"no version":  {Name: "verifier", Workers: 1},
		"bad subject": {Name: "verifier", Version: "1.0.0", Workers: 1, Endpoints: []bus.Endpoint{{Name: "x", Subject: "a b"}}},
	} {
		_, err := verifier.Serve(patience(t), cfg)
		if err == nil {
			t.Errorf("%s: served", name)
		}
	}
}

// openServer is a server whose one account lets every user do everything, as no nats.conf of ours does: what the code
// refuses by itself shows only there.
func openServer(t *testing.T) *embedded.Server {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "open.conf")
	err := os.WriteFile(config, []byte("authorization { users: [ { nkey: "+publicKey(t, dir)+" } ] }\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	server, err := embedded.Start(t.Context(), embedded.Config{
		ConfigFile: config, StoreDir: filepath.Join(dir, "store"), Listen: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := server.Stop(context.Background())
		if err != nil {
			t.Error(err)
		}
	})
	return server
}

// publicKey makes a user, leaves its seed in dir/seed and returns its public key.
func publicKey(t *testing.T, dir string) string {
	t.Helper()
	seed, public, err := bus.NewUserKey()
	if err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(filepath.Join(dir, "seed"), []byte(seed), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func TestP10_ServiceDropsARequestWhoseReplySubjectIsNoInbox(t *testing.T) {
	t.Parallel()
	server := openServer(t)
	seed := filepath.Join(filepath.Dir(server.StoreDir()), "seed")
	conn, err := bus.Connect(patience(t), bus.Config{URL: server.URL(), Name: "anyone", KeyFile: seed})
	if err != nil {
		t.Fatal(err)
	}
	service, err := conn.Serve(patience(t), bus.ServiceConfig{
		Name: "echo", Version: "1.0.0", Workers: 8,
		Endpoints: []bus.Endpoint{{
			Name: "check", Subject: checkSubject,
			Handle: func(_ context.Context, r bus.Request) ([]byte, error) { return r.Data, nil },
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := errors.Join(service.Stop(context.Background()), conn.Drain(context.Background()))
		if err != nil {
			t.Error(err)
		}
	})
	key, err := nats.NkeyOptionFromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	attacker, err := nats.Connect(server.URL(), key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(attacker.Close)
	written := make(chan string, 64)
	_, err = attacker.Subscribe(">", func(m *nats.Msg) {
		if m.Subject != checkSubject {
			written <- m.Subject
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{"doorcode.outcome.approved", email, "$JS.API.STREAM.DELETE.X", checkSubject + ".x", "_INBOX.x"} {
		err = attacker.PublishRequest(checkSubject, reply, []byte("pen"))
		if err != nil {
			t.Fatal(err)
		}
	}
	// Requests of one connection are handed off in order, so after these answers there is none left to come.
	for range 3 {
		err = attacker.PublishRequest(checkSubject, "_INBOX_anyone.1", []byte("ink"))
		if err != nil {
			t.Fatal(err)
		}
		if subject := <-written; subject != "_INBOX_anyone.1" {
			t.Errorf("an answer was written to %s", subject)
		}
	}
}
