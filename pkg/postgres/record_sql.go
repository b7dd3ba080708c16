package postgres

import (
	"encoding/json"
	"time"

	"doorcode/pkg/event"
)

// recordChallengesSQL inserts challenges from a JSON array in id order, the same order for every replica, so that two
// of them with the same events wait for one another and do not lock each other out. A condition may follow it.
const recordChallengesSQL = `
INSERT INTO challenges (id, stream_number, stream_sequence, workspace, login, login_version, front_end, purpose, label,
       support_reference, tag_key, digest_key, digest, routes, wrong_limit, hour_limit, day_limit, lock_limit, send_limit,
       created_at, resend_at, expires_at, address, network, browser, agent, skip)
SELECT x.id, x.stream_number, x.stream_sequence, x.workspace, x.login, x.login_version, x.front_end, x.purpose, x.label,
       x.support_reference, x.tag_key, x.digest_key, decode(x.digest, 'base64'), x.routes, x.wrong_limit, x.hour_limit,
       x.day_limit, x.lock_limit, x.send_limit, x.created_at, x.resend_at, x.expires_at,
       decode(x.routes -> 0 ->> 'address', 'base64'), x.network, decode(x.browser, 'base64'), x.agent, x.skip
  FROM (SELECT * FROM jsonb_to_recordset($1::jsonb) AS row(id text, stream_number int, stream_sequence bigint,
       workspace text, login text, login_version bigint, front_end text, purpose text, label text, support_reference text,
       tag_key smallint, digest_key smallint, digest text, routes jsonb, wrong_limit smallint, hour_limit smallint,
       day_limit smallint, lock_limit smallint, send_limit smallint, created_at timestamptz, resend_at timestamptz,
       expires_at timestamptz, network text, browser text, agent text, skip jsonb) ORDER BY id) AS x`

const recordAuditSQL = `
INSERT INTO audit (id, at, kind, workspace, login, challenge_id, actor, detail)
SELECT id, at, kind, workspace, login, challenge_id, actor, detail
  FROM jsonb_to_recordset($1::jsonb) AS row(id text, at timestamptz, kind text, workspace text, login text,
       challenge_id text, actor text, detail jsonb) ORDER BY id, at
ON CONFLICT DO NOTHING`

// recordGapsSQL writes a row for each hand-over below a known one of which there is no event. Its id and time are
// fixed, so it is written once. It runs after the events of the batch were inserted. What was seen is gathered send by
// send, in a subquery that the planner leaves alone: joined to the audit, it would read the whole of it.
const recordGapsSQL = `
INSERT INTO audit (id, at, kind, challenge_id, actor, detail)
SELECT h.challenge || '.' || h.send || '.' || k, h.requested_at, 'delivery.v1.attempted', h.challenge, $2,
       jsonb_build_object('challenge', h.challenge, 'send', h.send, 'channel', h.channel, 'number', k,
           'requested_at', h.requested_at, 'result', 'unknown', 'reason', 'other')
  FROM jsonb_to_recordset($1::jsonb) AS h(challenge text, send int, number int, channel text, requested_at timestamptz)
 CROSS JOIN LATERAL (
       SELECT ARRAY(
              SELECT (a.detail ->> 'number')::int FROM audit a
               WHERE a.challenge_id = h.challenge AND a.at > h.requested_at - interval '1 day'
                 AND a.kind IN ('delivery.v1.attempted', 'delivery.v1.postponed', 'delivery.v1.abandoned')
                 AND (a.detail ->> 'send')::int = h.send) AS numbers OFFSET 0) AS seen
 CROSS JOIN generate_series(1, h.number - 1) AS k
 WHERE k <> ALL (seen.numbers)
 ORDER BY h.challenge, h.send, k
ON CONFLICT DO NOTHING`

// markOutdatedSQL lowers the swept version below the version, whatever both are. It locks budgets in the order that the
// directory locks them in. It gives the challenges that have a row.
const markOutdatedSQL = `
WITH outdated AS MATERIALIZED (
    SELECT g.workspace, g.login
      FROM challenges c
      JOIN login_budgets g ON g.workspace = c.workspace AND g.login = c.login AND g.version <> c.login_version
     WHERE c.id = ANY($1) AND c.digest IS NOT NULL
     ORDER BY g.workspace, g.login
       FOR UPDATE OF g
), marked AS (
    UPDATE login_budgets g SET swept_version = g.swept_version - 1
      FROM outdated WHERE g.workspace = outdated.workspace AND g.login = outdated.login
)
SELECT id FROM challenges WHERE id = ANY($1)`

