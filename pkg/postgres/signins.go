package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
)

// SignIn is a sign-in of a login that has ended: the password was right, and this became of the code.
type SignIn struct {
	At      time.Time // of the end
	Channel string    // of the first message; empty when none was needed
	Outcome string    // approved, expired, canceled, exhausted or waived
	Reason  string    // of a cancel or a waiver
	Agent   string    // browser and system; empty when the front-end did not say
	Network string    // the client's address without its last part; empty when the front-end did not say
}

// signInsSQL: $1 workspace, $2 login, $3 limit.
const signInsSQL = `
SELECT ended_at, channel, outcome, coalesce(reason, ''), coalesce(agent, ''), coalesce(network, '') FROM sign_ins
 WHERE workspace = $1 AND login = $2 ORDER BY ended_at DESC, challenge_id LIMIT $3`

// SignIns returns the last sign-ins of a login, the newest first, at most limit of them and none older than 30 days.
func (d *Directory) SignIns(ctx context.Context, workspace, login string, limit int) ([]SignIn, error) {
	rows, err := d.db.pool.Query(ctx, signInsSQL, workspace, login, limit)
	if err != nil {
		return nil, fmt.Errorf("read sign-ins: %w", scrub(err))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (SignIn, error) {
		var s SignIn
		err := row.Scan(&s.At, &s.Channel, &s.Outcome, &s.Reason, &s.Agent, &s.Network)
		return s, err
	})
	if err != nil {
		return nil, fmt.Errorf("read sign-ins: %w", scrub(err))
	}
	return all, nil
}

// usesSQL: $1 workspace, $2 login, or NULL for all of them.
const usesSQL = `
SELECT login, count(DISTINCT browser) FILTER (WHERE outcome IN ('approved', 'waived')),
       count(DISTINCT network) FILTER (WHERE outcome IN ('approved', 'waived')),
       count(*) FILTER (WHERE outcome NOT IN ('approved', 'waived')), max(ended_at) FILTER (WHERE outcome IN ('approved', 'waived'))
  FROM sign_ins WHERE workspace = $1 AND ($2::text IS NULL OR login = $2) AND ended_at > clock_timestamp() - interval '30 days'
 GROUP BY login`

// Uses tells how the logins of a workspace were used within 30 days, or one of them; an unused one is not there.
func (d *Directory) Uses(ctx context.Context, workspace, login string) (map[string]account.Use, error) {
	rows, err := d.db.pool.Query(ctx, usesSQL, workspace, orNull(login))
	if err != nil {
		return nil, fmt.Errorf("read uses: %w", scrub(err))
	}
	uses := map[string]account.Use{}
	var id string
	var u account.Use
	var last *time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &u.Browsers, &u.Networks, &u.Stopped, &last}, func() error {
		u.LastAt = orZero(last)
		uses[id] = u
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read uses: %w", scrub(err))
	}
	return uses, nil
}
