package web

import (
	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/delivery"
	"doorcode/pkg/problem"
	"doorcode/pkg/telemetry"
	"doorcode/services/receipts/internal/sendgrid"
	"doorcode/services/receipts/internal/vonage"
)

// answerTaken is the answer to a webhook that is no problem code.
const answerTaken = "taken"

// What becomes of a report that becomes no event; the others have their status as the result.
const (
	resultForeign     = "foreign"
	resultUnused      = "unused"
	resultUnreadable  = "unreadable"
	resultImplausible = "implausible"
)

// metrics are what the webhooks count. Every label value is there from the start.
type metrics struct {
	requests *prometheus.CounterVec
	reports  *prometheus.CounterVec
}

// newMetrics registers the metrics.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorcode_receipt_requests_total", Help: "Webhooks by what they were answered.",
		}, []string{"provider", "answer"}),
		reports: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorcode_receipts_total", Help: "Reports of providers, copies included, by their status or why they were left out.",
		}, []string{"provider", "result"}),
	}
	results := []string{resultForeign, resultUnused, resultUnreadable, resultImplausible}
	for _, s := range delivery.Reportable() {
		results = append(results, string(s))
	}
	for _, provider := range []string{sendgrid.Provider, vonage.Provider} {
		for _, answer := range []string{
			answerTaken, CodeClosed, CodeSignature, problem.CodeBodyTooLarge, problem.CodeInvalidRequest, problem.CodeUnavailable, problem.CodeInternal,
		} {
			m.requests.WithLabelValues(provider, answer)
		}
		for _, result := range results {
			m.reports.WithLabelValues(provider, result)
		}
	}
	err := telemetry.Register(reg, m.requests, m.reports)
	if err != nil {
		return nil, err
	}
	return m, nil
}
