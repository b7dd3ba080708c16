// Package sendgrid sends e-mail through SendGrid's v3 API with the vendor's
// SDK, and is the only importer of it.
//
// It promises one call per Send at most, to exactly one person, and it says
// what is known afterwards: accepted, certainly not taken, or unknown. Around
// the SDK it keeps away from everything that providers.md 1 and 2.6 measured:
// the shared client that mixes up bodies, the global HTTP client without a
// time-out, the retry helper, the switch of regions. It stops at the
// acceptance: bounces come later, as receipts.
package sendgrid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sendgrid/rest"
	sdk "github.com/sendgrid/sendgrid-go"
	"github.com/sendgrid/sendgrid-go/helpers/mail"

	"doorcode/pkg/config"
	"doorcode/pkg/delivery"
	"doorcode/pkg/provider"
)

const (
	path = "/v3/mail/send"
	// callTimeout is the clock of the whole call (providers.md 5).
	callTimeout = 8 * time.Second
	// referenceArgument is the custom argument that receipts echo. Its name
	// collides with no key of an event (providers.md 2.4).
	referenceArgument = "dlv"
)

// Client sends e-mail for one account. It is safe for use by many goroutines.
type Client struct {
	base  string
	key   config.Secret
	from  *mail.Email
	http  *http.Client
	clock func() time.Time
}

// New returns a client; it opens no connection. It refuses a configuration
// that could not send or that could reach real people unasked.
func New(cfg Config) (*Client, error) {
	r, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Client{
		base:  r.base,
		key:   cfg.Key,
		from:  mail.NewEmail(cfg.FromName, cfg.From),
		http:  provider.NewHTTPClient(provider.HTTPConfig{MaxConns: r.maxConns, Proxy: r.proxy}),
		clock: cfg.Clock,
	}, nil
}

// Name is the provider's name in metrics and events.
func (*Client) Name() string { return "sendgrid" }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Format shows the API's address alone, whatever the verb: key and messages
// never print.
func (c *Client) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "sendgrid client of "+c.base) }

// Send makes one call, within 8 s and never past the message's deadline. Its
// error is always a *provider.Failure.
func (c *Client) Send(ctx context.Context, m provider.Message) (provider.Acceptance, error) {
	refused := c.refuse(m)
	if refused != nil {
		return provider.Acceptance{}, refused
	}
	// A request of its own for every call: the SDK's client keeps the last
	// body in itself, and two goroutines would swap their messages.
	request := sdk.GetRequest(c.key.Reveal(), path, c.base)
	request.Method = rest.Post
	request.Body = mail.GetRequestBody(c.compose(m))
	if len(request.Body) == 0 {
		return provider.Acceptance{}, provider.Refusal(delivery.ReasonRejected, "the message cannot be encoded")
	}
	watch := new(provider.Watch)
	call, cancel := context.WithTimeout(watch.Context(ctx), min(callTimeout, m.NotAfter.Sub(c.clock())))
	defer cancel()
	client := rest.Client{HTTPClient: c.http}
	response, err := client.SendWithContext(call, request)
	// The answer speaks before the error: an acceptance whose body broke off
	// comes with both, and it is an acceptance.
	if response != nil {
		return c.judge(response, m)
	}
	return provider.Acceptance{}, watch.Lost(ctx, err, c.key.Reveal(), m.Recipient)
}

// refuse returns why a message is not sent at all, or nil.
func (c *Client) refuse(m provider.Message) *provider.Failure {
	refused := m.Check(c.clock())
	switch {
	case refused != nil:
		return refused
	case !isAddress(m.Recipient):
		return provider.Refusal(delivery.ReasonInvalidRecipient, "the recipient is not one bare address")
	case m.Subject == "":
		return provider.Refusal(delivery.ReasonRejected, "the subject is empty")
	}
	return nil
}

