package notice

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/event"
	"doorcode/pkg/telemetry"
)

// What becomes of a notice, or of its cause when nobody is told.
const (
	resultRequested = "requested"
	resultRepeated  = "repeated" // it was requested before
	resultRemoved   = "removed"  // the login is gone
	resultNoAddress = "no_address"
	resultTooLate   = "too_late"
	resultEnded     = "ended"  // it does not hold any more
	resultBroken    = "broken" // its row is not as auth wrote it
	// resultNoGroup is of a right code that let nobody in, or went to no group address.
	resultNoGroup = "no_group"
)

// What could not be asked, when the teller backs off.
const (
	askedConsumer = "consumer" // it is missing, is not as it should be, or gives nothing
	askedRest     = "rest"     // the directory, or the bus for an order
	askedRollout  = "rollout"  // the directory, for what is due of the roll-out
)

// results is the closed set of a metric's label.
func results() []string {
	return []string{resultRequested, resultRepeated, resultRemoved, resultNoAddress, resultTooLate, resultEnded, resultBroken, resultNoGroup}
}

// metrics are the teller's figures.
type metrics struct {
	notices *prometheus.CounterVec
	backOff *prometheus.CounterVec
	dead    prometheus.Counter
}

// newMetrics registers the figures with every label value there is.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorcode_notices_total", Help: "Notices by kind and by what became of their order.",
		}, []string{"notice", "result"}),
		backOff: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorcode_notices_back_offs_total", Help: "How often notices waited, by what could not be asked.",
		}, []string{"asked"}),
		dead: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "doorcode_dead_letters_total", Help: "Messages that could not be understood.",
			ConstLabels: prometheus.Labels{"owner": "notices"},
		}),
	}
	for _, kind := range event.NoticeKinds() {
		for _, result := range results() {
			m.notices.WithLabelValues(kind, result)
		}
	}
	for _, asked := range []string{askedConsumer, askedRest, askedRollout} {
		m.backOff.WithLabelValues(asked)
	}
	err := telemetry.Register(reg, m.notices, m.backOff, m.dead)
	if err != nil {
		return nil, fmt.Errorf("notice: %w", err)
	}
	return m, nil
}

// count counts one result.
func (m *metrics) count(kind, result string) { m.notices.WithLabelValues(kind, result).Inc() }
