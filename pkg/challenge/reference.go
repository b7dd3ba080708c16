package challenge

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// The ways in which what somebody typed is no support reference. Both texts
// are for people.
var (
	// ErrReferenceLength says that characters are missing or too many.
	ErrReferenceLength = errors.New("a support reference has eight characters")
	// ErrReferenceMistyped says that a character is not what it was: please
	// read it again.
	ErrReferenceMistyped = errors.New("a character of the support reference is mistyped: please read it again")
)

// referenceSize is how many characters a support reference has, the check
// character among them.
const referenceSize = 8

// ParseReference reads a support reference as people type and say it
// (product.md 2.8 and edge case 25): spaces, dashes and case do not matter, O
// is read as zero and I and L as one, which Crockford's base32 leaves out for
// that. It returns the form that DrawReference makes, or fails with
// ErrReferenceLength or, by the check character, with ErrReferenceMistyped:
// every single mistyped character is noticed. Its errors do not quote what was
// typed.
func ParseReference(s string) (string, error) {
	var b strings.Builder
	count, strange := 0, false
	for _, r := range s {
		if unicode.IsSpace(r) || unicode.Is(unicode.Dash, r) {
			continue
		}
		count++
		c := plainDigit(r)
		if c == 0 {
			strange = true
			continue
		}
		if count <= referenceSize {
			b.WriteByte(c)
		}
	}
	switch {
	case count < referenceSize:
		return "", fmt.Errorf("%w, and this one is too short with %d", ErrReferenceLength, count)
	case count > referenceSize:
		return "", fmt.Errorf("%w, and this one is too long with %d", ErrReferenceLength, count)
	}
	reference := b.String()
	if strange || luhn(reference[:referenceSize-1]) != reference[referenceSize-1] {
		return "", ErrReferenceMistyped
	}
	return reference, nil
}

// plainDigit returns the character of Crockford's base32 that is meant, or 0.
func plainDigit(r rune) byte {
	if r >= 'a' && r <= 'z' {
		r -= 'a' - 'A'
	}
	switch r {
	case 'O':
		return '0'
	case 'I', 'L':
		return '1'
	}
	at := strings.IndexRune(crockford, r)
	if at < 0 {
		return 0
	}
	return crockford[at]
}
