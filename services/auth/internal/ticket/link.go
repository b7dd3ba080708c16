package ticket

import (
	"encoding/base64"
	"encoding/binary"
	"time"

	"doorcode/pkg/keyring"
)

// LinkKind is what a link in a mail leads to. It is the path of the page that opens it, and part of the label of its MAC, so
// that no link passes for one of another kind.
type LinkKind string

// The kinds of links.
const (
	// LinkInvitation leads to an invitation, where it is accepted.
	LinkInvitation LinkKind = "invitation"
	// LinkUndo leads to a change of a factor, where it is undone.
	LinkUndo LinkKind = "undo"
	// LinkReady leads to how far a workspace is on its way to codes, for the login that it names.
	LinkReady LinkKind = "get-ready"
)

// Link names one thing that whoever reads a mail may look at and, by a button there, act on. Nothing of it is stored: it
// follows from the thing, so that a mail that is sent again has the same one. Whether the thing is still as the link says
// is for the page to ask.
type Link struct {
	Kind LinkKind
	// Workspace and ID name the thing.
	Workspace, ID string
	// Until is when the link ends, to the second.
	Until time.Time
}

// linkField is the name of the field of the query that holds a link.
const linkField = "of"

// Address returns the path and query at which a link is opened.
func (l Link) Address(ring *keyring.Ring) string {
	return l.Kind.Path() + "?" + linkField + "=" + l.encode(ring)
}

// encode writes the field of the query.
func (l Link) encode(ring *keyring.Ring) string {
	return pack(ring, l.Kind.label(), l.Until, nil, l.Workspace, l.ID)
}

// Path is where links of a kind are opened.
func (k LinkKind) Path() string { return "/" + string(k) }

// Field is the name of the field of a query, or of a form, that holds a link.
func (k LinkKind) Field() string { return linkField }

func (k LinkKind) label() string { return "doorcode link " + string(k) + " v1" }

// Decode reads the field that Address wrote, or fails with ErrUnknown. Whether its time has passed is for the caller to
// see.
func (k LinkKind) Decode(ring *keyring.Ring, s string) (Link, error) {
	l := Link{Kind: k}
	until, rest, err := unpack(ring, k.label(), s, &l.Workspace, &l.ID)
	if err != nil || len(rest) != 0 {
		return Link{}, ErrUnknown
	}
	l.Until = until
	return l, nil
}

// pack writes a time, fields with their lengths and a rest, with a MAC under the label.
func pack(ring *keyring.Ring, label string, at time.Time, rest []byte, fields ...string) string {
	raw := []byte{version, ring.Active()}
	raw = binary.BigEndian.AppendUint64(raw, uint64(at.Unix())) //nolint:gosec // Nothing of ours ends before 1970.
	for _, field := range fields {
		raw = binary.BigEndian.AppendUint16(raw, uint16(len(field))) //nolint:gosec // The fields are ids and handles.
		raw = append(raw, field...)
	}
	raw = append(raw, rest...)
	_, sum := ring.MAC(label, raw)
	return base64.RawURLEncoding.EncodeToString(append(raw, sum...))
}

// unpack reads what pack wrote, or fails with ErrUnknown.
func unpack(ring *keyring.Ring, label, s string, fields ...*string) (at time.Time, rest []byte, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(s) != base64.RawURLEncoding.EncodedLen(len(raw)) || len(raw) < headSize+macSize || raw[0] != version {
		return at, nil, ErrUnknown
	}
	body, sum := raw[:len(raw)-macSize], raw[len(raw)-macSize:]
	if !ring.Verify(raw[1], sum, label, body) {
		return at, nil, ErrUnknown
	}
	rest = body[headSize:]
	for _, field := range fields {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return at, nil, ErrUnknown
		}
		size := int(binary.BigEndian.Uint16(rest))
		*field, rest = string(rest[2:2+size]), rest[2+size:]
	}
	return time.Unix(int64(binary.BigEndian.Uint64(body[2:headSize])), 0).UTC(), rest, nil //nolint:gosec // We wrote it.
}
