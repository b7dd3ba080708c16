package postgres

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/auditlog"
	"doorcode/pkg/event"
)

// ErrRestored says that transactions are numbered lower than those that were sealed already: the database is a logical
// copy of another one. Rows that are written now would look as if they belonged to old seals.
var ErrRestored = errors.New("transactions are numbered below the last seal: the database was restored from a dump; " +
	"stop it and set the next transaction id above the seal's to_tx with pg_resetwal, see README.md")

// Figures of a seal.
const (
	sealLock  = 7_305_514_302
	sealRows  = 200_000 // more rows than these wait for the next seal, but for those of one transaction and the first seal
	sealPage  = 5_000   // rows in memory
	emptyWait = 30 * time.Minute
	// epoch2000 is where Postgres counts the microseconds of a timestamptz from.
	epoch2000 = 946_684_800_000_000
)

// sealSettingsSQL lets the statements of a seal take their time, and plans for all rows of it.
const sealSettingsSQL = `
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '1min', true),
       set_config('cursor_tuple_fraction', '1', true)`

// sealBoundsSQL gives the database's clock and the number below which no transaction is under way any more.
const sealBoundsSQL = `SELECT clock_timestamp(), pg_snapshot_xmin(pg_current_snapshot())::text::bigint`

// unsealedSQL counts the rows of transactions from $1 up to $2, and no more than $3.
const unsealedSQL = `SELECT count(*) FROM (SELECT FROM audit WHERE tx >= $1 AND tx < $2 LIMIT $3) AS waiting`

// leafColumns are those of auditlog.Row, in the order in which leafRow reads them.
const leafColumns = `at, id, kind, workspace, login, challenge_id, actor, detail::text, tx`

// sealCursorSQL: $1 from, $2 to. The first seal, from 0, takes the rows without a number as well.
const sealCursorSQL = `
DECLARE sealed NO SCROLL CURSOR FOR
SELECT ` + leafColumns + ` FROM audit WHERE tx >= $1 AND tx < $2 ORDER BY at, id COLLATE "C"`

const firstSealCursorSQL = `
DECLARE sealed NO SCROLL CURSOR FOR
SELECT ` + leafColumns + ` FROM audit WHERE tx IS NULL OR tx >= $1 AND tx < $2 ORDER BY at, id COLLATE "C"`

const sealColumns = `n, from_tx, to_tx, at, rows, newest, tree_size, root, key_id, signature, frontier`

// SealAudit seals what no seal has yet: the rows of all transactions below the oldest that is under way, or of the first of
// them when that is too many. It returns the head, and whether more rows can be sealed at once. The head's number is 0 when
// there was nothing to do: another process is at it, or no row was written and the last head is less than half an hour old.
// Seal, list of leaves and the event of it are one commit. It fails with ErrRestored.
func (db *DB) SealAudit(ctx context.Context, s auditlog.Signer) (head auditlog.Head, more bool, err error) {
	err = db.inTx(ctx, pgx.TxOptions{}, func(tx pgx.Tx) error {
		var mine bool
		err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, sealLock).Scan(&mine)
		if err != nil || !mine {
			return err
		}
		head, more, err = sealNext(ctx, tx, s)
		return err
	})
	if err != nil {
		return auditlog.Head{}, false, fmt.Errorf("seal the audit: %w", err)
	}
	return head, more, nil
}

// sealNext makes the next seal, under the lock.
func sealNext(ctx context.Context, tx pgx.Tx, s auditlog.Signer) (head auditlog.Head, more bool, err error) {
	_, err = tx.Exec(ctx, sealSettingsSQL)
	if err != nil {
		return head, false, err
	}
	last, tree, err := lastSeal(ctx, tx)
	if err != nil {
		return head, false, err
	}
	next := auditlog.Head{Number: last.Number + 1, FromTx: last.ToTx}
	err = tx.QueryRow(ctx, sealBoundsSQL).Scan(&next.At, &next.ToTx)
	if err != nil {
		return head, false, err
	}
	if next.ToTx < last.ToTx {
		return head, false, ErrRestored
	}
	until := next.ToTx
	next.ToTx, err = sealBound(ctx, tx, next.FromTx, until)
	if err != nil {
		return head, false, err
	}
	err = sealLeaves(ctx, tx, &next, tree)
	if err != nil || next.Rows == 0 && last.Number > 0 && next.At.Sub(last.At) < emptyWait {
		return head, false, err
	}
	next.Size = tree.Size()
	next.Root, err = tree.Root()
	if err != nil {
		return head, false, err
	}
	next = next.Sign(s)
	return next, next.ToTx < until, writeSeal(ctx, tx, next, tree)
}

