// Package account holds the directory's words: workspaces, logins, roles, and
// the one function that says where a code goes.
//
// It imports the standard library alone and knows no clock and no driver.
package account

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// MaxID is the longest id of a workspace or a login in bytes.
const MaxID = 64

// MaxEmail is the longest e-mail address in bytes (RFC 5321 §4.5.3.1.3 less
// the angle brackets).
const MaxEmail = 254

// MaxName is the longest name of a workspace in characters.
const MaxName = 100

// MaxLoginsPerNumber is how many logins, of all workspaces, one phone number
// serves (product.md R7.3).
const MaxLoginsPerNumber = 3

// ErrID says that an id is not 1 to 64 of `A-Za-z0-9._~-`.
var ErrID = errors.New("an id has 1 to 64 of the characters A-Z a-z 0-9 . _ ~ -")

// ErrEmail says that an e-mail address cannot be used.
var ErrEmail = errors.New("not an e-mail address of the form name@domain in plain ASCII")

// Role is what a login may do in its workspace.
type Role string

// The roles. A workspace has at most one owner: its primary login.
const (
	Owner         Role = "owner"
	Administrator Role = "administrator"
	Member        Role = "member"
)

// ParseRole returns the role of that name, or an error for any other.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case Owner, Administrator, Member:
		return r, nil
	}
	return "", errors.New("a role is owner, administrator or member")
}

// Workspace is a tenant of the host application.
type Workspace struct {
	ID        string
	Name      string
	MainEmail string
	Owner     string // login id of the primary login; it may be put later
	// GroupAddress says that several people read MainEmail: its limits are
	// higher.
	GroupAddress bool
}

// Login is what a person types, unique within its workspace.
type Login struct {
	Workspace string
	ID        string
	Email     string // empty when the person has no address of their own
	Phone     string // in E.164; empty when none is proven
	// Channel is SMS when the person switched to it, which needs a phone, and
	// otherwise empty.
	Channel string
	Role    Role
	Locale  string
}

// The channels that a route can have; they are delivery's.
const (
	Email = "email"
	SMS   = "sms"
)

// ValidateID checks an id that the host application chose.
func ValidateID(id string) error {
	if id == "" || len(id) > MaxID || strings.Trim(id, idCharacters) != "" {
		return ErrID
	}
	for i := range len(id) {
		if !strings.Contains(idCharacters, id[i:i+1]) {
			return ErrID
		}
	}
	return nil
}

// idCharacters are RFC 3986's unreserved characters: safe in a path as they are.
const idCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-"

// ValidateEmail checks an address that codes may be sent to. It is strict: no
// quoted local part, no comment, no control character, no second @, so that no
// header and no further recipient can hide in it (SEC-09, CVE-2023-7028).
func ValidateEmail(address string) error {
	local, domain, found := strings.Cut(address, "@")
	if !found || local == "" || domain == "" || len(address) > MaxEmail || len(local) > 64 {
		return ErrEmail
	}
	for i := range len(address) {
		if c := address[i]; c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),:;<>[\]`, rune(c)) {
			return ErrEmail
		}
	}
	if strings.Contains(domain, "@") || strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") {
		return ErrEmail
	}
	for part := range strings.SplitSeq(domain, ".") {
		if part == "" || len(part) > 63 || strings.HasPrefix(part, "-") || strings.HasSuffix(part, "-") || !hostLabel(part) {
			return ErrEmail
		}
	}
	return nil
}

// hostLabel reports whether a domain's label has letters, digits and hyphens.
func hostLabel(label string) bool {
	for i := range len(label) {
		c := label[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// ValidateName checks the name of a workspace, which people see in messages.
func ValidateName(name string) error {
	if strings.TrimSpace(name) == "" || utf8.RuneCountInString(name) > MaxName || !utf8.ValidString(name) {
		return fmt.Errorf("a name has 1 to %d characters", MaxName)
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == 0x2028 || r == 0x2029 || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return errors.New("a name has no control characters")
		}
	}
	if strings.Contains(name, "://") {
		return errors.New("a name is not a link")
	}
	return nil
}

// languageTag is the shape of RFC 5646 §2.1: letters first, then parts of which
// none has more than four digits, as a year or a region has. A locale travels in
// clear, and a code that somebody puts there by mistake may not (P4).
func languageTag() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z]{2,8}(-([A-Za-z]+[0-9]{0,4}|[0-9]{1,4})[A-Za-z]*)*$`)
}

// ValidateLocale checks a language tag such as `en` or `nl-BE`; empty is
// allowed and means the default.
func ValidateLocale(locale string) error {
	if len(locale) > 35 || locale != "" && !languageTag().MatchString(locale) {
		return errors.New("a locale is a language tag such as en or nl-BE")
	}
	return nil
}

// CompareForm returns the form of an address that limits and hashes use: two
// spellings that differ in case are one recipient; plus-tags stay (R5.11).
func CompareForm(address string) string { return strings.ToLower(address) }

// Mask shows the first letter and the domain of an address (SEC-25).
func Mask(address string) string {
	local, domain, found := strings.Cut(address, "@")
	if !found || local == "" {
		return "•••"
	}
	return local[:1] + "•••@" + domain
}
