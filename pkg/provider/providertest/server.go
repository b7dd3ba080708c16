package providertest

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Request is what arrived at a Server, whole.
type Request struct {
	Method, Path string
	Header       http.Header
	Body         []byte
}

// Behavior answers one request whose body was read.
type Behavior func(w http.ResponseWriter, r *http.Request, body []byte)

// Reply is one plain answer.
type Reply struct {
	Status int
	Header map[string]string
	Body   string
}

// Server is an HTTP server on the loopback interface that answers, or fails to
// answer, as the test says, and counts what arrives.
type Server struct {
	http   *httptest.Server
	ledger ledger[Request]
	conns  atomic.Int64
	stop   context.CancelFunc // ends the context of every request

	mu     sync.Mutex
	behave Behavior
}

// NewServer starts a server that answers 202; it stops with the test.
func NewServer(t *testing.T) *Server {
	t.Helper()
	s := &Server{behave: Answer(Reply{Status: http.StatusAccepted})}
	life, stop := context.WithCancel(t.Context())
	s.stop = stop
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.http.Config.BaseContext = func(net.Listener) context.Context { return life }
	s.http.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.http.Start()
	t.Cleanup(s.Close)
	return s
}

// Close lets held requests go and stops the server; it may be called twice.
func (s *Server) Close() {
	s.stop()
	s.http.Close()
}

// URL is the server's base URL.
func (s *Server) URL() string { return s.http.URL }

// Use sets the behavior from now on.
func (s *Server) Use(b Behavior) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behave = b
}

// Requests lists what arrived, in order.
func (s *Server) Requests() []Request { return s.ledger.list() }

// Await returns when at least n requests have arrived.
func (s *Server) Await(ctx context.Context, n int) error { return s.ledger.await(ctx, n) }

// Conns is how many connections were opened so far.
func (s *Server) Conns() int { return int(s.conns.Load()) }

// serve keeps the request and behaves.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The sender gave up within the request: nothing arrived.
	}
	s.mu.Lock()
	behave := s.behave
	s.mu.Unlock()
	s.ledger.add(Request{Method: r.Method, Path: r.URL.Path, Header: r.Header, Body: body})
	behave(w, r, body)
}

// Answer gives a plain answer.
func Answer(reply Reply) Behavior {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		for name, value := range reply.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(reply.Status)
		_, _ = io.WriteString(w, reply.Body)
	}
}

// Echo answers with everything that it was sent, in the middle of reply.Body
// where that says %s: what a careless provider might put into an error.
func Echo(reply Reply, encode func(string) string) Behavior {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		all := r.Header.Get("Authorization") + " " + string(body)
		filled := reply
		filled.Body = strings.ReplaceAll(reply.Body, "%s", encode(all))
		Answer(filled)(w, r, body)
	}
}

// Hang never answers.
func Hang() Behavior {
	return func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() }
}

// Cut sends status and headers, promises a body, sends a part and breaks off.
func Cut(reply Reply) Behavior {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		w.Header().Set("Content-Length", "5000")
		reply.Body = "{"
		Answer(reply)(w, r, body)
	}
}

// Stall sends status and headers, and then the body never ends.
func Stall(reply Reply) Behavior {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		Answer(reply)(w, r, body)
		_ = http.NewResponseController(w).Flush() // Without a flush nothing leaves; the test then hangs and says so.
		<-r.Context().Done()
	}
}

// Flood sends status and headers, and then size bytes.
func Flood(reply Reply, size int) Behavior {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		reply.Body = strings.Repeat("x", size)
		Answer(reply)(w, r, body)
	}
}

// Reset breaks the connection off without an answer, by RST where it can.
func Reset() Behavior { return raw(nil) }

// Garbage answers with bytes that are not HTTP and repeat the request.
func Garbage() Behavior { return raw(func(body []byte) []byte { return body }) }

// raw writes bytes of its own to the connection, if any, and breaks it off.
func raw(reply func(body []byte) []byte) Behavior {
	return func(w http.ResponseWriter, _ *http.Request, body []byte) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return // Only HTTP/2 cannot be hijacked, and this server does not speak it.
		}
		tcp, ok := conn.(*net.TCPConn)
		if ok && reply == nil {
			_ = tcp.SetLinger(0) // Without it the connection ends by FIN, which is as good a test.
		}
		if reply != nil {
			_, _ = conn.Write(reply(body)) // A sender that has gone reads nothing.
		}
		_ = conn.Close()
	}
}

// Dialect says how one HTTP provider words the modes and how its requests are
// read.
type Dialect struct {
	Taken, Refused, Busy Reply
	Read                 func(r Request) (Call, error)
}

// backend is a Server that speaks a dialect.
type backend struct {
	*Server
	dialect Dialect
}

// NewBackend makes a Backend of a server and a dialect, in mode Taking.
func NewBackend(s *Server, d Dialect) Backend {
	b := &backend{Server: s, dialect: d}
	b.Behave(Taking)
	return b
}

// Behave sets the mode.
func (b *backend) Behave(m Mode) {
	switch m {
	case Taking:
		b.Use(Answer(b.dialect.Taken))
	case Refusing:
		b.Use(Answer(b.dialect.Refused))
	case Busy:
		b.Use(Answer(b.dialect.Busy))
	case Silent:
		b.Use(Hang())
	}
}

// Received lists the calls that arrived; what cannot be read has no reference.
func (b *backend) Received() []Call {
	var calls []Call
	for _, r := range b.Requests() {
		call, err := b.dialect.Read(r)
		if err != nil {
			call = Call{}
		}
		calls = append(calls, call)
	}
	return calls
}
