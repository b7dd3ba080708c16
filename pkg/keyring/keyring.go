// Package keyring holds rings of symmetric keys. A ring has one active key,
// which makes new values, and older ones, which only verify; every stored value
// names the id of its key, so a key rotates by adding one (DESIGN 6,
// security.md 5.6).
//
// Keys come from files, print as a mask and cannot be marshalled or compared.
package keyring

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
)

// KeySize is the size of every key in bytes.
const KeySize = 32

// mask is what a key shows of itself.
const mask = "[redacted]"

// ErrUnknownKey says that a value names a key which the ring does not hold.
var ErrUnknownKey = errors.New("unknown key id")

// Ring is an immutable set of keys with ids from 1 to 255. It is safe for
// concurrent use.
type Ring struct {
	_      [0]func() // a ring cannot be compared with ==
	active uint8
	keys   map[uint8][]byte
}

// file is the form of a ring on disk.
type file struct {
	Active uint8             `json:"active"`
	Keys   map[string][]byte `json:"keys"`
}

// New returns a ring of one fresh random key with id 1.
func New() (*Ring, error) {
	return (&Ring{keys: map[uint8][]byte{}}).Rotate()
}

// Read loads a ring from a file that Write made. Errors name the path and never
// the content.
func Read(path string) (*Ring, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the operator names the key file
	if err != nil {
		return nil, fmt.Errorf("read key ring: %w", err)
	}
	r, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("read key ring %s: %w", path, err)
	}
	return r, nil
}

// parse reads the file form; its errors never quote the input.
func parse(data []byte) (*Ring, error) {
	var f file
	if json.Unmarshal(data, &f) != nil {
		return nil, errors.New("not a key ring in JSON")
	}
	r := &Ring{active: f.Active, keys: map[uint8][]byte{}}
	for name, key := range f.Keys {
		id, err := strconv.ParseUint(name, 10, 8)
		if err != nil || id == 0 || strconv.FormatUint(id, 10) != name {
			return nil, errors.New("a key id is not a number from 1 to 255")
		}
		if len(key) != KeySize {
			return nil, fmt.Errorf("key %d does not have %d bytes", id, KeySize)
		}
		r.keys[uint8(id)] = key
	}
	if r.keys[r.active] == nil {
		return nil, errors.New("the active key is missing")
	}
	return r, nil
}

// Marshal returns the file form of the ring. It is the one way to its keys and
// serves the command that makes key files.
func (r *Ring) Marshal() ([]byte, error) {
	f := file{Active: r.active, Keys: map[string][]byte{}}
	for id, key := range r.keys {
		f.Keys[strconv.Itoa(int(id))] = key
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write key ring: %w", err)
	}
	return append(data, '\n'), nil
}

// Add returns a ring with one more key and the id of it. The active key stays
// the same: the new one only verifies, until Activate.
func (r *Ring) Add() (*Ring, uint8, error) {
	next := &Ring{active: r.active, keys: maps.Clone(r.keys)}
	var last uint8
	for id := range r.keys {
		last = max(last, id)
	}
	if last == 255 {
		return nil, 0, errors.New("add to key ring: all 255 key ids are used")
	}
	key := make([]byte, KeySize)
	_, err := rand.Read(key)
	if err != nil {
		return nil, 0, fmt.Errorf("draw key: %w", err)
	}
	next.keys[last+1] = key
	return next, last + 1, nil
}

// Activate returns the same ring with another active key; the others keep
// verifying. It fails with ErrUnknownKey. Whoever verifies has to hold the key
// by then: what it makes is unknown to all others.
func (r *Ring) Activate(id uint8) (*Ring, error) {
	if r.keys[id] == nil {
		return nil, ErrUnknownKey
	}
	return &Ring{active: id, keys: r.keys}, nil
}

// Rotate is Add and Activate in one step.
func (r *Ring) Rotate() (*Ring, error) {
	next, id, err := r.Add()
	if err != nil {
		return nil, err
	}
	return next.Activate(id)
}

// Active returns the id of the key that makes new values.
func (r *Ring) Active() uint8 { return r.active }

// IDs returns the ids of all keys in ascending order.
func (r *Ring) IDs() []uint8 {
	ids := make([]uint8, 0, len(r.keys))
	for id := range r.keys {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// MAC returns HMAC-SHA-256 under the active key over the label and the fields,
// each with a four-byte length before it, so that no two lists of fields
// collide (security.md 5.2), together with the id of the key.
func (r *Ring) MAC(label string, fields ...[]byte) (id uint8, sum []byte) {
	return r.active, mac(r.keys[r.active], label, fields)
}

// MACWith is MAC under the key of that id. It fails with ErrUnknownKey.
func (r *Ring) MACWith(id uint8, label string, fields ...[]byte) ([]byte, error) {
	key := r.keys[id]
	if key == nil {
		return nil, ErrUnknownKey
	}
	return mac(key, label, fields), nil
}

// Verify reports in constant time whether sum is the MAC of the fields under
// the key of that id; an unknown id verifies nothing (SEC-26).
func (r *Ring) Verify(id uint8, sum []byte, label string, fields ...[]byte) bool {
	want, err := r.MACWith(id, label, fields...)
	if err != nil {
		return false
	}
	return hmac.Equal(want, sum)
}

// Derive returns a 32-byte key for one purpose from the key of that id by HKDF
// (RFC 5869). It fails with ErrUnknownKey.
func (r *Ring) Derive(id uint8, salt []byte, info string) ([]byte, error) {
	key := r.keys[id]
	if key == nil {
		return nil, ErrUnknownKey
	}
	out, err := hkdf.Key(sha256.New, key, salt, info, KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return out, nil
}

// mac is the one MAC of the project.
func mac(key []byte, label string, fields [][]byte) []byte {
	h := hmac.New(sha256.New, key)
	var size [4]byte
	write := func(b []byte) {
		binary.BigEndian.PutUint32(size[:], uint32(len(b))) //nolint:gosec // fields are far below 4 GiB
		h.Write(size[:])
		h.Write(b)
	}
	write([]byte(label))
	for _, f := range fields {
		write(f)
	}
	return h.Sum(nil)
}

// String shows a mask.
func (r *Ring) String() string { return mask }

// GoString shows a mask.
func (r *Ring) GoString() string { return mask }

// Format shows a mask for every verb.
func (r *Ring) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(mask)) }

// LogValue shows a mask.
func (r *Ring) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalJSON shows a mask: a ring that slips into a document stays secret.
func (r *Ring) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }
