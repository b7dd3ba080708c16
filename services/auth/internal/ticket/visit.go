package ticket

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"time"

	"doorcode/pkg/keyring"
)

// Visit is a link that was opened in one browser, from where a code was sent to the address that the link is about. What a
// typed code needs beside it is the secret of the visit, which only that browser has, in a cookie (SEC-06).
type Visit struct {
	Link   Link
	Handle string // of the challenge
	// Label and Recipient, which is masked, are what the page shows of it.
	Label, Recipient string
	ExpiresAt        time.Time // of the code
	secret           []byte
}

// Visit begins a visit with a fresh secret, whatever the browser had before (CWE-384).
func (l Link) Visit(handle, label, recipient string, expires time.Time) Visit {
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // crypto/rand never fails since Go 1.24.
	return Visit{Link: l, Handle: handle, Label: label, Recipient: recipient, ExpiresAt: expires, secret: secret}
}

// visitLabel is the label of a visit's MAC, so that it passes for no link and for no session.
func (k LinkKind) visitLabel() string { return "doorcode visit " + string(k) + " v1" }

// Encode writes the visit for a cookie.
func (v Visit) Encode(ring *keyring.Ring) string {
	return pack(ring, v.Link.Kind.visitLabel(), v.ExpiresAt, v.secret, v.Link.encode(ring), v.Handle, v.Label, v.Recipient)
}

// DecodeVisit reads what Visit.Encode wrote, or fails with ErrUnknown.
func (k LinkKind) DecodeVisit(ring *keyring.Ring, s string) (Visit, error) {
	var v Visit
	var link string
	expires, rest, err := unpack(ring, k.visitLabel(), s, &link, &v.Handle, &v.Label, &v.Recipient)
	if err != nil || len(rest) != secretSize {
		return Visit{}, ErrUnknown
	}
	v.ExpiresAt, v.secret = expires, rest
	v.Link, err = k.Decode(ring, link)
	return v, err
}

// Page names the page of the link in its address and in the name of its cookie, and tells nothing of it.
func (l Link) Page() string {
	sum := sha256.Sum256([]byte("doorcode visit page v1\x00" + string(l.Kind) + "\x00" + l.Workspace + "\x00" + l.ID))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Form is the value that every form of the visit's page carries. It follows from the secret in the cookie, which no page
// shows.
func (v Visit) Form() string {
	sum := sha256.Sum256(append([]byte("doorcode visit form v1\x00"), v.secret...))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Posted reports in constant time whether a form is the visit's own.
func (v Visit) Posted(form string) bool {
	return subtle.ConstantTimeCompare([]byte(form), []byte(v.Form())) == 1
}