// compose builds the body: one personalization with one recipient, so that one
// id means one person; all tracking off in so many words, because an absent
// setting takes the account's; no automatic replies, but bounces as ever.
func (c *Client) compose(m provider.Message) *mail.SGMailV3 {
	person := mail.NewPersonalization()
	person.AddTos(mail.NewEmail("", m.Recipient))
	person.SetCustomArg(referenceArgument, m.Reference)

	v3 := mail.NewV3Mail()
	v3.SetFrom(c.from)
	v3.Subject = m.Subject
	v3.AddPersonalizations(person)
	v3.AddContent(mail.NewContent("text/plain", m.Text))
	if m.HTML != "" {
		v3.AddContent(mail.NewContent("text/html", m.HTML))
	}
	v3.AddCategories("otp")
	v3.SetHeader("Auto-Submitted", "auto-generated") // RFC 3834 §5
	v3.SetHeader("X-Auto-Response-Suppress", "OOF, AutoReply")
	v3.SetMailSettings(mail.NewMailSettings().SetBypassUnsubscribeManagement(mail.NewSetting(true)))
	v3.SetTrackingSettings(mail.NewTrackingSettings().
		SetClickTracking(mail.NewClickTrackingSetting().SetEnable(false).SetEnableText(false)).
		SetOpenTracking(mail.NewOpenTrackingSetting().SetEnable(false)).
		SetSubscriptionTracking(mail.NewSubscriptionTrackingSetting().SetEnable(false)).
		SetGoogleAnalytics(mail.NewGaSetting().SetEnable(false)))
	return v3
}

// judge turns an answer into what is known: by the status first, by the field
// that was refused second, and by words only to tell an empty account from a
// bad key (providers.md 2.3).
func (c *Client) judge(r *rest.Response, m provider.Message) (provider.Acceptance, error) {
	header := http.Header(r.Headers)
	class := provider.Classify(r.StatusCode)
	if class.Result == delivery.Accepted {
		return provider.Acceptance{ProviderID: provider.UsableID(header.Get("X-Message-Id"), m)}, nil
	}
	problems, err := parseProblems(r.Body)
	detail := problems.text()
	if err != nil || detail == "" {
		detail = "no error list in the answer"
	}
	switch {
	case r.StatusCode == http.StatusOK:
		detail = "validated and not queued: sandbox mode, or a redirect in front of the API"
	case r.StatusCode == http.StatusBadRequest && problems.refuse(isRecipient):
		class = provider.Class{Result: delivery.Permanent, Reason: delivery.ReasonInvalidRecipient}
	case r.StatusCode == http.StatusBadRequest && problems.refuse(isSender):
		class = provider.Class{Result: delivery.Temporary, Reason: delivery.ReasonRejected, Breaks: true}
	case class.Reason == delivery.ReasonAuthentication && strings.Contains(strings.ToLower(detail), "credits exceeded"):
		class.Reason = delivery.ReasonRateLimited
	}
	f := &provider.Failure{Result: class.Result, Reason: class.Reason, Status: r.StatusCode, Breaks: class.Breaks}
	f.Detail = provider.Redact(detail, c.key.Reveal(), m.Recipient)
	if class.Result != delivery.Permanent {
		f.RetryAfter = provider.RetryAfter(header, c.clock())
	}
	return provider.Acceptance{}, f
}

// problems is the vendor's error list; everything in it is optional.
type problems struct {
	Errors []struct {
		Message string  `json:"message"`
		Field   *string `json:"field"`
	} `json:"errors"`
}

// parseProblems reads an error list; gateways answer in HTML or with nothing.
func parseProblems(body string) (problems, error) {
	var p problems
	err := json.Unmarshal([]byte(body), &p)
	if err != nil {
		return problems{}, errors.New("parse error list: not JSON")
	}
	return p, nil
}

// text joins the messages.
func (p problems) text() string {
	var words []string
	for _, e := range p.Errors {
		words = append(words, e.Message)
	}
	return strings.Join(words, "; ")
}

// refuse reports whether the list refuses a field for which is says yes.
func (p problems) refuse(is func(field string) bool) bool {
	for _, e := range p.Errors {
		if e.Field != nil && is(*e.Field) {
			return true
		}
	}
	return false
}

// isSender reports whether a field's path is `from` or below.
func isSender(field string) bool { return field == "from" || strings.HasPrefix(field, "from.") }

// isRecipient reports whether a field's path is `personalizations.N.to` or below.
func isRecipient(field string) bool {
	parts := strings.Split(field, ".")
	return len(parts) >= 3 && parts[0] == "personalizations" && parts[2] == "to"
}
