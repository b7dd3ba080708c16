package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorcode/pkg/batch"
	"doorcode/pkg/limit"
)

// CreateTake is what one create takes of the limits.
type CreateTake struct {
	// Workspace and Login name the budget row whose live places are taken from.
	Workspace string
	Login     string
	limit.Create
}

// Taken is what came of a take.
type Taken struct {
	limit.Answer
	// Labels are those of the live challenges that go to the recipient of the take by their first route, as far as they
	// are recorded.
	Labels []string
}

// looseSQL makes the commit of a transaction not wait for the disk: a crash of the server may forget the last takes, which
// a limit can bear and a sign-in's time can not (DESIGN 4).
const looseSQL = `SET LOCAL synchronous_commit = off`

// TakeCreate takes a live place of the login and one from each limit, all or nothing and exactly, whatever runs beside
// it: it locks the budget, then the limit rows in their order, reads the clock after the last lock and lets one pure
// function decide. When others hold the rows for too long it took nothing and is put again, a few times. It fails with
// an *IntegrityError when the login has no budget.
//
// Creates that wait together share the transaction and are decided one after the other, each by what those before it
// left. One that is refused changes nothing for the others.
func (db *DB) TakeCreate(ctx context.Context, c CreateTake) (Taken, error) {
	limit.Sort(c.Wants)
	for try := 1; ; try++ {
		answer, err := ask(ctx, db.takes, c, db.takeOne)
		if IsContended(err) && try < takeTries {
			continue
		}
		return answer, err
	}
}

// takeTries is how often a take that waited too long for a lock is put before it is given up.
const takeTries = 4

// takeOne takes by itself.
func (db *DB) takeOne(ctx context.Context, c CreateTake) (Taken, error) {
	a := db.takeTogether(ctx, []CreateTake{c})[0]
	return a.Value, a.Err
}

// takeGroup takes together. When one of them fails all, each takes by itself.
func (db *DB) takeGroup(ctx context.Context, takes []CreateTake) []batch.Answer[Taken] {
	answers := db.takeTogether(ctx, takes)
	if len(takes) > 1 && ofOne(answers[0].Err) {
		return alike[Taken](len(takes), errApart)
	}
	return answers
}

// takeTogether is one transaction in two round trips: begin and lock, write and commit.
func (db *DB) takeTogether(ctx context.Context, takes []CreateTake) []batch.Answer[Taken] {
	held := holdings(takes)
	var answers []batch.Answer[Taken]
	err := db.loose(ctx, held.lock, func(b *pgx.Batch) {
		answers = held.decide(takes)
		held.store(b)
	})
	if err != nil {
		return alike[Taken](len(takes), fmt.Errorf("take the limits of a create: %w", err))
	}
	return answers
}

// loose runs a transaction of two round trips whose commit does not wait for the disk: read queues what the second part
// needs to know, write what follows from it.
func (db *DB) loose(ctx context.Context, read, write func(*pgx.Batch)) error {
	return db.pipe(ctx, func(b *pgx.Batch) {
		b.Queue(`BEGIN`)
		b.Queue(looseSQL)
		read(b)
	}, func(b *pgx.Batch) {
		write(b)
		b.Queue(`COMMIT`)
	})
}

// pipe sends statements over one connection, a round trip for each part; they begin and commit their transactions
// themselves. The first that fails ends all, and what had not committed is undone.
func (db *DB) pipe(ctx context.Context, parts ...func(*pgx.Batch)) error {
	return scrub(db.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		for _, part := range parts {
			b := &pgx.Batch{}
			part(b)
			err := conn.SendBatch(ctx, b).Close()
			if err != nil {
				return errors.Join(err, undo(ctx, conn.Conn()))
			}
		}
		return nil
	}))
}

