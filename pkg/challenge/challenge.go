// Package challenge holds what a challenge is: its states, the reasons why a
// check can be refused, the policy with its hard ceilings, the label and the
// support reference that people see, and the handle that front-ends keep.
//
// It imports the standard library and pkg/keyring alone.
package challenge

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// State is where a challenge stands. All but pending are ends.
type State string

// The six states.
const (
	Pending   State = "pending"
	Approved  State = "approved"
	Expired   State = "expired"
	Canceled  State = "canceled"
	Exhausted State = "exhausted"
	Waived    State = "waived" // no code was asked for, or the person skipped it
)

// Refusal is the closed set of answers to a check that was not approved.
type Refusal string

// The refusals, which are also the problem codes of the API. Only RefusedWrong
// means that a code was compared.
const (
	RefusedWrong   Refusal = "wrong_code"
	RefusedExpired Refusal = "expired"
	RefusedUsed    Refusal = "used"
	RefusedClosed  Refusal = "closed"
	RefusedTooMany Refusal = "too_many"
)

// Refusals lists every refusal; it doubles as the closed set of a metric label.
func Refusals() []Refusal {
	return []Refusal{RefusedWrong, RefusedExpired, RefusedUsed, RefusedClosed, RefusedTooMany}
}

// Reasons why a challenge was canceled.
const (
	ReasonRequest   = "request"   // the front-end or the person asked for it
	ReasonDirectory = "directory" // a factor, address or membership changed
)

// IDSize is the size of a challenge's id in bytes: 128 random bits.
const IDSize = 16

// NewID draws the id of a challenge: 22 base64url characters.
func NewID() (string, error) { return randomID(IDSize) }

// NewAttempt draws the id of a delivery attempt: 64 random bits, 11 characters.
func NewAttempt() (string, error) { return randomID(8) }

// randomID draws that many bytes and writes them as base64url.
func randomID(size int) (string, error) {
	raw := make([]byte, size)
	_, err := rand.Read(raw)
	if err != nil {
		return "", fmt.Errorf("draw id: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// labelLetters are consonants that cannot be mistaken for a digit or for one
// another when read out.
const labelLetters = "BCDFGHJKLMNPRSTVWXZ"

// DrawLabel draws three different consonants that tie a message to a screen.
// It avoids the labels in live as long as others are free, and at each place
// the letters that they have there as long as there are others: labels side by
// side in one mailbox are told apart by every letter, as long as fewer than 17
// are. A label is no secret and proves nothing.
func DrawLabel(live []string) (string, error) {
	var free [3]string
	for place := range free {
		free[place] = without(labelLetters, func(letter rune) bool {
			return slices.ContainsFunc(live, func(l string) bool { return len(l) > place && rune(l[place]) == letter })
		})
	}
	for range 64 {
		var label string
		for _, letters := range free {
			drawn := func(letter rune) bool { return strings.ContainsRune(label, letter) }
			letters = cmp.Or(without(letters, drawn), without(labelLetters, drawn))
			letter, err := draw(letters)
			if err != nil {
				return "", fmt.Errorf("draw label: %w", err)
			}
			label += string(letter)
		}
		if !slices.Contains(live, label) {
			return label, nil
		}
	}
	return "", errors.New("draw label: no free label was found")
}

// without returns the letters of an alphabet that are not taken.
func without(alphabet string, taken func(letter rune) bool) string {
	return strings.Map(func(r rune) rune {
		if taken(r) {
			return -1
		}
		return r
	}, alphabet)
}

// crockford is Crockford's base32: no I, L, O and U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// DrawReference draws a support reference: seven characters of Crockford's
// base32 and a check character (Luhn, modulo 32), such as `4F72KQ9R`.
func DrawReference() (string, error) {
	var b strings.Builder
	for b.Len() < 7 {
		c, err := draw(crockford)
		if err != nil {
			return "", fmt.Errorf("draw support reference: %w", err)
		}
		b.WriteByte(c)
	}
	return b.String() + string(luhn(b.String())), nil
}

// ReferenceOf returns the support reference that follows from a keyed hash of
// at least seven bytes, for what has to get the same one whenever it is made.
func ReferenceOf(sum []byte) string {
	var b strings.Builder
	for _, c := range sum[:7] {
		b.WriteByte(crockford[c%32])
	}
	return b.String() + string(luhn(b.String()))
}

// ShowReference writes a support reference as people read it: `4F72-KQ9R`.
func ShowReference(reference string) string {
	if len(reference) != 8 {
		return reference
	}
	return reference[:4] + "-" + reference[4:]
}

// luhn returns the check character of a reference's first seven.
func luhn(s string) byte {
	sum, factor := 0, 2
	for i := len(s) - 1; i >= 0; i-- {
		n := factor * strings.IndexByte(crockford, s[i])
		sum += n/32 + n%32
		factor = 3 - factor
	}
	return crockford[(32-sum%32)%32]
}

// draw returns one uniformly random character of the alphabet.
func draw(alphabet string) (byte, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
	if err != nil {
		return 0, err
	}
	return alphabet[n.Int64()], nil
}

// NotAfter is the latest time at which a provider call for a challenge may
// start: a minute before its codes die (P6).
func NotAfter(expires time.Time) time.Time { return expires.Add(-time.Minute) }

// LastResend is the latest time at which a resend is taken: two minutes before
// the challenge expires.
func LastResend(expires time.Time) time.Time { return expires.Add(-2 * time.Minute) }
