package postgres

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
)

// ErrTaken says that the id of a waiver is that of another sign-in.
var ErrTaken = errors.New("the challenge is another one")

// Waived is a sign-in that went on without a code.
type Waived struct {
	At   time.Time // by the database clock
	Now  time.Time // the same clock at the answer
	Why  string    // as it is on record
	Made bool      // just now, and not by a request before
}

// Waive puts on record that a login went on without a code. A repeat of the same request writes nothing and gets what is on
// record. false means that the login is locked, gone, or of another version, or that the leave has ended: nothing was
// written. It fails with ErrTaken when the id is known for something else. Whether there was leave is for the caller.
func (db *DB) Waive(ctx context.Context, w event.WaiveRequest) (Waived, bool, error) {
	for range 2 { // Of two at once the second finds nothing to write, and then what the first has written.
		var done Waived
		var same bool
		err := db.pool.QueryRow(ctx, waiveSQL, Verifier, w.Challenge, w.Workspace, w.Login, w.LoginVersion, w.FrontEnd,
			w.SupportReference, micros(w.CreatedAt), orNull(w.Network), w.Browser, orNull(w.Agent), w.Waiver.Why, w.Waiver.Until,
			hex.EncodeToString(w.Fingerprint)).Scan(&done.At, &done.Now, &done.Why, &same, &done.Made)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			continue
		case err != nil:
			return Waived{}, false, fmt.Errorf("waive: %w", scrub(err))
		case !same:
			return Waived{}, false, ErrTaken
		}
		return done, true, nil
	}
	return Waived{}, false, nil
}

// waiveSQL: $1 the verifier's name, $2 challenge, $3 workspace, $4 login, $5 its version, $6 front-end, $7 support reference,
// $8 created at, $9 network, $10 browser, $11 agent, $12 why, $13 end of the leave, $14 fingerprint. The row is one of the past
// from the start: it has neither code nor route, and its limits mean nothing. The column skip keeps what a repeat is known by.
// The clock is read once the budget is locked.
const waiveSQL = `
WITH known AS (
    SELECT ended_at AS at, coalesce(reason, '') AS why,
           state = 'waived' AND workspace = $3 AND login = $4 AND front_end = $6 AND coalesce(skip ->> 'fingerprint' = $14, false) AS same
      FROM challenges WHERE id = $2
), b AS MATERIALIZED (
    SELECT FROM login_budgets
     WHERE workspace = $3 AND login = $4 AND version = $5 AND locked_at IS NULL AND removed_at IS NULL
       AND NOT EXISTS (SELECT FROM known)
       FOR NO KEY UPDATE
), decided AS MATERIALIZED (
    SELECT clock_timestamp() AS at FROM b
), d AS (
    INSERT INTO challenges (id, stream_number, stream_sequence, workspace, login, login_version, front_end, purpose, label,
           support_reference, tag_key, digest_key, routes, wrong_limit, hour_limit, day_limit, lock_limit, send_limit,
           state, reason, sends, send_routes, created_at, resend_at, expires_at, ended_at, network, browser, agent, skip)
    SELECT $2, 0, 0, $3, $4, $5, $6, 'sign_in', '', $7, 0, 0, '[]', 1, 1, 1, 1, 1,
           'waived', $12, 0, '{}', $8, $8, at, at, $9, $10, $11, jsonb_build_object('fingerprint', $14::text)
      FROM decided WHERE at < $13
    ON CONFLICT (id) DO NOTHING
    RETURNING id, ended_at AS at
), e AS MATERIALIZED (
    SELECT id || '.waived' AS event, at, jsonb_build_object('challenge', id, 'workspace', $3::text, 'login', $4::text,
           'front_end', $6::text, 'support_reference', $7::text, 'at', at, 'reason', $12::text) AS data
      FROM d
), a AS (
    INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
    SELECT event, at, 'challenge.v1.waived', $3, $4, $2, $6, data FROM e
), o AS (
    INSERT INTO outbox (id, type, source, subject, at, data)
    SELECT event, 'challenge.v1.waived', $1, $2, at, data FROM e
)
SELECT at, at, $12::text, true, true FROM d
UNION ALL
SELECT coalesce(at, 'epoch'), clock_timestamp(), why, same, false FROM known`

// Skip ends a live challenge because the person goes on without its code, and counts the skip. false means that nothing was
// written: the challenge or the leave had ended, the login changed, or it has had that many skips. Whether there was leave to
// skip is for the caller, and Standing tells when it was done.
func (db *DB) Skip(ctx context.Context, id string, leave event.Waiver) (bool, error) {
	ended, err := db.end(ctx, skipSQL, Verifier, id, leave.Skips, leave.Why, leave.Until)
	if err != nil {
		return false, fmt.Errorf("skip: %w", scrub(err))
	}
	return len(ended) == 1 && ended[0].State == challenge.Waived, nil
}

// skipSQL: $2 challenge, $3 most skips, $4 why, $5 end of the leave. As a check it locks the challenge first, then the budget,
// and decides last.
const skipSQL = `
WITH c AS MATERIALIZED (
    SELECT ` + endColumns + ` FROM challenges x
     WHERE x.id = $2 AND x.digest IS NOT NULL AND x.expires_at > clock_timestamp() FOR UPDATE
), b AS MATERIALIZED (
    SELECT g.workspace, g.login
      FROM login_budgets g JOIN c ON g.workspace = c.workspace AND g.login = c.login
     WHERE g.version = c.login_version AND g.locked_at IS NULL AND g.removed_at IS NULL AND g.skips < $3
       FOR UPDATE OF g
), decided AS MATERIALIZED (
    SELECT c.*, clock_timestamp() AS at FROM c JOIN b ON b.workspace = c.workspace AND b.login = c.login
), d AS MATERIALIZED (
    SELECT decided.*, 'waived' AS state, $4::text AS reason, front_end AS actor FROM decided WHERE at < expires_at AND at < $5
)` + endTail
