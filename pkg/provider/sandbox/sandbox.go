// Package sandbox is an in-memory stand-in for the mail provider and the SMS
// provider that the unmodified clients sendgrid-go and vonage-go-sdk cannot
// tell from the providers themselves, and an inbox that shows every message as
// a person sees it: a mail as the mail program does, an SMS on a phone.
//
// It promises to refuse what the provider refuses, in the provider's words and
// order (providers.md 2.2, 2.3, 4.2, 4.3 and 7), to keep an accepted message
// exactly as it came, to report what becomes of it by signed webhooks
// (providers.md 3 and 4.7), and to misbehave on demand, see [Fault],
// [WebhookFault] and [Magic]. Templates, substitutions, sections and
// attachments of mails are checked as the provider checks them, but not
// rendered; of the types of SMS only text and unicode are taken: doorcode sends
// no others. Nothing is written to a disk or a log, and webhooks reach no other
// host unless Config.WebhookHosts names it.
//
// It is for development and tests: whoever can reach it can read every code.
//
// # How to use it
//
// Point the clients at the address of the sandbox in place of that of the
// provider, with the keys of [Config]. Make an event webhook by SendGrid's own
// endpoints, or by [Sandbox.EventWebhook], and take its public key; receipts of
// Vonage go to the callback of the message or to Config.VonageReceiptURL.
// [Sandbox.Start] posts them in the background, each at its time; a test rather
// calls [Sandbox.Flush] when it wants them. With Config.Seed all ids and keys
// are the same in every run.
//
// # Paths
//
//	POST   /v3/mail/send                            SendGrid: send a mail
//	GET    /v3/user/webhooks/event/settings/all     SendGrid: the event webhooks
//	POST   /v3/user/webhooks/event/settings         SendGrid: make one
//	GET    /v3/user/webhooks/event/settings/{id}    SendGrid: show one, also PATCH and DELETE
//	PATCH  /v3/user/webhooks/event/settings/signed/{id}  SendGrid: sign; the answer has the public key, also GET
//	POST   /v3/user/webhooks/event/test             SendGrid: post one event of each kind
//	POST   /sms/json                                Vonage: send an SMS, a form or JSON; /sms/xml answers in XML
//	GET    /api/messages?to=                        the messages as JSON, newest first
//	DELETE /api/messages                            forget all messages and counts
//	GET    /_sandbox                                help: paths, keys and magic recipients
//	GET    /_sandbox/faults                         the faults of sends and how often each was met
//	POST   /_sandbox/faults                         add one, see [Fault]
//	DELETE /_sandbox/faults                         forget them, let go of held requests
//	GET    /_sandbox/webhooks                       what became of the posts, see [WebhookCounts]
//	POST   /_sandbox/webhooks/flush                 post what waits, see [Sandbox.Flush]
//	POST   /_sandbox/webhooks/faults                add a fault of webhooks, see [WebhookFault]
//	DELETE /_sandbox/webhooks/faults                forget them
//	GET    /                                        the inbox page
package sandbox

import (
	"context"
	"html/template"
	"net/http"

	"doorcode/pkg/delivery"
)

// Sandbox is one stand-in with its own messages, faults and webhooks. It is safe
// for use by any number of goroutines.
type Sandbox struct {
	cfg        Config
	ids        *source
	store      *store
	faults     *faults
	sms        *smsAccount
	hooks      *webhooks
	hookFaults *hookFaults
	queue      *queue
	client     *http.Client
	runner     runner
	// templates are the parsed pages.
	templates func() (*template.Template, error)
}

// New returns an empty sandbox. It starts nothing: serve its Handler, and call
// Start or Flush for the webhooks. What Config.Validate refuses does not work
// in it.
func New(cfg Config) *Sandbox {
	cfg = cfg.withDefaults()
	return &Sandbox{
		cfg:    cfg,
		ids:    newSource(cfg.Seed),
		store:  newStore(),
		faults: newFaults(),
		sms: &smsAccount{
			key: cfg.VonageKey, secret: cfg.VonageSecret, signatureSecret: cfg.VonageSignatureSecret,
			method: cfg.VonageSignatureMethod, balance: int64(cfg.VonageBalance) * euro,
		},
		hooks:      &webhooks{},
		hookFaults: newHookFaults(),
		queue:      newQueue(),
		client:     newClient(cfg.WebhookHosts),
		templates:  parsePages(),
	}
}

// Handler serves the providers' APIs, the pages and the control paths.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/v3/", s.serveSendGrid)
	mux.HandleFunc(smsPath, s.serveVonage)
	mux.HandleFunc(smsXMLPath, s.serveVonage)
	s.routeMessages(mux)
	s.routeFaults(mux)
	s.routeWebhookControl(mux)
	s.routePage(mux)
	s.routeHelp(mux)
	return mux
}

// Messages lists the kept messages to that bare address or number, newest
// first, or all of them when to is empty. Letter case is ignored, and so is
// the plus before a number. The maps and slices inside
// are shared and must not be changed.
func (s *Sandbox) Messages(to string) []Message { return s.store.list(to) }

// Wait returns the messages to that address or number as soon as there are at least n of
// them, newest first. The error wraps that of ctx when it ends before.
func (s *Sandbox) Wait(ctx context.Context, to string, n int) ([]Message, error) {
	return s.store.wait(ctx, to, n)
}

// Count tells how many messages were stored since the start or the last Clear,
// also those that are no longer kept.
func (s *Sandbox) Count() int {
	return s.CountOf(delivery.Email) + s.CountOf(delivery.SMS)
}

// CountOf is Count for one channel.
func (s *Sandbox) CountOf(c delivery.Channel) int { return s.store.counted(c) }

// References tells how many messages carried each value of the custom argument
// `dlv`, or of the client reference of an SMS, since the start or the last Clear. More than one message for a value
// means that one delivery attempt called the provider twice. Only the newest
// 100 000 values are remembered.
func (s *Sandbox) References() map[string]int { return s.store.references() }

// Clear forgets all messages, counts and references. Faults and webhooks stay.
func (s *Sandbox) Clear() { s.store.clear() }
