package postgres

// blankRoutes is the expression that takes the envelopes out of the routes of row x.
const blankRoutes = `(SELECT jsonb_agg(r || '{"envelope": ""}' ORDER BY n)
	                    FROM jsonb_array_elements(x.routes) WITH ORDINALITY AS route(r, n))`

// The statement that judges checks: $1 the verifier's name, $2 how many failures a budget keeps, and one element for each
// check: $3 challenges, $4 digests, $5 and $6 where its MACs begin and end in $7.
//
// The order is its meaning: c locks the challenges, b each one's budget, and only a row from both reaches the compare in
// d. Budget first would be a free lock-out, and comparing in the first update would let in a login without room
// (security.md 5.4). A row that changed while its lock was waited for is judged by its newest version; a clock in a
// condition is not read again for a row that did not change, so the expiry is judged once more in d, after both locks.
// Whether a challenge is open is asked by its digest, which an ended one has not: no index is about that, so that no plan
// that was made while hardly any was open can come to read all open ones for one id.
// A budget keeps the failures of the highest limit there is, not of this challenge's, so that a lower limit now cannot
// free places under a higher one later.
//
// Challenges are locked in the order of their ids, then budgets in the order of their logins, and of each login one check
// alone goes on: an update that met its budget twice would count once. Rows are looked up one by one, so that no plan can
// come to read a whole table.
//
// A check on its own waits for its challenge. Several do not, or one that is held would hold them all: they skip it, and
// whoever was skipped though the challenge looked live asks again.
const (
	checkSQL      = checkHead + checkTail
	checkGroupSQL = checkHead + ` SKIP LOCKED` + checkTail
)

const checkHead = `
WITH q AS MATERIALIZED (
    SELECT n, id, given, ($7::bytea[])[low:high] AS macs
      FROM unnest($3::text[], $4::bytea[], $5::int[], $6::int[]) WITH ORDINALITY AS asked(id, given, low, high, n)
     ORDER BY id, n
), c AS MATERIALIZED (
    SELECT q.n, q.given, q.macs, x.*
      FROM q CROSS JOIN LATERAL (
           SELECT id, workspace, login, login_version, front_end, support_reference,
                  routes -> 0 ->> 'channel' AS channel, digest, wrong, wrong_limit, hour_limit, day_limit, lock_limit,
                  expires_at
             FROM challenges
            WHERE id = q.id AND digest IS NOT NULL AND expires_at > clock_timestamp()
              AND wrong < wrong_limit AND NOT (check_macs && q.macs)
              FOR UPDATE`