// sealBound lowers the end of a span of transactions until it has few enough rows, or one transaction.
func sealBound(ctx context.Context, tx pgx.Tx, from, to int64) (int64, error) {
	for {
		var rows int64
		err := tx.QueryRow(ctx, unsealedSQL, from, to, sealRows+1).Scan(&rows)
		if err != nil || rows <= sealRows || to-from <= 1 {
			return to, err
		}
		if from == 0 { // Numbers do not begin at 0.
			err = tx.QueryRow(ctx, `SELECT min(tx) FROM audit`).Scan(&from)
			if err != nil {
				return to, err
			}
			if to-from <= 1 {
				return to, nil
			}
		}
		to = from + (to-from)/2
	}
}

// sealLeaves puts the rows of a head into the tree and writes their list, part by part.
func sealLeaves(ctx context.Context, tx pgx.Tx, head *auditlog.Head, tree *auditlog.Tree) error {
	err := declareLeaves(ctx, tx, *head)
	if err != nil {
		return err
	}
	var list auditlog.List
	var buffer []byte
	for part := 0; ; part++ {
		list.Reset()
		n, err := fetchLeaves(ctx, tx, func(row *auditlog.Row) error {
			var leaf auditlog.Hash
			leaf, buffer = row.Leaf(buffer)
			list.Add(auditlog.Place{At: row.At, ID: row.ID, Kind: row.Kind, Leaf: leaf})
			head.Newest = time.UnixMicro(row.At).UTC() // They come by time.
			return tree.Add(leaf)
		})
		if err != nil || n == 0 {
			return err
		}
		head.Rows += int64(n)
		_, err = tx.Exec(ctx, `INSERT INTO audit_leaves (seal, part, list) VALUES ($1, $2, $3)`, head.Number, part, list.Bytes())
		if err != nil {
			return err
		}
	}
}

// declareLeaves opens the cursor of a seal's rows.
func declareLeaves(ctx context.Context, tx pgx.Tx, head auditlog.Head) error {
	cursor := sealCursorSQL
	if head.Number == 1 {
		cursor = firstSealCursorSQL
	}
	_, err := tx.Exec(ctx, cursor, head.FromTx, head.ToTx)
	return err
}

// fetchLeaves gives the next rows of the cursor to each, which must not keep them, and tells how many there were. After the
// last the cursor is closed.
func fetchLeaves(ctx context.Context, tx pgx.Tx, each func(*auditlog.Row) error) (n int, err error) {
	rows, err := tx.Query(ctx, fmt.Sprintf("FETCH FORWARD %d FROM sealed", sealPage))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var row auditlog.Row
	for ; rows.Next(); n++ {
		err = leafRow(rows.RawValues(), &row)
		if err == nil {
			err = each(&row)
		}
		if err != nil {
			return n, err
		}
	}
	rows.Close()
	err = rows.Err()
	if err == nil && n == 0 {
		_, err = tx.Exec(ctx, `CLOSE sealed`)
	}
	return n, err
}

// leafRow reads leafColumns in Postgres's binary form. The row shares their memory.
func leafRow(columns [][]byte, row *auditlog.Row) error {
	if len(columns) != 9 || len(columns[0]) != 8 || columns[8] != nil && len(columns[8]) != 8 {
		return errors.New("a row of the audit is not of the form that is read")
	}
	*row = auditlog.Row{
		At: int64(binary.BigEndian.Uint64(columns[0])) + epoch2000, //nolint:gosec // the bits of the number
		ID: columns[1], Kind: columns[2], Workspace: columns[3], Login: columns[4], Challenge: columns[5], Actor: columns[6],
		Detail: columns[7],
	}
	if columns[8] != nil {
		row.Tx = int64(binary.BigEndian.Uint64(columns[8])) //nolint:gosec // as above
	}
	return nil
}

