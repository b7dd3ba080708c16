package embedded_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"doorcode/pkg/bus"
	"doorcode/pkg/bus/embedded"
)

// childEnv makes this test binary a server that waits to be killed.
const childEnv = "EMBEDDED_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		os.Exit(child(dir))
	}
	goleak.VerifyTestMain(m)
}

// child serves, stores two messages, says so, and never stops by itself.
func child(dir string) int {
	ctx := context.Background()
	server, err := embedded.Start(ctx, config(dir))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	conn, err := bus.Connect(ctx, bus.Config{URL: server.URL(), Name: "doorcodectl", KeyFile: filepath.Join(dir, "keys", "doorcodectl.nk")})
	if err == nil {
		err = apply(ctx, conn)
	}
	for _, id := range []string{"1", "2"} {
		if err == nil {
			_, err = conn.Publish(ctx, bus.Message{Subject: "doorcode.challenge.email", ID: id, Data: []byte(id)})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = fmt.Fprintln(os.Stdout, "stored")
	<-ctx.Done() // Never: the parent kills.
	return 0
}

func apply(ctx context.Context, admin *bus.Conn) error {
	changes, err := bus.Plan(ctx, admin, func(context.Context, string) (uint16, error) { return 1, nil })
	if err != nil {
		return err
	}
	return bus.Apply(ctx, admin, changes)
}

func config(dir string) embedded.Config {
	return embedded.Config{
		ConfigFile: filepath.Join(dir, "keys", "nats.conf"), StoreDir: filepath.Join(dir, "store"), Listen: "127.0.0.1:0",
	}
}

// prepare is a directory with keys.
func prepare(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	_, err := bus.WriteKeys(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() { stop(t, server) })
	return server
}

func stop(t *testing.T, server *embedded.Server) {
	t.Helper()
	err := server.Stop(context.Background())
	if err != nil {
		t.Errorf("stop: %v", err)
	}
}

func connect(t *testing.T, server *embedded.Server, dir string) *bus.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Config{
		URL: server.URL(), Name: "doorcodectl", KeyFile: filepath.Join(dir, "keys", "doorcodectl.nk"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := conn.Drain(context.Background())
		if err != nil {
			t.Error(err)
		}
	})
	return conn
}

func TestServer_RefusesASecondOneOnItsStore(t *testing.T) {
	t.Parallel()
	dir := prepare(t)
	first := start(t, config(dir))
	_, err := embedded.Start(t.Context(), config(dir))
	if !errors.Is(err, embedded.ErrLocked) || !strings.Contains(err.Error(), "another server is using") {
		t.Fatalf("a second server: %v", err)
	}
	stop(t, first)
	start(t, config(dir))
}

func TestServer_StartsAgainAfterItWasKilled(t *testing.T) {
	t.Parallel()
	dir := prepare(t)
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), childEnv+"="+dir)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = command.Start()
	if err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(output).ReadString('\n')
	err = command.Process.Kill()
	if err != nil {
		t.Fatal(err)
	}
	if command.Wait() == nil || line != "stored\n" {
		t.Fatalf("the server to be killed said %q %s", line, complaints.String())
	}

	conn := connect(t, start(t, config(dir)), dir)
	for sequence, want := range map[uint64]string{1: "1", 2: "2"} {
		message, err := conn.Get(t.Context(), bus.Challenges, sequence)
		if err != nil || string(message.Data) != want {
			t.Errorf("message %d after the kill: %q, %v", sequence, message.Data, err)
		}
	}
	ack, err := conn.Publish(t.Context(), bus.Message{Subject: "doorcode.challenge.email", ID: "2"})
	if err != nil || !ack.Duplicate {
		t.Errorf("the id of a message before the kill: %+v, %v", ack, err)
	}
}

func TestServer_KeepsItsStoreAndItsPromisesToTheFile(t *testing.T) {
	t.Parallel()
	dir := prepare(t)
	server := start(t, config(dir))
	if server.StoreDir() != filepath.Join(dir, "store") {
		t.Errorf("store directory %s", server.StoreDir())
	}
	err := apply(t.Context(), connect(t, server, dir))
	if err != nil {
		t.Fatalf("the streams do not fit: %v", err)
	}
	_, err = os.Stat(filepath.Join(dir, "store", "jetstream", "DOORCODE", "streams", bus.Challenges))
	if err != nil {
		t.Errorf("the stream is elsewhere: %v", err)
	}
}

func TestServer_OpensNoPortForMonitoring(t *testing.T) {
	t.Parallel()
	dir := prepare(t)
	// A port that is free now and that the file asks for.
	var listen net.ListenConfig
	probe, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := probe.Addr().String()
	err = probe.Close()
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(dir)
	file, err := os.OpenFile(cfg.ConfigFile, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(file, "\nhttp: %q\n", address)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	start(t, cfg)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err == nil {
		_ = conn.Close()
		t.Error("the monitoring port is open")
	}
}

func TestStart_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := prepare(t)
	for name, alter := range map[string]func(*embedded.Config){
		"no file":     func(c *embedded.Config) { c.ConfigFile += ".missing" },
		"no port":     func(c *embedded.Config) { c.Listen = "127.0.0.1" },
		"wrong port":  func(c *embedded.Config) { c.Listen = "127.0.0.1:http" },
		"store taken": func(c *embedded.Config) { c.StoreDir = c.ConfigFile },
	} {
		cfg := config(dir)
		alter(&cfg)
		_, err := embedded.Start(t.Context(), cfg)
		if err == nil {
			t.Errorf("%s: started", name)
		}
	}
	// None of them left the lock behind.
	start(t, config(dir))
}

func TestStart_ReportsAPortThatIsTaken(t *testing.T) {
	t.Parallel()
	dir := prepare(t)
	var listen net.ListenConfig
	taken, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	var text bytes.Buffer
	cfg := config(dir)
	cfg.Listen = taken.Addr().String()
	cfg.Log = slog.New(slog.NewJSONHandler(&text, nil))
	_, err = embedded.Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(text.String(), `"level":"ERROR"`) {
		t.Errorf("start on a port that is taken: %v, log %s", err, text.String())
	}
}
