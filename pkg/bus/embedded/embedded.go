// Package embedded runs a NATS server inside this process, from the same nats.conf as one in a container: same
// accounts, users and permissions, same `sync_interval: always`.
//
// It is one node. It opens one port, that of clients, and none for monitoring. Its store directory is locked: a second
// server on it is refused, where NATS itself would start and both would write. A killed process leaves a store that
// the next one opens. Pitfalls of embedding are listed in nats-postgres.md 9.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ErrLocked says that another server, of this or another process, has the store directory.
var ErrLocked = errors.New("another server is using this store directory")

const (
	maxStore  = 10 << 30  // bytes on disk; the streams of package bus set aside less
	maxMemory = 256 << 20 // bytes in memory
	readyWait = 10 * time.Second
	readyPoll = 50 * time.Millisecond
)

// Config says which server to run.
type Config struct {
	// ConfigFile is nats.conf; its includes lie beside it.
	ConfigFile string
	// StoreDir holds the streams. It is made when it is not there.
	StoreDir string
	// Listen is the address for clients, `host:port`; port 0 takes a free one.
	Listen string
	// Log gets the server's own messages. Nil discards.
	Log *slog.Logger
}

// Server is a running server.
type Server struct {
	nats *server.Server
	lock *os.File
	stop sync.Once
}

// Start runs a server and returns when it takes connections.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	options, err := load(cfg)
	if err != nil {
		return nil, err
	}
	lock, err := lockStore(cfg.StoreDir)
	if err != nil {
		return nil, err
	}
	s := &Server{lock: lock}
	s.nats, err = server.NewServer(options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up the embedded nats server: %w", err), lock.Close())
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	messages := &logger{log: log, fatal: make(chan string, 1)}
	s.nats.SetLoggerV2(messages, false, false, false)
	s.nats.Start()
	err = s.awaitReady(ctx, messages.fatal)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the embedded nats server: %w", err), s.Stop(ctx))
	}
	return s, nil
}

// awaitReady returns when the server takes connections, or says why it never will.
func (s *Server) awaitReady(ctx context.Context, fatal <-chan string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	for !s.nats.ReadyForConnections(readyPoll) {
		select {
		case text := <-fatal:
			return errors.New(text)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
	}
	if !s.nats.JetStreamEnabled() {
		return errors.New("jetstream is not enabled, the log says why")
	}
	return nil
}

// load reads the file and overrides what is different inside a process.
func load(cfg Config) (*server.Options, error) {
	options, err := server.ProcessConfigFile(cfg.ConfigFile)
	if err != nil {
		return nil, fmt.Errorf("read the nats configuration: %w", err)
	}
	host, portText, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("read the nats listen address: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("read the nats listen address: %w", err)
	}
	options.Host, options.Port = host, int(port)
	if port == 0 {
		options.Port = server.RANDOM_PORT
	}
	// Whatever the file says: no monitoring without authentication beside the other listeners of this process.
	options.HTTPPort, options.HTTPSPort = 0, 0
	options.ProfPort = 0
	// The default handler would end the process on SIGINT.
	options.NoSigs = true
	options.JetStream = true
	options.StoreDir = cfg.StoreDir
	// The defaults are most of the machine's disk and memory.
	options.JetStreamMaxStore, options.JetStreamMaxMemory = maxStore, maxMemory
	return options, nil
}

// lockStore takes the lock that NATS does not take. The kernel gives it back when the process dies.
func lockStore(dir string) (*os.File, error) {
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return nil, fmt.Errorf("make the nats store directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // A folder of the operator.
	if err != nil {
		return nil, fmt.Errorf("open the lock of the nats store: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(fmt.Errorf("lock the nats store %s: %w", dir, ErrLocked), file.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the nats store %s: %w", dir, err), file.Close())
	}
	return file, nil
}

// StoreDir is the directory that the server holds.
func (s *Server) StoreDir() string {
	return filepath.Dir(s.lock.Name())
}

// URL is the address for clients.
func (s *Server) URL() string {
	return s.nats.ClientURL()
}

// Stop closes the connections and the store and gives the lock back. Clients are drained before. It waits for the
// server's end also when ctx is over, because the lock may not be given back earlier.
func (s *Server) Stop(_ context.Context) error {
	var err error
	s.stop.Do(func() {
		// Not LameDuckShutdown: it stops JetStream first.
		s.nats.Shutdown()
		s.nats.WaitForShutdown()
		err = s.lock.Close()
	})
	if err != nil {
		return fmt.Errorf("unlock the nats store: %w", err)
	}
	return nil
}
