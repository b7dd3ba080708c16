package message

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"doorcode/pkg/account"
)

// The alphabets of what auth draws.
const (
	digits   = "0123456789"
	capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// pathCharacters are those that a support page's path may have.
const pathCharacters = hostCharacters + capitals + "._~/"

// hostCharacters are those of a host's name.
const hostCharacters = digits + "abcdefghijklmnopqrstuvwxyz-"

// check refuses facts that are not of the closed forms in which auth draws
// them. With it no control character can reach the subject.
func (f Facts) check() error {
	switch {
	case len(f.Code) < 6 || len(f.Code) > 10 || strings.Trim(f.Code, digits) != "":
		return fmt.Errorf("%w: code", ErrFacts)
	case !isLabel(f.Label):
		return fmt.Errorf("%w: label", ErrFacts)
	case !isReference(f.Reference):
		return fmt.Errorf("%w: support reference", ErrFacts)
	case f.CreatedAt.IsZero() || !f.ExpiresAt.After(f.CreatedAt):
		return fmt.Errorf("%w: times", ErrFacts)
	case f.purpose().Check(f.About) != nil:
		return fmt.Errorf("%w: purpose", ErrFacts)
	}
	return nil
}

// isLabel reports whether a label has its form.
func isLabel(s string) bool { return len(s) == 3 && consistsOf(s, capitals) }

// isReference reports whether a support reference has its form.
func isReference(s string) bool { return len(s) == 8 && consistsOf(s, digits+capitals) }

// consistsOf reports whether every byte of s is one of the alphabet.
func consistsOf(s, alphabet string) bool {
	for i := range len(s) {
		if strings.IndexByte(alphabet, s[i]) < 0 {
			return false
		}
	}
	return true
}

// showName returns a workspace's name as far as a stranger's text may stand in
// a message that carries a code, and nothing otherwise. Mail programs make
// links of `name.example` and of addresses, and a run of digits could pass for
// the code (R5.9).
func showName(name string) string {
	name = strings.TrimSpace(name)
	if account.ValidateName(name) != nil || strings.ContainsAny(name, "@<>{}[]\\|`") {
		return ""
	}
	run := 0
	previous := ' '
	for i, r := range name {
		if unicode.Is(unicode.Cf, r) {
			return "" // invisible characters hide what a name says
		}
		if unicode.IsDigit(r) {
			run++
		} else {
			run = 0
		}
		next, _ := utf8.DecodeRuneInString(name[i+utf8.RuneLen(r):])
		if run >= 4 || (r == '.' && isWord(previous) && isWord(next)) {
			return ""
		}
		previous = r
	}
	return name
}

// isWord reports whether a character can be a part of a host's name.
func isWord(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
