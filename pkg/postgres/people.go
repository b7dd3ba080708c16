package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/event"
)

// invitationPairs covers all but the count and the time of mails.
func invitationPairs(i account.Invitation) pairs {
	return pairs{}.with("workspace", i.Workspace).with("id", i.ID).with("email", i.Email).with("name", i.Name).
		with("locale", i.Locale).with("login", i.Login).with("invited_by", i.By).with("state", string(i.State)).
		with("created_at", stamp(i.CreatedAt)).with("expires_at", stamp(i.ExpiresAt)).with("ended_at", stamp(i.EndedAt)).
		with("challenge", i.Challenge).with("joined", i.Joined)
}

func joinPairs(r account.JoinRequest) pairs {
	return pairs{}.with("workspace", r.Workspace).with("id", r.ID).with("login", r.Login).with("name", r.Name).
		with("email", r.Email).with("browser", r.Browser).with("system", r.System).with("state", string(r.State)).
		with("created_at", stamp(r.CreatedAt)).with("ended_at", stamp(r.EndedAt))
}

func groupTestPairs(g account.GroupTest) pairs {
	p := pairs{}.with("workspace", g.Workspace).with("id", g.ID).with("email", g.Email).with("login", g.Login).
		with("tested_by", g.By).with("first", g.Handles[0]).with("second", g.Handles[1]).
		with("created_at", stamp(g.CreatedAt)).with("passed_at", stamp(g.PassedAt))
	for i, name := range []string{"first_confirmed", "second_confirmed"} {
		if g.Confirmed[i] {
			p = p.with(name, "true")
		}
	}
	return p
}

// stamp is a time as the database keeps it, or nothing for the zero time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
}

// reading runs fn over one state of a workspace. It fails with ErrNoWorkspace or an *IntegrityError.
func (d *Directory) reading(ctx context.Context, workspace string, fn func(pgx.Tx, account.Workspace, time.Time) error) error {
	return d.db.inTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		w, seal, err := scanWorkspace(tx.QueryRow(ctx, workspaceSQL, workspace))
		if err != nil {
			return err
		}
		if !seal.fits(d.rows, TableWorkspaces, workspacePairs(w)) {
			return &IntegrityError{Table: TableWorkspaces}
		}
		var now time.Time
		err = tx.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now)
		if err != nil {
			return err
		}
		return fn(tx, w, now.UTC())
	})
}

// removePeople takes all invitations, requests and tests of a workspace along, and ends the codes that are open for them.
func (t *directoryTx) removePeople(ctx context.Context, workspace string) error {
	rows, err := t.tx.Query(ctx, `
		WITH i AS (DELETE FROM invitations WHERE workspace = $1 RETURNING login),
		     g AS (DELETE FROM group_tests WHERE workspace = $1 RETURNING login),
		     j AS (DELETE FROM join_requests WHERE workspace = $1)
		SELECT login FROM i UNION ALL SELECT login FROM g`, workspace)
	if err != nil {
		return err
	}
	logins, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	return t.retire(ctx, workspace, logins...)
}

// recordAbout is record for a change of an invitation, a request or a test, of which it names the id.
func (t *directoryTx) recordAbout(ctx context.Context, kind event.Type, workspace, login, about string) error {
	return t.write(ctx, kind, event.Directory{Workspace: workspace, Login: login, About: about})
}
