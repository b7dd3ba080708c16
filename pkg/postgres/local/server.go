package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// errPortTaken says that the server found its port in use.
var errPortTaken = errors.New("the port of the private postgres is taken")

// errStragglers says that processes of a killed server still end. They do so by
// themselves, as soon as each notices.
var errStragglers = errors.New("processes of the last postgres of the data folder still run")

const (
	// startLimit is the longest wait for a server to answer; recovery after a
	// crash can take most of it.
	startLimit = 2 * time.Minute
	// greetLimit bounds one try to connect.
	greetLimit = 5 * time.Second
	// quitLimit is the time that a server told to stop at once may still take.
	quitLimit = 10 * time.Second
)

// server is the running process.
type server struct {
	cmd      *exec.Cmd
	done     chan struct{} // closed when the process has ended
	failed   chan error    // one error when it ended unasked
	stopping atomic.Bool
}

// spawn starts a command on an operating system thread that stays with it until
// it ends, because the kernel's signal to the orphan is sent when the starting
// *thread* ends. The channel delivers the result of the process once.
func spawn(cmd *exec.Cmd) (<-chan error, error) {
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	return ended, <-started
}

// startAndWait runs a command to its end on a thread of its own.
func startAndWait(cmd *exec.Cmd) error {
	ended, err := spawn(cmd)
	if err != nil {
		return err
	}
	return <-ended
}

// launch starts the server and waits until it answers.
func (c *Cluster) launch(ctx context.Context) error {
	log, err := os.OpenFile(c.dir+".log", os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of postgres: %w", err)
	}
	defer func() { _ = log.Close() }()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("find the end of the log of postgres: %w", err)
	}
	// The server outlives the call, and Stop ends it by its own signal.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(c.binDir, "postgres"), c.arguments()...) //nolint:gosec // paths of the operator
	cmd.Dir, cmd.Env = "/", environment()
	cmd.SysProcAttr = attributes(c.who)
	cmd.Stdout, cmd.Stderr = log, log
	ended, err := spawn(cmd)
	if err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	c.server = &server{cmd: cmd, done: make(chan struct{}), failed: make(chan error, 1)}
	go c.server.watch(ended)
	err = c.awaitReady(ctx)
	if err == nil {
		c.log.Info("postgres ready", "dir", c.dir, "port", c.port, "pid", cmd.Process.Pid)
		return nil
	}
	return c.explain(ctx, err, from)
}

// explain stops a server that did not become ready and adds its last words.
func (c *Cluster) explain(ctx context.Context, err error, from int64) error {
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitLimit)
	defer cancel()
	stopErr := c.server.stop(stop)
	words := tail(c.dir+".log", from)
	switch {
	case portTaken(words):
		return fmt.Errorf("%w: port %d: %s", errPortTaken, c.port, words)
	case strings.Contains(words, "pre-existing shared memory block"):
		return fmt.Errorf("%w: %s", errStragglers, words)
	}
	return errors.Join(fmt.Errorf("%w: its log says: %s", err, words), stopErr)
}

// tail returns the last lines that were written to a log since an offset.
func tail(path string, from int64) string {
	f, err := os.Open(path) //nolint:gosec // our own log
	if err != nil {
		return "nothing"
	}
	defer func() { _ = f.Close() }()
	const enough = 16 << 10
	info, err := f.Stat()
	if err == nil && info.Size()-from > enough {
		from = info.Size() - enough
	}
	data, err := io.ReadAll(io.NewSectionReader(f, from, enough))
	if err != nil || len(data) == 0 {
		return "nothing"
	}
	return lastLines(data)
}

// awaitReady returns when the server accepts the owner, and fails as soon as it
// has ended.
func (c *Cluster) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	living, dead := context.WithCancel(ctx)
	defer dead()
	ended := c.server.done // a retry replaces the server while this goroutine may still end
	go func() {
		select {
		case <-ended:
			dead()
		case <-living.Done():
		}
	}()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		err := c.greet(living)
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("postgres ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres to be ready: %w", ctx.Err())
		case <-ticker.C:
		}
	}
}

// greet connects once. It is bounded, because a stranger on the port may take the
// connection and say nothing.
func (c *Cluster) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, greetLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// watch turns the end of the process into the channels that others wait on.
func (s *server) watch(ended <-chan error) {
	err := <-ended
	if !s.stopping.Load() {
		s.failed <- fmt.Errorf("postgres ended unasked: %w", orClean(err))
	}
	close(s.done)
}

// orClean gives an end without an error a name.
func orClean(err error) error {
	if err == nil {
		return errors.New("by somebody's order")
	}
	return err
}

// stop asks for a fast shutdown, and for an immediate one when ctx ends.
func (s *server) stop(ctx context.Context) error {
	s.stopping.Store(true)
	s.signal(syscall.SIGINT)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.signal(syscall.SIGQUIT)
	limit := time.NewTimer(quitLimit)
	defer limit.Stop()
	select {
	case <-s.done:
	case <-limit.C:
		s.signal(syscall.SIGKILL)
		<-s.done
	}
	return fmt.Errorf("stop postgres gently: %w", ctx.Err())
}

// signal sends a signal; a process that has ended needs none.
func (s *server) signal(sig syscall.Signal) {
	_ = s.cmd.Process.Signal(sig)
}
