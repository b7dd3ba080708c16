package bus

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/nats-io/nats.go/micro"
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

// Request asks one question and returns the answer's data. A refusal is a *ServiceError; no answer, for whatever
// reason, wraps ErrUnavailable. Without a deadline in ctx it waits ten seconds.
func (c *Conn) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	msg, err := c.nc.RequestWithContext(ctx, subject, data)
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
