package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/challenge"
	"doorcode/pkg/event"
)

// SearchQuery says which challenges somebody looks for. Each of the first four that is not empty finds its own; with none
// of them all of the time are found. What is found is issued in [From, To); a provider's id, handed over then.
type SearchQuery struct {
	Challenge  string // 22 base64url characters
	Reference  string // as challenge.ParseReference returns it
	Workspace  string
	ProviderID string // of a message, as the provider gave it

	From, To time.Time
	// Workspaces are the only ones that are looked in; nil: all.
	Workspaces []string
}

// Found is a challenge that a search found, as the audit has it.
type Found struct {
	ID        string
	At        time.Time // when it was issued
	ExpiresAt time.Time
	Workspace string
	Login     string
	FrontEnd  string
	Channel   string // of the first message
	Label     string
	Reference string // as it is stored
	// State is pending when no end is on record; whether its time has passed is for the caller to see.
	State challenge.State
}

// MaxFound is how many challenges a search shows at most: the newest.
const MaxFound = 50

// MaxSpan is how long a time a search looks through at most: as long as a support reference is good for, and a day for
// what ended late.
const MaxSpan = 31 * 24 * time.Hour

// ErrSearchSpan says that the time of a search ends before it begins, or is too long.
var ErrSearchSpan = errors.New("the time has to end after it begins, and within 31 days")

// foundColumns are what scanFound reads of the audit row i of a challenge that was issued.
const foundColumns = `
SELECT i.challenge_id, i.at, (i.detail ->> 'expires_at')::timestamptz, coalesce(i.workspace, ''), coalesce(i.login, ''), i.actor,
       coalesce(i.detail ->> 'channel', ''), coalesce(i.detail ->> 'label', ''), coalesce(i.detail ->> 'support_reference', '')
  FROM audit i`

// foundLast orders and bounds: $1 and $2 are the time, $3 the workspaces, NULL for all, $4 what is looked for.
const foundLast = `
   AND i.kind = 'challenge.v1.issued' AND ($3::text[] IS NULL OR i.workspace = ANY($3))
 ORDER BY i.at DESC LIMIT 50`

// The statements of a search. Each finds its rows by an index of its own (018_console.sql), in each day's partition.
const (
	byTimeSQL      = foundColumns + ` WHERE i.at >= $1 AND i.at < $2 AND $4::text IS NULL` + foundLast
	byWorkspaceSQL = foundColumns + ` WHERE i.at >= $1 AND i.at < $2 AND i.workspace = $4` + foundLast
	byReferenceSQL = foundColumns + ` WHERE i.at >= $1 AND i.at < $2 AND i.detail ->> 'support_reference' = $4` + foundLast
	byChallengeSQL = foundColumns + ` WHERE i.at >= $1 AND i.at < $2 AND i.challenge_id = $4` + foundLast
)

// attemptedSQL: $1 and $2 the time, $3 a provider's id of a message, which stands in the rows of attempts.
const attemptedSQL = `
SELECT DISTINCT challenge_id, at FROM audit
 WHERE kind = 'delivery.v1.attempted' AND detail ->> 'provider_id' = $3 AND at >= $1 AND at < $2
 ORDER BY at DESC LIMIT 50`

// searchSettingsSQL has each statement planned for its own time and limit: the newest rows are read from the end of an
// index, day by day, and no day is read whole to be sorted.
const searchSettingsSQL = `
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_bitmapscan', 'off', true)`

// endsSQL: $1 challenges, $2 kinds, $3 and $4 the time.
const endsSQL = `
SELECT challenge_id, kind FROM audit WHERE challenge_id = ANY($1) AND kind = ANY($2) AND at >= $3 AND at < $4`

// recordSearchSQL: $1 operator, $2 workspace, $3 support reference, $4 by what, $5 how many were found.
const recordSearchSQL = `
SELECT record_shown($1, CASE WHEN $5::int > 0 THEN $2::text END, NULL, NULL,
                    jsonb_strip_nulls(jsonb_build_object('support_reference', $3::text, 'searched', $4::text[], 'found', $5::int)))`

