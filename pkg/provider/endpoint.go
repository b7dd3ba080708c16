package provider

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Endpoint is the address of a provider's API as an operator configured it.
type Endpoint struct {
	// URL is scheme and host, with a port if need be, and nothing else.
	URL string
	// Live allows real providers, and then over TLS only. Without it only a
	// loopback address or a sandbox may be called, so that a test set-up
	// can never write to a real person (providers.md 6).
	Live bool
}

// Base checks the address and returns it without a trailing slash.
func (e Endpoint) Base() (string, error) {
	u, err := url.Parse(e.URL)
	if err != nil {
		return "", errors.New("base URL: cannot be parsed")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("base URL: must begin with https:// or http://")
	case u.Hostname() == "":
		return "", errors.New("base URL: has no host")
	case strings.Contains(u.Hostname(), "%"):
		return "", errors.New("base URL: the host has a zone")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return "", errors.New("base URL: must be scheme and host alone")
	case e.Live && u.Scheme != "https":
		return "", errors.New("base URL: a live provider is called over https only")
	case !e.Live && !isSandbox(u.Hostname()):
		return "", fmt.Errorf("base URL: host %q is neither loopback nor a sandbox, and the provider is not set live", u.Hostname())
	}
	return u.Scheme + "://" + u.Host, nil
}

// isSandbox reports whether a host can only be a stand-in: a loopback address,
// or the name "sandbox" in a name space that is not public.
func isSandbox(host string) bool {
	host = strings.ToLower(host)
	ip, err := netip.ParseAddr(host)
	if err == nil {
		return ip.IsLoopback()
	}
	if host == "localhost" || host == "sandbox" {
		return true
	}
	private := strings.HasSuffix(host, ".internal") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".svc")
	return private && strings.HasPrefix(host, "sandbox.")
}
