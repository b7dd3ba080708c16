package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"doorcode/pkg/batch"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
)

// ErrNoChallenge says that a challenge is not recorded. It may still be on the bus.
var ErrNoChallenge = errors.New("challenge is not recorded")

// Verifier is the event source and the actor of what the verifier decides by itself.
const Verifier = "doorcode/verifier"

// Facts are the parts of a challenge that never change after it was made.
type Facts struct {
	ID               string
	Workspace        string
	Login            string
	LoginVersion     int64
	FrontEnd         string
	Purpose          string
	Label            string
	SupportReference string
	TagKey           uint8
	DigestKey        uint8
	// Routes are the proven ways to the person. Their envelopes are blank once the challenge ended.
	Routes    []event.Route
	Skip      *event.Waiver // leave to go on without the code, if it may be skipped
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Facts reads the immutable part of a challenge, or fails with ErrNoChallenge. Reads that wait together share a statement,
// which always begins after they came.
func (db *DB) Facts(ctx context.Context, id string) (Facts, error) {
	return ask(ctx, db.facts, id, single(db.readFacts))
}

// factsSQL: $1 challenges. It gives a row for each, in their order.
const factsSQL = `
SELECT c.id IS NOT NULL, q.id, coalesce(workspace, ''), coalesce(login, ''), coalesce(login_version, 0),
       coalesce(front_end, ''), coalesce(purpose, ''), coalesce(label, ''), coalesce(support_reference, ''),
       coalesce(tag_key, 0), coalesce(digest_key, 0), coalesce(routes, '[]'), coalesce(created_at, 'epoch'),
       coalesce(expires_at, 'epoch'), skip
  FROM unnest($1::text[]) WITH ORDINALITY AS q(id, n) LEFT JOIN challenges c ON c.id = q.id
 ORDER BY q.n`

// readFacts reads those of several challenges.
func (db *DB) readFacts(ctx context.Context, ids []string) ([]batch.Answer[Facts], error) {
	rows, err := db.pool.Query(ctx, factsSQL, ids)
	if err != nil {
		return nil, fmt.Errorf("read challenge: %w", scrub(err))
	}
	all, err := pgx.CollectRows(rows, scanFacts)
	if err != nil {
		return nil, fmt.Errorf("read challenge: %w", scrub(err))
	}
	return all, nil
}

// scanFacts reads a row of factsSQL.
func scanFacts(row pgx.CollectableRow) (batch.Answer[Facts], error) {
	var f Facts
	var known bool
	var tagKey, digestKey int16
	var routes, skip []byte
	err := row.Scan(&known, &f.ID, &f.Workspace, &f.Login, &f.LoginVersion, &f.FrontEnd, &f.Purpose, &f.Label,
		&f.SupportReference, &tagKey, &digestKey, &routes, &f.CreatedAt, &f.ExpiresAt, &skip)
	if err != nil {
		return batch.Answer[Facts]{}, err
	}
	if !known {
		return batch.Answer[Facts]{Err: ErrNoChallenge}, nil
	}
	err = json.Unmarshal(routes, &f.Routes)
	if err == nil && skip != nil {
		err = json.Unmarshal(skip, &f.Skip)
	}
	if err != nil {
		return batch.Answer[Facts]{Err: fmt.Errorf("read the routes of a challenge: %w", err)}, nil
	}
	f.TagKey, f.DigestKey = uint8(tagKey), uint8(digestKey) //nolint:gosec // Key ids are 1 to 255.
	return batch.Answer[Facts]{Value: f}, nil
}

// Check is one typed code to judge.
type Check struct {
	Challenge string
	// Workspace and Login are those of the challenge; checks of one login are not put together. They may be left out.
	Workspace, Login string
	// MACs name the check: HMAC of check id and tag, the active key's first, then those of older keys, so that a
	// repeat is known across a rotation.
	MACs [][]byte
	// Digest is what the stored digest must equal.
	Digest []byte
}

// keys are what no two checks that are judged together may share.
func (c Check) keys() []string {
	if c.Login == "" {
		return []string{c.Challenge}
	}
	return []string{c.Challenge, c.Workspace + "/" + c.Login} // A slash stands in none of the three.
}

// Judgement is what became of a counted check.
type Judgement struct {
	State      challenge.State // after the check
	Approved   bool
	ChecksLeft int
	Locked     bool      // this check locked the login
	At         time.Time // the decision, by the database clock
}

// Check judges one code in one statement and one commit (DESIGN 3.4). It locks the live challenge, then the login's
// budget, whose version must be the challenge's and which must have room; only when both gave a row is the digest
// compared and the check counted, with its audit and outbox rows. false means that nothing was compared or written:
// Standing then tells why.
//
// Checks that wait together share statement and commit. One whose challenge somebody else held is not waited for by the
// others: it asks again, and in the end alone.
func (db *DB) Check(ctx context.Context, c Check) (Judgement, bool, error) {
	for range skipTries {
		j, err := ask(ctx, db.checks, c, db.checkOne)
		if err != nil || !j.skipped {
			return j.Judgement, j.counted, err
		}
		err = pauseSkipped(ctx)
		if err != nil {
			return Judgement{}, false, fmt.Errorf("judge check: %w", err)
		}
	}
	j, err := db.checkOne(ctx, c)
	return j.Judgement, j.counted, err
}

// judged is what came of one check of a statement.
type judged struct {
	Judgement
	counted bool
	skipped bool // somebody else held a challenge that looked live
}

// checkOne judges a check by itself: it waits for its challenge.
func (db *DB) checkOne(ctx context.Context, c Check) (judged, error) {
	all, err := db.judge(ctx, checkSQL, []Check{c})
	if err != nil {
		return judged{}, err
	}
	all[0].skipped = false // It has waited: what looked live to its snapshot has ended meanwhile.
	return all[0], nil
}

// checkGroup judges the checks of one flight.
func (db *DB) checkGroup(ctx context.Context, checks []Check) []batch.Answer[judged] {
	if len(checks) == 1 {
		j, err := db.checkOne(ctx, checks[0])
		return []batch.Answer[judged]{{Value: j, Err: err}}
	}
	return db.checkTogether(ctx, checks)
}

// checkTogether judges several in one statement. When one of them fails all, each caller asks by itself.
func (db *DB) checkTogether(ctx context.Context, checks []Check) []batch.Answer[judged] {
	all, err := db.judge(ctx, checkGroupSQL, checks)
	if ofOne(err) {
		err = errApart
	}
	if err != nil {
		return alike[judged](len(checks), err)
	}
	answers := make([]batch.Answer[judged], len(all))
	for i, j := range all {
		answers[i].Value = j
	}
	return answers
}

// judge runs one of the two statements that judge checks.
func (db *DB) judge(ctx context.Context, sql string, checks []Check) ([]judged, error) {
	ids, digests := make([]string, len(checks)), make([][]byte, len(checks))
	var macs [][]byte
	var at places
	for i, c := range checks {
		ids[i], digests[i] = c.Challenge, c.Digest
		at.add(len(c.MACs))
		macs = append(macs, c.MACs...)
	}
	rows, err := db.pool.Query(ctx, sql, Verifier, challenge.MaxWrongPerDay, ids, digests, at.low, at.high, macs)
	if err != nil {
		return nil, fmt.Errorf("judge check: %w", scrub(err))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (judged, error) {
		var j judged
		err := row.Scan(&j.State, &j.Approved, &j.ChecksLeft, &j.Locked, &j.At, &j.skipped)
		j.counted = j.State != ""
		if !j.counted {
			j.Judgement = Judgement{}
		}
		return j, err
	})
	if err != nil {
		return nil, fmt.Errorf("judge check: %w", scrub(err))
	}
	return all, nil
}

// Standing is where a challenge and its login's budget stand at one moment: what a refusal is explained from.
type Standing struct {
	Now       time.Time // the database clock
	State     challenge.State
	ExpiresAt time.Time
	EndedAt   time.Time // zero while pending

	WrongLimit, HourLimit, DayLimit int
	// MACs and Answers are the counted checks, at equal positions. An answer is `approved` or `wrong:<checks left>`.
	MACs    [][]byte
	Answers []string
	// Refused lists the refusals that are on record already.
	Refused []string

	// LoginOpen says that the budget exists, has the challenge's version and is neither locked nor removed.
	LoginOpen bool
	// Failures are the login's last wrong codes, oldest first.
	Failures []time.Time

	Sends, SendLimit int
	SendKeys         [][]byte
	SendRoutes       []int16
	ResendAt         time.Time
}

// Standing reads where a challenge stands, or fails with ErrNoChallenge. It is always a statement of its own: in the
// deciding one it would see that statement's snapshot and not what the locks waited for (nats-postgres.md 6).
func (db *DB) Standing(ctx context.Context, id string) (Standing, error) {
	var s Standing
	var state string
	var ended *time.Time
	err := db.pool.QueryRow(ctx, standingSQL, id).Scan(&s.Now, &state, &s.ExpiresAt, &ended,
		&s.WrongLimit, &s.HourLimit, &s.DayLimit, &s.MACs, &s.Answers, &s.Refused,
		&s.LoginOpen, &s.Failures, &s.Sends, &s.SendLimit, &s.SendKeys, &s.SendRoutes, &s.ResendAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return Standing{}, ErrNoChallenge
	}
	if err != nil {
		return Standing{}, fmt.Errorf("read where a challenge stands: %w", scrub(err))
	}
	s.State = challenge.State(state)
	if ended != nil {
		s.EndedAt = *ended
	}
	return s, nil
}

// NoteRefusal puts the first refusal of its kind on record; further ones change nothing, so that hammering cannot
// flood the audit.
func (db *DB) NoteRefusal(ctx context.Context, id string, r challenge.Refusal) error {
	_, err := db.pool.Exec(ctx, refusalSQL, id, string(r))
	if err != nil {
		return fmt.Errorf("record refusal: %w", scrub(err))
	}
	return nil
}

// IsContended reports whether a statement gave up because others held its rows: it did nothing and may be put again.
func IsContended(err error) bool {
	var reported *pgconn.PgError
	if !errors.As(err, &reported) {
		return false
	}
	switch reported.Code {
	case "55P03", "40P01", "40001": // lock not available in time, deadlock, serialization failure
		return true
	}
	return false
}
