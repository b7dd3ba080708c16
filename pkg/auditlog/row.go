package auditlog

import (
	"encoding/binary"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a SHA-256 of a leaf or of a tree (RFC 6962 2.1).
type Hash = tlog.Hash

// rowVersion begins the bytes of a row. Another form of the bytes takes another number.
const rowVersion = 1

// Row is one row of the audit as Postgres keeps it. A nil column is NULL, which is another content than an empty one.
type Row struct {
	At        int64 // microseconds since 1970
	ID        []byte
	Kind      []byte
	Workspace []byte
	Login     []byte
	Challenge []byte
	Actor     []byte
	Detail    []byte // as Postgres prints jsonb
	Tx        int64  // number of the writing transaction; 0 is NULL: a row from before there were seals
}

// Append appends the row's bytes to dst: version, time, transaction, and every other column behind its length, so that two
// different rows never have the same bytes.
func (r *Row) Append(dst []byte) []byte {
	dst = append(dst, rowVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.At)) //nolint:gosec // the bits of the number, not its value
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Tx)) //nolint:gosec // as above
	for _, column := range [...][]byte{r.ID, r.Kind, r.Workspace, r.Login, r.Challenge, r.Actor, r.Detail} {
		if column == nil {
			dst = append(dst, 0xff, 0xff, 0xff, 0xff) // No column is that long.
			continue
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(column))) //nolint:gosec // Postgres keeps no column of 4 GiB
		dst = append(dst, column...)
	}
	return dst
}

// Leaf is the row's leaf in the tree: SHA-256(0x00 || bytes). The buffer is used for the bytes and returned for the next
// row.
func (r *Row) Leaf(buffer []byte) (Hash, []byte) {
	buffer = r.Append(buffer[:0])
	return tlog.RecordHash(buffer), buffer
}
