package httpserver

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"doorcode/pkg/problem"
)

const (
	// readyTimeout bounds one look at the dependencies.
	readyTimeout = 2 * time.Second
	// maxReason bounds, in bytes, what /readyz says about them.
	maxReason = 512
)

// Operations serves what operators and their machines ask, on a port of its own that the public does not reach:
// /healthz (the process runs), /readyz (it can do its work) and /metrics, where the answer of /readyz is the gauge
// doorcode_ready: each look at the metrics is one at the dependencies.
//
// The error of ready stands in the answer, so it names what is down and, as all errors of ours, carries no secret.
func Operations(reg *prometheus.Registry, ready func(context.Context) error) http.Handler {
	bounded := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, readyTimeout)
		defer cancel()
		return ready(ctx)
	}
	r := NewRouter(slog.New(slog.DiscardHandler))
	r.HandleFunc(http.MethodGet, "/healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, `{"healthy":true}`)
	})
	r.HandleFunc(http.MethodGet, "/readyz", func(w http.ResponseWriter, req *http.Request) {
		err := bounded(req.Context())
		if err != nil {
			problem.Write(w, problem.New(http.StatusServiceUnavailable, problem.CodeUnavailable, reason(err)))
			return
		}
		writeJSON(w, `{"ready":true}`)
	})
	state, own := readiness()
	metrics := promhttp.HandlerFor(prometheus.Gatherers{reg, own}, promhttp.HandlerOpts{Registry: reg})
	r.HandleFunc(http.MethodGet, "/metrics", func(w http.ResponseWriter, req *http.Request) {
		able := 1.0
		if bounded(req.Context()) != nil {
			able = 0
		}
		state.Set(able)
		metrics.ServeHTTP(w, req)
	})
	return r
}

// readiness returns the gauge of readiness and a registry of its own: that of the process may have any other names.
func readiness() (prometheus.Gauge, *prometheus.Registry) {
	state, own := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "doorcode_ready", Help: "1 while the process can do its work, 0 otherwise; /readyz says why not.",
	}), prometheus.NewRegistry()
	_ = own.Register(state) // An empty registry takes any name that is well formed.
	return state, own
}

// writeJSON answers with a fixed document.
func writeJSON(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(body + "\n")) // The caller is gone when it fails.
}

// reason puts an error, joined ones included, on one line of bounded length.
func reason(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if len(text) > maxReason {
		text = text[:maxReason] + "..."
	}
	return strings.ToValidUTF8(text, "")
}
