package sendgrid

import (
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strings"
	"time"
	"unicode"

	"doorcode/pkg/config"
	"doorcode/pkg/provider"
)

// defaultMaxConns is how many connections are opened at most when nothing is
// said; the vendor suggests few and measurement asks for no more (providers.md 5).
const defaultMaxConns = 64

// maxAddress is the longest address that SMTP carries (RFC 5321 §4.5.3.1.3).
const maxAddress = 254

// Config says which account is used, and as whom.
type Config struct {
	// BaseURL is scheme and host of the API: https://api.sendgrid.com, its
	// European twin, or a sandbox. The SDK's own switch of regions is not
	// used: it would turn a sandbox into the real thing.
	BaseURL string
	// Key is the API key; it needs the permission to send mail, no other.
	Key config.Secret
	// From is the verified sender's address, FromName what people see.
	From, FromName string
	// Live allows a host that is neither loopback nor a sandbox.
	Live bool
	// MaxConns bounds the connections; 0 means 64.
	MaxConns int
	// Proxy is the URL of a proxy for every call; empty means none, whatever
	// the environment says.
	Proxy string
	// Clock is required.
	Clock func() time.Time
}

// resolved is a checked configuration.
type resolved struct {
	base     string
	maxConns int
	proxy    *url.URL
}

// check refuses what could not send a single message. No text names the key.
func (c Config) check() (resolved, error) {
	r := resolved{maxConns: c.MaxConns}
	if c.MaxConns == 0 {
		r.maxConns = defaultMaxConns
	}
	base, err := provider.Endpoint{URL: c.BaseURL, Live: c.Live}.Base()
	if err != nil {
		return resolved{}, fmt.Errorf("sendgrid: %w", err)
	}
	r.base = base
	key := c.Key.Reveal()
	switch {
	case key == "":
		return resolved{}, errors.New("sendgrid: the key is empty")
	case strings.IndexFunc(key, func(r rune) bool { return r <= ' ' || r >= unicode.MaxASCII }) >= 0:
		return resolved{}, errors.New("sendgrid: the key holds spaces or characters outside ASCII")
	case !isAddress(c.From) || !isASCII(c.From):
		return resolved{}, errors.New("sendgrid: the sender must be one bare ASCII address")
	case !isASCII(c.FromName):
		return resolved{}, errors.New("sendgrid: the sender's name must be printable ASCII")
	case r.maxConns < 1:
		return resolved{}, errors.New("sendgrid: the number of connections must be positive")
	case c.Clock == nil:
		return resolved{}, errors.New("sendgrid: the clock is missing")
	}
	if c.Proxy == "" {
		return r, nil
	}
	r.proxy, err = url.Parse(c.Proxy)
	if err != nil || (r.proxy.Scheme != "http" && r.proxy.Scheme != "https") || r.proxy.Host == "" || r.proxy.User != nil {
		return resolved{}, errors.New("sendgrid: the proxy must be an http:// or https:// URL without a password")
	}
	return r, nil
}

// isAddress reports whether s is exactly one bare address. The SDK's own check
// splits at the first at sign and is not used (providers.md 2.6).
func isAddress(s string) bool {
	parsed, err := mail.ParseAddress(s)
	return err == nil && parsed.Name == "" && parsed.Address == s && len(s) <= maxAddress
}

// isASCII reports whether s is printable ASCII: the vendor refuses anything
// else in a sender (providers.md 2.2).
func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
