package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Operator is the actor of what an operator does by command.
const Operator = "doorcodectl"

// Verdict is what an operator did with a dead letter, which the audit keeps for good.
type Verdict struct {
	// Kind is VerdictReplayed or VerdictDiscarded.
	Kind string
	// Letter names the dead letter: sequence and id in its stream. A letter has one verdict at most.
	Letter string
	// Reason is the operator's, empty for a replay.
	Reason string
}

// The kinds of verdicts, as the audit has them.
const (
	VerdictReplayed  = "dead_letter.v1.replayed"
	VerdictDiscarded = "dead_letter.v1.discarded"
)

// ErrJudged says that a dead letter has its verdict.
var ErrJudged = errors.New("the dead letter was replayed or discarded before")

const letterPrefix = "dead-letter."

// actTimeout is less than what a transaction may be idle.
const actTimeout = 4 * time.Second

// recordVerdictSQL: $1 id, $2 kind, $3 actor, $4 reason. One with that id stays as it is.
const recordVerdictSQL = `
INSERT INTO audit (id, at, kind, actor, detail)
SELECT $1, clock_timestamp(), $2, $3, jsonb_strip_nulls(jsonb_build_object('reason', nullif($4, '')))
 WHERE NOT EXISTS (SELECT FROM audit WHERE id = $1)`

// Judge puts a verdict on record and has act carry it out before it is committed: when act fails nothing is recorded.
// When the commit fails act has happened, so it must bear to be repeated. ErrJudged means that there is a verdict and
// act was not called. act has four seconds. It is for the owner's role.
func (db *DB) Judge(ctx context.Context, v Verdict, act func(context.Context) error) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		// Two operators at once: the second waits here, or gives up.
		_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, letterPrefix+v.Letter)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, recordVerdictSQL, letterPrefix+v.Letter, v.Kind, Operator, v.Reason)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrJudged
		}
		ctx, cancel := context.WithTimeout(ctx, actTimeout)
		defer cancel()
		return act(ctx)
	})
	if err != nil {
		return fmt.Errorf("judge a dead letter: %w", scrub(err))
	}
	return nil
}

// Verdicts returns the verdicts of those of some letters that have one, by letter. It is for the owner's role.
func (db *DB) Verdicts(ctx context.Context, letters []string) (map[string]Verdict, error) {
	ids := make([]string, len(letters))
	for i, letter := range letters {
		ids[i] = letterPrefix + letter
	}
	rows, err := db.pool.Query(ctx, `SELECT id, kind, coalesce(detail->>'reason', '') FROM audit WHERE id = ANY($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("read verdicts: %w", scrub(err))
	}
	verdicts := map[string]Verdict{}
	var v Verdict
	_, err = pgx.ForEachRow(rows, []any{&v.Letter, &v.Kind, &v.Reason}, func() error {
		v.Letter = strings.TrimPrefix(v.Letter, letterPrefix)
		verdicts[v.Letter] = v
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read verdicts: %w", scrub(err))
	}
	return verdicts, nil
}
