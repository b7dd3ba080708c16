// Package phone reads telephone numbers and decides whether a code may be sent
// to one at all (providers.md 10): a valid number of a numbering plan, of a
// kind that can receive text messages and costs what messages cost, in a
// country. Premium, personal, toll-free, satellite and fixed-line numbers are
// refused, because each is either dear or deaf.
//
// It says nothing about whether the number exists, and it never guesses a
// country: a number is international or it is none.
package phone

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"
)

// The reasons for which a number is refused. None of them carries the number.
var (
	// ErrMalformed is a text that is not one international number.
	ErrMalformed = errors.New("not a phone number in international form")
	// ErrInvalid is a number that no numbering plan has; a typing error.
	ErrInvalid = errors.New("no numbering plan has this phone number")
	// ErrKind is a number that exists and that no code is sent to.
	ErrKind = errors.New("this kind of phone number gets no text messages")
)

// Kind is what a numbering plan says of a number.
type Kind string

// The kinds that a code is sent to. In North America mobile and fixed lines
// share their numbers, and nobody can tell them apart.
const (
	Mobile        Kind = "mobile"
	FixedOrMobile Kind = "fixed_or_mobile"
)

// maxText bounds what is read as a number, in bytes.
const maxText = 64

// Number is a telephone number that a code may be sent to. It is personal
// data, so it prints and logs masked.
type Number struct {
	// E164 is the one form in which a number is stored: + and 7 to 15 digits.
	E164 string
	// Region is the country, as two capital letters of ISO 3166-1. A calling
	// code is none: +1 is shared by some 25 countries, +44 by four.
	Region string
	// Kind is what the numbering plan says of it.
	Kind Kind
}

// Parse reads an international number: a plus sign, then digits of any script,
// in groups if need be. Letters, extensions and URLs are refused. The error
// is ErrMalformed, ErrInvalid or ErrKind.
func Parse(text string) (Number, error) {
	if !isPlain(text) {
		return Number{}, ErrMalformed
	}
	parsed, err := phonenumbers.Parse(text, "")
	if err != nil {
		return Number{}, ErrMalformed // The library's error may repeat the text.
	}
	if !phonenumbers.IsValidNumber(parsed) {
		return Number{}, ErrInvalid
	}
	n := Number{
		E164:   phonenumbers.Format(parsed, phonenumbers.E164),
		Region: phonenumbers.GetRegionCodeForNumber(parsed),
	}
	switch phonenumbers.GetNumberType(parsed) { //nolint:exhaustive // Whatever is not listed, now or later, gets no code.
	case phonenumbers.MOBILE:
		n.Kind = Mobile
	case phonenumbers.FIXED_LINE_OR_MOBILE:
		n.Kind = FixedOrMobile
	default:
		return Number{}, ErrKind
	}
	if !IsRegion(n.Region) {
		return Number{}, ErrKind // 001, satellites and the like: of no country, and very dear.
	}
	return n, nil
}

// isPlain reports whether a text has the characters of one international
// number and no other: the library would read letters as digits and cut off
// extensions in silence.
func isPlain(text string) bool {
	first, size := utf8.DecodeRuneInString(text)
	if len(text) > maxText || (first != '+' && first != '＋') {
		return false
	}
	return !strings.ContainsFunc(text[size:], func(r rune) bool {
		return !unicode.IsDigit(r) && !strings.ContainsRune(" \u00a0-‐‑–.()", r)
	})
}

// IsRegion reports whether a text is the code of a country that has a
// numbering plan, as two capital letters of ISO 3166-1.
func IsRegion(code string) bool { return phonenumbers.GetSupportedRegions()[code] }

// CallingCode returns the calling code of a country, such as +34, or nothing for what is none. Countries may share one.
func CallingCode(region string) string {
	if !IsRegion(region) {
		return ""
	}
	return fmt.Sprintf("+%d", phonenumbers.GetCountryCodeForRegion(region))
}

// Allowed reports whether the number's country is one of regions. Nothing is
// allowed by default.
func (n Number) Allowed(regions []string) bool { return slices.Contains(regions, n.Region) }

// String shows the masked number.
func (n Number) String() string { return Mask(n.E164) }

// Format shows the masked number, whatever the verb.
func (n Number) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, n.String()) }

// LogValue shows the masked number.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.String()) }

// MarshalText shows the masked number: whoever stores it takes E164.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// Mask shows the last two digits of a number (SEC-25), enough for its owner to
// know it. What cannot be a whole number shows nothing.
func Mask(number string) string {
	const hidden, least = "•••", 7
	if len(number) < least || strings.Trim(number[len(number)-2:], "0123456789") != "" {
		return hidden
	}
	return hidden + number[len(number)-2:]
}
