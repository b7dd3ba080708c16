package postgres

import (
	"fmt"
	"strings"

	"doorcode/pkg/health"
)

// openRoundsSQL makes the rounds of the minutes up to the present one. It begins a quarter of an hour ago, and goes back a
// day at most after an outage.
const openRoundsSQL = `
INSERT INTO channel_rounds (minute, next_at)
SELECT m, m FROM (
       SELECT CASE WHEN max(minute) IS NULL THEN date_trunc('minute', now()) - interval '15 minutes'
                   ELSE greatest(max(minute) + interval '1 minute', date_trunc('minute', now()) - interval '1 day') END AS first
         FROM channel_rounds) AS last,
       generate_series(last.first, date_trunc('minute', now()), interval '1 minute') AS m
ON CONFLICT DO NOTHING`

// dueRoundSQL takes the newest minute that is due: $1 the longest time that a statement of this transaction may take.
const dueRoundSQL = `
SELECT minute FROM channel_rounds, set_config('statement_timeout', $1, true)
 WHERE next_at <= now() ORDER BY minute DESC LIMIT 1 FOR UPDATE OF channel_rounds SKIP LOCKED`

// closeRoundSQL says when a minute is counted again: $1 minute. Codes live for ten minutes, and a provider may report for
// three days. The transaction began before the count read anything, so nothing that came later counts as counted.
const closeRoundSQL = `
UPDATE channel_rounds SET counted_at = now(), next_at = (
       SELECT min($1::timestamptz + age) FROM unnest('{1 min,2 min,3 min,4 min,5 min,7 min,10 min,15 min,1 hour,1 day,3 days}'::interval[]) AS age
        WHERE $1::timestamptz + age > now())
 WHERE minute = $1`

// countMinuteSQL counts as health.Count does: $1 minute, $2 the bounds of the bins in seconds. The row of a challenge's
// whole record is read once for each accepted message, by the index of challenges. Hand-overs of which nothing is known but
// that they were made name no provider and are not counted.
func countMinuteSQL() string {
	return `
WITH m AS MATERIALIZED (
    SELECT id, at, challenge_id, detail ->> 'channel' AS channel, detail ->> 'provider' AS provider,
           coalesce(detail ->> 'destination', '') AS destination, detail ->> 'attempt' AS attempt,
           detail ->> 'result' = 'accepted' AS accepted, detail ? 'notice' AS notice,
           (detail ->> 'requested_at')::timestamptz AS requested_at
      FROM audit
     WHERE at >= $1 AND at < $1::timestamptz + interval '1 minute' AND kind = 'delivery.v1.attempted' AND detail ? 'provider'
), f AS (
    SELECT m.*, NOT m.notice AND m.accepted AS code, later.failed IS TRUE AS failed,
           later.failed IS NOT TRUE AND later.delivered_at IS NOT NULL AS delivered,
           later.approved_at IS NOT NULL AND (later.next_at < later.approved_at) IS NOT TRUE AS verified,
           width_bucket(extract(epoch FROM m.at - m.requested_at)::float8, $2::float8[]) AS accepted_bin,
           width_bucket(extract(epoch FROM later.delivered_at - m.requested_at)::float8, $2::float8[]) AS delivered_bin
      FROM m LEFT JOIN LATERAL (
           SELECT bool_or(x.detail ->> 'status' = 'failed') FILTER (WHERE x.kind = 'receipt.v1.recorded' AND x.detail ->> 'attempt' = m.attempt) AS failed,
                  min(x.at) FILTER (WHERE x.kind = 'receipt.v1.recorded' AND x.detail ->> 'attempt' = m.attempt
                                      AND x.detail ->> 'status' = 'delivered') AS delivered_at,
                  min(x.at) FILTER (WHERE x.kind = 'challenge.v1.approved') AS approved_at,
                  min(x.at) FILTER (WHERE x.kind = 'delivery.v1.attempted' AND x.detail ->> 'result' = 'accepted'
                                      AND (x.at, x.id) > (m.at, m.id)) AS next_at
             FROM audit x
            WHERE x.challenge_id = m.challenge_id AND x.at > m.at - interval '1 hour' AND x.at < m.at + interval '4 days') AS later
        ON m.accepted
)
INSERT INTO channel_minutes (minute, channel, provider, destination, sent, accepted, delivered, failed, codes, verified, accepted_in, delivered_in)
SELECT $1, channel, provider, destination, count(*), count(*) FILTER (WHERE accepted), count(*) FILTER (WHERE delivered),
       count(*) FILTER (WHERE failed), count(*) FILTER (WHERE code), count(*) FILTER (WHERE code AND verified),
       ARRAY[` + eachBin("count(*) FILTER (WHERE code AND accepted_bin = %d)") + `],
       ARRAY[` + eachBin("count(*) FILTER (WHERE code AND delivered AND delivered_bin = %d)") + `]
  FROM f GROUP BY channel, provider, destination
ON CONFLICT (minute, channel, provider, destination) DO UPDATE
   SET sent = excluded.sent, accepted = excluded.accepted, delivered = excluded.delivered, failed = excluded.failed,
       codes = excluded.codes, verified = excluded.verified, accepted_in = excluded.accepted_in, delivered_in = excluded.delivered_in`
}

