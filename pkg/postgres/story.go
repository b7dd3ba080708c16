package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
	"doorcode/pkg/story"
)

// StoryQuery says which challenges somebody wants to be told of: one by its id, or all that have a support reference,
// which is short enough for several to share one.
type StoryQuery struct {
	Challenge string // 22 base64url characters, or empty
	Reference string // as challenge.ParseReference returns it, or empty
	// Workspaces are the only ones that are told of; nil: all, and what belongs to none.
	Workspaces []string
}

// hides reports whether a challenge is not to be told of.
func (q StoryQuery) hides(c story.Challenge) bool {
	return q.Workspaces != nil && !slices.Contains(q.Workspaces, c.Workspace)
}

// Story is a challenge with what the audit has about it and its notices.
type Story struct {
	Challenge story.Challenge
	Rows      []story.Row
}

// maxStories bounds how many challenges one look-up shows: the newest.
const maxStories = 20

// storySettingsSQL gives a look-up more time than a sign-in has; it reads few rows, but maybe of many days.
const storySettingsSQL = `SELECT set_config('statement_timeout', '30s', true)`

// toldSQL: $1 challenge, $2 support reference, each NULL for none, $3 limit. A pending one past its expiry is expired, whether swept or not.
const toldSQL = `
SELECT c.id, c.workspace, c.login, c.front_end, c.purpose, c.label, c.support_reference, c.routes, c.send_routes,
       CASE WHEN c.state = 'pending' AND c.expires_at <= clock_timestamp() THEN 'expired' ELSE c.state END,
       coalesce(c.reason, ''), c.created_at, c.expires_at
  FROM told_challenges c
 WHERE c.id = $1 OR c.support_reference = $2
 ORDER BY c.created_at DESC, c.id LIMIT $3`

// storyRowsSQL: $1 challenges or notices, $2 since, NULL for ever.
const storyRowsSQL = `
SELECT id, at, kind, challenge_id, coalesce(workspace, ''), coalesce(login, ''), actor, detail FROM audit
 WHERE challenge_id = ANY($1) AND at > coalesce($2::timestamptz, '-infinity')`

// noticesSQL: $1 challenge, $2 since, $3 until. A notice names the event that it tells of, and events are named after
// their challenge.
const noticesSQL = `
SELECT challenge_id FROM audit
 WHERE kind = 'notice.v1.requested' AND at > $2 AND at < $3 AND starts_with(detail ->> 'cause', $1 || '.')`

// recordShownSQL: $1 operator, $2 workspace, $3 login, $4 challenge, $5 reference that was asked for, $6 how many were found.
const recordShownSQL = `
SELECT record_shown($1, $2, $3, $4, jsonb_strip_nulls(jsonb_build_object('support_reference', $5::text, 'found', $6::int)))`

// Stories reads what is on record about challenges, the newest first, at most twenty. A challenge whose row is gone is told
// from the audit alone, by its id, or by its reference for thirty days (product.md R11.3). Of notices those are told that were
// ordered up to an hour after the challenge ended.
//
// Nobody reads unseen: that the operator was shown each of them, or asked and nothing was there, is committed before
// they are returned (product.md R11.9). The operator's name is one of account.ValidateID. What is not theirs to see is as if
// it were not there. It is for the roles of owner and console.
func (db *DB) Stories(ctx context.Context, operator string, q StoryQuery) ([]Story, error) {
	err := account.ValidateID(operator)
	if err != nil {
		return nil, fmt.Errorf("read the story of a challenge: the operator: %w", err)
	}
	var stories []Story
	err = db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, storySettingsSQL)
		if err != nil {
			return err
		}
		stories, err = readStories(ctx, tx, q)
		if err != nil {
			return err
		}
		return recordShown(ctx, tx, operator, q, stories)
	})
	if err != nil {
		return nil, fmt.Errorf("read the story of a challenge: %w", err)
	}
	return stories, nil
}

// readStories reads the challenges of a query with their rows.
func readStories(ctx context.Context, tx pgx.Tx, q StoryQuery) ([]Story, error) {
	rows, err := tx.Query(ctx, toldSQL, orNull(q.Challenge), orNull(q.Reference), maxStories)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, scanTold)
	if err != nil {
		return nil, err
	}
	var stories []Story
	for _, c := range found {
		s := Story{Challenge: c}
		since := c.CreatedAt.Add(-time.Hour) // Clocks differ; older partitions are spared.
		s.Rows, err = storyRows(ctx, tx, []string{c.ID}, &since)
		if err != nil {
			return nil, err
		}
		stories = append(stories, s)
	}
	if len(found) == 0 {
		stories, err = recalled(ctx, tx, q)
		if err != nil {
			return nil, err
		}
	}
	stories = slices.DeleteFunc(stories, func(s Story) bool { return q.hides(s.Challenge) })
	for i := range stories {
		err = stories[i].addNotices(ctx, tx)
		if err != nil {
			return nil, err
		}
	}
	return stories, nil
}

