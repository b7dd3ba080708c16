package bus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel/trace"

	"doorcode/pkg/tracing"
)

// handlerTimeout is less than the 15 s for which nats.conf lets a responder answer.
const handlerTimeout = 10 * time.Second

// ServiceConfig describes a service: what it answers to and how much of it at once.
type ServiceConfig struct {
	Name      string
	Version   string // a semantic version
	Endpoints []Endpoint
	// Workers is how many requests are handled at the same time, over all endpoints. More are answered 503 at once.
	Workers int
	// Full is the body of that 503.
	Full []byte
	// Tracer makes a span of each request, under the trace that came with it; nil traces nothing.
	Tracer trace.Tracer
}

// Endpoint is one subject and its handler. The handler's context ends after ten seconds. What it returns is the
// answer; a *ServiceError travels with its code and body, any other error as a plain 500.
type Endpoint struct {
	Name    string
	Subject string
	Handle  func(ctx context.Context, r Request) ([]byte, error)
}

// Request is what a handler sees of a question. Who may have sent it is a matter of nats.conf.
type Request struct {
	Subject string
	Header  map[string]string
	Data    []byte
}

// Service is a running service.
type Service struct {
	conn    *Conn
	micro   micro.Service
	tracer  trace.Tracer
	slots   chan struct{}
	full    []byte
	ctx     context.Context //nolint:containedctx // It outlives the call that made it: the parent of every request's.
	cancel  context.CancelFunc
	mu      sync.Mutex // guards stopped and Add of running
	stopped bool
	running sync.WaitGroup
}

// Serve starts a service. Replicas with the same subjects share the requests. A handler's context keeps the values of
// ctx but not its end: Stop ends a service.
func (c *Conn) Serve(ctx context.Context, cfg ServiceConfig) (*Service, error) {
	if cfg.Workers < 1 {
		return nil, fmt.Errorf("serve %s: at least one worker is required", cfg.Name)
	}
	service := &Service{conn: c, slots: make(chan struct{}, cfg.Workers), full: cfg.Full, tracer: cfg.Tracer}
	if service.tracer == nil {
		service.tracer = tracing.Of(nil)
	}
	service.ctx, service.cancel = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	// Handlers of micro run one after the other, so each only hands off.
	service.micro, err = micro.AddService(c.nc, micro.Config{Name: cfg.Name, Version: cfg.Version})
	if err != nil {
		service.cancel()
		return nil, fmt.Errorf("serve %s: %w", cfg.Name, err)
	}
	for _, endpoint := range cfg.Endpoints {
		//nolint:contextcheck // A handler of micro gets no context; the service's own is the parent.
		handler := micro.HandlerFunc(func(r micro.Request) { service.handOff(endpoint, r) })
		err = service.micro.AddEndpoint(endpoint.Name, handler, micro.WithEndpointSubject(endpoint.Subject))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("serve %s: %w", endpoint.Subject, err), service.Stop(ctx))
		}
	}
	// The server knows the subscriptions before the caller goes on.
	err = c.Ready(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve %s: %w", cfg.Name, err), service.Stop(ctx))
	}
	return service, nil
}

// Stop takes no more requests, lets those that run finish and answers what came too late with 503. When ctx ends first
// the contexts of the running ones are cancelled.
func (s *Service) Stop(ctx context.Context) error {
	defer s.cancel()
	err := s.micro.Stop()
	if err != nil {
		err = fmt.Errorf("stop service %s: %w", s.micro.Info().Name, err)
	}
	// After the answer to this ping nothing more comes in, without a connection neither; what is here already is
	// handed off or refused.
	_ = s.conn.Ready(ctx)
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()

	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
		s.cancel()
		<-done
		return errors.Join(err, fmt.Errorf("stop service: %w", ctx.Err()))
	}
}

// handOff gives a request to a free worker, or refuses it.
func (s *Service) handOff(endpoint Endpoint, r micro.Request) {
	if !isInbox(r.Reply()) {
		// An answer is published with this process's rights: see isInbox.
		s.conn.log.Warn("request with a foreign reply subject dropped", "subject", r.Subject())
		return
	}
	if !s.take() {
		s.refuse(r, http.StatusServiceUnavailable, s.full)
		return
	}
	go func() {
		defer s.running.Done()
		answer, err := s.handle(endpoint, r)
		// Room comes before the answer: whoever asks again when it has arrived must not find its own place taken.
		<-s.slots
		s.answer(r, answer, err)
	}()
}

func (s *Service) take() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	select {
	case s.slots <- struct{}{}:
		s.running.Add(1)
		return true
	default:
		return false
	}
}

func (s *Service) handle(endpoint Endpoint, r micro.Request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.ctx, handlerTimeout)
	defer cancel()
	request := Request{Subject: r.Subject(), Header: plainHeader(r.Headers()), Data: r.Data()}
	ctx, span := s.tracer.Start(tracing.Under(ctx, tracing.From(request.Header)), endpoint.Subject,
		trace.WithSpanKind(trace.SpanKindServer))
	answer, err := endpoint.Handle(ctx, request)
	tracing.End(span, err)
	return answer, err
}

// answer sends what a handler returned.
func (s *Service) answer(r micro.Request, data []byte, err error) {
	if err == nil {
		s.respond(r, nil, data)
		return
	}
	if refusal, ok := errors.AsType[*ServiceError](err); ok && refusal.Code != 0 {
		s.refuse(r, refusal.Code, refusal.Body)
		return
	}
	s.conn.log.Error("request failed", "subject", r.Subject(), "error", err)
	s.refuse(r, http.StatusInternalServerError, nil)
}

func (s *Service) refuse(r micro.Request, code int, body []byte) {
	text := http.StatusText(code)
	if text == "" {
		text = "error"
	}
	s.respond(r, nats.Header{micro.ErrorHeader: {text}, micro.ErrorCodeHeader: {strconv.Itoa(code)}}, body)
}

// respond publishes an answer itself: the request's own methods note an error for micro's figures, which micro reads when
// the handler returns, and that is before a handed off request is answered.
func (s *Service) respond(r micro.Request, header nats.Header, data []byte) {
	err := s.conn.nc.PublishMsg(&nats.Msg{Subject: r.Reply(), Header: header, Data: data})
	if err != nil {
		s.conn.log.Warn("request not answered", "subject", r.Subject(), "error", err)
	}
}

// isInbox tells whether an answer may go to a reply subject. Whoever sends a request names it, and the answer is
// published with the responder's rights, which `allow_responses` widens by just that subject: without this check a
// question could be made to write into a stream. Allowed are the inboxes of our users and the form under which the
// server hands on a request from another account, whose answer can only reach that account.
func isInbox(reply string) bool {
	return strings.HasPrefix(reply, "_INBOX_") || strings.HasPrefix(reply, "_R_.")
}
