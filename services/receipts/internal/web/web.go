// Package web takes the webhooks over HTTP: it bounds and verifies them, has them read, and answers once every report is
// stored. It decides nothing, and a webhook without its key is closed (SEC-57).
//
// A provider repeats whatever is not answered 2xx, or gives it up. So 403 is for a signature alone, 503 for a bus that
// cannot be asked, and what nobody understands is counted and taken.
package web

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
	"doorcode/pkg/httpserver"
	"doorcode/pkg/keyring"
	"doorcode/pkg/problem"
	"doorcode/pkg/telemetry"
	"doorcode/services/receipts/internal/report"
	"doorcode/services/receipts/internal/sendgrid"
	"doorcode/services/receipts/internal/vonage"
)

// Bounds of a body: SendGrid posts at most 768 kB, a receipt of Vonage has some hundred bytes.
const (
	maxBatch   = 1 << 20
	maxReceipt = 64 << 10
)

// chunk is how many events are published at once.
const chunk = 200

// again is when a provider may come again while the bus is away.
const again = 5 * time.Second

// The codes of the refusals that only a webhook knows.
const (
	CodeClosed    = "webhook_closed"
	CodeSignature = "invalid_signature"
)

// publisher stores events in their stream: one error, or nil, for each.
type publisher interface {
	PublishBatch(ctx context.Context, batch []bus.Message) []error
}

// Config is what the webhooks work with.
type Config struct {
	SendGrid  []*ecdsa.PublicKey // none: closed
	Vonage    vonage.Verifier    // without secrets: closed
	Addresses *keyring.Ring
	Publisher publisher
	Clock     func() time.Time
	Telemetry telemetry.Telemetry
}

// Handler is the HTTP API of the webhooks.
type Handler struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	router  *httpserver.Router
}

// New returns the webhooks and registers their metrics.
func New(cfg Config) (*Handler, error) {
	if cfg.Addresses == nil || cfg.Publisher == nil || cfg.Clock == nil || cfg.Telemetry.Log == nil {
		return nil, errors.New("webhooks: a part of the configuration is missing")
	}
	m, err := newMetrics(cfg.Telemetry.Registry)
	if err != nil {
		return nil, err
	}
	h := &Handler{cfg: cfg, log: cfg.Telemetry.Log, metrics: m, router: httpserver.NewRouter(cfg.Telemetry.Log)}
	h.router.Trace(cfg.Telemetry.Tracer())
	h.router.HandleFunc(http.MethodPost, "/webhooks/sendgrid", h.counted(sendgrid.Provider, h.sendGrid))
	h.router.HandleFunc(http.MethodGet, "/webhooks/vonage", h.counted(vonage.Provider, h.vonage))
	h.router.HandleFunc(http.MethodPost, "/webhooks/vonage", h.counted(vonage.Provider, h.vonage))
	return h, nil
}

// ServeHTTP answers a request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.router.ServeHTTP(w, r) }