// SearchChallenges finds challenges in the audit, which has them longer than they live: the newest first, at most
// MaxFound. That the operator searched is on record before they are returned (SEC-62). It fails with ErrSearchSpan. It is
// for the roles of owner and console.
func (db *DB) SearchChallenges(ctx context.Context, operator string, q SearchQuery) ([]Found, error) {
	if !q.From.Before(q.To) || q.To.Sub(q.From) > MaxSpan {
		return nil, ErrSearchSpan
	}
	var all []Found
	err := db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, searchSettingsSQL)
		if err != nil {
			return err
		}
		statements, err := q.statements(ctx, tx)
		if err != nil {
			return err
		}
		for _, s := range statements {
			rows, err := tx.Query(ctx, s.sql, q.From, q.To, q.Workspaces, orNull(s.value))
			if err != nil {
				return err
			}
			found, err := pgx.CollectRows(rows, scanFound)
			if err != nil {
				return err
			}
			all = append(all, found...)
		}
		all = newest(all)
		err = addEnds(ctx, tx, all)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, recordSearchSQL, operator, orNull(q.Workspace), orNull(q.Reference), q.ways(), len(all))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("search challenges: %w", err)
	}
	return all, nil
}

// statement is one way to find, with what is looked for.
type statement struct {
	sql, value string
}

// statements are those of a query. A provider's id is looked up first. Who sees few workspaces alone has each of them
// looked through by its index.
func (q SearchQuery) statements(ctx context.Context, tx pgx.Tx) ([]statement, error) {
	all := []statement{{byChallengeSQL, q.Challenge}, {byReferenceSQL, q.Reference}, {byWorkspaceSQL, q.Workspace}}
	all = slices.DeleteFunc(all, func(s statement) bool { return s.value == "" })
	if q.ProviderID != "" {
		rows, err := tx.Query(ctx, attemptedSQL, q.From, q.To, q.ProviderID)
		if err != nil {
			return nil, err
		}
		var id string
		_, err = pgx.ForEachRow(rows, []any{&id, nil}, func() error {
			all = append(all, statement{byChallengeSQL, id})
			return nil
		})
		return all, err
	}
	if len(all) > 0 {
		return all, nil
	}
	if q.Workspaces == nil {
		return []statement{{byTimeSQL, ""}}, nil
	}
	for _, w := range q.Workspaces {
		if account.ValidateID(w) == nil {
			all = append(all, statement{byWorkspaceSQL, w})
		}
	}
	return all, nil
}

// ways says by what a query looks, and nothing of what somebody typed.
func (q SearchQuery) ways() []string {
	var all []string
	for _, way := range [][2]string{{"challenge", q.Challenge}, {"reference", q.Reference}, {"workspace", q.Workspace}, {"provider_id", q.ProviderID}} {
		if way[1] != "" {
			all = append(all, way[0])
		}
	}
	if all == nil {
		return []string{"time"}
	}
	return all
}

// scanFound reads foundColumns.
func scanFound(row pgx.CollectableRow) (Found, error) {
	f := Found{State: challenge.Pending}
	var expires *time.Time
	err := row.Scan(&f.ID, &f.At, &expires, &f.Workspace, &f.Login, &f.FrontEnd, &f.Channel, &f.Label, &f.Reference)
	if expires != nil {
		f.ExpiresAt = expires.UTC()
	}
	return f, err
}

// newest returns each challenge once, the newest first, at most MaxFound.
func newest(all []Found) []Found {
	slices.SortFunc(all, func(a, b Found) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.ID, b.ID)) })
	all = slices.CompactFunc(all, func(a, b Found) bool { return a.ID == b.ID })
	return all[:min(len(all), MaxFound)]
}

// addEnds fills in the states of the challenges that have ended.
func addEnds(ctx context.Context, tx pgx.Tx, all []Found) error {
	if len(all) == 0 {
		return nil
	}
	states := map[string]challenge.State{
		string(event.ChallengeApproved): challenge.Approved, string(event.ChallengeExpired): challenge.Expired,
		string(event.ChallengeCanceled): challenge.Canceled, string(event.ChallengeExhausted): challenge.Exhausted,
		string(event.ChallengeWaived): challenge.Waived,
	}
	kinds := make([]string, 0, len(states))
	for kind := range states {
		kinds = append(kinds, kind)
	}
	ids := make([]string, len(all))
	for i, f := range all {
		ids[i] = f.ID
	}
	// Clocks differ by less than an hour, and the sweep ends what expired within a day.
	rows, err := tx.Query(ctx, endsSQL, ids, kinds, all[len(all)-1].At.Add(-time.Hour), all[0].At.Add(24*time.Hour))
	if err != nil {
		return err
	}
	ended := map[string]challenge.State{}
	var id, kind string
	_, err = pgx.ForEachRow(rows, []any{&id, &kind}, func() error {
		ended[id] = states[kind]
		return nil
	})
	if err != nil {
		return err
	}
	for i, f := range all {
		all[i].State = cmp.Or(ended[f.ID], f.State)
	}
	return nil
}
