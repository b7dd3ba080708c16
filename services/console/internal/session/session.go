// Package session holds what a browser carries of the console: who is signed in, and what waits for a code.
//
// Both are cookies that are encrypted and authenticated under a ring of the console's own (AES-256-GCM, a key per value by
// HKDF), so that a browser can neither read nor change them, and no process has to remember them. What ends a session
// before its time is not in the cookie: its end is on record in the database, and every request reads that.
package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"doorcode/pkg/keyring"
	"doorcode/pkg/operator"
)

// The bounds of SEC-59.
const (
	Idle  = 15 * time.Minute // without a request
	Life  = 8 * time.Hour    // in all
	Fresh = 5 * time.Minute  // from the order of a code to its being typed, for whatever it is asked for
)

// ErrUnknown says that a value is not one that this console made, or one of another kind. It says no more.
var ErrUnknown = errors.New("unknown session")

// Session is somebody who is signed in.
type Session struct {
	ID       string    `json:"id"` // the challenge whose code was right
	Operator string    `json:"operator"`
	Version  string    `json:"version"` // of the operator's row
	Began    time.Time `json:"began"`
	Seen     time.Time `json:"seen"`
}

// Live reports whether neither the idle time nor the whole time is over. A time that lies ahead is none of ours.
func (s Session) Live(now time.Time) bool {
	return now.Sub(s.Seen) <= Idle && now.Sub(s.Began) <= Life && now.Sub(s.Seen) >= -Idle
}

// Pending is what waits for a code: a sign-in, or an act of somebody who is signed in.
type Pending struct {
	Operator  string    `json:"operator"`
	Version   string    `json:"version"`
	Handle    string    `json:"handle"`
	Label     string    `json:"label"`
	Recipient string    `json:"recipient"` // masked
	Reference string    `json:"reference"`
	Asked     time.Time `json:"asked"`

	// What an act is about; empty for a sign-in. The code is for this act alone.
	Session   string       `json:"session,omitempty"`
	Act       operator.Act `json:"act,omitempty"`
	Challenge string       `json:"challenge,omitempty"`
	Channel   string       `json:"channel,omitempty"`
	Reason    string       `json:"reason,omitempty"`
}

// Fresh reports whether the code may still be typed.
func (p Pending) Fresh(now time.Time) bool {
	return now.Sub(p.Asked) <= Fresh && now.Sub(p.Asked) >= -Fresh
}

// The kinds of values: one does not pass for the other.
const (
	sessionKind = "doorcode console session v1"
	pendingKind = "doorcode console pending v1"
)

const (
	saltSize = 16
	version  = 1
)

// Encode writes a session for a cookie.
func (s Session) Encode(ring *keyring.Ring) (string, error) { return encode(ring, sessionKind, s) }

// Decode reads what Session.Encode wrote, or fails with ErrUnknown. Whether it is live is for the caller to see.
func Decode(ring *keyring.Ring, value string) (Session, error) {
	return decode[Session](ring, sessionKind, value)
}

// Encode writes it for a cookie.
func (p Pending) Encode(ring *keyring.Ring) (string, error) { return encode(ring, pendingKind, p) }

// DecodePending reads what Pending.Encode wrote, or fails with ErrUnknown. Whether it is fresh is for the caller to see.
func DecodePending(ring *keyring.Ring, value string) (Pending, error) {
	return decode[Pending](ring, pendingKind, value)
}

// box returns the cipher of one value.
func box(ring *keyring.Ring, key uint8, salt []byte, kind string) (cipher.AEAD, error) {
	secret, err := ring.Derive(key, salt, kind)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

// encode is version, key id, salt and ciphertext. Each value has a key of its own, so the nonce may be fixed.
func encode(ring *keyring.Ring, kind string, value any) (string, error) {
	plain, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("write session: %w", err)
	}
	head := append([]byte{version, ring.Active()}, make([]byte, saltSize)...)
	_, _ = rand.Read(head[2:]) // crypto/rand never fails since Go 1.24.
	aead, err := box(ring, ring.Active(), head[2:], kind)
	if err != nil {
		return "", fmt.Errorf("write session: %w", err)
	}
	sealed := aead.Seal(nil, make([]byte, aead.NonceSize()), plain, head[:2]) //nolint:gosec // The key is of this value alone.
	return base64.RawURLEncoding.EncodeToString(append(head, sealed...)), nil
}

func decode[T any](ring *keyring.Ring, kind, value string) (T, error) {
	var into, none T
	raw, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(raw) < 2+saltSize || raw[0] != version {
		return none, ErrUnknown
	}
	aead, err := box(ring, raw[1], raw[2:2+saltSize], kind)
	if err != nil {
		return none, ErrUnknown
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), raw[2+saltSize:], raw[:2])
	if err != nil {
		return none, ErrUnknown
	}
	err = json.Unmarshal(plain, &into)
	if err != nil {
		return none, ErrUnknown
	}
	return into, nil
}