// counted answers with 204, or with the problem that a webhook ends in, and counts it.
func (h *Handler) counted(name string, take func(r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := take(r)
		if err == nil {
			h.metrics.requests.WithLabelValues(name, answerTaken).Inc()
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		p := problem.Of(err)
		h.metrics.requests.WithLabelValues(name, p.Code).Inc()
		// Anybody can send nonsense here, so a refusal is counted and not worth a line; what could not be stored has one.
		h.log.DebugContext(r.Context(), "webhook refused", "provider", name, "status", p.Status, "reason", p.Code)
		problem.Write(w, p)
	}
}

// sendGrid takes a batch of events.
func (h *Handler) sendGrid(r *http.Request) error {
	if len(h.cfg.SendGrid) == 0 {
		return closed()
	}
	body, err := read(r, maxBatch)
	if err != nil {
		return err
	}
	err = sendgrid.Verify(h.cfg.SendGrid, r.Header.Get(sendgrid.SignatureHeader), r.Header.Get(sendgrid.TimestampHeader), body, h.cfg.Clock())
	if err != nil {
		return unsigned()
	}
	entries, skipped, err := sendgrid.Decode(body)
	if err != nil {
		skipped++
		h.log.ErrorContext(r.Context(), "webhook is signed and not readable", "provider", sendgrid.Provider, "bytes", len(body))
	}
	h.metrics.reports.WithLabelValues(sendgrid.Provider, resultUnreadable).Add(float64(skipped))
	reports := make([]report.Report, 0, len(entries))
	for _, e := range entries {
		one, err := e.Report()
		if h.worth(sendgrid.Provider, one, err) {
			reports = append(reports, one)
		}
	}
	return h.store(r.Context(), sendgrid.Provider, reports)
}

// vonage takes one receipt.
func (h *Handler) vonage(r *http.Request) error {
	if len(h.cfg.Vonage.Secrets) == 0 {
		return closed()
	}
	body, err := read(r, maxReceipt)
	if err != nil {
		return err
	}
	fields, err := vonage.Decode(r.Header.Get("Content-Type"), r.URL.RawQuery, body)
	if err != nil {
		return unsigned() // What cannot be read can have no signature.
	}
	err = h.cfg.Vonage.Verify(fields, h.cfg.Clock())
	if err != nil {
		return unsigned()
	}
	one, err := fields.Report()
	if !h.worth(vonage.Provider, one, err) {
		return nil
	}
	return h.store(r.Context(), vonage.Provider, []report.Report{one})
}

// worth tells whether a report becomes an event, and counts it when it does not.
func (h *Handler) worth(name string, one report.Report, err error) bool {
	var result string
	switch {
	case errors.Is(err, report.ErrForeign):
		result = resultForeign
	case errors.Is(err, report.ErrUnused):
		result = resultUnused
	case err != nil:
		result = resultUnreadable
	case !one.Plausible(h.cfg.Clock()):
		result = resultImplausible
	default:
		return true
	}
	h.metrics.reports.WithLabelValues(name, result).Inc()
	return false
}

// store publishes reports. When one of them cannot be stored the provider is asked to come again with all of them,
// which changes nothing for those that could.
func (h *Handler) store(ctx context.Context, name string, reports []report.Report) error {
	for len(reports) > 0 {
		some := reports[:min(chunk, len(reports))]
		reports = reports[len(some):]
		batch := make([]bus.Message, len(some))
		for i, one := range some {
			m, err := h.message(one)
			if err != nil {
				return err
			}
			batch[i] = m
		}
		faultpoint.Hit("receipts.verified")
		err := errors.Join(h.cfg.Publisher.PublishBatch(ctx, batch)...)
		faultpoint.Hit("receipts.published")
		if err != nil {
			h.log.WarnContext(ctx, "receipts not stored", "provider", name, "error", err.Error())
			return unavailable()
		}
		for _, one := range some {
			h.metrics.reports.WithLabelValues(name, string(one.Status)).Inc()
		}
	}
	return nil
}

// message is the wire form of a report.
func (h *Handler) message(one report.Report) (bus.Message, error) {
	e, err := one.Event(h.cfg.Addresses)
	if err != nil {
		return bus.Message{}, err
	}
	subject, err := event.SubjectOf(e.Type, string(one.Channel))
	if err != nil {
		return bus.Message{}, err
	}
	return bus.Message{Subject: subject, ID: e.ID, Header: e.Header(), Data: e.Data}, nil
}

// read returns the body as it came, byte for byte.
func read(r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	if err != nil {
		return nil, problem.New(http.StatusBadRequest, problem.CodeInvalidRequest, "The body did not come whole.")
	}
	if int64(len(body)) > limit {
		return nil, problem.New(http.StatusRequestEntityTooLarge, problem.CodeBodyTooLarge, "The body is too large.")
	}
	return body, nil
}

// closed is the answer of a webhook that has no key: nothing could be verified (SEC-57).
func closed() error {
	return problem.New(http.StatusForbidden, CodeClosed, "This webhook is closed: it has no verification key.")
}

// unsigned is the one answer to whatever is wrong with a signature.
func unsigned() error {
	return problem.New(http.StatusForbidden, CodeSignature, "The signature is not valid, or too old.")
}

// unavailable is the answer while the bus takes nothing.
func unavailable() error {
	p := problem.New(http.StatusServiceUnavailable, problem.CodeUnavailable, "This cannot be stored at the moment. Try again.")
	p.RetryAfter = again
	return p
}
