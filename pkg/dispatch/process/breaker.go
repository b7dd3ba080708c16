package process

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/provider"
	"doorcode/pkg/telemetry"
)

// breakerGauge shows which state the breaker of a provider is in.
type breakerGauge struct {
	log    *slog.Logger
	states *prometheus.GaugeVec
	name   string
}

// newBreakerGauge registers the gauge with the breaker closed.
func newBreakerGauge(tel telemetry.Telemetry, name string) (*breakerGauge, error) {
	g := &breakerGauge{log: tel.Log, name: name, states: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "doorcode_provider_breaker_state", Help: "1 for the state that the breaker of a provider is in.",
		ConstLabels: prometheus.Labels{"provider": name},
	}, []string{"state"})}
	err := telemetry.Register(tel.Registry, g.states)
	if err != nil {
		return nil, fmt.Errorf("breaker: %w", err)
	}
	g.show(provider.BreakerClosed)
	return g, nil
}

// set follows a change. An open breaker means that the provider refuses our
// key, sender, quota or address: somebody has to look.
func (g *breakerGauge) set(state provider.BreakerState) {
	g.show(state)
	g.log.Warn("provider breaker changed", "provider", g.name, "state", string(state))
}

func (g *breakerGauge) show(now provider.BreakerState) {
	for _, s := range provider.BreakerStates() {
		value := 0.0
		if s == now {
			value = 1
		}
		g.states.WithLabelValues(string(s)).Set(value)
	}
}
