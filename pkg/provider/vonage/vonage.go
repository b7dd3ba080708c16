// Package vonage sends text messages through Vonage's SMS API with the
// vendor's SDK, and is the only importer of it.
//
// It promises one call per Send at most, to exactly one person, and it says
// what is known afterwards: accepted, certainly not taken, or unknown. The SDK
// writes the form; everything that providers.md 1 and 4.9 found missing in it
// is done around it, in the round tripper of each call: a context, a time to
// live, a bounded and lenient reading of the answer. The SDK is not maintained
// any more, so nothing of it leaves this package. It stops at the acceptance:
// delivery receipts come later.
package vonage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	sdk "github.com/vonage/vonage-go-sdk"

	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/gsm7"
	"doorcode/pkg/phone"
	"doorcode/pkg/provider"
)

const (
	path = "/sms" // The SDK appends /json.
	// callTimeout is the clock of the whole call (providers.md 5).
	callTimeout = 5 * time.Second
	// maxParts is the vendor's advice; a code needs one (providers.md 4.1).
	maxParts = 6
)

// Client sends text messages for one account. It is safe for use by many
// goroutines.
type Client struct {
	base    string
	key     config.Secret
	secret  config.Secret
	senders map[string]string
	http    *http.Client
	clock   func() time.Time
}

// New returns a client; it opens no connection. It refuses a configuration
// that could not send or that could reach real people unasked.
func New(cfg Config) (*Client, error) {
	r, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Client{
		base:    r.base,
		key:     cfg.Key,
		secret:  cfg.Secret,
		senders: r.senders,
		http:    provider.NewHTTPClient(provider.HTTPConfig{MaxConns: r.maxConns, Proxy: r.proxy}),
		clock:   cfg.Clock,
	}, nil
}

// Name is the provider's name in metrics and events.
func (*Client) Name() string { return "vonage" }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Format shows the API's address alone, whatever the verb: credentials and
// messages never print.
func (c *Client) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "vonage client of "+c.base) }

// Send makes one call, within 5 s and never past the message's deadline. The
// recipient is a number in E.164 form. The error is always a
// *provider.Failure, and no panic of the SDK leaves it.
func (c *Client) Send(ctx context.Context, m provider.Message) (provider.Acceptance, error) {
	sender, refused := c.refuse(m)
	if refused != nil {
		return provider.Acceptance{}, refused
	}
	watch := new(provider.Watch)
	call, cancel := context.WithTimeout(watch.Context(ctx), min(callTimeout, m.NotAfter.Sub(c.clock())))
	defer cancel()
	e := &exchange{ctx: call, base: c.http.Transport, ttl: c.life(m)}
	err := c.submit(e, sender, m)
	known := c.known(m)
	// The answer speaks before the error: the SDK has errors for messages that
	// were taken, and none for most that were refused (providers.md 1, 7 and 8).
	switch {
	case e.reply == nil:
		return provider.Acceptance{}, watch.Lost(ctx, err, known...)
	case e.reply.isOK() && e.reply.err != nil:
		f := watch.Lost(ctx, e.reply.err, known...)
		f.Result, f.Status = delivery.Unknown, e.reply.status
		f.Breaks = errors.Is(e.reply.err, errStranger)
		return provider.Acceptance{}, f
	}
	class, detail := e.reply.judge()
	if class.Result == delivery.Accepted {
		return provider.Acceptance{ProviderID: provider.UsableID(string(e.reply.answer.Messages[0].ID), m)}, nil
	}
	f := &provider.Failure{Result: class.Result, Reason: class.Reason, Status: e.reply.status, Breaks: class.Breaks}
	f.Detail = provider.Redact(detail, known...)
	if class.Result != delivery.Permanent {
		f.RetryAfter = e.reply.pause(c.clock())
	}
	return provider.Acceptance{}, f
}

// life is how long the networks keep a message for a phone that is off: until
// the code dies, within the API's bounds.
func (c *Client) life(m provider.Message) time.Duration {
	end := m.ExpiresAt
	if end.IsZero() {
		end = m.NotAfter
	}
	return min(max(end.Sub(c.clock()), minTTL), maxTTL)
}

// refuse returns who the message comes from, or why it is not sent at all.
func (c *Client) refuse(m provider.Message) (sender string, refused *provider.Failure) {
	refused = m.Check(c.clock())
	if refused != nil {
		return "", refused
	}
	number, err := phone.Parse(m.Recipient)
	if err != nil {
		return "", provider.Refusal(delivery.ReasonInvalidRecipient, err.Error())
	}
	sender, allowed := c.senders[number.Region]
	parts, _, _ := gsm7.Parts(m.Text)
	switch {
	case number.E164 != m.Recipient:
		return "", provider.Refusal(delivery.ReasonInvalidRecipient, "the recipient is not in its one international form")
	case !allowed:
		return "", provider.Refusal(delivery.ReasonRejected, "no sender is configured for "+number.Region)
	case parts > maxParts:
		return "", provider.Refusal(delivery.ReasonRejected, "the text has too many parts")
	}
	return sender, nil
}

// submit gives the message to the SDK. A client of its own for every call: it
// has no context, so it takes the call's from the round tripper; and it writes
// to its configuration when that lacks an HTTP client.
func (c *Client) submit(e *exchange, sender string, m provider.Message) (err error) {
	defer func() {
		// The SDK panics on answers that it does not expect; the exchange lets
		// none of them through, and this is the net below.
		if recover() != nil {
			err = errors.New("the SDK panicked")
		}
	}()
	client := sdk.NewSMSClient(sdk.CreateAuthFromKeySecret(c.key.Reveal(), c.secret.Reveal()))
	client.Config.BasePath = c.base + path
	client.Config.HTTPClient = &http.Client{Transport: e, CheckRedirect: c.http.CheckRedirect}
	options := sdk.SMSOpts{StatusReportReq: true, ClientRef: m.Reference, Type: "unicode"}
	_, _, alphabet := gsm7.Parts(m.Text)
	if alphabet == gsm7.GSM7 {
		options.Type = "text"
	}
	_, _, err = client.Send(sender, digits(m), m.Text, options)
	if err == nil && e.reply == nil {
		err = errors.New("the SDK made no call")
	}
	return err
}

// known lists what must be cut out of foreign texts, as it is and as a form
// carries it.
func (c *Client) known(m provider.Message) []string {
	values := []string{c.secret.Reveal(), c.key.Reveal(), m.Text, m.Recipient, digits(m)}
	for _, value := range values {
		values = append(values, url.QueryEscape(value))
	}
	return values
}

// digits is the recipient as the API wants it: without the plus sign, which the
// SDK would count and send (providers.md 4.1).
func digits(m provider.Message) string { return strings.TrimPrefix(m.Recipient, "+") }
