package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/limit"
	"doorcode/pkg/postgres"
)

// sendsModel is a challenge as a resend sees it.
type sendsModel struct {
	id      string
	routes  []event.Route
	limit   int
	version int64
	ended   bool
	late    bool // its last two minutes, or after them
	early   bool // the wait has not passed
	keys    []string
	taken   []int // route of send 1, 2, ...
}

// takenModel is a row of limits: the ages of what was taken, the oldest first.
type takenModel []int

// room reports whether one more is let in.
func (l takenModel) room(hour, day int) bool {
	within := func(units int) int {
		return len(slices.DeleteFunc(slices.Clone(l), func(age int) bool { return age > units }))
	}
	return within(inAnHour) < hour && within(inADay) < day
}

// take adds one and forgets what is older than a day.
func (l takenModel) take() takenModel {
	return append(slices.DeleteFunc(slices.Clone(l), func(age int) bool { return age > inADay }), 0)
}

// resendMachine is one login with its challenges, its two recipients and the cap of text messages, beside their model.
type resendMachine struct {
	*stage
	login         string
	version       int64
	locked, gone  bool
	challenges    []*sendsModel
	mails, texts  takenModel // to the login's address and to its number
	spent         takenModel
	mailHour, cap int
}

func (m *resendMachine) some(t *rapid.T) *sendsModel {
	return rapid.SampledFrom(m.challenges).Draw(t, "challenge")
}

// create records a challenge whose text messages and e-mails are limited.
func (m *resendMachine) create(t *rapid.T) {
	c := &sendsModel{
		limit: rapid.SampledFrom([]int{1, 2, 3, 4, 5, 5, 5, 5}).Draw(t, "sends"), version: m.version,
		early: rapid.Bool().Draw(t, "early"), taken: []int{0},
	}
	c.id = m.challenge(func(e *event.Issued) {
		e.Login, e.LoginVersion, e.Policy.Sends, e.ResendAt = m.login, m.version, c.limit, e.CreatedAt
		if c.early {
			e.ResendAt = e.ExpiresAt
		}
		mail := e.Routes[0]
		mail.Address, mail.PerHour, mail.PerDay = digest(m.login+" by mail"), m.mailHour, 4
		text := mail
		text.Channel, text.Address, text.PerHour, text.PerDay, text.Cap = "sms", digest(m.login+" by text"), 3, 4, m.cap
		text.Envelope = strings.Repeat("textpart", 20)
		e.Routes = []event.Route{mail, text}
		c.routes = e.Routes
	})
	m.challenges = append(m.challenges, c)
}

// before gives a recipient messages of before.
func (m *resendMachine) before(t *rapid.T, key []byte) takenModel {
	ages := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, inAnHour), rapid.IntRange(0, 90)), 0, 6).Draw(t, "messages before")
	slices.Sort(ages)
	slices.Reverse(ages)
	m.pg.Exec(m.t, `INSERT INTO limits (dimension, key, times, entries) SELECT 'recipient', $1,
			coalesce(array_agg(clock_timestamp() - make_interval(mins => $2 * age) ORDER BY k), '{}'), coalesce(array_agg(k), '{}')
		FROM unnest($3::int[]) WITH ORDINALITY AS a(age, k)`, key, unitMinutes, ages)
	return ages
}

// Resend asks for one more message; few keys are drawn from, so that many are repeats.
func (m *resendMachine) Resend(t *rapid.T) {
	c := m.some(t)
	if rapid.Bool().Draw(t, "after its wait") {
		m.waitFor(c)
	}
	key := fmt.Sprintf("key %d", rapid.IntRange(1, 5).Draw(t, "key"))
	index := rapid.SampledFrom([]int{0, 0, 1, 1, 1, 2}).Draw(t, "route")
	route := c.routes[index%len(c.routes)]
	got, ok, err := m.db.Resend(m.t.Context(), postgres.Resend{Challenge: c.id, Key: digest(key), Index: index, Route: route})
	if err != nil {
		t.Fatal(err)
	}
	recipient := &m.mails
	if route.Channel == "sms" {
		recipient = &m.texts
	}
	want := !c.ended && !c.late && !c.early && len(c.taken) < c.limit && !slices.Contains(c.keys, key) && index < len(c.routes) &&
		c.version == m.version && !m.locked && !m.gone && recipient.room(route.PerHour, route.PerDay) &&
		(route.Cap == 0 || m.spent.room(route.Cap, route.Cap))
	if ok != want {
		t.Fatalf("%s by route %d of %+v: taken %v", key, index, c, ok)
	}
	if !ok {
		return
	}
	c.keys, c.taken, c.early = append(c.keys, key), append(c.taken, index), true
	*recipient = recipient.take()
	if route.Cap > 0 {
		m.spent = m.spent.take()
	}
	if got.Send != len(c.taken) || got.ResendAt.Sub(got.At) != challenge.ResendWait(got.Send) {
		t.Fatalf("%+v is not send %d", got, len(c.taken))
	}
	// The wait must not pass by itself, however slow the machine is.
	m.pg.Exec(m.t, `UPDATE challenges SET resend_at = resend_at + interval '1 day' WHERE id = $1`, c.id)
}

// Wait lets the wait of a challenge pass.
func (m *resendMachine) Wait(t *rapid.T) {
	m.waitFor(m.some(t))
}

func (m *resendMachine) waitFor(c *sendsModel) {
	m.pg.Exec(m.t, `UPDATE challenges SET resend_at = clock_timestamp() WHERE id = $1`, c.id)
	c.early = false
}

