// Package natsapi is the front door on NATS: the challenge requests of the HTTP API as a micro service with the same
// JSON (DESIGN 8). The handle is the field `handle` of the body, Authorization and Idempotency-Key travel as headers, a
// refusal is the HTTP status as Nats-Service-Error-Code and a problem document as the body. It decides nothing.
package natsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"doorcode/pkg/bus"
	"doorcode/pkg/frontend"
	"doorcode/pkg/problem"
	"doorcode/pkg/strictjson"
	"doorcode/pkg/tracing"
	"doorcode/services/auth/internal/front"
)

// subjects is what the subjects of the verbs begin with; login front-ends import them into accounts of their own.
const subjects = "doorcode.api.challenges."

// Config lists what the service works with.
type Config struct {
	Bus   *bus.Conn
	Front *front.Front
	// Workers is how many requests are worked on at once; more are answered 503 at once.
	Workers int
	Log     *slog.Logger
	Tracer  trace.Tracer
}

// handleRequest is the body of read, cancel and skip.
type handleRequest struct {
	Handle string `json:"handle"`
}

// checkRequest is the body of a check.
type checkRequest struct {
	handleRequest
	front.CheckRequest
}

// resendRequest is the body of a resend.
type resendRequest struct {
	handleRequest
	front.ResendRequest
}

// Serve starts the service. Replicas share the requests.
func Serve(ctx context.Context, cfg Config) (*bus.Service, error) {
	full := problem.New(http.StatusServiceUnavailable, front.CodeOverloaded, "There are too many requests at the moment. Try again.")
	full.RetryAfter = time.Second
	body, err := json.Marshal(full)
	if err != nil {
		return nil, fmt.Errorf("serve the challenges: %w", err)
	}
	f := cfg.Front
	return cfg.Bus.Serve(ctx, bus.ServiceConfig{
		Name: "challenges", Version: "1.0.0", Workers: cfg.Workers, Full: body, Tracer: cfg.Tracer,
		Endpoints: []bus.Endpoint{
			endpoint(cfg.Log, "create", f.Create),
			endpoint(cfg.Log, "read", func(ctx context.Context, c front.Call, r handleRequest) (front.View, error) {
				return f.State(ctx, c, r.Handle)
			}),
			endpoint(cfg.Log, "check", func(ctx context.Context, c front.Call, r checkRequest) (front.Approved, error) {
				return f.Check(ctx, c, r.Handle, r.CheckRequest)
			}),
			endpoint(cfg.Log, "resend", func(ctx context.Context, c front.Call, r resendRequest) (front.Ordered, error) {
				return f.Resend(ctx, c, r.Handle, r.ResendRequest)
			}),
			endpoint(cfg.Log, "skip", func(ctx context.Context, c front.Call, r handleRequest) (front.Waived, error) {
				return f.Skip(ctx, c, r.Handle)
			}),
			endpoint(cfg.Log, "cancel", func(ctx context.Context, c front.Call, r handleRequest) (front.View, error) {
				return f.Cancel(ctx, c, r.Handle)
			}),
		},
	})
}

// endpoint is one verb: it reads the request, has it done and writes the answer.
func endpoint[Body, Answer any](log *slog.Logger, verb string, do func(context.Context, front.Call, Body) (Answer, error)) bus.Endpoint {
	handle := func(ctx context.Context, r bus.Request) ([]byte, error) {
		var body Body
		call, err := begin(ctx, r, &body)
		if err != nil {
			return nil, err
		}
		answer, err := do(ctx, call, body)
		if err != nil {
			return nil, err
		}
		return json.Marshal(answer)
	}
	return bus.Endpoint{Name: verb, Subject: subjects + verb, Handle: func(ctx context.Context, r bus.Request) ([]byte, error) {
		answer, err := handle(ctx, r)
		if err != nil {
			return nil, refusal(ctx, log, verb, err)
		}
		return answer, nil
	}}
}

// begin reads what every request has in common and its body. Who brings no key is told nothing about the rest.
func begin(ctx context.Context, r bus.Request, body any) (front.Call, error) {
	authorization, _ := header(r, "Authorization")
	key, ok := frontend.ParseAuthorization(authorization)
	if !ok {
		return front.Call{}, front.Unauthenticated()
	}
	call := front.Call{Key: key}
	call.Traceparent = tracing.Parent(ctx)
	if call.Traceparent == "" {
		call.Traceparent, _ = header(r, "Traceparent")
	}
	call.IdempotencyKey, ok = header(r, "Idempotency-Key")
	if ok && call.IdempotencyKey == "" {
		call.IdempotencyKey = " " // It is there and empty: package front refuses it by name.
	}
	return call, strictjson.ReadBody(r.Data, body)
}

// header returns a header's value. Its name may be written in any case, as on HTTP.
func header(r bus.Request, name string) (string, bool) {
	value, ok := r.Header[name]
	if ok {
		return value, true
	}
	for other, value := range r.Header {
		if strings.EqualFold(other, name) {
			return value, true
		}
	}
	return "", false
}

// refusal is a problem in the form in which it travels; what the caller may not see of it is logged.
func refusal(ctx context.Context, log *slog.Logger, verb string, err error) error {
	p := problem.Of(err)
	if p.Code == problem.CodeInternal {
		log.ErrorContext(ctx, "request failed", "verb", verb, "error", err.Error())
	}
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write a problem: %w", err)
	}
	return &bus.ServiceError{Code: p.Status, Body: body}
}
