// Package problem holds what a caller may be told when a request is refused: problem documents as RFC 9457 has them,
// with stable codes.
//
// A Problem is an error of its own kind, apart from what went wrong inside: whatever is not a Problem reaches the
// caller as one plain internal error, so that no inner error text can leave by accident.
package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// ContentType is the media type of a problem document (RFC 9457 §3).
const ContentType = "application/problem+json"

// Codes that belong to no use case. Those of the challenges stand with them.
const (
	CodeInternal             = "internal"
	CodeUnavailable          = "unavailable"
	CodeInvalidRequest       = "invalid_request"
	CodeBodyTooLarge         = "body_too_large"
	CodeUnsupportedMediaType = "unsupported_media_type"
	CodeNotFound             = "not_found"
	CodeMethodNotAllowed     = "method_not_allowed"
)

// Problem is a refusal that the caller may see. All of it is told outward, so nothing in it may carry a code, a key or
// a full recipient.
type Problem struct {
	Status     int           // HTTP status, 400 to 599.
	Code       string        // Stable and meant for programs, e.g. "wrong_code".
	Detail     string        // One sentence meant for people.
	Field      string        // Path of the field that is wrong, e.g. "client.address".
	RetryAfter time.Duration // When more than zero, the time after which a repeat makes sense.
	ChecksLeft *int          // Wrong codes that the challenge still allows.
}

// New returns a problem with the three parts that each has.
func New(status int, code, detail string) *Problem {
	return &Problem{Status: status, Code: code, Detail: detail}
}

// Error tells status, code and field for the log.
func (p *Problem) Error() string {
	if p.Field != "" {
		return fmt.Sprintf("problem %d %s in field %q", p.Status, p.Code, p.Field)
	}
	return fmt.Sprintf("problem %d %s", p.Status, p.Code)
}

// document is the JSON of a problem. The waiting time stands in it too, because a front-end on NATS has no header.
type document struct {
	Type       string `json:"type"`
	Title      string `json:"title"`
	Status     int    `json:"status"`
	Detail     string `json:"detail"`
	Code       string `json:"code"`
	Field      string `json:"field,omitempty"`
	RetryAfter int64  `json:"retry_after,omitempty"`
	ChecksLeft *int   `json:"checks_left,omitempty"`
}

// MarshalJSON returns the problem document.
func (p Problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(document{
		Type:       "about:blank",
		Title:      http.StatusText(p.Status),
		Status:     p.Status,
		Detail:     p.Detail,
		Code:       p.Code,
		Field:      p.Field,
		RetryAfter: p.retrySeconds(),
		ChecksLeft: p.ChecksLeft,
	})
}

// UnmarshalJSON reads a problem document, whatever further members it has.
func (p *Problem) UnmarshalJSON(data []byte) error {
	var d document
	err := json.Unmarshal(data, &d)
	if err != nil {
		return fmt.Errorf("read problem document: %w", err)
	}
	const longest = int64(math.MaxInt64 / time.Second)
	*p = Problem{
		Status:     d.Status,
		Code:       d.Code,
		Detail:     d.Detail,
		Field:      d.Field,
		RetryAfter: time.Duration(max(0, min(d.RetryAfter, longest))) * time.Second,
		ChecksLeft: d.ChecksLeft,
	}
	return nil
}

// retrySeconds returns the waiting time in whole seconds, rounded up, and 0 when there is none.
func (p Problem) retrySeconds() int64 {
	if p.RetryAfter <= 0 {
		return 0
	}
	return int64((p.RetryAfter-1)/time.Second) + 1
}

// Write answers a request with p. No cache may keep it. Without a usable status it is the internal problem.
func Write(w http.ResponseWriter, p *Problem) {
	if p == nil || p.Status < 400 || p.Status > 599 {
		p = internal()
	}
	body, err := json.Marshal(p)
	if err != nil { // Cannot be: a document has no part that JSON cannot hold.
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	header := w.Header()
	header.Set("Content-Type", ContentType)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Del("Content-Length")
	if seconds := p.retrySeconds(); seconds > 0 {
		header.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // The caller is gone when it fails: there is nobody to tell.
}

// Of returns the Problem in err's chain. Any other error becomes the plain internal one, of whose cause nothing is
// told.
func Of(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) && p != nil {
		return p
	}
	return internal()
}

// internal is the answer to everything that went wrong on our side.
func internal() *Problem {
	return New(http.StatusInternalServerError, CodeInternal, "Something went wrong on our side.")
}
