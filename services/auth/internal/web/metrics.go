package web

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/httpserver"
	"doorcode/pkg/telemetry"
)

// unrouted is the label of requests that belong to no operation.
const unrouted = "other"

// measured counts and times requests.
type measured struct {
	router   *httpserver.Router
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// measure wraps a complete router.
func measure(router *httpserver.Router, registry prometheus.Registerer) (http.Handler, error) {
	m := &measured{
		router: router,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "doorcode_http_requests_total", Help: "Requests by operation and class of the answer's status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "doorcode_http_request_seconds", Help: "Time to answer a request, by operation.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
	}
	names := []string{unrouted}
	for _, r := range router.Routes() {
		names = append(names, r.Method+" "+r.Pattern)
	}
	for _, name := range names {
		m.seconds.WithLabelValues(name)
		for _, class := range classes() {
			m.requests.WithLabelValues(name, class)
		}
	}
	err := telemetry.Register(registry, m.requests, m.seconds)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// classes are the classes of status that are answered; only pages redirect.
func classes() []string { return []string{"2xx", "3xx", "4xx", "5xx"} }

// ServeHTTP answers a request and takes its measure, also when the handler breaks off.
func (m *measured) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	noted := &status{ResponseWriter: w, code: http.StatusInternalServerError}
	defer func() {
		route := r.Pattern // The mux has filled it in when it found one.
		if route == "" {
			route = unrouted
		}
		if noted.at.IsZero() {
			noted.at = time.Now()
		}
		m.requests.WithLabelValues(route, noted.class()).Inc()
		m.seconds.WithLabelValues(route).Observe(noted.at.Sub(began).Seconds())
	}()
	m.router.ServeHTTP(noted, r)
}

// status notes the status of an answer and when it began: a stream goes on long after.
type status struct {
	http.ResponseWriter
	code int
	at   time.Time
}

// WriteHeader notes the status and passes it on.
func (s *status) WriteHeader(code int) {
	s.code, s.at = code, time.Now()
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// class returns the class of the status.
func (s *status) class() string {
	switch {
	case s.code >= http.StatusInternalServerError:
		return "5xx"
	case s.code >= http.StatusBadRequest:
		return "4xx"
	case s.code >= http.StatusMultipleChoices:
		return "3xx"
	}
	return "2xx"
}
