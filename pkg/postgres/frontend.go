package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/batch"
	"doorcode/pkg/frontend"
)

// ErrNoFrontEnd says that there is no front-end of that id.
var ErrNoFrontEnd = errors.New("unknown front-end")

// frontEndColumns are what scanFrontEnd reads of front_ends, which it calls f.
const frontEndColumns = `f.id, f.name, f.key_hash, f.key_id, f.scopes, f.workspaces, f.return_origins, f.mac_key, f.mac`

// FrontEnd returns a front-end, uncached, so that a key that is taken away ends with the commit; calls that wait together
// share a statement, which begins after they came. It fails with ErrNoFrontEnd or an *IntegrityError.
func (d *Directory) FrontEnd(ctx context.Context, id string) (frontend.FrontEnd, error) {
	return ask(ctx, d.frontEnds, id, single(d.readFrontEnds))
}

// readFrontEnds reads several front-ends, each once however many ask for it.
func (d *Directory) readFrontEnds(ctx context.Context, ids []string) ([]batch.Answer[frontend.FrontEnd], error) {
	once := slices.Compact(slices.Sorted(slices.Values(ids)))
	rows, err := d.db.pool.Query(ctx, `SELECT `+frontEndColumns+` FROM front_ends f WHERE f.id = ANY($1)`, once)
	if err != nil {
		return nil, fmt.Errorf("read front-end: %w", scrub(err))
	}
	known := map[string]batch.Answer[frontend.FrontEnd]{}
	var row frontEndRow
	_, err = pgx.ForEachRow(rows, row.fields(), func() error {
		f, err := row.check(d)
		known[*row.id] = batch.Answer[frontend.FrontEnd]{Value: f, Err: err}
		row = frontEndRow{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read front-end: %w", scrub(err))
	}
	answers := make([]batch.Answer[frontend.FrontEnd], len(ids))
	for i, id := range ids {
		answer, there := known[id]
		if !there {
			answer.Err = ErrNoFrontEnd
		}
		answers[i] = answer
	}
	return answers, nil
}

// The kinds of records about API keys. A key that is made ends the former one of its front-end.
const (
	KeyMade    = "api_key.v1.made"
	KeyChanged = "api_key.v1.changed" // name, scopes, workspaces or return origins; the key stays
	KeyRemoved = "api_key.v1.removed"
)

// putFrontEndSQL: $1 to $9 the columns, $10 actor, $11 and $12 the kinds of a new key and of new rights. A row that only
// gets another seal leaves no record.
const putFrontEndSQL = `
WITH before AS (
    SELECT key_hash, name, scopes, workspaces, return_origins FROM front_ends WHERE id = $1
), put AS (
    INSERT INTO front_ends (id, name, key_hash, key_id, scopes, workspaces, return_origins, mac_key, mac)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (id) DO UPDATE SET name = $2, key_hash = $3, key_id = $4, scopes = $5, workspaces = $6, return_origins = $7,
           mac_key = $8, mac = $9
    RETURNING id, name, key_hash, scopes, workspaces, return_origins
), change AS (
    SELECT put.*, CASE WHEN before.key_hash IS DISTINCT FROM put.key_hash THEN $11
                       WHEN (before.name, before.scopes, before.workspaces, before.return_origins)
                            IS DISTINCT FROM (put.name, put.scopes, put.workspaces, put.return_origins) THEN $12
                  END AS kind
      FROM put LEFT JOIN before ON true
)
INSERT INTO audit (id, at, kind, actor, detail)
SELECT 'api-key.' || gen_random_uuid(), clock_timestamp(), kind, $10, ` + frontEndDetail + ` FROM change WHERE kind IS NOT NULL`

// removeFrontEndSQL: $1 id, $2 actor, $3 kind.
const removeFrontEndSQL = `
WITH gone AS (
    DELETE FROM front_ends WHERE id = $1 RETURNING id, name, scopes, workspaces, return_origins
)
INSERT INTO audit (id, at, kind, actor, detail)
SELECT 'api-key.' || gen_random_uuid(), clock_timestamp(), $3, $2, ` + frontEndDetail + ` FROM gone`

// frontEndDetail is what a record tells of a front-end. Without workspaces it has all of them.
const frontEndDetail = `jsonb_strip_nulls(jsonb_build_object('front_end', id, 'name', name, 'scopes', to_jsonb(scopes), 'workspaces', to_jsonb(workspaces),
                       'return_origins', CASE WHEN return_origins <> '{}' THEN to_jsonb(return_origins) END))`

// PutFrontEnd makes or replaces a front-end and puts on record that it got another key or other rights. It is for the
// operator's role: no service may write front_ends.
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
	origins := f.ReturnOrigins
	if origins == nil {
		origins = []string{}
	}
	s := sealRow(d.rows, TableFrontEnds, frontEndPairs(f))
	err := pgx.BeginFunc(ctx, d.db.pool, func(tx pgx.Tx) error {
		// Of two at once the second compares with what the first has put.
		_, err := tx.Exec(ctx, `SELECT FROM front_ends WHERE id = $1 FOR UPDATE`, f.ID)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, putFrontEndSQL, f.ID, f.Name, f.KeyHash, f.KeyID, scopes, workspaces, origins, s.key, s.mac,
			Operator, KeyMade, KeyChanged)
		return err
	})
	if err != nil {
		return fmt.Errorf("put front-end: %w", scrub(err))
	}
	return nil
}

// RemoveFrontEnd takes a front-end's key away and puts that on record. It fails with ErrNoFrontEnd.
func (d *Directory) RemoveFrontEnd(ctx context.Context, id string) error {
	gone, err := d.db.pool.Exec(ctx, removeFrontEndSQL, id, Operator, KeyRemoved)
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
	origins    []string
	macKey     *uint8
	mac        []byte
}

// fields are the places for frontEndColumns, in their order.
func (r *frontEndRow) fields() []any {
	return []any{&r.id, &r.name, &r.keyHash, &r.keyID, &r.scopes, &r.workspaces, &r.origins, &r.macKey, &r.mac}
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
	if len(r.origins) > 0 {
		f.ReturnOrigins = r.origins
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
