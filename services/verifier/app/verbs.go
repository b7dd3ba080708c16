package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/bus"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
	"doorcode/pkg/problem"
)

// endpoints are the verbs of DESIGN 4.
func (a *App) endpoints(v verbs) []bus.Endpoint {
	log := a.log
	return []bus.Endpoint{
		{Name: "check", Subject: event.VerbCheck, Handle: serve(log, counted(a.metrics.checks, answerApproved, v.check.Check))},
		{Name: "resend", Subject: event.VerbResend, Handle: serve(log, counted(a.metrics.resends, answerTaken, v.resend.Resend))},
		{Name: "cancel", Subject: event.VerbCancel, Handle: serve(log, v.keeper.Cancel)},
		{Name: "state", Subject: event.VerbState, Handle: serve(log, v.keeper.State)},
		{Name: "waive", Subject: event.VerbWaive, Handle: serve(log, v.waiver.Waive)},
		{Name: "skip", Subject: event.VerbSkip, Handle: serve(log, v.waiver.Skip)},
		{Name: "unlock", Subject: event.VerbUnlock, Handle: serve(log, v.keeper.Unlock)},
		{Name: "delivery", Subject: event.VerbDelivery, Handle: serve(log, v.keeper.Delivery)},
	}
}

// serve makes a handler of the bus from a verb. Requests may carry fields that this version does not know: auth and
// verifier are rolled out one after the other.
func serve[Q, A any](log *slog.Logger, verb func(context.Context, Q) (A, error)) func(context.Context, bus.Request) ([]byte, error) {
	return func(ctx context.Context, r bus.Request) ([]byte, error) {
		var q Q
		err := json.Unmarshal(r.Data, &q)
		if err != nil {
			return nil, refusal(problem.New(http.StatusBadRequest, problem.CodeInvalidRequest, "The request is not readable."))
		}
		answer, err := verb(ctx, q)
		if err != nil {
			return nil, refusal(outward(log, r.Subject, err))
		}
		data, err := json.Marshal(answer)
		if err != nil {
			return nil, fmt.Errorf("write answer: %w", err)
		}
		return data, nil
	}
}

// counted counts the answers of a verb.
func counted[Q, A any](vec *prometheus.CounterVec, good string, verb func(context.Context, Q) (A, error)) func(context.Context, Q) (A, error) {
	return func(ctx context.Context, q Q) (A, error) {
		answer, err := verb(ctx, q)
		code := good
		if err != nil {
			code = answerInternal
			var p *problem.Problem
			switch {
			case errors.As(err, &p):
				code = p.Code
			case isUnavailable(err):
				code = problem.CodeUnavailable
			}
		}
		vec.WithLabelValues(code).Inc()
		return answer, err
	}
}

// outward turns an error into what may be told. Whatever could not be asked is 503: nothing is skipped (P7).
func outward(log *slog.Logger, subject string, err error) *problem.Problem {
	var p *problem.Problem
	if errors.As(err, &p) {
		return p
	}
	if isUnavailable(err) {
		log.Warn("request unavailable", "subject", subject, "error", err)
		p = problem.New(http.StatusServiceUnavailable, problem.CodeUnavailable, "The request cannot be answered at the moment.")
		p.RetryAfter = time.Second
		return p
	}
	log.Error("request failed", "subject", subject, "error", err)
	return problem.Of(err)
}

// isUnavailable reports whether Postgres or the bus could not be asked.
func isUnavailable(err error) bool {
	return postgres.IsUnavailable(err) || errors.Is(err, bus.ErrUnavailable)
}

// refusal is the form in which a problem travels over the bus.
func refusal(p *problem.Problem) error {
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write problem: %w", err)
	}
	return &bus.ServiceError{Code: p.Status, Body: body}
}
