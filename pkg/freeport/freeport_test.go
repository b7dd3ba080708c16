package freeport_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"doorcode/pkg/freeport"
)

const loopback = "127.0.0.1"

// child is set in the process that takes addresses beside the test.
const child = "FREEPORT_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) == "" {
		os.Exit(m.Run())
	}
	taken, err := freeport.Take(context.Background(), loopback, 1)
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString(taken.Addresses[0] + "\n")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test lets go
}

// A port among those of outgoing connections is gone when somebody happens to connect.
func TestTake_KeepsOutOfThePortsOfOutgoingConnections(t *testing.T) {
	t.Parallel()
	taken, err := freeport.Take(t.Context(), loopback, 100)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(taken.Release)
	seen := map[string]bool{}
	for _, a := range taken.Addresses {
		address, err := net.ResolveTCPAddr("tcp", a)
		if err != nil {
			t.Fatal(err)
		}
		if address.Port >= 32768 || address.Port < 1024 || seen[a] {
			t.Errorf("%s is taken: %v", a, seen[a])
		}
		seen[a] = true
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", a)
		if err != nil {
			t.Fatalf("nobody can listen on %s: %v", a, err)
		}
		_ = l.Close()
	}
}

// Two test processes run at the same time, and none may get what another one has stopped listening on for a moment.
func TestTake_LeavesOthersWhatTheyHave(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	cmd.Env = append(os.Environ(), child+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		err := cmd.Wait()
		if err != nil {
			t.Error(err)
		}
	})
	buffer := make([]byte, 64)
	n, err := stdout.Read(buffer)
	if err != nil {
		t.Fatal(err)
	}
	theirs := strings.TrimSpace(string(buffer[:n]))
	_, err = (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", theirs)
	if err == nil {
		t.Fatalf("nothing keeps %s for the process that took it", theirs)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", theirs)
	if err != nil {
		t.Fatalf("%s is not free for a listener: %v", theirs, err)
	}
	_ = l.Close()
}

func TestTake_NamesAHostThatIsNotOurs(t *testing.T) {
	t.Parallel()
	_, err := freeport.Take(t.Context(), "192.0.2.1", 1) // of a documentation network (RFC 5737)
	if !errors.Is(err, freeport.ErrNone) || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("a port of another machine: %v", err)
	}
}
