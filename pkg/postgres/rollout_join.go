package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/account"
	"doorcode/pkg/rollout"
)

// Refusals of a join or a leave that a *WorkspacesError names workspaces with; ErrNoWorkspace is a further one.
var (
	ErrPlaced  = errors.New("in another wave already")
	ErrNotHere = errors.New("not in the wave")
	ErrNew     = errors.New("made after the roll-out began: codes are required there already")
	ErrNobody  = errors.New("no workspace is named")
)

// WorkspacesError names the workspaces because of which nothing was changed.
type WorkspacesError struct {
	Reason     error // ErrNoWorkspace, ErrNew, ErrPlaced, ErrNotHere or account.ErrID
	Workspaces []string
}

// Error names the first of them.
func (e *WorkspacesError) Error() string {
	const first = 10
	if len(e.Workspaces) <= first {
		return fmt.Sprintf("%v: %s", e.Reason, strings.Join(e.Workspaces, ", "))
	}
	return fmt.Sprintf("%v: %s and %d more", e.Reason, strings.Join(e.Workspaces[:first], ", "), len(e.Workspaces)-first)
}

// Unwrap returns the reason.
func (e *WorkspacesError) Unwrap() error { return e.Reason }

// Pick says which workspaces a join takes.
type Pick struct {
	// Workspaces are those that are named. One that is unknown, or in another wave, makes the join fail; one that is in
	// the wave already stays as it is. One that was made after the first wave was makes it fail as well.
	Workspaces []string
	// Percent is used when none is named: of the older workspaces in no wave those of rollout.InPercent.
	Percent float64
}

// Moved are the workspaces that joined or left a wave.
type Moved struct {
	Wave       rollout.Wave
	At         time.Time // the database's, after the wave was locked
	Workspaces []string  // in the order of their bytes
}

