package provider

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"doorcode/pkg/delivery"
)

// The clocks of one connection (providers.md 5). The clock of the whole call
// is the adapter's.
const (
	connectTimeout = 2 * time.Second
	tlsTimeout     = 3 * time.Second
	idleTimeout    = 90 * time.Second
)

// maxReply bounds what is read of an answer, after decompression, and its
// headers, in bytes: the SDKs read without limit (providers.md 2.6).
const maxReply = 64 << 10

// maxIdle is how many idle connections are kept per host. Go's default of two
// opens a new connection for almost every send (providers.md 1, trap 11).
const maxIdle = 64

// HTTPConfig are the choices of an adapter's HTTP client.
type HTTPConfig struct {
	// MaxConns bounds the connections per host.
	MaxConns int
	// Proxy is used for every call; nil means none, whatever the environment
	// of the process says.
	Proxy *url.URL
	// Dial replaces the dialer; nil is TCP within the connect timeout.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewHTTPClient returns a client of its own: connections are kept, no redirect
// is followed (one would turn a POST into a GET, or post the message and the
// key to another host), and an answer is cut at 64 KiB.
func NewHTTPClient(cfg HTTPConfig) *http.Client {
	transport := &http.Transport{
		DialContext:            cfg.Dial,
		ForceAttemptHTTP2:      true, // Lost otherwise, because of the dialer.
		TLSHandshakeTimeout:    tlsTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxConnsPerHost:        cfg.MaxConns,
		MaxIdleConnsPerHost:    maxIdle,
		MaxResponseHeaderBytes: maxReply,
	}
	if cfg.Dial == nil {
		transport.DialContext = (&net.Dialer{Timeout: connectTimeout}).DialContext
	}
	if cfg.Proxy != nil {
		transport.Proxy = http.ProxyURL(cfg.Proxy)
	}
	return &http.Client{
		Transport:     bounded{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded cuts every answer at maxReply bytes.
type bounded struct{ *http.Transport }

// RoundTrip makes the call and bounds the body of its answer.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.Transport.RoundTrip(r)
	if err != nil {
		return nil, err //nolint:wrapcheck // A round tripper hands on the transport's error as it is.
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(res.Body, maxReply), res.Body}
	return res, nil
}

// Watch notices whether the request of one call may have left. The zero value
// is ready; it serves one call.
type Watch struct{ left atomic.Bool }

// Context returns a context whose HTTP request is watched.
//
// The headers are the mark, beside the written request: over HTTP/2 a canceled
// call ends without waiting for the report of its last byte, and would count
// as unsent though the provider has it. Headers are reported before the body
// is complete, and without its body there is no message.
func (w *Watch) Context(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { w.left.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) { w.left.Store(true) },
	})
}

// Lost is the failure of a watched call that brought no answer: temporary when
// nothing can have left, unknown otherwise. The context is the caller's, so
// that a canceled call can be told from a slow provider.
func (w *Watch) Lost(ctx context.Context, err error, known ...string) *Failure {
	f := &Failure{Result: delivery.Temporary, Reason: lostReason(ctx, err)}
	if w.left.Load() {
		f.Result = delivery.Unknown
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	f.Detail = Redact(err.Error(), known...)
	return f
}

// lostReason tells a caller who gave up from a clock that ran out and from
// everything else that breaks a connection.
func lostReason(ctx context.Context, err error) delivery.Reason {
	var slow net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return delivery.ReasonCanceled
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		return delivery.ReasonTimeout
	}
	return delivery.ReasonProviderError
}
