// Package client is how a login front-end uses doorcode: create a challenge
// after the password was right, let the person type the code, and let them in
// only on a verified assertion.
//
// A front-end never lets anyone in without the Person that Check returns, or
// Skip, Waived, or Verify when doorcode's own page asks for the code. None can be
// called without the handle of the pending sign-in, and all accept an assertion
// for that handle alone; ending the pending sign-in in the same step is the
// front-end's own act.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an answer in bytes.
const maxAnswer = 64 << 10

// Config says where doorcode is and who asks.
type Config struct {
	// URL is the address of the auth service, such as http://127.0.0.1:8080.
	URL string
	// Key is the front-end's API key: dck_<front-end>_<secret>.
	Key string
	// Issuer is what assertions must name as their issuer; empty means
	// `doorcode`.
	Issuer string
	// HTTP makes the calls; nil means a client with a time-out of 10 s.
	HTTP *http.Client
	// Now is the clock for the life of assertions; nil means the system's.
	Now func() time.Time
}

// Client talks to one doorcode for one front-end. It is safe for concurrent use.
type Client struct {
	base     string
	key      string
	frontEnd string
	issuer   string
	http     *http.Client
	nats     Requester // nil: challenges go over HTTP too
	now      func() time.Time
	keys     keySet
}

// New returns a client, or an error that names the part of the Config that
// cannot be used; it never shows the key.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, errors.New("doorcode client: URL is not an http or https address")
	}
	rest, found := strings.CutPrefix(cfg.Key, "dck_")
	frontEnd, secret, cut := strings.Cut(rest, "_")
	if !found || !cut || frontEnd == "" || secret == "" {
		return nil, errors.New("doorcode client: the key is not of the form dck_<front-end>_<secret>")
	}
	c := &Client{
		base: strings.TrimSuffix(cfg.URL, "/"), key: cfg.Key, frontEnd: frontEnd, issuer: cfg.Issuer, http: cfg.HTTP, now: cfg.Now,
	}
	if c.issuer == "" {
		c.issuer = "doorcode"
	}
	if c.http == nil {
		c.http = &http.Client{Timeout: 10 * time.Second}
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}

// Request asks for a challenge for a login whose password was right.
type Request struct {
	Workspace string `json:"workspace"`
	Login     string `json:"login"`
	Locale    string `json:"locale,omitempty"`
	// ReturnURL asks for a hosted code page: an address of this front-end, of
	// an origin that its key is registered with, to which that page posts the
	// assertion; a GET of it means that the person starts again.
	ReturnURL string   `json:"return_url,omitempty"`
	Visitor   *Visitor `json:"client,omitempty"`

	// Key makes a repeat of this request safe: the same key gets the same
	// answer and no second message. Empty means a fresh one per call.
	Key string `json:"-"`
}

