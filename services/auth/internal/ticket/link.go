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
	raw := []byte{version, ring.Active()}
	raw = binary.BigEndian.AppendUint64(raw, uint64(l.Until.Unix())) //nolint:gosec // No link ends before 1970.
	for _, field := range []string{l.Workspace, l.ID} {
		raw = binary.BigEndian.AppendUint16(raw, uint16(len(field))) //nolint:gosec // Ids have at most 64 bytes.
		raw = append(raw, field...)
	}
	_, sum := ring.MAC(l.Kind.label(), raw)
	return l.Kind.Path() + "?" + linkField + "=" + base64.RawURLEncoding.EncodeToString(append(raw, sum...))
}

// Path is where links of a kind are opened.
func (k LinkKind) Path() string { return "/" + string(k) }

// Field is the name of the field of a query, or of a form, that holds a link.
func (k LinkKind) Field() string { return linkField }

func (k LinkKind) label() string { return "doorcode link " + string(k) + " v1" }

// Decode reads the field that Address wrote, or fails with ErrUnknown. Whether its time has passed is for the caller to
// see.
func (k LinkKind) Decode(ring *keyring.Ring, s string) (Link, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(s) != base64.RawURLEncoding.EncodedLen(len(raw)) || len(raw) < headSize+macSize || raw[0] != version {
		return Link{}, ErrUnknown
	}
	body, sum := raw[:len(raw)-macSize], raw[len(raw)-macSize:]
	if !ring.Verify(raw[1], sum, k.label(), body) {
		return Link{}, ErrUnknown
	}
	l := Link{Kind: k, Until: time.Unix(int64(binary.BigEndian.Uint64(body[2:headSize])), 0).UTC()} //nolint:gosec // We wrote it.
	rest := body[headSize:]
	for _, field := range []*string{&l.Workspace, &l.ID} {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return Link{}, ErrUnknown
		}
		size := int(binary.BigEndian.Uint16(rest))
		*field, rest = string(rest[2:2+size]), rest[2+size:]
	}
	if len(rest) != 0 {
		return Link{}, ErrUnknown
	}
	return l, nil
}
