package postgres

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoLogin says that there is no login of that name, or that it was removed.
var ErrNoLogin = errors.New("unknown login")

// Unlock ends a login's lock and its run of wrong codes, with audit and outbox; by is who asked for it. The budget of
// hour and day stays as it is. It reports whether the login was locked: unlocking an open one changes nothing. It
// fails with ErrNoLogin.
func (db *DB) Unlock(ctx context.Context, workspace, login, by string) (bool, error) {
	var known, unlocked bool
	err := db.pool.QueryRow(ctx, unlockSQL, workspace, login, by, Verifier).Scan(&known, &unlocked)
	if err != nil {
		return false, fmt.Errorf("unlock login: %w", scrub(err))
	}
	if !known {
		return false, ErrNoLogin
	}
	return unlocked, nil
}

// unlockSQL: $1 workspace, $2 login, $3 who asks, $4 the verifier's name. The event's id follows from the lock that it
// ends; a slash stands in no id of a workspace or login.
const unlockSQL = `
WITH b AS MATERIALIZED (
    SELECT workspace, login, version, locked_at
      FROM login_budgets
     WHERE workspace = $1 AND login = $2 AND removed_at IS NULL
       FOR UPDATE
), d AS MATERIALIZED (
    SELECT b.*, clock_timestamp() AS at FROM b WHERE locked_at IS NOT NULL
), u AS (
    UPDATE login_budgets g SET locked_at = NULL, in_a_row = 0
      FROM d WHERE g.workspace = d.workspace AND g.login = d.login
), e AS MATERIALIZED (
    SELECT workspace || '/' || login || '.unlocked.' || (extract(epoch FROM locked_at) * 1000000)::bigint AS id,
           workspace, login, at,
           jsonb_build_object('workspace', workspace, 'login', login, 'version', version, 'by', $3::text, 'at', at) AS data
      FROM d
), a AS (
    INSERT INTO audit (id, at, kind, workspace, login, actor, detail)
    SELECT id, at, 'directory.v1.login_unlocked', workspace, login, $3, data FROM e
), o AS (
    INSERT INTO outbox (id, type, source, subject, at, data)
    SELECT id, 'directory.v1.login_unlocked', $4::text, workspace, at, data FROM e
)
SELECT EXISTS (SELECT FROM b), EXISTS (SELECT FROM d)`
