package httpserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"doorcode/pkg/httpserver"
	"doorcode/pkg/problem"
)

func TestOperations_AnswersWhenAllIsWell(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	count := prometheus.NewCounter(prometheus.CounterOpts{Name: "doorcode_sample_total", Help: "Counts."})
	reg.MustRegister(count)
	h := httpserver.Operations(reg, func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); !bounded {
			return errors.New("the look at the dependencies has no deadline")
		}
		return nil
	})
	for path, want := range map[string]string{
		"/healthz": `{"healthy":true}`,
		"/readyz":  `{"ready":true}`,
		"/metrics": "doorcode_sample_total 0",
	} {
		w := ask(t, h, http.MethodGet, path)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s is answered by %d %s", path, w.Code, w.Body)
		}
	}
}

func TestOperations_NamesWhatIsDown(t *testing.T) {
	t.Parallel()
	down := errors.Join(errors.New("postgres: no answer"), fmt.Errorf("nats: %s", strings.Repeat("ä", 400)))
	h := httpserver.Operations(prometheus.NewRegistry(), func(context.Context) error { return down })
	w := ask(t, h, http.MethodGet, "/readyz")
	var p problem.Problem
	err := json.Unmarshal(w.Body.Bytes(), &p)
	if err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusServiceUnavailable || p.Code != problem.CodeUnavailable ||
		!strings.HasPrefix(p.Detail, "postgres: no answer; nats: ä") || len(p.Detail) > 520 {
		t.Errorf("answered by %d %s", w.Code, w.Body)
	}
	if got := ask(t, h, http.MethodGet, "/healthz").Code; got != http.StatusOK {
		t.Errorf("/healthz is answered by %d", got)
	}
}

func TestOperations_TellsReadinessAsAMetric(t *testing.T) {
	t.Parallel()
	var down error
	h := httpserver.Operations(prometheus.NewRegistry(), func(ctx context.Context) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("a look at the metrics may wait for ever")
		}
		return down
	})
	for want, err := range map[string]error{"doorcode_ready 1": nil, "doorcode_ready 0": errors.New("postgres: no answer")} {
		down = err
		w := ask(t, h, http.MethodGet, "/metrics")
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "\n"+want+"\n") {
			t.Errorf("with the error %v the metrics are %d %s", err, w.Code, w.Body)
		}
	}
}

func TestOperations_RefusesTheRest(t *testing.T) {
	t.Parallel()
	h := httpserver.Operations(prometheus.NewRegistry(), func(context.Context) error { return nil })
	for target, want := range map[string]int{"GET /": 404, "GET /debug/pprof/": 404, "POST /readyz": 405} {
		method, path, _ := strings.Cut(target, " ")
		if w := ask(t, h, method, path); w.Code != want {
			t.Errorf("%s is answered by %d", target, w.Code)
		}
	}
}
