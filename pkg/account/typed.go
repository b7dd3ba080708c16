package account

import (
	"strings"
	"unicode"
)

// MaxTypedName is how many characters are kept of a name that somebody typed (R8.2).
const MaxTypedName = 60

// maxTypedDigits is how many digits such a name keeps; with more of them it could pass for a code or a phone number.
const maxTypedDigits = 3

// InertName returns what may be shown of a name that a stranger typed (R8.2): one line of plain text of at most 60
// characters that no program makes a link, an address or markup of, and that hides nothing. Letters of all scripts stay,
// with the marks that belong to them, and so do ' - . , & and brackets; everything else is a blank or gone. It is empty
// when nothing is left that a person could be called. Taken once more, the result is the same.
func InertName(typed string) string {
	name := strings.Map(inert, strings.ToValidUTF8(typed, " "))
	name = noHosts(fewMarks(name))
	if countDigits(name) > maxTypedDigits {
		name = strings.Map(func(r rune) rune {
			if unicode.IsDigit(r) {
				return -1
			}
			return r
		}, name)
	}
	name = strings.Join(strings.Fields(noHosts(name)), " ")
	runes := []rune(name)
	if len(runes) > MaxTypedName {
		name = strings.TrimSpace(string(runes[:MaxTypedName]))
	}
	if !strings.ContainsFunc(name, unicode.IsLetter) {
		return ""
	}
	return name
}

// inert keeps a character that a name may have, drops one that nobody sees, and makes a blank of any other.
func inert(r rune) rune {
	switch {
	case unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
		return -1
	case unicode.IsLetter(r), unicode.In(r, unicode.Mn, unicode.Mc), unicode.IsDigit(r), strings.ContainsRune("'’-.,&()", r):
		return r
	}
	return ' '
}

// fewMarks drops marks that follow no letter, and the third and later ones of a letter, which would hide their
// neighbours.
func fewMarks(name string) string {
	marks := 2
	return strings.Map(func(r rune) rune {
		switch {
		case !unicode.In(r, unicode.Mn, unicode.Mc):
			marks = 0
			if !unicode.IsLetter(r) {
				marks = 2
			}
			return r
		case marks >= 2:
			return -1
		}
		marks++
		return r
	}, name)
}

// noHosts makes a blank of every dot that a letter or digit follows, because mail programs make a link of `name.example`.
func noHosts(name string) string {
	runes := []rune(name)
	for i, r := range runes {
		if r == '.' && i+1 < len(runes) && (unicode.IsLetter(runes[i+1]) || unicode.IsDigit(runes[i+1])) {
			runes[i] = ' '
		}
	}
	return string(runes)
}

func countDigits(name string) (n int) {
	for _, r := range name {
		if unicode.IsDigit(r) {
			n++
		}
	}
	return n
}