// Late brings a challenge to its last two minutes, or past them.
func (m *resendMachine) Late(t *rapid.T) {
	c := m.some(t)
	if !rarely(t) {
		return
	}
	m.pg.Exec(m.t, `UPDATE challenges SET expires_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1`,
		c.id, rapid.SampledFrom([]int{0, 119}).Draw(t, "left"))
	c.late = true
}

// Cancel ends a challenge.
func (m *resendMachine) Cancel(t *rapid.T) {
	c := m.some(t)
	if !rarely(t) {
		return
	}
	_, _, err := m.db.Cancel(m.t.Context(), c.id)
	if err != nil {
		t.Fatal(err)
	}
	c.ended = true
}

// Change raises the version.
func (m *resendMachine) Change(t *rapid.T) {
	if len(m.challenges) > 4 || !rarely(t) {
		return
	}
	m.pg.Exec(m.t, `UPDATE login_budgets SET version = version + 1 WHERE login = $1`, m.login)
	m.version++
	m.create(t)
}

// Lock locks the login, or ends its lock.
func (m *resendMachine) Lock(t *rapid.T) {
	if !m.locked && !rarely(t) {
		return
	}
	m.pg.Exec(m.t, `UPDATE login_budgets SET locked_at = CASE WHEN locked_at IS NULL THEN clock_timestamp() END WHERE login = $1`, m.login)
	m.locked = !m.locked
}

// Remove removes the login, or puts it again.
func (m *resendMachine) Remove(t *rapid.T) {
	if !m.gone && !rarely(t) {
		return
	}
	m.pg.Exec(m.t, `UPDATE login_budgets SET removed_at = CASE WHEN removed_at IS NULL THEN clock_timestamp() END WHERE login = $1`, m.login)
	m.gone = !m.gone
}

// Age lets time pass over the limits.
func (m *resendMachine) Age(t *rapid.T) {
	units := rapid.SampledFrom([]int{1, 3, 58}).Draw(t, "units")
	m.pg.Exec(m.t, `UPDATE limits SET times = ARRAY(SELECT f - make_interval(mins => $1::int) FROM unnest(times) WITH ORDINALITY AS kept(f, k) ORDER BY k)`,
		units*unitMinutes)
	for _, l := range []takenModel{m.mails, m.texts, m.spent} {
		for i := range l {
			l[i] += units
		}
	}
}

// same compares rows, limits and outbox with the model.
func (m *resendMachine) same(t *rapid.T) {
	for _, c := range m.challenges {
		s := m.standing(c.id)
		routes := make([]int, len(s.SendRoutes))
		for i, r := range s.SendRoutes {
			routes[i] = int(r)
		}
		if s.Sends != len(c.taken) || s.SendLimit != c.limit || len(s.SendKeys) != len(c.keys) || !slices.Equal(routes, c.taken) ||
			s.Now.Before(s.ResendAt) != c.early {
			t.Fatalf("%+v stands at %+v", c, s)
		}
		for i, key := range c.keys {
			if !slices.Equal(s.SendKeys[i], digest(key)) {
				t.Fatalf("send %d of %+v has another key", i+2, c)
			}
		}
		for _, table := range []string{
			`SELECT count(*) FROM outbox WHERE type = 'delivery.v1.requested' AND subject = $1 AND data ->> 'envelope' <> ''`,
			`SELECT count(*) FROM audit WHERE kind = 'delivery.v1.requested' AND challenge_id = $1 AND NOT detail ? 'envelope'`,
		} {
			if n := m.count(table, c.id); n != len(c.keys) {
				t.Fatalf("%d messages of %+v were ordered: %s", n, c, table)
			}
		}
	}
	for what, l := range map[string]struct {
		dimension limit.Dimension
		key       []byte
		want      takenModel
	}{
		"address": {limit.Recipient, digest(m.login + " by mail"), m.mails},
		"number":  {limit.Recipient, digest(m.login + " by text"), m.texts},
		"cap":     {limit.Spend, limit.SpendKey(), m.spent},
	} {
		times, now, err := m.db.Taken(m.t.Context(), l.dimension, l.key)
		if err != nil {
			t.Fatal(err)
		}
		ages := make(takenModel, len(times))
		for i, at := range times {
			ages[i] = int(now.Sub(at).Round(unitMinutes*time.Minute) / (unitMinutes * time.Minute))
		}
		if !slices.Equal(ages, l.want) {
			t.Fatalf("the %s has taken %v, not %v", what, ages, l.want)
		}
	}
}

// A resend is taken once for each key, in turn, in its time and within every limit, or nothing is taken at all.
func TestResend_DoesWhatItsModelDoes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var logins atomic.Int64
	rapid.Check(t, func(t *rapid.T) {
		m := &resendMachine{
			stage: s, login: fmt.Sprintf("login-%d", logins.Add(1)), version: 1,
			mailHour: rapid.IntRange(1, 4).Draw(t, "mails an hour"), cap: rapid.IntRange(1, 2).Draw(t, "cap"),
		}
		s.login(m.login)
		s.pg.Exec(s.t, `DELETE FROM limits`)
		m.mails = m.before(t, digest(m.login+" by mail"))
		m.create(t)
		m.create(t)
		t.Repeat(map[string]func(*rapid.T){
			"": m.same, "resend": m.Resend, "resend too": m.Resend, "resend as well": m.Resend, "wait": m.Wait, "late": m.Late, "cancel": m.Cancel, "change": m.Change, "lock": m.Lock, "remove": m.Remove, "age": m.Age,
		})
	})
}
