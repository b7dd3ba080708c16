package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/postgres"
)

// checkMachine is one login in the database beside its model.
type checkMachine struct {
	*stage
	login      string
	budget     *budgetModel
	challenges []*challengeModel
}

// some draws a challenge.
func (m *checkMachine) some(t *rapid.T) *challengeModel {
	return rapid.SampledFrom(m.challenges).Draw(t, "challenge")
}

// rarely draws whether an act that spoils all that follow is done at all.
func rarely(t *rapid.T) bool { return rapid.IntRange(1, 4).Draw(t, "rarely") == 1 }

// policy draws the figures of a challenge: low ones, so that they are reached.
func policy() *rapid.Generator[challenge.Policy] {
	return rapid.Custom(func(t *rapid.T) challenge.Policy {
		return challenge.Policy{
			WrongPerChallenge: rapid.IntRange(1, challenge.MaxWrongPerChallenge).Draw(t, "per challenge"),
			WrongPerHour:      rapid.IntRange(3, challenge.MaxWrongPerHour).Draw(t, "per hour"),
			WrongPerDay:       rapid.IntRange(4, challenge.MaxWrongPerDay).Draw(t, "per day"),
			LockAfter:         rapid.SampledFrom([]int{5, 7, 50, 100}).Draw(t, "lock after"),
			Sends:             challenge.MaxSends,
		}
	})
}

// Create records a challenge, as the recorder does or for somebody who asks; perhaps of a version that is over.
func (m *checkMachine) Create(t *rapid.T) {
	if len(m.challenges) == 5 {
		return
	}
	c := &challengeModel{
		policy: policy().Draw(t, "policy"), version: m.budget.version, state: challenge.Pending,
		expired: rapid.IntRange(0, 9).Draw(t, "expired") == 0,
	}
	if c.version > 1 && rapid.IntRange(0, 4).Draw(t, "older") == 0 {
		c.version--
	}
	issued := m.issue(func(e *event.Issued) {
		e.Login, e.LoginVersion, e.Policy = m.login, c.version, c.policy
		if c.expired {
			e.CreatedAt, e.ExpiresAt = e.CreatedAt.Add(-20*time.Minute), e.CreatedAt.Add(-10*time.Minute)
		}
	})
	c.id = issued.Event.Challenge
	m.challenges = append(m.challenges, c)
	if rapid.Bool().Draw(t, "on demand") {
		gone, err := m.db.Materialise(m.t.Context(), issued)
		if err != nil || gone != c.expired {
			t.Fatalf("materialised: expired %v, not %v: %v", gone, c.expired, err)
		}
		c.recorded = !gone
	}
	if !c.recorded && (!c.expired || rapid.Bool().Draw(t, "recorded")) {
		err := m.db.Record(m.t.Context(), postgres.Batch{Challenges: []postgres.Issued{issued}})
		if err != nil {
			t.Fatal(err)
		}
		c.recorded = true
	}
	if c.recorded {
		m.pg.Exec(m.t, `UPDATE login_budgets SET live_ids = live_ids || $2::text, live_until = live_until || clock_timestamp() + interval '1 day',
			live_entries = live_entries || 1::bigint WHERE login = $1`, m.login, c.id)
	}
}

// Check judges a code. An id names a check together with its code, and perhaps under the key of before as well.
func (m *checkMachine) Check(t *rapid.T) {
	c := m.some(t)
	right := rapid.IntRange(0, 5).Draw(t, "right") == 0
	name := fmt.Sprintf("%d %t", rapid.IntRange(1, 5).Draw(t, "check id"), right)
	names := []string{name}
	if rapid.IntRange(0, 2).Draw(t, "rotated") == 0 {
		names = []string{"rotated " + name, name}
	}
	word := "wrong"
	if right {
		word = "right"
	}
	macs := make([][]byte, len(names))
	for i, n := range names {
		macs[i] = digest(n)
	}
	got, counted := m.check(c.id, macs, word)
	want, wanted := m.budget.check(c, names, right)
	told := judgementModel{got.State, got.Approved, got.ChecksLeft, got.Locked}
	if counted != wanted || told != want {
		t.Fatalf("%s %v of %s: %+v counted %v, not %+v counted %v", word, names, c.row(), told, counted, want, wanted)
	}
}

// Wrongs types many different wrong codes, so that limits are reached.
func (m *checkMachine) Wrongs(t *rapid.T) {
	c := m.some(t)
	for i := range rapid.IntRange(2, 6).Draw(t, "wrong codes") {
		name := fmt.Sprintf("%d of %d", i, len(c.names))
		_, counted := m.check(c.id, [][]byte{digest(name)}, "wrong")
		_, wanted := m.budget.check(c, []string{name}, false)
		if counted != wanted {
			t.Fatalf("wrong code of %s: counted %v", c.row(), counted)
		}
	}
}

