package local

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestCluster_DiesWithItsKilledParent(t *testing.T) {
	t.Parallel()
	cfg := config(t, tempDir(t))
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+cfg.Dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe() // held open, so that the child waits
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	err = cmd.Start()
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal("the child told no number:", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !alive(pid) {
		t.Fatalf("the server %q of the child does not live: %v", line, err)
	}
	err = cmd.Process.Kill()
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as asked
	// At once, as a supervisor would: the start has to wait for the orphan's end.
	c := start(t, cfg)
	if ask(t, c, `SELECT 'up'`) != "up" {
		t.Error("the next server does not answer")
	}
	eventually(t, "the orphan is gone", func() bool { return !alive(pid) || servesElsewhere(pid, filepath.Clean(cfg.Dir)) })
}

func TestCluster_IgnoresTheStaleFileOfADeadServer(t *testing.T) {
	t.Parallel()
	cfg := config(t, tempDir(t))
	c := start(t, cfg)
	stop(t, c)
	// The number now belongs to a process that is no server, as in a restarted container.
	stale := strconv.Itoa(os.Getppid()) + "\n" + cfg.Dir + "\n"
	path := filepath.Join(cfg.Dir, "postmaster.pid")
	err := os.WriteFile(path, []byte(stale), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	err = c.who.own(path)
	if err != nil {
		t.Fatal(err)
	}
	start(t, cfg)
}
