package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"doorcode/pkg/postgres"
	"doorcode/pkg/rollout"
)

// gated is a roll-out with what a verifier sees of it.
type gated struct {
	rollingOut
	verifier *postgres.DB
	limits   rollout.Limits
}

func gate(t *testing.T) gated {
	t.Helper()
	r := rollOut(t)
	limits := rollout.StartingLimits()
	limits.Least = 10
	return gated{rollingOut: r, verifier: r.db.Verifier(t), limits: limits}
}

// signIns puts challenges on record whose ids, and whose logins, begin with a name. They began ago before now and ended a minute
// later as that state, by way of the channels of first and last message.
func (g gated) signIns(t *testing.T, name string, n int, ago time.Duration, state, first, last string) {
	t.Helper()
	g.db.Exec(t, `
		INSERT INTO challenges (id, stream_number, stream_sequence, workspace, login, login_version, front_end, purpose, label, support_reference,
		       tag_key, digest_key, routes, send_routes, wrong_limit, hour_limit, day_limit, lock_limit, send_limit, state, created_at, resend_at, expires_at, ended_at)
		SELECT $1 || i, 1, 1, 'acme', $1 || i, 1, 'web', 'sign_in', 'BCD', '4F72KQ9R', 1, 1,
		       jsonb_build_array(jsonb_build_object('channel', $5::text), jsonb_build_object('channel', $6::text)), '{0,1}', 5, 10, 20, 50, 5,
		       $4, at, at, at + interval '10 minutes', at + interval '1 minute'
		  FROM (SELECT clock_timestamp() - $3::interval AS at) AS began, generate_series(1, $2::int) AS i`, name, n, ago, state, first, last)
}

// reports puts receipts on record about the first sends of challenges, which came so long after these began.
func (g gated) reports(t *testing.T, name, status, reason string, took time.Duration) {
	t.Helper()
	g.db.Exec(t, `
		INSERT INTO audit (id, at, kind, challenge_id, actor, detail)
		SELECT 'receipt.' || id || $2, created_at + $4::interval, 'receipt.v1.recorded', id, 'receipts',
		       jsonb_build_object('channel', 'email', 'status', $2::text, 'reason', $3::text, 'send', 1)
		  FROM challenges WHERE id LIKE $1 || '%'`, name, status, reason, took)
}

// judge judges the gates, whenever that was done last.
func (g gated) judge(t *testing.T) postgres.GateRound {
	t.Helper()
	g.db.Exec(t, `UPDATE rollout_gates SET judged_at = judged_at - interval '1 hour'`)
	r, err := g.verifier.JudgeGates(t.Context(), g.limits)
	if err != nil || len(r.Verdicts) != len(rollout.Gates()) {
		t.Fatalf("%+v, %v", r, err)
	}
	return r
}

// says fails unless a verdict of that light begins so.
func says(t *testing.T, r postgres.GateRound, gate rollout.Gate, light rollout.Light, sentence string) {
	t.Helper()
	v := r.Verdicts[slices.Index(rollout.Gates(), gate)]
	if v.Gate != gate || v.Light != light || !strings.HasPrefix(v.Sentence, sentence) {
		t.Errorf("%+v, not %s: %s", v, light, sentence)
	}
}

