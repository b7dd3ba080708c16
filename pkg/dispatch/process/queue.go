package process

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/bus"
	"doorcode/pkg/delivery"
	"doorcode/pkg/telemetry"
)

// queueTimeout bounds one look at the queue. It is less than what a scrape waits.
const queueTimeout = 2 * time.Second

// backlog is what the queue is read from.
type backlog interface {
	Backlog(ctx context.Context, stream, durable string) (bus.Backlog, error)
}

// queue shows what waits for a channel, as the bus tells it whenever the metrics
// are read. The bus is the one that knows: a figure kept by the engine would stand
// still with it. Every replica shows the same. Without an answer nothing is shown,
// since nothing is known.
type queue struct {
	durable, stream string
	source          atomic.Pointer[backlog]
	pending, paused *prometheus.Desc
}

// newQueue registers the figures; they show nothing before open.
func newQueue(reg prometheus.Registerer, c delivery.Channel, stream string) (*queue, error) {
	labels := prometheus.Labels{"channel": string(c)}
	q := &queue{
		durable: name(c), stream: stream,
		pending: prometheus.NewDesc("doorcode_delivery_pending",
			"Messages that wait for this channel: not taken by any dispatcher yet, or taken and neither sent nor given up.",
			[]string{"state"}, labels),
		paused: prometheus.NewDesc("doorcode_delivery_paused",
			"1 while an operator holds the channel back, 0 otherwise.", nil, labels),
	}
	err := telemetry.Register(reg, q)
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	return q, nil
}

// open names what the queue is read from.
func (q *queue) open(b backlog) { q.source.Store(&b) }

// Describe names the figures.
func (q *queue) Describe(to chan<- *prometheus.Desc) {
	to <- q.pending
	to <- q.paused
}

// Collect asks the bus.
func (q *queue) Collect(to chan<- prometheus.Metric) {
	source := q.source.Load()
	if source == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), queueTimeout)
	defer cancel()
	b, err := (*source).Backlog(ctx, q.stream, q.durable)
	if err != nil {
		return
	}
	held := 0.0
	if !b.PausedUntil.IsZero() {
		held = 1
	}
	show(to, q.pending, float64(b.Waiting), "waiting")
	show(to, q.pending, float64(b.Unanswered), "taken")
	show(to, q.paused, held)
}

// show hands out one figure; the labels are as many as its description has, so that there is no error.
func show(to chan<- prometheus.Metric, what *prometheus.Desc, value float64, labels ...string) {
	m, err := prometheus.NewConstMetric(what, prometheus.GaugeValue, value, labels...)
	if err == nil {
		to <- m
	}
}
