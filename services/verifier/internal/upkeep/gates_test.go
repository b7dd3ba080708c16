package upkeep_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"doorcode/pkg/bus/bustest"
	"doorcode/pkg/rollout"
	"doorcode/services/verifier/internal/upkeep"
)

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// R4.12: verifiers that start while a gate fails hold the next wave once, say so, and show it to whoever looks at the figures.
func TestGates_AVerifierThatStartsCatchesUpAndSaysWhy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 3 {
		b.record()
	}
	b.PG.Exec(t, `UPDATE challenges SET state = 'expired', digest = NULL, created_at = created_at - interval '1 hour', expires_at = created_at - interval '50 minutes', ended_at = clock_timestamp()`)
	b.PG.Exec(t, `INSERT INTO rollout_waves (id, announce_at, grace_at, enforce_at, skips, mac_key, mac)
		VALUES ('next', now() + interval '1 hour', now() + interval '1 week', now() + interval '2 weeks', 3, 1, 'x')`)
	limits := rollout.StartingLimits()
	limits.Least = 1
	var log lines
	var mu sync.Mutex
	var shown [2]rollout.Light
	var holding [2]int
	for i := range shown {
		gates := upkeep.NewGates(b.db, limits, slog.New(slog.NewTextHandler(&log, nil)), func(verdicts []rollout.Verdict, held int) {
			mu.Lock()
			defer mu.Unlock()
			if len(verdicts) > 0 {
				shown[i], holding[i] = verdicts[0].Light, held
			}
		})
		done := make(chan struct{}, 1)
		gates.Done = func() { done <- struct{}{} }
		run(t, gates.Run)
		<-done // a round
		bustest.Wait(t, "it shows the gates", func() bool {
			if gates.Once(t.Context()) == nil {
				<-done
			}
			mu.Lock()
			defer mu.Unlock()
			return shown[i] == rollout.Failed && holding[i] == 1
		})
	}
	b.Want(1, `SELECT count(*) FROM rollout_holds WHERE wave = 'next' AND cleared_at IS NULL`)
	b.Want(1, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.gate_failed'`)
	b.Want(1, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.wave_paused'`)
	if got := log.String(); strings.Count(got, "waves held") != 1 || !strings.Contains(got, "verified share 0 % of 3 sign-ins") {
		t.Errorf("the log says %s", got)
	}
}

func TestGates_ARoundThatFailedIsNotDone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	gates := upkeep.NewGates(b.db, rollout.StartingLimits(), b.log, func([]rollout.Verdict, int) { t.Error("it shows what it does not know") })
	gates.Done = func() { t.Error("it counts as done") }
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := gates.Once(ctx)
	if err == nil {
		t.Error("nobody was asked, and that is no error")
	}
}
