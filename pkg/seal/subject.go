package seal

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"doorcode/pkg/keyring"
)

// SubjectSize is the size of a subject's own half of its key in bytes.
const SubjectSize = 32

// subjectBlock is what addresses are padded to, so that a length tells nothing about them.
const subjectBlock = 256

// subjectLabel keeps the keys of subjects apart from all others of a ring.
const subjectLabel = "doorcode subject v1"

// Subject is somebody whose addresses stay on record: a login, or a workspace itself, whose login is empty. What is sealed
// for a subject opens with two halves of a key alone, a random one of its own and the ring. Whoever destroys the own half
// erases what was sealed, wherever copies of it lie (security.md 5.7).
type Subject struct{ Workspace, Login string }

// NewHalf draws a subject's own half of its key.
func NewHalf() ([]byte, error) {
	half := make([]byte, SubjectSize)
	_, err := rand.Read(half)
	if err != nil {
		return nil, fmt.Errorf("draw the key of a subject: %w", err)
	}
	return half, nil
}

// Seal hides plain under the active key and the subject's own half. It opens for this subject and this time alone, at
// microseconds.
func (s Subject) Seal(ring *keyring.Ring, half []byte, at time.Time, plain []byte) (string, error) {
	if len(half) != SubjectSize || len(plain) > maxPlain-4 {
		return "", errors.New("seal for a subject: the key or the content has a wrong length")
	}
	id := ring.Active()
	aead, err := newAEAD(ring, id, half, subjectLabel)
	if err != nil {
		return "", fmt.Errorf("seal for a subject: %w", err)
	}
	nonce := make([]byte, aead.NonceSize())
	_, err = rand.Read(nonce)
	if err != nil {
		return "", fmt.Errorf("seal for a subject: %w", err)
	}
	out := append([]byte{version, id}, nonce...)
	out = aead.Seal(out, nonce, pad(plain, subjectBlock), s.additional(id, at))
	return base64.RawURLEncoding.EncodeToString(out), nil
}

// Open returns what was sealed for the subject, or ErrNotOpened.
func (s Subject) Open(ring *keyring.Ring, half []byte, at time.Time, sealed string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) < 2 || raw[0] != version || len(half) != SubjectSize {
		return nil, ErrNotOpened
	}
	id, rest := raw[1], raw[2:]
	aead, err := newAEAD(ring, id, half, subjectLabel)
	if err != nil || len(rest) < aead.NonceSize() {
		return nil, ErrNotOpened
	}
	plain, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], s.additional(id, at))
	if err != nil {
		return nil, ErrNotOpened
	}
	return unpad(plain)
}

// additional is what is authenticated beside the content.
func (s Subject) additional(id uint8, at time.Time) []byte {
	var b bytes.Buffer
	b.Write([]byte{version, id})
	for _, f := range []string{s.Workspace, s.Login} {
		_ = binary.Write(&b, binary.BigEndian, uint32(len(f))) //nolint:gosec // ids are short
		b.WriteString(f)
	}
	_ = binary.Write(&b, binary.BigEndian, at.UnixMicro())
	return b.Bytes()
}
