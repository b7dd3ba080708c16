// Package httpserver serves HTTP with bounds on time and size, and answers what no handler answers with problem
// documents.
//
// TLS ends before it: a process listens in plain HTTP, on the local machine unless told otherwise.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// The bounds of every server. A handler that streams lifts its own write deadline by http.ResponseController.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 16 << 10
)

// Config says what is served where.
type Config struct {
	Name    string // Name of the listener in logs and errors, e.g. "api".
	Listen  string // Host and port; port 0 takes a free one.
	Handler http.Handler
	// Listener, when set, is served in place of one on Listen: for a process that must know its port before it serves.
	Listener net.Listener
	Log      *slog.Logger
}

// Server is a listener that is open.
type Server struct {
	name   string
	addr   string
	http   *http.Server
	failed chan error
	done   chan struct{} // Closed when serving has ended.
}

// Start listens and serves from then on. The context bounds the start alone.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Handler == nil || cfg.Log == nil {
		return nil, fmt.Errorf("start %s listener: handler and log are needed", cfg.Name)
	}
	listener := cfg.Listener
	if listener == nil {
		var err error
		listener, err = Listen(ctx, cfg.Name, cfg.Listen)
		if err != nil {
			return nil, err
		}
	}
	s := &Server{
		name: cfg.Name,
		addr: listener.Addr().String(),
		http: &http.Server{
			Handler:           cfg.Handler,
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			// `OPTIONS *` is refused in the form of every other refusal (DESIGN 8).
			DisableGeneralOptionsHandler: true,
			ErrorLog:                     slog.NewLogLogger(cfg.Log.With("listener", cfg.Name).Handler(), slog.LevelWarn),
		},
		failed: make(chan error, 1),
		done:   make(chan struct{}),
	}
	go s.serve(listener)
	cfg.Log.Info("listening", "listener", cfg.Name, "address", s.addr)
	return s, nil
}

// Listen opens the listener of that name without serving it.
func Listen(ctx context.Context, name, address string) (net.Listener, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("start %s listener: %w", name, err)
	}
	return listener, nil
}

// serve runs until Stop, or until accepting fails for good.
func (s *Server) serve(listener net.Listener) {
	defer close(s.done)
	err := s.http.Serve(listener)
	if !errors.Is(err, http.ErrServerClosed) {
		s.failed <- fmt.Errorf("serve %s: %w", s.name, err)
	}
}

// Addr returns the address that is listened on, with the real port.
func (s *Server) Addr() string { return s.addr }

// Failed delivers the error that ended serving without a Stop.
func (s *Server) Failed() <-chan error { return s.failed }

// Stop refuses new connections at once and lets running requests end. Those that still run when ctx ends are cut off,
// which is an error. It may be called again.
func (s *Server) Stop(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("stop %s listener: %w", s.name, errors.Join(err, s.http.Close()))
	}
	<-s.done
	return err
}
