package auditlog

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/mod/sumdb/tlog"
)

// Place is where a row stands in the list of a seal: what names it, and its leaf.
type Place struct {
	At   int64 // microseconds since 1970
	ID   []byte
	Kind []byte
	Leaf Hash
}

// Compare orders places by time and id, byte by byte.
func (p Place) Compare(other Place) int {
	if p.At != other.At {
		if p.At < other.At {
			return -1
		}
		return 1
	}
	return bytes.Compare(p.ID, other.ID)
}

// List writes a part of the list of a seal. The zero List is empty.
type List struct {
	bytes []byte
	kinds map[string]uint64
}

// Add appends a place. A kind that the list has already takes a byte.
func (l *List) Add(p Place) {
	if l.kinds == nil {
		l.kinds = map[string]uint64{}
	}
	l.bytes = binary.BigEndian.AppendUint64(l.bytes, uint64(p.At)) //nolint:gosec // the bits of the number, not its value
	kind, known := l.kinds[string(p.Kind)]
	if !known {
		kind = uint64(len(l.kinds))
		l.kinds[string(p.Kind)] = kind
	}
	l.bytes = binary.AppendUvarint(l.bytes, kind)
	if !known {
		l.bytes = appendText(l.bytes, p.Kind)
	}
	l.bytes = appendText(l.bytes, p.ID)
	l.bytes = append(l.bytes, p.Leaf[:]...)
}

// Bytes are the list. They are good until the next call.
func (l *List) Bytes() []byte { return l.bytes }

// Reset empties the list.
func (l *List) Reset() {
	l.bytes = l.bytes[:0]
	clear(l.kinds)
}

// Reader reads a part of a list.
type Reader struct {
	rest  []byte
	kinds [][]byte
	bad   bool
}

// NewReader returns a reader of what Bytes returned.
func NewReader(list []byte) *Reader { return &Reader{rest: list} }

// Next returns the next place, whose texts share the memory of the list, and whether there was one.
func (r *Reader) Next() (Place, bool) {
	if len(r.rest) == 0 {
		return Place{}, false
	}
	var p Place
	p.At = int64(binary.BigEndian.Uint64(r.take(8))) //nolint:gosec // the bits of the number
	kind := r.number()
	if kind == uint64(len(r.kinds)) {
		r.kinds = append(r.kinds, r.text())
	}
	p.ID = r.text()
	copy(p.Leaf[:], r.take(tlog.HashSize))
	if r.bad || kind >= uint64(len(r.kinds)) {
		r.bad, r.rest = true, nil
		return Place{}, false
	}
	p.Kind = r.kinds[kind]
	return p, true
}

// Whole reports whether all that was read was a list.
func (r *Reader) Whole() bool { return !r.bad }

// take cuts n bytes off; of a list that ends before they are zero.
func (r *Reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return make([]byte, min(n, tlog.HashSize))
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

// number cuts a number off.
func (r *Reader) number() uint64 {
	number, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return number
}

// text cuts a text off that stands behind its length.
func (r *Reader) text() []byte { return r.take(r.number()) }

// appendText appends a text behind its length.
func appendText(list, text []byte) []byte {
	return append(binary.AppendUvarint(list, uint64(len(text))), text...)
}
