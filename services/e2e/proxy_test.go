package e2e

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is a wire to a server that a test can cut and mend.
type proxy struct {
	address, target string

	mu       sync.Mutex
	listener net.Listener // nil while the wire is cut
	open     map[net.Conn]bool
	running  sync.WaitGroup
}

// newProxy returns a wire to a server. It is cut when the test ends.
func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	p := &proxy{address: "127.0.0.1:0", target: target, open: map[net.Conn]bool{}}
	p.mend(t)
	t.Cleanup(func() {
		p.cut()
		p.running.Wait()
	})
	return p
}

// mend takes connections again, on the same address.
func (p *proxy) mend(t *testing.T) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener, p.address = l, l.Addr().String()
	p.running.Go(func() { p.accept(l) })
}

// cut ends every connection and refuses new ones.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return
	}
	_ = p.listener.Close()
	p.listener = nil
	for c := range p.open {
		_ = c.Close()
	}
	clear(p.open)
}

// accept joins every caller with the server.
func (p *proxy) accept(l net.Listener) {
	for {
		caller, err := l.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.target)
		if err != nil || !p.keep(l, caller, server) {
			_ = caller.Close()
			if err == nil {
				_ = server.Close()
			}
			continue
		}
		p.running.Go(func() { pour(caller, server) })
		p.running.Go(func() { pour(server, caller) })
	}
}

// keep remembers a pair of connections, unless the wire was cut meanwhile.
func (p *proxy) keep(l net.Listener, pair ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != l {
		return false
	}
	for _, c := range pair {
		p.open[c] = true
	}
	return true
}

// pour copies until one side ends and then ends the other.
func pour(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_, _ = to.Close(), from.Close()
}
