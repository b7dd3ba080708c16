package provider

import (
	"strings"
	"unicode"
)

// maxDetail bounds a redacted text, in characters.
const maxDetail = 200

// minDigits is the shortest run of digits that is cut out: codes have six or
// more, and the rest of a number that was cut in two should not survive either.
const minDigits = 4

// Redact makes a foreign text fit for a log: the known values (a key, a
// recipient) are cut out wherever they stand, then everything that looks like
// an address or a code, then it becomes one line of at most 200 characters.
// Redacting twice changes nothing.
func Redact(text string, known ...string) string {
	for _, value := range known {
		if value != "" {
			text = strings.ReplaceAll(text, value, "[redacted]")
		}
	}
	text = strings.Map(printable, text)
	words := strings.Split(text, " ")
	for i, word := range words {
		if holdsAt(word) {
			words[i] = "[address]"
		}
	}
	runes := cutDigits([]rune(strings.Join(words, " ")))
	if len(runes) > maxDetail {
		runes = append(runes[:maxDetail-1], '…')
	}
	return string(runes)
}

// holdsAt reports whether a word holds an at sign in any form in which one is
// written: plain, wide, small, or encoded for a URL, a page or JSON.
func holdsAt(word string) bool {
	word = strings.ToLower(word)
	for _, at := range []string{"@", "＠", "﹫", "%40", "&#64;", "&#x40;", `\u0040`} {
		if strings.Contains(word, at) {
			return true
		}
	}
	return false
}

// cutDigits replaces every run of minDigits digits or more, also when single
// spaces or dashes group them, which covers codes and phone numbers.
func cutDigits(text []rune) []rune {
	var out []rune
	for i := 0; i < len(text); {
		digits, length := digitRun(text[i:])
		switch {
		case digits == 0:
			length = 1
			out = append(out, text[i])
		case digits < minDigits:
			out = append(out, text[i:i+length]...)
		default:
			out = append(out, []rune("[digits]")...)
		}
		i += length
	}
	return out
}

// digitRun counts the digits of the run that text begins with, and its length
// from the first digit to the last.
func digitRun(text []rune) (digits, length int) {
	for i, r := range text {
		switch {
		case unicode.IsDigit(r):
			digits, length = digits+1, i+1
		case digits > 0 && (r == ' ' || r == '-') && i == length:
		default:
			return digits, length
		}
	}
	return digits, length
}

// printable turns whatever does not show itself into a space, so that nothing
// invisible can split an address or a run of digits into harmless parts.
func printable(r rune) rune {
	if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
		return ' '
	}
	return r
}