// Visitor is the browser at the keyboard, as the front-end's server sees it.
type Visitor struct {
	Address   string `json:"address,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	BrowserID string `json:"browser_id,omitempty"`
}

// The decisions of Create.
const (
	Required    = "required"     // the person types the code
	Skippable   = "skippable"    // they may go on without it: Skip
	NotRequired = "not_required" // nothing was sent: Waived
)

// Challenge is what the code page shows, and the handle that the front-end
// keeps with the pending sign-in.
type Challenge struct {
	// Decision is one of the three. That of NotRequired has no Label, Channel,
	// Recipient, Routes and times.
	Decision         string    `json:"decision"`
	Handle           string    `json:"handle"`
	Label            string    `json:"label"`
	Channel          string    `json:"channel"`
	Recipient        string    `json:"recipient"` // masked
	Routes           []Route   `json:"routes"`
	ExpiresAt        time.Time `json:"expires_at"`
	ResendAt         time.Time `json:"resend_at"`
	SupportReference string    `json:"support_reference"`
	// PromptURL is the hosted code page for this browser. It is empty when no
	// ReturnURL was given, or when doorcode has no pages: show your own then.
	PromptURL string `json:"prompt_url"`
	// Skip is there when the code may be skipped.
	Skip *SkipOffer `json:"skip"`
	// Reason and Assertion are there when no code is required. The assertion
	// is for Waived.
	Reason    string `json:"reason"`
	Assertion string `json:"assertion"`
	// EnforceAt is when codes become required; nil: it is not known.
	EnforceAt *time.Time `json:"enforce_at"`
}

// SkipOffer tells a person how long a code may be skipped.
type SkipOffer struct {
	Left      int        `json:"left"`       // skips, this one counted
	EnforceAt *time.Time `json:"enforce_at"` // nil: it is not known
}

// Route is another proven way to the person.
type Route struct {
	Channel   string `json:"channel"`
	Recipient string `json:"recipient"` // masked
}

// Create asks for a challenge; its code is then on its way, unless the decision
// is NotRequired. A decision that this client does not know is an error: nobody
// is let in on it.
func (c *Client) Create(ctx context.Context, r Request) (Challenge, error) {
	key := r.Key
	if key == "" {
		key = newKey()
	}
	var ch Challenge
	err := c.call(ctx, call{method: http.MethodPost, path: "/v1/challenges", verb: "create", key: key, in: r, out: &ch, repeats: 1})
	if err != nil {
		return Challenge{}, fmt.Errorf("create challenge: %w", err)
	}
	if ch.Decision != Required && ch.Decision != Skippable && ch.Decision != NotRequired {
		return Challenge{}, errors.New("create challenge: doorcode made a decision that this client does not know")
	}
	return ch, nil
}

// SettingsRequest asks for the hosted Security settings of a person whom the
// front-end has signed in.
type SettingsRequest struct {
	Workspace string `json:"workspace"`
	Login     string `json:"login"`
	// ReturnURL is where the page leads back to; it belongs to a return origin
	// of the front-end.
	ReturnURL string   `json:"return_url"`
	Locale    string   `json:"locale,omitempty"`
	Visitor   *Visitor `json:"client,omitempty"`
}

// SettingsLink opens Security settings, once and until it expires. Send the
// person's browser there at once; whoever opens it first has the page.
type SettingsLink struct {
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// OpenSettings returns a link to the hosted Security settings of a login. It
// needs a key with the scope `settings`.
func (c *Client) OpenSettings(ctx context.Context, r SettingsRequest) (SettingsLink, error) {
	var link SettingsLink
	err := c.call(ctx, call{method: http.MethodPost, path: "/v1/settings-sessions", in: r, out: &link, repeats: 1})
	if err != nil {
		return SettingsLink{}, fmt.Errorf("open settings: %w", err)
	}
	return link, nil
}

// Delivery is the status of one message.
type Delivery struct {
	Send    int       `json:"send"`
	Channel string    `json:"channel"`
	Status  string    `json:"status"`
	Text    string    `json:"text"` // in plain words
	At      time.Time `json:"at"`
}

// State tells where a challenge stands.
type State struct {
	State            string     `json:"state"`
	Label            string     `json:"label"`
	Recipient        string     `json:"recipient"` // masked
	SupportReference string     `json:"support_reference"`
	ExpiresAt        time.Time  `json:"expires_at"`
	ResendAt         *time.Time `json:"resend_at"` // nil when no further message is possible
	ChecksLeft       int        `json:"checks_left"`
	Waiting          int        `json:"waiting"` // sign-ins that wait at the recipient, this one among them; 0 when it has ended
	Deliveries       []Delivery `json:"deliveries"`
	Skip             *SkipOffer `json:"skip"` // nil: the code may not be skipped
}

// Read returns where the challenge of a handle stands.
func (c *Client) Read(ctx context.Context, handle string) (State, error) {
	var s State
	err := c.call(ctx, call{
		method: http.MethodGet, path: challengePath(handle, ""), verb: "read", handle: handle, out: &s, repeats: 1,
	})
	if err != nil {
		return State{}, fmt.Errorf("read challenge: %w", err)
	}
	return s, nil
}

// Resend asks for one more message with the same code. Too early is an *Error
// with code `resend_too_early` and RetryAfter.
func (c *Client) Resend(ctx context.Context, handle string) error {
	return c.ResendBy(ctx, handle, "")
}

// ResendBy is Resend by the channel of one of the challenge's routes; empty is
// that of the first. A channel that the challenge has not is an *Error with
// code `no_route`.
func (c *Client) ResendBy(ctx context.Context, handle, channel string) error {
	in := struct {
		Channel string `json:"channel,omitempty"`
	}{channel}
	err := c.call(ctx, call{
		method: http.MethodPost, path: challengePath(handle, "/deliveries"), verb: "resend", handle: handle, key: newKey(),
		in: in, repeats: 1,
	})
	if err != nil {
		return fmt.Errorf("resend: %w", err)
	}
	return nil
}

// Cancel ends a challenge: "this was not me".
func (c *Client) Cancel(ctx context.Context, handle string) error {
	err := c.call(ctx, call{
		method: http.MethodDelete, path: challengePath(handle, ""), verb: "cancel", handle: handle, repeats: 1,
	})
	if err != nil {
		return fmt.Errorf("cancel challenge: %w", err)
	}
	return nil
}

// Check has a typed code judged. Only a right one returns a Person; a wrong one
// is an *Error with code `wrong_code` and ChecksLeft, others are `expired`,
// `used`, `closed`, `too_many` and `invalid_request`. A lost answer is asked
// for once more under the same check id and is never counted twice.
func (c *Client) Check(ctx context.Context, handle, code string) (Person, error) {
	in := struct {
		Code    string `json:"code"`
		CheckID string `json:"check_id"`
	}{code, newKey()}
	var out struct {
		Outcome   string `json:"outcome"`
		Assertion string `json:"assertion"`
	}
	err := c.call(ctx, call{
		method: http.MethodPost, path: challengePath(handle, "/checks"), verb: "check", handle: handle, in: in, out: &out, repeats: 1,
	})
	if err != nil {
		return Person{}, fmt.Errorf("check code: %w", err)
	}
	p, err := c.verify(ctx, handle, out.Assertion)
	if err == nil && p.Reason != "" { // A right code is no waiver.
		err = ErrAssertion
	}
	if err != nil {
		return Person{}, fmt.Errorf("check code: %w", err)
	}
	return p, nil
}

// Skip lets a person go on without the code of a Skippable challenge. It returns
// a Person with a Reason; a code that may not be skipped is an *Error with code
// `not_skippable`, others are `expired`, `used` and `closed`.
func (c *Client) Skip(ctx context.Context, handle string) (Person, error) {
	var out struct {
		Assertion string `json:"assertion"`
	}
	err := c.call(ctx, call{
		method: http.MethodPost, path: challengePath(handle, "/skip"), verb: "skip", handle: handle, out: &out, repeats: 1,
	})
	if err != nil {
		return Person{}, fmt.Errorf("skip: %w", err)
	}
	p, err := c.verifyWaiver(ctx, handle, out.Assertion)
	if err != nil {
		return Person{}, fmt.Errorf("skip: %w", err)
	}
	return p, nil
}

// Waived judges the assertion of a challenge whose decision is NotRequired. It
// returns a Person with a Reason.
func (c *Client) Waived(ctx context.Context, ch Challenge) (Person, error) {
	p, err := c.verifyWaiver(ctx, ch.Handle, ch.Assertion)
	if err != nil {
		return Person{}, fmt.Errorf("verify waiver: %w", err)
	}
	return p, nil
}

// verifyWaiver is verify for an assertion that must be a waiver.
func (c *Client) verifyWaiver(ctx context.Context, handle, assertion string) (Person, error) {
	p, err := c.verify(ctx, handle, assertion)
	if err == nil && p.Reason == "" {
		err = ErrAssertion
	}
	if err != nil {
		return Person{}, err
	}
	return p, nil
}

// Verify judges the assertion that the hosted code page posted to the
// ReturnURL; of a code that was skipped the Person has a Reason. The handle is the one that this browser's pending sign-in was
// created with, kept on the server; never the one in the post, which anybody may
// have written. Only a valid assertion for that very handle returns a Person;
// whoever accepts it ends the pending sign-in in the same step, so that it
// counts once.
func (c *Client) Verify(ctx context.Context, handle, assertion string) (Person, error) {
	p, err := c.verify(ctx, handle, assertion)
	if err != nil {
		return Person{}, fmt.Errorf("verify assertion: %w", err)
	}
	return p, nil
}

// challengePath returns the path of a challenge's resource.
func challengePath(handle, rest string) string {
	return "/v1/challenges/" + url.PathEscape(handle) + rest
}

// newKey draws the name of a request: 128 random bits.
func newKey() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // crypto/rand never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(raw)
}

// call is one request that may safely be repeated.
type call struct {
	method, path, key string
	match             string // If-Match; empty: none
	verb, handle      string // on NATS; without a verb it goes over HTTP
	in, out           any
	etag              *string // takes the answer's ETag over HTTP; nil: nobody wants it
	repeats           int     // after a lost answer or a 503
}

// call makes the request and reads its answer into out.
func (c *Client) call(ctx context.Context, r call) error {
	for {
		err := c.once(ctx, r)
		if err == nil || r.repeats == 0 || !lost(err) || ctx.Err() != nil {
			return err
		}
		r.repeats--
	}
}

// lost reports whether a request may be asked again: no answer came, or
// doorcode could not ask one of its parts.
func lost(err error) bool {
	var e *Error
	return !errors.As(err, &e) || e.Status == http.StatusServiceUnavailable
}

// once makes the request one time.
func (c *Client) once(ctx context.Context, r call) error {
	if c.nats != nil && r.verb != "" {
		return c.overNATS(ctx, r)
	}
	return c.overHTTP(ctx, r)
}

// overHTTP is once on HTTP.
func (c *Client) overHTTP(ctx context.Context, r call) error {
	var body io.Reader
	if r.in != nil {
		data, err := json.Marshal(r.in)
		if err != nil {
			return fmt.Errorf("write request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, body)
	if err != nil {
		return errors.New("make request: malformed address")
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if r.in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	if r.match != "" {
		req.Header.Set("If-Match", r.match)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask doorcode: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		return newHTTPError(res, answer)
	}
	if r.etag != nil {
		*r.etag = res.Header.Get("ETag")
	}
	return r.read(answer)
}

// read reads an answer that is no refusal.
func (r call) read(answer []byte) error {
	if r.out == nil {
		return nil
	}
	err := json.Unmarshal(answer, r.out)
	if err != nil {
		return errors.New("read answer: not the JSON that was expected")
	}
	return nil
}

// Error is a refusal: a problem document (RFC 9457) with a stable code.
type Error struct {
	Status     int
	Code       string        `json:"code"`
	Detail     string        `json:"detail"` // a sentence for the developer or the person
	Field      string        `json:"field"`
	ChecksLeft *int          `json:"checks_left"`
	RetryAfter time.Duration `json:"-"`
}

// Error returns code and sentence.
func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Detail) }

// newError reads a problem document, leniently.
func newError(status int, answer []byte) *Error {
	e := &Error{}
	if json.Unmarshal(answer, e) != nil || e.Code == "" {
		e.Code, e.Detail = "unexpected_answer", "doorcode answered with something that is no problem document"
	}
	e.Status = status
	return e
}

// newHTTPError is newError with the waiting time of the header.
func newHTTPError(res *http.Response, answer []byte) *Error {
	e := newError(res.StatusCode, answer)
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err == nil && seconds > 0 && seconds < math.MaxInt32 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}