// lastSeal returns the last head, which is the zero one before the first, and the tree after it.
func lastSeal(ctx context.Context, tx pgx.Tx) (auditlog.Head, *auditlog.Tree, error) {
	rows, err := tx.Query(ctx, `SELECT `+sealColumns+` FROM audit_seals ORDER BY n DESC LIMIT 1`)
	if err != nil {
		return auditlog.Head{}, nil, err
	}
	last, err := pgx.CollectExactlyOneRow(rows, scanSeal)
	if errors.Is(err, pgx.ErrNoRows) {
		return auditlog.Head{}, &auditlog.Tree{}, nil
	}
	if err != nil {
		return auditlog.Head{}, nil, err
	}
	tree, err := last.tree()
	return last.Head, tree, err
}

// auditSeal is a head with its frontier.
type auditSeal struct {
	auditlog.Head
	frontier []byte
}

// tree is the tree after the seal.
func (s auditSeal) tree() (*auditlog.Tree, error) {
	const size = len(auditlog.Hash{})
	if len(s.frontier)%size != 0 {
		return nil, auditlog.ErrFrontier
	}
	hashes := make([]auditlog.Hash, len(s.frontier)/size)
	for i := range hashes {
		copy(hashes[i][:], s.frontier[i*size:])
	}
	return auditlog.Grown(s.Size, hashes)
}

// scanSeal reads sealColumns.
func scanSeal(row pgx.CollectableRow) (auditSeal, error) {
	var s auditSeal
	var newest *time.Time
	var root []byte
	err := row.Scan(&s.Number, &s.FromTx, &s.ToTx, &s.At, &s.Rows, &newest, &s.Size, &root, &s.Key, &s.Signature, &s.frontier)
	copy(s.Root[:], root)
	if newest != nil {
		s.Newest = newest.UTC()
	}
	return s, err
}

// writeSeal writes a seal and the event of it.
func writeSeal(ctx context.Context, tx pgx.Tx, head auditlog.Head, tree *auditlog.Tree) error {
	frontier := []byte{} // none is empty, not NULL
	for _, hash := range tree.Frontier() {
		frontier = append(frontier, hash[:]...)
	}
	var newest *time.Time
	if !head.Newest.IsZero() {
		newest = &head.Newest
	}
	_, err := tx.Exec(ctx, `INSERT INTO audit_seals (`+sealColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		head.Number, head.FromTx, head.ToTx, head.At, head.Rows, newest, head.Size, head.Root[:], head.Key, head.Signature, frontier)
	if err != nil {
		return err
	}
	data, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("write the event of a seal: %w", err)
	}
	number := strconv.FormatInt(head.Number, 10)
	_, err = tx.Exec(ctx, `INSERT INTO outbox (id, type, source, subject, at, data) VALUES ($1, $2, $3, $4, $5, $6)`,
		"seal."+number, string(event.SealMade), Verifier, number, head.At, data)
	return err
}

// AuditHeads returns the heads after a number, by number, and no more than limit.
func (db *DB) AuditHeads(ctx context.Context, after int64, limit int) ([]auditlog.Head, error) {
	rows, err := db.pool.Query(ctx, `SELECT `+sealColumns+` FROM audit_seals WHERE n > $1 ORDER BY n LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("read the seals: %w", scrub(err))
	}
	seals, err := pgx.CollectRows(rows, scanSeal)
	if err != nil {
		return nil, fmt.Errorf("read the seals: %w", scrub(err))
	}
	heads := make([]auditlog.Head, len(seals))
	for i, s := range seals {
		heads[i] = s.Head
	}
	return heads, nil
}

// Unsealed counts the rows of the audit that no seal has yet, up to 10 000, and tells when the last seal was made; before
// the first one that is the zero time.
func (db *DB) Unsealed(ctx context.Context) (rows int64, sealed time.Time, err error) {
	var at *time.Time
	err = db.pool.QueryRow(ctx, `
		WITH last AS (SELECT max(n) AS n FROM audit_seals)
		SELECT (SELECT count(*) FROM (SELECT FROM audit WHERE tx >= coalesce((SELECT to_tx FROM audit_seals s, last WHERE s.n = last.n), 0) LIMIT 10000) AS waiting),
		       (SELECT s.at FROM audit_seals s, last WHERE s.n = last.n)`).Scan(&rows, &at)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("count what is not sealed: %w", scrub(err))
	}
	if at != nil {
		sealed = at.UTC()
	}
	return rows, sealed, nil
}
