package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Facts reads the immutable part of a challenge, or fails with ErrNoChallenge.
func (db *DB) Facts(ctx context.Context, id string) (Facts, error) {
	f := Facts{ID: id}
	var tagKey, digestKey int16
	var routes []byte
	err := db.pool.QueryRow(ctx, `
		SELECT workspace, login, login_version, front_end, purpose, label, support_reference, tag_key, digest_key,
		       routes, created_at, expires_at
		  FROM challenges WHERE id = $1`, id).
		Scan(&f.Workspace, &f.Login, &f.LoginVersion, &f.FrontEnd, &f.Purpose, &f.Label, &f.SupportReference,
			&tagKey, &digestKey, &routes, &f.CreatedAt, &f.ExpiresAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return Facts{}, ErrNoChallenge
	}
	if err != nil {
		return Facts{}, fmt.Errorf("read challenge: %w", scrub(err))
	}
	err = json.Unmarshal(routes, &f.Routes)
	if err != nil {
		return Facts{}, fmt.Errorf("read the routes of a challenge: %w", scrub(err))
	}
	f.TagKey, f.DigestKey = uint8(tagKey), uint8(digestKey) //nolint:gosec // Key ids are 1 to 255.
	return f, nil
}

// Check is one typed code to judge.
type Check struct {
	Challenge string
	// MACs name the check: HMAC of check id and tag, the active key's first, then those of older keys, so that a
	// repeat is known across a rotation.
	MACs [][]byte
	// Digest is what the stored digest must equal.
	Digest []byte
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
func (db *DB) Check(ctx context.Context, c Check) (Judgement, bool, error) {
	var j Judgement
	var state string
	err := db.pool.QueryRow(ctx, checkSQL, c.Challenge, c.MACs, c.Digest, Verifier, challenge.MaxWrongPerDay).
		Scan(&state, &j.Approved, &j.ChecksLeft, &j.Locked, &j.At)
	if errors.Is(err, pgx.ErrNoRows) {
		return Judgement{}, false, nil
	}
	if err != nil {
		return Judgement{}, false, fmt.Errorf("judge check: %w", scrub(err))
	}
	j.State = challenge.State(state)
	return j, true, nil
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
