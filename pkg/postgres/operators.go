package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/keyring"
	"doorcode/pkg/operator"
)

// ErrNoOperatorRow says that nobody of that id may sign in to the console.
var ErrNoOperatorRow = errors.New("unknown operator")

// ErrSession says that a session of the console was not begun: its code has begun one, or the operator is not listed.
var ErrSession = errors.New("the session was not begun")

// The kinds of records about operators and their sessions, which stand in the audit alone.
const (
	OperatorPut          = "operator.v1.put"
	OperatorRemoved      = "operator.v1.removed"
	OperatorSessionBegan = "operator_session.v1.began"
	OperatorSessionEnded = "operator_session.v1.ended"
)

// Operators reads and writes who may sign in to the console. Their rows carry a MAC under the console's own ring, so that
// the console, which has no other, can check them.
type Operators struct {
	db   *DB
	ring *keyring.Ring
}

// NewOperators returns the operators of a database.
func NewOperators(db *DB, ring *keyring.Ring) *Operators { return &Operators{db: db, ring: ring} }

// ListedOperator is an operator as the list has them.
type ListedOperator struct {
	operator.Operator
	MadeAt time.Time
	// Version changes with every change of the row: a session is bound to it.
	Version string
	// Over says that the session that was asked for has ended on record.
	Over bool
}

// operatorPairs covers all that a row decides.
func operatorPairs(o operator.Operator) pairs {
	p := pairs{}.with("id", o.ID).with("role", string(o.Role)).with("secret_hash", string(o.SecretHash)).with("secret_key", fmt.Sprint(o.SecretKey))
	if o.AllWorkspaces {
		return p.with("all_workspaces", "true")
	}
	for _, w := range o.Workspaces {
		p = p.with("workspace", w)
	}
	return p
}

// putOperatorSQL: $1 to $7 the columns, $8 actor, $9 kind.
const putOperatorSQL = `
WITH put AS (
    INSERT INTO operators (id, role, workspaces, secret_hash, secret_key, mac_key, mac) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (id) DO UPDATE SET role = $2, workspaces = $3, secret_hash = $4, secret_key = $5, mac_key = $6, mac = $7
    RETURNING id, role, workspaces
)
INSERT INTO audit (id, at, kind, actor, detail)
SELECT 'operator.' || gen_random_uuid(), clock_timestamp(), $9, $8,
       jsonb_strip_nulls(jsonb_build_object('operator', id, 'role', role, 'workspaces', to_jsonb(workspaces)))
  FROM put`

// Put lists an operator, or changes the one of that id, whose sessions end with it, and puts that on record. It is for the
// owner's role.
func (s *Operators) Put(ctx context.Context, o operator.Operator) error {
	err := o.Validate()
	if err != nil {
		return fmt.Errorf("put operator: %w", err)
	}
	workspaces := o.Workspaces
	if o.AllWorkspaces {
		workspaces, o.Workspaces = nil, nil
	}
	seal := sealRow(s.ring, TableOperators, operatorPairs(o))
	_, err = s.db.pool.Exec(ctx, putOperatorSQL, o.ID, string(o.Role), workspaces, o.SecretHash, o.SecretKey, seal.key, seal.mac, Operator, OperatorPut)
	if err != nil {
		return fmt.Errorf("put operator: %w", scrub(err))
	}
	return nil
}

// removeOperatorSQL: $1 id, $2 actor, $3 kind.
const removeOperatorSQL = `
WITH gone AS (DELETE FROM operators WHERE id = $1 RETURNING id, role)
INSERT INTO audit (id, at, kind, actor, detail)
SELECT 'operator.' || gen_random_uuid(), clock_timestamp(), $3, $2, jsonb_build_object('operator', id, 'role', role) FROM gone`

// Remove takes an operator off the list, which ends their sessions at once, and puts that on record. It fails with
// ErrNoOperatorRow. It is for the owner's role.
func (s *Operators) Remove(ctx context.Context, id string) error {
	gone, err := s.db.pool.Exec(ctx, removeOperatorSQL, id, Operator, OperatorRemoved)
	if err != nil {
		return fmt.Errorf("remove operator: %w", scrub(err))
	}
	if gone.RowsAffected() == 0 {
		return ErrNoOperatorRow
	}
	return nil
}

