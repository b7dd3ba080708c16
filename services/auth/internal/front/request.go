package front

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"doorcode/pkg/account"
)

// Bounds of what a create may carry.
const (
	maxReturnURL      = 2000
	maxUserAgent      = 1024
	shownUserAgent    = 200 // what of it a message can show
	maxBrowserID      = 128
	maxIdempotencyKey = 255
)

// CreateRequest is the body of a create. What a client could gain by naming, code, length, life and recipient, is no
// part of it (SEC-04, SEC-09).
type CreateRequest struct {
	Workspace string `json:"workspace"`
	Login     string `json:"login"`
	// Locale is that of the page; without one the login's own counts.
	Locale string `json:"locale"`
	// ReturnURL is where the hosted page leads back to; it belongs to a return origin of the front-end.
	ReturnURL string  `json:"return_url"`
	Client    *Client `json:"client"`
}

// Client is what the host application says about the browser. It is believed: no header takes part (SEC-15).
type Client struct {
	// Address is an IP address without a zone. Creates are limited by it; of it a record keeps the network alone.
	Address string `json:"address"`
	// UserAgent is shown in the message, so that a person sees whose sign-in it is.
	UserAgent string `json:"user_agent"`
	// BrowserID is the host application's name for the browser; it takes part in the fingerprint of the request.
	BrowserID string `json:"browser_id"`
}

// validate returns a problem that names the field, or nil.
func (r CreateRequest) validate() error {
	if account.ValidateID(r.Workspace) != nil {
		return invalid("workspace", sentence(account.ErrID))
	}
	if account.ValidateID(r.Login) != nil {
		return invalid("login", sentence(account.ErrID))
	}
	err := account.ValidateLocale(r.Locale)
	if err != nil {
		return invalid("locale", sentence(err))
	}
	if r.ReturnURL != "" && !webAddress(r.ReturnURL) {
		return invalid("return_url", "The value is not an absolute web address of at most 2000 characters.")
	}
	if r.Client == nil {
		return nil
	}
	return r.Client.validate()
}

// validate is part of CreateRequest's. A user agent is the browser's and only bounded: odd ones may sign in as well.
func (c Client) validate() error {
	if c.Address != "" {
		address, err := netip.ParseAddr(c.Address)
		if err != nil || address.Zone() != "" {
			return invalid("client.address", "The value is not an IP address.")
		}
	}
	if len(c.UserAgent) > maxUserAgent {
		return invalid("client.user_agent", "The value has more than 1024 bytes.")
	}
	if len(c.BrowserID) > maxBrowserID || !visible(c.BrowserID) {
		return invalid("client.browser_id", "The value is not at most 128 visible ASCII characters.")
	}
	return nil
}

// address returns the client's address, if it was told.
func (r CreateRequest) address() (netip.Addr, bool) {
	if r.Client == nil || r.Client.Address == "" {
		return netip.Addr{}, false
	}
	address, err := netip.ParseAddr(r.Client.Address)
	return address, err == nil
}

// userAgent returns what a message may show of the browser: printable and short.
func (r CreateRequest) userAgent() string {
	if r.Client == nil {
		return ""
	}
	s := strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, r.Client.UserAgent)
	for len(s) > shownUserAgent {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// webAddress reports whether s is an absolute address that a browser may be sent to.
func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxReturnURL && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" &&
		u.User == nil && u.Opaque == ""
}

// visible reports whether s has visible ASCII characters alone.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// sentence writes the text of a validation error as one.
func sentence(err error) string {
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// traceparent returns a W3C trace context of version 00, or nothing.
func traceparent(s string) string {
	parts := strings.Split(s, "-")
	if len(s) != 55 || len(parts) != 4 || parts[0] != "00" || len(parts[1]) != 32 || len(parts[2]) != 16 {
		return ""
	}
	for _, c := range s {
		if !strings.ContainsRune("0123456789abcdef-", c) {
			return ""
		}
	}
	return s
}