const checkTail = `) AS x
), one AS MATERIALIZED (
    SELECT DISTINCT ON (workspace, login) * FROM c ORDER BY workspace, login, n
), decided AS MATERIALIZED (
    SELECT one.*, b.in_a_row, b.version, clock_timestamp() AS at
      FROM one CROSS JOIN LATERAL (
           SELECT g.in_a_row, g.version
             FROM login_budgets g
            WHERE g.workspace = one.workspace AND g.login = one.login
              AND g.version = one.login_version AND g.locked_at IS NULL AND g.removed_at IS NULL
              AND (SELECT count(*) FILTER (WHERE f > clock_timestamp() - interval '1 hour') < one.hour_limit
                      AND count(*) FILTER (WHERE f > clock_timestamp() - interval '1 day') < one.day_limit
                     FROM unnest(g.failures) AS f)
              FOR UPDATE) AS b
), d AS MATERIALIZED (
    SELECT decided.*, hit,
           wrong + (NOT hit)::int AS count,
           wrong_limit - wrong - (NOT hit)::int AS checks_left,
           CASE WHEN hit THEN 'approved' WHEN wrong + 1 >= wrong_limit THEN 'exhausted' ELSE 'pending' END AS state,
           NOT hit AND in_a_row + 1 >= lock_limit AS locks
      FROM decided, LATERAL (SELECT digest = given AS hit) AS compared
     WHERE at < expires_at
), u AS (
    UPDATE challenges x
       SET wrong = d.count,
           check_macs = x.check_macs || d.macs[1],
           check_answers = x.check_answers || CASE WHEN d.hit THEN 'approved' ELSE 'wrong:' || d.checks_left END,
           state = d.state,
           ended_at = CASE WHEN d.state <> 'pending' THEN d.at END,
           digest = CASE WHEN d.state = 'pending' THEN x.digest END,
           routes = CASE WHEN d.state = 'pending' THEN x.routes ELSE ` + blankRoutes + ` END
      FROM d WHERE x.id = d.id
), v AS (
    UPDATE login_budgets g
       SET failures = CASE WHEN d.hit THEN g.failures
                      ELSE (g.failures || d.at)[greatest(1, cardinality(g.failures) + 2 - $2::int):] END,
           in_a_row = CASE WHEN d.hit THEN 0 ELSE d.in_a_row + 1 END,
           locked_at = CASE WHEN d.locks THEN d.at END,
           (live_ids, live_until, live_entries) = (
               SELECT coalesce(array_agg(i ORDER BY k), '{}'), coalesce(array_agg(t ORDER BY k), '{}'),
                      coalesce(array_agg(e ORDER BY k), '{}')
                 FROM unnest(g.live_ids, g.live_until, g.live_entries) WITH ORDINALITY AS live(i, t, e, k)
                WHERE t > d.at AND NOT (i = d.id AND d.state <> 'pending'))
      FROM d WHERE g.workspace = d.workspace AND g.login = d.login
), e AS MATERIALIZED (
    SELECT d.id || suffix AS id, type, d.at, d.id AS subject, d.front_end AS actor, d.id AS challenge, d.workspace, d.login,
           jsonb_strip_nulls(jsonb_build_object(
               'challenge', d.id, 'workspace', d.workspace, 'login', d.login, 'front_end', d.front_end,
               'support_reference', d.support_reference, 'channel', d.channel, 'at', d.at, 'wrong', nullif(d.count, 0),
               'checks_left', CASE WHEN type = 'check.v1.rejected' THEN d.checks_left END)) AS data
      FROM d, LATERAL (VALUES ('.wrong.' || d.count, 'check.v1.rejected', NOT d.hit),
                              ('.exhausted', 'challenge.v1.exhausted', d.state = 'exhausted'),
                              ('.approved', 'challenge.v1.approved', d.hit)) AS happened(suffix, type, so)
     WHERE so
    UNION ALL
    SELECT d.id || '.locked.' || d.count, 'directory.v1.login_locked', d.at, d.workspace, $1::text, d.id, d.workspace, d.login,
           jsonb_build_object('workspace', d.workspace, 'login', d.login, 'version', d.version, 'by', $1::text, 'at', d.at)
      FROM d WHERE d.locks
), a AS (
    INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
    SELECT id, at, type, workspace, login, challenge, actor, data FROM e
), o AS (
    INSERT INTO outbox (id, type, source, subject, at, data)
    SELECT id, type, $1, subject, at, data FROM e
)
SELECT coalesce(d.state, ''), coalesce(d.hit, false), coalesce(d.checks_left, 0), coalesce(d.locks, false),
       coalesce(d.at, 'epoch'),
       d.n IS NULL AND NOT EXISTS (SELECT FROM one WHERE one.n = q.n)
           AND EXISTS (SELECT FROM challenges WHERE id = q.id AND digest IS NOT NULL AND expires_at > clock_timestamp()
                          AND wrong < wrong_limit AND NOT (check_macs && q.macs)) AS skipped
  FROM q LEFT JOIN d ON d.n = q.n
 ORDER BY q.n`

// standingSQL reads a challenge beside its budget: $1 challenge.
const standingSQL = `
SELECT clock_timestamp(), c.state, c.expires_at, c.ended_at, c.wrong_limit, c.hour_limit, c.day_limit,
       c.check_macs, c.check_answers, c.refused,
       coalesce(g.version = c.login_version AND g.locked_at IS NULL AND g.removed_at IS NULL, false),
       coalesce(g.failures, '{}'),
       c.sends, c.send_limit, c.send_keys, c.send_routes, c.resend_at
  FROM challenges c LEFT JOIN login_budgets g ON g.workspace = c.workspace AND g.login = c.login
 WHERE c.id = $1`

// refusalSQL records the first refusal of a kind: $1 challenge, $2 refusal.
const refusalSQL = `
WITH u AS (
    UPDATE challenges SET refused = refused || $2::text
     WHERE id = $1 AND NOT ($2 = ANY(refused))
    RETURNING id, workspace, login, front_end, support_reference, routes -> 0 ->> 'channel' AS channel, wrong,
              clock_timestamp() AS at
)
INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
SELECT id || '.refused.' || $2, at, 'check.v1.refused', workspace, login, id, front_end,
       jsonb_strip_nulls(jsonb_build_object(
           'challenge', id, 'workspace', workspace, 'login', login, 'front_end', front_end,
           'support_reference', support_reference, 'channel', channel, 'at', at, 'wrong', nullif(wrong, 0), 'reason', $2))
  FROM u`
