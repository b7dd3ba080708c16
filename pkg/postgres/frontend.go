package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/frontend"
)

// ErrNoFrontEnd says that there is no front-end of that id.
var ErrNoFrontEnd = errors.New("unknown front-end")

// frontEndColumns are what scanFrontEnd reads of front_ends, which it calls f.
const frontEndColumns = `f.id, f.name, f.key_hash, f.key_id, f.scopes, f.workspaces, f.mac_key, f.mac`

// FrontEnd returns a front-end, uncached, so that a key that is taken away ends with the commit. It fails with
// ErrNoFrontEnd or an *IntegrityError.
func (d *Directory) FrontEnd(ctx context.Context, id string) (frontend.FrontEnd, error) {
	var row frontEndRow
	err := d.db.pool.QueryRow(ctx, `SELECT `+frontEndColumns+` FROM front_ends f WHERE f.id = $1`, id).Scan(row.fields()...)
	if errors.Is(err, pgx.ErrNoRows) {
		return frontend.FrontEnd{}, ErrNoFrontEnd
	}
	if err != nil {
		return frontend.FrontEnd{}, fmt.Errorf("read front-end: %w", scrub(err))
	}
	return row.check(d)
}

// PutFrontEnd makes or replaces a front-end. It is for the operator's role: no service may write front_ends.
func (d *Directory) PutFrontEnd(ctx context.Context, f frontend.FrontEnd) error {
	scopes := make([]string, len(f.Scopes))
	for i, s := range f.Scopes {
		scopes[i] = string(s)
	}
	workspaces := f.Workspaces
	if workspaces == nil {
		workspaces = []string{}
	}
	if f.AllWorkspaces {
		workspaces, f.Workspaces = nil, nil
	}
	s := sealRow(d.rows, TableFrontEnds, frontEndPairs(f))
	_, err := d.db.pool.Exec(ctx, `
		INSERT INTO front_ends (id, name, key_hash, key_id, scopes, workspaces, mac_key, mac)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET name = $2, key_hash = $3, key_id = $4, scopes = $5, workspaces = $6,
		       mac_key = $7, mac = $8`, f.ID, f.Name, f.KeyHash, f.KeyID, scopes, workspaces, s.key, s.mac)
	if err != nil {
		return fmt.Errorf("put front-end: %w", scrub(err))
	}
	return nil
}

// RemoveFrontEnd takes a front-end's key away. It fails with ErrNoFrontEnd.
func (d *Directory) RemoveFrontEnd(ctx context.Context, id string) error {
	gone, err := d.db.pool.Exec(ctx, `DELETE FROM front_ends WHERE id = $1`, id)
	if err != nil {
		return fmt.Errorf("remove front-end: %w", scrub(err))
	}
	if gone.RowsAffected() == 0 {
		return ErrNoFrontEnd
	}
	return nil
}

// frontEndRow is a row of front_ends, or of an outer join that found none.
type frontEndRow struct {
	id, name   *string
	keyHash    []byte
	keyID      *uint8
	scopes     []string
	workspaces []string
	macKey     *uint8
	mac        []byte
}

// fields are the places for frontEndColumns, in their order.
func (r *frontEndRow) fields() []any {
	return []any{&r.id, &r.name, &r.keyHash, &r.keyID, &r.scopes, &r.workspaces, &r.macKey, &r.mac}
}

// check returns the front-end whose MAC fits; no row is ErrNoFrontEnd.
func (r *frontEndRow) check(d *Directory) (frontend.FrontEnd, error) {
	if r.id == nil {
		return frontend.FrontEnd{}, ErrNoFrontEnd
	}
	f := frontend.FrontEnd{
		ID: *r.id, Name: *r.name, KeyHash: r.keyHash, KeyID: *r.keyID,
		Workspaces: r.workspaces, AllWorkspaces: r.workspaces == nil,
	}
	for _, s := range r.scopes {
		f.Scopes = append(f.Scopes, frontend.Scope(s))
	}
	seal := rowSeal{key: *r.macKey, mac: r.mac}
	if !seal.fits(d.rows, TableFrontEnds, frontEndPairs(f)) {
		return frontend.FrontEnd{}, &IntegrityError{Table: TableFrontEnds}
	}
	return f, nil
}
