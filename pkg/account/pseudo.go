package account

import (
	"crypto/rand"
	"strings"
)

// pseudoMark begins the id of whoever is no login yet. Random text follows, so
// that no id of a host can be one by chance.
const pseudoMark = "~"

// pseudoSize is how many characters follow: 128 random bits in base32.
const pseudoSize = 26

// NewPseudo draws the id under which somebody who has no login yet, such as an
// invitee, gets a code. It is valid as an id and never a host's.
func NewPseudo() string { return pseudoMark + rand.Text() }

// IsPseudo reports whether an id has the form of NewPseudo's.
func IsPseudo(id string) bool {
	rest, marked := strings.CutPrefix(id, pseudoMark)
	return marked && len(rest) == pseudoSize && strings.Trim(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}
