package vonage

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"
	"unicode"

	"doorcode/pkg/config"
	"doorcode/pkg/phone"
	"doorcode/pkg/provider"
)

// defaultMaxConns is how many connections are opened at most when nothing is
// said; measurement asks for no more (providers.md 5).
const defaultMaxConns = 64

// The lengths of the credentials and of a sender (providers.md 4.1).
const (
	keyLength        = 8
	minSecret        = 6
	maxSecret        = 32
	maxSenderDigits  = 15
	maxSenderLetters = 11
)

// Config says which account is used, and as whom.
type Config struct {
	// BaseURL is scheme and host of the API: https://rest.nexmo.com, or a
	// sandbox.
	BaseURL string
	// Key and Secret are the API key, of 8 characters, and its secret. They
	// travel in the body of every request.
	Key, Secret config.Secret
	// Senders says for each country, as two capital letters of ISO 3166-1,
	// who a message comes from: a number of up to 15 digits without +, or up
	// to 11 letters and digits of ASCII. A country that is not in it gets no
	// message: there is no sender that is right everywhere (providers.md 4.6).
	Senders map[string]string
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
	senders  map[string]string
	maxConns int
	proxy    *url.URL
}

// check refuses what could not send a single message. No text names the key
// or the secret.
func (c Config) check() (resolved, error) {
	r := resolved{maxConns: c.MaxConns, senders: maps.Clone(c.Senders)}
	if c.MaxConns == 0 {
		r.maxConns = defaultMaxConns
	}
	base, err := provider.Endpoint{URL: c.BaseURL, Live: c.Live}.Base()
	if err != nil {
		return resolved{}, fmt.Errorf("vonage: %w", err)
	}
	r.base = base
	key, secret := c.Key.Reveal(), c.Secret.Reveal()
	switch {
	case len(key) != keyLength || !isPrintable(key):
		return resolved{}, errors.New("vonage: the key must have 8 printable ASCII characters")
	case len(secret) < minSecret || len(secret) > maxSecret || !isPrintable(secret):
		return resolved{}, errors.New("vonage: the secret must have 6 to 32 printable ASCII characters")
	case len(c.Senders) == 0:
		return resolved{}, errors.New("vonage: no country has a sender")
	case r.maxConns < 1:
		return resolved{}, errors.New("vonage: the number of connections must be positive")
	case c.Clock == nil:
		return resolved{}, errors.New("vonage: the clock is missing")
	}
	for region, sender := range c.Senders {
		err = checkSender(region, sender)
		if err != nil {
			return resolved{}, err
		}
	}
	if c.Proxy == "" {
		return r, nil
	}
	r.proxy, err = url.Parse(c.Proxy)
	if err != nil || (r.proxy.Scheme != "http" && r.proxy.Scheme != "https") || r.proxy.Host == "" || r.proxy.User != nil {
		return resolved{}, errors.New("vonage: the proxy must be an http:// or https:// URL without a password")
	}
	return r, nil
}

// checkSender refuses a sender that networks would change on the way or drop.
// The United States and Canada take numbers alone (providers.md 4.6).
func checkSender(region, sender string) error {
	const digits = "0123456789"
	isNumber := sender != "" && strings.Trim(sender, digits) == ""
	switch {
	case !phone.IsRegion(region):
		return fmt.Errorf("vonage: %q is no country; two capital letters are wanted", region)
	case isNumber && (len(sender) > maxSenderDigits || sender[0] == '0'):
		return fmt.Errorf("vonage: the sender of %s is no international number without + and 00", region)
	case isNumber:
		return nil
	case region == "US" || region == "CA":
		return fmt.Errorf("vonage: the sender of %s must be a number: names do not arrive there", region)
	case sender == "" || len(sender) > maxSenderLetters || strings.ContainsFunc(sender, isOutsideName):
		return fmt.Errorf("vonage: the sender of %s must have 1 to 11 letters and digits of ASCII, or be a number", region)
	}
	return nil
}

// isOutsideName reports whether a character may not stand in a sender's name.
func isOutsideName(r rune) bool {
	return r > unicode.MaxASCII || (!unicode.IsLetter(r) && !unicode.IsDigit(r))
}

// isPrintable reports whether s is printable ASCII without spaces.
func isPrintable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