func TestJudgeGates_MeasuresWhatIsOnRecord(t *testing.T) {
	t.Parallel()
	g := gate(t)
	r := g.judge(t)
	for _, v := range r.Verdicts {
		if v.Light != rollout.TooFew {
			t.Errorf("of nothing %+v", v)
		}
	}
	g.signIns(t, "good", 40, time.Hour, "approved", "email", "email")
	g.signIns(t, "lost", 5, time.Hour, "expired", "email", "email")
	g.signIns(t, "guessed", 5, time.Hour, "exhausted", "email", "email")
	// None of these counts: ended by a person, without a code, too old, too young, for another purpose.
	g.signIns(t, "away", 7, time.Hour, "canceled", "email", "email")
	g.signIns(t, "free", 7, time.Hour, "waived", "email", "email")
	g.signIns(t, "old", 7, 25*time.Hour, "expired", "email", "email")
	g.signIns(t, "young", 7, 2*time.Minute, "expired", "email", "email")
	g.signIns(t, "phone", 7, time.Hour, "expired", "email", "email")
	g.db.Exec(t, `UPDATE challenges SET purpose = 'factor' WHERE id LIKE 'phone%'`)
	r = g.judge(t)
	says(t, r, rollout.VerifiedShare, rollout.Failed, "verified share 80 % of 50 sign-ins in 24 h, at least 97 %")
	says(t, r, rollout.StuckLogins, rollout.Failed, "stuck logins 20 % of 50 ")
	says(t, r, rollout.TimeToCode, rollout.TooFew, "too little to judge: 0 mails")
	// A sign-in that could be skipped is none that needed a code; its code counts for its login.
	g.signIns(t, "skippable", 9, time.Hour, "expired", "email", "email")
	g.db.Exec(t, `UPDATE challenges SET skip = '{}' WHERE id LIKE 'skippable%'`)
	// A second code that was typed in time verifies the sign-in; one an hour later un-sticks the login alone.
	g.signIns(t, "again", 5, 50*time.Minute, "approved", "email", "email")
	g.db.Exec(t, `UPDATE challenges SET login = replace(login, 'again', 'lost') WHERE id LIKE 'again%'`)
	g.signIns(t, "later", 5, 16*time.Minute, "approved", "email", "email")
	g.db.Exec(t, `UPDATE challenges SET login = replace(login, 'later', 'guessed'), skip = '{}' WHERE id LIKE 'later%'`)
	r = g.judge(t)
	says(t, r, rollout.VerifiedShare, rollout.Failed, "verified share 90.91 % of 55 sign-ins")
	says(t, r, rollout.StuckLogins, rollout.Open, "stuck logins 0 % of 50 ")
	// A row that nobody has swept yet is an expired one.
	g.db.Exec(t, `UPDATE challenges SET state = 'pending', ended_at = NULL, digest = 'x' WHERE id = 'good1'`)
	says(t, g.judge(t), rollout.VerifiedShare, rollout.Failed, "verified share 89.09 % of 55 sign-ins")
}

func TestJudgeGates_MeasuresMailsByTheirReports(t *testing.T) {
	t.Parallel()
	g := gate(t)
	g.signIns(t, "fast", 15, time.Hour, "approved", "email", "email")
	g.reports(t, "fast", "accepted", "other", time.Second)
	g.reports(t, "fast", "delivered", "other", 4*time.Second)
	g.signIns(t, "slow", 4, time.Hour, "approved", "email", "email")
	g.reports(t, "slow", "delivered", "other", 90*time.Second)
	g.signIns(t, "waits", 1, 6*time.Minute, "approved", "email", "email")
	g.reports(t, "waits", "deferred", "unreachable", time.Second)
	g.signIns(t, "silent", 30, time.Hour, "approved", "email", "email")
	g.signIns(t, "text", 30, time.Hour, "approved", "sms", "sms")
	g.signIns(t, "texted", 2, time.Hour, "approved", "sms", "email")
	r := g.judge(t)
	says(t, r, rollout.TimeToCode, rollout.Open, "time to code median 4.0 s and 95th percentile 90.0 s of 20 mails")
	says(t, r, rollout.Bounces, rollout.Open, "bounces 0 % of 20 mails")
	says(t, r, rollout.Fallback, rollout.Failed, "6.25 % of 32 sign-ins by text message ended on e-mail")
	g.signIns(t, "gone", 2, time.Hour, "expired", "email", "email")
	g.reports(t, "gone", "failed", "invalid_recipient", 3*time.Second)
	g.signIns(t, "blocked", 2, time.Hour, "expired", "email", "email")
	g.reports(t, "blocked", "failed", "rejected", 3*time.Second)
	// One that came late names an address alone; it counts, and one of before does not.
	g.db.Exec(t, `INSERT INTO audit (id, at, kind, actor, detail)
		SELECT 'receipt.late' || i, clock_timestamp() - i * interval '26 hours' + interval '25 hours 30 minutes', 'receipt.v1.recorded', 'receipts',
		       '{"channel": "email", "status": "failed", "reason": "invalid_recipient", "address_hash": "x"}' FROM generate_series(1, 2) i`)
	g.signIns(t, "stuck", 3, 10*time.Minute, "approved", "email", "email")
	g.reports(t, "stuck", "deferred", "unreachable", time.Second)
	r = g.judge(t)
	says(t, r, rollout.Bounces, rollout.Failed, "bounces 11.11 % of 27 mails")
	says(t, r, rollout.TimeToCode, rollout.Failed, "time to code median 4.0 s and 95th percentile 600.")
}

