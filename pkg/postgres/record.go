package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"doorcode/pkg/batch"
	"doorcode/pkg/event"
	"doorcode/pkg/faultpoint"
)

// Issued is a challenge as its event tells it, with the place of the event.
type Issued struct {
	Event    event.Issued
	Stream   uint16
	Sequence uint64
}

// Audit is one row of the record. Its time is the event's own, so that a second arrival meets the same key.
type Audit struct {
	ID        string
	At        time.Time
	Kind      event.Type
	Workspace string // empty when the event does not say
	Login     string
	Challenge string
	Actor     string
	Detail    json.RawMessage // free of codes and recipients
}

// Handed is a send's event with its hand-over number; each lower number of which nothing is on record becomes one row
// with the result unknown (DESIGN 3.2).
type Handed struct {
	Challenge   string
	Send        int
	Number      int
	Channel     string
	RequestedAt time.Time
}

// Batch is what the recorder writes in one transaction.
type Batch struct {
	Challenges []Issued
	Audit      []Audit
	Handed     []Handed
}

// Record writes a batch and commits it. What is there already stays as it is, so order and repetition do not matter.
// IsRejected tells an error that the batch's content caused.
//
// Challenges come last, for whoever materialises one of them waits from there on until the commit.
func (db *DB) Record(ctx context.Context, b Batch) error {
	audit, err := json.Marshal(auditRows(b.Audit))
	if err != nil {
		return fmt.Errorf("record events: %w: %w", errContent, err)
	}
	handed, err := json.Marshal(handedRows(b.Handed))
	if err != nil {
		return fmt.Errorf("record events: %w: %w", errContent, err)
	}
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if len(b.Audit) > 0 {
			_, err := tx.Exec(ctx, recordAuditSQL, audit)
			if err != nil {
				return err
			}
		}
		if len(b.Handed) > 0 {
			_, err := tx.Exec(ctx, recordGapsSQL, handed, Verifier)
			if err != nil {
				return err
			}
		}
		return recordChallenges(ctx, tx, b.Challenges)
	})
	if err != nil {
		return fmt.Errorf("record events: %w", scrub(err))
	}
	faultpoint.Hit("recorder.stored")
	return db.markOutdated(ctx, b.Challenges)
}

// recordChallenges writes those that are not there yet. Under load most are, because a code was typed before, and a row
// that is only found costs far less than one that is written down, sent, read and then found.
func recordChallenges(ctx context.Context, tx pgx.Tx, challenges []Issued) error {
	if len(challenges) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, materialisedSQL, idsOf(challenges))
	if err != nil {
		return err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(challenges), func(c Issued) bool { return slices.Contains(there, c.Event.Challenge) })
	if len(missing) == 0 {
		return nil
	}
	data, err := json.Marshal(challengeRows(missing))
	if err != nil {
		return fmt.Errorf("%w: %w", errContent, err)
	}
	_, err = tx.Exec(ctx, recordChallengesSQL+" ON CONFLICT DO NOTHING", data)
	return err
}

// idsOf are the ids of challenges, in their order.
func idsOf(challenges []Issued) []string {
	ids := make([]string, len(challenges))
	for i, c := range challenges {
		ids[i] = c.Event.Challenge
	}
	return ids
}

// Materialise records one challenge that the recorder has not seen yet, unless it expired already; then it reports
// true and writes nothing. Whoever comes second changes nothing: all write the same row from the same event. Those that
// wait together share a statement.
//
// Its commit does not wait for the disk: what follows from the row is committed after it and waits for both, and the
// recorder acknowledges the event only after a commit of its own that came later: Record writes the audit row of the very
// event, which the other has not, and waits for the disk.
func (db *DB) Materialise(ctx context.Context, c Issued) (bool, error) {
	return ask(ctx, db.missing, c, single(db.materialise))
}

// MaterialiseAll is Materialise for several, in one statement: one that is refused fails all.
func (db *DB) MaterialiseAll(ctx context.Context, all []Issued) ([]bool, error) {
	answers, err := db.materialise(ctx, all)
	if err != nil {
		return nil, err
	}
	expired := make([]bool, len(answers))
	for i, a := range answers {
		expired[i] = a.Value
	}
	return expired, nil
}

// materialised tells in one statement which of some challenges have a row: $1 challenges.
const materialisedSQL = `SELECT id FROM challenges WHERE id = ANY($1)`

// materialise records several challenges in one round trip and answers which of them had expired.
func (db *DB) materialise(ctx context.Context, missing []Issued) ([]batch.Answer[bool], error) {
	rows, err := json.Marshal(challengeRows(missing))
	if err != nil {
		return nil, fmt.Errorf("record challenge: %w: %w", errContent, err)
	}
	ids := idsOf(missing)
	there := map[string]bool{}
	err = db.pipe(ctx, func(b *pgx.Batch) { // The logins are marked after the commit: see markOutdated.
		b.Queue(`BEGIN`)
		b.Queue(looseSQL)
		b.Queue(recordChallengesSQL+" WHERE x.expires_at > clock_timestamp() ON CONFLICT DO NOTHING", rows)
		b.Queue(`COMMIT`)
		b.Queue(markOutdatedSQL, ids).Query(func(rows pgx.Rows) error {
			var id string
			_, err := pgx.ForEachRow(rows, []any{&id}, func() error { there[id] = true; return nil })
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("record challenge: %w", err)
	}
	answers := make([]batch.Answer[bool], len(missing))
	for i, id := range ids {
		answers[i].Value = !there[id]
	}
	return answers, nil
}

// markOutdated makes the sweep look at the logins of recorded challenges that a change of the directory has overtaken.
// It comes after the commit that made them visible: in the same transaction it could miss a change that is not
// committed yet, and the sweep of that change would miss the challenge. A crash in between is mended by the
// redelivery, which comes here again.
func (db *DB) markOutdated(ctx context.Context, issued []Issued) error {
	if len(issued) == 0 {
		return nil
	}
	_, err := db.pool.Exec(ctx, markOutdatedSQL, idsOf(issued))
	if err != nil {
		return fmt.Errorf("mark logins for the sweep: %w", scrub(err))
	}
	return nil
}

// errContent says that rows cannot even be written down for Postgres: a time that JSON has no form for, for one.
var errContent = errors.New("content that cannot be stored")

// IsRejected reports whether the content of a statement was refused, by Postgres (SQLSTATE classes 22 for data, 23 for
// constraints and 54 for what is too large) or before: trying again changes nothing, so the culprit belongs to the dead
// letters.
func IsRejected(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return errors.Is(err, errContent)
	}
	return slices.Contains([]string{"22", "23", "54"}, refused.Code[:min(2, len(refused.Code))])
}