// undo rolls back what a failure left open, so that the connection can be used again.
func undo(ctx context.Context, conn *pgx.Conn) error {
	if conn.IsClosed() || conn.PgConn().TxStatus() == 'I' {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	_, err := conn.Exec(ctx, `ROLLBACK`)
	return err
}

const (
	// The most that a recipient gets in a day is far below the bound; there are almost six thousand labels.
	liveLabelsSQL = `
		SELECT q.n, ARRAY(SELECT label FROM challenges
		                   WHERE address = q.address AND ended_at IS NULL AND expires_at > clock_timestamp() LIMIT 500)
		  FROM unnest($1::bytea[]) WITH ORDINALITY AS q(address, n)`

	// Budgets are locked in the order in which whoever locks several does it.
	lockSlotsSQL = `
		SELECT q.n, g.live_ids, g.live_until, g.live_entries
		  FROM (SELECT * FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked(workspace, login, n)
		         ORDER BY workspace, login) AS q
		 CROSS JOIN LATERAL (
		       SELECT live_ids, live_until, live_entries FROM login_budgets
		        WHERE workspace = q.workspace AND login = q.login AND removed_at IS NULL
		          FOR UPDATE) AS g`

	// A row that is missing is made, so that there is one to lock; the update of used_at is the lock.
	lockLimitsSQL = `
		INSERT INTO limits AS l (dimension, key)
		SELECT dimension, key FROM unnest($1::text[], $2::bytea[]) AS asked(dimension, key)
		 ORDER BY dimension DESC, key
		ON CONFLICT (dimension, key) DO UPDATE SET used_at = l.used_at
		RETURNING dimension, key, times, entries`

	// Lists of different lengths travel one behind the other, with the place where each begins and ends.
	storeSlotsSQL = `
		UPDATE login_budgets g
		   SET live_ids = ($3::text[])[low:high], live_until = ($4::timestamptz[])[low:high],
		       live_entries = ($5::bigint[])[low:high]
		  FROM unnest($1::text[], $2::text[], $6::int[], $7::int[]) AS q(workspace, login, low, high)
		 WHERE g.workspace = q.workspace AND g.login = q.login`
	storeLimitsSQL = `
		UPDATE limits l
		   SET times = ($3::timestamptz[])[low:high], entries = ($4::bigint[])[low:high], used_at = $7
		  FROM unnest($1::text[], $2::bytea[], $5::int[], $6::int[]) AS q(dimension, key, low, high)
		 WHERE l.dimension = q.dimension AND l.key = q.key`
)

// slotsKey names a budget, rowKey a row of limits.
type (
	slotsKey struct{ workspace, login string }
	rowKey   struct {
		dimension limit.Dimension
		key       string
	}
)

// held are the rows that some creates take from: each once, however many take from it.
type held struct {
	now    time.Time // after the last lock
	logins []slotsKey
	slots  map[slotsKey]*heldSlots
	limits []rowKey
	rows   map[rowKey]*heldRow
	labels map[string][]string // by recipient
}

// heldSlots are the live places of a login. Without found there is no budget.
type heldSlots struct {
	limit.Slots
	found, changed bool
}

// heldRow is a row of limits.
type heldRow struct {
	limit.Row
	changed bool
}

// holdings lists what some creates take from.
func holdings(takes []CreateTake) *held {
	h := &held{slots: map[slotsKey]*heldSlots{}, rows: map[rowKey]*heldRow{}, labels: map[string][]string{}}
	for _, c := range takes {
		login := c.slotsKey()
		if h.slots[login] == nil {
			h.slots[login] = &heldSlots{}
			h.logins = append(h.logins, login)
		}
		for _, w := range c.Wants {
			row := keyOf(w)
			if h.rows[row] == nil {
				h.rows[row] = &heldRow{}
				h.limits = append(h.limits, row)
			}
		}
	}
	return h
}

func (c CreateTake) slotsKey() slotsKey { return slotsKey{workspace: c.Workspace, login: c.Login} }

func keyOf(w limit.Want) rowKey { return rowKey{dimension: w.Dimension, key: string(w.Key)} }

// labelsOf returns the live labels at the recipient of a create.
func (h *held) labelsOf(c CreateTake) []string {
	for _, w := range c.Wants {
		if w.Dimension == limit.Recipient {
			return h.labels[string(w.Key)]
		}
	}
	return nil
}

// readLabels reads the live labels at the recipients, before anything is locked.
func (h *held) readLabels(b *pgx.Batch) {
	var recipients [][]byte
	for _, l := range h.limits {
		if l.dimension == limit.Recipient {
			recipients = append(recipients, []byte(l.key))
		}
	}
	if len(recipients) == 0 {
		return
	}
	b.Queue(liveLabelsSQL, recipients).Query(func(rows pgx.Rows) error {
		var n int
		var labels []string
		_, err := pgx.ForEachRow(rows, []any{&n, &labels}, func() error {
			h.labels[string(recipients[n-1])] = labels
			labels = nil
			return nil
		})
		return err
	})
}

// lock locks and reads the rows; the server takes the locks in the order of the statements.
func (h *held) lock(b *pgx.Batch) {
	h.readLabels(b)
	workspaces, logins := make([]string, len(h.logins)), make([]string, len(h.logins))
	for i, l := range h.logins {
		workspaces[i], logins[i] = l.workspace, l.login
	}
	b.Queue(lockSlotsSQL, workspaces, logins).Query(func(rows pgx.Rows) error {
		var n int
		var s limit.Slots
		_, err := pgx.ForEachRow(rows, []any{&n, &s.IDs, &s.Until, &s.Entries}, func() error {
			*h.slots[h.logins[n-1]] = heldSlots{Slots: s, found: true}
			s = limit.Slots{}
			return nil
		})
		return err
	})
	dimensions, keys := make([]string, len(h.limits)), make([][]byte, len(h.limits))
	for i, l := range h.limits {
		dimensions[i], keys[i] = string(l.dimension), []byte(l.key)
	}
	b.Queue(lockLimitsSQL, dimensions, keys).Query(func(rows pgx.Rows) error {
		var dimension string
		var key []byte
		var r limit.Row
		_, err := pgx.ForEachRow(rows, []any{&dimension, &key, &r.Times, &r.Entries}, func() error {
			h.rows[rowKey{dimension: limit.Dimension(dimension), key: string(key)}].Row = r
			r = limit.Row{}
			return nil
		})
		return err
	})
	b.Queue(`SELECT clock_timestamp()`).QueryRow(func(row pgx.Row) error { return row.Scan(&h.now) })
}

// decide lets each create take from what those before it left.
func (h *held) decide(takes []CreateTake) []batch.Answer[Taken] {
	answers := make([]batch.Answer[Taken], len(takes))
	for i, c := range takes {
		slots := h.slots[c.slotsKey()]
		if !slots.found {
			answers[i].Err = &IntegrityError{Table: TableBudgets}
			continue
		}
		state := limit.State{Slots: slots.Slots, Rows: make([]limit.Row, len(c.Wants))}
		for j, w := range c.Wants {
			state.Rows[j] = h.rows[keyOf(w)].Row
		}
		next, answer := state.Take(h.now, c.Create)
		answers[i].Value = Taken{Answer: answer, Labels: h.labelsOf(c)}
		if answer.Refused != "" {
			continue
		}
		slots.Slots, slots.changed = next.Slots, true
		if answer.Repeat {
			continue
		}
		for j, w := range c.Wants {
			*h.rows[keyOf(w)] = heldRow{Row: next.Rows[j], changed: true}
		}
	}
	return answers
}

// store writes what the decisions changed.
func (h *held) store(b *pgx.Batch) {
	h.storeSlots(b)
	var dimensions []string
	var keys [][]byte
	var all limit.Row
	var at places
	for _, l := range h.limits {
		r := h.rows[l]
		if !r.changed {
			continue
		}
		dimensions, keys = append(dimensions, string(l.dimension)), append(keys, []byte(l.key))
		at.add(len(r.Times))
		all.Times, all.Entries = append(all.Times, r.Times...), append(all.Entries, r.Entries...)
	}
	if len(keys) > 0 {
		b.Queue(storeLimitsSQL, dimensions, keys, all.Times, all.Entries, at.low, at.high, h.now)
	}
}

// storeSlots is store for the budgets.
func (h *held) storeSlots(b *pgx.Batch) {
	var workspaces, logins []string
	var all limit.Slots
	var at places
	for _, l := range h.logins {
		s := h.slots[l]
		if !s.changed {
			continue
		}
		workspaces, logins = append(workspaces, l.workspace), append(logins, l.login)
		at.add(len(s.IDs))
		all.IDs, all.Until = append(all.IDs, s.IDs...), append(all.Until, s.Until...)
		all.Entries = append(all.Entries, s.Entries...)
	}
	if len(logins) > 0 {
		b.Queue(storeSlotsSQL, workspaces, logins, orEmpty(all.IDs), orEmpty(all.Until), orEmpty(all.Entries), at.low, at.high)
	}
}

// places says where each of several lists begins and ends in the one that holds all, counted from 1.
type places struct{ low, high []int }

// add appends a list of n elements.
func (p *places) add(n int) {
	end := 0
	if len(p.high) > 0 {
		end = p.high[len(p.high)-1]
	}
	p.low, p.high = append(p.low, end+1), append(p.high, end+n)
}

// orEmpty is a slice that the driver does not write as NULL.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
