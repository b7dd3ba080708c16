package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/limit"
)

// Resend asks for one more message of a challenge's code.
type Resend struct {
	Challenge string
	Key       []byte // names the request: a key that was taken takes nothing again
	Index     int    // position of the route, from 0
	Route     event.Route
	// Traceparent is the W3C trace context of the request; it may be empty.
	Traceparent string
}

// Ordered is a send that was taken.
type Ordered struct {
	Send     int
	At       time.Time
	ResendAt time.Time // earliest time of the next
}

// Resend takes the next send of a challenge in one statement and one commit: locks the challenge (live, not in its last
// two minutes, waited long enough, sends left), then the login's budget (same version, open), then the cap of the route's
// channel, if it has one, and the recipient's limit, in the order that holds everywhere; only then it counts the send and
// writes outbox and audit. false means that nothing was taken: Standing and Taken then tell why.
func (db *DB) Resend(ctx context.Context, r Resend) (Ordered, bool, error) {
	waits := make([]int64, challenge.MaxSends)
	for i := range waits {
		waits[i] = int64(challenge.ResendWait(i+1) / time.Second)
	}
	if r.Route.Cap > 0 { // The statement locks the row that counts, so there has to be one.
		_, err := db.pool.Exec(ctx, `INSERT INTO limits (dimension, key) VALUES ('sms_spend', $1) ON CONFLICT DO NOTHING`, limit.SpendKey())
		if err != nil {
			return Ordered{}, false, fmt.Errorf("take resend: %w", scrub(err))
		}
	}
	var o Ordered
	err := db.pool.QueryRow(ctx, resendSQL, r.Challenge, r.Key, r.Index, r.Route.Address, r.Route.PerHour, r.Route.PerDay,
		waits, Verifier, r.Route.Cap, limit.SpendKey(), r.Traceparent).Scan(&o.Send, &o.At, &o.ResendAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return Ordered{}, false, nil
	}
	if err != nil {
		return Ordered{}, false, fmt.Errorf("take resend: %w", scrub(err))
	}
	return o, true, nil
}

// Taken returns the times that stand in a row of limits, oldest first, and the database clock.
func (db *DB) Taken(ctx context.Context, d limit.Dimension, key []byte) ([]time.Time, time.Time, error) {
	var times []time.Time
	var now time.Time
	err := db.pool.QueryRow(ctx, `
		SELECT clock_timestamp(), coalesce((SELECT times FROM limits WHERE dimension = $1 AND key = $2), '{}')`,
		string(d), key).Scan(&now, &times)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read a limit: %w", scrub(err))
	}
	return times, now, nil
}

// resendSQL takes one send: $1 challenge, $2 request key, $3 route, $4 address hash, $5 and $6 messages per hour and
// day, $7 seconds to wait after send 1, 2, ..., $8 the verifier's name, $9 messages of the channel per day, 0 for no cap,
// $10 the key of the row that counts those, $11 the trace context of the request.
//
// The limit row is taken by l alone: a row comes out of it when there was room, or when this very send stands in it
// already, and everything after hangs on that row. Entries older than a day count nowhere and are dropped. The row of the
// cap is locked and judged by s before, and written at the end, so that a send takes of both or of none.
const resendSQL = `
WITH c AS MATERIALIZED (
    SELECT id, workspace, login, login_version, front_end, sends, resend_at, expires_at, routes -> $3::int AS route
      FROM challenges
     WHERE id = $1 AND digest IS NOT NULL AND NOT ($2::bytea = ANY(send_keys)) AND sends < send_limit
       AND clock_timestamp() >= resend_at AND clock_timestamp() < expires_at - interval '2 minutes'
       AND routes -> $3::int IS NOT NULL
       FOR UPDATE
), b AS MATERIALIZED (
    SELECT g.version
      FROM login_budgets g JOIN c ON g.workspace = c.workspace AND g.login = c.login
     WHERE g.version = c.login_version AND g.locked_at IS NULL AND g.removed_at IS NULL
       FOR UPDATE OF g
), s AS MATERIALIZED (
    SELECT x.times
      FROM limits x CROSS JOIN b
     WHERE $9::int > 0 AND x.dimension = 'sms_spend' AND x.key = $10::bytea
       FOR UPDATE OF x
), room AS MATERIALIZED (
    SELECT FROM b WHERE $9::int = 0
    UNION ALL
    SELECT FROM s WHERE (SELECT count(*) FROM unnest(s.times) AS t WHERE t > clock_timestamp() - interval '1 day') < $9::int
), decided AS MATERIALIZED (
    SELECT c.*, sends + 1 AS n, clock_timestamp() AS at FROM room CROSS JOIN c
), d AS MATERIALIZED (
    SELECT decided.*, id || '.send.' || n AS event,
           ('x' || encode(substr(sha256(convert_to(id || '.send.' || n, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint AS entry
      FROM decided
     WHERE at < expires_at - interval '2 minutes' AND $5::int > 0 AND $6::int > 0
), l AS (
    INSERT INTO limits AS l (dimension, key, times, entries, used_at)
    SELECT 'recipient', $4::bytea, ARRAY[d.at], ARRAY[d.entry], d.at FROM d
    ON CONFLICT (dimension, key) DO UPDATE
       SET (times, entries, used_at) = (
               SELECT array_agg(t ORDER BY t), array_agg(e ORDER BY t), greatest(l.used_at, excluded.used_at)
                 FROM (SELECT t, e FROM unnest(l.times, l.entries) AS kept(t, e)
                        WHERE t > excluded.used_at - interval '1 day'
                       UNION ALL
                       SELECT excluded.used_at, excluded.entries[1] WHERE NOT excluded.entries[1] = ANY(l.entries)) AS all_of_them)
     WHERE excluded.entries[1] = ANY(l.entries)
        OR (SELECT count(*) FILTER (WHERE t > excluded.used_at - interval '1 hour') < $5::int AND count(*) < $6::int
              FROM unnest(l.times) AS t WHERE t > excluded.used_at - interval '1 day')
    RETURNING l.key
), taken AS MATERIALIZED (
    SELECT d.*, d.at + make_interval(secs => ($7::bigint[])[d.n]) AS next,
           jsonb_build_object('challenge', d.id, 'send', d.n, 'route', $3::int, 'channel', d.route ->> 'channel',
               'envelope', d.route ->> 'envelope', 'expires_at', d.expires_at) AS data
      FROM d CROSS JOIN l
), spent AS (
    UPDATE limits x
       SET (times, entries, used_at) = (
               SELECT array_agg(t ORDER BY t), array_agg(e ORDER BY t), greatest(x.used_at, taken.at)
                 FROM (SELECT t, e FROM unnest(x.times, x.entries) AS kept(t, e)
                        WHERE t > taken.at - interval '1 day' AND e <> taken.entry
                       UNION ALL
                       SELECT taken.at, taken.entry) AS all_of_them)
      FROM taken WHERE $9::int > 0 AND x.dimension = 'sms_spend' AND x.key = $10::bytea
), u AS (
    UPDATE challenges x
       SET sends = taken.n, send_keys = x.send_keys || $2::bytea, send_routes = x.send_routes || $3::smallint,
           resend_at = taken.next
      FROM taken WHERE x.id = taken.id
), a AS (
    INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
    SELECT event, at, 'delivery.v1.requested', workspace, login, id, front_end, data - 'envelope' FROM taken
), o AS (
    INSERT INTO outbox (id, type, source, subject, at, data, traceparent)
    SELECT event, 'delivery.v1.requested', $8::text, id, at, data, $11::text FROM taken
)
SELECT n, at, next FROM taken`
