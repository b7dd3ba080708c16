package challenge

import (
	"crypto/hmac"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"doorcode/pkg/keyring"
)

// ErrHandle says that a handle was not made by this system. It says no more:
// an unknown, foreign or mangled handle is one and the same answer.
var ErrHandle = errors.New("unknown handle")

// Handle names a challenge and the place of its event, so that a check works
// before the event was recorded (P8). It is worth nothing without the key of
// the front-end that created the challenge.
type Handle struct {
	Challenge string
	Stream    uint16 // number of the stream, never reused
	Sequence  uint64 // of the challenge's event in that stream
}

// The layout of a handle: version, key id, challenge, stream, sequence, MAC.
const (
	handleVersion = 1
	handleBody    = 2 + IDSize + 2 + 8
	handleMAC     = 16
)

// Encode returns the handle as 59 base64url characters with a MAC under the
// active handle key, so that sequences cannot be probed.
func (h Handle) Encode(ring *keyring.Ring) (string, error) {
	id, err := base64.RawURLEncoding.DecodeString(h.Challenge)
	if err != nil || len(id) != IDSize {
		return "", errors.New("encode handle: malformed challenge id")
	}
	body := make([]byte, 0, handleBody+handleMAC)
	body = append(body, handleVersion, ring.Active())
	body = append(body, id...)
	body = binary.BigEndian.AppendUint16(body, h.Stream)
	body = binary.BigEndian.AppendUint64(body, h.Sequence)
	_, sum := ring.MAC("doorcode handle v1", body)
	return base64.RawURLEncoding.EncodeToString(append(body, sum[:handleMAC]...)), nil
}

// DecodeHandle reads what Encode wrote, or returns ErrHandle.
func DecodeHandle(ring *keyring.Ring, s string) (Handle, error) {
	// The decoder skips line breaks, so the length of the text counts too.
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(s) != base64.RawURLEncoding.EncodedLen(handleBody+handleMAC) || len(raw) != handleBody+handleMAC || raw[0] != handleVersion {
		return Handle{}, ErrHandle
	}
	body := raw[:handleBody]
	sum, err := ring.MACWith(raw[1], "doorcode handle v1", body)
	if err != nil || !hmac.Equal(sum[:handleMAC], raw[handleBody:]) {
		return Handle{}, ErrHandle
	}
	return Handle{
		Challenge: base64.RawURLEncoding.EncodeToString(body[2 : 2+IDSize]),
		Stream:    binary.BigEndian.Uint16(body[2+IDSize:]),
		Sequence:  binary.BigEndian.Uint64(body[4+IDSize:]),
	}, nil
}
