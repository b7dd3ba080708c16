package provider_test

import (
	"net/http"
	"testing"
	"time"

	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
)

// TestClassify_HasOneClassForEveryStatus spells the table out a second time,
// by hand, so that a slip in a range shows.
func TestClassify_HasOneClassForEveryStatus(t *testing.T) {
	t.Parallel()
	class := func(result delivery.Result, reason delivery.Reason) provider.Class {
		return provider.Class{Result: result, Reason: reason}
	}
	breaking := func(result delivery.Result, reason delivery.Reason) provider.Class {
		return provider.Class{Result: result, Reason: reason, Breaks: true}
	}
	single := map[int]provider.Class{
		202: {Result: delivery.Accepted},
		401: breaking(delivery.Temporary, delivery.ReasonAuthentication),
		402: breaking(delivery.Temporary, delivery.ReasonRateLimited),
		403: breaking(delivery.Temporary, delivery.ReasonAuthentication),
		404: breaking(delivery.Permanent, delivery.ReasonRejected),
		405: breaking(delivery.Permanent, delivery.ReasonRejected),
		407: breaking(delivery.Temporary, delivery.ReasonAuthentication),
		408: class(delivery.Temporary, delivery.ReasonTimeout),
		425: class(delivery.Temporary, delivery.ReasonProviderError),
		429: class(delivery.Temporary, delivery.ReasonRateLimited),
		503: class(delivery.Temporary, delivery.ReasonProviderError),
		504: class(delivery.Unknown, delivery.ReasonTimeout),
	}
	ranges := []struct {
		from, to int
		want     provider.Class
	}{
		{-1, 199, class(delivery.Unknown, delivery.ReasonProviderError)},
		{200, 399, breaking(delivery.Permanent, delivery.ReasonRejected)},
		{400, 499, class(delivery.Permanent, delivery.ReasonRejected)},
		{500, 1000, class(delivery.Unknown, delivery.ReasonProviderError)},
	}
	for _, r := range ranges {
		for status := r.from; status <= r.to; status++ {
			want, ok := single[status]
			if !ok {
				want = r.want
			}
			got := provider.Classify(status)
			if got != want {
				t.Errorf("%d: got %+v, want %+v", status, got, want)
			}
		}
	}
}

func TestRetryAfter_ReadsEveryFormWithinBounds(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		header http.Header
		want   time.Duration
	}{
		{"nothing", nil, 0},
		{"seconds", http.Header{"Retry-After": {"7"}}, 7 * time.Second},
		{"none at all", http.Header{"Retry-After": {"0"}}, provider.MinRetryAfter},
		{"below zero", http.Header{"Retry-After": {"-5"}}, provider.MinRetryAfter},
		{"a day", http.Header{"Retry-After": {"86400"}}, provider.MaxRetryAfter},
		{"more than any number", http.Header{"Retry-After": {"99999999999999999999"}}, 0},
		{"a date", http.Header{"Retry-After": {"Sat, 01 Aug 2026 12:01:00 GMT"}}, time.Minute},
		{"a past date", http.Header{"Retry-After": {"Sat, 01 Aug 2026 11:01:00 GMT"}}, provider.MinRetryAfter},
		{"a reset", http.Header{"X-Ratelimit-Reset": {"1785585630"}}, 30 * time.Second},
		{"a past reset", http.Header{"X-Ratelimit-Reset": {"1785585000"}}, provider.MinRetryAfter},
		{"a reset in milliseconds", http.Header{"X-Ratelimit-Reset": {"1785585630000"}}, provider.MaxRetryAfter},
		{"a reset past all reason", http.Header{"X-Ratelimit-Reset": {"9223372036854775807"}}, 0},
		{"both", http.Header{"Retry-After": {"9"}, "X-Ratelimit-Reset": {"1785585630"}}, 9 * time.Second},
		{"words and a reset", http.Header{"Retry-After": {"soon"}, "X-Ratelimit-Reset": {"1785585630"}}, 30 * time.Second},
		{"words", http.Header{"Retry-After": {"soon"}, "X-Ratelimit-Reset": {"later"}}, 0},
	} {
		got := provider.RetryAfter(c.header, now)
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}
