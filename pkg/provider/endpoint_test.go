package provider_test

import (
	"strings"
	"testing"

	"doorcode/pkg/provider"
)

// It shows SEC-34 and SEC-56 of deploy/SECURITY.md.
func TestEndpoint_ReachesRealProvidersOnlyWhenLiveAndOverTLS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url     string
		sandbox string // the base without Live, or what the refusal says
		live    string
	}{
		{"http://127.0.0.1:8025", "http://127.0.0.1:8025", "https only"},
		{"http://127.8.9.1:8025/", "http://127.8.9.1:8025", "https only"},
		{"http://[::1]:8025", "http://[::1]:8025", "https only"},
		{"http://localhost", "http://localhost", "https only"},
		{"http://sandbox:8025", "http://sandbox:8025", "https only"},
		{"https://SANDBOX", "https://SANDBOX", "https://SANDBOX"},
		{"http://sandbox.doorcode.svc.cluster.local", "http://sandbox.doorcode.svc.cluster.local", "https only"},
		{"http://sandbox.doorcode.svc", "http://sandbox.doorcode.svc", "https only"},
		{"https://sandbox.corp.internal", "https://sandbox.corp.internal", "https://sandbox.corp.internal"},
		{"https://sandbox.example.com", "not set live", "https://sandbox.example.com"},
		{"https://mysandbox.internal", "not set live", "https://mysandbox.internal"},
		{"https://api.sendgrid.com", "not set live", "https://api.sendgrid.com"},
		{"https://localhost.example.com", "not set live", "https://localhost.example.com"},
		{"https://127.0.0.1.example.com", "not set live", "https://127.0.0.1.example.com"},
		{"http://10.0.0.7", "not set live", "https only"},
		{"http://0.0.0.0", "not set live", "https only"},
		{"http://api.sendgrid.com", "not set live", "https only"},
		{"", "must begin with", "must begin with"},
		{"ftp://localhost", "must begin with", "must begin with"},
		{"localhost:8025", "must begin with", "must begin with"},
		{"http://", "has no host", "has no host"},
		{"http://%zz", "cannot be parsed", "cannot be parsed"},
		{"https://user:pass@localhost", "scheme and host alone", "scheme and host alone"},
		{"https://localhost/v3", "scheme and host alone", "scheme and host alone"},
		{"https://localhost?x=1", "scheme and host alone", "scheme and host alone"},
		{"https://localhost#x", "scheme and host alone", "scheme and host alone"},
	} {
		for want, endpoint := range map[string]provider.Endpoint{
			"sandbox": {URL: c.url},
			"live":    {URL: c.url, Live: true},
		} {
			expected := c.sandbox
			if want == "live" {
				expected = c.live
			}
			got, err := endpoint.Base()
			if err != nil {
				got = err.Error()
			}
			if (err == nil) != strings.HasPrefix(expected, "http") && expected != "https only" || !strings.Contains(got, expected) {
				t.Errorf("%s %s: got %q, want %q", want, c.url, got, expected)
			}
			if strings.Contains(got, "pass") {
				t.Errorf("%s: the password shows in %q", c.url, got)
			}
		}
	}
}
