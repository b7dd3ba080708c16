package postgres_test

import (
	"fmt"
	"slices"
	"strings"

	"doorcode/pkg/challenge"
)

// The model of a login with its challenges: what DESIGN 3 (Check, Ending), 5 and 7 say, one act after the other, without
// SQL. Ages are counted in units, so far apart that the time a test takes decides nothing.

const (
	unitMinutes = 25
	inAnHour    = 2  // units that are within an hour: 50 minutes are, 75 are not
	inADay      = 57 // 23 hours and 45 minutes are within a day, 24 hours and 10 minutes are not
)

// budgetModel is what a login has left.
type budgetModel struct {
	version         int64
	failures        []int // ages, the oldest first
	inARow          int
	locked, removed bool
	locks, unlocks  int // so far
}

// challengeModel is one challenge.
type challengeModel struct {
	id       string
	policy   challenge.Policy
	version  int64
	recorded bool
	expired  bool // its time is over
	state    challenge.State
	wrong    int
	compared int // wrong codes, which is less when a fault has raised wrong
	names    []string
	answers  []string
	refused  []string
}

// judgementModel is what a counted check must say.
type judgementModel struct {
	state    challenge.State
	approved bool
	left     int
	locked   bool
}

// open reports whether the login takes checks of a challenge at all.
func (b *budgetModel) open(c *challengeModel) bool {
	return b.version == c.version && !b.locked && !b.removed
}

// room reports whether the budget lets one more check in.
func (b *budgetModel) room(p challenge.Policy) bool {
	within := func(limit int) int {
		return len(slices.DeleteFunc(slices.Clone(b.failures), func(age int) bool { return age > limit }))
	}
	return within(inAnHour) < p.WrongPerHour && within(inADay) < p.WrongPerDay
}

// check judges one check under its names, the first of which is kept. false means that it is not counted.
func (b *budgetModel) check(c *challengeModel, names []string, right bool) (judgementModel, bool) {
	known := slices.ContainsFunc(names, func(n string) bool { return slices.Contains(c.names, n) })
	if !c.recorded || c.state != challenge.Pending || c.expired || c.wrong >= c.policy.WrongPerChallenge || known ||
		!b.open(c) || !b.room(c.policy) {
		return judgementModel{}, false
	}
	c.names = append(c.names, names[0])
	if right {
		c.state = challenge.Approved
		c.answers = append(c.answers, "approved")
		b.inARow = 0
		return judgementModel{state: c.state, approved: true, left: c.policy.WrongPerChallenge - c.wrong}, true
	}
	c.wrong++
	c.compared++
	left := c.policy.WrongPerChallenge - c.wrong
	if left == 0 {
		c.state = challenge.Exhausted
	}
	c.answers = append(c.answers, fmt.Sprintf("wrong:%d", left))
	b.failures = append(b.failures, 0)
	b.failures = b.failures[max(0, len(b.failures)-challenge.MaxWrongPerDay):]
	b.inARow++
	b.locked = b.inARow >= c.policy.LockAfter
	if b.locked {
		b.locks++
	}
	return judgementModel{state: c.state, left: left, locked: b.locked}, true
}

// cancel ends a challenge on request.
func (c *challengeModel) cancel() (challenge.State, bool) {
	if !c.recorded || c.state != challenge.Pending {
		return "", false
	}
	c.state = challenge.Canceled
	if c.expired {
		c.state = challenge.Expired
	}
	return c.state, true
}

// sweep ends what is over by time or by a change of the directory.
func (b *budgetModel) sweep(c *challengeModel) {
	switch {
	case !c.recorded || c.state != challenge.Pending:
	case c.expired:
		c.state = challenge.Expired
	case c.version != b.version:
		c.state = challenge.Canceled
	}
}

// unlock ends a lock. known is false for a removed login.
func (b *budgetModel) unlock() (unlocked, known bool) {
	if b.removed {
		return false, false
	}
	unlocked = b.locked
	if unlocked {
		b.locked, b.inARow = false, 0
		b.unlocks++
	}
	return unlocked, true
}

// row is how a challenge's row must look.
func (c *challengeModel) row() string {
	ended := c.state != challenge.Pending
	return fmt.Sprintf("%s, wrong %d, answers %s, names %d, refused %s, ended %t, digest %t, envelope %t",
		c.state, c.wrong, strings.Join(c.answers, "+"), len(c.names), strings.Join(c.refused, "+"), ended, !ended, !ended)
}

// row is how a budget's row must look beside those challenges.
func (b *budgetModel) row(challenges []*challengeModel) string {
	live := 0
	for _, c := range challenges {
		if c.recorded && c.state == challenge.Pending {
			live++
		}
	}
	ages := make([]string, len(b.failures))
	for i, age := range b.failures {
		ages[i] = fmt.Sprint(age)
	}
	return fmt.Sprintf("version %d, failures %s, in a row %d, locked %t, removed %t, live %d",
		b.version, strings.Join(ages, "+"), b.inARow, b.locked, b.removed, live)
}

// told counts the audit rows that there must be, by kind.
func told(b *budgetModel, challenges []*challengeModel) map[string]int {
	all := map[string]int{"directory.v1.login_locked": b.locks, "directory.v1.login_unlocked": b.unlocks}
	for _, c := range challenges {
		all["check.v1.rejected"] += c.compared
		all["check.v1.refused"] += len(c.refused)
		if c.state != challenge.Pending && c.recorded {
			all["challenge.v1."+string(c.state)]++
		}
	}
	return all
}
