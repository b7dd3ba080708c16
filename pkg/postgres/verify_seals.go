package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"doorcode/pkg/auditlog"
)

// Figures of reading seals.
const (
	sealsPage = 1000
	listsPage = 8 // parts of lists in memory
)

// sealsAfter reads seals by number.
func sealsAfter(ctx context.Context, tx pgx.Tx, after int64, limit int) ([]auditSeal, error) {
	rows, err := tx.Query(ctx, `SELECT `+sealColumns+` FROM audit_seals WHERE n > $1 ORDER BY n LIMIT $2`, after, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanSeal)
}

// part is a part of a list.
type part struct {
	seal int64
	list []byte
}

// lists reads the parts of all lists in their order, a few at a time.
type lists struct {
	tx    pgx.Tx
	page  []part
	ended bool
}

const listsSQL = `DECLARE lists NO SCROLL CURSOR FOR SELECT seal, list FROM audit_leaves ORDER BY seal, part`

// next returns the first part that was not taken yet, and takes none.
func (l *lists) next(ctx context.Context) (part, bool, error) {
	if len(l.page) == 0 && !l.ended {
		rows, err := l.tx.Query(ctx, fmt.Sprintf("FETCH FORWARD %d FROM lists", listsPage))
		if err != nil {
			return part{}, false, err
		}
		l.page, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (part, error) {
			var p part
			return p, row.Scan(&p.seal, &p.list)
		})
		if err != nil {
			return part{}, false, err
		}
		l.ended = len(l.page) == 0
	}
	if len(l.page) == 0 {
		return part{}, false, nil
	}
	return l.page[0], true, nil
}

