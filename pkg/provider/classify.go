package provider

import (
	"net/http"
	"strconv"
	"time"

	"doorcode/pkg/delivery"
)

// MinRetryAfter and MaxRetryAfter clamp what a provider asks for: a reset in
// the past is no invitation to hammer, one far away would outlive every code.
const (
	MinRetryAfter = time.Second
	MaxRetryAfter = 5 * time.Minute
)

// Class is what an HTTP status says about an attempt.
type Class struct {
	Result delivery.Result
	Reason delivery.Reason
	Breaks bool
}

// Classify is the one table from an HTTP status to a class; adapters refine
// single rows by what else the answer says. Its rules are:
//
//   - only 202 is an acceptance: 200 means "valid, not queued", and so does
//     what a redirect turned into a GET (providers.md 1, trap 3);
//   - a provider that is busy or refuses a key took nothing. A bad key, sender
//     or quota is no fault of the message, so it is temporary and breaks: the
//     codes that still live go out when it is repaired;
//   - a wrong address of the API (2xx, 3xx, 404, 405) breaks too, and what hit
//     it first is lost: a stranger answered;
//   - a server or a gateway that failed midway may have taken the message; only
//     503 says that it did not (providers.md 5, P5).
func Classify(status int) Class {
	switch status {
	case http.StatusAccepted:
		return Class{Result: delivery.Accepted}
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return Class{Result: delivery.Temporary, Reason: delivery.ReasonAuthentication, Breaks: true}
	case http.StatusPaymentRequired:
		return Class{Result: delivery.Temporary, Reason: delivery.ReasonRateLimited, Breaks: true}
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return Class{Result: delivery.Permanent, Reason: delivery.ReasonRejected, Breaks: true}
	case http.StatusRequestTimeout:
		return Class{Result: delivery.Temporary, Reason: delivery.ReasonTimeout}
	case http.StatusTooEarly, http.StatusServiceUnavailable:
		return Class{Result: delivery.Temporary, Reason: delivery.ReasonProviderError}
	case http.StatusTooManyRequests:
		return Class{Result: delivery.Temporary, Reason: delivery.ReasonRateLimited}
	case http.StatusGatewayTimeout:
		return Class{Result: delivery.Unknown, Reason: delivery.ReasonTimeout}
	}
	switch {
	case status >= 200 && status < 400:
		return Class{Result: delivery.Permanent, Reason: delivery.ReasonRejected, Breaks: true}
	case status >= 400 && status < 500:
		return Class{Result: delivery.Permanent, Reason: delivery.ReasonRejected}
	}
	return Class{Result: delivery.Unknown, Reason: delivery.ReasonProviderError}
}

// RetryAfter reads how long a provider asks to be left alone: Retry-After in
// seconds or as a date (RFC 9110 §10.2.3), else X-RateLimit-Reset in unix
// seconds (providers.md 2.3), clamped to MinRetryAfter and MaxRetryAfter. It
// returns 0 when neither header can be read.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	seconds, err := strconv.ParseInt(value, 10, 32)
	if err == nil {
		return clamp(time.Duration(seconds) * time.Second)
	}
	date, err := http.ParseTime(value)
	if err == nil {
		return clamp(date.Sub(now))
	}
	reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 48)
	if err == nil {
		return clamp(time.Unix(reset, 0).Sub(now))
	}
	return 0
}

// clamp brings d between MinRetryAfter and MaxRetryAfter.
func clamp(d time.Duration) time.Duration { return min(max(d, MinRetryAfter), MaxRetryAfter) }
