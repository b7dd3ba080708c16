package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/bustest"
)

func TestConnect_FailsAtOnceWithAWrongKey(t *testing.T) {
	t.Parallel()
	b := bustest.StartEmpty(t)
	dir := t.TempDir()
	public := publicKey(t, dir)
	seed := filepath.Join(dir, "seed")
	// The context allows for much more than one try.
	_, err := bus.Connect(patience(t), bus.Config{URL: b.URL(), Name: "auth", KeyFile: seed})
	if !errors.Is(err, nats.ErrAuthorization) || errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("connect: %v", err)
	}
	if strings.Contains(err.Error(), public) {
		t.Error("the error shows the key")
	}
}

func TestConnect_RefusesWhatIsNoKey(t *testing.T) {
	t.Parallel()
	b := bustest.StartEmpty(t)
	file := filepath.Join(t.TempDir(), "key")
	err := os.WriteFile(file, []byte("SUNOTAKEYATALL"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []bus.Config{
		{URL: b.URL(), Name: "auth", KeyFile: file},
		{URL: b.URL(), Name: "auth", KeyFile: file + ".missing"},
		{URL: b.URL(), Name: "auth"},
		{URL: b.URL(), KeyFile: b.KeyFile("auth")},
		{Name: "auth", KeyFile: b.KeyFile("auth")},
	} {
		_, err := bus.Connect(t.Context(), cfg)
		if err == nil {
			t.Errorf("connected with %+v", cfg)
			continue
		}
		if strings.Contains(err.Error(), "SUNOTAKEY") {
			t.Error("the error shows the key")
		}
	}
}

func TestConnect_WaitsForAServerThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	b.Stop(t)
	type result struct {
		conn *bus.Conn
		err  error
	}
	connected := make(chan result, 1)
	go func() {
		conn, err := bus.Connect(patience(t), bus.Config{URL: b.URL(), Name: "auth", KeyFile: b.KeyFile("auth")})
		connected <- result{conn, err}
	}()
	b.Resume(t)
	got := <-connected
	if got.err != nil {
		t.Fatalf("connect: %v", got.err)
	}
	err := got.conn.Ready(patience(t))
	if err != nil {
		t.Error(err)
	}
	err = got.conn.Drain(patience(t))
	if err != nil {
		t.Error(err)
	}
}

func TestConnect_StopsWaitingWithItsContext(t *testing.T) {
	t.Parallel()
	b := bustest.StartEmpty(t)
	b.Stop(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := bus.Connect(ctx, bus.Config{URL: b.URL(), Name: "auth", KeyFile: b.KeyFile("auth")})
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("connect: %v", err)
	}
}

func TestConn_TreatsARefusedPermissionAsFatal(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	fatal := make(chan error, 8)
	auth := b.Open(t, bus.Config{Name: "auth", Fatal: func(err error) { fatal <- err }})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// To its caller it looks like a time-out.
	_, err := auth.Publish(ctx, bus.Message{Subject: "doorcode.outcome.approved", ID: "forged"})
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("publish: %v", err)
	}
	err = <-fatal
	if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), "doorcode.outcome.approved") {
		t.Errorf("fatal: %v", err)
	}
}

func TestConn_LogsWhatIsFatalWhenNobodyListens(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	var text bytes.Buffer
	auth := b.Open(t, bus.Config{Name: "auth", Log: slog.New(slog.NewJSONHandler(&text, nil))})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := auth.Publish(ctx, bus.Message{Subject: "doorcode.outcome.approved", ID: "forged"})
	if err == nil {
		t.Error("published")
	}
	// After the drain no handler runs any more.
	err = auth.Drain(patience(t))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), `"msg":"bus failed"`) {
		t.Errorf("log: %s", text.String())
	}
}

func TestConn_IsReadyOnlyWhileTheServerAnswers(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	auth := b.Connect(t, "auth")
	err := auth.Ready(patience(t))
	if err != nil {
		t.Errorf("ready: %v", err)
	}
	b.Stop(t)
	bustest.Wait(t, "not ready", func() bool { return errors.Is(auth.Ready(t.Context()), bus.ErrUnavailable) })
	b.Resume(t)
	bustest.Wait(t, "ready again", func() bool { return auth.Ready(t.Context()) == nil })
}

func TestConn_DrainsOnceAndFromEveryState(t *testing.T) {
	t.Parallel()
	b := bustest.Start(t)
	up, down := b.Connect(t, "auth"), b.Connect(t, "auth")
	for range 2 {
		err := up.Drain(patience(t))
		if err != nil {
			t.Errorf("drain: %v", err)
		}
	}
	_, err := up.Publish(t.Context(), bus.Message{Subject: email, ID: "late"})
	if !errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("publish after the drain: %v", err)
	}
	b.Stop(t)
	bustest.Wait(t, "disconnect", func() bool { return down.Ready(t.Context()) != nil })
	err = down.Drain(patience(t))
	if err != nil {
		t.Errorf("drain while the server is away: %v", err)
	}
}
