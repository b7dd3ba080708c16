package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/rollout"
)

// Checked is a workspace with what is on record of it.
type Checked struct {
	Workspace, Wave string // the latter empty for none
	Checkup         rollout.Checkup
}

// checkedSQL: $1 the last workspace of the page before, $2 limit, $3 wave and $4 workspace, NULL for all.
const checkedSQL = `
SELECT w.id, coalesce(p.wave, ''), w.main_email, coalesce(w.owner, ''), w.group_address
  FROM workspaces w LEFT JOIN rollout_places p ON p.workspace = w.id
 WHERE w.id > $1 AND ($3::text IS NULL OR p.wave = $3) AND ($4::text IS NULL OR w.id = $4)
 ORDER BY w.id LIMIT $2`

// checkedLoginsSQL: $1 workspaces. The last code by e-mail bounced when it was not typed and its provider gave up on it, also by
// a late report that names the address alone, and neither the login nor its workspace was changed since. A code proves the
// address as far as neither was changed since, either.
const checkedLoginsSQL = `
SELECT l.workspace, l.id, coalesce(l.email, ''), coalesce(l.phone, ''), l.channel,
       u.browsers, u.networks, u.sign_ins, u.scripts, u.seen,
       u.typed OR EXISTS (
           SELECT FROM audit a
            WHERE a.challenge_id = m.challenge_id AND a.at BETWEEN m.started_at - interval '1 hour' AND m.started_at + interval '4 days'
              AND a.kind = 'receipt.v1.recorded' AND a.detail ->> 'channel' = 'email' AND a.detail ->> 'status' = 'delivered'),
       m.outcome <> 'approved' IS TRUE AND (EXISTS (
           SELECT FROM audit a
            WHERE a.challenge_id = m.challenge_id AND a.at BETWEEN m.started_at - interval '1 hour' AND m.started_at + interval '4 days'
              AND a.kind = 'receipt.v1.recorded' AND a.detail ->> 'channel' = 'email' AND a.detail ->> 'status' = 'failed') OR EXISTS (
           SELECT FROM challenges c JOIN audit a ON a.detail ->> 'address_hash' = encode(c.address, 'base64')
            WHERE c.id = m.challenge_id AND a.at BETWEEN m.started_at - interval '1 hour' AND m.started_at + interval '4 days'
              AND a.kind = 'receipt.v1.recorded' AND a.challenge_id IS NULL AND a.detail ->> 'channel' = 'email' AND a.detail ->> 'status' = 'failed'))
  FROM logins l
  JOIN workspaces w ON w.id = l.workspace
 CROSS JOIN LATERAL (
       SELECT count(DISTINCT s.browser) FILTER (WHERE s.outcome IN ('approved', 'waived')) AS browsers,
              count(DISTINCT s.network) FILTER (WHERE s.outcome IN ('approved', 'waived')) AS networks,
              count(*) AS sign_ins, count(*) FILTER (WHERE s.network IS NOT NULL AND s.browser IS NULL AND s.agent IS NULL) AS scripts,
              coalesce(bool_or(s.outcome IN ('approved', 'waived')), false) AS seen,
              coalesce(bool_or(s.outcome = 'approved' AND s.channel = 'email' AND s.started_at > greatest(l.updated_at, w.updated_at)), false) AS typed
         FROM sign_ins s WHERE s.workspace = l.workspace AND s.login = l.id AND s.ended_at > now() - interval '30 days') AS u
  LEFT JOIN LATERAL (
       SELECT s.challenge_id, s.started_at, s.outcome
         FROM sign_ins s
        WHERE s.workspace = l.workspace AND s.login = l.id AND s.channel = 'email' AND s.ended_at > now() - interval '30 days'
          AND s.started_at > greatest(l.updated_at, w.updated_at)
        ORDER BY s.ended_at DESC LIMIT 1) AS m ON true
 WHERE l.workspace = ANY($1)
 ORDER BY l.workspace, l.id`

// Preflight gives take what is on record of every workspace of a wave, or of the one that is named, or of all when both are
// empty, in the order of their ids. texts says whether text messages go out at all. As with RecordedSubjects a page is read in
// one short transaction and nothing is written. It fails with ErrNoWorkspace for a named one. It is for the owner's role.
func (d *Directory) Preflight(ctx context.Context, wave, workspace string, texts bool, take func(Checked)) error {
	found := false
	for last, size := "", chunk; size == chunk; {
		var page []checkedRow
		err := d.db.inTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			var err error
			page, err = readChecked(ctx, tx, last, wave, workspace)
			if err != nil {
				return err
			}
			return readCheckedLogins(ctx, tx, page, texts)
		})
		if err != nil {
			return fmt.Errorf("read what is on record of workspaces: %w", err)
		}
		for _, row := range page {
			last, found = row.workspace.ID, true
			take(Checked{Workspace: row.workspace.ID, Wave: row.wave, Checkup: row.checkup})
		}
		size = len(page)
	}
	if !found && workspace != "" {
		return ErrNoWorkspace
	}
	return nil
}

// checkedRow is a workspace as it is read.
type checkedRow struct {
	workspace account.Workspace
	wave      string
	checkup   rollout.Checkup
}

