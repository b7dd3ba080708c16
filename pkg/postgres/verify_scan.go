package postgres

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/auditlog"
)

// Figures of a verification.
const (
	maxGroups  = 4096
	chunkPages = 16384 // of 8 KiB, read in one statement
)

// groups tell which group of seals a transaction belongs to: each is of the same number of seals, in their order.
type groups struct {
	each  int64   // seals of a group
	until []int64 // to_tx of the last seal of each group
}

// readGroups parts the seals.
func readGroups(ctx context.Context, tx pgx.Tx, seals int64) (groups, error) {
	g := groups{each: max(1, (seals+maxGroups-1)/maxGroups)}
	rows, err := tx.Query(ctx, `
		SELECT to_tx FROM audit_seals WHERE n % $1 = 0 OR n = (SELECT max(n) FROM audit_seals) ORDER BY n`, g.each)
	if err != nil {
		return g, err
	}
	g.until, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	return g, err
}

// ofSeal is the group of a seal. One whose number cannot be is in the last.
func (g groups) ofSeal(n int64) int { return int(min(max((n-1)/g.each, 0), int64(len(g.until)-1))) }

// ofTx is the group of a transaction, or len(g.until) for one that no seal has yet.
func (g groups) ofTx(tx int64) int {
	return sort.Search(len(g.until), func(i int) bool { return tx < g.until[i] })
}

// sum is the sum of the keyed hashes of some leaves, and how many there were. Sums of different leaves are the same with a
// probability of 2^-128, for whoever does not know the key, which is drawn for one run and kept in memory alone.
type sum struct {
	high, low uint64
	count     int64
}

type sums []sum

// newSums returns a sum for each group.
func newSums(g groups) sums { return make(sums, len(g.until)) }

// add adds other sums.
func (s sums) add(other sums) {
	for i := range s {
		s[i].high += other[i].high
		s[i].low += other[i].low
		s[i].count += other[i].count
	}
}

// put adds a leaf to the sum of a group.
func (s sums) put(secret *[32]byte, group int, leaf auditlog.Hash) {
	var block [64]byte
	copy(block[:32], secret[:])
	copy(block[32:], leaf[:])
	hash := sha256.Sum256(block[:])
	s[group].high += binary.BigEndian.Uint64(hash[:8])
	s[group].low += binary.BigEndian.Uint64(hash[8:16])
	s[group].count++
}

// partitionsSQL gives the bounds of each partition as Postgres prints them, and its pages.
const partitionsSQL = `
SELECT pg_get_expr(c.relpartbound, c.oid), pg_relation_size(c.oid) / current_setting('block_size')::int
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'audit'::regclass`

// days are the rows from a moment up to another, in microseconds, on so many pages.
type days struct{ from, to, pages int64 }

// chunks parts the whole audit into conditions, each for what is read in one statement. The spans cover all time, whatever the catalogue says: what no partition has, the one for
// the rest has.
func (v *verification) chunks(ctx context.Context) (<-chan string, error) {
	spans, err := v.spans(ctx)
	if err != nil {
		return nil, err
	}
	var all []string
	end := ""
	for _, s := range spans {
		from, to := instant(s.from), instant(s.to)
		if end != from {
			all = append(all, between(end, from))
		}
		for page := int64(0); ; page += chunkPages {
			where := between(from, to) + fmt.Sprintf(" AND ctid >= '(%d,0)'::tid", page)
			if page+chunkPages >= s.pages {
				all = append(all, where)
				break
			}
			all = append(all, where+fmt.Sprintf(" AND ctid < '(%d,0)'::tid", page+chunkPages))
		}
		end = to
	}
	all = append(all, between(end, ""))
	queue := make(chan string, len(all))
	for _, c := range all {
		queue <- c
	}
	close(queue)
	return queue, nil
}

