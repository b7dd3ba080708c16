package vonage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// The bounds of the time to live that the API takes (providers.md 4.1).
const (
	minTTL = 20 * time.Second
	maxTTL = 7 * 24 * time.Hour
)

// errStranger says that what answered is not the API: no list of messages.
var errStranger = errors.New("the answer is not one of the SMS API")

// errUnusable ends the SDK's part when its answer is of no use to it.
var errUnusable = errors.New("the answer is not for the SDK")

// exchange is the round tripper of one call of the SDK (providers.md 4.9). It
// adds what the SDK cannot send, keeps what the SDK would drop, and hands the
// SDK no answer that it could choke on.
type exchange struct {
	ctx   context.Context // The SDK has none to hand on.
	base  http.RoundTripper
	ttl   time.Duration
	reply *reply // nil until an answer came
}

// reply is what is kept of an answer, whatever the SDK makes of it.
type reply struct {
	status int
	header http.Header
	answer answer
	err    error // why answer is empty
}

// isOK reports whether the status is the one of the API: the rest is said by
// the status of each message.
func (r *reply) isOK() bool { return r.status >= 200 && r.status < 300 }

// RoundTrip makes the call under the exchange's context and keeps the answer.
func (e *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	extended, err := e.extend(r)
	if err != nil {
		return nil, err
	}
	res, err := e.base.RoundTrip(extended)
	if err != nil {
		return nil, err //nolint:wrapcheck // A round tripper hands on the transport's error as it is.
	}
	body, readErr := io.ReadAll(res.Body) // Bounded by the transport.
	_ = res.Body.Close()                  // Whatever was worth reading has been read.
	e.reply = &reply{status: res.StatusCode, header: res.Header}
	e.reply.answer, e.reply.err = parseAnswer(body)
	// What is complete is believed, even if the connection broke off after it.
	if e.reply.err != nil && readErr != nil {
		e.reply.err = readErr
	}
	if !e.reply.isOK() || e.reply.err != nil || len(e.reply.answer.Messages) == 0 {
		return nil, errUnusable
	}
	return e.reply.normal(r)
}

// extend returns the SDK's request with the time to live in its form, under
// the exchange's context.
func (e *exchange) extend(r *http.Request) (*http.Request, error) {
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close() // A buffer in memory.
	if err != nil {
		return nil, fmt.Errorf("read the form: %w", err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errors.New("read the form: it is malformed") // The library's error repeats a part of it.
	}
	form.Set("ttl", strconv.FormatInt(e.ttl.Milliseconds(), 10))
	text := form.Encode()
	extended := r.Clone(e.ctx)
	extended.Header.Del("Content-Length") // The SDK's, from before.
	extended.ContentLength = int64(len(text))
	extended.Body = io.NopCloser(strings.NewReader(text))
	// With it the transport may take another connection when one turns out to
	// be closed before anything was written or read there, and never later.
	extended.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	return extended, nil
}

// normal writes the answer as the SDK wants it: status 200, JSON that is
// called so, every value a string, at least one message.
func (r *reply) normal(request *http.Request) (*http.Response, error) {
	text, err := json.Marshal(r.answer)
	if err != nil {
		return nil, fmt.Errorf("write the answer anew: %w", err)
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}},
		Body:          io.NopCloser(strings.NewReader(string(text))),
		ContentLength: int64(len(text)),
		Request:       request,
	}, nil
}
