package app

import (
	"cmp"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/challenge"
	"doorcode/pkg/delivery"
	"doorcode/pkg/problem"
	"doorcode/pkg/rollout"
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

// The loops that tell when they last did all that they had to do, beside the recorder's.
const (
	loopSweep   = "sweep"
	loopJanitor = "janitor"
	loopCounter = "counter"
	loopGates   = "gates"
)

// recorderOf is the loop that records the events of a stream.
func recorderOf(stream string) string { return "recorder of " + stream }

// metrics are what the verifier counts. Every label value is there from the start.
type metrics struct {
	checks   *prometheus.CounterVec
	resends  *prometheus.CounterVec
	ended    *prometheus.CounterVec
	recorded prometheus.Counter
	dead     prometheus.Counter
	lag      *prometheus.GaugeVec
	pending  prometheus.Gauge
	oldest   prometheus.Gauge
	done     *prometheus.GaugeVec
	gates    *prometheus.GaugeVec
	holding  prometheus.Gauge
}

// newMetrics registers the verifier's metrics.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		checks:   counters("doorcode_checks_total", "Checks by answer; only approved and wrong_code were compared.", "answer", checkAnswers()),
		resends:  counters("doorcode_resends_total", "Requests for one more message by answer.", "answer", resendAnswers()),
		ended:    endings(),
		recorded: prometheus.NewCounter(prometheus.CounterOpts{Name: "doorcode_recorder_events_total", Help: "Events recorded, repetitions included."}),
		dead: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "doorcode_dead_letters_total", Help: "Messages that could not be understood.",
			ConstLabels: prometheus.Labels{"owner": "recorder"},
		}),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "doorcode_recorder_lag_seconds", Help: "Age of the event recorded last; 0 when none waits.",
		}, []string{"stream"}),
		pending: prometheus.NewGauge(prometheus.GaugeOpts{Name: "doorcode_outbox_pending", Help: "Events that wait for the bus, up to 10000."}),
		oldest:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "doorcode_outbox_oldest_seconds", Help: "Age of the oldest event that waits for the bus; 0 when none waits."}),
		done: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "doorcode_loop_done_timestamp_seconds", Help: "When a loop last did all that it had to do, in Unix time; at first, when it started.",
		}, []string{"loop"}),
		gates: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "doorcode_rollout_gate", Help: "1 for the light that a gate of the roll-out shows, 0 for the others.",
		}, []string{"gate", "light"}),
		holding: prometheus.NewGauge(prometheus.GaugeOpts{Name: "doorcode_rollout_held_waves", Help: "Waves of the roll-out that stand still because a gate failed."}),
	}
	err := telemetry.Register(reg, m.checks, m.resends, m.ended, m.recorded, m.dead, m.lag, m.pending, m.oldest, m.done, m.gates, m.holding)
	if err != nil {
		return nil, err
	}
	m.judged(nil, 0)
	return m, nil
}

// judged shows what the gates show, and how many waves they hold. A gate of which nothing is known has no light.
func (m *metrics) judged(verdicts []rollout.Verdict, holding int) {
	lights := map[rollout.Gate]rollout.Light{}
	for _, v := range verdicts {
		lights[v.Gate] = v.Light
	}
	for _, g := range rollout.Gates() {
		for _, l := range rollout.Lights() {
			shown := 0.0
			if lights[g] == l {
				shown = 1
			}
			m.gates.WithLabelValues(string(g), string(l)).Set(shown)
		}
	}
	m.holding.Set(float64(holding))
}

// counters returns a counter with all values of its one label.
func counters(name, help, label string, values []string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	for _, v := range values {
		vec.WithLabelValues(v)
	}
	return vec
}

// noChannel is the channel of a sign-in that needed no code.
const noChannel = "none"

// endings returns the counter of challenges that ended, with every channel and state.
func endings() *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "doorcode_challenges_ended_total", Help: "Challenges that this process ended, by the channel of their first message and by state.",
	}, []string{"channel", "state"})
	for _, c := range delivery.Channels() {
		for _, s := range endStates() {
			vec.WithLabelValues(string(c), s)
		}
	}
	vec.WithLabelValues(noChannel, string(challenge.Waived))
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
func (m *metrics) end(channel string, s challenge.State) {
	m.ended.WithLabelValues(cmp.Or(channel, noChannel), string(s)).Inc()
}

// outbox shows what waits for the bus.
func (m *metrics) outbox(waiting int, oldest time.Duration) {
	m.pending.Set(float64(waiting))
	m.oldest.Set(oldest.Seconds())
}

// rounds returns what a loop tells after each round in which nothing failed. A loop that is stuck tells nothing, and its
// figures stay as they were: the age of its last round is what gives it away.
func (m *metrics) rounds(loop string) func() {
	gauge := m.done.WithLabelValues(loop)
	gauge.SetToCurrentTime()
	return gauge.SetToCurrentTime
}

// record returns what a recorder tells about its batches.
func (m *metrics) record(stream string) func(int, time.Duration) {
	gauge, done := m.lag.WithLabelValues(stream), m.rounds(recorderOf(stream))
	return func(events int, lag time.Duration) {
		m.recorded.Add(float64(events))
		gauge.Set(lag.Seconds())
		done()
	}
}
