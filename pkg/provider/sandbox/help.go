package sandbox

import (
	"net/http"
	"time"
)

// helpDocument is what the help page shows.
type helpDocument struct {
	Paths     []helpPath
	Keys      []helpKey
	Mail, SMS []Magic
	Faults    []Kind
	HookFault []WebhookFault
	Receipts  string
	Signature SignatureMethod
	Interval  time.Duration
	Seeded    bool
	Webhooks  []webhook
	Counts    WebhookCounts
}

// helpPath is one path and its purpose.
type helpPath struct{ Method, Path, Purpose string }

// helpKey is one credential. It opens nothing but this sandbox.
type helpKey struct{ Name, Value, Setting string }

// helpPaths lists what integrators call.
func helpPaths() []helpPath {
	const hooks = settingsPath
	return []helpPath{
		{"POST", mailPath, "SendGrid: send a mail."},
		{"GET", hooks + "/all", "SendGrid: list the event webhooks, five at most."},
		{"POST", hooks, "SendGrid: make an event webhook."},
		{"GET, PATCH, DELETE", hooks + "/{id}", "SendGrid: show, change or delete one."},
		{"PATCH, GET", signedPath + "/{id}", "SendGrid: switch the signing on with {\"enabled\": true}; the answer has the public key."},
		{"POST", hookTestPath, "SendGrid: post one event of each kind to a webhook."},
		{"POST", smsPath, "Vonage: send an SMS, as a form with api_key and api_secret or as JSON with Basic authentication. Always HTTP 200; the status is text."},
		{"POST", smsXMLPath, "Vonage: the same, answered in XML."},
		{"GET", "/api/messages?to=", "The messages to an address or a number as JSON, newest first."},
		{"DELETE", "/api/messages", "Forget all messages."},
		{"GET, POST, DELETE", "/_sandbox/faults", "How sends go wrong: {\"kind\", \"channel\", \"to\", \"count\", \"status\", \"delay_ms\", \"reset_seconds\", \"location\"}."},
		{"GET", "/_sandbox/webhooks", "What became of the posts to webhooks."},
		{"POST", "/_sandbox/webhooks/flush", "Post now what waits, each once."},
		{"POST, DELETE", "/_sandbox/webhooks/faults", "How webhooks go wrong: {\"kind\", \"count\"}; without a count until deleted."},
	}
}

// routeHelp adds the help page.
func (s *Sandbox) routeHelp(mux *http.ServeMux) {
	mux.HandleFunc("GET /_sandbox", func(w http.ResponseWriter, _ *http.Request) {
		s.render(w, http.StatusOK, "help.html", s.help())
	})
}

// help gathers what the help page shows.
func (s *Sandbox) help() helpDocument {
	return helpDocument{
		Paths: helpPaths(),
		Keys: []helpKey{
			{"SendGrid API key", s.cfg.SendGridKey, "DOORCODE_SANDBOX_SENDGRID_KEY"},
			{"Vonage API key", s.cfg.VonageKey, "DOORCODE_SANDBOX_VONAGE_KEY"},
			{"Vonage API secret", s.cfg.VonageSecret, "DOORCODE_SANDBOX_VONAGE_SECRET"},
			{"Vonage signature secret", s.cfg.VonageSignatureSecret, "DOORCODE_SANDBOX_VONAGE_SIGNATURE_SECRET"},
		},
		Mail: MailMagic(), SMS: SMSMagic(), Faults: Kinds(), HookFault: WebhookFaults(),
		Receipts: s.cfg.VonageReceiptURL, Signature: s.cfg.VonageSignatureMethod, Interval: s.cfg.BatchInterval,
		Seeded: s.cfg.Seed != "", Webhooks: s.hooks.all(), Counts: s.WebhookCounts(),
	}
}