// challengeRow is one element of the first parameter of recordChallengesSQL.
type challengeRow struct {
	ID               string        `json:"id"`
	StreamNumber     uint16        `json:"stream_number"`
	StreamSequence   uint64        `json:"stream_sequence"`
	Workspace        string        `json:"workspace"`
	Login            string        `json:"login"`
	LoginVersion     int64         `json:"login_version"`
	FrontEnd         string        `json:"front_end"`
	Purpose          string        `json:"purpose"`
	Label            string        `json:"label"`
	SupportReference string        `json:"support_reference"`
	TagKey           uint8         `json:"tag_key"`
	DigestKey        uint8         `json:"digest_key"`
	Digest           []byte        `json:"digest"`
	Routes           []event.Route `json:"routes"`
	WrongLimit       int           `json:"wrong_limit"`
	HourLimit        int           `json:"hour_limit"`
	DayLimit         int           `json:"day_limit"`
	LockLimit        int           `json:"lock_limit"`
	SendLimit        int           `json:"send_limit"`
	CreatedAt        time.Time     `json:"created_at"`
	ResendAt         time.Time     `json:"resend_at"`
	ExpiresAt        time.Time     `json:"expires_at"`
	Network          *string       `json:"network"`
	Browser          []byte        `json:"browser"`
	Agent            *string       `json:"agent"`
	Skip             *event.Waiver `json:"skip,omitempty"`
}

func challengeRows(issued []Issued) []challengeRow {
	rows := make([]challengeRow, len(issued))
	for i, c := range issued {
		e, p := c.Event, c.Event.Policy
		rows[i] = challengeRow{
			ID: e.Challenge, StreamNumber: c.Stream, StreamSequence: c.Sequence,
			Workspace: e.Workspace, Login: e.Login, LoginVersion: e.LoginVersion, FrontEnd: e.FrontEnd,
			Purpose: string(e.Purpose), Label: e.Label, SupportReference: e.SupportReference,
			TagKey: e.TagKey, DigestKey: e.DigestKey, Digest: e.Digest, Routes: e.Routes,
			WrongLimit: p.WrongPerChallenge, HourLimit: p.WrongPerHour, DayLimit: p.WrongPerDay, LockLimit: p.LockAfter,
			SendLimit: p.Sends, CreatedAt: micros(e.CreatedAt), ResendAt: micros(e.ResendAt), ExpiresAt: micros(e.ExpiresAt),
			Network: orNull(e.Network), Browser: e.Browser, Agent: orNull(e.Agent), Skip: e.Skip,
		}
	}
	return rows
}

// auditRow is one element of the first parameter of recordAuditSQL.
type auditRow struct {
	ID        string          `json:"id"`
	At        time.Time       `json:"at"`
	Kind      event.Type      `json:"kind"`
	Workspace *string         `json:"workspace"`
	Login     *string         `json:"login"`
	Challenge *string         `json:"challenge_id"`
	Actor     string          `json:"actor"`
	Detail    json.RawMessage `json:"detail"`
}

func auditRows(audit []Audit) []auditRow {
	rows := make([]auditRow, len(audit))
	for i, a := range audit {
		rows[i] = auditRow{
			ID: a.ID, At: micros(a.At), Kind: a.Kind, Workspace: orNull(a.Workspace), Login: orNull(a.Login),
			Challenge: orNull(a.Challenge), Actor: a.Actor, Detail: a.Detail,
		}
	}
	return rows
}

// handedRow is one element of the first parameter of recordGapsSQL.
type handedRow struct {
	Challenge   string    `json:"challenge"`
	Send        int       `json:"send"`
	Number      int       `json:"number"`
	Channel     string    `json:"channel"`
	RequestedAt time.Time `json:"requested_at"`
}

func handedRows(handed []Handed) []handedRow {
	rows := make([]handedRow, len(handed))
	for i, h := range handed {
		rows[i] = handedRow(h)
		rows[i].RequestedAt = micros(h.RequestedAt)
	}
	return rows
}

// micros cuts a time to what Postgres keeps. Postgres itself would round text, and a rounded expiry would no longer
// open the envelope that is bound to it.
func micros(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// orNull turns an empty text into NULL.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
