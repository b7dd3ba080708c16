package hosted

import (
	"strings"
	"unicode"
)

// maxTyped bounds what is read of a typed code, in bytes.
const maxTyped = 100

// Digits writes what a person typed or pasted as the API takes it: decimal digits of every script as ASCII ones
// (full-width, Arabic-Indic and so on), without spaces, dashes and invisible marks. Anything else stays, so that it is
// refused and not guessed at (R6.7, edge cases 19 to 21).
func Digits(typed string) string {
	if len(typed) > maxTyped {
		typed = typed[:maxTyped]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.In(r, unicode.Pd, unicode.Cf), r == '\u2212':
			return -1
		case unicode.Is(unicode.Nd, r):
			return '0' + digit(r)
		}
		return r
	}, typed)
}

// digit returns the value of a decimal digit. Unicode keeps the ten digits of a script together, from zero up, so that
// each range of its table is a multiple of ten long.
func digit(r rune) rune {
	for _, t := range unicode.Nd.R16 {
		if low, high := rune(t.Lo), rune(t.Hi); low <= r && r <= high {
			return (r - low) % 10
		}
	}
	for _, t := range unicode.Nd.R32 {
		if low, high := rune(t.Lo), rune(t.Hi); low <= r && r <= high { //nolint:gosec // Code points are small.
			return (r - low) % 10
		}
	}
	return 0
}