// Sum is the SHA-256, in hex, of the ids in the order of their bytes, each followed by a line feed: what sha256sum says
// of a file that lists them so. It stands in the audit.
func (m Moved) Sum() string {
	h := sha256.New()
	for _, id := range m.Workspaces {
		_, _ = h.Write([]byte(id + "\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// chunk is how many workspaces a statement is about, so that none takes long.
const chunk = 1000

// Join puts workspaces into a wave, all of them or none. Their logins that are there count as there before, and those that
// are made later need a code. It fails with ErrNoWave, rollout.ErrTold, ErrNobody, rollout.ErrPercent, a
// *WorkspacesError or an *IntegrityError. A join that takes nobody leaves no record.
func (d *Directory) Join(ctx context.Context, o RolloutOrder, wave string, p Pick) (Moved, error) {
	var m Moved
	err := d.changeRollout(ctx, o, func(ctx context.Context, t *rolloutTx) error {
		var err error
		m, err = t.wouldJoin(ctx, wave, p)
		if err != nil || len(m.Workspaces) == 0 {
			return err
		}
		placed, err := t.place(ctx, m)
		if err == nil && len(p.Workspaces) > 0 {
			err = lacking(ErrPlaced, m.Workspaces, placed) // Another join has just taken it.
		}
		if err != nil {
			return err
		}
		m.Workspaces = placed
		return t.recordMoved(ctx, m, WorkspacesJoined, WorkspaceJoined)
	})
	if err != nil {
		return Moved{}, fmt.Errorf("join the wave: %w", err)
	}
	return m, nil
}

// PreviewJoin returns whom a join would take now, or fails as it would, and changes nothing.
func (d *Directory) PreviewJoin(ctx context.Context, wave string, p Pick) (Moved, error) {
	var m Moved
	err := d.changeRollout(ctx, RolloutOrder{Operator: Operator}, func(ctx context.Context, t *rolloutTx) error {
		var err error
		m, err = t.wouldJoin(ctx, wave, p)
		return err
	})
	if err != nil {
		return Moved{}, fmt.Errorf("preview the join: %w", err)
	}
	return m, nil
}

// Leave takes workspaces out of a wave, all that are named or none: in no wave they are enforced. It fails with
// ErrNoWave, rollout.ErrTold, ErrNobody, a *WorkspacesError or an *IntegrityError of the wave. The MACs of the places do
// not matter: to leave asks for more codes and never for less, and a place that somebody tampered with has to go, too.
func (d *Directory) Leave(ctx context.Context, o RolloutOrder, wave string, workspaces []string) (Moved, error) {
	var m Moved
	err := d.changeRollout(ctx, o, func(ctx context.Context, t *rolloutTx) error {
		w, err := t.lockUntold(ctx, wave)
		if err != nil {
			return err
		}
		ids, err := named(workspaces)
		if err != nil {
			return err
		}
		m = Moved{Wave: w, At: t.at, Workspaces: ids}
		gone, err := t.each(ctx, ids, `DELETE FROM rollout_places WHERE wave = $2 AND workspace = ANY($1) RETURNING workspace`, wave)
		if err != nil {
			return err
		}
		err = lacking(ErrNotHere, ids, gone)
		if err != nil {
			return err
		}
		return t.recordMoved(ctx, m, WorkspacesLeft, WorkspaceLeft)
	})
	if err != nil {
		return Moved{}, fmt.Errorf("leave the wave: %w", err)
	}
	return m, nil
}

// lockUntold is lockWave for a change of who is in it, which fails with rollout.ErrTold once the announcement has gone
// out (product.md R4.2).
func (t *rolloutTx) lockUntold(ctx context.Context, wave string) (rollout.Wave, error) {
	w, err := t.lockWave(ctx, wave)
	if err == nil && w.Told(t.at) {
		err = rollout.ErrTold
	}
	return w, err
}

// wouldJoin locks the wave and the workspaces that would join it.
func (t *rolloutTx) wouldJoin(ctx context.Context, wave string, p Pick) (Moved, error) {
	w, err := t.lockUntold(ctx, wave)
	if err != nil {
		return Moved{}, err
	}
	m := Moved{Wave: w, At: t.at}
	if len(p.Workspaces) == 0 {
		m.Workspaces, err = t.ofPercent(ctx, p.Percent)
		return m, err
	}
	m.Workspaces, err = t.ofNames(ctx, wave, p.Workspaces)
	return m, err
}

// lockWorkspacesSQL keeps workspaces from being removed, and those who put them from nothing: $1 ids.
const lockWorkspacesSQL = `SELECT id FROM workspaces WHERE id = ANY($1) ORDER BY id COLLATE "C" FOR KEY SHARE`

// oldEnough says of a workspace that it was there before the first wave was made. A younger one needs codes from its first
// sign-in, and never enters a wave (product.md R2.1): it would take from its people what they have.
const oldEnough = `(created_at <= (SELECT min(made_at) FROM rollout_waves))`

// ofNames returns those of named workspaces that are not in the wave yet.
func (t *rolloutTx) ofNames(ctx context.Context, wave string, names []string) ([]string, error) {
	ids, err := named(names)
	if err != nil {
		return nil, err
	}
	there, err := t.each(ctx, ids, lockWorkspacesSQL)
	if err != nil {
		return nil, err
	}
	err = lacking(ErrNoWorkspace, ids, there)
	if err != nil {
		return nil, err
	}
	young, err := t.each(ctx, ids, `SELECT id FROM workspaces WHERE id = ANY($1) AND NOT `+oldEnough)
	if err == nil && len(young) > 0 {
		err = &WorkspacesError{Reason: ErrNew, Workspaces: young}
	}
	if err != nil {
		return nil, err
	}
	err = t.elsewhere(ctx, wave, ids)
	if err != nil {
		return nil, err
	}
	here, err := t.each(ctx, ids, `SELECT workspace FROM rollout_places WHERE workspace = ANY($1) AND wave = $2`, wave)
	return without(ids, here), err
}

// elsewhere names those that another wave has.
func (t *rolloutTx) elsewhere(ctx context.Context, wave string, ids []string) error {
	placed, err := t.each(ctx, ids, `SELECT workspace FROM rollout_places WHERE workspace = ANY($1) AND wave <> $2`, wave)
	if err == nil && len(placed) > 0 {
		err = &WorkspacesError{Reason: ErrPlaced, Workspaces: placed}
	}
	return err
}

// ofPercent returns the workspaces in no wave that lie in a share and are old enough. One that is removed meanwhile is left out.
func (t *rolloutTx) ofPercent(ctx context.Context, percent float64) ([]string, error) {
	err := rollout.ValidatePercent(percent)
	if err != nil {
		return nil, err
	}
	var ids []string
	for last, page := "", chunk; page == chunk; {
		rows, err := t.tx.Query(ctx, `
			SELECT w.id, EXISTS (SELECT FROM rollout_places p WHERE p.workspace = w.id)
			  FROM workspaces w WHERE w.id > $1 AND `+oldEnough+` ORDER BY w.id LIMIT $2`, last, chunk)
		if err != nil {
			return nil, err
		}
		var placed bool
		page = 0
		_, err = pgx.ForEachRow(rows, []any{&last, &placed}, func() error {
			page++
			if !placed && rollout.InPercent(last, percent) {
				ids = append(ids, last)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(ids)
	return t.each(ctx, ids, lockWorkspacesSQL)
}

// place makes the places of workspaces and returns whose it made: not of those that another join has just taken.
func (t *rolloutTx) place(ctx context.Context, m Moved) ([]string, error) {
	var placed []string
	for ids := range slices.Chunk(m.Workspaces, chunk) {
		keys, macs := make([]int16, len(ids)), make([][]byte, len(ids))
		for i, id := range ids {
			s := sealRow(t.rows, TablePlaces, placePairs(id, m.Wave.ID, m.At))
			keys[i], macs[i] = int16(s.key), s.mac
		}
		these, err := t.each(ctx, ids, `
			INSERT INTO rollout_places (workspace, wave, joined_at, mac_key, mac)
			SELECT workspace, $2, $3, mac_key, mac FROM unnest($1::text[], $4::smallint[], $5::bytea[]) AS one (workspace, mac_key, mac)
			ON CONFLICT (workspace) DO NOTHING RETURNING workspace`, m.Wave.ID, m.At, keys, macs)
		if err != nil {
			return nil, err
		}
		placed = append(placed, these...)
	}
	return placed, nil
}

// recordMoved puts on record how many moved, and each of them.
func (t *rolloutTx) recordMoved(ctx context.Context, m Moved, all, one string) error {
	if len(m.Workspaces) == 0 {
		return nil
	}
	err := t.record(ctx, all, "", "", map[string]any{"wave": m.Wave.ID, "workspaces": len(m.Workspaces), "sha256": m.Sum()})
	for ids := range slices.Chunk(m.Workspaces, chunk) {
		if err != nil {
			return err
		}
		err = t.recordEach(ctx, one, ids, map[string]any{"wave": m.Wave.ID})
	}
	return err
}

// each runs a statement over chunks of workspaces, its $1, and returns the ids that it returns, in the order of their
// bytes.
func (t *rolloutTx) each(ctx context.Context, ids []string, sql string, more ...any) ([]string, error) {
	var all []string
	for some := range slices.Chunk(ids, chunk) {
		rows, err := t.tx.Query(ctx, sql, append([]any{some}, more...)...)
		if err != nil {
			return nil, err
		}
		these, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return nil, err
		}
		all = append(all, these...)
	}
	slices.Sort(all)
	return all, nil
}

// named returns ids once each, in the order of their bytes.
func named(workspaces []string) ([]string, error) {
	if len(workspaces) == 0 {
		return nil, ErrNobody
	}
	var wrong []string
	for _, id := range workspaces {
		err := account.ValidateID(id)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%.64q", id))
		}
	}
	if len(wrong) > 0 {
		return nil, &WorkspacesError{Reason: account.ErrID, Workspaces: wrong}
	}
	return slices.Compact(slices.Sorted(slices.Values(workspaces))), nil
}

// lacking names those of sorted ids that are not among others.
func lacking(reason error, ids, there []string) error {
	if len(there) == len(ids) {
		return nil
	}
	return &WorkspacesError{Reason: reason, Workspaces: without(ids, there)}
}

// without returns those of ids that are not among sorted others.
func without(ids, others []string) []string {
	var rest []string
	for _, id := range ids {
		_, found := slices.BinarySearch(others, id)
		if !found {
			rest = append(rest, id)
		}
	}
	return rest
}
