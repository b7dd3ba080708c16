package postgres

// endColumns are what an ending statement needs of a challenge, which it calls x.
const endColumns = `x.id, x.workspace, x.login, x.login_version, x.front_end, x.support_reference,
           x.routes -> 0 ->> 'channel' AS channel, x.wrong, x.expires_at`

// endTail ends the challenges of d(id, workspace, login, front_end, support_reference, channel, wrong, at, state,
// reason, actor): state and time, digest and envelopes blanked, live places freed, skips counted, audit and outbox written.
// $1 is the verifier's name.
const endTail = `, u AS (
    UPDATE challenges x
       SET state = d.state, reason = d.reason, ended_at = d.at, digest = NULL, routes = ` + blankRoutes + `
      FROM d WHERE x.id = d.id
), v AS (
    UPDATE login_budgets g
       SET (live_ids, live_until, live_entries) = (
               SELECT coalesce(array_agg(i ORDER BY k), '{}'), coalesce(array_agg(t ORDER BY k), '{}'),
                      coalesce(array_agg(e ORDER BY k), '{}')
                 FROM unnest(g.live_ids, g.live_until, g.live_entries) WITH ORDINALITY AS live(i, t, e, k)
                WHERE t > f.at AND NOT (i = ANY(f.ids))),
           skips = g.skips + f.skipped
      FROM (SELECT workspace, login, array_agg(id) AS ids, max(at) AS at, count(*) FILTER (WHERE state = 'waived') AS skipped
              FROM d GROUP BY workspace, login) AS f
     WHERE g.workspace = f.workspace AND g.login = f.login
), e AS MATERIALIZED (
    SELECT d.*, d.id || '.' || d.state AS event, 'challenge.v1.' || d.state AS type,
           jsonb_strip_nulls(jsonb_build_object(
               'challenge', d.id, 'workspace', d.workspace, 'login', d.login, 'front_end', d.front_end,
               'support_reference', d.support_reference, 'channel', d.channel, 'at', d.at, 'reason', d.reason,
               'wrong', nullif(d.wrong, 0))) AS data
      FROM d
), a AS (
    INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
    SELECT event, at, type, workspace, login, id, actor, data FROM e
), o AS (
    INSERT INTO outbox (id, type, source, subject, at, data)
    SELECT event, type, $1, id, at, data FROM e
)
SELECT d.id, d.state, coalesce(d.channel, '') FROM d`

// cancelSQL: $2 challenge. The budget is locked after the challenge and may be missing.
const cancelSQL = `
WITH c AS MATERIALIZED (
    SELECT ` + endColumns + ` FROM challenges x WHERE x.id = $2 AND x.digest IS NOT NULL FOR UPDATE
), b AS MATERIALIZED (
    SELECT g.workspace, g.login
      FROM login_budgets g JOIN c ON g.workspace = c.workspace AND g.login = c.login
       FOR UPDATE OF g
), decided AS MATERIALIZED (
    SELECT c.*, clock_timestamp() AS at FROM c LEFT JOIN b ON b.workspace = c.workspace AND b.login = c.login
), d AS MATERIALIZED (
    SELECT decided.*,
           CASE WHEN at < expires_at THEN 'canceled' ELSE 'expired' END AS state,
           CASE WHEN at < expires_at THEN 'request' END AS reason,
           CASE WHEN at < expires_at THEN front_end ELSE $1::text END AS actor
      FROM decided
)` + endTail

// sweepBudgets locks the budgets of the challenges in c, in one order for every sweep. A challenge whose budget
// somebody else holds waits for the next sweep; one without a budget ends too.
const sweepBudgets = `, b AS MATERIALIZED (
    SELECT g.workspace, g.login, g.version
      FROM login_budgets g
     WHERE (g.workspace, g.login) IN (SELECT c.workspace, c.login FROM c)
     ORDER BY g.workspace, g.login
       FOR UPDATE SKIP LOCKED
), held AS MATERIALIZED (
    SELECT c.*, b.version
      FROM c LEFT JOIN b ON b.workspace = c.workspace AND b.login = c.login
     WHERE b.login IS NOT NULL
        OR NOT EXISTS (SELECT FROM login_budgets g WHERE g.workspace = c.workspace AND g.login = c.login)
)`