// readChecked reads a page of workspaces, without their logins.
func readChecked(ctx context.Context, tx pgx.Tx, last, wave, workspace string) ([]checkedRow, error) {
	_, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', '60s', true)`) // A page takes longer than a sign-in may.
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, checkedSQL, last, chunk, orNull(wave), orNull(workspace))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (checkedRow, error) {
		var r checkedRow
		w := &r.workspace
		err := row.Scan(&w.ID, &r.wave, &w.MainEmail, &w.Owner, &w.GroupAddress)
		r.checkup.Group = w.GroupAddress || rollout.GroupLike(w.MainEmail)
		return r, err
	})
}

// readCheckedLogins adds up the logins of a page.
func readCheckedLogins(ctx context.Context, tx pgx.Tx, page []checkedRow, texts bool) error {
	ids, at := make([]string, len(page)), make(map[string]int, len(page))
	for i, r := range page {
		ids[i], at[r.workspace.ID] = r.workspace.ID, i
	}
	rows, err := tx.Query(ctx, checkedLoginsSQL, ids)
	if err != nil {
		return err
	}
	var l account.Login
	var u account.Use
	var signIns, scripts int
	var seen, proven, bounced bool
	_, err = pgx.ForEachRow(rows, []any{
		&l.Workspace, &l.ID, &l.Email, &l.Phone, &l.Channel, &u.Browsers, &u.Networks, &signIns, &scripts, &seen, &proven, &bounced,
	}, func() error {
		r := &page[at[l.Workspace]]
		c := &r.checkup
		c.Logins++
		if len(account.Routes(r.workspace, l, texts)) == 0 {
			c.Unreached++
		}
		if l.ID == r.workspace.Owner { // An owner that is named and not there is none.
			c.HasOwner, c.OwnerSeen, c.Proven = true, seen, proven
		}
		c.Bounced, c.Shared = c.Bounced || bounced, c.Shared || u.Shared()
		c.SignIns, c.Scripts = c.SignIns+signIns, c.Scripts+scripts
		return nil
	})
	return err
}

// ErrSameWave says that workspaces would move to where they are.
var ErrSameWave = errors.New("they are in that wave already")

// MoveToWave takes workspaces of one wave into another, all that are named or none, on record as those that left and joined: so
// blocked ones go to a wave that serves as the work-list, and from there to another once they are cleared or overruled (product.md
// R4.5). Their logins that were new stay new. Nobody of either wave may have been told. It fails with ErrSameWave and with what
// Join and Leave fail with, and with an *IntegrityError for a place that is not as it was written.
func (d *Directory) MoveToWave(ctx context.Context, o RolloutOrder, from, to string, workspaces []string) (Moved, error) {
	var m Moved
	err := d.changeRollout(ctx, o, func(ctx context.Context, t *rolloutTx) error {
		ids, err := named(workspaces)
		if err != nil {
			return err
		}
		if from == to {
			return ErrSameWave
		}
		waves := map[string]rollout.Wave{}
		for _, id := range slices.Sorted(slices.Values([]string{from, to})) { // in one order, whichever way they go
			waves[id], err = t.lockUntold(ctx, id)
			if err != nil {
				return err
			}
		}
		m = Moved{Wave: waves[to], At: t.at, Workspaces: ids}
		err = t.movePlaces(ctx, from, to, ids)
		if err != nil {
			return err
		}
		err = t.recordMoved(ctx, Moved{Wave: waves[from], At: t.at, Workspaces: ids}, WorkspacesLeft, WorkspaceLeft)
		if err != nil {
			return err
		}
		return t.recordMoved(ctx, m, WorkspacesJoined, WorkspaceJoined)
	})
	if err != nil {
		return Moved{}, fmt.Errorf("move to another wave: %w", err)
	}
	return m, nil
}

// movePlaces writes the places of sorted workspaces anew.
func (t *rolloutTx) movePlaces(ctx context.Context, from, to string, ids []string) error {
	for some := range slices.Chunk(ids, chunk) {
		rows, err := t.tx.Query(ctx, `
			SELECT workspace, joined_at, mac_key, mac FROM rollout_places WHERE wave = $2 AND workspace = ANY($1) ORDER BY workspace COLLATE "C" FOR UPDATE`, some, from)
		if err != nil {
			return err
		}
		var there []string
		var keys []int16
		var macs [][]byte
		var id string
		var joined time.Time
		var s rowSeal
		_, err = pgx.ForEachRow(rows, []any{&id, &joined, &s.key, &s.mac}, func() error {
			if !s.fits(t.rows, TablePlaces, placePairs(id, from, joined)) {
				return &IntegrityError{Table: TablePlaces}
			}
			fresh := sealRow(t.rows, TablePlaces, placePairs(id, to, joined))
			there, keys, macs = append(there, id), append(keys, int16(fresh.key)), append(macs, fresh.mac)
			return nil
		})
		if err == nil {
			err = lacking(ErrNotHere, some, there)
		}
		if err != nil {
			return err
		}
		_, err = t.tx.Exec(ctx, `
			UPDATE rollout_places p SET wave = $2, mac_key = one.mac_key, mac = one.mac
			  FROM unnest($1::text[], $3::smallint[], $4::bytea[]) AS one (workspace, mac_key, mac) WHERE p.workspace = one.workspace`, there, to, keys, macs)
		if err != nil {
			return err
		}
	}
	return nil
}