// R4.12: a failed gate pauses who would move on, by itself, on record once, and a person alone has it go on.
func TestJudgeGates_HoldsWhoWouldMoveOnUntilAPersonSaysOtherwise(t *testing.T) {
	t.Parallel()
	g := gate(t)
	g.workspaces(t, "acme", "globex", "hooli")
	for i, wave := range []string{"next", "later", "done"} {
		g.put(t, wave)
		g.join(t, wave, []string{"acme", "globex", "hooli"}[i])
	}
	g.age(t, "next", 13*day+12*time.Hour) // in announcement, grace comes in half a day
	g.age(t, "done", 30*day)
	g.signIns(t, "lost", 20, time.Hour, "expired", "email", "email")
	good := together(t, 6, nil, func(int) error { return second(g.verifier.JudgeGates(t.Context(), g.limits)) })
	if good != 6 {
		t.Fatalf("%d replicas judged or read", good)
	}
	g.count1(t, 1, `SELECT count(*) FROM rollout_holds WHERE wave = 'next' AND cleared_at IS NULL AND gates = '{verified_share,stuck_logins}'`)
	g.count1(t, 1, `SELECT count(*) FROM rollout_holds`)
	r := g.judge(t)
	if len(r.Held) != 0 || r.Holding != 1 {
		t.Errorf("again %+v", r)
	}
	g.count1(t, 1, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.gate_failed' AND actor = 'gates' AND detail->'waves' = '["next"]' AND detail->'figures'->>'sign_ins' = '20'`)
	g.count1(t, 1, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.wave_paused' AND actor = 'gates' AND detail->>'reason' LIKE 'verified share 0 %%; stuck logins 100 %%'`)
	f, err := g.facts(t, "acme", "anna")
	if err != nil || f.Home.Place.Wave.HeldAt.IsZero() || f.Home.Place.StageAt(f.Now.Add(100*day)) != rollout.Announced {
		t.Fatalf("auth reads %+v, %v", f.Home.Place.Wave, err)
	}
	if d := rollout.Decide(f); d.Kind != rollout.NotRequired || !d.EnforceAt.IsZero() {
		t.Errorf("and decides %+v", d)
	}
	_, err = g.owner.PutWave(t.Context(), robin(), "next", func(w rollout.Wave) (rollout.Wave, error) { w.EnforceAt = w.EnforceAt.Add(day); return w, nil })
	if !errors.Is(err, rollout.ErrPaused) {
		t.Errorf("moved while it is held: %v", err)
	}
	// The gate opens again: nothing goes on by itself.
	g.db.Exec(t, `UPDATE challenges SET state = 'approved'`)
	r = g.judge(t)
	says(t, r, rollout.VerifiedShare, rollout.Open, "verified share 100 %")
	if r.Holding != 1 {
		t.Errorf("the gate is open, and %d waves are held", r.Holding)
	}
	_, err = g.owner.ResumeWave(t.Context(), postgres.RolloutOrder{Operator: "robin"}, "next")
	if !errors.Is(err, postgres.ErrOverrule) {
		t.Errorf("overruled without a word: %v", err)
	}
	c, err := g.owner.ResumeWave(t.Context(), robin(), "next")
	if err != nil || !c.Wave.StoppedAt().IsZero() || c.Before.HeldAt.IsZero() || !c.Wave.GraceAt.After(c.Before.GraceAt) {
		t.Fatalf("%+v, %v", c, err)
	}
	// It fails again: who was overruled is quiet for a day, and another gate is not.
	g.db.Exec(t, `UPDATE challenges SET state = 'expired'`)
	if r = g.judge(t); len(r.Held) != 0 {
		t.Errorf("held again at once: %+v", r)
	}
	g.signIns(t, "texted", 30, time.Hour, "approved", "sms", "email")
	if r = g.judge(t); !slices.Equal(r.Held, []string{"next"}) {
		t.Errorf("another gate holds %v", r.Held)
	}
	shown, err := g.owner.Rollout(t.Context())
	if err != nil || len(shown.Gates) != len(rollout.Gates()) || shown.GatesAt.IsZero() {
		t.Fatalf("%+v, %v", shown, err)
	}
	for _, w := range shown.Waves {
		if w.Broken || w.Wave.HeldAt.IsZero() == (w.Wave.ID == "next") {
			t.Errorf("shown %+v", w)
		}
	}
	g.db.Exec(t, `UPDATE rollout_holds SET cleared_at = cleared_at - interval '2 days' WHERE cleared_at IS NOT NULL`)
	_, err = g.owner.ResumeWave(t.Context(), robin(), "next")
	if err != nil {
		t.Fatal(err)
	}
	g.db.Exec(t, `UPDATE rollout_holds SET cleared_at = clock_timestamp() - interval '25 hours'`)
	if r = g.judge(t); !slices.Equal(r.Held, []string{"next"}) {
		t.Errorf("a day later %v are held", r.Held)
	}
}

// count1 fails unless a count is so.
func (g gated) count1(t *testing.T, want int, sql string) {
	t.Helper()
	if got := g.count(t, sql); got != want {
		t.Errorf("%s: %d, not %d", sql, got, want)
	}
}

// Whoever is the verifier can have a wave stand still from now on and on record, and nothing else: no enforced wave goes back,
// none is held in the past, and no hold ends.
// It shows SEC-61 of deploy/SECURITY.md.
func TestHolds_AVerifierCanDelayAndNothingElse(t *testing.T) {
	t.Parallel()
	g := gate(t)
	g.workspaces(t, "acme", "globex")
	g.put(t, "done")
	g.put(t, "next")
	g.join(t, "done", "acme")
	g.join(t, "next", "globex")
	g.age(t, "done", 30*day)
	err := g.verifier.InTx(t.Context(), execute(t, `SELECT hold_waves('{done,next,none}', '{bounce}', 'for mischief', '{}')`))
	if err != nil {
		t.Fatal(err)
	}
	f, err := g.facts(t, "acme", "anna")
	if err != nil || f.Home.Place.StageAt(f.Now) != rollout.Enforced {
		t.Errorf("an enforced wave went back to %s, %v", f.Home.Place.StageAt(f.Now), err)
	}
	g.count1(t, 2, `SELECT count(*) FROM audit WHERE kind = 'rollout.v1.wave_paused' AND actor = 'gates' AND detail->>'reason' = 'for mischief'`)
	for _, statement := range []string{
		`INSERT INTO rollout_holds (wave, held_at, gates, reason) VALUES ('done', now() - interval '20 days', '{bounce}', 'r')`,
		`UPDATE rollout_holds SET held_at = now() - interval '20 days'`, `UPDATE rollout_holds SET cleared_at = now()`, `DELETE FROM rollout_holds`,
		`SELECT reason FROM rollout_waves`, `SELECT mac FROM rollout_waves`, `UPDATE rollout_waves SET paused_at = now()`,
	} {
		err := g.verifier.InTx(t.Context(), execute(t, statement))
		if err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: %v", statement, err)
		}
		err = g.auth.InTx(t.Context(), execute(t, statement))
		if !strings.HasPrefix(statement, "SELECT") && (err == nil || !strings.Contains(err.Error(), "42501")) {
			t.Errorf("auth: %s: %v", statement, err)
		}
	}
	err = g.auth.InTx(t.Context(), execute(t, `SELECT hold_waves('{next}', '{bounce}', 'r', '{}')`))
	if err == nil || !strings.Contains(err.Error(), "42501") {
		t.Errorf("auth holds a wave: %v", err)
	}
	for _, wrong := range []string{`'{next}', '{}', 'r', '{}'`, `'{next}', '{bounce}', '', '{}'`, `'{next}', '{bounce}', NULL, '{}'`} {
		err = g.verifier.InTx(t.Context(), execute(t, fmt.Sprintf(`SELECT hold_waves(%s)`, wrong)))
		if err == nil || !strings.Contains(err.Error(), "22023") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