// endExpiredSQL: $2 how many at most, the longest expired first. Here and below the clock is read by a subquery: the
// planner takes it for a constant and looks up the index, where a bare clock_timestamp() would have it read every row.
const endExpiredSQL = `
WITH c AS MATERIALIZED (
    SELECT ` + endColumns + `
      FROM challenges x
     WHERE x.state = 'pending' AND x.expires_at <= (SELECT clock_timestamp())
     ORDER BY x.expires_at LIMIT $2
       FOR UPDATE SKIP LOCKED
)` + sweepBudgets + `, d AS MATERIALIZED (
    SELECT held.*, clock_timestamp() AS at, 'expired' AS state, NULL::text AS reason, $1::text AS actor FROM held
)` + endTail

// endOutdatedSQL: $2 how many at most. The version is judged again on the locked budget.
const endOutdatedSQL = `
WITH c AS MATERIALIZED (
    SELECT ` + endColumns + `
      FROM login_budgets dirty CROSS JOIN LATERAL (
           SELECT * FROM challenges
            WHERE workspace = dirty.workspace AND login = dirty.login AND ended_at IS NULL AND login_version <> dirty.version
              FOR UPDATE SKIP LOCKED) AS x
     WHERE dirty.unswept
     LIMIT $2
)` + sweepBudgets + `, d AS MATERIALIZED (
    SELECT held.*, clock_timestamp() AS at, 'canceled' AS state, 'directory' AS reason, $1::text AS actor
      FROM held WHERE version <> login_version
)` + endTail

// markSweptSQL: $1 how many at most. clean is read without a lock on purpose: the guard compares what this snapshot saw
// with the newest row, for a challenge recorded meanwhile has lowered the swept version and a further change has raised
// the version.
const markSweptSQL = `
WITH clean AS MATERIALIZED (
    SELECT g.workspace, g.login, g.version, g.swept_version
      FROM login_budgets g
     WHERE g.unswept
       AND NOT EXISTS (SELECT FROM challenges x WHERE x.workspace = g.workspace AND x.login = g.login
                          AND x.ended_at IS NULL AND x.login_version <> g.version)
     LIMIT $1
), free AS MATERIALIZED (
    SELECT clean.*
      FROM login_budgets g JOIN clean ON g.workspace = clean.workspace AND g.login = clean.login
       FOR UPDATE OF g SKIP LOCKED
)
UPDATE login_budgets g SET swept_version = free.version
  FROM free
 WHERE g.workspace = free.workspace AND g.login = free.login
   AND g.version = free.version AND g.swept_version = free.swept_version`

const cleanChallengesSQL = `
DELETE FROM challenges WHERE id IN (
    SELECT id FROM challenges WHERE state <> 'pending' AND expires_at < (SELECT clock_timestamp()) - $1::interval
     ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`

const cleanBudgetsSQL = `
DELETE FROM login_budgets WHERE (workspace, login) IN (
    SELECT workspace, login FROM login_budgets WHERE removed_at < (SELECT clock_timestamp()) - $1::interval
     ORDER BY removed_at LIMIT $2 FOR UPDATE SKIP LOCKED) AND removed_at IS NOT NULL`

const cleanLimitsSQL = `
DELETE FROM limits WHERE (dimension, key) IN (
    SELECT dimension, key FROM limits WHERE used_at < (SELECT clock_timestamp()) - $1::interval
     ORDER BY used_at LIMIT $2 FOR UPDATE SKIP LOCKED)`

// cleanRemovedSQL locks nothing before it deletes, as cleanSignInsSQL does.
const cleanRemovedSQL = `
DELETE FROM removed_logins WHERE id IN (
    SELECT id FROM removed_logins WHERE removed_at < (SELECT clock_timestamp()) - $1::interval
     ORDER BY removed_at LIMIT $2)`

// cleanSignInsSQL locks nothing before it deletes: the verifier may not update these rows, and of two janitors one finds
// them gone.
const cleanSignInsSQL = `
DELETE FROM sign_ins WHERE (workspace, login, ended_at, challenge_id) IN (
    SELECT workspace, login, ended_at, challenge_id FROM sign_ins WHERE ended_at < (SELECT clock_timestamp()) - $1::interval
     ORDER BY ended_at LIMIT $2)`
