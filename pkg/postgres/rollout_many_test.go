package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// act draws something that an operator or a verifier does, to be done beside others. What is refused is refused.
func (m rolloutMachine) act(t *rapid.T, verifier *postgres.DB) func(context.Context) {
	wave, workspace := rapid.SampledFrom(machineWaves).Draw(t, "wave"), rapid.SampledFrom(machinePlaces).Draw(t, "workspace")
	o, days := robin(), time.Duration(rapid.IntRange(1, 12).Draw(t, "days"))*day
	all := map[string]func(context.Context){
		"age":    func(ctx context.Context) { _ = m.owner.AgeWave(ctx, wave, days) },
		"pause":  func(ctx context.Context) { _, _ = m.owner.PauseWave(ctx, o, wave) },
		"resume": func(ctx context.Context) { _, _ = m.owner.ResumeWave(ctx, o, wave) },
		"put":    func(ctx context.Context) { _, _ = m.owner.PutWave(ctx, o, wave, dated(time.Now().Add(days))) },
		"ask": func(ctx context.Context) {
			_, _ = m.owner.AskStepBack(ctx, order("kim"), wave, time.Now().Add(days), 0)
		},
		"approve": func(ctx context.Context) { _, _, _ = m.owner.ApproveStepBack(ctx, order("sam"), wave) },
		"join": func(ctx context.Context) {
			_, _ = m.owner.Join(ctx, o, wave, postgres.Pick{Workspaces: []string{workspace}})
		},
		"join many": func(ctx context.Context) { _, _ = m.owner.Join(ctx, o, wave, postgres.Pick{Percent: 100}) },
		"leave":     func(ctx context.Context) { _, _ = m.owner.Leave(ctx, o, wave, []string{workspace}) },
		"exempt":    func(ctx context.Context) { _, _ = m.owner.Exempt(ctx, o, workspace, "", exemption(), days) },
		"end":       func(ctx context.Context) { _ = m.owner.EndExemption(ctx, o, workspace, "") },
		"remove":    func(ctx context.Context) { _ = m.directory.RemoveWorkspace(ctx, by(), workspace) },
		"hold": func(ctx context.Context) {
			_ = verifier.InTx(ctx, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `SELECT hold_waves(ARRAY[$1], '{bounce}', 'a gate failed', '{}')`, wave)
				return err
			})
		},
	}
	return all[rapid.SampledFrom([]string{
		"age", "pause", "resume", "put", "ask", "approve", "join", "join many", "leave", "exempt", "end", "remove", "hold",
	}).Draw(t, "act")]
}

// product.md S4: also while many act at once, each look finds every workspace in one stage.
func TestRollout_TheStagesAddUpWhileManyAct(t *testing.T) {
	t.Parallel()
	m := rolloutMachine{rollingOut: rollOut(t), t: t}
	verifier := m.db.Verifier(t)
	m.workspaces(t, machinePlaces...)
	look := func(rt *rapid.T) postgres.Rollout {
		got, err := m.owner.Rollout(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		sum := 0
		for _, stage := range rollout.Stages() {
			sum += got.Stages[stage]
		}
		if sum != got.Workspaces || got.Broken != 0 {
			rt.Fatalf("%v of %d workspaces, %d of them broken", got.Stages, got.Workspaces, got.Broken)
		}
		return got
	}
	rapid.Check(t, func(rt *rapid.T) {
		m.begin()
		for range rapid.IntRange(1, 4).Draw(rt, "rounds") {
			var acts []func(context.Context)
			for range rapid.IntRange(2, 5).Draw(rt, "at once") {
				acts = append(acts, m.act(rt, verifier))
			}
			var running sync.WaitGroup
			for _, act := range acts {
				running.Go(func() { act(t.Context()) })
			}
			look(rt)
			running.Wait()
			got := look(rt)
			if all := m.count(t, `SELECT count(*) FROM workspaces`); got.Workspaces != all {
				rt.Fatalf("%d of %d workspaces", got.Workspaces, all)
			}
			m.each(rt, got)
		}
	})
}