// healthOverSQL sums minutes: $1 and $2 the begins and ends of spans.
func healthOverSQL() string {
	return `
SELECT channel, provider, destination, sum(sent), sum(accepted), sum(delivered), sum(failed), sum(codes), sum(verified),
       ` + eachBin("sum(accepted_in[%d + 1])") + `, ` + eachBin("sum(delivered_in[%d + 1])") + `
  FROM unnest($1::timestamptz[], $2::timestamptz[]) AS span(low, high)
  JOIN channel_minutes ON minute >= low AND minute < high
 GROUP BY channel, provider, destination ORDER BY channel, provider, destination`
}

// healthStepsSQL: $1 begin, $2 end, $3 the length of a step.
const healthStepsSQL = `
SELECT date_bin($3::interval, minute, $1) AS step, channel, provider, destination, sum(verified), sum(codes)
  FROM channel_minutes WHERE minute >= $1 AND minute < $2 AND codes > 0
 GROUP BY step, channel, provider, destination ORDER BY step, channel, provider, destination`

// eachBin writes a column for each bin of a histogram, from 0.
func eachBin(format string) string {
	columns := make([]string, health.Bins)
	for i := range columns {
		columns[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(columns, ", ")
}

// boundSeconds are health.Bounds in seconds.
func boundSeconds() []float64 {
	var seconds []float64
	for _, b := range health.Bounds() {
		seconds = append(seconds, b.Seconds())
	}
	return seconds
}

// countQueuesSQL: $1 channels. A send waits when its challenge is open and neither a call for it nor its end is on record.
// The time of a resend is that of its order.
const countQueuesSQL = `
WITH open AS (
    SELECT c.id, k AS send, c.routes -> c.send_routes[k]::int ->> 'channel' AS channel, c.created_at
      FROM challenges c CROSS JOIN LATERAL generate_series(1, c.sends) AS k
     WHERE c.state = 'pending' AND c.expires_at > clock_timestamp()
), waiting AS (
    SELECT o.channel,
           CASE WHEN o.send = 1 THEN o.created_at ELSE coalesce((
               SELECT a.at FROM audit a
                WHERE a.challenge_id = o.id AND a.at > o.created_at - interval '1 hour' AND a.at < o.created_at + interval '1 day'
                  AND a.kind = 'delivery.v1.requested' AND (a.detail ->> 'send')::int = o.send LIMIT 1), o.created_at) END AS since
      FROM open o
     WHERE NOT EXISTS (
           SELECT FROM audit a
            WHERE a.challenge_id = o.id AND a.at > o.created_at - interval '1 hour' AND a.at < o.created_at + interval '1 day'
              AND a.kind IN ('delivery.v1.attempted', 'delivery.v1.abandoned') AND (a.detail ->> 'send')::int = o.send)
)
INSERT INTO channel_queues (channel, at, waiting, oldest)
SELECT c, clock_timestamp(), count(w.since), min(w.since)
  FROM unnest($1::text[]) AS c LEFT JOIN waiting w ON w.channel = c
 GROUP BY c
ON CONFLICT (channel) DO UPDATE SET at = excluded.at, waiting = excluded.waiting, oldest = excluded.oldest`

// cleanMinutesSQL and cleanRoundsSQL lock nothing before they delete, as cleanSignInsSQL does.
const cleanMinutesSQL = `
DELETE FROM channel_minutes WHERE (minute, channel, provider, destination) IN (
    SELECT minute, channel, provider, destination FROM channel_minutes WHERE minute < (SELECT clock_timestamp()) - $1::interval
     ORDER BY minute LIMIT $2)`

const cleanRoundsSQL = `
DELETE FROM channel_rounds WHERE minute IN (
    SELECT minute FROM channel_rounds WHERE minute < (SELECT clock_timestamp()) - $1::interval ORDER BY minute LIMIT $2)`