// heads verifies every seal in its order: signature, what it follows, and that the tree of its list is the one that was
// signed. It sums up the lists.
func (v *verification) heads(ctx context.Context, listed sums) error {
	_, err := v.tx.Exec(ctx, listsSQL)
	if err != nil {
		return err
	}
	parts := &lists{tx: v.tx}
	var previous auditSeal
	for {
		page, err := sealsAfter(ctx, v.tx, previous.Number, sealsPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, s := range page {
			v.head(previous.Head, s)
			err = v.list(ctx, parts, previous, s, listed)
			if err != nil {
				return err
			}
			previous = s
		}
	}
	v.Last = previous.Head
	p, more, err := parts.next(ctx)
	if more {
		v.found(AuditFinding{Kind: FoundList, Seal: p.seal, Why: "there is a list, and no seal"})
	}
	if err == nil {
		_, err = v.tx.Exec(ctx, `CLOSE lists`)
	}
	return err
}

// head verifies a seal without its rows.
func (v *verification) head(previous auditlog.Head, s auditSeal) {
	if !s.Signed(v.keys) {
		v.found(AuditFinding{Kind: FoundSeal, Seal: s.Number, Why: "no known key signed it as it is"})
	}
	if !s.Follows(previous) {
		v.found(AuditFinding{Kind: FoundSeal, Seal: s.Number, Why: fmt.Sprintf("it does not follow seal %d", previous.Number)})
	}
	tree, err := s.tree()
	if err == nil {
		var root auditlog.Hash
		root, err = tree.Root()
		if err == nil && root != s.Root {
			err = auditlog.ErrFrontier
		}
	}
	if err != nil {
		v.found(AuditFinding{Kind: FoundSeal, Seal: s.Number, Why: "its frontier is not that of its root"})
	}
}

// list verifies the list of a seal.
func (v *verification) list(ctx context.Context, parts *lists, previous, s auditSeal, listed sums) error {
	tree, err := previous.tree()
	if err != nil {
		tree = &auditlog.Tree{} // It was found already.
	}
	group, count, whole := v.groups.ofSeal(s.Number), int64(0), true
	inSpan := !s.At.Before(v.from) && (v.to.IsZero() || s.At.Before(v.to))
	for {
		p, more, err := parts.next(ctx)
		if err != nil {
			return err
		}
		if more && p.seal < s.Number {
			v.found(AuditFinding{Kind: FoundList, Seal: p.seal, Why: "there is a list, and no seal"})
			parts.page = parts.page[1:]
			continue
		}
		if !more || p.seal > s.Number {
			break
		}
		parts.page = parts.page[1:]
		r := auditlog.NewReader(p.list)
		for place, ok := r.Next(); ok; place, ok = r.Next() {
			err = tree.Add(place.Leaf)
			if err != nil {
				return err
			}
			count++
			if v.gone(s.Head, place.At) {
				v.Dropped++
				continue
			}
			if inSpan {
				v.Rows++
			}
			listed.put(&v.secret, group, place.Leaf)
		}
		whole = whole && r.Whole()
	}
	if count == 0 && s.Rows > 0 && v.goneWith(s.Head) {
		v.Dropped += s.Rows
		return nil
	}
	root, err := tree.Root()
	if err != nil {
		return err
	}
	if !whole || count != s.Rows || root != s.Root {
		v.found(AuditFinding{Kind: FoundList, Seal: s.Number, Why: fmt.Sprintf("its list of %d rows is not the one of %d that was sealed", count, s.Rows)})
	}
	return nil
}

// goneWith reports whether the list of a seal may be gone: the day of its newest row is, and so are all before it.
func (v *verification) goneWith(head auditlog.Head) bool {
	return v.gone(head, head.Newest.UnixMicro())
}

// diffGroup compares the seals of a group row by row.
func (v *verification) diffGroup(ctx context.Context, group int) error {
	first := int64(group)*v.groups.each + 1
	seals, err := sealsAfter(ctx, v.tx, first-1, int(v.groups.each))
	if err != nil {
		return err
	}
	for _, s := range seals {
		err = v.diffSeal(ctx, s.Head)
		if err != nil {
			return err
		}
	}
	return nil
}

// merge walks the list of a seal beside its rows, both by time and id.
type merge struct {
	v       *verification
	head    auditlog.Head
	tx      pgx.Tx
	part    int
	reader  *auditlog.Reader
	place   auditlog.Place
	waiting bool // place is one that was not compared yet
	buffer  []byte
}

// diffSeal compares the rows of a seal with its list, and names each that is edited, missing or added.
func (v *verification) diffSeal(ctx context.Context, head auditlog.Head) error {
	m := &merge{v: v, head: head, tx: v.tx, reader: auditlog.NewReader(nil)}
	err := declareLeaves(ctx, v.tx, head)
	if err != nil {
		return err
	}
	for {
		var page []auditlog.Place // of what is there, for the cursor and the lists take turns on one connection
		n, err := fetchLeaves(ctx, v.tx, func(row *auditlog.Row) error {
			var leaf auditlog.Hash
			leaf, m.buffer = row.Leaf(m.buffer)
			page = append(page, auditlog.Place{At: row.At, ID: append([]byte(nil), row.ID...), Kind: append([]byte(nil), row.Kind...), Leaf: leaf})
			return nil
		})
		if err != nil {
			return err
		}
		for _, row := range page {
			err = m.compare(ctx, row)
			if err != nil {
				return err
			}
		}
		if n == 0 {
			break
		}
	}
	for {
		ok, err := m.peek(ctx)
		if err != nil || !ok {
			return err
		}
		m.missing()
	}
}

// peek has the next place of the list in m.place, and reports whether there is one.
func (m *merge) peek(ctx context.Context) (bool, error) {
	for !m.waiting {
		m.place, m.waiting = m.reader.Next()
		if m.waiting {
			break
		}
		if !m.reader.Whole() {
			return false, nil // It was found already.
		}
		var list []byte
		err := m.tx.QueryRow(ctx, `SELECT coalesce((SELECT list FROM audit_leaves WHERE seal = $1 AND part = $2), '')`, m.head.Number, m.part).Scan(&list)
		if err != nil || len(list) == 0 {
			return false, err
		}
		m.reader, m.part = auditlog.NewReader(list), m.part+1
	}
	return true, nil
}

// compare compares a row with the list.
func (m *merge) compare(ctx context.Context, row auditlog.Place) error {
	for {
		ok, err := m.peek(ctx)
		if err != nil {
			return err
		}
		order := -1
		if ok {
			order = row.Compare(m.place)
		}
		switch {
		case order > 0:
			m.missing()
			continue
		case order < 0:
			m.found(FoundAdded, row)
		default:
			m.waiting = false
			if row.Leaf != m.place.Leaf {
				m.found(FoundEdited, row)
			}
		}
		return nil
	}
}

// missing takes the place at hand, which has no row.
func (m *merge) missing() {
	m.waiting = false
	if !m.v.gone(m.head, m.place.At) {
		m.found(FoundMissing, m.place)
	}
}

func (m *merge) found(kind string, p auditlog.Place) {
	m.v.found(AuditFinding{Kind: kind, Seal: m.head.Number, At: time.UnixMicro(p.At).UTC(), ID: string(p.ID), RowKind: string(p.Kind)})
}