// Note puts a refusal on record, perhaps again.
func (m *checkMachine) Note(t *rapid.T) {
	c := m.some(t)
	r := rapid.SampledFrom(challenge.Refusals()).Draw(t, "refusal")
	err := m.db.NoteRefusal(m.t.Context(), c.id, r)
	if err != nil {
		t.Fatal(err)
	}
	if c.recorded && !slices.Contains(c.refused, string(r)) {
		c.refused = append(c.refused, string(r))
	}
}

// Cancel ends a challenge on request.
func (m *checkMachine) Cancel(t *rapid.T) {
	c := m.some(t)
	if c.state == challenge.Pending && !rarely(t) {
		return
	}
	got, now, err := m.db.Cancel(m.t.Context(), c.id)
	state, wanted := c.cancel()
	if err != nil || now != wanted || got.State != state {
		t.Fatalf("canceled %+v %v, not %s: %v", got, now, state, err)
	}
}

// Expire lets the time of a challenge run out.
func (m *checkMachine) Expire(t *rapid.T) {
	c := m.some(t)
	if !rarely(t) {
		return
	}
	m.pg.Exec(m.t, `UPDATE challenges SET expires_at = clock_timestamp() WHERE id = $1`, c.id)
	c.expired = true
}

// Sweep ends what is over.
func (m *checkMachine) Sweep(t *rapid.T) {
	_, err := m.db.EndExpired(m.t.Context(), 1000)
	if err == nil {
		_, err = m.db.EndOutdated(m.t.Context(), 1000)
	}
	if err == nil {
		err = m.db.MarkSwept(m.t.Context(), 1000)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range m.challenges {
		m.budget.sweep(c)
	}
}

// Change raises the version, as every change of the directory does.
func (m *checkMachine) Change(*rapid.T) {
	m.pg.Exec(m.t, `UPDATE login_budgets SET version = version + 1 WHERE login = $1`, m.login)
	m.budget.version++
}

// Remove removes the login, or puts it again: its budget stays what it was.
func (m *checkMachine) Remove(t *rapid.T) {
	if !m.budget.removed && !rarely(t) {
		return
	}
	m.pg.Exec(m.t, `UPDATE login_budgets SET removed_at = CASE WHEN removed_at IS NULL THEN clock_timestamp() END WHERE login = $1`, m.login)
	m.budget.removed = !m.budget.removed
}

// Unlock ends a lock.
func (m *checkMachine) Unlock(t *rapid.T) {
	got, err := m.db.Unlock(m.t.Context(), "acme", m.login, "web")
	want, known := m.budget.unlock()
	if got != want || errors.Is(err, postgres.ErrNoLogin) == known || known && err != nil {
		t.Fatalf("unlocked %v, not %v: %v", got, want, err)
	}
}

// Age lets time pass over the budget.
func (m *checkMachine) Age(t *rapid.T) {
	units := rapid.SampledFrom([]int{1, 2, 3, 30, 58}).Draw(t, "units")
	m.pg.Exec(m.t, `UPDATE login_budgets SET failures = ARRAY(SELECT f - make_interval(mins => $2::int)
		FROM unnest(failures) WITH ORDINALITY AS kept(f, k) ORDER BY k) WHERE login = $1`, m.login, units*unitMinutes)
	for i := range m.budget.failures {
		m.budget.failures[i] += units
	}
}

// Past gives the login wrong codes of before: within a day one less than a challenge allows, or as many, and older ones up
// to nearly as many as a budget keeps.
func (m *checkMachine) Past(t *rapid.T) {
	within := m.some(t).policy.WrongPerDay - rapid.IntRange(0, 1).Draw(t, "room")
	ages := rapid.SliceOfN(rapid.IntRange(inAnHour+1, inADay), within, within).Draw(t, "ages")
	for len(ages) < rapid.IntRange(15, challenge.MaxWrongPerDay).Draw(t, "in all") {
		ages = append(ages, inADay+rapid.IntRange(1, 30).Draw(t, "older"))
	}
	slices.Sort(ages)
	slices.Reverse(ages)
	m.budget.failures = ages
	m.pg.Exec(m.t, `UPDATE login_budgets SET failures = ARRAY(SELECT clock_timestamp() - make_interval(mins => $2 * age)
		FROM unnest($3::int[]) WITH ORDINALITY AS a(age, k) ORDER BY k) WHERE login = $1`, m.login, unitMinutes, ages)
}

// Run gives the login a run of wrong codes that is about to lock it.
func (m *checkMachine) Run(t *rapid.T) {
	m.budget.inARow = rapid.SampledFrom([]int{4, 6, 49, 99}).Draw(t, "in a row")
	m.pg.Exec(m.t, `UPDATE login_budgets SET in_a_row = $2 WHERE login = $1`, m.login, m.budget.inARow)
}

// Fault leaves a row as no statement does, pending with all of its wrong codes, and types one more: it must not be
// compared either.
func (m *checkMachine) Fault(t *rapid.T) {
	c := m.some(t)
	if c.state != challenge.Pending || !c.recorded {
		return
	}
	m.pg.Exec(m.t, `UPDATE challenges SET wrong = wrong_limit WHERE id = $1`, c.id)
	c.wrong = c.policy.WrongPerChallenge
	_, counted := m.check(c.id, mac(len(c.names)), "right")
	if counted {
		t.Fatalf("a check of %s was counted", c.row())
	}
}

// same compares the rows and what Standing tells with the model.
func (m *checkMachine) same(t *rapid.T) {
	var wanted []string
	for _, c := range m.challenges {
		s, err := m.db.Standing(m.t.Context(), c.id)
		if !c.recorded {
			if !errors.Is(err, postgres.ErrNoChallenge) {
				t.Fatalf("an unrecorded challenge stands at %+v: %v", s, err)
			}
			continue
		}
		wanted = append(wanted, c.row())
		if err != nil || s.State != c.state || s.LoginOpen != m.budget.open(c) || s.WrongLimit != c.policy.WrongPerChallenge ||
			s.Now.Before(s.ExpiresAt) == c.expired || !slices.Equal(s.Answers, c.answers) || len(s.MACs) != len(c.names) ||
			!slices.Equal(s.Refused, c.refused) || len(s.Failures) != len(m.budget.failures) || s.EndedAt.IsZero() != (c.state == challenge.Pending) {
			t.Fatalf("%s stands at %+v: %v", c.row(), s, err)
		}
		for i, name := range c.names {
			if !slices.Equal(s.MACs[i], digest(name)) {
				t.Fatalf("check %d of %s is not kept as %s", i, c.row(), name)
			}
		}
	}
	var rows, budget string
	m.pg.Scan(m.t, `SELECT coalesce(string_agg(format('%s, wrong %s, answers %s, names %s, refused %s, ended %s, digest %s, envelope %s',
			state, wrong, array_to_string(check_answers, '+'), cardinality(check_macs), array_to_string(refused, '+'),
			(ended_at IS NOT NULL)::text, (digest IS NOT NULL)::text, (routes -> 0 ->> 'envelope' <> '')::text), E'\n' ORDER BY stream_sequence), '')
		FROM challenges WHERE login = $1`, []any{m.login}, &rows)
	m.pg.Scan(m.t, `SELECT format('version %s, failures %s, in a row %s, locked %s, removed %s, live %s', version,
			(SELECT string_agg(round(extract(epoch FROM clock_timestamp() - f) / 60 / $2)::text, '+' ORDER BY k) FROM unnest(failures) WITH ORDINALITY AS kept(f, k)),
			in_a_row, (locked_at IS NOT NULL)::text, (removed_at IS NOT NULL)::text, cardinality(live_ids))
		FROM login_budgets WHERE login = $1`, []any{m.login, unitMinutes}, &budget)
	if want := strings.Join(wanted, "\n"); rows != want {
		t.Fatalf("challenges are\n%s\nnot\n%s", rows, want)
	}
	if want := m.budget.row(m.challenges); budget != want {
		t.Fatalf("the budget is\n%s\nnot\n%s", budget, want)
	}
}

// onRecord compares audit and outbox with the model: everything once, and nothing else.
func (m *checkMachine) onRecord(t *rapid.T) {
	for kind, want := range told(m.budget, m.challenges) {
		audit := m.count(`SELECT count(*) FROM audit WHERE login = $1 AND kind = $2`, m.login, kind)
		outbox := m.count(`SELECT count(*) FROM outbox WHERE data ->> 'login' = $1 AND type = $2`, m.login, kind)
		if kind == "check.v1.refused" {
			outbox += want // It does not leave.
		}
		if audit != want || outbox != want {
			t.Fatalf("%s: %d in the audit and %d in the outbox, not %d", kind, audit, outbox, want)
		}
	}
}

// P2, P3: the check's statement, and every statement that meets it, does to a login what the model does.
func TestP3_TheCheckDoesWhatItsModelDoes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var logins atomic.Int64
	rapid.Check(t, func(t *rapid.T) {
		m := &checkMachine{stage: s, login: fmt.Sprintf("login-%d", logins.Add(1)), budget: &budgetModel{version: 1}}
		s.login(m.login)
		m.Create(t)
		t.Repeat(map[string]func(*rapid.T){
			"": m.same, "create": m.Create, "check": m.Check, "check too": m.Check, "check as well": m.Check, "wrong codes": m.Wrongs,
			"note": m.Note, "cancel": m.Cancel, "expire": m.Expire, "sweep": m.Sweep, "change": m.Change, "remove": m.Remove,
			"unlock": m.Unlock, "age": m.Age, "past": m.Past, "run": m.Run, "fault": m.Fault,
		})
		m.onRecord(t)
	})
}
