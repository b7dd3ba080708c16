package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/challenge"
	"doorcode/pkg/problem"
	"doorcode/pkg/telemetry"
	"doorcode/services/verifier/internal/resend"
)

// Answers that no refusal names.
const (
	answerApproved = "approved"
	answerTaken    = "taken"
	answerUnknown  = "unknown_challenge"
	answerInternal = problem.CodeInternal
)

// metrics are what the verifier counts. Every label value is there from the start.
type metrics struct {
	checks   *prometheus.CounterVec
	resends  *prometheus.CounterVec
	ended    *prometheus.CounterVec
	recorded prometheus.Counter
	dead     prometheus.Counter
	lag      *prometheus.GaugeVec
	pending  prometheus.Gauge
}

// newMetrics registers the verifier's metrics.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		checks:   counters("doorcode_checks_total", "Checks by answer; only approved and wrong_code were compared.", "answer", checkAnswers()),
		resends:  counters("doorcode_resends_total", "Requests for one more message by answer.", "answer", resendAnswers()),
		ended:    counters("doorcode_challenges_ended_total", "Challenges that this process ended, by state.", "state", endStates()),
		recorded: prometheus.NewCounter(prometheus.CounterOpts{Name: "doorcode_recorder_events_total", Help: "Events recorded, repetitions included."}),
		dead: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "doorcode_dead_letters_total", Help: "Messages that could not be understood.",
			ConstLabels: prometheus.Labels{"owner": "recorder"},
		}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "doorcode_recorder_lag_seconds", Help: "Age of the event recorded last; 0 when none waits.",
		}, []string{"stream"}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{Name: "doorcode_outbox_pending", Help: "Events that wait for the bus, up to 10000."}),
	}
	err := telemetry.Register(reg, m.checks, m.resends, m.ended, m.recorded, m.dead, m.lag, m.pending)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// counters returns a counter with all values of its one label.
func counters(name, help, label string, values []string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	for _, v := range values {
		vec.WithLabelValues(v)
	}
	return vec
}

func checkAnswers() []string {
	answers := []string{answerApproved, answerUnknown, problem.CodeInvalidRequest, problem.CodeUnavailable, answerInternal}
	for _, r := range challenge.Refusals() {
		answers = append(answers, string(r))
	}
	return answers
}

func resendAnswers() []string {
	return []string{
		answerTaken, answerUnknown, problem.CodeInvalidRequest, problem.CodeUnavailable, answerInternal,
		resend.CodeTooEarly, resend.CodeNoMoreSends, resend.CodeTooMany, resend.CodeNoRoute,
		string(challenge.RefusedExpired), string(challenge.RefusedUsed), string(challenge.RefusedClosed),
	}
}

func endStates() []string {
	return []string{string(challenge.Approved), string(challenge.Expired), string(challenge.Canceled), string(challenge.Exhausted), string(challenge.Waived)}
}

// end counts an ended challenge.
func (m *metrics) end(s challenge.State) { m.ended.WithLabelValues(string(s)).Inc() }

// record returns what a recorder tells about its batches.
func (m *metrics) record(stream string) func(int, time.Duration) {
	gauge := m.lag.WithLabelValues(stream)
	return func(events int, lag time.Duration) {
		m.recorded.Add(float64(events))
		gauge.Set(lag.Seconds())
	}
}
