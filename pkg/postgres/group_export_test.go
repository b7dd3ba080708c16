package postgres

import (
	"context"

	"doorcode/pkg/batch"
	"doorcode/pkg/limit"
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

// CheckTogether judges checks in one statement.
func (db *DB) CheckTogether(ctx context.Context, checks ...Check) []Judged {
	all := make([]Judged, len(checks))
	for i, a := range db.checkTogether(ctx, checks) {
		all[i] = Judged{Judgement: a.Value.Judgement, Counted: a.Value.counted, Skipped: a.Value.skipped, Err: a.Err}
	}
	return all
}

// TakeTogether takes in one transaction.
func (db *DB) TakeTogether(ctx context.Context, takes ...CreateTake) []batch.Answer[limit.Answer] {
	return db.takeGroup(ctx, takes)
}
