package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// Requester asks one question over NATS and returns the answer's data; *bus.Conn is one. A refusal is an error that has
// `Refusal() (status int, body []byte)`: the number in Nats-Service-Error-Code and the data that came with it.
type Requester interface {
	Ask(ctx context.Context, subject string, header map[string]string, data []byte) ([]byte, error)
}

// NewNATS is New for a front-end that has its challenges over NATS, with a credential of its own (`doorcodectl front-end
// create`). Everything else is the same, the verification of assertions above all: their public keys come over HTTP from
// the address in cfg.
func NewNATS(cfg Config, r Requester) (*Client, error) {
	if r == nil {
		return nil, errors.New("doorcode client: there is nobody to ask over NATS")
	}
	c, err := New(cfg)
	if err != nil {
		return nil, err
	}
	c.nats = r
	return c, nil
}

// overNATS is once on NATS: the handle is a field of the body, the keys are headers (DESIGN 8).
func (c *Client) overNATS(ctx context.Context, r call) error {
	body, err := r.body()
	if err != nil {
		return err
	}
	header := map[string]string{"Authorization": "Bearer " + c.key}
	if r.key != "" {
		header["Idempotency-Key"] = r.key
	}
	answer, err := c.nats.Ask(ctx, "doorcode.api.challenges."+r.verb, header, body)
	if err == nil {
		return r.read(answer)
	}
	refused, ok := errors.AsType[interface {
		error
		Refusal() (status int, body []byte)
	}](err)
	if !ok {
		return fmt.Errorf("ask doorcode: %w", err)
	}
	return newNATSError(refused.Refusal())
}

// body is the request's body on NATS.
func (r call) body() ([]byte, error) {
	fields := map[string]json.RawMessage{}
	parts := []any{r.in}
	if r.handle != "" {
		parts = append(parts, map[string]string{"handle": r.handle})
	}
	for _, part := range parts {
		data, err := json.Marshal(part)
		if err == nil && part != nil {
			err = json.Unmarshal(data, &fields)
		}
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
	}
	return json.Marshal(fields)
}

// newNATSError is newError with the waiting time of the document.
func newNATSError(status int, answer []byte) *Error {
	e := newError(status, answer)
	var wait struct {
		Seconds int64 `json:"retry_after"`
	}
	if json.Unmarshal(answer, &wait) == nil && wait.Seconds > 0 && wait.Seconds < math.MaxInt32 {
		e.RetryAfter = time.Duration(wait.Seconds) * time.Second
	}
	return e
}
