// Package gsm7 counts what a text message costs: in which alphabet a phone
// network carries it, and in how many parts, each of which is billed
// (3GPP TS 23.038 §6.2, TS 23.040 §9.2.3.24.1; providers.md 4.5).
//
// It counts for the default alphabet and its one extension table. National
// language tables are not assumed: the provider does not use them.
package gsm7

import (
	"strings"
	"unicode/utf16"
)

// Alphabet is the set of characters in which a whole message is carried.
type Alphabet string

// The two alphabets. One character outside the first moves the whole message
// to the second, in which a part holds less than half as much.
const (
	GSM7 Alphabet = "gsm7"
	UCS2 Alphabet = "ucs2"
)

// The units of a part: of a message that is one part, and of each part of a
// longer one, whose header takes the rest.
const (
	singleGSM7, joinedGSM7 = 160, 153
	singleUCS2, joinedUCS2 = 70, 67
)

const (
	// plain are the characters of one unit beside letters and digits of ASCII.
	plain = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà"
	// extended are the characters of two units, the escape counted.
	extended = "^{}\\[~]|€\f"
)

// Parts returns in how many parts a text is sent, how many units it has, and
// its alphabet. A character of two units never lies across two parts, so that
// a long text may need more parts than its units say. An empty text is one
// part.
func Parts(text string) (parts, units int, alphabet Alphabet) {
	alphabet, width, single, joined := GSM7, widthGSM7, singleGSM7, joinedGSM7
	if strings.ContainsFunc(text, func(r rune) bool { return widthGSM7(r) == 0 }) {
		alphabet, width, single, joined = UCS2, utf16.RuneLen, singleUCS2, joinedUCS2
	}
	used := 0
	parts = 1
	for _, r := range text {
		w := width(r)
		units += w
		used += w
		if used > joined {
			parts, used = parts+1, w
		}
	}
	if units <= single {
		parts = 1
	}
	return parts, units, alphabet
}

// widthGSM7 is how many units a character takes in GSM-7; 0 means that it is
// not in it.
func widthGSM7(r rune) int {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return 1
	case strings.ContainsRune(plain, r):
		return 1
	case strings.ContainsRune(extended, r):
		return 2
	}
	return 0
}