// operatorColumns are what scanOperator reads.
const operatorColumns = `id, role, workspaces, secret_hash, secret_key, made_at, mac_key, mac`

// operatorSQL: $1 id, $2 session, empty for none, $3 when that began.
const operatorSQL = `
SELECT ` + operatorColumns + `,
       $2 <> '' AND EXISTS (SELECT FROM audit a WHERE a.id = 'operator-session.' || $2 || '.ended'
                               AND a.at > $3::timestamptz - interval '1 hour' AND a.at < $3::timestamptz + interval '1 day')
  FROM operators WHERE id = $1`

// Operator reads who is listed under an id, uncached, so that whoever is removed or changed loses their session with the
// commit, and whether a session, which began at some time and may be empty, has ended on record. It fails with
// ErrNoOperatorRow or an *IntegrityError.
func (s *Operators) Operator(ctx context.Context, id, session string, began time.Time) (ListedOperator, error) {
	rows, err := s.db.pool.Query(ctx, operatorSQL, id, session, began)
	if err != nil {
		return ListedOperator{}, fmt.Errorf("read operator: %w", scrub(err))
	}
	o, err := pgx.CollectOneRow(rows, func(row pgx.CollectableRow) (ListedOperator, error) {
		var over bool
		o, err := s.scan(row, &over)
		o.Over = over
		return o, err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return ListedOperator{}, ErrNoOperatorRow
	}
	if err != nil {
		return ListedOperator{}, fmt.Errorf("read operator: %w", scrub(err))
	}
	return o, nil
}

// All lists the operators by id. It fails with an *IntegrityError when one of them is not as it was written.
func (s *Operators) All(ctx context.Context) ([]ListedOperator, error) {
	rows, err := s.db.pool.Query(ctx, `SELECT `+operatorColumns+` FROM operators ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list operators: %w", scrub(err))
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ListedOperator, error) { return s.scan(row) })
	if err != nil {
		return nil, fmt.Errorf("list operators: %w", scrub(err))
	}
	return all, nil
}

// scan reads operatorColumns, and what follows them, and checks the MAC.
func (s *Operators) scan(row pgx.CollectableRow, more ...any) (ListedOperator, error) {
	var o ListedOperator
	var role string
	var seal rowSeal
	err := row.Scan(append([]any{&o.ID, &role, &o.Workspaces, &o.SecretHash, &o.SecretKey, &o.MadeAt, &seal.key, &seal.mac}, more...)...)
	if err != nil {
		return ListedOperator{}, err
	}
	o.Role, o.AllWorkspaces = operator.Role(role), o.Workspaces == nil
	if !seal.fits(s.ring, TableOperators, operatorPairs(o.Operator)) {
		return ListedOperator{}, &IntegrityError{Table: TableOperators}
	}
	sum := sha256.Sum256(slices.Concat([]byte{seal.key}, seal.mac))
	o.Version = base64.RawURLEncoding.EncodeToString(sum[:12])
	return o, nil
}

// BeginSession puts on record that an operator's session began and returns when, by the database's clock. The session is
// the id of the challenge whose code was right: each begins one at most. It fails with ErrSession.
func (s *Operators) BeginSession(ctx context.Context, session, id string) (time.Time, error) {
	return s.recordSession(ctx, session, "began", id)
}

// EndSession puts on record that a session has ended; from then on it is over everywhere. A second end changes nothing. It
// fails with ErrSession when it is none of that operator's.
func (s *Operators) EndSession(ctx context.Context, session, id string) error {
	_, err := s.recordSession(ctx, session, "ended", id)
	return err
}

func (s *Operators) recordSession(ctx context.Context, session, step, id string) (time.Time, error) {
	var at time.Time
	err := s.db.pool.QueryRow(ctx, `SELECT record_operator_session($1, $2, $3)`, session, step, id).Scan(&at)
	if hasState(err, "22023") {
		return time.Time{}, ErrSession
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("record a session of the console: %w", scrub(err))
	}
	return at, nil
}
