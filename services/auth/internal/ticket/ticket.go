// Package ticket holds what a browser carries of a hosted page: the ticket in the address that create answers with, the
// session in the cookie that replaces it, and the link in a mail.
//
// A ticket is worth one thing: showing one challenge until that ends, to whoever has it; what binds a sign-in to its browser
// is the front-end, which takes an assertion for that browser's pending sign-in alone. It is a pure function of the
// create, so that a repeated create answers the same. A session is made anew whenever a ticket is opened, has 128 random
// bits, and is what a typed code needs beside it (SEC-06). Both are MAC'd under the handle ring with labels of their own;
// neither is worth anything to a front-end's API.
package ticket

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"doorcode/pkg/keyring"
)

// ErrUnknown says that a value was not made by this system. It says no more.
var ErrUnknown = errors.New("unknown ticket")

// Path is where a ticket is opened: it stands behind it.
const Path = "/prompt?ticket="

// The labels under which the two kinds are MAC'd, so that neither passes for the other, nor for a handle.
const (
	ticketLabel  = "doorcode prompt ticket v1"
	sessionLabel = "doorcode prompt session v1"
)

// The layout: version, key id, time, fields with their lengths, MAC.
const (
	version    = 1
	headSize   = 2 + 8
	macSize    = 32
	secretSize = 16
)

// Ticket names the challenge that a hosted page shows, and for whom.
type Ticket struct {
	Handle    string
	FrontEnd  string // on whose behalf the page asks
	ReturnURL string // where the page sends the browser back to
	Locale    string // of the challenge; empty: the browser's own language
	ExpiresAt time.Time
}

// Encode writes the ticket for an address.
func (t Ticket) Encode(ring *keyring.Ring) string { return encode(ring, ticketLabel, t, nil) }

// Decode reads what Encode wrote, or fails with ErrUnknown. Whether its time has passed is for the caller to see.
func Decode(ring *keyring.Ring, s string) (Ticket, error) {
	t, rest, err := decode(ring, ticketLabel, s)
	if err != nil || len(rest) != 0 {
		return Ticket{}, ErrUnknown
	}
	return t, nil
}

// Page names the page of the challenge in its address and in the name of its cookie. It follows from the handle and
// tells nothing of it.
func (t Ticket) Page() string {
	sum := sha256.Sum256([]byte("doorcode prompt page v1\x00" + t.Handle))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Session is a ticket that was opened in one browser.
type Session struct {
	Ticket
	secret []byte
}

// Open begins a session with a fresh secret, whatever the browser had before (CWE-384).
func (t Ticket) Open() Session {
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // crypto/rand never fails since Go 1.24.
	return Session{Ticket: t, secret: secret}
}

// Encode writes the session for a cookie.
func (s Session) Encode(ring *keyring.Ring) string {
	return encode(ring, sessionLabel, s.Ticket, s.secret)
}

// DecodeSession reads what Session.Encode wrote, or fails with ErrUnknown.
func DecodeSession(ring *keyring.Ring, s string) (Session, error) {
	t, rest, err := decode(ring, sessionLabel, s)
	if err != nil || len(rest) != secretSize {
		return Session{}, ErrUnknown
	}
	return Session{Ticket: t, secret: rest}, nil
}

// Form is the value that every form of the session's pages carries. It follows from the secret in the cookie, which no
// page shows.
func (s Session) Form() string {
	sum := sha256.Sum256(append([]byte("doorcode prompt form v1\x00"), s.secret...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Posted reports in constant time whether a form is the session's own.
func (s Session) Posted(form string) bool {
	return subtle.ConstantTimeCompare([]byte(form), []byte(s.Form())) == 1
}

func encode(ring *keyring.Ring, label string, t Ticket, rest []byte) string {
	raw := []byte{version, ring.Active()}
	raw = binary.BigEndian.AppendUint64(raw, uint64(t.ExpiresAt.Unix())) //nolint:gosec // No challenge expires before 1970.
	for _, field := range []string{t.Handle, t.FrontEnd, t.ReturnURL, t.Locale} {
		raw = binary.BigEndian.AppendUint16(raw, uint16(len(field))) //nolint:gosec // The longest is a return_url of 2000 bytes.
		raw = append(raw, field...)
	}
	raw = append(raw, rest...)
	_, sum := ring.MAC(label, raw)
	return base64.RawURLEncoding.EncodeToString(append(raw, sum...))
}

func decode(ring *keyring.Ring, label, s string) (Ticket, []byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(s) != base64.RawURLEncoding.EncodedLen(len(raw)) || len(raw) < headSize+macSize || raw[0] != version {
		return Ticket{}, nil, ErrUnknown
	}
	body, sum := raw[:len(raw)-macSize], raw[len(raw)-macSize:]
	if !ring.Verify(raw[1], sum, label, body) {
		return Ticket{}, nil, ErrUnknown
	}
	t := Ticket{ExpiresAt: time.Unix(int64(binary.BigEndian.Uint64(body[2:headSize])), 0).UTC()} //nolint:gosec // We wrote it.
	rest := body[headSize:]
	for _, field := range []*string{&t.Handle, &t.FrontEnd, &t.ReturnURL, &t.Locale} {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return Ticket{}, nil, ErrUnknown
		}
		size := int(binary.BigEndian.Uint16(rest))
		*field, rest = string(rest[2:2+size]), rest[2+size:]
	}
	return t, rest, nil
}
