package dispatch

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/delivery"
	"doorcode/pkg/telemetry"
)

// noReason is the label value of an acceptance.
const noReason = "none"

// metrics are the engine's figures. The channel is a constant label (of dead
// letters: the owner), so that the engines of two channels and the recorder fit
// into one registry.
type metrics struct {
	attempts    *prometheus.CounterVec // result, reason
	postponed   *prometheus.CounterVec // reason
	abandoned   *prometheus.CounterVec // reason
	deadLetters prometheus.Counter
	duration    prometheus.Histogram
	queued      prometheus.Histogram
	inFlight    prometheus.Gauge
}

// newMetrics registers the figures with every label value there is, so that no
// dashboard shows a gap for what has not happened yet.
func newMetrics(reg prometheus.Registerer, channel delivery.Channel, providerName string) (*metrics, error) {
	byChannel := prometheus.Labels{"channel": string(channel)}
	byProvider := prometheus.Labels{"channel": string(channel), "provider": providerName}
	seconds := []float64{.01, .025, .05, .1, .25, .5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600}
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorcode_delivery_attempts_total", Help: "Calls to a provider by what is known after them.",
			ConstLabels: byProvider,
		}, []string{"result", "reason"}),
		postponed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorcode_delivery_postponed_total", Help: "Sends given back to the broker without a call.",
			ConstLabels: byChannel,
		}, []string{"reason"}),
		abandoned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorcode_delivery_abandoned_total", Help: "Sends that end without a further call.",
			ConstLabels: byChannel,
		}, []string{"reason"}),
		deadLetters: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "doorcode_dead_letters_total", Help: "Messages that could not be understood.",
			ConstLabels: prometheus.Labels{"owner": string(channel)},
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "doorcode_delivery_duration_seconds", Help: "Time of a call to a provider.",
			ConstLabels: byProvider, Buckets: seconds,
		}),
		queued: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "doorcode_delivery_queue_seconds", Help: "Time from the event that asks for a send to the call.",
			ConstLabels: byChannel, Buckets: seconds,
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "doorcode_delivery_in_flight", Help: "Sends that are worked on now.", ConstLabels: byChannel,
		}),
	}
	err := telemetry.Register(reg, m.attempts, m.postponed, m.abandoned, m.deadLetters, m.duration, m.queued, m.inFlight)
	if err != nil {
		return nil, fmt.Errorf("dispatch: %w", err)
	}
	m.fill()
	return m, nil
}

// fill makes every label value exist.
func (m *metrics) fill() {
	m.attempts.WithLabelValues(string(delivery.Accepted), noReason)
	for _, reason := range delivery.Reasons() {
		m.postponed.WithLabelValues(reason.String())
		m.abandoned.WithLabelValues(reason.String())
		for _, result := range delivery.Results() {
			if result != delivery.Accepted {
				m.attempts.WithLabelValues(string(result), reason.String())
			}
		}
	}
}

// reasonLabel is the reason of an attempt as a label.
func reasonLabel(a Attempt) string {
	if a.Result == delivery.Accepted {
		return noReason
	}
	return a.Reason.String()
}
