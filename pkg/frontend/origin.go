package frontend

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// MaxReturnOrigins is how many return origins a front-end may have.
const MaxReturnOrigins = 20

// errOrigin says what a return origin is.
var errOrigin = errors.New("a return origin is https://host or https://host:port; http is for 127.0.0.1 and localhost")

// ParseOrigin returns the normal form of a web origin to which a hosted page may send a browser back: https, or http on
// a loopback host, for development. A loopback origin without a port stands for every port of that host, because those
// are often not known in advance (RFC 8252 §7.3).
func ParseOrigin(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(s, "#") || strings.HasSuffix(s, "?") {
		return "", errOrigin
	}
	return originOf(u)
}

// Returns reports whether a hosted page may send a browser, with the assertion, to that address of the front-end.
func (f FrontEnd) Returns(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	origin, err := originOf(u)
	if err != nil {
		return false
	}
	if slices.Contains(f.ReturnOrigins, origin) {
		return true
	}
	u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
	anyPort, err := originOf(u)
	return err == nil && u.Scheme == "http" && slices.Contains(f.ReturnOrigins, anyPort)
}

// OriginOf returns the origin of an address that Returns has allowed, as a Content-Security-Policy names it.
func OriginOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errOrigin
	}
	return originOf(u)
}

// originOf returns scheme, host and port in the normal form. Hosts are plain ASCII, so that every browser and every
// policy header reads them as we do; a policy header cannot name an IPv6 address (CSP 3 §2.3.1).
func originOf(u *url.URL) (string, error) {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if u.User != nil || u.Opaque != "" || host == "" {
		return "", errOrigin
	}
	for _, c := range host {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-", c) {
			return "", errOrigin
		}
	}
	switch {
	case u.Scheme == "https" && port == "443":
		port = ""
	case u.Scheme == "https", u.Scheme == "http" && loopback(host):
	default:
		return "", errOrigin
	}
	if port != "" {
		host += ":" + port
	}
	return u.Scheme + "://" + host, nil
}

// loopback reports whether a host never leaves the machine.
func loopback(host string) bool { return host == "127.0.0.1" || host == "localhost" }
