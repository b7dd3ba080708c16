package postgres

import (
	"context"
	"errors"

	"doorcode/pkg/batch"
)

// Alone returns the database with a statement for every call, as many at once as there are calls.
func (db *DB) Alone() *DB {
	s := sharing{most: 1, flights: 1000}
	alone := over(db.pool, s)
	alone.checks = group(s, nil, alone.checkGroup)
	return alone
}

// Together returns the database with the statement for several checks also for one, and with whatever waits in one
// statement, be it of one challenge and one login.
func (db *DB) Together() *DB {
	together := over(db.pool, shared())
	together.checks = group(shared(), nil, together.checkTogether)
	return together
}

// Judged is what came of one check of a statement.
type Judged struct {
	Judgement
	Counted, Skipped bool
	Err              error
}

// ErrApart is what every caller of a group is told that failed because of one of them.
func ErrApart() error { return errApart }

// CheckFlight judges checks in one statement and does no more, whatever came of it.
func (db *DB) CheckFlight(ctx context.Context, checks ...Check) []error {
	var errs []error
	for _, a := range db.checkTogether(ctx, checks) {
		errs = append(errs, a.Err)
	}
	return errs
}

// CheckTogether judges checks in one statement, and each by itself when that failed because of one.
func (db *DB) CheckTogether(ctx context.Context, checks ...Check) []Judged {
	all := make([]Judged, len(checks))
	answers := db.checkTogether(ctx, checks)
	for i := range answers {
		if errors.Is(answers[i].Err, errApart) {
			answers[i].Value, answers[i].Err = db.checkOne(ctx, checks[i])
		}
	}
	for i, a := range answers {
		all[i] = Judged{Judgement: a.Value.Judgement, Counted: a.Value.counted, Skipped: a.Value.skipped, Err: a.Err}
	}
	return all
}

// TakeTogether takes in one transaction.
func (db *DB) TakeTogether(ctx context.Context, takes ...CreateTake) []batch.Answer[Taken] {
	answers := db.takeGroup(ctx, takes)
	for i := range answers {
		if errors.Is(answers[i].Err, errApart) {
			answers[i].Value, answers[i].Err = db.takeOne(ctx, takes[i])
		}
	}
	return answers
}