// referredSQL: $1 support reference, $2 limit. A reference is good for thirty days (product.md R11.3).
const referredSQL = `
SELECT challenge_id FROM audit
 WHERE kind = 'challenge.v1.issued' AND detail ->> 'support_reference' = $1
   AND at > clock_timestamp() - interval '30 days' AND at < clock_timestamp() + interval '1 hour'
 ORDER BY at DESC LIMIT $2`

// recalled reads challenges whose rows are gone.
func recalled(ctx context.Context, tx pgx.Tx, q StoryQuery) ([]Story, error) {
	ids := []string{q.Challenge}
	if q.Challenge == "" {
		rows, err := tx.Query(ctx, referredSQL, q.Reference, maxStories)
		if err != nil {
			return nil, err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, err
		}
	}
	var stories []Story
	for _, id := range ids {
		rows, err := storyRows(ctx, tx, []string{id}, nil)
		if err != nil {
			return nil, err
		}
		if happened(rows) {
			stories = append(stories, Story{Challenge: story.Recall(id, rows), Rows: rows})
		}
	}
	return stories, nil
}

// happened says whether anything is on record but that somebody looked.
func happened(rows []story.Row) bool {
	for _, r := range rows {
		if r.Kind != story.Shown {
			return true
		}
	}
	return false
}

// scanTold reads a row of toldSQL.
func scanTold(row pgx.CollectableRow) (story.Challenge, error) {
	var c story.Challenge
	var state string
	var routes []byte
	var sent []int16
	err := row.Scan(&c.ID, &c.Workspace, &c.Login, &c.FrontEnd, &c.Purpose, &c.Label, &c.Reference, &routes, &sent, &state,
		&c.Reason, &c.CreatedAt, &c.ExpiresAt)
	if err != nil {
		return c, err
	}
	c.State = challenge.State(state)
	var all []event.Route
	err = json.Unmarshal(routes, &all)
	if err != nil {
		return c, fmt.Errorf("read the routes of a challenge: %w", err)
	}
	for _, r := range all {
		c.Routes = append(c.Routes, story.Route{Channel: r.Channel, Recipient: r.Recipient})
	}
	for _, n := range sent {
		c.Sent = append(c.Sent, int(n))
	}
	return c, nil
}

// storyRows reads the audit rows about some challenges or notices.
func storyRows(ctx context.Context, tx pgx.Tx, about []string, since *time.Time) ([]story.Row, error) {
	rows, err := tx.Query(ctx, storyRowsSQL, about, since)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (story.Row, error) {
		var r story.Row
		err := row.Scan(&r.ID, &r.At, &r.Kind, &r.About, &r.Workspace, &r.Login, &r.Actor, &r.Detail)
		return r, err
	})
}

// addNotices adds the rows of the notices that events of the challenge caused.
func (s *Story) addNotices(ctx context.Context, tx pgx.Tx) error {
	if len(s.Rows) == 0 {
		return nil
	}
	since, until := s.Rows[0].At, s.Challenge.ExpiresAt
	for _, r := range s.Rows {
		if r.At.Before(since) {
			since = r.At
		}
	}
	if until.Before(since) {
		until = since
	}
	since = since.Add(-time.Hour)
	rows, err := tx.Query(ctx, noticesSQL, s.Challenge.ID, since, until.Add(time.Hour))
	if err != nil {
		return err
	}
	notices, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(notices) == 0 {
		return err
	}
	more, err := storyRows(ctx, tx, notices, &since)
	s.Rows = append(s.Rows, more...)
	return err
}

// recordShown puts on record who was shown what.
func recordShown(ctx context.Context, tx pgx.Tx, operator string, q StoryQuery, stories []Story) error {
	if len(stories) == 0 {
		_, err := tx.Exec(ctx, recordShownSQL, operator, nil, nil, orNull(q.Challenge), orNull(q.Reference), 0)
		return err
	}
	for _, s := range stories {
		c := s.Challenge
		_, err := tx.Exec(ctx, recordShownSQL, operator, orNull(c.Workspace), orNull(c.Login), c.ID, orNull(c.Reference), len(stories))
		if err != nil {
			return err
		}
	}
	return nil
}