// spans returns the bounds of the partitions in their order.
func (v *verification) spans(ctx context.Context) ([]days, error) {
	rows, err := v.tx.Query(ctx, partitionsSQL)
	if err != nil {
		return nil, err
	}
	bounds := regexp.MustCompile(`^FOR VALUES FROM \('([0-9 :.+-]+)'\) TO \('([0-9 :.+-]+)'\)$`)
	var spans []days
	var text string
	var pages int64
	_, err = pgx.ForEachRow(rows, []any{&text, &pages}, func() error {
		parts := bounds.FindStringSubmatch(text)
		if parts == nil {
			return nil // It is read with the rest.
		}
		from, err := time.Parse("2006-01-02 15:04:05Z07", parts[1])
		to, other := time.Parse("2006-01-02 15:04:05Z07", parts[2])
		if err == nil && other == nil {
			spans = append(spans, days{from.UnixMicro(), to.UnixMicro(), pages})
		}
		return nil
	})
	slices.SortFunc(spans, func(a, b days) int { return cmp.Compare(a.from, b.from) })
	return spans, err
}

// instant writes a moment for Postgres.
func instant(at int64) string {
	return time.UnixMicro(at).UTC().Format("2006-01-02 15:04:05.000000Z07:00")
}

// between is the condition of a span; empty is without an end.
func between(from, to string) string {
	where := "true"
	if from != "" {
		where += " AND at >= '" + from + "'"
	}
	if to != "" {
		where += " AND at < '" + to + "'"
	}
	return where
}

// scan reads rows and sums them up.
type scan struct {
	v        *verification
	sums     sums
	unsealed int64
	oldest   int64 // of those, in microseconds
	begun    bool  // the header was read
	rest     []byte
	row      auditlog.Row
	buffer   []byte
}

func (v *verification) newScan() *scan { return &scan{v: v, sums: newSums(v.groups)} }

// reads reads chunk after chunk, as the snapshot has them.
func (v *verification) reads(ctx context.Context, snapshot string, chunks <-chan string, s *scan) error {
	return v.db.inTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+snapshot+"'")
		if err == nil {
			_, err = tx.Exec(ctx, verifySettingsSQL)
		}
		for where := range chunks {
			if err != nil {
				return err
			}
			s.begun, s.rest = false, s.rest[:0]
			_, err = tx.Conn().PgConn().CopyTo(ctx, s, "COPY (SELECT "+leafColumns+" FROM audit WHERE "+where+") TO STDOUT (FORMAT binary)")
			if err == nil && len(s.rest) > 0 {
				err = errCopy
			}
		}
		return err
	})
}

// errCopy says that rows came in another form than that of COPY.
var errCopy = errors.New("rows came in a form that is not understood")

// copyHeader is how long the header of a binary COPY is, which has no extension.
const copyHeader = 19

// Write reads rows in the binary form of COPY (PostgreSQL manual, COPY).
func (s *scan) Write(p []byte) (int, error) {
	size := len(p)
	if len(s.rest) > 0 {
		s.rest = append(s.rest, p...)
		p = s.rest
	}
	if !s.begun {
		if len(p) < copyHeader {
			s.rest = append(s.rest[:0], p...)
			return size, nil
		}
		p, s.begun = p[copyHeader:], true
	}
	for len(p) > 0 {
		n, err := s.one(p)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		p = p[n:]
	}
	s.rest = append(s.rest[:0], p...)
	return size, nil
}

// one reads a row and returns how long it was; 0 when it is not whole yet.
func (s *scan) one(p []byte) (int, error) {
	if len(p) < 2 {
		return 0, nil
	}
	fields := binary.BigEndian.Uint16(p)
	if fields == 0xffff { // the end
		return 2, nil
	}
	var columns [9][]byte
	if int(fields) != len(columns) {
		return 0, errCopy
	}
	at := 2
	for i := range columns {
		if len(p)-at < 4 {
			return 0, nil
		}
		size := int(int32(binary.BigEndian.Uint32(p[at:]))) //nolint:gosec // -1 is NULL
		at += 4
		if size < 0 {
			continue
		}
		if len(p)-at < size {
			return 0, nil
		}
		columns[i], at = p[at:at+size:at+size], at+size
	}
	err := leafRow(columns[:], &s.row)
	if err != nil {
		return 0, err
	}
	group := s.v.groups.ofTx(s.row.Tx)
	if group == len(s.sums) {
		if s.unsealed == 0 || s.row.At < s.oldest {
			s.oldest = s.row.At
		}
		s.unsealed++
		return at, nil
	}
	var leaf auditlog.Hash
	leaf, s.buffer = s.row.Leaf(s.buffer)
	s.sums.put(&s.v.secret, group, leaf)
	return at, nil
}
