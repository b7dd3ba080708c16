package bus

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel/trace"

	"doorcode/pkg/tracing"
)

// ServiceError is a refusal that travels: an HTTP status and the body that goes with it, a problem document. A handler
// returns one to refuse, and Request returns the same to whoever asked.
type ServiceError struct {
	Code int
	Body []byte
}

// Error names the status and not the body, which is for the person who asked.
func (e *ServiceError) Error() string {
	return fmt.Sprintf("service error %d %s", e.Code, http.StatusText(e.Code))
}

// Refusal returns status and body, for callers that do not know this package.
func (e *ServiceError) Refusal() (status int, body []byte) { return e.Code, e.Body }

// Request asks one question and returns the answer's data. A refusal is a *ServiceError; no answer, for whatever
// reason, wraps ErrUnavailable. Without a deadline in ctx it waits ten seconds.
func (c *Conn) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	return c.Ask(ctx, subject, nil, data)
}

// Ask is Request with headers, whose names stay as they are. One that steers the server is an error.
func (c *Conn) Ask(ctx context.Context, subject string, header map[string]string, data []byte) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	request := nats.NewMsg(subject)
	request.Data = data
	for name, value := range header {
		if isSteering(name) {
			return nil, fmt.Errorf("ask %s: %w", subject, errSteering)
		}
		request.Header[name] = []string{value}
	}
	ctx, span := tracing.Start(ctx, "ask "+subject, trace.SpanKindClient)
	if parent := tracing.Parent(ctx); parent != "" {
		request.Header[tracing.Header] = []string{parent}
	}
	msg, err := c.nc.RequestMsgWithContext(ctx, request)
	tracing.End(span, err)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w: %w", subject, ErrUnavailable, err)
	}
	text := msg.Header.Get(micro.ErrorCodeHeader)
	if text == "" {
		return msg.Data, nil
	}
	code, err := strconv.Atoi(text)
	if err != nil {
		code = http.StatusInternalServerError
	}
	return nil, fmt.Errorf("ask %s: %w", subject, &ServiceError{Code: code, Body: msg.Data})
}
