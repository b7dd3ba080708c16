// Package otp draws one-time codes and turns them into what may be kept of
// them: the tag, which only the front door can make, and the digest, which is
// the only stored form (DESIGN 6).
//
// A code is never printed, logged or marshalled by itself: whoever needs its
// digits calls Reveal, and only the front door and the sealed envelope do.
package otp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strconv"

	"doorcode/pkg/keyring"
)

// MinDigits and MaxDigits bound the length of a code. NIST SP 800-63B-4
// §3.1.3.2 asks for at least six decimal digits.
const (
	MinDigits = 6
	MaxDigits = 10
)

// mask is what a code shows of itself.
const mask = "[code]"

// ErrMalformed says that what was typed is not a code; nothing is compared.
var ErrMalformed = errors.New("a code has 6 to 10 digits")

// Code is a one-time code. It cannot be compared with == and shows itself only
// through Reveal.
type Code struct {
	_      [0]func()
	digits string
}

// Draw returns a uniformly random code of that many digits from the operating
// system's generator, by rejection sampling, leading zeros kept (NIST SP
// 800-63B-4 §3.1.3.2, §3.2.12; SEC-01).
func Draw(digits int) (Code, error) {
	if digits < MinDigits || digits > MaxDigits {
		return Code{}, fmt.Errorf("draw code: %d digits are outside %d to %d", digits, MinDigits, MaxDigits)
	}
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	n, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return Code{}, fmt.Errorf("draw code: %w", err)
	}
	s := n.String()
	for len(s) < digits {
		s = "0" + s
	}
	return Code{digits: s}, nil
}

// Parse reads what a person typed: ASCII digits, with spaces and dashes
// ignored. Everything else is ErrMalformed (SEC-04).
func Parse(typed string) (Code, error) {
	if len(typed) > 4*MaxDigits {
		return Code{}, ErrMalformed
	}
	digits := make([]byte, 0, MaxDigits)
	for i := range len(typed) {
		switch c := typed[i]; {
		case c >= '0' && c <= '9':
			digits = append(digits, c)
		case c == ' ' || c == '-':
		default:
			return Code{}, ErrMalformed
		}
	}
	if len(digits) < MinDigits || len(digits) > MaxDigits {
		return Code{}, ErrMalformed
	}
	return Code{digits: string(digits)}, nil
}

// Reveal returns the digits, unbroken.
func (c Code) Reveal() string { return c.digits }

// String shows a mask.
func (c Code) String() string { return mask }

// GoString shows a mask.
func (c Code) GoString() string { return mask }

// Format shows a mask for every verb.
func (c Code) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(mask)) }

// LogValue shows a mask.
func (c Code) LogValue() slog.Value { return slog.StringValue(mask) }

// MarshalJSON shows a mask.
func (c Code) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }

// Tag is the keyed hash of a typed code. The verifier sees tags and never a
// code; without the tag key it cannot search for one.
type Tag []byte

// NewTag returns the tag of a code for one challenge under the active tag key,
// with that key's id.
func NewTag(ring *keyring.Ring, challenge string, c Code) (uint8, Tag) {
	id, sum := ring.MAC("doorcode tag v1", []byte(challenge), []byte(c.digits))
	return id, sum
}

// Tags returns the tag under every key of the ring, by key id, because a typed
// code does not say when its challenge was made.
func Tags(ring *keyring.Ring, challenge string, c Code) map[uint8]Tag {
	tags := map[uint8]Tag{}
	for _, id := range ring.IDs() {
		sum, err := ring.MACWith(id, "doorcode tag v1", []byte(challenge), []byte(c.digits))
		if err == nil {
			tags[id] = sum
		}
	}
	return tags
}

// Binding names everything a code is good for. A digest verifies only when
// every part is the same (SEC-05).
type Binding struct {
	Challenge    string
	Workspace    string
	Login        string
	LoginVersion int64
	FrontEnd     string
	Purpose      string
}

// Digest returns the stored form of a code under the active digest key, with
// that key's id. It binds the tag to all that the code is good for.
func Digest(ring *keyring.Ring, b Binding, tag Tag) (uint8, []byte) {
	return ring.MAC("doorcode digest v1", b.fields(tag)...)
}

// DigestWith is Digest under the key of that id. It fails with
// keyring.ErrUnknownKey.
func DigestWith(ring *keyring.Ring, id uint8, b Binding, tag Tag) ([]byte, error) {
	return ring.MACWith(id, "doorcode digest v1", b.fields(tag)...)
}

// fields lists the bound facts in their fixed order.
func (b Binding) fields(tag Tag) [][]byte {
	return [][]byte{
		[]byte(b.Challenge), []byte(b.Login), []byte(b.Workspace), []byte(b.Purpose),
		[]byte(strconv.FormatInt(b.LoginVersion, 10)), []byte(b.FrontEnd), tag,
	}
}
