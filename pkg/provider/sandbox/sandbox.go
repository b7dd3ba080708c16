// Package sandbox is an in-memory stand-in for the mail provider that the
// unmodified sendgrid-go client cannot tell from the provider itself, and an
// inbox that shows every message as a person sees it.
//
// It promises to refuse what the provider refuses, in the provider's words
// (providers.md 2.2 and 2.3), to keep an accepted message exactly as it came,
// and to misbehave on demand, see [Fault]. Templates, substitutions, sections
// and attachments are checked as the provider checks them, but not rendered:
// doorcode sends none. Nothing is written to a disk, a log or another host.
//
// It is for development and tests: whoever can reach it can read every code.
//
// The served paths are
//
//	POST   /v3/mail/send          the provider's API
//	GET    /api/messages?to=      the messages as JSON, newest first
//	DELETE /api/messages          forget all messages and counts
//	GET    /_sandbox/faults       the faults and how often each was met
//	POST   /_sandbox/faults       add one fault, see [Fault]
//	DELETE /_sandbox/faults       forget all faults, let go of held requests
//	GET    /                      the inbox page
package sandbox

import (
	"context"
	"html/template"
	"net/http"
	"time"
)

// DefaultSendGridKey is the API key that is accepted unless Config names one.
const DefaultSendGridKey = "SG.sandbox"

// Config holds what a sandbox is made of. Its zero value is ready for use.
type Config struct {
	// SendGridKey is the one bearer key that is accepted; DefaultSendGridKey when empty.
	SendGridKey string
	// Clock tells the time of arrival; the system's clock when nil.
	Clock func() time.Time
}

// Sandbox is one stand-in with its own messages and faults. It is safe for
// use by any number of goroutines.
type Sandbox struct {
	key    string
	clock  func() time.Time
	store  *store
	faults *faults
	// template is the parsed page.
	template func() (*template.Template, error)
}

// New returns an empty sandbox. It starts nothing: serve its Handler.
func New(cfg Config) *Sandbox {
	if cfg.SendGridKey == "" {
		cfg.SendGridKey = DefaultSendGridKey
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &Sandbox{
		key:      cfg.SendGridKey,
		clock:    cfg.Clock,
		store:    newStore(),
		faults:   newFaults(),
		template: parsePage(),
	}
}

// Handler serves the provider's API, the inbox page and the control paths.
func (s *Sandbox) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/v3/", s.serveSendGrid)
	s.routeMessages(mux)
	s.routeFaults(mux)
	s.routePage(mux)
	return mux
}

// Messages lists the kept messages to that bare address, newest first, or all
// of them when to is empty. Letter case is ignored. The maps and slices inside
// are shared and must not be changed.
func (s *Sandbox) Messages(to string) []Message { return s.store.list(to) }

// Wait returns the messages to that address as soon as there are at least n of
// them, newest first. The error wraps that of ctx when it ends before.
func (s *Sandbox) Wait(ctx context.Context, to string, n int) ([]Message, error) {
	return s.store.wait(ctx, to, n)
}

// Count tells how many messages were stored since the start or the last Clear,
// also those that are no longer kept.
func (s *Sandbox) Count() int { return s.store.counted() }

// References tells how many messages carried each value of the custom argument
// `dlv` since the start or the last Clear. More than one message for a value
// means that one delivery attempt called the provider twice. Only the newest
// 100 000 values are remembered.
func (s *Sandbox) References() map[string]int { return s.store.references() }

// Clear forgets all messages, counts and references. Faults stay.
func (s *Sandbox) Clear() { s.store.clear() }
