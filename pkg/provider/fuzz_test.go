package provider_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/provider"
)

// FuzzEndpoint holds that an address which is taken is a host alone, and nobody real's unless the provider is live.
func FuzzEndpoint(f *testing.F) {
	for _, seed := range []string{
		"https://api.sendgrid.com", "http://127.0.0.1:8025/", "http://sandbox:8025", "http://[::1]", "http://[::ffff:127.0.0.1]", "https://user:password@sandbox", "http://localhost.evil.example", "http://127.0.0.1@evil.example",
		"https://sandbox.svc", "http://sandbox.x.internal", "ftp://x", "http://", "http://sandbox?x", "http://sandbox#", "http://sandbox//", "http://a b", "http://[fe80::1%25lo]", "//sandbox", "http://LOCALHOST",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, address string, live bool) {
		base, err := provider.Endpoint{URL: address, Live: live}.Base()
		if err != nil {
			return
		}
		u, err := url.Parse(base)
		if err != nil || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.Hostname() == "" {
			t.Fatalf("%q is the base %q: %v", address, base, err)
		}
		again, err := provider.Endpoint{URL: base, Live: live}.Base()
		if err != nil || again != base {
			t.Errorf("the base %q of %q is %q, %v", base, address, again, err)
		}
		host := strings.ToLower(u.Hostname())
		ip, err := netip.ParseAddr(host)
		near := err == nil && ip.IsLoopback() || host == "localhost" || host == "sandbox" || strings.HasPrefix(host, "sandbox.")
		if !live && !near || live && u.Scheme != "https" {
			t.Errorf("%q is called, live %t", base, live)
		}
	})
}

// FuzzRetryAfter holds that no header makes us hammer a provider or wait for ever.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "-1", "30", "99999999999999999999", "Wed, 03 Jun 2026 08:03:00 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "1e3", " 5", "281474976710655", "-140737488355328"} {
		f.Add(seed, "")
		f.Add("", seed)
	}
	now := time.Unix(1_795_472_115, 0)
	f.Fuzz(func(t *testing.T, after, reset string) {
		wait := provider.RetryAfter(http.Header{"Retry-After": {after}, "X-Ratelimit-Reset": {reset}}, now)
		if wait != 0 && (wait < provider.MinRetryAfter || wait > provider.MaxRetryAfter) {
			t.Errorf("%q and %q make us wait for %s", after, reset, wait)
		}
	})
}

// FuzzUsableID holds that a provider's id goes on as it is or not at all, and never with the code or the recipient.
func FuzzUsableID(f *testing.F) {
	for _, seed := range []string{"14c5d75ce93.dfd.64b469.filter0001-1", "0C000000A1B2C3D4", "804613", "x804613", "jo.doe", "jo.doe@acme.example", "12025550148", "", "\x00", "a b", strings.Repeat("a", 101)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		for _, recipient := range []string{"jo.doe@acme.example", "+12025550148"} {
			used := provider.UsableID(id, provider.Message{Recipient: recipient, Text: "804613 is your code. It works for 10 minutes.\n\n@acme.example #804613"})
			switch {
			case used != "" && used != id:
				t.Errorf("%q goes on as %q", id, used)
			case strings.Contains(used, "804613"), used == "jo.doe" && recipient[0] != '+', strings.Contains(used, "12025550148") && recipient[0] == '+', strings.ContainsAny(used, "@ \r\n\x00"), len(used) > 100:
				t.Errorf("%q goes on", used)
			}
		}
	})
}
