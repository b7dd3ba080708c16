package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrInUse says that another process runs a server on the data folder.
var ErrInUse = errors.New("the data folder is in use by another running postgres")

const (
	// tick is how often a condition outside this process is looked at.
	tick = 25 * time.Millisecond
	// orphanGrace is how long a server without a living starter may take to
	// notice that it has to end.
	orphanGrace = 2 * time.Second
)

// lock takes the data folder for this process until the file is closed. The
// system gives it back when the process dies, however it dies.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names the folder
	if err != nil {
		return nil, fmt.Errorf("open lock of the data folder: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	return nil, fmt.Errorf("lock the data folder: %w", err)
}

// postmaster is what a server's own file in the data folder says.
type postmaster struct {
	pid      int
	stopping bool
}

// readPostmaster reads postmaster.pid; false means that there is none or that it
// was cut short by a crash.
func readPostmaster(dir string) (postmaster, bool) {
	data, err := os.ReadFile(filepath.Join(dir, "postmaster.pid")) //nolint:gosec // a name of Postgres in its own folder
	if err != nil {
		return postmaster{}, false
	}
	lines := strings.Split(string(data), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 1 {
		return postmaster{}, false
	}
	// The eighth line is the state: starting, ready, standby or stopping.
	stopping := len(lines) > 7 && strings.TrimSpace(lines[7]) == "stopping"
	return postmaster{pid: pid, stopping: stopping}, true
}

// alive reports whether a process with that number exists, whoever owns it.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// awaitVacant returns once no server works on the folder. One whose starter was
// killed is on its way out and is waited for; one that stays is refused. A stale
// file of a dead server is removed, because its number may belong to an innocent
// process by now and Postgres would refuse to start.
func awaitVacant(ctx context.Context, dir string) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	grace := time.NewTimer(orphanGrace)
	defer grace.Stop()
	for {
		p, ok := readPostmaster(dir)
		if !ok || !alive(p.pid) {
			return nil
		}
		if servesElsewhere(p.pid, dir) {
			return removeStale(dir)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the last postgres of the data folder to end: %w", ctx.Err())
		case <-grace.C:
			if !p.stopping {
				return fmt.Errorf("%w (process %d): %s", ErrInUse, p.pid, dir)
			}
			grace.Reset(orphanGrace)
		}
	}
}

// removeStale removes the file of a server that no longer exists.
func removeStale(dir string) error {
	err := os.Remove(filepath.Join(dir, "postmaster.pid"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale postmaster.pid: %w", err)
	}
	return nil
}
