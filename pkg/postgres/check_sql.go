package postgres

// blankRoutes is the expression that takes the envelopes out of the routes of row x.
const blankRoutes = `(SELECT jsonb_agg(r || '{"envelope": ""}' ORDER BY n)
	                    FROM jsonb_array_elements(x.routes) WITH ORDINALITY AS route(r, n))`

// checkSQL judges one check: $1 challenge, $2 MACs, $3 digest, $4 the verifier's name, $5 how many failures a budget
// keeps.
//
// The order is its meaning: c locks the challenge, b the budget, and only a row from both reaches the compare in d.
// Budget first would be a free lock-out, and comparing in the first update would let in a login without room
// (security.md 5.4). A row that changed while its lock was waited for is judged by its newest version; a clock in a
// condition is not read again for a row that did not change, so the expiry is judged once more in d, after both locks.
// A budget keeps the failures of the highest limit there is, not of this challenge's, so that a lower limit now cannot
// free places under a higher one later.
const checkSQL = `
WITH c AS MATERIALIZED (
    SELECT id, workspace, login, login_version, front_end, support_reference, routes -> 0 ->> 'channel' AS channel,
           digest, wrong, wrong_limit, hour_limit, day_limit, lock_limit, expires_at
      FROM challenges
     WHERE id = $1 AND state = 'pending' AND expires_at > clock_timestamp()
       AND wrong < wrong_limit AND NOT (check_macs && $2::bytea[])
       FOR UPDATE
), b AS MATERIALIZED (
    SELECT g.in_a_row, g.version
      FROM login_budgets g JOIN c ON g.workspace = c.workspace AND g.login = c.login
     WHERE g.version = c.login_version AND g.locked_at IS NULL AND g.removed_at IS NULL
       AND (SELECT count(*) FILTER (WHERE f > clock_timestamp() - interval '1 hour') < c.hour_limit
               AND count(*) FILTER (WHERE f > clock_timestamp() - interval '1 day') < c.day_limit
              FROM unnest(g.failures) AS f)
       FOR UPDATE OF g
), decided AS MATERIALIZED (
    SELECT c.*, b.in_a_row, b.version, clock_timestamp() AS at FROM c CROSS JOIN b
), d AS MATERIALIZED (
    SELECT decided.*, hit,
           wrong + (NOT hit)::int AS n,
           wrong_limit - wrong - (NOT hit)::int AS checks_left,
           CASE WHEN hit THEN 'approved' WHEN wrong + 1 >= wrong_limit THEN 'exhausted' ELSE 'pending' END AS state,
           NOT hit AND in_a_row + 1 >= lock_limit AS locks
      FROM decided, LATERAL (SELECT digest = $3::bytea AS hit) AS compared
     WHERE at < expires_at
), u AS (
    UPDATE challenges x
       SET wrong = d.n,
           check_macs = x.check_macs || ($2::bytea[])[1],
           check_answers = x.check_answers || CASE WHEN d.hit THEN 'approved' ELSE 'wrong:' || d.checks_left END,
           state = d.state,
           ended_at = CASE WHEN d.state <> 'pending' THEN d.at END,
           digest = CASE WHEN d.state = 'pending' THEN x.digest END,
           routes = CASE WHEN d.state = 'pending' THEN x.routes ELSE ` + blankRoutes + ` END
      FROM d WHERE x.id = d.id
), v AS (
    UPDATE login_budgets g
       SET failures = CASE WHEN d.hit THEN g.failures
                      ELSE (g.failures || d.at)[greatest(1, cardinality(g.failures) + 2 - $5::int):] END,
           in_a_row = CASE WHEN d.hit THEN 0 ELSE d.in_a_row + 1 END,
           locked_at = CASE WHEN d.locks THEN d.at END,
           (live_ids, live_until, live_entries) = (
               SELECT coalesce(array_agg(i ORDER BY k), '{}'), coalesce(array_agg(t ORDER BY k), '{}'),
                      coalesce(array_agg(e ORDER BY k), '{}')
                 FROM unnest(g.live_ids, g.live_until, g.live_entries) WITH ORDINALITY AS live(i, t, e, k)
                WHERE t > d.at AND NOT (i = d.id AND d.state <> 'pending'))
      FROM d WHERE g.workspace = d.workspace AND g.login = d.login
), e AS MATERIALIZED (
    SELECT d.id || suffix AS id, type, d.at, d.id AS subject, d.front_end AS actor,
           jsonb_strip_nulls(jsonb_build_object(
               'challenge', d.id, 'workspace', d.workspace, 'login', d.login, 'front_end', d.front_end,
               'support_reference', d.support_reference, 'channel', d.channel, 'at', d.at, 'wrong', nullif(d.n, 0),
               'checks_left', CASE WHEN type = 'check.v1.rejected' THEN d.checks_left END)) AS data
      FROM d, LATERAL (VALUES ('.wrong.' || d.n, 'check.v1.rejected', NOT d.hit),
                              ('.exhausted', 'challenge.v1.exhausted', d.state = 'exhausted'),
                              ('.approved', 'challenge.v1.approved', d.hit)) AS happened(suffix, type, so)
     WHERE so
    UNION ALL
    SELECT d.id || '.locked.' || d.n, 'directory.v1.login_locked', d.at, d.workspace, $4::text,
           jsonb_build_object('workspace', d.workspace, 'login', d.login, 'version', d.version, 'by', $4::text, 'at', d.at)
      FROM d WHERE d.locks
), a AS (
    INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
    SELECT e.id, e.at, e.type, d.workspace, d.login, d.id, e.actor, e.data FROM e CROSS JOIN d
), o AS (
    INSERT INTO outbox (id, type, source, subject, at, data)
    SELECT e.id, e.type, $4, e.subject, e.at, e.data FROM e
)
SELECT d.state, d.hit, d.checks_left, d.locks, d.at FROM d`

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
